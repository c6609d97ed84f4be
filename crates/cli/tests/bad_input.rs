//! What is wrong with files, headers, keys and places: one line that names it, cryptsetup's exit code, and everything
//! left as it was.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use common::{
    CHEAP, Findings, PASSPHRASE, for_each, key_file, lucarne, lucarne_with_stdin, must, words,
};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::payload::{sha256_hex_of_file, stream};
use lucarne_testkit::peers;
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;
use serde_json::{Value, json};

/// A header of the tests: 16 KiB copies, one keyslot, data at 1 MiB.
const LAYOUT: [&str; 6] = [
    "--luks2-keyslots-size",
    "512k",
    "--offset",
    "2048",
    "--key-size",
    "256",
];
const HEADER_LEN: usize = 16 << 10;
const DATA_OFFSET: usize = 1 << 20;

/// How cryptsetup takes a damaged volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// It refuses it too, with the same exit code.
    Refuses,
    /// It is looser, or finds out only when it activates.
    Accepts,
}
use Peer::{Accepts, Refuses};

/// What is done to a sound image.
type Apply = Box<dyn Fn(&mut Vec<u8>) + Sync>;

struct Damage {
    what: &'static str,
    /// Each of these is in the error.
    names: &'static [&'static str],
    code: i32,
    peer: Peer,
    apply: Apply,
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

fn damages() -> Vec<Damage> {
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

#[test]
fn damaged_volumes_are_refused_in_one_line_and_left_alone() {
    let cryptsetup = Cryptsetup::or_skip("exit codes on damaged volumes");
    let origin = Scratch::new();
    let sound = std::fs::read(common::encrypted(
        &origin,
        "sound",
        &stream("sound", 64 << 10),
        &LAYOUT,
    ))
    .unwrap();
    for_each(&damages(), |damage, findings| {
        let scratch = Scratch::new();
        let mut bytes = sound.clone();
        (damage.apply)(&mut bytes);
        let image = scratch.file("image", &bytes);
        let key = key_file(&scratch);
        let what = damage.what;
        let names = scratch.names();

        let outcome = lucarne(words![
            "decrypt",
            "--key-file",
            &key,
            &image,
            scratch.path("out")
        ]);
        findings.check(outcome.code == Some(damage.code), || {
            format!(
                "{what}: decrypt: expected {}, got {:?}: {}",
                damage.code,
                outcome.code,
                outcome.stderr.trim()
            )
        });
        one_line(what, &outcome, &image, findings);
        for name in damage.names {
            findings.check(outcome.stderr.contains(name), || {
                format!(
                    "{what}: the error does not name {name}: {}",
                    outcome.stderr.trim()
                )
            });
        }
        for verb in [
            &["read"][..],
            &["luksDump"],
            &["isLuks"],
            &["luksUUID"],
            &["open", "--test-passphrase"],
        ] {
            let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
            if matches!(verb[0], "read" | "open") {
                arguments.extend(words!["--key-file", &key]);
            }
            arguments.push((&image).into());
            let ours = lucarne(&arguments);
            findings.check(ours.code.is_some(), || {
                format!("{what}: {verb:?} was ended by a signal")
            });
            if verb[0] == "read" {
                findings.check(ours.code == outcome.code, || {
                    format!(
                        "{what}: read ends with {:?}, decrypt with {:?}",
                        ours.code, outcome.code
                    )
                });
            } else if let (Some(cryptsetup), Refuses) = (&cryptsetup, damage.peer) {
                let copy = scratch.copy(&image, "copy");
                *arguments.last_mut().unwrap() = copy.into();
                let theirs = cryptsetup.run(&arguments);
                std::fs::remove_file(scratch.path("copy")).unwrap();
                findings.check(ours.code == theirs.code, || {
                    format!(
                        "{what}: {verb:?}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                        ours.code,
                        ours.stderr.trim(),
                        theirs.code,
                        theirs.stderr.trim()
                    )
                });
            }
        }
        findings.equal(&format!("{what}: files"), &scratch.names(), &names);
        findings.check(std::fs::read(&image).unwrap() == bytes, || {
            format!("{what}: the image changed")
        });
    });
}

/// One copy is enough, and a read does not repair the other.
#[test]
fn one_sound_copy_is_enough_and_the_other_stays_as_it_is() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("copies", 64 << 10);
    let image = common::encrypted(&scratch, "image", &plaintext, &LAYOUT);
    let sound = std::fs::read(&image).unwrap();
    for offset in [0, HEADER_LEN] {
        for (at, len) in [
            (0, 6),
            (0, HEADER_LEN),
            (luks2::CSUM.start, 4),
            (luks2::BINARY_LEN + 9, 1),
            (16, 8),
        ] {
            let mut bytes = sound.clone();
            bytes[offset + at..offset + at + len].fill(0x55);
            std::fs::write(&image, &bytes).unwrap();
            assert!(
                must(words!["decrypt", "--key-file", &key, &image, "-"]) == plaintext,
                "{offset} {at} {len}"
            );
            must(words!["luksDump", &image]);
            must(words!["isLuks", &image]);
            assert!(
                std::fs::read(&image).unwrap() == bytes,
                "{offset} {at} {len}: the image changed"
            );
        }
    }
}

