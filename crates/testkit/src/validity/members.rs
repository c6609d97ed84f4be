//! Every member of every object: absent, of another type, and its values at the limits.
//!
//! Lengths of keys beyond 2 GiB are left out: what cryptsetup says of them depends on the machine's memory.

use serde_json::{Value, json};

use super::{Base, Corpus, member, set, take};

/// Salts and digests of other lengths are these bytes.
const FILLER: u8 = 0x5a;

pub(super) fn cases(corpus: &mut Corpus) {
    shapes(corpus);
    keyslot(corpus);
    area(corpus);
    af_and_kdf(corpus);
    digest(corpus);
    segment(corpus);
    config(corpus);
    tokens(corpus);
}

/// Every member that is known, by base: absent, null, of another type, empty.
fn shapes(corpus: &mut Corpus) {
    let plain = [
        "keyslots",
        "keyslots.0",
        "keyslots.0.type",
        "keyslots.0.key_size",
        "keyslots.0.af",
        "keyslots.0.af.type",
        "keyslots.0.af.stripes",
        "keyslots.0.af.hash",
        "keyslots.0.area",
        "keyslots.0.area.type",
        "keyslots.0.area.offset",
        "keyslots.0.area.size",
        "keyslots.0.area.encryption",
        "keyslots.0.area.key_size",
        "keyslots.0.kdf",
        "keyslots.0.kdf.type",
        "keyslots.0.kdf.hash",
        "keyslots.0.kdf.iterations",
        "keyslots.0.kdf.salt",
        "tokens",
        "segments",
        "segments.0",
        "segments.0.type",
        "segments.0.offset",
        "segments.0.size",
        "segments.0.iv_tweak",
        "segments.0.encryption",
        "segments.0.sector_size",
        "digests",
        "digests.0",
        "digests.0.type",
        "digests.0.keyslots",
        "digests.0.segments",
        "digests.0.hash",
        "digests.0.iterations",
        "digests.0.salt",
        "digests.0.digest",
        "config",
        "config.json_size",
        "config.keyslots_size",
    ];
    let argon2 = ["time", "memory", "cpus", "salt"].map(|name| format!("keyslots.0.kdf.{name}"));
    let reencryption = [
        "keyslots.2.type",
        "keyslots.2.key_size",
        "keyslots.2.mode",
        "keyslots.2.direction",
        "keyslots.2.area",
        "keyslots.2.area.type",
        "keyslots.2.area.offset",
        "keyslots.2.area.size",
        "segments.1.flags",
        "config.requirements",
        "config.requirements.mandatory",
    ];
    let of = |base, paths: &[&str]| -> Vec<(Base, String)> {
        paths.iter().map(|&path| (base, path.to_owned())).collect()
    };
    let mut paths = of(Base::Plain, &plain);
    paths.extend(argon2.map(|path| (Base::Argon2, path)));
    paths.extend(of(Base::Reencryption, &reencryption));
    for (base, path) in paths {
        let absent = path.clone();
        corpus.json(base, format!("{path} is absent"), move |json| {
            take(json, &absent);
        });
        corpus.set(base, &path, Value::Null);
        for (what, value) in [
            ("a number", json!(1)),
            ("a string", json!("word")),
            ("a list", json!(["0"])),
            ("an object", json!({"0": "x"})),
            ("an empty string", json!("")),
        ] {
            let path = path.clone();
            corpus.json(base, format!("{path} is {what}"), move |json| {
                let own = member(json, &path);
                let another_type = match (&*own, &value) {
                    (Value::Number(_), Value::Number(_))
                    | (Value::Array(_), Value::Array(_))
                    | (Value::Object(_), Value::Object(_)) => None,
                    (Value::String(_), Value::String(text)) if !text.is_empty() => None,
                    _ => Some(value.clone()),
                };
                // A value of the member's own type: what stands there must not count by its presence alone.
                *own = another_type.unwrap_or(json!(false));
            });
        }
    }
}

