//! What a power cut at any write of a header verb leaves: the old header or the new one, and every key that
//! was not being removed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, SECOND, THIRD, cheap, keyslot_options, states};
use lucarne::{
    Error, FormatOptions, HeaderEditor, KeyslotOptions, MemoryStorage, Secret, SectorSize, Storage,
    UnlockOptions, luks2::Priority, read_header, unlock,
};
use lucarne_storage::fault::RecordingStorage;
use serde_json::json;

/// A volume with two keyslots, in 640 KiB of header.
fn volume() -> Vec<u8> {
    let image = MemoryStorage::with_len(1 << 20);
    let options = FormatOptions {
        kdf: cheap(),
        key_len: 32,
        keyslots_size: Some(512 << 10),
        sector_size: Some(SectorSize::B512),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, FIRST, &options).unwrap();
    let mut editor = HeaderEditor::open(&image).unwrap();
    let key = editor
        .unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())
        .unwrap();
    editor
        .add_keyslot(&key, SECOND, &keyslot_options())
        .unwrap();
    image.into_bytes()
}

/// A verb, and the passphrases that must open the volume whatever happens.
type Verb = (
    &'static str,
    fn(&mut HeaderEditor<'_>) -> Result<(), Error>,
    &'static [&'static [u8]],
);

const VERBS: &[Verb] = &[
    (
        "add",
        |editor| {
            let key = editor.unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())?;
            editor
                .add_keyslot(&key, THIRD, &keyslot_options())
                .map(drop)
        },
        &[FIRST, SECOND],
    ),
    (
        "add unbound",
        |editor| {
            editor
                .add_unbound_keyslot(&[7; 32], THIRD, &keyslot_options())
                .map(drop)
        },
        &[FIRST, SECOND],
    ),
    (
        "change",
        |editor| {
            let key = editor.unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())?;
            editor
                .change_keyslot(&key, THIRD, &keyslot_options())
                .map(drop)
        },
        &[SECOND],
    ),
    (
        "convert",
        |editor| {
            let key = editor.unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())?;
            editor
                .change_keyslot(&key, FIRST, &keyslot_options())
                .map(drop)
        },
        &[FIRST, SECOND],
    ),
    (
        "move",
        |editor| {
            let key = editor.unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())?;
            let options = KeyslotOptions {
                keyslot: Some(9),
                ..keyslot_options()
            };
            editor.change_keyslot(&key, FIRST, &options).map(drop)
        },
        &[FIRST, SECOND],
    ),
    ("remove", |editor| editor.remove_keyslot(0), &[SECOND]),
    ("erase", |editor| editor.erase_keyslots().map(drop), &[]),
    (
        "priority",
        |editor| editor.set_keyslot_priority(1, Priority::Prefer),
        &[FIRST, SECOND],
    ),
    (
        "labels",
        |editor| editor.set_labels(Some("models"), Some("weights")),
        &[FIRST, SECOND],
    ),
    (
        "uuid",
        |editor| editor.set_uuid(uuid::Uuid::from_u128(7)),
        &[FIRST, SECOND],
    ),
    (
        "token",
        |editor| {
            let token = json!({"type": "example", "keyslots": ["0"], "more": [1, "two"]});
            editor
                .add_token(None, token.as_object().unwrap().clone())
                .map(drop)
        },
        &[FIRST, SECOND],
    ),
];