#[test]
fn files_that_are_missing_or_of_the_wrong_kind() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let cryptsetup = Cryptsetup::or_skip("exit codes on wrong files");
    let mut findings = Findings::default();
    for place in [
        scratch.path("missing"),
        scratch.dir().to_path_buf(),
        scratch.path("key/below-a-file"),
        "/dev/null".into(),
    ] {
        for verb in [
            &["luksDump"][..],
            &["isLuks"],
            &["luksUUID"],
            &["open", "--test-passphrase"],
        ] {
            findings.case();
            let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
            if verb[0] == "open" {
                arguments.extend(words!["--key-file", &key]);
            }
            arguments.push((&place).into());
            let ours = lucarne(&arguments);
            let what = format!("{verb:?} of {}", place.display());
            one_line(&what, &ours, &place, &mut findings);
            if let Some(cryptsetup) = &cryptsetup {
                let theirs = cryptsetup.run(&arguments);
                findings.check(ours.code == theirs.code, || {
                    format!(
                        "{what}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                        ours.code,
                        ours.stderr.trim(),
                        theirs.code,
                        theirs.stderr.trim()
                    )
                });
            }
        }
        for arguments in [
            words!["decrypt", "--key-file", &key, &place, scratch.path("out")].to_vec(),
            words!["read", "--key-file", &key, &place].to_vec(),
            words!["write", "--key-file", &key, &place].to_vec(),
        ] {
            findings.case();
            let outcome = lucarne(&arguments);
            let what = format!("{:?} of {}", arguments[0], place.display());
            findings.check(matches!(outcome.code, Some(1 | 4)), || {
                format!("{what}: exit code {:?}", outcome.code)
            });
            one_line(&what, &outcome, &place, &mut findings);
        }
    }
    for input in [scratch.path("missing"), scratch.dir().to_path_buf()] {
        findings.case();
        let outcome = lucarne(words![
            "encrypt",
            "--key-file",
            &key,
            &input,
            scratch.path("out")
        ]);
        findings.equal(
            &format!("encrypt {}: {}", input.display(), outcome.stderr.trim()),
            &outcome.code,
            &Some(4),
        );
        one_line("encrypt", &outcome, &input, &mut findings);
    }
    findings.equal("files", &scratch.names(), &vec!["key".to_owned()]);
    findings.finish();
}