fn keyslot(corpus: &mut Corpus) {
    let path = "keyslots.0.key_size";
    for value in [
        json!(0),
        json!(1),
        json!(16),
        json!(31),
        json!(33),
        json!(64),
        json!(-1),
        json!(1_u64 << 32),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(i64::MIN),
    ] {
        corpus.set(Base::Plain, path, value);
    }
    corpus.each(
        Base::Plain,
        "keyslots.0.priority",
        [
            json!(0),
            json!(1),
            json!(2),
            json!(3),
            json!(-1),
            json!(1_u64 << 32),
            json!((1_u64 << 32) + 1),
            json!("2"),
            json!(1.0),
            json!(null),
            json!(true),
        ],
    );
    corpus.each(
        Base::Priorities,
        "keyslots.4.priority",
        [json!(0), json!(3), json!("2")],
    );
    corpus.each(
        Base::Plain,
        "keyslots.0.type",
        ["luks1", "LUKS2", "luks2 ", "reencrypt", "later"].map(Value::from),
    );
    corpus.each(
        Base::Unbound,
        "keyslots.1.type",
        ["luks1", "reencrypt", "later"].map(Value::from),
    );
    let reencrypt = "keyslots.2";
    for (name, values) in [
        (
            "mode",
            &["reencrypt2", "encrypt", "decrypt", "Reencrypt"][..],
        ),
        ("direction", &["backward", "sideways", "Forward"]),
        (
            "area.type",
            &["journal", "checksum", "datashift", "later", "raw"],
        ),
    ] {
        let values = values.iter().map(|&value| json!(value));
        corpus.each(Base::Reencryption, &format!("{reencrypt}.{name}"), values);
    }
    corpus.each(
        Base::Reencryption,
        "keyslots.2.key_size",
        [json!(0), json!(2), json!(32), json!(-1)],
    );
    reencryption_areas(corpus);
}

fn reencryption_areas(corpus: &mut Corpus) {
    let mut of = |what: &str, area: Value| {
        corpus.json(
            Base::Reencryption,
            format!("keyslots.2.area {what}"),
            move |json| {
                let own = member(json, "keyslots.2.area").as_object_mut().unwrap();
                let members = area.as_object().unwrap().clone();
                own.extend(members);
            },
        );
    };
    for (what, hash, sector_size) in [
        ("sound", json!("sha256"), json!(512)),
        ("of sectors of 4096", json!("sha256"), json!(4096)),
        ("of sectors of 0", json!("sha256"), json!(0)),
        ("of sectors of 511", json!("sha256"), json!(511)),
        ("of sectors of 513", json!("sha256"), json!(513)),
        ("of sectors of 1536", json!("sha256"), json!(1536)),
        ("of sectors of 8192", json!("sha256"), json!(8192)),
        ("of sectors of 256", json!("sha256"), json!(256)),
        ("of sectors of -512", json!("sha256"), json!(-512)),
        (
            "of sectors past 32 bits",
            json!("sha256"),
            json!(1_u64 << 32),
        ),
        ("of sectors as text", json!("sha256"), json!("512")),
        ("with a hash unknown", json!("sha257"), json!(512)),
        ("with a hash that is a number", json!(256), json!(512)),
        ("with an empty hash", json!(""), json!(512)),
    ] {
        of(
            &format!("checksum {what}"),
            json!({"type": "checksum", "hash": hash, "sector_size": sector_size}),
        );
    }
    of(
        "checksum without a hash",
        json!({"type": "checksum", "sector_size": 512}),
    );
    of(
        "checksum without a sector size",
        json!({"type": "checksum", "hash": "sha256"}),
    );
    for kind in ["datashift", "datashift-journal", "datashift-checksum"] {
        for shift in [
            "512",
            "4096",
            "0",
            "511",
            "-512",
            "18446744073709551104",
            "",
        ] {
            let mut area = json!({"type": kind, "shift_size": shift});
            if kind == "datashift-checksum" {
                set(&mut area, "hash", json!("sha256"));
                set(&mut area, "sector_size", json!(512));
            }
            of(&format!("{kind} by {shift:?}"), area);
        }
        of(
            &format!("{kind} by a number"),
            json!({"type": kind, "shift_size": 512, "hash": "sha256", "sector_size": 512}),
        );
    }
    of(
        "datashift-checksum without a hash",
        json!({"type": "datashift-checksum", "shift_size": "512", "sector_size": 512}),
    );
}

