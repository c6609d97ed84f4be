//! What a power cut at any write of a LUKS1 header verb leaves: every key that was not being removed, and of
//! a key that is changed the old one or the new.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, SECOND, THIRD, cheap, states};
use lucarne::{
    CipherSpec, Error, FormatOptions, KdfRequest, KeyslotOptions, Luks1Editor, LuksVersion,
    MemoryStorage, Secret, Storage, UnlockOptions, Volume, luks1, read_any_header, unlock,
};
use lucarne_storage::fault::{Event, RecordingStorage};

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

/// A volume with [`FIRST`] and [`SECOND`] in these keyslots, and others in `more`.
fn volume(first: u32, second: u32, more: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let image = MemoryStorage::with_len((1 << 20) + 4096);
    let options = FormatOptions {
        keyslot: first,
        ..format_options()
    };
    lucarne::format(&image, None, FIRST, &options).unwrap();
    let mut editor = Luks1Editor::open(&image).unwrap();
    let key = key_of(&editor, FIRST).unwrap();
    editor.add_keyslot(&key, SECOND, &at(second)).unwrap();
    for id in more {
        editor.add_keyslot(&key, b"another", &at(id)).unwrap();
    }
    image.into_bytes()
}

fn key_of(editor: &Luks1Editor<'_>, passphrase: &[u8]) -> Result<lucarne::Unlocked, Error> {
    editor.unlock(Secret::Passphrase(passphrase), &UnlockOptions::default())
}

fn change(editor: &mut Luks1Editor<'_>, to: Option<u32>) -> Result<(), Error> {
    let key = key_of(editor, FIRST)?;
    editor.change_keyslot(&key, THIRD, &at(to)).map(drop)
}

fn add(editor: &mut Luks1Editor<'_>, id: u32) -> Result<(), Error> {
    let key = key_of(editor, FIRST)?;
    editor.add_keyslot(&key, THIRD, &at(id)).map(drop)
}

/// A verb and what must hold whatever happens.
struct Verb {
    name: &'static str,
    start: fn() -> Vec<u8>,
    act: fn(&mut Luks1Editor<'_>) -> Result<(), Error>,
    /// These open.
    survivors: &'static [&'static [u8]],
    /// One of these opens, unless there is none.
    either: &'static [&'static [u8]],
    /// Which keyslots are active, one after the other.
    active: &'static [&'static [u32]],
}

const VERBS: &[Verb] = &[
    Verb {
        name: "add",
        start: || volume(0, 1, []),
        act: |editor| add(editor, 2),
        survivors: &[FIRST, SECOND],
        either: &[],
        active: &[&[0, 1], &[0, 1, 2]],
    },
    Verb {
        name: "add across byte 512",
        start: || volume(5, 7, []),
        act: |editor| add(editor, 6),
        survivors: &[FIRST, SECOND],
        either: &[],
        active: &[&[5, 7], &[5, 6, 7]],
    },
    Verb {
        name: "change",
        start: || volume(0, 1, []),
        act: |editor| change(editor, None),
        survivors: &[SECOND],
        either: &[FIRST, THIRD],
        active: &[&[0, 1], &[0, 1, 2], &[1, 2]],
    },
    Verb {
        name: "change to the last",
        start: || volume(6, 1, []),
        act: |editor| change(editor, Some(7)),
        survivors: &[SECOND],
        either: &[FIRST, THIRD],
        active: &[&[1, 6], &[1, 6, 7], &[1, 7]],
    },
    Verb {
        name: "change a named one",
        start: || volume(0, 1, []),
        act: |editor| change(editor, Some(0)),
        survivors: &[SECOND],
        either: &[FIRST, THIRD],
        active: &[&[0, 1], &[0, 1, 2], &[1, 2], &[0, 1, 2], &[0, 1]],
    },
    Verb {
        name: "change a named one across byte 512",
        start: || volume(6, 1, [0, 2, 3, 4, 5]),
        act: |editor| change(editor, Some(6)),
        survivors: &[SECOND],
        either: &[FIRST, THIRD],
        active: &[
            &[0, 1, 2, 3, 4, 5, 6],
            &[0, 1, 2, 3, 4, 5, 6, 7],
            &[0, 1, 2, 3, 4, 5, 7],
            &[0, 1, 2, 3, 4, 5, 6, 7],
            &[0, 1, 2, 3, 4, 5, 6],
        ],
    },
    Verb {
        name: "change without a free one",
        start: || volume(6, 1, [0, 2, 3, 4, 5, 7]),
        act: |editor| change(editor, None),
        survivors: &[SECOND, b"another"],
        either: &[],
        active: &[
            &[0, 1, 2, 3, 4, 5, 6, 7],
            &[0, 1, 2, 3, 4, 5, 7],
            &[0, 1, 2, 3, 4, 5, 6, 7],
        ],
    },
    Verb {
        name: "remove",
        start: || volume(0, 1, []),
        act: |editor| editor.remove_keyslot(0),
        survivors: &[SECOND],
        either: &[],
        active: &[&[0, 1], &[1]],
    },
    Verb {
        name: "remove across byte 512",
        start: || volume(6, 7, []),
        act: |editor| editor.remove_keyslot(6),
        survivors: &[SECOND],
        either: &[],
        active: &[&[6, 7], &[7]],
    },
    Verb {
        name: "erase",
        start: || volume(0, 7, []),
        act: |editor| editor.erase_keyslots().map(drop),
        survivors: &[],
        either: &[],
        active: &[&[0, 7], &[0], &[7], &[]],
    },
    Verb {
        name: "uuid",
        start: || volume(0, 7, []),
        act: |editor| editor.set_uuid(uuid::Uuid::from_u128(7)),
        survivors: &[FIRST, SECOND],
        either: &[],
        active: &[&[0, 7]],
    },
];