#[test]
fn an_output_that_is_there_is_replaced_only_when_it_is_wanted() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("there", 10_000);
    let input = scratch.file("in", &plaintext);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let there = scratch.file("there", b"precious");
    let mut findings = Findings::default();
    for arguments in [
        words![
            "encrypt",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            &key,
            &input,
            &there
        ]
        .to_vec(),
        words!["decrypt", "--key-file", &key, &image, &there].to_vec(),
    ] {
        findings.case();
        let verb = arguments[0].clone();
        let outcome = lucarne(&arguments);
        findings.equal(
            &format!(
                "{verb:?} to a file that is there ({})",
                outcome.stderr.trim()
            ),
            &outcome.code,
            &Some(5),
        );
        one_line("OUT is there", &outcome, &there, &mut findings);
        findings.check(std::fs::read(&there).unwrap() == b"precious", || {
            format!("{verb:?} changed OUT")
        });
        let mut wanted = arguments.clone();
        wanted.insert(1, "--batch-mode".into());
        let outcome = lucarne(&wanted);
        findings.equal(
            &format!("{verb:?} --batch-mode ({})", outcome.stderr.trim()),
            &outcome.code,
            &Some(0),
        );
        std::fs::write(&there, b"precious").unwrap();
    }
    // Places where no file can be.
    for output in [
        scratch.dir().to_path_buf(),
        scratch.path("missing/out"),
        scratch.path("in/out"),
    ] {
        findings.case();
        let outcome = lucarne(words![
            "decrypt",
            "--batch-mode",
            "--key-file",
            &key,
            &image,
            &output
        ]);
        findings.check(matches!(outcome.code, Some(1 | 4 | 5)), || {
            format!("OUT {}: {outcome:?}", output.display())
        });
        one_line("OUT cannot be", &outcome, &output, &mut findings);
    }
    // IN and OUT in one, by one name or by two.
    let link = scratch.path("link");
    std::fs::hard_link(&image, &link).unwrap();
    let before = sha256_hex_of_file(&image);
    for verb in ["encrypt", "decrypt"] {
        for output in [&image, &link] {
            findings.case();
            let outcome = lucarne(words![
                verb,
                "--batch-mode",
                "--key-file",
                &key,
                &image,
                output
            ]);
            findings.equal(
                &format!("{verb} onto itself ({})", outcome.stderr.trim()),
                &outcome.code,
                &Some(5),
            );
            findings.equal(
                &format!("{verb} onto itself: image"),
                &sha256_hex_of_file(&image),
                &before,
            );
        }
    }
    findings.finish();
}

#[test]
fn wrong_keys_change_nothing() {
    let scratch = Scratch::new();
    let image = common::encrypted(&scratch, "image", &stream("keys", 10_000), &[]);
    let before = sha256_hex_of_file(&image);
    let wrong = scratch.file("wrong", b"wrong");
    let short_volume_key = scratch.file("short-volume-key", &[7; 32]);
    let wrong_volume_key = scratch.file("wrong-volume-key", &[7; 64]);
    let mut findings = Findings::default();
    for (options, code) in [
        (words!["--key-file", &wrong].to_vec(), 2),
        (words!["--key-file", scratch.path("missing")].to_vec(), 1),
        (words!["--volume-key-file", &wrong_volume_key].to_vec(), 2),
        (words!["--volume-key-file", &short_volume_key].to_vec(), 1),
        (
            words!["--volume-key-file", scratch.path("missing")].to_vec(),
            1,
        ),
    ] {
        for (verb, further) in [
            ("decrypt", words![scratch.path("out")].to_vec()),
            ("read", vec![]),
            ("write", vec![]),
        ] {
            findings.case();
            let mut arguments = words![verb].to_vec();
            arguments.extend(options.iter().cloned());
            arguments.push((&image).into());
            arguments.extend(further);
            let outcome = lucarne_with_stdin(&arguments, b"data");
            findings.equal(
                &format!("{verb} {options:?} ({})", outcome.stderr.trim()),
                &outcome.code,
                &Some(code),
            );
            findings.check(outcome.stdout.is_empty(), || {
                format!("{verb} {options:?} printed")
            });
            findings.check(outcome.stderr.lines().count() == 1, || {
                format!("{verb} {options:?}: {:?}", outcome.stderr)
            });
        }
    }
    findings.equal("image", &sha256_hex_of_file(&image), &before);
    findings.check(!scratch.path("out").exists(), || {
        "an OUT was left".to_owned()
    });
    findings.finish();
}

