//! Members against each other: numbers, references, areas, segments, re-encryption.

use serde_json::{Value, json};

use super::{Base, Corpus, member, set, take};

/// Numbers of keyslots, tokens, digests and segments, and what is none.
const NUMBERS: [&str; 20] = [
    "1",
    "7",
    "31",
    "32",
    "33",
    "40",
    "99",
    "05",
    "00",
    "",
    "-1",
    "+1",
    " 1",
    "1 ",
    "0x1",
    "1.0",
    "x",
    "2147483647",
    "4294967296",
    "18446744073709551616",
];

pub(super) fn cases(corpus: &mut Corpus) {
    numbers(corpus);
    references(corpus);
    areas(corpus);
    segments(corpus);
    reencryption(corpus);
}

fn numbers(corpus: &mut Corpus) {
    for number in NUMBERS {
        corpus.json(
            Base::Plain,
            format!("keyslot 0 renamed {number:?}"),
            move |json| {
                let keyslot = take(json, "keyslots.0");
                insert(json, "keyslots", number, keyslot);
                set(json, "digests.0.keyslots", json!([number]));
            },
        );
        corpus.json(
            Base::Plain,
            format!("digest 0 renamed {number:?}"),
            move |json| {
                let digest = take(json, "digests.0");
                insert(json, "digests", number, digest);
            },
        );
        corpus.json(
            Base::Plain,
            format!("segment 0 renamed {number:?}"),
            move |json| {
                let segment = take(json, "segments.0");
                insert(json, "segments", number, segment);
                set(json, "digests.0.segments", json!([number]));
            },
        );
        corpus.json(Base::Plain, format!("a token {number:?}"), move |json| {
            let token = json!({"type": "later", "keyslots": ["0"]});
            insert(json, "tokens", number, token);
        });
    }
    corpus.json(Base::Unbound, "keyslot 1 renamed \"00\"", |json| {
        let keyslot = take(json, "keyslots.1");
        insert(json, "keyslots", "00", keyslot);
        set(json, "digests.1.keyslots", json!(["00"]));
    });
    corpus.json(Base::Priorities, "keyslot 31 renamed \"32\"", |json| {
        let keyslot = take(json, "keyslots.31");
        insert(json, "keyslots", "32", keyslot);
        set(json, "digests.0.keyslots", json!(["0", "4", "32"]));
    });
    corpus.json(Base::Priorities, "keyslots in another order", |json| {
        let keyslot = take(json, "keyslots.0");
        set(json, "keyslots.0", keyslot);
    });
}

/// A member whose name may hold dots.
fn insert(json: &mut Value, object: &str, name: &str, value: Value) {
    let object = member(json, object).as_object_mut().unwrap();
    object.insert(name.to_owned(), value);
}

