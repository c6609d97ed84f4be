//! Headers made and changed: what is written, what survives, what is refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{
    argon2_keyslot, digest, image, load, new_header, object, pbkdf2_keyslot, replace_json, sample,
};
use lucarne_format::luks2::{
    Area, CryptSegment, Draft, Header, HeaderCopy, Kdf, Keyslot, Luks2Keyslot, Metadata, NewHeader,
    Priority, Requirement, Segment, SegmentSize,
};
use lucarne_format::{Corrupt, Error};
use serde_json::{Value, json};

fn refused(change: impl FnOnce(&mut Draft) -> Result<(), Error>) -> String {
    sample().edit(change).unwrap_err().to_string()
}

#[test]
fn the_json_has_cryptsetups_order_and_spelling() {
    let header = Header::new(&new_header(0x4000), |draft| {
        draft.insert_keyslot(0, &pbkdf2_keyslot(0x8000))?;
        draft.insert_segment(0, &Segment::Crypt(common::crypt_segment(16 << 20)))?;
        draft.insert_digest(0, &digest(&[0], &[0]))
    })
    .unwrap();
    // As `cryptsetup luksFormat --hash sha512 --pbkdf pbkdf2` writes it, but for salts and digest.
    let salt = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let digest_salt = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
    let digest = "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=";
    let expected = format!(
        concat!(
            r#"{{"keyslots":{{"0":{{"type":"luks2","key_size":64,"#,
            r#""af":{{"type":"luks1","stripes":4000,"hash":"sha256"}},"#,
            r#""area":{{"type":"raw","offset":"32768","size":"258048","encryption":"aes-xts-plain64","key_size":64}},"#,
            r#""kdf":{{"type":"pbkdf2","hash":"sha512","iterations":1000,"salt":"{}"}}}}}},"#,
            r#""tokens":{{}},"#,
            r#""segments":{{"0":{{"type":"crypt","offset":"16777216","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096}}}},"#,
            r#""digests":{{"0":{{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"{}","digest":"{}"}}}},"#,
            r#""config":{{"json_size":"12288","keyslots_size":"1048576"}}}}"#,
        ),
        salt, digest_salt, digest
    );
    assert_eq!(header.metadata().to_json_text(), expected);
    let bytes = header.encode(HeaderCopy::Primary, [0; 64]).unwrap();
    assert_eq!(bytes.len(), 0x4000);
    assert_eq!(&bytes[4096..4096 + expected.len()], expected.as_bytes());
    assert!(bytes[4096 + expected.len()..].iter().all(|&byte| byte == 0));
}

#[test]
fn typed_values_come_back_as_they_went_in() {
    let sample = sample();
    let metadata = sample.metadata();
    let end = Area::size_for_key(64) + 0x8000;
    assert_eq!(
        metadata.keyslots()[&0],
        Keyslot::Luks2(pbkdf2_keyslot(0x8000))
    );
    assert_eq!(metadata.keyslots()[&1], Keyslot::Luks2(argon2_keyslot(end)));
    assert_eq!(metadata.digests()[&0], digest(&[0, 1], &[0]));
    assert_eq!(
        metadata.segments()[&0],
        Segment::Crypt(common::crypt_segment(16 << 20))
    );
    assert_eq!(metadata.tokens()[&0].kind, "example");
    assert_eq!(metadata.tokens()[&0].keyslots, [1].into());
    assert_eq!(metadata.tokens()[&0].json, common::token());
    assert_eq!(metadata.flags(), ["allow-discards"]);
    assert_eq!(metadata.requirements(), []);
    assert_eq!(metadata.keyslots_size(), 0x10_0000);
    assert_eq!(metadata.json_size(), 0x3000);
    assert_eq!(metadata.keyslots_area(), 0x8000..0x10_8000);
    assert_eq!(metadata.data_offset(), 16 << 20);
    assert_eq!(metadata.free_area(4096), Some(end + Area::size_for_key(64)));
    assert_eq!(metadata.digest_of_keyslot(1).unwrap().0, 0);
    assert_eq!(metadata.digest_of_keyslot(2), None);
    assert_eq!(metadata.digest_of_segment(0).unwrap().0, 0);
    assert_eq!(metadata.digest_of_segment(1), None);
}

