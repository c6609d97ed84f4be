//! Conversion between the versions: what a power cut leaves, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{cheap, states};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use lucarne::{
    AnyEditor, AnyHeader, Error, FormatOptions, HeaderEditor, KdfKind, KdfRequest, KeyslotOptions,
    LuksVersion, MemoryStorage, Secret, SectorSize, Storage, UnlockOptions, Volume, convert, luks1,
    luks2::Priority, read_any_header, unlock,
};
use lucarne_storage::fault::RecordingStorage;

const PASSPHRASES: [&[u8]; 8] = [
    b"first", b"second", b"third", b"fourth", b"fifth", b"sixth", b"seventh", b"eighth",
];

fn old_format() -> FormatOptions {
    FormatOptions {
        version: LuksVersion::Luks1,
        cipher: "aes-cbc-essiv:sha256".parse().unwrap(),
        key_len: 16,
        sector_size: Some(SectorSize::B512),
        kdf: cheap(),
        ..FormatOptions::default()
    }
}

fn new_format() -> FormatOptions {
    FormatOptions {
        version: LuksVersion::Luks2,
        keyslots_size: Some((1 << 20) - (32 << 10)),
        ..old_format()
    }
}

/// A volume with [`PASSPHRASES`] in the keyslots of these numbers, and 4096 bytes of data.
fn volume(options: FormatOptions, keyslots: &[u32]) -> Vec<u8> {
    let image = MemoryStorage::with_len((1 << 20) + 4096);
    let options = FormatOptions {
        keyslot: keyslots[0],
        ..options
    };
    lucarne::format(&image, None, PASSPHRASES[0], &options).unwrap();
    let mut editor = AnyEditor::open(&image).unwrap();
    let key = editor
        .unlock(
            Secret::Passphrase(PASSPHRASES[0]),
            &UnlockOptions::default(),
        )
        .unwrap();
    for (&id, passphrase) in keyslots.iter().zip(PASSPHRASES).skip(1) {
        let options = KeyslotOptions {
            keyslot: Some(id),
            kdf: cheap(),
            ..KeyslotOptions::default()
        };
        editor.add_keyslot(&key, passphrase, &options).unwrap();
    }
    let volume = Volume::open(image, Secret::Passphrase(PASSPHRASES[0])).unwrap();
    volume.write_at(&[0x5a; 4096], 0).unwrap();
    let mut bytes = vec![0; (1 << 20) + 4096];
    volume.storage().read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The header and the key material that it names, hashed.
fn what_counts(image: &MemoryStorage) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut areas = Vec::new();
    match read_any_header(image).unwrap() {
        AnyHeader::Luks1(header) => {
            header.encode().hash(&mut hasher);
            let keyslots = header.keyslots().iter();
            let used = keyslots.filter(|keyslot| keyslot.state != luks1::KeyslotState::Inactive);
            areas.extend(used.map(|keyslot| keyslot.area.clone()));
        }
        AnyHeader::Luks2(selected) => {
            let metadata = selected.header.metadata();
            metadata.to_json_text().hash(&mut hasher);
            selected.header.seqid().hash(&mut hasher);
            // The next write goes by which copies are good.
            selected.repair.is_needed().hash(&mut hasher);
            areas.extend(
                metadata
                    .keyslots()
                    .values()
                    .map(|keyslot| keyslot.area_range()),
            );
        }
    }
    for area in areas {
        let mut bytes = vec![0; usize::try_from(area.end - area.start).unwrap()];
        image.read_at(&mut bytes, area.start).unwrap();
        bytes.hash(&mut hasher);
    }
    hasher.finish()
}

fn opens(image: &MemoryStorage, passphrase: &[u8]) -> Option<u32> {
    let header = read_any_header(image).unwrap();
    let secret = Secret::Passphrase(passphrase);
    match unlock(&header, image, secret, &UnlockOptions::default()) {
        Ok(unlocked) => unlocked.keyslot,
        Err(Error::WrongKey | Error::NoUsableKeyslot) => None,
        Err(other) => panic!("{other}"),
    }
}

fn version(image: &MemoryStorage) -> LuksVersion {
    read_any_header(image).unwrap().version()
}

