//! What a power cut at any write of a LUKS1 header's restore or repair leaves.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, SECOND, THIRD, cheap, states};
use lucarne::{
    AnyHeaderBackup, CipherSpec, Error, FormatOptions, HeaderBackup, KeyslotOptions, Luks1Editor,
    Luks1HeaderBackup, Luks1Repair, LuksVersion, MemoryStorage, Secret, Storage, UnlockOptions,
    read_any_header, unlock,
};
use lucarne_storage::fault::RecordingStorage;

/// Keys of 16 bytes, for small areas.
fn format_options() -> FormatOptions {
    FormatOptions {
        version: LuksVersion::Luks1,
        cipher: "aes-cbc-essiv:sha256".parse::<CipherSpec>().unwrap(),
        key_len: 16,
        kdf: cheap(),
        ..FormatOptions::default()
    }
}

fn at(keyslot: impl Into<Option<u32>>) -> KeyslotOptions {
    KeyslotOptions {
        keyslot: keyslot.into(),
        kdf: cheap(),
        ..KeyslotOptions::default()
    }
}

/// [`FIRST`] in keyslot 0, [`SECOND`] in keyslot 6, which lies in two sectors.
fn volume() -> MemoryStorage {
    let image = MemoryStorage::with_len((1 << 20) + 4096);
    lucarne::format(&image, None, FIRST, &format_options()).unwrap();
    add(&image, SECOND, 6);
    image
}

fn add(image: &MemoryStorage, passphrase: &[u8], id: u32) {
    let mut editor = Luks1Editor::open(image).unwrap();
    let key = [FIRST, SECOND].into_iter().find_map(|known| {
        let key = editor.unlock(Secret::Passphrase(known), &UnlockOptions::default());
        key.ok()
    });
    editor
        .add_keyslot(&key.unwrap(), passphrase, &at(id))
        .unwrap();
}

fn remove(image: &MemoryStorage, id: u32) {
    Luks1Editor::open(image)
        .unwrap()
        .remove_keyslot(id)
        .unwrap();
}

fn opening(image: &dyn Storage) -> Vec<&'static [u8]> {
    let header = read_any_header(image).unwrap();
    let opens = |passphrase: &&'static [u8]| {
        let secret = Secret::Passphrase(passphrase);
        match unlock(header.as_ref(), image, secret, &UnlockOptions::default()) {
            Ok(_) => true,
            Err(Error::WrongKey | Error::NoUsableKeyslot) => false,
            Err(other) => panic!("{other}"),
        }
    };
    [FIRST, SECOND, THIRD].into_iter().filter(opens).collect()
}

/// What the volume goes through between backup and restore.
struct Case {
    what: &'static str,
    since: fn(&MemoryStorage),
    /// These open whatever happens.
    survivors: &'static [&'static [u8]],
    /// One of these does.
    either: &'static [&'static [u8]],
}

const CASES: &[Case] = &[
    Case {
        what: "nothing",
        since: |_| {},
        survivors: &[FIRST, SECOND],
        either: &[],
    },
    Case {
        what: "another UUID",
        since: |image| {
            let mut editor = Luks1Editor::open(image).unwrap();
            editor
                .set_uuid("12345678-1234-1234-1234-123456789abc".parse().unwrap())
                .unwrap();
        },
        survivors: &[FIRST, SECOND],
        either: &[],
    },
    Case {
        what: "a key more",
        since: |image| add(image, THIRD, 3),
        survivors: &[FIRST, SECOND],
        either: &[],
    },
    Case {
        what: "a key less",
        since: |image| remove(image, 6),
        survivors: &[FIRST],
        either: &[],
    },
    Case {
        what: "another key in the place of one",
        since: |image| {
            remove(image, 6);
            add(image, THIRD, 6);
        },
        survivors: &[FIRST],
        either: &[SECOND, THIRD],
    },
    Case {
        what: "the only key, in the place of another",
        since: |image| {
            remove(image, 0);
            add(image, THIRD, 0);
            remove(image, 6);
        },
        survivors: &[],
        either: &[FIRST, THIRD],
    },
    Case {
        what: "no key",
        since: |image| drop(Luks1Editor::open(image).unwrap().erase_keyslots().unwrap()),
        survivors: &[],
        either: &[],
    },
];