fn header_of(image: &MemoryStorage) -> luks1::Header {
    match read_any_header(image).unwrap() {
        lucarne::AnyHeader::Luks1(header) => header,
        lucarne::AnyHeader::Luks2(_) => panic!("LUKS2"),
    }
}

fn active(header: &luks1::Header) -> Vec<u32> {
    let is_active = |state: &_| matches!(state, luks1::KeyslotState::Active { .. });
    let keyslots = (0..).zip(header.keyslots());
    let active = keyslots.filter(|(_, keyslot)| is_active(&keyslot.state));
    active.map(|(id, _)| id).collect()
}

fn opens(image: &MemoryStorage, passphrase: &[u8]) -> bool {
    let header = read_any_header(image).unwrap();
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

impl Verb {
    fn run(&self, storage: &RecordingStorage) -> Result<(), Error> {
        (self.act)(&mut Luks1Editor::open(storage)?)
    }

    fn check(&self, image: Vec<u8>, what: &str) -> Vec<u32> {
        let name = self.name;
        let image = MemoryStorage::from(image);
        for passphrase in self.survivors {
            assert!(opens(&image, passphrase), "{name}, {what}: a key was lost");
        }
        if !self.either.is_empty() {
            let any = self.either.iter().any(|key| opens(&image, key));
            assert!(any, "{name}, {what}: neither the old key nor the new");
        }
        let active = active(&header_of(&image));
        assert!(
            self.active.contains(&active.as_slice()),
            "{name}, {what}: active are {active:?}"
        );
        active
    }
}

#[test]
fn a_power_cut_loses_no_key() {
    for verb in VERBS {
        let recorder = RecordingStorage::new((verb.start)());
        verb.run(&recorder).unwrap();
        let mut seen = Vec::new();
        let mut last = None;
        for (count, image) in states(&recorder).enumerate() {
            // Most states differ from the one before in noise alone.
            if last.as_ref() == Some(&image) {
                continue;
            }
            last = Some(image.clone());
            seen.push(verb.check(image, &format!("state {count}")));
        }
        let first = verb.active.first().unwrap();
        let last = verb.active.last().unwrap();
        assert_eq!(seen.first().unwrap(), first, "{}", verb.name);
        assert_eq!(seen.last().unwrap(), last, "{}", verb.name);
        assert!(seen.len() > 1, "{}", verb.name);
    }
}

#[test]
fn a_storage_that_fails_at_any_write_loses_no_key() {
    for verb in VERBS {
        let start = (verb.start)();
        let events = {
            let recorder = RecordingStorage::new(start.clone());
            verb.run(&recorder).unwrap();
            recorder.events().len()
        };
        for event in 0..events {
            let recorder = RecordingStorage::new(start.clone()).failing_at(event);
            let result = verb.run(&recorder);
            assert!(
                matches!(result, Err(Error::Io { .. })),
                "{}, event {event}: {result:?}",
                verb.name
            );
            verb.check(recorder.bytes().unwrap(), &format!("event {event}"));
        }
    }
}

/// Nothing outside of the header and the areas that the verb is about is written, and the header's rest
/// stays as it is.
#[test]
fn only_what_the_verb_is_about_is_written() {
    let start = volume(0, 1, []);
    let header = header_of(&MemoryStorage::from(start.clone()));
    let recorder = RecordingStorage::new(start);
    Luks1Editor::open(&recorder)
        .unwrap()
        .remove_keyslot(0)
        .unwrap();
    let area = header.keyslots()[0].area.clone();
    for event in recorder.events() {
        if let Event::Write { offset, data } = event {
            let end = offset + data.len() as u64;
            let in_header = end <= 512;
            let in_area = area.start <= offset && end <= area.end;
            assert!(in_header || in_area, "{offset}+{}", data.len());
        }
    }
    let after = header_of(&MemoryStorage::from(recorder.bytes().unwrap()));
    assert_eq!(after, header.without_keyslot(0).unwrap());
}

/// Where a key was, nothing is left of its material, whether it was removed or changed in place.
#[test]
fn what_is_removed_is_overwritten() {
    for verb in VERBS {
        let start = (verb.start)();
        let recorder = RecordingStorage::new(start.clone());
        verb.run(&recorder).unwrap();
        let after = recorder.bytes().unwrap();
        let header = header_of(&MemoryStorage::from(start.clone()));
        let held = [FIRST, SECOND].map(|key| {
            let editor = MemoryStorage::from(start.clone());
            let editor = Luks1Editor::open(&editor).unwrap();
            (key, key_of(&editor, key).unwrap().keyslot.unwrap())
        });
        for (key, id) in held {
            let area = &header.keyslots()[id as usize].area;
            let area = area.start as usize..area.end as usize;
            let mut blocks = start[area.clone()].chunks(512).zip(after[area].chunks(512));
            let is_kept = opens(&MemoryStorage::from(after.clone()), key);
            let holds = match is_kept {
                true => blocks.all(|(old, new)| old == new),
                false => blocks.all(|(old, new)| old != new && new.iter().any(|&byte| byte != 0)),
            };
            assert!(holds, "{}: keyslot {id}", verb.name);
        }
    }
}

#[test]
fn a_header_that_somebody_else_changed_is_left_alone() {
    let image = MemoryStorage::from(volume(0, 1, []));
    let mut late = Luks1Editor::open(&image).unwrap();
    Luks1Editor::open(&image)
        .unwrap()
        .remove_keyslot(1)
        .unwrap();
    let bytes = |image: &MemoryStorage| {
        let mut bytes = vec![0; usize::try_from(image.len().unwrap()).unwrap()];
        image.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let before = bytes(&image);
    assert!(matches!(late.remove_keyslot(0), Err(Error::Busy(_))));
    assert!(before == bytes(&image));
}

/// A power cut while a volume is made leaves none, or the new one.
#[test]
fn a_power_cut_while_formatting_leaves_no_volume_or_the_new_one() {
    for start in [vec![0xa5; (1 << 20) + 4096], volume(3, 4, [])] {
        let recorder = RecordingStorage::new(start.clone());
        lucarne::format(&recorder, None, THIRD, &format_options()).unwrap();
        let (mut without, mut made) = (0, 0);
        let mut last = None;
        for image in states(&recorder) {
            // As far as the header is concerned: what lies behind is zeros, noise or the past.
            let head = image[..592].to_vec();
            if last.as_ref() == Some(&head) {
                continue;
            }
            last = Some(head);
            let image = MemoryStorage::from(image);
            match read_any_header(&image) {
                Err(Error::NotLuks) => without += 1,
                Ok(_) if opens(&image, THIRD) => made += 1,
                Ok(_) => assert!(opens(&image, FIRST), "neither the old volume nor the new"),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(without > 0 && made > 0, "{without} {made}");
        let volume = Volume::open(
            MemoryStorage::from(recorder.bytes().unwrap()),
            Secret::Passphrase(THIRD),
        );
        assert_eq!(volume.unwrap().len(), 4096);
    }
}

#[test]
fn what_luks1_has_not_is_refused() {
    let options = format_options;
    for (options, word) in [
        (
            FormatOptions {
                label: "x".into(),
                ..options()
            },
            "label",
        ),
        (
            FormatOptions {
                subsystem: "x".into(),
                ..options()
            },
            "subsystem",
        ),
        (
            FormatOptions {
                sector_size: Some(lucarne::SectorSize::B4096),
                ..options()
            },
            "512",
        ),
        (
            FormatOptions {
                metadata_size: Some(16 << 10),
                ..options()
            },
            "metadata",
        ),
        (
            FormatOptions {
                keyslots_size: Some(1 << 20),
                ..options()
            },
            "metadata",
        ),
        (
            FormatOptions {
                keyslot_key_len: Some(32),
                ..options()
            },
            "cipher",
        ),
        (
            FormatOptions {
                keyslot: 8,
                ..options()
            },
            "limit is 7",
        ),
        (
            FormatOptions {
                kdf: KdfRequest::default(),
                ..options()
            },
            "pbkdf2",
        ),
        (
            FormatOptions {
                data_offset: Some(4096),
                ..options()
            },
            "offset",
        ),
        (
            FormatOptions {
                data_offset: Some((1 << 20) + 512),
                ..options()
            },
            "4096",
        ),
        (
            FormatOptions {
                data_alignment: Some(100),
                ..options()
            },
            "alignment",
        ),
        (
            FormatOptions {
                data_alignment: Some(1 << 50),
                ..options()
            },
            "alignment",
        ),
    ] {
        let image = MemoryStorage::with_len(2 << 20);
        let error = lucarne::format(&image, None, FIRST, &options).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
        assert!(options.check(false).is_err(), "{word}");
        assert!(image.into_bytes().iter().all(|&byte| byte == 0), "{word}");
    }
    let image = MemoryStorage::from(volume(0, 1, []));
    let mut editor = Luks1Editor::open(&image).unwrap();
    let key = key_of(&editor, FIRST).unwrap();
    let argon2 = KeyslotOptions::default();
    let cipher = KeyslotOptions {
        area_cipher: Some(("aes-xts-plain64".parse().unwrap(), 64)),
        ..at(None)
    };
    for options in [argon2, cipher, at(8), at(1)] {
        let error = editor.add_keyslot(&key, THIRD, &options).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
    }
}