/// From `start` to the other version, stopped everywhere.
fn stop_everywhere(start: &[u8], keyslots: &[u32], to: LuksVersion) {
    let uuid = |image: &MemoryStorage| read_any_header(image).unwrap().as_ref().uuid().to_owned();
    let recorder = RecordingStorage::new(start.to_vec());
    convert(&recorder, to, None).unwrap();
    let started = MemoryStorage::from(start.to_vec());
    let from = version(&started);
    let (mut old, mut new) = (0, 0);
    let mut seen = HashSet::new();
    for image in states(&recorder) {
        let is_untouched = image[1 << 20..] == start[1 << 20..];
        assert!(is_untouched, "the data were touched");
        let image = MemoryStorage::from(image);
        // Most states differ in bytes that nobody looks at.
        if !seen.insert(what_counts(&image)) {
            continue;
        }
        match version(&image) {
            version if version == from => old += 1,
            _ => new += 1,
        }
        for (passphrase, keyslot) in PASSPHRASES.iter().zip(keyslots) {
            let found = opens(&image, passphrase);
            assert!(found.is_some(), "the key of keyslot {keyslot} is lost");
        }
        assert_eq!(uuid(&image), uuid(&started));
    }
    assert!(old > 0 && new > 0 && old + new > 5, "{old} old, {new} new");

    let done = MemoryStorage::from(recorder.bytes().unwrap());
    assert_eq!(version(&done), to);
    for (passphrase, keyslot) in PASSPHRASES.iter().zip(keyslots) {
        assert_eq!(opens(&done, passphrase), Some(*keyslot));
    }
    let volume = Volume::open(done, Secret::Passphrase(PASSPHRASES[0])).unwrap();
    let mut data = [0; 4096];
    volume.read_at(&mut data, 0).unwrap();
    assert_eq!(data, [0x5a; 4096]);
}

const NUMBERS: [&[u32]; 3] = [&[0], &[6, 7, 2], &[0, 1]];
const SEVEN: &[u32] = &[0, 1, 2, 3, 4, 5, 6];

#[test]
fn a_power_cut_on_the_way_to_luks2_loses_no_key() {
    for keyslots in NUMBERS {
        stop_everywhere(
            &volume(old_format(), keyslots),
            keyslots,
            LuksVersion::Luks2,
        );
    }
}

#[test]
fn a_power_cut_on_the_way_to_luks1_loses_no_key() {
    for keyslots in NUMBERS {
        stop_everywhere(
            &volume(new_format(), keyslots),
            keyslots,
            LuksVersion::Luks1,
        );
    }
}

/// Back and forth and back: nothing wears out.
#[test]
fn conversions_can_be_repeated() {
    for (start, keyslots) in [
        (old_format(), SEVEN),
        (new_format(), SEVEN),
        (new_format(), NUMBERS[1]),
    ] {
        let image = MemoryStorage::from(volume(start, keyslots));
        let mut to = match version(&image) {
            LuksVersion::Luks1 => LuksVersion::Luks2,
            LuksVersion::Luks2 => LuksVersion::Luks1,
        };
        for _ in 0..5 {
            convert(&image, to, None).unwrap();
            assert_eq!(version(&image), to);
            for (passphrase, keyslot) in PASSPHRASES.iter().zip(keyslots) {
                assert_eq!(opens(&image, passphrase), Some(*keyslot));
            }
            to = match to {
                LuksVersion::Luks1 => LuksVersion::Luks2,
                LuksVersion::Luks2 => LuksVersion::Luks1,
            };
        }
    }
}

fn refused(bytes: Vec<u8>, to: LuksVersion, word: &str) {
    let image = MemoryStorage::from(bytes.clone());
    let error = convert(&image, to, None).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{word}: {error}");
    assert!(error.to_string().contains(word), "{word}: {error}");
    assert!(image.into_bytes() == bytes, "{word}: changed");
}

fn add(editor: &mut HeaderEditor<'_>, options: &KeyslotOptions) -> Result<(), Error> {
    let secret = Secret::Passphrase(PASSPHRASES[0]);
    let key = editor.unlock(secret, &UnlockOptions::default())?;
    editor.add_keyslot(&key, b"another", options).map(drop)
}

fn with_cheap() -> KeyslotOptions {
    KeyslotOptions {
        kdf: cheap(),
        ..KeyslotOptions::default()
    }
}