/// Options that luksFormat refuses, with cryptsetup's exit code, before it has touched the file.
#[test]
fn options_that_make_no_volume() {
    let cryptsetup = Cryptsetup::or_skip("exit codes of luksFormat");
    let cases: Vec<Vec<&str>> = [
        "--sector-size 1000",
        "--sector-size 8192",
        "--sector-size 0",
        "--key-size 100",
        "--key-size 1024",
        "--cipher nonsense",
        "--cipher aes-nonsense-plain64",
        "--hash nonsense",
        "--pbkdf nonsense",
        "--pbkdf-memory 0",
        "--pbkdf-memory 31 --pbkdf-force-iterations 4",
        "--pbkdf-memory 4194305",
        "--pbkdf-parallel 0",
        "--pbkdf-parallel 5",
        "--pbkdf argon2id --pbkdf-force-iterations 3 --pbkdf-memory 32",
        "--pbkdf pbkdf2 --pbkdf-force-iterations 999",
        "--luks2-metadata-size 17k",
        "--luks2-metadata-size 8k",
        "--luks2-metadata-size 8m",
        "--luks2-keyslots-size 1",
        "--luks2-keyslots-size 256m",
        "--offset 7",
        "--offset 1",
        "--offset 8",
        "--offset 99999999",
        "--offset -1",
        "--align-payload 7 --offset 8",
        "--uuid nonsense",
        "--key-slot 32",
        "--key-slot -2",
        "--key-slot x",
        "--keyslot-cipher nonsense --keyslot-key-size 256",
        "--keyslot-key-size 100",
        "--type luks9",
        "--type plain",
        "--iter-time x",
        "--no-such-option",
        "--keyfile-size 4",
        "--keyfile-offset 100",
        "--keyfile-size 9m",
    ]
    .iter()
    .map(|words| words.split(' ').collect())
    .collect();
    for_each(&cases, |options, findings| {
        let scratch = Scratch::new();
        let key = scratch.file("key", b"key");
        let bytes = stream("precious", 32 << 20);
        let mut arguments = words!["luksFormat", "--batch-mode", "--key-file", &key].to_vec();
        if !options.contains(&"--pbkdf")
            && !options
                .iter()
                .any(|word| word.starts_with("--pbkdf-") || word.starts_with("--iter"))
        {
            arguments.extend(CHEAP.iter().map(OsString::from));
        } else if !options.contains(&"--pbkdf-force-iterations")
            && !options.contains(&"--iter-time")
        {
            arguments.extend(words!["--iter-time", "20"]);
        }
        arguments.extend(options.iter().map(OsString::from));
        let with = |name: &str| {
            let mut arguments = arguments.clone();
            arguments.push(scratch.file(name, &bytes).into());
            arguments
        };
        let ours = lucarne(with("ours"));
        if let Some(cryptsetup) = &cryptsetup {
            let theirs = cryptsetup.run(with("theirs"));
            findings.check(ours.code == theirs.code, || {
                format!(
                    "luksFormat {options:?}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                    ours.code,
                    ours.stderr.trim(),
                    theirs.code,
                    theirs.stderr.trim()
                )
            });
        }
        if ours.code != Some(0) {
            findings.check(
                std::fs::read(scratch.path("ours")).unwrap() == bytes,
                || format!("luksFormat {options:?} failed and changed the file"),
            );
            findings.check(!ours.stderr.trim().is_empty(), || {
                format!("luksFormat {options:?} says nothing")
            });
        }
    });
}

