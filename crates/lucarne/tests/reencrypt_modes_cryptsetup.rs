//! Encryptions and decryptions in place that one of both tools has begun and the other finishes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::OsString;
use std::path::PathBuf;

use common::modes::{CHECKSUM, SHIFT, detached, options, run, step, volume};
use common::{FIRST, Payload};
use lucarne::{
    DecryptedTo, MemoryStorage, OpenOptions, ReencryptOptions, ReencryptResilience, Reencryption,
    Secret, SectorSize, Storage, luks2, read_header,
};
use lucarne_storage::OffsetStorage;
use lucarne_storage::fault::{Event, RecordingStorage};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::half_reencrypted::{self, PASSPHRASE, State};

fn metadata(header: &[u8]) -> luks2::Metadata {
    let header = read_header(&MemoryStorage::from(header.to_vec())).unwrap();
    header.header.metadata().clone()
}

fn is_unfinished(header: &[u8]) -> bool {
    !metadata(header).requirements().is_empty()
}

/// The files of one state, and cryptsetup on them.
struct Files<'c> {
    cryptsetup: &'c Cryptsetup,
    dir: tempfile::TempDir,
    is_detached: bool,
}

impl Files<'_> {
    fn new(cryptsetup: &Cryptsetup, is_detached: bool) -> Files<'_> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), FIRST).unwrap();
        Files {
            cryptsetup,
            dir,
            is_detached,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, header: &[u8], data: &[u8]) {
        if self.is_detached {
            std::fs::write(self.path("header"), header).unwrap();
        }
        std::fs::write(self.path("image"), data).unwrap();
    }

    fn data(&self) -> Vec<u8> {
        std::fs::read(self.path("image")).unwrap()
    }

    fn header(&self) -> Vec<u8> {
        match self.is_detached {
            true => std::fs::read(self.path("header")).unwrap(),
            false => self.data(),
        }
    }

    fn arguments(&self, options: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        arguments.extend(["--batch-mode", "--key-file"].map(OsString::from));
        arguments.push(self.path("key").into());
        if self.is_detached {
            arguments.extend(["--header".into(), self.path("header").into()]);
        }
        arguments.push(self.path("image").into());
        arguments
    }

    fn run(&self, options: &[&str]) {
        self.cryptsetup.must(self.arguments(options));
    }

    /// A zone that was interrupted it finishes when it is told to repair, and then only. Whether it could: what it
    /// cannot finish of its own it cannot finish of ours, and then we do.
    fn finish(&self, place: &str) -> bool {
        self.run(&["repair"]);
        if !is_unfinished(&self.header()) {
            return true;
        }
        let known = unfinished_for_good(&metadata(&self.header()));
        let resume = ["reencrypt", "--resume-only", "--force-offline-reencrypt"];
        let outcome = self.cryptsetup.run(self.arguments(&resume));
        let Some(message) = known else {
            assert!(outcome.code == Some(0), "{place}: {}", outcome.stderr);
            return true;
        };
        assert!(outcome.code == Some(1), "{place}");
        assert!(
            outcome.stderr.contains(message),
            "{place}: {}",
            outcome.stderr
        );
        let (header, data) = (
            MemoryStorage::from(self.header()),
            MemoryStorage::from(self.data()),
        );
        match self.is_detached {
            true => Reencryption::resume(&header, Some(&data), &[FIRST], &options(CHECKSUM)),
            false => Reencryption::resume(&data, None, &[FIRST], &options(CHECKSUM)),
        }
        .and_then(run)
        .unwrap_or_else(|error| panic!("{place}: {error}"));
        self.write(&header.into_bytes(), &data.into_bytes());
        false
    }
}

/// States of its own at which cryptsetup 2.6.1 gives up, and with which words: an encryption with data shift of which only
/// the metadata are to be finished, and a decryption with data shift of which only the head is left.
fn unfinished_for_good(metadata: &luks2::Metadata) -> Option<&'static str> {
    let described = metadata.reencryption()?;
    described.moved?;
    let mut regular = metadata.segments().values().filter(|s| !s.is_backup());
    let is_crypt = |segment: &luks2::Segment| matches!(segment, luks2::Segment::Crypt(_));
    match described.keyslot.mode {
        luks2::ReencryptMode::Encrypt => regular
            .all(is_crypt)
            .then_some("Failed to set device segments"),
        _ => regular
            .skip(1)
            .all(|segment| !is_crypt(segment))
            .then_some("Failed to write reencryption resilience metadata"),
    }
}

/// Whole writes in their order: what a killed process leaves.
fn prefixes(recording: &RecordingStorage) -> Vec<Vec<u8>> {
    let mut image = recording.crash_states().next().unwrap();
    let mut result = Vec::new();
    for event in recording.events() {
        if let Event::Write { offset, data } = event {
            let start = usize::try_from(offset).unwrap();
            image[start..start + data.len()].copy_from_slice(&data);
            result.push(image.clone());
        }
    }
    result
}