fn references(corpus: &mut Corpus) {
    corpus.each(
        Base::Plain,
        "digests.0.keyslots",
        [
            json!([]),
            json!(["7"]),
            json!(["0", "7"]),
            json!(["0", "0"]),
            json!(["00"]),
            json!([" 0"]),
            json!(["0 "]),
            json!([""]),
            json!(["x"]),
            json!(["-1"]),
            json!(["32"]),
            json!([0]),
            json!([null]),
            json!([["0"]]),
            json!(["0", 0]),
        ],
    );
    corpus.each(
        Base::Plain,
        "digests.0.segments",
        [
            json!([]),
            json!(["7"]),
            json!(["0", "7"]),
            json!(["0", "0"]),
            json!(["00"]),
            json!([""]),
            json!(["x"]),
            json!([0]),
            json!([null]),
        ],
    );
    corpus.json(Base::Plain, "no keyslots", |json| {
        set(json, "keyslots", json!({}));
        set(json, "digests.0.keyslots", json!([]));
    });
    corpus.json(Base::Plain, "no keyslots, no digests", |json| {
        set(json, "keyslots", json!({}));
        set(json, "digests", json!({}));
    });
    corpus.json(Base::Plain, "a second digest claims the keyslot", |json| {
        let mut digest = member(json, "digests.0").clone();
        set(&mut digest, "segments", json!([]));
        set(json, "digests.1", digest);
    });
    corpus.json(Base::Plain, "a second digest claims the segment", |json| {
        let mut digest = member(json, "digests.0").clone();
        set(&mut digest, "keyslots", json!([]));
        set(json, "digests.1", digest);
    });
    corpus.json(Base::Plain, "a second digest claims nothing", |json| {
        let mut digest = member(json, "digests.0").clone();
        set(&mut digest, "keyslots", json!([]));
        set(&mut digest, "segments", json!([]));
        set(json, "digests.1", digest);
    });
    corpus.json(
        Base::Plain,
        "the segment's digest has no keyslot, the keyslot's no segment",
        |json| {
            let mut digest = member(json, "digests.0").clone();
            set(&mut digest, "keyslots", json!([]));
            set(json, "digests.1", digest);
            set(json, "digests.0.segments", json!([]));
        },
    );
    corpus.json(Base::Unbound, "keyslot 1 belongs to no digest", |json| {
        set(json, "digests.1.keyslots", json!([]));
    });
    corpus.json(Base::Unbound, "keyslot 1 belongs to both digests", |json| {
        set(json, "digests.0.keyslots", json!(["0", "1"]));
    });
    corpus.json(Base::Unbound, "keyslot 1 moved to digest 0", |json| {
        set(json, "digests.0.keyslots", json!(["0", "1"]));
        set(json, "digests.1.keyslots", json!([]));
    });
    corpus.json(Base::Unbound, "digest 1 claims the segment too", |json| {
        set(json, "digests.1.segments", json!(["0"]));
    });
    corpus.json(
        Base::Unbound,
        "the digests exchanged their segments",
        |json| {
            set(json, "digests.0.segments", json!([]));
            set(json, "digests.1.segments", json!(["0"]));
        },
    );
    corpus.json(
        Base::Unbound,
        "the digests exchanged their keyslots",
        |json| {
            set(json, "digests.0.keyslots", json!(["1"]));
            set(json, "digests.1.keyslots", json!(["0"]));
        },
    );
    corpus.json(Base::Unbound, "digest 1 of a type unknown", |json| {
        set(json, "digests.1.type", json!("later"));
    });
    corpus.json(Base::Unbound, "keyslot 0 of a type unknown", |json| {
        set(json, "keyslots.0.type", json!("later"));
    });
    corpus.json(
        Base::Unbound,
        "keyslot 1 of a type unknown, in no digest",
        |json| {
            set(json, "keyslots.1.type", json!("later"));
            set(json, "digests.1.keyslots", json!([]));
        },
    );
    corpus.json(Base::Plain, "32 digests", |json| {
        let mut digest = member(json, "digests.0").clone();
        set(&mut digest, "keyslots", json!([]));
        set(&mut digest, "segments", json!([]));
        for id in 1..32 {
            set(json, &format!("digests.{id}"), digest.clone());
        }
    });
    corpus.json(Base::Plain, "no sections but unknown ones", |json| {
        *json = json!({"later": {}});
    });
    corpus.json(Base::Plain, "a further section", |json| {
        set(json, "later", json!({"0": {}}));
    });
}