/// Labels that do not fit: cryptsetup cuts them short without a word.
#[test]
fn labels_too_long() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let device = scratch.zeros("device", 32 << 20);
    let long = "x".repeat(48);
    for option in ["--label", "--subsystem"] {
        let outcome = lucarne(words![
            "luksFormat",
            "--batch-mode",
            "--key-file",
            &key,
            option,
            &long,
            &device
        ]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("48") && outcome.stderr.contains("47"),
            "{}",
            outcome.stderr
        );
        assert!(
            std::fs::read(&device)
                .unwrap()
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}

/// Files too small for a header, passphrases of no length.
#[test]
fn devices_too_small_and_passphrases_of_no_length() {
    let Some(cryptsetup) = Cryptsetup::or_skip("exit codes of luksFormat") else {
        return;
    };
    let mut findings = Findings::default();
    let cases: [(u64, &[u8]); 7] = [
        (0, PASSPHRASE),
        (512, PASSPHRASE),
        (1 << 20, PASSPHRASE),
        (16 << 20, PASSPHRASE),
        ((16 << 20) + 511, PASSPHRASE),
        (32 << 20, b""),
        (32 << 20, b"\n"),
    ];
    for (len, key) in cases {
        for by_stdin in [false, true] {
            findings.case();
            let scratch = Scratch::new();
            let mut words = words!["luksFormat", "--batch-mode"].to_vec();
            words.extend(CHEAP.iter().map(OsString::from));
            let mut stdin = Vec::new();
            if by_stdin {
                stdin = key.to_vec();
            } else {
                words.extend(words!["--key-file", scratch.file("key", key)]);
            }
            let with = |name: &str| {
                let mut words = words.clone();
                words.push(scratch.zeros(name, len).into());
                words
            };
            let ours = lucarne_with_stdin(with("ours"), &stdin);
            let theirs = cryptsetup.run_with_stdin(with("theirs"), &stdin);
            findings.check(ours.code == theirs.code, || {
                format!(
                    "luksFormat of {len} bytes, a key of {} bytes, from standard input {by_stdin}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                    key.len(), ours.code, ours.stderr.trim(), theirs.code, theirs.stderr.trim()
                )
            });
            if ours.code != Some(0) {
                findings.check(
                    std::fs::read(scratch.path("ours"))
                        .unwrap()
                        .iter()
                        .all(|&byte| byte == 0),
                    || format!("luksFormat of {len} bytes changed the file"),
                );
            }
        }
    }
    findings.finish();
}

/// Files that may not be read or written, by a user who is not root.
#[test]
fn files_without_permission() {
    let scratch = Scratch::new();
    let open_to_all = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    open_to_all(scratch.dir(), 0o755);
    let program = scratch.path("lucarne");
    std::fs::copy(env!("CARGO_BIN_EXE_lucarne"), &program).unwrap();
    open_to_all(&program, 0o755);
    let image = common::encrypted(&scratch, "image", &stream("mine", 10_000), &[]);
    let key = scratch.path("key");
    open_to_all(&key, 0o644);
    let before = sha256_hex_of_file(&image);
    let Some(mut as_user) = as_ordinary_user() else {
        peers::skipped("files without permission", "setpriv");
        return;
    };
    let mut run_as_user = |arguments: &[OsString], stdin: &[u8]| {
        let mut command = as_user(&program);
        run(command.args(arguments), stdin)
    };
    let mut findings = Findings::default();
    for (mode, verbs) in [
        (
            0o000,
            &[
                "luksDump",
                "isLuks",
                "luksUUID",
                "read",
                "write",
                "luksFormat",
            ][..],
        ),
        (0o444, &["write", "luksFormat"]),
    ] {
        open_to_all(&image, mode);
        for verb in verbs {
            findings.case();
            let mut arguments = words![verb].to_vec();
            if *verb == "luksFormat" {
                arguments.push("--batch-mode".into());
            }
            if matches!(*verb, "read" | "write" | "luksFormat") {
                arguments.extend(words!["--key-file", &key]);
            }
            arguments.push((&image).into());
            let outcome = run_as_user(&arguments, b"data");
            findings.equal(
                &format!(
                    "{verb} of a file of mode {mode:o} ({})",
                    outcome.stderr.trim()
                ),
                &outcome.code,
                &Some(4),
            );
            one_line(verb, &outcome, &image, &mut findings);
        }
    }
    open_to_all(&image, 0o444);
    findings.case();
    let output = scratch.path("out");
    let outcome = run_as_user(&words!["decrypt", "--key-file", &key, &image, &output], b"");
    findings.equal(
        &format!(
            "OUT in a folder that is not ours ({})",
            outcome.stderr.trim()
        ),
        &outcome.code,
        &Some(4),
    );
    one_line("decrypt", &outcome, &output, &mut findings);
    findings.equal("image", &sha256_hex_of_file(&image), &before);
    findings.finish();
}

/// How to start a program without root's privileges.
fn as_ordinary_user() -> Option<impl FnMut(&Path) -> Command> {
    let is_root = rustix::process::geteuid().is_root();
    let setpriv = peers::locate("setpriv");
    if is_root && setpriv.is_none() {
        return None;
    }
    Some(move |program: &Path| match &setpriv {
        Some(setpriv) if is_root => {
            let mut command = Command::new(setpriv);
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .arg(program);
            command
        }
        _ => Command::new(program),
    })
}

/// A file system that fills up in the middle: the error says so, and nothing is left on it.
#[test]
fn a_full_disk_leaves_nothing() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("large", 8 << 20);
    let input = scratch.file("in", &plaintext);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let place = scratch.path("small");
    std::fs::create_dir(&place).unwrap();
    let (image_before, input_before) = (sha256_hex_of_file(&image), sha256_hex_of_file(&input));
    // A file system of its own, in a namespace of its own.
    let script = r#"mount -t tmpfs -o size="$1" none "$2" || exit 99; shift; cd "$1"; shift; "$@"; code=$?; echo "left: $(ls -A)"; exit "$code""#;
    let mut findings = Findings::default();
    for (size, arguments) in [
        (
            "20m",
            words![
                "encrypt",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                &key,
                &input,
                "out"
            ]
            .to_vec(),
        ),
        (
            "1m",
            words![
                "encrypt",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                &key,
                &input,
                "out"
            ]
            .to_vec(),
        ),
        (
            "20m",
            words![
                "rekey",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                &key,
                &image,
                "out"
            ]
            .to_vec(),
        ),
        (
            "3m",
            words!["decrypt", "--key-file", &key, &image, "out"].to_vec(),
        ),
    ] {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--map-root-user", "sh", "-c", script, "sh", size])
            .arg(&place);
        command.arg(env!("CARGO_BIN_EXE_lucarne")).args(&arguments);
        let outcome = run(&mut command, b"");
        if outcome.code == Some(99) || outcome.stderr.contains("unshare") {
            // Not a missing program: this machine does not let its users mount.
            assert!(
                !rustix::process::geteuid().is_root()
                    || std::env::var_os(peers::REQUIRE_PEERS).is_none(),
                "{outcome:?}"
            );
            return;
        }
        findings.case();
        let what = format!("{:?} onto a file system of {size}", arguments[0]);
        findings.equal(
            &format!("{what} ({})", outcome.stderr.trim()),
            &outcome.code,
            &Some(1),
        );
        findings.check(outcome.stderr.to_lowercase().contains("space"), || {
            format!("{what}: {}", outcome.stderr.trim())
        });
        findings.equal(
            &format!("{what}: files"),
            &outcome.text(),
            &"left: \n".to_owned(),
        );
    }
    findings.equal("image", &sha256_hex_of_file(&image), &image_before);
    findings.equal("input", &sha256_hex_of_file(&input), &input_before);
    findings.finish();
}

/// One line that names the file, lower case, no full stop at its end.
fn one_line(what: &str, outcome: &Outcome, file: &Path, findings: &mut Findings) {
    if outcome.code == Some(0) {
        return;
    }
    let text = &outcome.stderr;
    // isLuks answers by its exit code alone where the file is there and is no volume.
    if text.is_empty() && outcome.stdout.is_empty() && what.contains("isLuks") {
        return;
    }
    let name = file
        .file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy();
    findings.check(
        text.lines().count() == 1 && !text.trim_end().ends_with('.'),
        || format!("{what}: not one line without a full stop: {text:?}"),
    );
    findings.check(text.contains(&*name), || {
        format!("{what}: the error does not name {name}: {}", text.trim())
    });
}
