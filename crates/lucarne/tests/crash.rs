//! What a power cut at any write leaves: the old volume, none, or the new one.

#![allow(clippy::unwrap_used, reason = "tests")]

use lucarne::{
    Control, EncryptOptions, Encrypted, Error, FormatOptions, KdfKind, KdfRequest, LuksVersion,
    MemoryStorage, OpenOptions, Secret, SectorSize, Source, Storage, Volume, encrypt, format,
    read_header,
};
use lucarne_storage::fault::RecordingStorage;

const OLD: &[u8] = b"an old example";
const NEW: &[u8] = b"a new example";

/// A header of 1 MiB in all, so that the states stay small.
fn small() -> FormatOptions {
    FormatOptions {
        kdf: KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(1000),
            ..KdfRequest::default()
        },
        keyslots_size: Some(256 << 10),
        sector_size: Some(SectorSize::B4096),
        ..FormatOptions::default()
    }
}

/// The same of LUKS1, with the data at about 512 KiB.
fn small_luks1() -> FormatOptions {
    FormatOptions {
        version: LuksVersion::Luks1,
        cipher: "aes-cbc-plain64".parse().unwrap(),
        key_len: 16,
        data_alignment: Some(4096),
        keyslots_size: None,
        sector_size: None,
        ..small()
    }
}

fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

fn encrypted(
    format: FormatOptions,
    source: &MemoryStorage,
    output: &RecordingStorage,
    control: &Control,
) -> Result<Encrypted, Error> {
    let options = EncryptOptions {
        // LUKS1 has no place for it.
        omit_length: format.version == LuksVersion::Luks1,
        format,
        ..EncryptOptions::default()
    };
    encrypt(
        Source::Storage(source),
        output,
        None,
        NEW,
        &options,
        control,
    )
}

/// The whole plaintext of the image under a passphrase.
fn content(image: Vec<u8>, passphrase: &[u8]) -> Result<Vec<u8>, Error> {
    let volume = Volume::open(MemoryStorage::from(image), Secret::Passphrase(passphrase))?;
    let mut content = vec![0; volume.len() as usize];
    volume.read_at(&mut content, 0)?;
    Ok(content)
}

#[test]
fn encrypting_to_a_new_file_leaves_no_volume_or_all_of_it() {
    leaves_no_volume_or_all_of_it(small);
}

#[test]
fn encrypting_to_a_new_luks1_file_leaves_no_volume_or_all_of_it() {
    leaves_no_volume_or_all_of_it(small_luks1);
}

fn leaves_no_volume_or_all_of_it(small: fn() -> FormatOptions) {
    let expected = plaintext(40_000);
    let recorder = RecordingStorage::new(Vec::new());
    let source = MemoryStorage::from(expected.clone());
    encrypted(small(), &source, &recorder, &Control::default()).unwrap();

    let (mut states, mut complete) = (0, 0);
    for image in recorder.crash_states() {
        states += 1;
        match content(image, NEW) {
            Ok(found) => {
                complete += 1;
                assert_eq!(found[..expected.len()], expected);
                assert!(found[expected.len()..].iter().all(|&byte| byte == 0));
            }
            Err(Error::NotLuks | Error::Corrupt(_)) => {}
            Err(other) => panic!("state {states}: {other}"),
        }
    }
    assert!(
        complete > 0 && states > complete,
        "{complete} of {states} states are volumes"
    );
}

#[test]
fn encrypting_to_a_device_never_shows_new_data_under_the_old_header() {
    never_shows_new_data_under_the_old_header(small, 3 << 20);
}

#[test]
fn encrypting_to_a_device_as_luks1_never_shows_new_data_under_the_old_header() {
    never_shows_new_data_under_the_old_header(small_luks1, 768 << 10);
}

fn never_shows_new_data_under_the_old_header(small: fn() -> FormatOptions, device_len: usize) {
    let device = MemoryStorage::with_len(device_len);
    format(&device, None, OLD, &small()).unwrap();
    let old_data = plaintext(128 << 10);
    let volume = Volume::open(&device, Secret::Passphrase(OLD)).unwrap();
    volume.write_at(&old_data, 0).unwrap();
    drop(volume);

    let recorder = RecordingStorage::new(device.into_bytes());
    let expected = vec![0x5a; 100_000];
    let source = MemoryStorage::from(expected.clone());
    encrypted(small(), &source, &recorder, &Control::default()).unwrap();

    let (mut old, mut none, mut new) = (0, 0, 0);
    for image in recorder.crash_states() {
        if let Ok(found) = content(image.clone(), OLD) {
            assert_eq!(
                found[..old_data.len()],
                old_data,
                "half-overwritten data under the old header"
            );
            old += 1;
        } else if let Ok(found) = content(image, NEW) {
            assert_eq!(found[..expected.len()], expected);
            new += 1;
        } else {
            none += 1;
        }
    }
    assert!(
        old > 0 && none > 0 && new > 0,
        "old {old}, none {none}, new {new}"
    );
}

#[test]
fn formatting_over_a_volume_leaves_the_old_none_or_the_new() {
    let device = MemoryStorage::with_len(2 << 20);
    format(&device, None, OLD, &small()).unwrap();
    let recorder = RecordingStorage::new(device.into_bytes());
    format(&recorder, None, NEW, &small()).unwrap();

    let (mut old, mut none, mut new) = (0, 0, 0);
    for image in recorder.crash_states() {
        let storage = MemoryStorage::from(image);
        match read_header(&storage) {
            Ok(_) => {
                let opens = |secret| {
                    OpenOptions::default()
                        .open(&storage, Secret::Passphrase(secret))
                        .is_ok()
                };
                match (opens(OLD), opens(NEW)) {
                    (true, false) => old += 1,
                    (false, true) => new += 1,
                    both => panic!("a header that opens neither or both: {both:?}"),
                }
            }
            Err(Error::NotLuks | Error::Corrupt(_)) => none += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        old > 0 && none > 0 && new > 0,
        "old {old}, none {none}, new {new}"
    );
}

#[test]
fn a_disk_that_fills_up_at_any_write_is_an_error_and_no_volume() {
    let source = MemoryStorage::from(plaintext(40_000));
    let events = {
        let recorder = RecordingStorage::new(Vec::new());
        let control = Control::default();
        encrypted(small(), &source, &recorder, &control).unwrap();
        recorder.events().len()
    };
    for event in 0..events {
        let recorder = RecordingStorage::new(Vec::new()).failing_at(event);
        let control = Control::default();
        let result = encrypted(small(), &source, &recorder, &control);
        assert!(
            matches!(result, Err(Error::Io { .. })),
            "event {event}: {result:?}"
        );
    }
}

#[test]
fn an_interrupted_run_leaves_no_volume() {
    let recorder = RecordingStorage::new(Vec::new());
    let source = MemoryStorage::from(plaintext(40_000));
    let control = Control::default();
    control.interrupt();
    let result = encrypted(small(), &source, &recorder, &control);
    assert!(matches!(result, Err(Error::Interrupted)));
    assert!(matches!(read_header(&recorder), Err(Error::NotLuks)));
    assert!(
        recorder.len().unwrap() < 1 << 20
            || recorder.bytes().unwrap().iter().all(|&byte| byte == 0)
    );
}
