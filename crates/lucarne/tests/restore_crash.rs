//! What a power cut at any write of a header restore leaves: all keys of the old header or all of the new.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, SECOND, THIRD, cheap, keyslot_options, states};
use lucarne::{
    Error, FormatOptions, HeaderBackup, HeaderEditor, MemoryStorage, Secret, SectorSize, Storage,
    UnlockOptions, read_header, unlock,
};
use lucarne_storage::fault::RecordingStorage;

/// A volume whose keyslots area has room for so many keys.
fn volume(keys: u64, metadata_size: u64) -> MemoryStorage {
    const AREA: u64 = 128 << 10;
    let image = MemoryStorage::with_len(2 << 20);
    let options = FormatOptions {
        kdf: cheap(),
        key_len: 32,
        keyslots_size: Some(keys * AREA),
        metadata_size: Some(metadata_size),
        data_offset: Some(1 << 20),
        sector_size: Some(SectorSize::B512),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, FIRST, &options).unwrap();
    image
}

fn add(image: &MemoryStorage, passphrase: &[u8]) {
    let mut editor = HeaderEditor::open(image).unwrap();
    let key = editor
        .unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())
        .unwrap();
    editor
        .add_keyslot(&key, passphrase, &keyslot_options())
        .unwrap();
}

fn edit(image: &MemoryStorage, change: impl FnOnce(&mut HeaderEditor<'_>)) {
    change(&mut HeaderEditor::open(image).unwrap());
}

fn opening(image: &MemoryStorage) -> Vec<&'static [u8]> {
    let header = read_header(image).unwrap().header;
    let mut opening = Vec::new();
    for passphrase in [FIRST, SECOND, THIRD] {
        match unlock(
            &header,
            image,
            Secret::Passphrase(passphrase),
            &UnlockOptions::default(),
        ) {
            Ok(_) => opening.push(passphrase),
            Err(Error::WrongKey | Error::NoUsableKeyslot) => {}
            Err(other) => panic!("{other}"),
        }
    }
    opening
}

/// What the volume goes through between backup and restore.
struct Case {
    what: &'static str,
    keys: u64,
    since: fn(&MemoryStorage),
    /// Whether a key of the backup must wait elsewhere.
    moves: bool,
}

const CASES: &[Case] = &[
    Case {
        what: "a label",
        keys: 4,
        since: |image| edit(image, |editor| editor.set_labels(Some("x"), None).unwrap()),
        moves: false,
    },
    Case {
        what: "a key more",
        keys: 4,
        since: |image| add(image, THIRD),
        moves: false,
    },
    Case {
        what: "a key less",
        keys: 4,
        since: |image| edit(image, |editor| editor.remove_keyslot(1).unwrap()),
        moves: false,
    },
    Case {
        what: "no key",
        keys: 4,
        since: |image| edit(image, |editor| drop(editor.erase_keyslots().unwrap())),
        moves: false,
    },
    Case {
        what: "another key in the place of one",
        keys: 4,
        since: |image| {
            edit(image, |editor| editor.remove_keyslot(1).unwrap());
            add(image, THIRD);
        },
        moves: true,
    },
    Case {
        what: "a key that was changed twice",
        keys: 3,
        since: |image| {
            for _ in 0..2 {
                let mut editor = HeaderEditor::open(image).unwrap();
                let key = editor
                    .unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())
                    .unwrap();
                editor
                    .change_keyslot(&key, FIRST, &keyslot_options())
                    .unwrap();
            }
        },
        moves: true,
    },
];

/// Backup, a change, and the image as it is then.
fn prepared(case: &Case) -> (HeaderBackup, Vec<u8>) {
    let image = volume(case.keys, 16 << 10);
    add(&image, SECOND);
    let backup = HeaderBackup::take(&image, None).unwrap();
    (case.since)(&image);
    (backup, image.into_bytes())
}

#[test]
fn a_power_cut_leaves_all_old_keys_or_all_new_ones() {
    for case in CASES {
        let (backup, start) = prepared(case);
        let old = opening(&MemoryStorage::from(start.clone()));
        let new: Vec<&[u8]> = vec![FIRST, SECOND];
        let recorder = RecordingStorage::new(start.clone());
        let restore = backup.compare(&recorder).unwrap();
        assert!(restore.is_atomic(), "{}", case.what);
        restore.run(None).unwrap();

        let end = recorder.bytes().unwrap();
        let len = backup.as_bytes().len();
        assert!(end[..len] == *backup.as_bytes(), "{}", case.what);
        assert!(end[len..] == start[len..], "{}", case.what);

        let (mut old_states, mut new_states, mut between) = (0, 0, 0);
        let mut last = None;
        for image in states(&recorder) {
            if last.as_ref() == Some(&image) {
                continue;
            }
            last = Some(image.clone());
            let image = MemoryStorage::from(image);
            let header = read_header(&image).unwrap().header;
            let opening = opening(&image);
            assert!(opening == old || opening == new, "{}", case.what);
            let start = MemoryStorage::from(start.clone());
            let old_header = read_header(&start).unwrap().header;
            let json = header.metadata().json();
            if json == old_header.metadata().json() && header.seqid() == old_header.seqid() {
                assert!(opening == old, "{}", case.what);
                old_states += 1;
            } else if json == backup.header().metadata().json() {
                assert!(opening == new, "{}", case.what);
                new_states += 1;
            } else {
                assert!(opening == new, "{}", case.what);
                between += 1;
            }
        }
        assert!(old_states > 0 && new_states > 0, "{}", case.what);
        assert_eq!(between > 0, case.moves, "{}", case.what);
    }
}