#[test]
fn a_power_cut_keeps_the_keys_that_stay_and_the_old_or_the_new_of_others() {
    for case in CASES {
        let image = volume();
        let backup = Luks1HeaderBackup::take(&image, None).unwrap();
        (case.since)(&image);
        let start = image.into_bytes();
        let recorder = RecordingStorage::new(start.clone());
        let restore = backup.compare(&recorder).unwrap();
        assert!(restore.is_atomic(), "{}", case.what);
        restore.run(None).unwrap();

        let end = recorder.bytes().unwrap();
        let len = backup.as_bytes().len();
        assert!(end[..len] == *backup.as_bytes(), "{}", case.what);
        assert!(end[len..] == start[len..], "{}", case.what);

        let mut last = None;
        let (mut others, mut finished) = (0, 0);
        for image in states(&recorder) {
            if last.as_ref() == Some(&image) {
                continue;
            }
            last = Some(image.clone());
            let image = MemoryStorage::from(image);
            let opening = opening(&image);
            for key in case.survivors {
                assert!(opening.contains(key), "{}: {opening:?}", case.what);
            }
            let either = case.either;
            let has_one = either.iter().any(|key| opening.contains(key));
            assert!(either.is_empty() || has_one, "{}: {opening:?}", case.what);
            // And the same once more completes it.
            let restore = backup.compare(&image).unwrap();
            assert!(restore.is_atomic(), "{}", case.what);
            restore.run(None).unwrap();
            let is_end = image.into_bytes()[..len] == *backup.as_bytes();
            assert!(is_end, "{}", case.what);
            match opening == [FIRST, SECOND] {
                true => finished += 1,
                false => others += 1,
            }
        }
        assert!(finished > 0, "{}", case.what);
        let changes_keys = !["nothing", "another UUID"].contains(&case.what);
        assert_eq!(others > 0, changes_keys, "{}", case.what);
    }
}

