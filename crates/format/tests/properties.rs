//! What holds for every header.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{UUID, crypt_segment, digest, image, load, pbkdf2_keyslot, sample};
use lucarne_format::luks2::{
    Area, ChecksumAlgorithm, CryptSegment, Header, HeaderCopy, Metadata, NewHeader, Priority,
    Segment, SegmentSize,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15).prop_map(|number: f64| json!(number)),
        "[^\0]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[^\0]{0,6}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_members() -> impl Strategy<Value = Map<String, Value>> {
    // Names that no version of the format uses.
    prop::collection::vec(("x-[a-z]{1,4}", any_json()), 0..4)
        .prop_map(|members| members.into_iter().collect())
}

prop_compose! {
    fn any_header()(
        size in 14_u32..18,
        checksum in prop::sample::select(ChecksumAlgorithm::ALL.to_vec()),
        label in "[^\0]{0,11}",
        key_sizes in prop::collection::vec(1_u32..128, 0..8),
        priorities in prop::collection::vec(prop::sample::select(vec![Priority::Ignore, Priority::Normal, Priority::Prefer]), 8),
        offset_mib in 24_u64..1000,
        sectors in prop::option::of(1_u64..1_000_000),
        iv_tweak in any::<u64>(),
        token in any_members(),
        flags in prop::collection::vec("[a-z-]{1,9}", 0..3),
        edits in 0_u8..3,
    ) -> Header {
        let new = NewHeader {
            header_size: 1 << size,
            keyslots_size: 8 << 20,
            uuid: UUID.into(),
            label,
            subsystem: String::new(),
            checksum,
        };
        let mut header = Header::new(&new, |draft| {
            for (id, (&key_size, &priority)) in (0..).zip(key_sizes.iter().zip(&priorities)) {
                let mut keyslot = pbkdf2_keyslot(0);
                keyslot.area.size = Area::size_for_key(key_size);
                keyslot.area.offset = draft.free_area(keyslot.area.size).unwrap();
                keyslot.key_size = key_size;
                keyslot.priority = priority;
                draft.insert_keyslot(id, &keyslot)?;
            }
            let ids: Vec<u32> = (0..).zip(&key_sizes).map(|(id, _)| id).collect();
            draft.insert_segment(0, &Segment::Crypt(CryptSegment {
                size: sectors.map_or(SegmentSize::Dynamic, |sectors| SegmentSize::Bytes(sectors * 4096)),
                iv_tweak,
                ..crypt_segment(offset_mib << 20)
            }))?;
            draft.insert_digest(0, &digest(&ids, &[0]))?;
            let mut token = token.clone();
            token.insert("type".into(), json!("x"));
            token.insert("keyslots".into(), json!([]));
            draft.insert_token(7, token)?;
            draft.set_flags(&flags);
            Ok(())
        }).unwrap();
        for _ in 0..edits {
            header = header.edit(|_| Ok(())).unwrap();
        }
        header
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_what_is_read(header in any_header()) {
        let selected = load(&image(&header)).unwrap();
        prop_assert!(!selected.repair.is_needed());
        let again = selected.header;
        prop_assert_eq!(again.metadata(), header.metadata());
        prop_assert_eq!(again.seqid(), header.seqid());
        prop_assert_eq!(again.label(), header.label());
        for copy in [HeaderCopy::Primary, HeaderCopy::Secondary] {
            prop_assert_eq!(again.encode(copy, [3; 64]).unwrap(), header.encode(copy, [3; 64]).unwrap());
        }
    }

    #[test]
    fn unknown_members_survive_every_rewrite(
        top in any_members(), slot in any_members(), segment in any_members(),
        digest in any_members(), config in any_members(), token in any_members(),
    ) {
        let mut added = Value::Object(sample().metadata().json().clone());
        for (pointer, members) in [
            ("", &top), ("/keyslots/0", &slot), ("/segments/0", &segment),
            ("/digests/0", &digest), ("/config", &config), ("/tokens/0", &token),
        ] {
            let object = added.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            object.extend(members.clone());
        }
        let text = serde_json::to_vec(&added).unwrap();
        let mut image = image(&sample());
        for copy in [0, 0x4000] {
            common::replace_json(&mut image, copy, 0x4000, &text);
        }
        let mut header = load(&image).unwrap().header;
        for label in ["a", "b"] {
            let edited = header.edit(|draft| {
                draft.set_label(label)?;
                draft.set_keyslot_priority(1, Priority::Prefer)
            }).unwrap();
            header = load(&common::image(&edited)).unwrap().header;
        }
        added["keyslots"]["1"]["priority"] = json!(2);
        // Order counts too: compare text.
        prop_assert_eq!(header.metadata().to_json_text(), serde_json::to_string(&added).unwrap());
    }

    #[test]
    fn flipped_bytes_never_give_a_header_of_their_own(
        flips in prop::collection::vec((0_usize..0x8000, 1_u8..=255), 1..6),
        cut in prop::option::of(0_usize..0x10_0000),
    ) {
        let sample = sample();
        let mut image = image(&sample);
        for (at, mask) in flips {
            image[at] ^= mask;
        }
        if let Some(cut) = cut {
            image.truncate(cut);
        }
        if let Ok(selected) = load(&image) {
            prop_assert_eq!(selected.header.metadata(), sample.metadata());
            prop_assert_eq!(selected.header.seqid(), sample.seqid());
            prop_assert_eq!(selected.header.label(), sample.label());
            prop_assert_eq!(selected.header.uuid(), sample.uuid());
        }
    }

    #[test]
    fn mangled_json_never_panics_and_reads_back_if_it_loads(
        edits in prop::collection::vec((0_usize..1300, any::<u8>(), 0_usize..4), 1..4),
    ) {
        let mut text = sample().metadata().to_json_text().into_bytes();
        for (at, byte, remove) in edits {
            let at = at.min(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, [byte]);
        }
        text.resize(0x3000, 0);
        if let Ok(metadata) = Metadata::from_json_area(&text) {
            let mut again = metadata.to_json_text().into_bytes();
            again.resize(0x3000, 0);
            prop_assert_eq!(Metadata::from_json_area(&again).unwrap(), metadata);
        }
    }
}
