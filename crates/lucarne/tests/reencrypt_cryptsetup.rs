//! Re-encryptions that one of both tools has begun and the other finishes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::OsStr;
use std::path::Path;

use common::{FIRST, cheap};
use lucarne::{
    Access, Control, CostLimits, FileStorage, FormatOptions, Hash, MemoryStorage, OpenOptions,
    ReencryptOptions, ReencryptResilience, Reencryption, Secret, SectorSize, Storage, read_header,
};
use lucarne_storage::fault::{Event, RecordingStorage};
use lucarne_testkit::cryptsetup::Cryptsetup;

const HEADER_LEN: u64 = (32 << 10) + (2 << 20);
const DATA_LEN: usize = 96 << 10;
const ZONE_LEN: u64 = 32 << 10;

fn payload() -> Vec<u8> {
    (0..DATA_LEN).map(|at| (at / 512 * 7 + at) as u8).collect()
}

fn volume(sector_size: SectorSize) -> Vec<u8> {
    let image = MemoryStorage::with_len(HEADER_LEN as usize + DATA_LEN);
    let options = FormatOptions {
        kdf: cheap(),
        keyslots_size: Some(2 << 20),
        data_offset: Some(HEADER_LEN),
        sector_size: Some(sector_size),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, FIRST, &options).unwrap();
    let volume = OpenOptions::default()
        .open(&image, Secret::Passphrase(FIRST))
        .unwrap();
    volume.write_at(&payload(), 0).unwrap();
    image.into_bytes()
}

fn plaintext(image: &dyn Storage) -> Result<Vec<u8>, lucarne::Error> {
    let volume = OpenOptions::default().open(image, Secret::Passphrase(FIRST))?;
    let mut bytes = vec![0; DATA_LEN];
    volume.read_at(&mut bytes, 0)?;
    Ok(bytes)
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
            let recording = RecordingStorage::new(volume(before));
            let options = ReencryptOptions {
                sector_size: Some(after),
                kdf: cheap(),
                resilience,
                ..ReencryptOptions::default()
            };
            Reencryption::begin(&recording, None, &[FIRST], &options)
                .unwrap()
                .with_hot_zone(Some(ZONE_LEN))
                .run(&Control::default())
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
                assert!(plaintext(&state).unwrap() == payload(), "{place}");
                // A zone that was interrupted it finishes when it is told to repair, and then only.
                cryptsetup.must(arguments(&key, &path, &["repair"]));
                if is_unfinished(&path) {
                    let resume = ["reencrypt", "--resume-only", "--force-offline-reencrypt"];
                    cryptsetup.must(arguments(&key, &path, &resume));
                }
                assert!(!is_unfinished(&path), "{place}");
                let file = FileStorage::open(&path, Access::ReadOnly).unwrap();
                assert!(plaintext(&file).unwrap() == payload(), "{place}");
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
            std::fs::write(&path, volume(SectorSize::B512)).unwrap();
            let mut begin = vec!["reencrypt", "--init-only", "--force-offline-reencrypt"];
            begin.extend(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]);
            begin.extend(["--resilience", resilience, "--sector-size", sector_size]);
            cryptsetup.must(arguments(&key, &path, &begin));
            let file = FileStorage::open(&path, Access::ReadWrite).unwrap();
            Reencryption::resume(&file, None, &[FIRST], &CostLimits::default())
                .unwrap()
                .with_hot_zone(Some(ZONE_LEN))
                .run(&Control::default())
                .unwrap();
            assert!(plaintext(&file).unwrap() == payload());
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