#[test]
fn a_storage_that_fails_at_any_write_keeps_old_or_new() {
    for case in CASES {
        let (backup, start) = prepared(case);
        let old = opening(&MemoryStorage::from(start.clone()));
        let events = {
            let recorder = RecordingStorage::new(start.clone());
            backup.compare(&recorder).unwrap().run(None).unwrap();
            recorder.events().len()
        };
        for event in 0..events {
            let recorder = RecordingStorage::new(start.clone()).failing_at(event);
            let result = backup.compare(&recorder).unwrap().run(None);
            assert!(matches!(result, Err(Error::Io { .. })), "{}", case.what);
            let image = MemoryStorage::from(recorder.bytes().unwrap());
            let opening = opening(&image);
            assert!(
                opening == old || opening == [FIRST, SECOND],
                "{}",
                case.what
            );
            // And the same once more completes it.
            backup.compare(&image).unwrap().run(None).unwrap();
            assert!(
                image.into_bytes().starts_with(backup.as_bytes()),
                "{}",
                case.what
            );
        }
    }
}

/// With no room to wait in, or copies of another size, it is said beforehand, and doing it again mends it.
#[test]
fn where_it_cannot_be_atomic_the_same_restore_completes_it() {
    let full = volume(2, 16 << 10);
    add(&full, SECOND);
    let backup = HeaderBackup::take(&full, None).unwrap();
    edit(&full, |editor| editor.remove_keyslot(1).unwrap());
    add(&full, THIRD);

    // 2 × 64K + 4 × 128K = 2 × 128K + 3 × 128K
    let larger_copies = volume(3, 128 << 10);
    add(&larger_copies, SECOND);
    let larger_copies = HeaderBackup::take(&larger_copies, None).unwrap();
    let smaller_copies = volume(4, 64 << 10);
    let smaller_copies_backup = HeaderBackup::take(&smaller_copies, None).unwrap();
    let larger_image = volume(3, 128 << 10);

    for (backup, start, keys) in [
        (&backup, full, &[FIRST, SECOND][..]),
        (&larger_copies, smaller_copies, &[FIRST, SECOND]),
        (&smaller_copies_backup, larger_image, &[FIRST]),
    ] {
        let recorder = RecordingStorage::new(start.into_bytes());
        let restore = backup.compare(&recorder).unwrap();
        assert!(!restore.is_atomic());
        restore.run(None).unwrap();
        for image in states(&recorder) {
            let image = MemoryStorage::from(image);
            backup.compare(&image).unwrap().run(None).unwrap();
            assert!(opening(&image) == keys);
        }
    }
}

#[test]
fn where_no_header_was_there_is_none_or_the_new() {
    let image = volume(4, 16 << 10);
    let backup = HeaderBackup::take(&image, None).unwrap();
    for fill in [0, 0xa5] {
        let recorder = RecordingStorage::new(vec![fill; 1 << 20]);
        let restore = backup.compare(&recorder).unwrap();
        assert!(restore.warnings().no_header && !restore.is_atomic());
        restore.run(None).unwrap();
        let (mut none, mut new) = (0, 0);
        for image in states(&recorder) {
            let image = MemoryStorage::from(image);
            match read_header(&image) {
                Ok(_) => {
                    assert!(opening(&image) == [FIRST]);
                    new += 1;
                }
                Err(Error::NotLuks | Error::Corrupt(_)) => none += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(none > 0 && new > 0);
    }
}

#[test]
fn a_damaged_copy_is_mended_in_the_backup_and_the_volume_only_read() {
    let image = volume(4, 16 << 10);
    let sound = HeaderBackup::take(&image, None).unwrap();
    let bytes = image.into_bytes();
    for damaged in [4096 + 10, (16 << 10) + 4096 + 10] {
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 1;
        let image = MemoryStorage::from(bytes.clone());
        let backup = HeaderBackup::take(&image, None).unwrap();
        assert!(image.into_bytes() == bytes);
        assert_eq!(backup.header().seqid(), sound.header().seqid());
        let copy = MemoryStorage::from(backup.as_bytes().to_vec());
        assert!(!read_header(&copy).unwrap().repair.is_needed());

        // And a damaged header is replaced by a sound one, the damaged copy first.
        let recorder = RecordingStorage::new(bytes);
        sound.compare(&recorder).unwrap().run(None).unwrap();
        for image in states(&recorder) {
            assert!(opening(&MemoryStorage::from(image)) == [FIRST]);
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused_and_nothing_is_written() {
    let image = volume(4, 16 << 10);
    let backup = HeaderBackup::take(&image, None).unwrap();
    let short = MemoryStorage::with_len(backup.as_bytes().len() - 1);
    assert!(matches!(backup.compare(&short), Err(Error::Device(_))));

    let elsewhere = MemoryStorage::with_len(4 << 20);
    let options = FormatOptions {
        kdf: cheap(),
        data_offset: Some(2 << 20),
        keyslots_size: Some(512 << 10),
        ..FormatOptions::default()
    };
    lucarne::format(&elsewhere, None, FIRST, &options).unwrap();
    let error = backup.compare(&elsewhere).unwrap_err().to_string();
    assert!(
        error.contains("2097152") && error.contains("1048576"),
        "{error}"
    );

    // Changed by somebody between comparison and lock.
    let restore = backup.compare(&image).unwrap();
    edit(&image, |editor| {
        editor.set_labels(Some("theirs"), None).unwrap()
    });
    assert!(matches!(restore.run(None), Err(Error::Busy(_))));
    assert_eq!(read_header(&image).unwrap().header.label(), "theirs");
    assert_eq!(image.len().unwrap(), 2 << 20);
}