#[test]
fn every_kind_of_segment_is_written() {
    let authenticated = CryptSegment {
        size: SegmentSize::Bytes(8192),
        iv_tweak: 5,
        integrity: Some("aead".into()),
        ..common::crypt_segment(16 << 20)
    };
    let linear = Segment::Linear {
        offset: 17 << 20,
        size: SegmentSize::Dynamic,
        flags: vec!["in-reencryption".into()],
    };
    let header = sample()
        .edit(|draft| {
            draft.remove_segment(0)?;
            draft.insert_segment(0, &Segment::Crypt(authenticated.clone()))?;
            draft.insert_segment(1, &linear)?;
            draft.assign_segment(0, 0)
        })
        .unwrap();
    assert_eq!(
        header.metadata().segments()[&0],
        Segment::Crypt(authenticated)
    );
    assert_eq!(header.metadata().segments()[&1], linear);
    assert_eq!(
        header.metadata().json()["segments"]["0"]["integrity"],
        json!({"type": "aead", "journal_encryption": "none", "journal_integrity": "none"})
    );
}

#[test]
fn keyslots_are_tried_by_priority() {
    let order = |header: &Header| -> Vec<u32> {
        let keyslots = header.metadata().keyslots_by_priority(0);
        keyslots.into_iter().map(|(id, _)| id).collect()
    };
    let mut header = sample();
    assert_eq!(order(&header), [1, 0]);
    header = header
        .edit(|draft| {
            draft.set_keyslot_priority(1, Priority::Normal)?;
            let area = draft.free_area(Area::size_for_key(64)).unwrap();
            draft.insert_keyslot(2, &pbkdf2_keyslot(area))?;
            draft.insert_digest(1, &digest(&[2], &[]))
        })
        .unwrap();
    // Keyslot 2 is unbound: it opens no segment.
    assert_eq!(order(&header), [0, 1]);
    header = header
        .edit(|draft| draft.set_keyslot_priority(0, Priority::Ignore))
        .unwrap();
    assert_eq!(order(&header), [1]);
    assert_eq!(
        header.metadata().json()["keyslots"]["0"]["priority"],
        json!(0)
    );
    assert!(header.metadata().keyslots_by_priority(9).is_empty());
}

#[test]
fn an_edit_leaves_the_old_header_and_counts() {
    let old = sample();
    let before = old.clone();
    let new = old
        .edit(|draft| {
            draft.set_label("")?;
            draft.set_subsystem("s")?;
            draft.set_uuid("0B61D7CC-6B3C-4C2B-8F3A-5D6F8A1B2C3E")
        })
        .unwrap();
    assert_eq!(old, before);
    assert_eq!((new.seqid(), new.label(), new.subsystem()), (2, "", "s"));
    assert_eq!(new.uuid(), "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3e");
    assert_eq!(&new.uuid_bytes()[36..], [0; 4]);
    let failed = old.edit(|draft| {
        draft.set_label("lost")?;
        draft.remove_keyslot(9)
    });
    assert_eq!(
        failed.unwrap_err().to_string(),
        "refused: keyslot 9 does not exist"
    );
    assert_eq!(old, before);
}

#[test]
fn removing_a_keyslot_removes_every_mention_of_it() {
    let header = sample().edit(|draft| draft.remove_keyslot(1)).unwrap();
    let metadata = header.metadata();
    assert_eq!(metadata.keyslots().len(), 1);
    assert_eq!(metadata.digests()[&0].keyslots, [0].into());
    assert_eq!(metadata.tokens()[&0].keyslots, [].into());
    // Its area is free again.
    let hole = sample().edit(|draft| draft.remove_keyslot(0)).unwrap();
    assert_eq!(hole.metadata().free_area(4096), Some(0x8000));
}

#[test]
fn a_digest_without_assignments_is_dropped() {
    let header = sample()
        .edit(|draft| {
            let area = draft.free_area(Area::size_for_key(64)).unwrap();
            assert_eq!(draft.free_keyslot_id(), Some(2));
            assert_eq!(draft.free_digest_id(), Some(1));
            draft.insert_keyslot(2, &pbkdf2_keyslot(area))?;
            draft.insert_digest(1, &digest(&[], &[]))?;
            draft.assign_keyslot(1, 2)
        })
        .unwrap();
    assert_eq!(header.metadata().digest_of_keyslot(2).unwrap().0, 1);
    let header = header.edit(|draft| draft.remove_keyslot(2)).unwrap();
    assert_eq!(header.metadata().digests().len(), 1);
    // One that still names a segment stays, though its last keyslot is gone.
    let erased = header
        .edit(|draft| {
            draft.remove_keyslot(0)?;
            draft.remove_keyslot(1)
        })
        .unwrap();
    assert_eq!(erased.metadata().digests()[&0].keyslots, [].into());
}

