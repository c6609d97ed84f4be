//! Config: sizes, flags, requirements.

use serde_json::{Value, json};

use super::values::spellings;
use super::{Base, Corpus};

pub(super) fn cases(corpus: &mut Corpus) {
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
