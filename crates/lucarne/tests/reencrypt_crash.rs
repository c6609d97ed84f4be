//! What a power cut at any write of a re-encryption leaves: a volume that is finished by taking it up again, with
//! every byte as it was.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, SECOND, cheap, states};
use lucarne::{
    Control, CostLimits, Error, FormatOptions, MemoryStorage, OpenOptions, ReencryptOptions,
    ReencryptResilience, Reencryption, Secret, SectorSize, Storage, read_header,
};
use lucarne_storage::fault::RecordingStorage;

const HEADER_LEN: u64 = (32 << 10) + (768 << 10);
const DATA_LEN: usize = 48 << 10;
/// Three zones.
const ZONE_LEN: u64 = 16 << 10;

fn payload() -> Vec<u8> {
    (0..DATA_LEN).map(|at| (at / 512 * 7 + at) as u8).collect()
}

fn volume(sector_size: SectorSize) -> Vec<u8> {
    let image = MemoryStorage::with_len(HEADER_LEN as usize + DATA_LEN);
    let options = FormatOptions {
        kdf: cheap(),
        key_len: 32,
        keyslots_size: Some(768 << 10),
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

fn options(resilience: ReencryptResilience, sector_size: SectorSize) -> ReencryptOptions {
    ReencryptOptions {
        sector_size: Some(sector_size),
        kdf: cheap(),
        resilience,
        ..ReencryptOptions::default()
    }
}

fn plaintext(image: &dyn Storage, passphrase: &[u8]) -> Result<Vec<u8>, Error> {
    let volume = OpenOptions::default().open(image, Secret::Passphrase(passphrase))?;
    let mut bytes = vec![0; DATA_LEN];
    volume.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn finish(image: &dyn Storage) -> Result<(), Error> {
    Reencryption::resume(image, None, &[FIRST], &CostLimits::default())?
        .with_hot_zone(Some(ZONE_LEN))
        .run(&Control::default())
}

/// Every state that a crash can leave is finished; how many there were.
fn sweep(resilience: ReencryptResilience, before: SectorSize, after: SectorSize) -> usize {
    let recording = RecordingStorage::new(volume(before));
    Reencryption::begin(&recording, None, &[FIRST], &options(resilience, after))
        .unwrap()
        .with_hot_zone(Some(ZONE_LEN))
        .run(&Control::default())
        .unwrap();
    assert_eq!(plaintext(&recording, FIRST).unwrap(), payload());
    let mut count = 0;
    for state in states(&recording) {
        count += 1;
        let image = MemoryStorage::from(state);
        let header = read_header(&image).unwrap().header;
        if !header.metadata().requirements().is_empty() {
            finish(&image).unwrap_or_else(|error| {
                panic!("state {count} of {resilience:?}, {before:?} to {after:?}: {error}")
            });
        }
        assert!(
            plaintext(&image, FIRST).unwrap() == payload(),
            "state {count} of {resilience:?}, {before:?} to {after:?}"
        );
        let metadata = read_header(&image).unwrap().header.metadata().clone();
        assert!(metadata.requirements().is_empty() && metadata.segments().len() == 1);
        assert_eq!(metadata.keyslots().len(), 1);
    }
    count
}

#[test]
fn every_state_is_finished() {
    use SectorSize::{B512, B4096};
    let checksum = ReencryptResilience::Checksum(lucarne::Hash::Sha256);
    let changes = [(B512, B4096), (B4096, B512), (B512, B512), (B4096, B4096)];
    // The changes of the sector size are the harder ones.
    let count = if std::env::var_os("LUCARNE_TEST_CRASH").is_some() {
        4
    } else {
        2
    };
    for &(before, after) in &changes[..count] {
        for resilience in [checksum, ReencryptResilience::Journal] {
            let count = sweep(resilience, before, after);
            println!("{resilience:?} {before:?} {after:?}: {count} states");
            assert!(count > 100);
        }
    }
}

#[test]
fn an_interruption_stops_between_two_zones_and_is_taken_up_again() {
    let image = MemoryStorage::from(volume(SectorSize::B512));
    let journal = options(ReencryptResilience::Journal, SectorSize::B512);
    let control = Control::default();
    control.interrupt();
    let stopped = Reencryption::begin(&image, None, &[FIRST], &journal)
        .unwrap()
        .run(&control);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    // A second one is not begun over it.
    let refused = Reencryption::begin(&image, None, &[FIRST], &journal).unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    let wrong = Reencryption::resume(&image, None, &[SECOND], &CostLimits::default()).unwrap_err();
    assert!(matches!(wrong, Error::WrongKey), "{wrong}");
    finish(&image).unwrap();
    assert_eq!(plaintext(&image, FIRST).unwrap(), payload());
}