fn areas(corpus: &mut Corpus) {
    for (base, keyslot, offset) in [
        // Keyslot 0 owns 32768 to 163840.
        (Base::Unbound, 1, 32_768_u64),
        (Base::Unbound, 1, 98_304),
        (Base::Unbound, 1, 159_744),
        (Base::Unbound, 1, 163_328),
        (Base::Unbound, 1, 163_839),
        (Base::Unbound, 1, 163_841),
        (Base::Unbound, 1, 164_352),
        (Base::Unbound, 1, 167_936),
        (Base::Unbound, 1, 28_672),
        (Base::Unbound, 1, 491_520),
        (Base::Unbound, 1, 492_032),
        (Base::Unbound, 1, 495_616),
        (Base::Unbound, 1, 983_040),
        (Base::Unbound, 1, 1_048_576),
        (Base::Unbound, 1, u64::MAX - 65_535),
        (Base::Unbound, 1, u64::MAX - 511),
        // Keyslot 4 owns what follows up to 294912.
        (Base::Priorities, 31, 290_816),
        (Base::Priorities, 31, 299_008),
        (Base::Priorities, 31, 425_984),
        (Base::Priorities, 31, 430_080),
        (Base::Reencryption, 2, 290_816),
        (Base::Reencryption, 2, 294_911),
        (Base::Reencryption, 2, 295_424),
        (Base::Reencryption, 2, 299_008),
    ] {
        corpus.set(
            base,
            &format!("keyslots.{keyslot}.area.offset"),
            json!(offset.to_string()),
        );
    }
    for (base, keyslot, size) in [
        (Base::Unbound, 1, 64_000_u64),
        (Base::Unbound, 1, 63_999),
        (Base::Unbound, 1, 63_488),
        (Base::Unbound, 1, 393_216),
        (Base::Unbound, 1, 393_728),
        (Base::Unbound, 1, u64::MAX - 163_839),
        (Base::Unbound, 1, u64::MAX - 163_840),
        (Base::Unbound, 0, 135_168),
        (Base::Unbound, 0, 131_584),
        (Base::Priorities, 4, 135_168),
        (Base::Reencryption, 2, 1),
        (Base::Reencryption, 2, 512),
        (Base::Reencryption, 2, 266_240),
        (Base::Reencryption, 2, 0),
    ] {
        corpus.set(
            base,
            &format!("keyslots.{keyslot}.area.size"),
            json!(size.to_string()),
        );
    }
    corpus.json(Base::Plain, "two keyslots of one area", |json| {
        let keyslot = member(json, "keyslots.0").clone();
        set(json, "keyslots.1", keyslot);
        set(json, "digests.0.keyslots", json!(["0", "1"]));
    });
    corpus.json(
        Base::Plain,
        "a keyslot of a type unknown over another's area",
        |json| {
            let mut keyslot = member(json, "keyslots.0").clone();
            set(&mut keyslot, "type", json!("later"));
            set(json, "keyslots.1", keyslot);
        },
    );
    corpus.json(
        Base::Plain,
        "a keyslot of a type unknown in an area of its own",
        |json| {
            let area = json!({"type": "later", "offset": "262144", "size": "4096"});
            let keyslot = json!({"type": "later", "key_size": 32, "area": area});
            set(json, "keyslots.1", keyslot);
        },
    );
    corpus.json(
        Base::Plain,
        "a keyslot of a type unknown without an area",
        |json| {
            let keyslot = json!({"type": "later", "key_size": 32});
            set(json, "keyslots.1", keyslot);
        },
    );
    for count in [32, 33] {
        corpus.json(Base::Plain, format!("{count} keyslots"), move |json| {
            for id in 1..count {
                let area = json!({"type": "later", "offset": (262_144 + 4096 * id).to_string(), "size": "4096"});
                let keyslot = json!({"type": "later", "key_size": 32, "area": area});
                set(json, &format!("keyslots.{id}"), keyslot);
            }
        });
    }
}

fn crypt(offset: u64, size: &str) -> Value {
    json!({"type": "crypt", "offset": offset.to_string(), "size": size, "iv_tweak": "0",
        "encryption": "aes-xts-plain64", "sector_size": 4096})
}

fn with(mut segment: Value, name: &str, value: Value) -> Value {
    set(&mut segment, name, value);
    segment
}

