//! Segments, with integrity and of self-encrypting drives too.

use serde_json::{Value, json};

use super::values::{encryptions, spellings};
use super::{Base, Corpus, member, set, take};

pub(super) fn cases(corpus: &mut Corpus) {
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
