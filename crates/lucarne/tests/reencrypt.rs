//! Re-encryptions in place: what is refused before a byte is written, and ends that are not the usual ones.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, Payload, cheap};
use lucarne::{
    Control, Error, FormatOptions, Hash, HeaderEditor, MemoryStorage, OpenOptions, Parallelism,
    ReencryptOptions, ReencryptResilience, Reencryption, Secret, SectorSize, Storage, luks2,
    read_header,
};

const PAYLOAD: Payload = Payload { len: 48 << 10 };

fn options() -> ReencryptOptions {
    ReencryptOptions {
        kdf: cheap(),
        ..ReencryptOptions::default()
    }
}

fn image() -> MemoryStorage {
    MemoryStorage::from(PAYLOAD.volume(SectorSize::B512))
}

fn bytes(storage: &MemoryStorage) -> Vec<u8> {
    let mut bytes = vec![0; storage.len().unwrap() as usize];
    storage.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Refused, and not one byte changed.
fn refused(image: &MemoryStorage, options: &ReencryptOptions) -> String {
    let before = bytes(image);
    let error = Reencryption::begin(image, None, &[FIRST], options)
        .and_then(|begun| begun.run(Parallelism::default(), &Control::default()))
        .unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(bytes(image) == before, "{error}: the image is changed");
    error.to_string()
}

#[test]
fn a_detached_header_is_not_taken_for_the_whole_volume() {
    let (header, data) = (MemoryStorage::default(), MemoryStorage::with_len(64 << 10));
    let format = FormatOptions {
        kdf: cheap(),
        ..FormatOptions::default()
    };
    lucarne::format(&header, Some(&data), FIRST, &format).unwrap();
    let message = refused(&header, &options());
    assert!(message.contains("lie over the header"), "{message}");
    // With its data it is one.
    let volume = OpenOptions::default()
        .header(&header)
        .open(&data, Secret::Passphrase(FIRST))
        .unwrap();
    volume.write_at(b"weights", 5000).unwrap();
    Reencryption::begin(&header, Some(&data), &[FIRST], &options())
        .unwrap()
        .run(Parallelism::default(), &Control::default())
        .unwrap();
    let volume = OpenOptions::default()
        .header(&header)
        .open(&data, Secret::Passphrase(FIRST))
        .unwrap();
    let mut back = [0; 7];
    volume.read_at(&mut back, 5000).unwrap();
    assert_eq!(&back, b"weights");
}

#[test]
fn a_sparse_volume_would_lose_its_holes() {
    let image = image();
    let serde_json::Value::Object(token) = serde_json::json!({
        "type": "lucarne-length", "keyslots": [], "version": 1, "sparse": true,
    }) else {
        unreachable!("an object")
    };
    HeaderEditor::open(&image)
        .unwrap()
        .add_token(None, token)
        .unwrap();
    let message = refused(&image, &options());
    assert!(message.contains("rekey"), "{message}");
}

#[test]
fn a_zone_that_cannot_be_is_refused_before_anything_is_written() {
    let message = refused(
        &image(),
        &ReencryptOptions {
            hot_zone: Some(100),
            ..options()
        },
    );
    assert!(message.contains("hot zone"), "{message}");
}

#[test]
fn a_header_without_room_for_the_segments_is_refused_at_once() {
    let image = image();
    let mut editor = HeaderEditor::open(&image).unwrap();
    let filler = |len: usize| {
        let serde_json::Value::Object(token) =
            serde_json::json!({"type": "filler", "keyslots": [], "text": "x".repeat(len)})
        else {
            unreachable!("an object")
        };
        token
    };
    // As full as a header may be for the metadata of the beginning.
    let mut fits = 0;
    for len in (0..12_000).step_by(50).rev() {
        if editor.add_token(None, filler(len)).is_ok() {
            fits = len;
            break;
        }
    }
    assert!(fits > 9000);
    editor.remove_token(0).unwrap();
    let mut refusals = 0;
    let small_zones = ReencryptOptions {
        hot_zone: Some(16 << 10),
        ..options()
    };
    for len in (fits.saturating_sub(4000)..fits).step_by(100) {
        let image = self::image();
        HeaderEditor::open(&image)
            .unwrap()
            .add_token(None, filler(len))
            .unwrap();
        match Reencryption::begin(&image, None, &[FIRST], &small_zones) {
            Ok(begun) => begun
                .run(Parallelism::default(), &Control::default())
                .unwrap(),
            Err(error) => {
                assert!(matches!(error, Error::Refused(_)), "{error}");
                assert!(PAYLOAD.is_in(&image));
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0);
}

#[test]
fn data_far_behind_the_header_do_not_make_the_keyslots_area_longer_than_it_may_be() {
    // 132 MiB: the area takes at most 128.
    let offset = 132 << 20;
    let image = MemoryStorage::with_len(offset as usize + (64 << 10));
    let format = FormatOptions {
        kdf: cheap(),
        keyslots_size: Some(2 << 20),
        data_offset: Some(offset),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, FIRST, &format).unwrap();
    Reencryption::begin(&image, None, &[FIRST], &options())
        .unwrap()
        .run(Parallelism::default(), &Control::default())
        .unwrap();
    let metadata = read_header(&image).unwrap().header.metadata().clone();
    assert!(metadata.requirements().is_empty());
    assert_eq!(metadata.keyslots_size(), 2 << 20);
}

/// The segments are vouched for by nobody: what they claim is bounded by what is vouched for.
#[test]
fn segments_that_no_step_has_are_refused_with_nothing_written() {
    let begun = MemoryStorage::from(PAYLOAD.volume(SectorSize::B4096));
    let journal = ReencryptOptions {
        resilience: ReencryptResilience::Journal,
        ..options()
    };
    drop(Reencryption::begin(&begun, None, &[FIRST], &journal).unwrap());
    let header = read_header(&begun).unwrap().header;
    let reencryption = header.metadata().reencryption().unwrap();
    let (old, new) = (
        reencryption.old_digest.unwrap(),
        reencryption.new_digest.unwrap(),
    );
    let backups = [reencryption.previous.clone(), reencryption.last.clone()];
    let crypt = |start: u64, size: Option<u64>, is_hot: bool| {
        let luks2::Segment::Crypt(last) = &backups[1] else {
            unreachable!("a crypt segment")
        };
        luks2::Segment::Crypt(luks2::CryptSegment {
            offset: last.offset + start,
            size: size.map_or(luks2::SegmentSize::Dynamic, luks2::SegmentSize::Bytes),
            iv_tweak: start / 512,
            flags: is_hot
                .then(|| luks2::IN_REENCRYPTION.to_owned())
                .into_iter()
                .collect(),
            ..last.clone()
        })
    };
    let len = PAYLOAD.len as u64;
    let hot = vec![new, old];
    let cases = [
        (
            "a zone past the end",
            vec![(crypt(0, Some(len + 4096), true), hot.clone())],
        ),
        (
            "a zone as long as numbers go",
            vec![(crypt(0, Some(u64::MAX - 511), true), hot.clone())],
        ),
        (
            "a boundary past the end",
            vec![
                (crypt(0, Some(len + 4096), false), vec![new]),
                (crypt(len + 4096, None, false), vec![old]),
            ],
        ),
        (
            "a boundary inside of a sector",
            vec![
                (crypt(0, Some(512), false), vec![new]),
                (crypt(512, None, false), vec![old]),
            ],
        ),
        (
            "a gap",
            vec![
                (crypt(0, Some(4096), false), vec![new]),
                (crypt(8192, None, false), vec![old]),
            ],
        ),
        (
            "old before new",
            vec![
                (crypt(0, Some(len), true), hot),
                (crypt(0, Some(512), false), vec![new]),
            ],
        ),
    ];
    for (what, regular) in cases {
        let segments = regular.into_iter().chain([
            (backups[0].clone(), vec![old]),
            (backups[1].clone(), vec![new]),
        ]);
        let segments: Vec<_> = segments.collect();
        let forged = header.edit(|draft| {
            draft.replace_segments(
                segments
                    .iter()
                    .map(|(segment, digests)| (segment, digests.clone())),
            )
        });
        // What the format itself refuses needs nobody else.
        let Ok(forged) = forged else { continue };
        let image = MemoryStorage::from(bytes(&begun));
        for copy in [luks2::HeaderCopy::Primary, luks2::HeaderCopy::Secondary] {
            let encoded = forged.encode(copy, [7; 64]).unwrap();
            image
                .write_at(&encoded, copy.offset(forged.header_size()))
                .unwrap();
        }
        let before = bytes(&image);
        let error = Reencryption::resume(&image, None, &[FIRST], &options())
            .and_then(|resumed| resumed.run(Parallelism::default(), &Control::default()))
            .unwrap_err();
        assert!(bytes(&image) == before, "{what}: {error}");
    }
}

#[test]
fn a_block_that_is_neither_old_nor_new_stops_it() {
    let image = image();
    let checksum = ReencryptOptions {
        resilience: ReencryptResilience::Checksum(Hash::Sha256),
        hot_zone: Some(16 << 10),
        ..options()
    };
    // Interrupted with the first zone hot: the last write of the data is spoilt.
    let recording = lucarne_storage::fault::RecordingStorage::new(bytes(&image));
    Reencryption::begin(&recording, None, &[FIRST], &checksum)
        .unwrap()
        .run(Parallelism::default(), &Control::default())
        .unwrap();
    let hot = recording
        .crash_states()
        .map(MemoryStorage::from)
        .find(|state| {
            let header = read_header(state).unwrap().header;
            header
                .metadata()
                .segments()
                .values()
                .any(luks2::Segment::is_in_reencryption)
        })
        .unwrap();
    hot.write_at(&[0x5a; 512], Payload::OFFSET + 4096).unwrap();
    let before = bytes(&hot);
    let error = Reencryption::resume(&hot, None, &[FIRST], &options())
        .and_then(|resumed| resumed.run(Parallelism::default(), &Control::default()))
        .unwrap_err();
    assert!(matches!(error, Error::Device(_)), "{error}");
    assert!(error.to_string().contains("from byte 4096"), "{error}");
    assert!(bytes(&hot) == before);
    // Nor is it given out as plaintext.
    let volume = OpenOptions::default()
        .open(&hot, Secret::Passphrase(FIRST))
        .unwrap();
    assert!(volume.read_at(&mut [0; 16], 4100).is_err());
}