fn is_in(payload: Payload, header: &[u8], data: &[u8]) -> bool {
    let (header, data) = (
        MemoryStorage::from(header.to_vec()),
        MemoryStorage::from(data.to_vec()),
    );
    let volume = OpenOptions::default()
        .header(&header)
        .open(&data, Secret::Passphrase(FIRST))
        .unwrap();
    let mut bytes = vec![0; payload.len];
    volume.read_at(&mut bytes, 0).unwrap();
    bytes == payload.bytes()
}

#[test]
fn cryptsetup_finishes_encryptions_with_data_shift() {
    let Some(cryptsetup) = Cryptsetup::or_skip("encryptions that it finishes") else {
        return;
    };
    let (mut count, mut by_us) = (0, 0);
    for (len, sector_size) in [
        (416 << 10, SectorSize::B512),
        (416 << 10, SectorSize::B4096),
        (168 << 10, SectorSize::B512),
        (24 << 10, SectorSize::B512),
    ] {
        let payload = Payload { len };
        let mut plain = payload.bytes();
        plain.resize(len + 2 * SHIFT as usize, 0xee);
        let recording = RecordingStorage::new(plain);
        let volume = volume(sector_size, Some(SHIFT));
        Reencryption::begin_encryption(&recording, None, FIRST, &volume, &options(CHECKSUM))
            .and_then(run)
            .unwrap();
        let files = Files::new(&cryptsetup, false);
        let states = prefixes(&recording);
        for (number, state) in states.into_iter().enumerate().step_by(step(3)) {
            // What is no volume yet only we finish.
            let Ok(selected) = read_header(&MemoryStorage::from(state.clone())) else {
                continue;
            };
            if selected.header.metadata().requirements().is_empty() {
                continue;
            }
            let place = format!("write {number} of {len} bytes, {sector_size:?}");
            files.write(&[], &state);
            by_us += usize::from(!files.finish(&place));
            let data = files.data();
            assert!(!is_unfinished(&data), "{place}");
            let volume = OpenOptions::default();
            let image = MemoryStorage::from(data);
            let volume = volume.open(&image, Secret::Passphrase(FIRST)).unwrap();
            let mut bytes = vec![0; len];
            volume.read_at(&mut bytes, 0).unwrap();
            assert!(bytes == payload.bytes(), "{place}");
            count += 1;
        }
    }
    println!("{count} states, of which {by_us} were left to us");
    assert!(count > 5 && by_us < count / 2);
}

/// Header and data as two windows of one recorded disk.
fn recorded(
    header: &[u8],
    data: &[u8],
    change: impl FnOnce(&dyn Storage, &dyn Storage),
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let disk = RecordingStorage::new([header, data].concat());
    let (border, end) = (header.len() as u64, (header.len() + data.len()) as u64);
    change(
        &OffsetStorage::new(&disk, 0..border),
        &OffsetStorage::new(&disk, border..end),
    );
    prefixes(&disk)
        .into_iter()
        .map(|mut state| {
            let data = state.split_off(header.len());
            (state, data)
        })
        .collect()
}

#[test]
fn cryptsetup_finishes_encryptions_under_a_detached_header() {
    let Some(cryptsetup) = Cryptsetup::or_skip("encryptions that it finishes") else {
        return;
    };
    let payload = Payload { len: 160 << 10 };
    let mut count = 0;
    for (resilience, sector_size) in [
        (CHECKSUM, SectorSize::B512),
        (ReencryptResilience::Journal, SectorSize::B4096),
    ] {
        let volume = volume(sector_size, None);
        let header = vec![0; SHIFT as usize];
        let states = recorded(&header, &payload.bytes(), |header, data| {
            let options = options(resilience);
            Reencryption::begin_encryption(header, Some(data), FIRST, &volume, &options)
                .and_then(run)
                .unwrap();
        });
        let files = Files::new(&cryptsetup, true);
        for (number, (header, data)) in states.into_iter().enumerate().step_by(step(3)) {
            let Ok(selected) = read_header(&MemoryStorage::from(header.clone())) else {
                continue;
            };
            if selected.header.metadata().requirements().is_empty() {
                continue;
            }
            files.write(&header, &data);
            let place = format!("write {number} of {resilience:?}");
            assert!(files.finish(&place), "{place}");
            assert!(!is_unfinished(&files.header()), "{place}");
            assert!(is_in(payload, &files.header(), &files.data()), "{place}");
            count += 1;
        }
    }
    println!("{count} states");
    assert!(count > 5);
}

