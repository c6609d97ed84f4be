//! Every member of every object: absent, of another type, and its values at the limits.
//!
//! Lengths of keys beyond 2 GiB are left out: what cryptsetup says of them depends on the machine's memory.

mod config;
mod keyslots;
mod reencryption;
mod segments;
mod tokens;
mod values;

use serde_json::{Value, json};

use super::{Base, Corpus, member, set, take};
use values::{base64_cases, hashes};

pub(super) fn cases(corpus: &mut Corpus) {
    shapes(corpus);
    keyslots::cases(corpus);
    digest(corpus);
    segments::cases(corpus);
    config::cases(corpus);
    tokens::cases(corpus);
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
