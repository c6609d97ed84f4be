//! The area of a re-encryption's keyslot, whose type says what its members are.

use serde_json::{Value, json};

use super::{Base, Corpus, member, set};

pub(super) fn areas(corpus: &mut Corpus) {
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
