//! Re-encryptions that one of both tools has begun and the other finishes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::OsStr;
use std::path::Path;

use common::{FIRST, Payload, cheap};
use lucarne::{
    Access, Control, FileStorage, Hash, MemoryStorage, Parallelism, ReencryptOptions,
    ReencryptResilience, Reencryption, SectorSize, read_header,
};
use lucarne_storage::fault::{Event, RecordingStorage};
use lucarne_testkit::cryptsetup::Cryptsetup;

/// Three zones.
const PAYLOAD: Payload = Payload { len: 96 << 10 };
const ZONE_LEN: u64 = 32 << 10;

fn resumed() -> ReencryptOptions {
    ReencryptOptions {
        hot_zone: Some(ZONE_LEN),
        ..ReencryptOptions::default()
    }
}

fn arguments<'a>(key: &'a Path, image: &'a Path, options: &'a [&'a str]) -> Vec<&'a OsStr> {
    let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    arguments.extend(["--batch-mode", "--key-file"].map(OsStr::new));
    arguments.extend([key.as_os_str(), image.as_os_str()]);
    arguments
}

fn key_file(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("key");
    std::fs::write(&path, FIRST).unwrap();
    path
}

const RESILIENCES: [ReencryptResilience; 2] = [
    ReencryptResilience::Checksum(Hash::Sha256),
    ReencryptResilience::Journal,
];

#[test]
fn cryptsetup_finishes_what_we_begin() {
    let Some(cryptsetup) = Cryptsetup::or_skip("re-encryptions that it finishes") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let key = key_file(dir.path());
    for resilience in RESILIENCES {
        for (before, after) in [
            (SectorSize::B512, SectorSize::B512),
            (SectorSize::B512, SectorSize::B4096),
            (SectorSize::B4096, SectorSize::B512),
        ] {
            let recording = RecordingStorage::new(PAYLOAD.volume(before));
            let options = ReencryptOptions {
                sector_size: Some(after),
                kdf: cheap(),
                resilience,
                ..resumed()
            };
            Reencryption::begin(&recording, None, &[FIRST], &options)
                .unwrap()
                .run(Parallelism::default(), &Control::default())
                .unwrap();
            // Whole writes in their order: what a killed process leaves.
            let mut image = recording.crash_states().next().unwrap();
            for (number, event) in recording.events().into_iter().enumerate() {
                let Event::Write { offset, data } = event else {
                    continue;
                };
                let start = usize::try_from(offset).unwrap();
                image[start..start + data.len()].copy_from_slice(&data);
                let state = MemoryStorage::from(image.clone());
                let header = read_header(&state).unwrap().header;
                if header.metadata().requirements().is_empty() {
                    continue;
                }
                let path = dir.path().join("image");
                std::fs::write(&path, &image).unwrap();
                let place = format!("{resilience:?}, {before:?} to {after:?}, write {number}");
                // Read as it stands, and finished.
                assert!(PAYLOAD.is_in(&state), "{place}");
                // A zone that was interrupted it finishes when it is told to repair, and then only.
                cryptsetup.must(arguments(&key, &path, &["repair"]));
                if is_unfinished(&path) {
                    let resume = ["reencrypt", "--resume-only", "--force-offline-reencrypt"];
                    cryptsetup.must(arguments(&key, &path, &resume));
                }
                assert!(!is_unfinished(&path), "{place}");
                let file = FileStorage::open(&path, Access::ReadOnly).unwrap();
                assert!(PAYLOAD.is_in(&file), "{place}");
            }
        }
    }
}

fn is_unfinished(path: &Path) -> bool {
    let file = FileStorage::open(path, Access::ReadOnly).unwrap();
    let header = read_header(&file).unwrap().header;
    !header.metadata().requirements().is_empty()
}

#[test]
fn we_finish_what_cryptsetup_begins() {
    let Some(cryptsetup) = Cryptsetup::or_skip("re-encryptions that it begins") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let key = key_file(dir.path());
    for resilience in ["checksum", "journal", "none"] {
        for sector_size in ["512", "4096"] {
            let path = dir.path().join("image");
            std::fs::write(&path, PAYLOAD.volume(SectorSize::B512)).unwrap();
            let mut begin = vec!["reencrypt", "--init-only", "--force-offline-reencrypt"];
            begin.extend(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]);
            begin.extend(["--resilience", resilience, "--sector-size", sector_size]);
            cryptsetup.must(arguments(&key, &path, &begin));
            let file = FileStorage::open(&path, Access::ReadWrite).unwrap();
            Reencryption::resume(&file, None, &[FIRST], &resumed())
                .unwrap()
                .run(Parallelism::default(), &Control::default())
                .unwrap();
            assert!(PAYLOAD.is_in(&file));
            assert!(
                read_header(&file)
                    .unwrap()
                    .header
                    .metadata()
                    .requirements()
                    .is_empty()
            );
        }
    }
}