fn segments(corpus: &mut Corpus) {
    const START: u64 = 1 << 20;
    let linear = |offset: u64, size: &str| json!({"type": "linear", "offset": offset.to_string(), "size": size});
    let backup = |flag: &str| with(crypt(START, "dynamic"), "flags", json!([flag]));
    let later = |segment| with(segment, "type", json!("later"));
    let lists: Vec<(&str, Vec<Value>)> = vec![
        (
            "two, the second dynamic",
            vec![
                crypt(START, "8192"),
                with(crypt(START + 8192, "dynamic"), "iv_tweak", json!("16")),
            ],
        ),
        (
            "two, the second's IVs from 0",
            vec![crypt(START, "8192"), crypt(START + 8192, "dynamic")],
        ),
        (
            "two of fixed sizes",
            vec![
                crypt(START, "8192"),
                with(crypt(START + 8192, "8192"), "iv_tweak", json!("16")),
            ],
        ),
        (
            "two, the first dynamic",
            vec![crypt(START, "dynamic"), crypt(START + 8192, "8192")],
        ),
        (
            "two dynamic ones",
            vec![crypt(START, "dynamic"), crypt(START + 8192, "dynamic")],
        ),
        (
            "two that overlap",
            vec![crypt(START, "8192"), crypt(START + 4096, "dynamic")],
        ),
        (
            "two of the same place",
            vec![crypt(START, "8192"), crypt(START, "8192")],
        ),
        (
            "two with a hole between",
            vec![crypt(START, "4096"), crypt(START + 8192, "dynamic")],
        ),
        (
            "two in reverse order",
            vec![crypt(START + 8192, "8192"), crypt(START, "8192")],
        ),
        (
            "two in reverse order, the last dynamic",
            vec![crypt(START + 8192, "4096"), crypt(START, "dynamic")],
        ),
        (
            "two of other sector sizes",
            vec![
                crypt(START, "8192"),
                with(crypt(START + 8192, "dynamic"), "sector_size", json!(512)),
            ],
        ),
        (
            "two of other ciphers",
            vec![
                crypt(START, "8192"),
                with(
                    crypt(START + 8192, "dynamic"),
                    "encryption",
                    json!("aes-xts-plain"),
                ),
            ],
        ),
        (
            "a linear one after",
            vec![crypt(START, "8192"), linear(START + 8192, "dynamic")],
        ),
        (
            "a linear one before",
            vec![linear(START, "8192"), crypt(START + 8192, "dynamic")],
        ),
        ("linear only", vec![linear(START, "dynamic")]),
        (
            "a type unknown after",
            vec![crypt(START, "8192"), later(crypt(START + 8192, "dynamic"))],
        ),
        (
            "a backup after",
            vec![crypt(START, "dynamic"), backup("backup-previous")],
        ),
        (
            "a backup before",
            vec![backup("backup-previous"), crypt(START, "dynamic")],
        ),
        (
            "a backup between",
            vec![
                crypt(START, "8192"),
                backup("backup-previous"),
                crypt(START + 8192, "dynamic"),
            ],
        ),
        (
            "both backups after",
            vec![
                crypt(START, "dynamic"),
                backup("backup-previous"),
                backup("backup-final"),
            ],
        ),
        (
            "the same backup twice",
            vec![
                crypt(START, "dynamic"),
                backup("backup-final"),
                backup("backup-final"),
            ],
        ),
        (
            "a backup of an unknown kind after",
            vec![crypt(START, "dynamic"), backup("backup-later")],
        ),
        (
            "a moved segment after",
            vec![crypt(START, "dynamic"), backup("backup-moved-segment")],
        ),
        (
            "backups only",
            vec![backup("backup-previous"), backup("backup-final")],
        ),
        (
            "one in re-encryption",
            vec![
                crypt(START, "8192"),
                with(
                    crypt(START + 8192, "dynamic"),
                    "flags",
                    json!(["in-reencryption"]),
                ),
            ],
        ),
        (
            "a backup past the end",
            vec![
                crypt(START, "dynamic"),
                with(crypt(1 << 40, "4096"), "flags", json!(["backup-final"])),
            ],
        ),
    ];
    for (what, list) in lists {
        corpus.json(Base::Plain, format!("segments: {what}"), move |json| {
            let numbered = list.iter().enumerate();
            let ids: Vec<String> = (0..list.len()).map(|id| id.to_string()).collect();
            let segments = numbered.map(|(id, segment)| (id.to_string(), segment.clone()));
            set(
                json,
                "segments",
                segments.collect::<serde_json::Map<_, _>>().into(),
            );
            set(json, "digests.0.segments", json!(ids));
        });
    }
    corpus.json(Base::Plain, "segments: none", |json| {
        set(json, "segments", json!({}));
        set(json, "digests.0.segments", json!([]));
    });
    corpus.json(Base::Plain, "segments: 0 and 2", |json| {
        set(json, "segments.0.size", json!("8192"));
        set(json, "segments.2", crypt(START + 8192, "dynamic"));
        set(json, "digests.0.segments", json!(["0", "2"]));
    });
    corpus.json(Base::Plain, "segments: the second in no digest", |json| {
        set(json, "segments.0.size", json!("8192"));
        set(json, "segments.1", crypt(START + 8192, "dynamic"));
    });
    corpus.json(Base::Plain, "segments: 33", |json| {
        let ids: Vec<String> = (0..33).map(|id| id.to_string()).collect();
        for id in 0..33_u64 {
            set(
                json,
                &format!("segments.{id}"),
                with(crypt(START + 512 * id, "512"), "sector_size", json!(512)),
            );
        }
        set(json, "digests.0.segments", json!(ids));
    });
    corpus.json(Base::Plain, "segments: 32", |json| {
        let ids: Vec<String> = (0..32).map(|id| id.to_string()).collect();
        for id in 0..32_u64 {
            let segment = with(crypt(START + 512 * id, "512"), "sector_size", json!(512));
            set(
                json,
                &format!("segments.{id}"),
                with(segment, "iv_tweak", json!(id.to_string())),
            );
        }
        set(json, "digests.0.segments", json!(ids));
    });
}