/// Spellings of a 64-bit number that are none, or not quite, with the sound one at hand.
fn spellings(sound: &str) -> Vec<Value> {
    let mut spellings: Vec<Value> = [
        format!("+{sound}"),
        format!("-{sound}"),
        format!(" {sound}"),
        format!("{sound} "),
        format!("0{sound}"),
        format!("{sound}x"),
        format!("{sound}.0"),
        "0x8000".to_owned(),
        "-1".to_owned(),
        "1e5".to_owned(),
        "18446744073709551615".to_owned(),
        "18446744073709551616".to_owned(),
    ]
    .into_iter()
    .map(Value::from)
    .collect();
    spellings.push(json!(sound.parse::<u64>().unwrap()));
    spellings
}

fn area(corpus: &mut Corpus) {
    corpus.each(Base::Plain, "keyslots.0.area.offset", spellings("32768"));
    corpus.each(Base::Plain, "keyslots.0.area.size", spellings("131072"));
    let offsets = [
        0_u64, 4096, 16384, 28672, 32256, 32767, 32769, 33280, 36864, 425_984, 426_496, 430_080,
        557_056, 1_048_576,
    ];
    corpus.each(
        Base::Plain,
        "keyslots.0.area.offset",
        offsets.map(|offset| json!(offset.to_string())),
    );
    let sizes = [
        0_u64,
        1,
        512,
        4096,
        127_488,
        127_999,
        128_000,
        128_512,
        131_073,
        524_288,
        524_800,
        528_384,
        1 << 40,
    ];
    corpus.each(
        Base::Plain,
        "keyslots.0.area.size",
        sizes.map(|size| json!(size.to_string())),
    );
    corpus.each(
        Base::Plain,
        "keyslots.0.area.type",
        ["Raw", "datashift", "later"].map(Value::from),
    );
    corpus.each(
        Base::Plain,
        "keyslots.0.area.key_size",
        [
            json!(0),
            json!(1),
            json!(16),
            json!(31),
            json!(33),
            json!(64),
            json!(-1),
        ],
    );
    corpus.each(
        Base::Plain,
        "keyslots.0.area.encryption",
        encryptions().map(Value::from),
    );
}

/// dm-crypt's notation and what comes near it.
fn encryptions() -> impl Iterator<Item = String> {
    [
        "aes-xts-plain",
        "aes-xts-plain64be",
        "aes-xts-essiv:sha256",
        "aes-xts-benbi",
        "aes-xts-null",
        "aes-xts-random",
        "aes-xts-later",
        "aes-xts-",
        "aes-xts",
        "aes",
        "aes-",
        "-xts-plain64",
        "aes-cbc-plain64",
        "aes-cbc-essiv:sha256",
        "aes-cbc-essiv:sha257",
        "aes-cbc-essiv",
        "aes-ctr-plain64",
        "aes-ecb",
        "aes-ecb-null",
        "aes-later-plain64",
        "later-xts-plain64",
        "serpent-xts-plain64",
        "twofish-xts-plain64",
        "AES-XTS-PLAIN64",
        "aes-xts-plain64 ",
        " aes-xts-plain64",
        "aes-xts-plain64-later",
        "aes-xts-plain64:sha256",
        "aes:2-xts-plain64",
        "capi:xts(aes)-plain64",
        "cipher_null-ecb",
        "cipher_null-ecb-null",
        "cipher_null",
        "null",
        "aes-gcm-random",
        "aegis128-random",
        "xchacha12,aes-adiantum-plain64",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([31, 32, 100].map(|len| format!("{}-xts-plain64", "a".repeat(len))))
}

fn base64(len: usize) -> String {
    // The filler's base64: three bytes of it are `Wlpa`.
    let bytes = vec![FILLER; len];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, &byte| (word << 8) | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            text.push(if index <= chunk.len() {
                char::from(alphabet[(word >> (18 - 6 * index)) as usize & 63])
            } else {
                '='
            });
        }
    }
    text
}

