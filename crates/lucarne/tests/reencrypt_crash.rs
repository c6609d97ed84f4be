//! What a power cut at any write of a re-encryption leaves: a volume that is finished by taking it up again, with
//! every byte as it was.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FIRST, Payload, SECOND, cheap, states};
use lucarne::{
    Control, Error, MemoryStorage, OpenOptions, Parallelism, ReencryptOptions, ReencryptResilience,
    Reencryption, Secret, SectorSize, Storage, read_header,
};
use lucarne_storage::fault::RecordingStorage;
use lucarne_testkit::half_reencrypted;

/// Three zones.
const PAYLOAD: Payload = Payload { len: 48 << 10 };
const ZONE_LEN: u64 = 16 << 10;

fn options(resilience: ReencryptResilience, sector_size: SectorSize) -> ReencryptOptions {
    ReencryptOptions {
        sector_size: Some(sector_size),
        kdf: cheap(),
        resilience,
        ..resumed()
    }
}

fn resumed() -> ReencryptOptions {
    ReencryptOptions {
        hot_zone: Some(ZONE_LEN),
        ..ReencryptOptions::default()
    }
}

fn finish(image: &dyn Storage) -> Result<(), Error> {
    Reencryption::resume(image, None, &[FIRST], &resumed())?
        .run(Parallelism::default(), &Control::default())
}

/// Every state that a crash can leave is finished; how many there were.
fn sweep(resilience: ReencryptResilience, before: SectorSize, after: SectorSize) -> usize {
    let recording = RecordingStorage::new(PAYLOAD.volume(before));
    Reencryption::begin(&recording, None, &[FIRST], &options(resilience, after))
        .unwrap()
        .run(Parallelism::default(), &Control::default())
        .unwrap();
    assert!(PAYLOAD.is_in(&recording));
    let mut count = 0;
    for state in states(&recording) {
        count += 1;
        let image = MemoryStorage::from(state);
        let header = read_header(&image).unwrap().header;
        if !header.metadata().requirements().is_empty() {
            // It is read as it stands, too.
            assert!(
                PAYLOAD.is_in(&image),
                "state {count} of {resilience:?}, {before:?} to {after:?}, unfinished"
            );
            finish(&image).unwrap_or_else(|error| {
                panic!("state {count} of {resilience:?}, {before:?} to {after:?}: {error}")
            });
        }
        assert!(
            PAYLOAD.is_in(&image),
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

/// Plaintext becomes a volume where it lies, moved out of the header's way: cryptsetup began it.
#[test]
fn every_state_of_an_encryption_with_data_shift_is_finished() {
    let begun = half_reencrypted::state("encrypt-shift/initialised");
    let passphrase = half_reencrypted::PASSPHRASE;
    let finish = |image: &dyn Storage| {
        Reencryption::resume(image, None, &[passphrase], &ReencryptOptions::default())?
            .run(Parallelism::default(), &Control::default())
    };
    let is_in = |image: &dyn Storage| {
        let volume = OpenOptions::default()
            .open(image, Secret::Passphrase(passphrase))
            .unwrap();
        let mut bytes = vec![0; begun.payload.len()];
        volume.read_at(&mut bytes, 0).unwrap();
        bytes == begun.payload
    };
    let recording = RecordingStorage::new(begun.image.clone());
    finish(&recording).unwrap();
    assert!(is_in(&recording));
    let mut count = 0;
    for state in states(&recording) {
        count += 1;
        let image = MemoryStorage::from(state);
        let header = read_header(&image).unwrap().header;
        if !header.metadata().requirements().is_empty() {
            assert!(is_in(&image), "state {count}, unfinished");
            finish(&image).unwrap_or_else(|error| panic!("state {count}: {error}"));
        }
        assert!(is_in(&image), "state {count}");
        assert!(
            read_header(&image)
                .unwrap()
                .header
                .metadata()
                .requirements()
                .is_empty()
        );
    }
    println!("data shift: {count} states");
    assert!(count > 100, "{count}");
}

#[test]
fn an_interruption_stops_between_two_zones_and_is_taken_up_again() {
    let image = MemoryStorage::from(PAYLOAD.volume(SectorSize::B512));
    let journal = options(ReencryptResilience::Journal, SectorSize::B512);
    let control = Control::default();
    control.interrupt();
    let stopped = Reencryption::begin(&image, None, &[FIRST], &journal)
        .unwrap()
        .run(Parallelism::default(), &control);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    // A second one is not begun over it.
    let refused = Reencryption::begin(&image, None, &[FIRST], &journal).unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    let wrong = Reencryption::resume(&image, None, &[SECOND], &resumed()).unwrap_err();
    assert!(matches!(wrong, Error::WrongKey), "{wrong}");
    finish(&image).unwrap();
    assert!(PAYLOAD.is_in(&image));
}
