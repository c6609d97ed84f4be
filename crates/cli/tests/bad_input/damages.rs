//! What can be wrong with a header.

use lucarne_testkit::luks2;
use serde_json::{Value, json};

use crate::{DATA_OFFSET, HEADER_LEN};

/// How cryptsetup takes a damaged volume.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It refuses it too, with the same exit code.
    Refuses,
    /// It is looser, or finds out only when it activates.
    Accepts,
}
use Peer::{Accepts, Refuses};

/// What is done to a sound image.
type Apply = Box<dyn Fn(&mut Vec<u8>) + Sync>;

pub(crate) struct Damage {
    pub(crate) what: &'static str,
    /// Each of these is in the error.
    pub(crate) names: &'static [&'static str],
    pub(crate) code: i32,
    pub(crate) peer: Peer,
    pub(crate) apply: Apply,
}

fn damage(
    what: &'static str,
    names: &'static [&'static str],
    peer: Peer,
    apply: impl Fn(&mut Vec<u8>) + Sync + 'static,
) -> Damage {
    Damage {
        what,
        names,
        code: 1,
        peer,
        apply: Box::new(apply),
    }
}

/// A damage to the JSON, checksums right.
fn json_damage(
    what: &'static str,
    names: &'static [&'static str],
    peer: Peer,
    edit: impl Fn(&mut Value) + Sync + 'static,
) -> Damage {
    damage(what, names, peer, move |image| {
        luks2::edit_json(image, &edit)
    })
}

fn text_damage(
    what: &'static str,
    names: &'static [&'static str],
    peer: Peer,
    text: impl Fn(&str) -> String + Sync + 'static,
) -> Damage {
    damage(what, names, peer, move |image| {
        let json = luks2::json(image, 0).to_string();
        luks2::set_json(image, text(&json).as_bytes());
    })
}