#[test]
fn updating_a_keyslot_keeps_assignments_and_unknown_members() {
    let with_unknown = |json: &mut Value| {
        json["keyslots"]["0"]["note"] = json!("keep");
        json["keyslots"]["0"]["area"]["note"] = json!([1]);
        json["keyslots"]["0"]["priority"] = json!(2);
    };
    let mut image = image(&sample());
    let text = common::json_area(with_unknown);
    for copy in [0, 0x4000] {
        common::replace_json(&mut image, copy, 0x4000, &text);
    }
    let header = load(&image).unwrap().header;
    let edited = header
        .edit(|draft| {
            let mut keyslot = argon2_keyslot(0x8000);
            keyslot.priority = Priority::Normal;
            draft.update_keyslot(0, &keyslot)
        })
        .unwrap();
    let json = &edited.metadata().json()["keyslots"]["0"];
    assert_eq!(json["note"], json!("keep"));
    assert_eq!(json["area"]["note"], json!([1]));
    assert_eq!(json.get("priority"), None);
    // The old KDF's members are gone.
    assert_eq!(json["kdf"].get("iterations"), None);
    assert_eq!(json["kdf"].get("hash"), None);
    assert_eq!(edited.metadata().digest_of_keyslot(0).unwrap().0, 0);
}

#[test]
fn leftover_kdf_members_are_cleaned_by_a_write_only() {
    let area = common::json_area(|json| {
        json["keyslots"]["0"]["kdf"]["memory"] = json!(7);
        json["keyslots"]["1"]["kdf"]["iterations"] = json!(7);
        json["keyslots"]["1"]["kdf"]["unknown"] = json!(7);
    });
    let mut image = image(&sample());
    common::replace_json(&mut image, 0, 0x4000, &area);
    let header = load(&image).unwrap().header;
    assert_eq!(
        header.metadata().json()["keyslots"]["0"]["kdf"]["memory"],
        json!(7)
    );
    let edited = header.edit(|_| Ok(())).unwrap();
    let keyslots = &edited.metadata().json()["keyslots"];
    assert_eq!(keyslots["0"]["kdf"].get("memory"), None);
    assert_eq!(keyslots["1"]["kdf"].get("iterations"), None);
    assert_eq!(keyslots["1"]["kdf"]["unknown"], json!(7));
}

#[test]
fn flags_and_requirements_are_replaced_or_dropped() {
    let header = sample()
        .edit(|draft| {
            draft.set_flags(&["no-journal", "unheard-of"]);
            draft.set_requirements(&[Requirement::from("teleport"), Requirement::Opal]);
            Ok(())
        })
        .unwrap();
    assert_eq!(header.metadata().flags(), ["no-journal", "unheard-of"]);
    assert_eq!(
        header.metadata().json()["config"]["requirements"],
        json!({"mandatory": ["teleport", "opal"]})
    );
    let header = header
        .edit(|draft| {
            draft.set_flags::<&str>(&[]);
            draft.set_requirements(&[]);
            Ok(())
        })
        .unwrap();
    let config = &header.metadata().json()["config"];
    assert_eq!(
        config,
        &json!({"json_size": "12288", "keyslots_size": "1048576"})
    );
}

#[test]
fn tokens_come_and_go() {
    let header = sample()
        .edit(|draft| {
            assert_eq!(draft.free_token_id(), Some(1));
            draft.insert_token(
                31,
                object(json!({"type": "luks2-keyring", "keyslots": [], "key_description": "k"})),
            )?;
            draft.assign_token(31, 0)?;
            draft.assign_token(31, 0)?;
            draft.unassign_token(0, 1)?;
            draft.remove_token(0)
        })
        .unwrap();
    let tokens = header.metadata().tokens();
    assert_eq!(tokens.keys().copied().collect::<Vec<_>>(), [31]);
    assert_eq!(tokens[&31].json["keyslots"], json!(["0"]));
    assert_eq!(
        refused(|draft| draft.insert_token(1, object(json!({"type": "x"})))),
        "refused: the header would be invalid: tokens.1.keyslots is missing"
    );
    assert_eq!(
        refused(|draft| draft.insert_token(1, object(json!({"type": "x\0", "keyslots": []})))),
        "refused: the header would be invalid: JSON: a string holds a zero byte at line 1 column 734"
    );
}

