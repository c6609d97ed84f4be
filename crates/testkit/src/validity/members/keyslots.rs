//! Keyslots: their own members, area, anti-forensic splitter and key derivation.

use serde_json::{Value, json};

use super::values::{base64_cases, encryptions, hashes, spellings};
use super::{Base, Corpus, reencryption, set};

pub(super) fn cases(corpus: &mut Corpus) {
    keyslot(corpus);
    area(corpus);
    af_and_kdf(corpus);
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
    reencryption::areas(corpus);
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