/// Ways to spell bytes wrongly; the sound text is changed.
fn base64_cases(corpus: &mut Corpus, path: &'static str, lens: &[usize]) {
    for &len in lens {
        corpus.json(Base::Plain, format!("{path} of {len} bytes"), move |json| {
            set(json, path, json!(base64(len)))
        });
    }
    type Spelling = fn(&str) -> String;
    let spellings: [(&str, Spelling); 7] = [
        ("without padding", |text| {
            text.trim_end_matches('=').to_owned()
        }),
        ("with more padding", |text| format!("{text}=")),
        ("with a line break", |text| {
            format!("{}\n{}", &text[..20], &text[20..])
        }),
        ("with a space at its end", |text| format!("{text} ")),
        ("with a byte of no alphabet", |text| {
            format!("{}!{}", &text[..20], &text[21..])
        }),
        ("in the alphabet for addresses", |text| {
            format!("{}-_{}", &text[..20], &text[22..])
        }),
        ("with bits set past its end", |text| {
            // 32 bytes leave 2 bits of the last letter unused.
            let (head, tail) = text.split_at(text.len() - 2);
            let last = char::from(tail.as_bytes()[0] + 1);
            format!("{head}{last}=")
        }),
    ];
    for (what, spelling) in spellings {
        corpus.json(Base::Plain, format!("{path} {what}"), move |json| {
            let text = member(json, path).as_str().unwrap().to_owned();
            *member(json, path) = json!(spelling(&text));
        });
    }
    corpus.set(Base::Plain, path, json!("!!!!"));
    corpus.set(Base::Plain, path, json!("===="));
}

fn hashes() -> impl Iterator<Item = Value> {
    [
        "SHA256",
        "sha1",
        "sha512",
        "sha3-256",
        "blake2b-512",
        "sha256 ",
        "sha-256",
        "md5",
        "crc32",
        "plain",
        "sha257",
    ]
    .into_iter()
    .map(Value::from)
}

fn af_and_kdf(corpus: &mut Corpus) {
    corpus.each(
        Base::Plain,
        "keyslots.0.af.type",
        ["luks2", "LUKS1", "later"].map(Value::from),
    );
    corpus.each(
        Base::Plain,
        "keyslots.0.af.stripes",
        [
            json!(0),
            json!(1),
            json!(3999),
            json!(4001),
            json!(-1),
            json!(u32::MAX),
            json!((1_u64 << 32) + 4000),
        ],
    );
    corpus.each(Base::Plain, "keyslots.0.af.hash", hashes());
    corpus.each(Base::Plain, "keyslots.0.kdf.hash", hashes());
    corpus.each(
        Base::Plain,
        "keyslots.0.kdf.iterations",
        [
            json!(0),
            json!(1),
            json!(999),
            json!(1000),
            json!(-1),
            json!(-1234),
            json!((1_u64 << 32) + 1234),
        ],
    );
    base64_cases(
        corpus,
        "keyslots.0.kdf.salt",
        &[1, 8, 16, 31, 32, 33, 64, 256],
    );
    corpus.each(
        Base::Plain,
        "keyslots.0.kdf.type",
        ["argon2id", "scrypt", "PBKDF2", "argon2d"].map(Value::from),
    );
    corpus.each(
        Base::Argon2,
        "keyslots.0.kdf.type",
        ["argon2i", "argon2d", "pbkdf2", "Argon2id"].map(Value::from),
    );
    for (name, values) in [
        ("time", &[0_i64, 1, 3, 5, -1, (1 << 32) + 4][..]),
        ("memory", &[0, 7, 8, 31, 32, 1023, -1, (1 << 32) + 1024]),
        ("cpus", &[0, 2, 4, 5, 8, -1, (1 << 32) + 1]),
    ] {
        let values = values.iter().map(|&value| json!(value));
        corpus.each(Base::Argon2, &format!("keyslots.0.kdf.{name}"), values);
    }
    corpus.json(Base::Plain, "Argon2's members beside PBKDF2's", |json| {
        for name in ["time", "memory", "cpus"] {
            set(json, &format!("keyslots.0.kdf.{name}"), json!(4));
        }
    });
    corpus.json(
        Base::Plain,
        "Argon2's members beside PBKDF2's, of a wrong type",
        |json| set(json, "keyslots.0.kdf.memory", json!("4")),
    );
    corpus.json(Base::Argon2, "PBKDF2's members beside Argon2's", |json| {
        set(json, "keyslots.0.kdf.hash", json!("sha256"));
        set(json, "keyslots.0.kdf.iterations", json!(1000));
    });
}