fn opens(image: &MemoryStorage, passphrase: &[u8]) -> bool {
    let header = read_header(image).unwrap().header;
    match unlock(
        &header,
        image,
        Secret::Passphrase(passphrase),
        &UnlockOptions::default(),
    ) {
        Ok(_) => true,
        Err(Error::WrongKey | Error::NoUsableKeyslot) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_power_cut_leaves_the_old_header_or_the_new() {
    let start = volume();
    for (name, verb, survivors) in VERBS {
        let recorder = RecordingStorage::new(start.clone());
        let mut editor = HeaderEditor::open(&recorder).unwrap();
        let old = editor.header().metadata().to_json_text();
        verb(&mut editor).unwrap();
        let new = editor.header().clone();
        drop(editor);

        let (mut old_states, mut new_states) = (0, 0);
        let mut last = None;
        for image in states(&recorder) {
            // Most states differ from the one before in noise alone.
            if last.as_ref() == Some(&image) {
                continue;
            }
            last = Some(image.clone());
            let image = MemoryStorage::from(image);
            let selected = read_header(&image).unwrap_or_else(|error| panic!("{name}: {error}"));
            let json = selected.header.metadata().to_json_text();
            if selected.header.seqid() == new.seqid() {
                assert_eq!(json, new.metadata().to_json_text(), "{name}");
                new_states += 1;
            } else {
                assert_eq!(json, old, "{name}");
                old_states += 1;
            }
            for passphrase in *survivors {
                assert!(opens(&image, passphrase), "{name}: a key was lost");
            }
        }
        println!("{name}: {old_states} states of the old header, {new_states} of the new");
        assert!(
            old_states > 0 && new_states > 0,
            "{name}: {old_states} old, {new_states} new"
        );
    }
}

#[test]
fn a_damaged_copy_is_written_first() {
    let start = volume();
    let header_size = 16 << 10;
    for damaged in [0, header_size] {
        for (name, verb, survivors) in VERBS {
            let mut image = start.clone();
            image[damaged + 4096 + 10] ^= 1;
            let recorder = RecordingStorage::new(image);
            let mut editor = HeaderEditor::open(&recorder).unwrap();
            verb(&mut editor).unwrap();
            for image in states(&recorder) {
                let image = MemoryStorage::from(image);
                read_header(&image).unwrap_or_else(|error| panic!("{name}: {error}"));
                if let Some(passphrase) = survivors.first() {
                    assert!(opens(&image, passphrase), "{name}: a key was lost");
                }
            }
            let end = MemoryStorage::from(recorder.bytes().unwrap());
            assert!(!read_header(&end).unwrap().repair.is_needed(), "{name}");
        }
    }
}

#[test]
fn a_storage_that_fails_at_any_write_keeps_old_or_new() {
    let start = volume();
    for (name, verb, survivors) in VERBS {
        let events = {
            let recorder = RecordingStorage::new(start.clone());
            verb(&mut HeaderEditor::open(&recorder).unwrap()).unwrap();
            recorder.events().len()
        };
        for event in 0..events {
            let recorder = RecordingStorage::new(start.clone()).failing_at(event);
            let mut editor = HeaderEditor::open(&recorder).unwrap();
            let result = verb(&mut editor);
            assert!(
                matches!(result, Err(Error::Io { .. })),
                "{name}, event {event}: {result:?}"
            );
            let image = MemoryStorage::from(recorder.bytes().unwrap());
            for passphrase in *survivors {
                assert!(
                    opens(&image, passphrase),
                    "{name}, event {event}: a key was lost"
                );
            }
        }
    }
}

#[test]
fn what_is_removed_is_overwritten() {
    let image = MemoryStorage::from(volume());
    let header = read_header(&image).unwrap().header;
    let area = header.metadata().keyslots()[&0].area_range();
    let mut before = vec![0; 4096];
    image.read_at(&mut before, area.start).unwrap();
    HeaderEditor::open(&image)
        .unwrap()
        .remove_keyslot(0)
        .unwrap();
    let mut at = area.start;
    let mut after = vec![0; 4096];
    while at < area.end {
        image.read_at(&mut after, at).unwrap();
        assert!(
            after.iter().any(|&byte| byte != 0),
            "noise, not zeros, at {at}"
        );
        at += 4096;
    }
    image.read_at(&mut after, area.start).unwrap();
    assert_ne!(before, after);
    assert!(!opens(&image, FIRST) && opens(&image, SECOND));
}

#[test]
fn a_header_that_somebody_else_changed_is_left_alone() {
    let image = MemoryStorage::from(volume());
    let mut late = HeaderEditor::open(&image).unwrap();
    HeaderEditor::open(&image)
        .unwrap()
        .set_labels(Some("theirs"), None)
        .unwrap();
    let mut before = vec![0; 1 << 20];
    image.read_at(&mut before, 0).unwrap();
    assert!(matches!(
        late.set_labels(Some("ours"), None),
        Err(Error::Busy(_))
    ));
    let mut after = vec![0; 1 << 20];
    image.read_at(&mut after, 0).unwrap();
    assert!(before == after);
}