#[test]
fn slips_are_refused_by_name() {
    let slot = pbkdf2_keyslot(0x9_0000);
    for (error, want) in [
        (
            refused(|draft| draft.insert_keyslot(0, &slot)),
            "keyslot 0 exists already",
        ),
        (
            refused(|draft| draft.insert_keyslot(32, &slot)),
            "keyslot number is 32, the limit is 31",
        ),
        (
            refused(|draft| draft.update_keyslot(5, &slot)),
            "keyslot 5 does not exist",
        ),
        (
            refused(|draft| draft.remove_digest(4)),
            "digest 4 does not exist",
        ),
        (
            refused(|draft| draft.assign_keyslot(0, 4)),
            "keyslot 4 does not exist",
        ),
        (
            refused(|draft| draft.assign_keyslot(4, 0)),
            "digest 4 does not exist",
        ),
        (
            refused(|draft| draft.unassign_keyslot(4, 0)),
            "digest 4 does not exist",
        ),
        (
            refused(|draft| draft.assign_segment(0, 4)),
            "segment 4 does not exist",
        ),
        (
            refused(|draft| draft.remove_segment(4)),
            "segment 4 does not exist",
        ),
        (
            refused(|draft| draft.remove_token(4)),
            "token 4 does not exist",
        ),
        (
            refused(|draft| draft.assign_token(4, 0)),
            "token 4 does not exist",
        ),
        (
            refused(|draft| draft.set_keyslot_priority(4, Priority::Normal)),
            "keyslot 4 does not exist",
        ),
        (
            refused(|draft| draft.set_label(&"x".repeat(48))),
            "label is 48 bytes, the limit is 47",
        ),
        (
            refused(|draft| draft.set_subsystem("a\0b")),
            "subsystem has a zero byte at 1",
        ),
        (
            refused(|draft| draft.set_uuid("0b61d7cc")),
            "uuid \"0b61d7cc\" is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        ),
        (
            refused(|draft| draft.insert_keyslot(2, &slot)),
            "the header would be invalid: keyslot 2 belongs to 0 digests, must belong to exactly one",
        ),
        (
            refused(|draft| {
                draft.insert_keyslot(2, &pbkdf2_keyslot(0x9000))?;
                draft.assign_keyslot(0, 2)
            }),
            "the header would be invalid: keyslot 2 area 0x9000+0x3f000 overlaps keyslot 0 area 0x8000+0x3f000",
        ),
        (
            refused(|draft| draft.remove_segment(0)),
            "the header would be invalid: segments is empty",
        ),
        (
            refused(|draft| draft.unassign_segment(0, 0)),
            "the header would be invalid: segment 0 belongs to no digest",
        ),
        (
            refused(|draft| draft.unassign_keyslot(0, 0)),
            "the header would be invalid: keyslot 0 belongs to 0 digests, must belong to exactly one",
        ),
        (
            refused(|draft| {
                let mut keyslot = slot.clone();
                keyslot.kdf = Kdf::Unknown {
                    kind: "scrypt".into(),
                };
                draft.insert_keyslot(2, &keyslot)
            }),
            "keyslot cannot be written: its members are not known",
        ),
    ] {
        assert_eq!(error, format!("refused: {want}"));
    }
    sample()
        .edit(|draft| draft.set_label(&"x".repeat(47)))
        .unwrap();
}

#[test]
fn json_that_does_not_fit_is_refused() {
    let token = |len: usize| object(json!({"type": "x".repeat(len), "keyslots": []}));
    let others =
        sample().metadata().to_json_text().len() + r#","1":{"type":"","keyslots":[]}"#.len();
    let room = 0x3000 - 1 - others;
    let full = sample()
        .edit(|draft| draft.insert_token(1, token(room)))
        .unwrap();
    assert_eq!(
        load(&image(&full)).unwrap().header.metadata(),
        full.metadata()
    );
    assert_eq!(
        refused(|draft| draft.insert_token(1, token(room + 1))),
        "refused: the JSON needs 12288 bytes, its area holds 12287"
    );
}

#[test]
fn new_headers_are_checked() {
    let new = |new: NewHeader| Header::new(&new, |_| Ok(())).unwrap_err().to_string();
    assert_eq!(
        new(NewHeader {
            header_size: 0x5000,
            ..new_header(0x4000)
        }),
        "refused: the header would be invalid: hdr_size is 0x5000, must be a power of two from 0x4000 to 0x400000"
    );
    assert_eq!(
        new(NewHeader {
            keyslots_size: 5,
            ..new_header(0x4000)
        }),
        "refused: the header would be invalid: config.keyslots_size is 5, must be a multiple of 4096"
    );
    assert_eq!(
        new(new_header(0x4000)),
        "refused: the header would be invalid: segments is empty"
    );
    assert_eq!(
        new(NewHeader::default()),
        "refused: uuid \"\" is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
    );
}

#[test]
fn all_32_keyslots_fit_and_no_more() {
    let new = NewHeader {
        keyslots_size: 16 << 20,
        ..new_header(0x8000)
    };
    let full = Header::new(&new, |draft| {
        while let Some(id) = draft.free_keyslot_id() {
            let area = draft.free_area(Area::size_for_key(64)).unwrap();
            draft.insert_keyslot(id, &pbkdf2_keyslot(area))?;
        }
        let ids: Vec<u32> = (0..32).collect();
        draft.insert_digest(0, &digest(&ids, &[0]))?;
        draft.insert_segment(0, &Segment::Crypt(common::crypt_segment(32 << 20)))
    })
    .unwrap();
    assert_eq!(full.metadata().keyslots().len(), 32);
    assert!(!load(&image(&full)).unwrap().repair.is_needed());
}

#[test]
fn seqid_does_not_wrap() {
    let mut image = image(&sample());
    image[16..24].copy_from_slice(&u64::MAX.to_be_bytes());
    common::fix_checksum(&mut image, 0, 0x4000);
    let header = load(&image).unwrap().header;
    assert_eq!(
        header.edit(|_| Ok(())).unwrap_err().to_string(),
        "refused: seqid is 18446744073709551615, the largest"
    );
}

#[test]
fn foreign_bytes_in_text_fields_survive() {
    let mut image = image(&sample());
    image[24..28].copy_from_slice(b"\xff\xfe\0\x07");
    image[168..208].fill(b'u');
    common::fix_checksum(&mut image, 0, 0x4000);
    let header = load(&image).unwrap().header;
    assert_eq!(header.label(), "\u{fffd}\u{fffd}");
    assert_eq!(header.uuid(), "u".repeat(39));
    let again = header.edit(|_| Ok(())).unwrap();
    let bytes = again.encode(HeaderCopy::Primary, [0; 64]).unwrap();
    assert_eq!(&bytes[24..72], &image[24..72]);
    assert_eq!(&bytes[168..208], &image[168..208]);
}

#[test]
fn errors_are_small_and_can_be_compared() {
    fn takes(_: &Corrupt) {}
    let error = Metadata::from_json_area(b"{}\0").unwrap_err();
    if let Error::Corrupt(corrupt) = &error {
        takes(corrupt);
    }
    assert_eq!(error, Metadata::from_json_area(b"{}\0").unwrap_err());
}

/// What is made has no unusable parts; what was unusable before may be edited around.
#[test]
fn an_edit_makes_no_part_unusable_and_keeps_those_that_were() {
    let header = sample();
    let broken = || Luks2Keyslot {
        kdf: Kdf::Pbkdf2 {
            hash: "sha256".into(),
            iterations: 0,
            salt: vec![1; 32],
        },
        ..pbkdf2_keyslot(0x8000)
    };
    let error = header
        .edit(|draft| draft.update_keyslot(0, &broken()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused: the header would be invalid: keyslots.0.kdf.iterations is 0, the least is 1"
    );
    let mut image = image(&header);
    let mut json = Value::Object(header.metadata().json().clone());
    json["keyslots"]["0"]["kdf"]["iterations"] = json!(0);
    for offset in [0, 0x4000] {
        replace_json(&mut image, offset, 0x4000, json.to_string().as_bytes());
    }
    let loaded = load(&image).unwrap().header;
    let labelled = loaded.edit(|draft| draft.set_label("kept")).unwrap();
    assert_eq!(labelled.metadata().json()["keyslots"], json["keyslots"]);
    assert!(
        labelled
            .metadata()
            .defects()
            .eq(loaded.metadata().defects())
    );
    // And mended.
    let mended = loaded
        .edit(|draft| draft.update_keyslot(0, &pbkdf2_keyslot(0x8000)))
        .unwrap();
    assert_eq!(mended.metadata().defects().count(), 0);
}