fn reencryption(corpus: &mut Corpus) {
    let base = Base::Reencryption;
    for names in [
        json!([]),
        json!(["online-reencrypt"]),
        json!(["online-reencrypt-v3"]),
        json!(["online-reencrypt-v4"]),
        json!(["online-reencrypt-v"]),
        json!(["online-reencrypt-vx"]),
        json!(["offline-reencrypt"]),
        json!(["online-reencrypt-v2", "online-reencrypt-v2"]),
        json!(["online-reencrypt-v2", "later"]),
    ] {
        corpus.set(base, "config.requirements.mandatory", names);
    }
    corpus.json(base, "no keyslot of the re-encryption", |json| {
        take(json, "keyslots.2");
        set(json, "digests.2.keyslots", json!([]));
    });
    corpus.json(base, "no keyslot nor digest of the re-encryption", |json| {
        take(json, "keyslots.2");
        take(json, "digests.2");
    });
    corpus.json(base, "no digest of the re-encryption", |json| {
        take(json, "digests.2");
    });
    corpus.json(base, "two keyslots of re-encryption", |json| {
        let mut second = member(json, "keyslots.2").clone();
        set(json, "keyslots.2.area.size", json!("131072"));
        set(&mut second, "area.offset", json!("425984"));
        set(&mut second, "area.size", json!("131072"));
        set(json, "keyslots.3", second);
    });
    for (segment, what) in [(1, "no previous backup"), (2, "no final backup")] {
        corpus.json(base, what, move |json| {
            let removed = take(json, &format!("segments.{segment}"));
            if segment == 1 {
                let last = take(json, "segments.2");
                set(json, "segments.1", last);
                set(json, "digests.0.segments", json!(["0"]));
                set(json, "digests.1.segments", json!(["1"]));
            } else {
                set(json, "digests.1.segments", json!([]));
            }
            drop(removed);
        });
    }
    for (path, value) in [
        ("segments.0.sector_size", json!(4096)),
        ("segments.1.sector_size", json!(4096)),
        ("segments.2.sector_size", json!(4096)),
        ("segments.0.encryption", json!("aes-xts-plain")),
        ("segments.1.encryption", json!("aes-xts-plain")),
        ("segments.2.encryption", json!("aes-xts-plain")),
        ("segments.0.flags", json!(["in-reencryption"])),
        ("segments.1.flags", json!(["backup-final"])),
        (
            "segments.1.flags",
            json!(["backup-previous", "backup-final"]),
        ),
        ("segments.2.flags", json!(["backup-later"])),
        ("segments.2.flags", json!([])),
        ("segments.1.offset", json!("1049088")),
        ("segments.2.offset", json!("1049088")),
        ("segments.2.offset", json!("1099511627776")),
        ("segments.2.type", json!("linear")),
        ("segments.1.type", json!("linear")),
        ("segments.0.type", json!("linear")),
        ("digests.1.segments", json!([])),
        ("digests.0.segments", json!(["0"])),
        ("digests.0.segments", json!(["1"])),
        ("digests.2.segments", json!(["0"])),
        ("keyslots.2.priority", json!(1)),
        ("keyslots.2.priority", json!("x")),
        ("keyslots.2.area.encryption", json!("aes-xts-plain64")),
        (
            "digests.2.digest",
            json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ),
        ("digests.2.type", json!("later")),
    ] {
        corpus.set(base, path, value);
    }
}