fn digest(corpus: &mut Corpus) {
    corpus.each(
        Base::Plain,
        "digests.0.type",
        ["PBKDF2", "argon2id", "later"].map(Value::from),
    );
    corpus.each(Base::Plain, "digests.0.hash", hashes());
    corpus.each(
        Base::Plain,
        "digests.0.iterations",
        [
            json!(0),
            json!(1),
            json!(999),
            json!(1001),
            json!(-1),
            json!((1_u64 << 32) + 1000),
        ],
    );
    base64_cases(corpus, "digests.0.salt", &[1, 31, 32, 33, 64]);
    base64_cases(corpus, "digests.0.digest", &[1, 19, 20, 31, 32, 33, 64, 65]);
}

fn segment(corpus: &mut Corpus) {
    corpus.each(Base::Plain, "segments.0.offset", spellings("1048576"));
    let offsets = [
        0_u64,
        512,
        4096,
        16384,
        32768,
        163_840,
        524_288,
        556_544,
        557_056,
        1_048_064,
        1_048_575,
        1_048_577,
        1_049_088,
        1_052_672,
        1_060_864,
        1_064_448,
        1_064_960,
        1 << 40,
        1 << 63,
        u64::MAX - 511,
    ];
    let texts = |numbers: &[u64]| -> Vec<Value> {
        numbers
            .iter()
            .map(|number| json!(number.to_string()))
            .collect()
    };
    corpus.each(Base::Plain, "segments.0.offset", texts(&offsets));
    corpus.each(
        Base::Detached,
        "segments.0.offset",
        texts(&[512, 4096, 15872, 16384, 1 << 40]),
    );
    corpus.each(Base::Plain, "segments.0.size", spellings("16384"));
    let sizes = [
        0_u64,
        1,
        512,
        4096,
        8192,
        12_288,
        15_872,
        16_383,
        16_384,
        16_896,
        20_480,
        1 << 40,
        u64::MAX - 511,
        u64::MAX - 4095,
        u64::MAX - 1_052_671,
        u64::MAX - 1_048_575,
    ];
    corpus.each(Base::Plain, "segments.0.size", texts(&sizes));
    corpus.each(
        Base::Plain,
        "segments.0.size",
        ["Dynamic", "dynamic ", "all"].map(Value::from),
    );
    corpus.each(
        Base::Plain,
        "segments.0.sector_size",
        [
            json!(0),
            json!(1),
            json!(256),
            json!(511),
            json!(512),
            json!(513),
            json!(1024),
            json!(1536),
            json!(2048),
            json!(3000),
            json!(8192),
            json!(65536),
            json!(-512),
            json!(-4096),
            json!(1_u64 << 31),
            json!((1_u64 << 32) + 4096),
        ],
    );
    corpus.each(Base::Plain, "segments.0.iv_tweak", spellings("8"));
    corpus.each(
        Base::Plain,
        "segments.0.iv_tweak",
        ["1", "8", "4294967296"].map(Value::from),
    );
    corpus.each(
        Base::Plain,
        "segments.0.encryption",
        encryptions().map(Value::from),
    );
    corpus.each(
        Base::Plain,
        "segments.0.type",
        [
            "linear",
            "Crypt",
            "later",
            "hw-opal",
            "hw-opal-crypt",
            "hw-opal-later",
        ]
        .map(Value::from),
    );
    corpus.each(
        Base::Plain,
        "segments.0.flags",
        [
            json!([]),
            json!(["later"]),
            json!(["in-reencryption"]),
            json!(["backup-final"]),
            json!(["backup-previous"]),
            json!(["backup-later"]),
            json!([1]),
            json!([""]),
            json!([null]),
            json!("in-reencryption"),
            json!({}),
            json!(null),
        ],
    );
    integrity_and_opal(corpus);
}