#[test]
fn cryptsetup_finishes_decryptions() {
    use DecryptedTo::{Place, Start};
    let Some(cryptsetup) = Cryptsetup::or_skip("decryptions that it finishes") else {
        return;
    };
    let journal = ReencryptResilience::Journal;
    let (mut count, mut by_us) = (0, 0);
    for (to, offset, len, resilience, sector_size) in [
        (Place, 0, 160 << 10, CHECKSUM, SectorSize::B512),
        (Place, SHIFT, 160 << 10, journal, SectorSize::B4096),
        (Start, SHIFT, 480 << 10, CHECKSUM, SectorSize::B4096),
        (Start, SHIFT, 416 << 10, journal, SectorSize::B512),
        (Start, SHIFT, 20 << 10, CHECKSUM, SectorSize::B512),
    ] {
        let payload = Payload { len };
        let options = ReencryptOptions {
            hot_zone: Some(16 << 10),
            ..options(resilience)
        };
        let [header, data] = detached(payload, sector_size, offset);
        let states = recorded(&header, &data, |header, data| {
            Reencryption::begin_decryption(header, data, &[FIRST], to, &options)
                .and_then(run)
                .unwrap();
        });
        let files = Files::new(&cryptsetup, true);
        for (number, (header, data)) in states.into_iter().enumerate().step_by(step(5)) {
            if !is_unfinished(&header) {
                continue;
            }
            files.write(&header, &data);
            let place = format!("write {number} of {to:?}, {len} bytes, {resilience:?}");
            by_us += usize::from(!files.finish(&place));
            assert!(!is_unfinished(&files.header()), "{place}");
            let start = match to {
                Place => offset as usize,
                Start => 0,
            };
            assert!(
                files.data()[start..start + len] == payload.bytes(),
                "{place}"
            );
            count += 1;
        }
    }
    println!("{count} states, of which {by_us} were left to us");
    assert!(count > 10 && by_us < count / 2);
}

#[test]
fn we_finish_every_state_that_cryptsetup_left() {
    let others = |state: &State| !state.name.starts_with("reencrypt/");
    for state in half_reencrypted::all().into_iter().filter(others) {
        let name = &state.name;
        let data = MemoryStorage::from(state.image.clone());
        let header = state.header.clone().map(MemoryStorage::from);
        let header_storage = header.as_ref().unwrap_or(&data);
        let detached = header.is_some().then_some(&data as &dyn Storage);
        Reencryption::resume(header_storage, detached, &[PASSPHRASE], &options(CHECKSUM))
            .and_then(run)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let metadata = read_header(header_storage).unwrap().header;
        assert!(metadata.metadata().requirements().is_empty(), "{name}");
        let mut bytes = vec![0; state.payload.len()];
        if metadata.metadata().keyslots().is_empty() {
            data.read_at(&mut bytes, 0).unwrap();
        } else {
            let options = match &header {
                Some(header) => OpenOptions::default().header(header),
                None => OpenOptions::default(),
            };
            let volume = options.open(&data, Secret::Passphrase(PASSPHRASE)).unwrap();
            volume.read_at(&mut bytes, 0).unwrap();
        }
        assert!(bytes == state.payload, "{name}");
    }
}

#[test]
fn we_finish_what_cryptsetup_begins() {
    let Some(cryptsetup) = Cryptsetup::or_skip("encryptions and decryptions that it begins") else {
        return;
    };
    let payload = Payload { len: 416 << 10 };
    let begin = |files: &Files<'_>, options: &[&str]| {
        let mut line = vec!["reencrypt", "--init-only", "--force-offline-reencrypt"];
        line.extend(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]);
        line.extend(options);
        files.run(&line);
    };
    let finish = |files: &Files<'_>| {
        let (header, data) = (
            MemoryStorage::from(files.header()),
            MemoryStorage::from(files.data()),
        );
        match files.is_detached {
            true => Reencryption::resume(&header, Some(&data), &[FIRST], &options(CHECKSUM)),
            false => Reencryption::resume(&data, None, &[FIRST], &options(CHECKSUM)),
        }
        .and_then(run)
        .unwrap();
        [header.into_bytes(), data.into_bytes()]
    };
    let encrypt = ["--encrypt", "--type", "luks2", "--key-size", "256"];
    let mut plain = payload.bytes();
    plain.resize(payload.len + (1 << 20), 0xee);

    let attached = Files::new(&cryptsetup, false);
    attached.write(&[], &plain);
    begin(
        &attached,
        &[&encrypt[..], &["--reduce-device-size", "1M"]].concat(),
    );
    let [_, image] = finish(&attached);
    assert!(is_in(payload, &image, &image));

    let apart = Files::new(&cryptsetup, true);
    apart.write(&[], &plain);
    std::fs::remove_file(apart.path("header")).unwrap();
    begin(
        &apart,
        &[&encrypt[..], &["--luks2-keyslots-size", "512K"]].concat(),
    );
    let [header, data] = finish(&apart);
    assert!(is_in(payload, &header, &data));

    apart.write(&header, &data);
    begin(&apart, &["--decrypt", "--resilience", "journal"]);
    let [_, data] = finish(&apart);
    assert!(data == plain);

    let to_start = Files::new(&cryptsetup, true);
    to_start.write(&[], &image);
    std::fs::remove_file(to_start.path("header")).unwrap();
    begin(&to_start, &["--decrypt", "--hotzone-size", "64K"]);
    let [_, data] = finish(&to_start);
    assert!(data[..payload.len] == payload.bytes());
}