pub(crate) fn damages() -> Vec<Damage> {
    let mut damages = Vec::new();
    // The bytes
    damages.push(damage("an empty file", &[], Refuses, |image| image.clear()));
    damages.push(damage("a file of 100 bytes", &[], Refuses, |image| {
        image.truncate(100)
    }));
    damages.push(damage(
        "a file of zeros",
        &["not a LUKS"],
        Refuses,
        |image| image.fill(0),
    ));
    damages.push(damage(
        "both magics wrong",
        &["not a LUKS"],
        Refuses,
        |image| {
            image[0] = b'X';
            image[HEADER_LEN] = b'X';
        },
    ));
    damages.push(damage(
        "a file cut within the primary copy",
        &[],
        Refuses,
        |image| image.truncate(HEADER_LEN / 2),
    ));
    damages.push(damage(
        "both checksums wrong",
        &["checksum"],
        Refuses,
        |image| {
            image[luks2::BINARY_LEN + 5] ^= 1;
            image[HEADER_LEN + luks2::BINARY_LEN + 5] ^= 1;
        },
    ));
    damages.push(damage(
        "a version that is none",
        &["version"],
        Refuses,
        |image| {
            for offset in [0, HEADER_LEN] {
                image[offset + 7] = 9;
                luks2::fix_checksum(image, offset);
            }
        },
    ));
    damages.push(damage(
        "a header size that is none",
        &[],
        Refuses,
        |image| {
            for offset in [0, HEADER_LEN] {
                luks2::set_number(image, offset, luks2::HDR_SIZE, u64::MAX);
            }
        },
    ));
    // The JSON's form
    damages.push(text_damage("no JSON", &["JSON"], Refuses, |_| {
        "nonsense".to_owned()
    }));
    damages.push(text_damage(
        "JSON that ends early",
        &["JSON"],
        Refuses,
        |json| json[..json.len() - 1].to_owned(),
    ));
    damages.push(text_damage("a list", &["JSON"], Refuses, |_| {
        "[]".to_owned()
    }));
    damages.push(text_damage("deep nesting", &["JSON"], Refuses, |json| {
        let bomb = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        format!("{},\"bomb\":{bomb}}}", &json[..json.len() - 1])
    }));
    damages.push(text_damage(
        "objects in objects",
        &["JSON"],
        Refuses,
        |json| {
            let bomb = format!("{}1{}", "{\"a\":".repeat(1500), "}".repeat(1500));
            format!("{},\"bomb\":{bomb}}}", &json[..json.len() - 1])
        },
    ));
    damages.push(text_damage(
        "a member twice",
        &["keyslots"],
        Accepts,
        |json| format!("{},\"keyslots\":{{}}}}", &json[..json.len() - 1]),
    ));
    damages.push(text_damage(
        "bytes after the terminator",
        &["JSON"],
        Refuses,
        |json| format!("{json}\0x"),
    ));
    damages.push(damage("no terminator", &["JSON"], Refuses, |image| {
        let mut text = luks2::json(image, 0).to_string().into_bytes();
        text.resize(HEADER_LEN - luks2::BINARY_LEN, b' ');
        luks2::set_json(image, &text);
    }));
    // Its contents
    for section in ["keyslots", "digests", "segments", "config", "tokens"] {
        damages.push(Damage {
            names: Box::leak(Box::new([section])),
            ..json_damage("a section is missing", &[], Refuses, move |json| {
                drop(json.as_object_mut().unwrap().shift_remove(section))
            })
        });
    }
    damages.push(json_damage(
        "json_size is not the area's",
        &["json_size", "12345"],
        Refuses,
        |json| json["config"]["json_size"] = json!("12345"),
    ));
    damages.push(json_damage(
        "keyslots_size runs over the data",
        &["keyslots_size"],
        Refuses,
        |json| json["config"]["keyslots_size"] = json!("2097152"),
    ));
    damages.push(json_damage(
        "a keyslot without an area",
        &["area"],
        Refuses,
        |json| {
            drop(
                json["keyslots"]["0"]
                    .as_object_mut()
                    .unwrap()
                    .shift_remove("area"),
            )
        },
    ));
    damages.push(json_damage(
        "an area in the header",
        &["area", "0x1000"],
        Refuses,
        |json| json["keyslots"]["0"]["area"]["offset"] = json!("4096"),
    ));
    damages.push(json_damage(
        "an area in the data",
        &["area"],
        Refuses,
        |json| json["keyslots"]["0"]["area"]["offset"] = json!("1048576"),
    ));
    damages.push(json_damage(
        "an area whose end overflows",
        &["area"],
        Refuses,
        |json| {
            json["keyslots"]["0"]["area"]["offset"] = json!("18446744073709547520");
        },
    ));
    damages.push(json_damage(
        "an area's size beyond all",
        &["area"],
        Refuses,
        |json| json["keyslots"]["0"]["area"]["size"] = json!("18446744073709547520"),
    ));
    damages.push(json_damage(
        "a number of 30 digits",
        &["offset"],
        Refuses,
        |json| {
            json["keyslots"]["0"]["area"]["offset"] = json!("999999999999999999999999999999");
        },
    ));
    damages.push(json_damage(
        "a negative number",
        &["offset"],
        Refuses,
        |json| json["keyslots"]["0"]["area"]["offset"] = json!("-32768"),
    ));
    damages.push(json_damage(
        "two keyslots in one area",
        &["overlap"],
        Refuses,
        |json| {
            json["keyslots"]["1"] = json["keyslots"]["0"].clone();
            json["digests"]["0"]["keyslots"] = json!(["0", "1"]);
        },
    ));
    damages.push(json_damage(
        "an area smaller than the split key",
        &["area"],
        Accepts,
        |json| json["keyslots"]["0"]["area"]["size"] = json!("4096"),
    ));
    damages.push(json_damage(
        "a digest of a keyslot that is not there",
        &["keyslot"],
        Refuses,
        |json| json["digests"]["0"]["keyslots"] = json!(["7"]),
    ));
    damages.push(json_damage(
        "a digest of a segment that is not there",
        &["segment"],
        Refuses,
        |json| json["digests"]["0"]["segments"] = json!(["7"]),
    ));
    damages.push(json_damage(
        "a salt that is not base64",
        &["salt"],
        Accepts,
        |json| json["keyslots"]["0"]["kdf"]["salt"] = json!("!!!!"),
    ));
    damages.push(json_damage(
        "a keyslot called x",
        &["keyslot"],
        Refuses,
        |json| {
            let keyslots = json["keyslots"].as_object_mut().unwrap();
            let keyslot = keyslots.shift_remove("0").unwrap();
            keyslots.insert("x".to_owned(), keyslot);
        },
    ));
    // Costs
    damages.push(json_damage("all memory there is", &["memory", "4294967295"], Accepts, |json| {
        json["keyslots"]["0"]["kdf"] = json!({"type": "argon2id", "time": 4, "memory": 4_294_967_295_u32, "cpus": 1, "salt": salt()});
    }));
    damages.push(json_damage("passes without end", &["time"], Accepts, |json| {
        json["keyslots"]["0"]["kdf"] = json!({"type": "argon2id", "time": 4_294_967_295_u32, "memory": 32, "cpus": 1, "salt": salt()});
    }));
    damages.push(json_damage("lanes without end", &["lanes", "1000000"], Accepts, |json| {
        json["keyslots"]["0"]["kdf"] = json!({"type": "argon2id", "time": 4, "memory": 1_048_576, "cpus": 1_000_000, "salt": salt()});
    }));
    damages.push(json_damage(
        "iterations without end",
        &["iterations", "4294967295"],
        Accepts,
        |json| {
            json["keyslots"]["0"]["kdf"]["iterations"] = json!(4_294_967_295_u32);
        },
    ));
    damages.push(json_damage(
        "a digest's iterations without end",
        &["iterations", "4294967295"],
        Accepts,
        |json| {
            json["digests"]["0"]["iterations"] = json!(4_294_967_295_u32);
        },
    ));
    damages.push(json_damage(
        "a key of 4 GiB",
        &["key", "4294967295"],
        Accepts,
        |json| json["keyslots"]["0"]["key_size"] = json!(4_294_967_295_u32),
    ));
    damages.push(json_damage(
        "stripes without end",
        &["stripes"],
        Accepts,
        |json| json["keyslots"]["0"]["af"]["stripes"] = json!(4_294_967_295_u32),
    ));
    // Segments
    damages.push(Damage {
        code: 4,
        ..json_damage(
            "a segment that starts past the end",
            &["data", "1099511627776"],
            Accepts,
            |json| {
                json["segments"]["0"]["offset"] = json!("1099511627776");
            },
        )
    });
    damages.push(Damage {
        code: 4,
        ..json_damage(
            "a segment that ends past the end",
            &["segment", "1099511627776"],
            Accepts,
            |json| {
                json["segments"]["0"]["size"] = json!("1099511627776");
            },
        )
    });
    damages.push(json_damage(
        "a segment whose end overflows",
        &["segment"],
        Refuses,
        |json| json["segments"]["0"]["size"] = json!("18446744073709551104"),
    ));
    damages.push(json_damage(
        "a segment in the header",
        &["segment"],
        Accepts,
        |json| json["segments"]["0"]["offset"] = json!("4096"),
    ));
    damages.push(json_damage(
        "sectors of 3000 bytes",
        &["sector_size", "3000"],
        Refuses,
        |json| json["segments"]["0"]["sector_size"] = json!(3000),
    ));
    damages.push(json_damage(
        "sectors of 8192 bytes",
        &["sector", "8192"],
        Accepts,
        |json| json["segments"]["0"]["sector_size"] = json!(8192),
    ));
    damages.push(json_damage("no segment", &["segment"], Refuses, |json| {
        json["segments"] = json!({})
    }));
    damages.push(json_damage(
        "an unknown kind of segment",
        &["segment", "linear-later"],
        Accepts,
        |json| json["segments"]["0"]["type"] = json!("linear-later"),
    ));
    // The file's length
    damages.push(damage(
        "a file cut within the keyslots",
        &[],
        Accepts,
        |image| image.truncate(3 * HEADER_LEN),
    ));
    damages.push(Damage {
        code: 4,
        ..damage("a file cut before the data", &[], Accepts, |image| {
            image.truncate(DATA_OFFSET - 512)
        })
    });
    damages.push(Damage {
        code: 4,
        ..damage(
            "a file cut within a sector",
            &["sector"],
            Accepts,
            |image| image.truncate(DATA_OFFSET + 4096 + 512),
        )
    });
    damages
}

fn salt() -> &'static str {
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
}