fn integrity_and_opal(corpus: &mut Corpus) {
    let sound =
        json!({"type": "hmac(sha256)", "journal_encryption": "none", "journal_integrity": "none"});
    let path = "segments.0.integrity";
    corpus.set(Base::Plain, path, sound.clone());
    corpus.each(
        Base::Plain,
        path,
        [json!({}), json!(null), json!("hmac(sha256)"), json!([])],
    );
    for name in ["type", "journal_encryption", "journal_integrity"] {
        let mut without = sound.clone();
        take(&mut without, name);
        corpus.set(Base::Plain, path, without);
        for value in [json!(1), json!(""), json!("later")] {
            let mut changed = sound.clone();
            set(&mut changed, name, value);
            corpus.set(Base::Plain, path, changed);
        }
    }
    let opal = |number: Value, key_size: Value, range: Value, size: &str, kind: &str| {
        let members = json!({"type": kind, "size": size, "opal_segment_number": number,
            "opal_key_size": key_size, "opal_segment_size": range});
        move |json: &mut Value| {
            let segment = member(json, "segments.0").as_object_mut().unwrap();
            segment.extend(members.as_object().unwrap().clone());
        }
    };
    let range = json!("16384");
    for (what, edit) in [
        (
            "sound",
            opal(json!(1), json!(32), range.clone(), "16384", "hw-opal"),
        ),
        (
            "with encryption",
            opal(json!(1), json!(32), range.clone(), "16384", "hw-opal-crypt"),
        ),
        (
            "of dynamic size",
            opal(json!(1), json!(32), range.clone(), "dynamic", "hw-opal"),
        ),
        (
            "smaller than its segment",
            opal(json!(1), json!(32), json!("12288"), "16384", "hw-opal"),
        ),
        (
            "with a number that is text",
            opal(json!("1"), json!(32), range.clone(), "16384", "hw-opal"),
        ),
        (
            "with a negative key size",
            opal(json!(1), json!(-1), range, "16384", "hw-opal"),
        ),
        (
            "with a size that is a number",
            opal(json!(1), json!(32), json!(16384), "16384", "hw-opal"),
        ),
    ] {
        corpus.json(Base::Plain, format!("segments.0 of a drive, {what}"), edit);
    }
}