#[test]
fn what_cannot_be_converted_is_refused_and_left_alone() {
    let all = [0, 1, 2, 3, 4, 5, 6, 7];
    refused(
        volume(old_format(), &all),
        LuksVersion::Luks2,
        "remove a key",
    );
    refused(volume(old_format(), &[0]), LuksVersion::Luks1, "already");
    refused(volume(new_format(), &[0]), LuksVersion::Luks2, "already");
    // A header with every other thing.
    let edited = |edit: fn(&mut HeaderEditor<'_>) -> Result<(), Error>| {
        let image = MemoryStorage::from(volume(new_format(), &[0, 1]));
        edit(&mut HeaderEditor::open(&image).unwrap()).unwrap();
        image.into_bytes()
    };
    for (bytes, word) in [
        (
            edited(|editor| {
                let token = serde_json::json!({"type": "example", "keyslots": []});
                editor
                    .add_token(None, token.as_object().unwrap().clone())
                    .map(drop)
            }),
            "token",
        ),
        (
            edited(|editor| {
                editor
                    .add_unbound_keyslot(&[1; 16], b"another", &with_cheap())
                    .map(drop)
            }),
            "digest",
        ),
        (
            edited(|editor| {
                let options = KeyslotOptions {
                    keyslot: Some(8),
                    ..with_cheap()
                };
                add(editor, &options)
            }),
            "keyslot 8",
        ),
        (
            edited(|editor| {
                let kdf = KdfRequest {
                    kind: KdfKind::Argon2id,
                    iterations: Some(4),
                    max_memory_kib: 32,
                    max_lanes: 1,
                    ..cheap()
                };
                add(
                    editor,
                    &KeyslotOptions {
                        kdf,
                        ..with_cheap()
                    },
                )
            }),
            "pbkdf2",
        ),
        (
            edited(|editor| {
                let hash = lucarne::Hash::Sha512;
                add(
                    editor,
                    &KeyslotOptions {
                        hash,
                        ..with_cheap()
                    },
                )
            }),
            "hash",
        ),
        (
            edited(|editor| {
                let area_cipher = Some(("aes-xts-plain64".parse().unwrap(), 64));
                add(
                    editor,
                    &KeyslotOptions {
                        area_cipher,
                        ..with_cheap()
                    },
                )
            }),
            "cipher",
        ),
        (
            edited(|editor| editor.erase_keyslots().map(drop)),
            "keyslot",
        ),
    ] {
        refused(bytes, LuksVersion::Luks1, word);
    }
    let large_sectors = FormatOptions {
        sector_size: Some(SectorSize::B4096),
        ..new_format()
    };
    refused(volume(large_sectors, &[0]), LuksVersion::Luks1, "4096");
    let mut damaged = volume(new_format(), &[0]);
    damaged[(16 << 10) + 5000] ^= 1;
    refused(damaged, LuksVersion::Luks1, "secondary");
}

/// Label, subsystem and priority do not stop a conversion; they are gone afterwards.
#[test]
fn what_luks1_has_no_place_for_is_lost() {
    let image = MemoryStorage::from(volume(new_format(), &[0, 1]));
    let mut editor = HeaderEditor::open(&image).unwrap();
    editor.set_labels(Some("models"), Some("weights")).unwrap();
    editor.set_keyslot_priority(1, Priority::Prefer).unwrap();
    convert(&image, LuksVersion::Luks1, None).unwrap();
    convert(&image, LuksVersion::Luks2, None).unwrap();
    let AnyHeader::Luks2(selected) = read_any_header(&image).unwrap() else {
        panic!("LUKS1");
    };
    assert_eq!(selected.header.label(), "");
    assert_eq!(opens(&image, PASSPHRASES[1]), Some(1));
}

/// A header of its own, with data that start at 0.
#[test]
fn detached_headers_are_converted() {
    for (options, to) in [
        (old_format(), LuksVersion::Luks2),
        (new_format(), LuksVersion::Luks1),
    ] {
        let (header, data) = (MemoryStorage::default(), MemoryStorage::with_len(8192));
        lucarne::format(&header, Some(&data), PASSPHRASES[0], &options).unwrap();
        convert(&header, to, None).unwrap();
        assert_eq!(version(&header), to);
        let open = lucarne::OpenOptions::default();
        let volume = open
            .header(&header)
            .open(data, Secret::Passphrase(PASSPHRASES[0]))
            .unwrap();
        assert_eq!((volume.len(), volume.data_offset()), (8192, 0));
    }
}