/// Another volume's header, none at all, or no keyslot to work with: said before, and the same again
/// completes it.
#[test]
fn where_it_cannot_be_atomic_the_same_restore_completes_it() {
    let image = volume();
    let backup = Luks1HeaderBackup::take(&image, None).unwrap();
    let another = MemoryStorage::with_len((1 << 20) + 4096);
    lucarne::format(&another, None, THIRD, &format_options()).unwrap();
    for id in [1, 2, 3, 4, 5, 7] {
        add(&image, b"another", id);
    }
    let full = Luks1HeaderBackup::take(&image, None).unwrap();
    remove(&image, 6);
    add(&image, THIRD, 6);
    let luks2 = MemoryStorage::with_len((1 << 20) + 4096);
    let options = FormatOptions {
        kdf: cheap(),
        data_offset: Some(1 << 20),
        ..FormatOptions::default()
    };
    lucarne::format(&luks2, None, THIRD, &options).unwrap();
    for (backup, start) in [
        (&backup, another),
        (&full, image),
        (&backup, luks2),
        (&backup, MemoryStorage::with_len(1 << 20)),
        (&backup, MemoryStorage::from(vec![0xa5; 1 << 20])),
    ] {
        let recorder = RecordingStorage::new(start.into_bytes());
        let restore = backup.compare(&recorder).unwrap();
        assert!(!restore.is_atomic());
        restore.run(None).unwrap();
        for image in states(&recorder) {
            let image = MemoryStorage::from(image);
            backup.compare(&image).unwrap().run(None).unwrap();
            assert!(opening(&image) == [FIRST, SECOND]);
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused_and_nothing_is_written() {
    let image = volume();
    let backup = AnyHeaderBackup::take(&image, None).unwrap();
    let short = MemoryStorage::with_len(backup.as_bytes().len() - 1);
    assert!(matches!(backup.compare(&short), Err(Error::Device(_))));
    let volume_with = |options: FormatOptions| {
        let image = MemoryStorage::with_len(4 << 20);
        lucarne::format(&image, None, FIRST, &options).unwrap();
        image
    };
    let elsewhere = volume_with(FormatOptions {
        data_offset: Some(2 << 20),
        ..format_options()
    });
    let larger_key = volume_with(FormatOptions {
        key_len: 32,
        data_offset: Some(2 << 20),
        ..format_options()
    });
    let luks2 = volume_with(FormatOptions {
        version: LuksVersion::Luks2,
        cipher: "aes-xts-plain64".parse().unwrap(),
        key_len: 64,
        keyslots_size: Some(512 << 10),
        data_offset: Some(2 << 20),
        ..format_options()
    });
    let of_larger_key = AnyHeaderBackup::take(&larger_key, None).unwrap();
    let of_luks2 = HeaderBackup::take(&luks2, None).unwrap();
    for (backup, device, says) in [
        (&backup, &elsewhere, "1048576"),
        (&backup, &luks2, "1048576"),
        (&of_larger_key, &elsewhere, "32 in the backup"),
    ] {
        let error = backup.compare(device).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(matches!(of_luks2.compare(&image), Err(Error::Refused(_))));

    // Changed by somebody between comparison and lock.
    let restore = backup.compare(&image).unwrap();
    add(&image, THIRD, 2);
    let before = image.len().unwrap();
    assert!(matches!(restore.run(None), Err(Error::Busy(_))));
    assert!(opening(&image) == [FIRST, SECOND, THIRD]);
    assert_eq!(image.len().unwrap(), before);
}

/// Where keyslot `id` lies in the header.
fn keyslot(id: usize) -> usize {
    208 + 48 * id
}

#[test]
fn a_power_cut_in_a_repair_leaves_what_the_same_repair_completes() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("a partition table", |image| {
            image[446..510].fill(0);
            image[510..512].copy_from_slice(&[0x55, 0xaa]);
        }),
        ("keyslot 6 all over", |image| {
            image[keyslot(6)..keyslot(7)].fill(0x7f);
        }),
        ("places in both sectors", |image| {
            image[keyslot(1) + 40] = 0xff;
            image[keyslot(7) + 40] = 0xff;
        }),
        ("stripes", |image| image[keyslot(3) + 47] = 0),
    ];
    let image = volume();
    remove(&image, 6);
    let sound = image.into_bytes();
    for (what, damage) in damages {
        let mut damaged = sound.clone();
        damage(&mut damaged);
        let recorder = RecordingStorage::new(damaged.clone());
        let repair = Luks1Repair::of(&recorder).unwrap();
        assert!(!repair.changes().is_empty(), "{what}");
        repair.run(None).unwrap();
        let end = recorder.bytes().unwrap();
        assert!(
            opening(&MemoryStorage::from(end.clone())) == [FIRST],
            "{what}"
        );
        assert!(end[592..] == damaged[592..], "{what}");
        let active = |bytes: &[u8]| {
            let image = MemoryStorage::from(bytes.to_vec());
            let header = Luks1Editor::open(&image).unwrap().header().clone();
            header.keyslots().each_ref().map(|slot| slot.state.clone())
        };
        let mut torn = 0;
        for bytes in states(&recorder) {
            torn += usize::from(bytes != damaged && bytes != end);
            let image = MemoryStorage::from(bytes);
            Luks1Repair::of(&image).unwrap().run(None).unwrap();
            let bytes = image.into_bytes();
            assert!(active(&bytes) == active(&end), "{what}");
        }
        let is_in_both_sectors = ["keyslot 6 all over", "places in both sectors"].contains(&what);
        assert_eq!(torn > 0, is_in_both_sectors, "{what}");
    }

    // Somebody else's change between look and lock.
    let mut damaged = sound.clone();
    damages[3].1(&mut damaged);
    let image = MemoryStorage::from(damaged);
    let repair = Luks1Repair::of(&image).unwrap();
    image.write_at(b"0", 170).unwrap();
    assert!(matches!(repair.run(None), Err(Error::Busy(_))));
    assert!(read_any_header(&image).is_err());
}

/// What was overwritten by something else is no header to mend.
#[test]
fn a_header_with_nonsense_for_a_cipher_is_not_repaired() {
    for (cipher, mode) in [
        ("\0", "xts-plain64"),
        ("aes", "nonsense-"),
        ("aes", "xts-plain64"),
    ] {
        let mut bytes = volume().into_bytes();
        bytes[keyslot(3) + 47] = 0;
        for (at, text) in [(8, cipher), (40, mode)] {
            bytes[at..at + 32].fill(0);
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        let image = MemoryStorage::from(bytes);
        // The last one takes no keys of 16 bytes.
        assert!(Luks1Repair::of(&image).is_err(), "{cipher} {mode}");
    }
}