fn config(corpus: &mut Corpus) {
    corpus.each(Base::Plain, "config.json_size", spellings("12288"));
    let texts = |numbers: &[u64]| -> Vec<Value> {
        numbers
            .iter()
            .map(|number| json!(number.to_string()))
            .collect()
    };
    corpus.each(
        Base::Plain,
        "config.json_size",
        texts(&[0, 4096, 12_287, 12_289, 16_384, 28_672, 4_190_208]),
    );
    corpus.each(Base::Plain, "config.keyslots_size", spellings("524288"));
    let sizes = [
        0_u64,
        512,
        4096,
        126_976,
        131_072,
        135_168,
        524_287,
        524_289,
        524_800,
        528_384,
        1_015_808,
        1_016_320,
        1_019_904,
        134_217_728,
        134_221_824,
        1 << 63,
    ];
    corpus.each(Base::Plain, "config.keyslots_size", texts(&sizes));
    corpus.each(
        Base::Detached,
        "config.keyslots_size",
        texts(&[0, 131_072, 524_288 + 4096, 134_217_728, 134_221_824]),
    );
    corpus.each(
        Base::Plain,
        "config.flags",
        [
            json!([]),
            json!(["allow-discards"]),
            json!(["allow-discards", "allow-discards"]),
            json!([
                "same-cpu-crypt",
                "submit-from-crypt-cpus",
                "no-read-workqueue",
                "no-write-workqueue"
            ]),
            json!(["later"]),
            json!([1]),
            json!([""]),
            json!([null]),
            json!("allow-discards"),
            json!({}),
            json!(null),
        ],
    );
    let mandatory = |names: Value| json!({ "mandatory": names });
    corpus.each(
        Base::Plain,
        "config.requirements",
        [
            json!({}),
            json!({"later": ["x"]}),
            json!(null),
            json!([]),
            json!("opal"),
            mandatory(json!([])),
            mandatory(json!(["offline-reencrypt"])),
            mandatory(json!(["online-reencrypt"])),
            mandatory(json!(["online-reencrypt-v2"])),
            mandatory(json!(["online-reencrypt-v3"])),
            mandatory(json!(["online-reencrypt-v4"])),
            mandatory(json!(["online-reencrypt-v2", "online-reencrypt-v3"])),
            mandatory(json!(["online-reencrypt-v4", "online-reencrypt-v5"])),
            mandatory(json!(["offline-reencrypt", "online-reencrypt"])),
            mandatory(json!(["inline-hw-tags"])),
            mandatory(json!(["opal"])),
            mandatory(json!(["opal-v2"])),
            mandatory(json!(["later"])),
            mandatory(json!(["later", "later"])),
            mandatory(json!([""])),
            mandatory(json!([1])),
            mandatory(json!([null])),
            mandatory(json!("later")),
            mandatory(json!({})),
        ],
    );
}

fn tokens(corpus: &mut Corpus) {
    for (what, token) in [
        (
            "of a type unknown",
            json!({"type": "later", "keyslots": ["0"], "x": {"y": [1]}}),
        ),
        ("of no keyslot", json!({"type": "later", "keyslots": []})),
        (
            "luks2-keyring",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": "a"}),
        ),
        (
            "luks2-keyring without a description",
            json!({"type": "luks2-keyring", "keyslots": ["0"]}),
        ),
        (
            "luks2-keyring with a number",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": 1}),
        ),
        (
            "luks2-keyring with an empty description",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": ""}),
        ),
        (
            "luks2-keyring with more members",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": "a", "later": 1}),
        ),
        (
            "of a reserved type",
            json!({"type": "luks2-later", "keyslots": ["0"]}),
        ),
        ("without a type", json!({"keyslots": ["0"]})),
        (
            "with a type that is a number",
            json!({"type": 1, "keyslots": ["0"]}),
        ),
        ("with an empty type", json!({"type": "", "keyslots": ["0"]})),
        ("without keyslots", json!({"type": "later"})),
        (
            "with keyslots that are text",
            json!({"type": "later", "keyslots": "0"}),
        ),
        (
            "with keyslots that are numbers",
            json!({"type": "later", "keyslots": [0]}),
        ),
        (
            "of a keyslot that is not there",
            json!({"type": "later", "keyslots": ["7"]}),
        ),
        (
            "of keyslot 00",
            json!({"type": "later", "keyslots": ["00"]}),
        ),
        (
            "of a keyslot without a number",
            json!({"type": "later", "keyslots": [""]}),
        ),
        (
            "of a keyslot twice",
            json!({"type": "later", "keyslots": ["0", "0"]}),
        ),
        ("that is null", json!(null)),
        ("that is a list", json!([])),
        ("that is empty", json!({})),
    ] {
        corpus.json(Base::Plain, format!("a token {what}"), move |json| {
            set(json, "tokens.0", token.clone());
        });
    }
    corpus.json(Base::Plain, "32 tokens", |json| {
        for id in 0..32 {
            set(
                json,
                &format!("tokens.{id}"),
                json!({"type": "later", "keyslots": []}),
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_filler() {
        assert_eq!(base64(3), "Wlpa");
        assert_eq!(base64(4), "WlpaWg==");
        assert_eq!(base64(5), "WlpaWlo=");
    }
}
