//! Random volumes, re-encrypted at random, interrupted at random, taken up again at random by us or by cryptsetup,
//! against a plain copy of the bytes.
//!
//! LUCARNE_TEST_CASES says how many of them: 24 and, with cryptsetup, 6 unless it is set.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::OsStr;
use std::ops::Range;

use common::{FIRST, cheap};
use lucarne::{
    Control, Error, FormatOptions, Hash, MemoryStorage, OffsetStorage, OpenOptions, Parallelism,
    ReencryptOptions, ReencryptResilience, Reencryption, Secret, SectorSize, Storage,
    UnprotectedZone, read_header,
};
use lucarne_storage::fault::{Event, RecordingStorage};
use lucarne_testkit::cryptsetup::Cryptsetup;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const KEYSLOTS_LEN: u64 = 768 << 10;
/// Header and keyslots; the data begin behind them, or are a device of their own that does.
const HEADER_LEN: u64 = (32 << 10) + KEYSLOTS_LEN;

/// A cipher and the lengths of its keys in bytes.
const CIPHERS: [(&str, [usize; 2]); 3] = [
    ("aes-xts-plain64", [32, 64]),
    ("aes-cbc-essiv:sha256", [16, 32]),
    ("aes-cbc-plain64", [16, 32]),
];

#[derive(Debug, Clone)]
struct Kind {
    cipher: &'static str,
    key_len: usize,
    sector_size: SectorSize,
}

#[derive(Debug, Clone)]
struct Case {
    payload: Vec<u8>,
    before: Kind,
    after: Kind,
    keep_key: bool,
    is_detached: bool,
    resilience: ReencryptResilience,
    zone_len: u64,
    /// Where the power goes, as a part of all events, by which seed writes are lost, whether the last one is torn, and
    /// whether cryptsetup goes on (where it takes part).
    cuts: Vec<(f64, u64, bool, bool)>,
    /// What an unprotected zone counts as.
    side: UnprotectedZone,
}

fn kind() -> impl Strategy<Value = Kind> {
    let sector_size = prop_oneof![Just(SectorSize::B512), Just(SectorSize::B4096)];
    (0..CIPHERS.len(), 0..2_usize, sector_size).prop_map(|(cipher, key_len, sector_size)| Kind {
        cipher: CIPHERS[cipher].0,
        key_len: CIPHERS[cipher].1[key_len],
        sector_size,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let resilience = prop_oneof![
        2 => Just(ReencryptResilience::Checksum(Hash::Sha256)),
        1 => Just(ReencryptResilience::Checksum(Hash::Sha1)),
        1 => Just(ReencryptResilience::Checksum(Hash::Sha512)),
        3 => Just(ReencryptResilience::Journal),
        1 => Just(ReencryptResilience::None),
    ];
    let len = (2..14_usize, 0..8_usize);
    let cuts = prop::collection::vec((0.0..1.0, any::<u64>(), any::<bool>(), any::<bool>()), 1..4);
    let side = prop_oneof![Just(UnprotectedZone::Old), Just(UnprotectedZone::New)];
    let payload = len.prop_flat_map(|(blocks, sectors)| {
        prop::collection::vec(any::<u8>(), blocks * 4096 + sectors * 512)
    });
    (
        (
            payload.no_shrink(),
            kind(),
            kind(),
            any::<bool>(),
            any::<bool>(),
        ),
        (resilience, 1..6_u64, cuts, side),
    )
        .prop_map(
            |((mut payload, before, after, keep_key, is_detached), rest)| {
                let (resilience, zone_blocks, cuts, side) = rest;
                if before.sector_size != SectorSize::B512 || after.sector_size != SectorSize::B512 {
                    payload.truncate(payload.len() / 4096 * 4096);
                }
                Case {
                    payload,
                    keep_key: keep_key && before.key_len == after.key_len,
                    before,
                    after,
                    is_detached,
                    resilience,
                    zone_len: zone_blocks * 4096,
                    cuts,
                    side,
                }
            },
        )
}

/// Header and data, one behind the other on one storage, so that their writes have an order.
struct Devices<'s> {
    storage: &'s dyn Storage,
    data: Option<OffsetStorage<&'s dyn Storage>>,
}

impl<'s> Devices<'s> {
    fn of(storage: &'s dyn Storage, case: &Case) -> Self {
        let data = case
            .is_detached
            .then(|| OffsetStorage::new(storage, HEADER_LEN..storage.len().unwrap()));
        Self { storage, data }
    }

    fn data(&self) -> Option<&dyn Storage> {
        self.data.as_ref().map(|data| data as &dyn Storage)
    }

    fn read(&self, range: Range<usize>) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; range.len()];
        let secret = Secret::Passphrase(FIRST);
        let offset = range.start as u64;
        match self.data() {
            None => OpenOptions::default()
                .open(self.storage, secret)?
                .read_at(&mut bytes, offset)?,
            Some(data) => OpenOptions::default()
                .header(self.storage)
                .open(data, secret)?
                .read_at(&mut bytes, offset)?,
        }
        Ok(bytes)
    }

    fn begin(&self, case: &Case) -> Result<(), Error> {
        Reencryption::begin(self.storage, self.data(), &[FIRST], &options(case))?
            .run(Parallelism::default(), &Control::default())
    }

    fn resume(&self, options: &ReencryptOptions) -> Result<(), Error> {
        Reencryption::resume(self.storage, self.data(), &[FIRST], options)?
            .run(Parallelism::default(), &Control::default())
    }

    fn is_unfinished(&self) -> bool {
        let header = read_header(self.storage).unwrap().header;
        !header.metadata().requirements().is_empty()
    }

    /// The bytes that were at hand.
    fn hot_zone(&self, case: &Case) -> Option<Range<usize>> {
        let data = self.data();
        let resumed = Reencryption::resume(self.storage, data, &[FIRST], &options(case)).unwrap();
        let zone = resumed.hot_zone()?;
        Some(zone.start as usize..zone.end as usize)
    }
}

fn options(case: &Case) -> ReencryptOptions {
    ReencryptOptions {
        cipher: Some(case.after.cipher.parse().unwrap()),
        key_len: Some(case.after.key_len),
        sector_size: Some(case.after.sector_size),
        keep_key: case.keep_key,
        kdf: cheap(),
        hot_zone: Some(case.zone_len),
        resilience: case.resilience,
        ..ReencryptOptions::default()
    }
}

fn volume(case: &Case) -> Vec<u8> {
    let image = MemoryStorage::with_len(HEADER_LEN as usize + case.payload.len());
    let devices = Devices::of(&image, case);
    let format = FormatOptions {
        kdf: cheap(),
        cipher: case.before.cipher.parse().unwrap(),
        key_len: case.before.key_len,
        sector_size: Some(case.before.sector_size),
        keyslots_size: Some(KEYSLOTS_LEN),
        data_offset: Some(if case.is_detached { 0 } else { HEADER_LEN }),
        ..FormatOptions::default()
    };
    lucarne::format(&image, devices.data(), FIRST, &format).unwrap();
    let secret = Secret::Passphrase(FIRST);
    match devices.data() {
        None => {
            let volume = OpenOptions::default().open(&image, secret).unwrap();
            volume.write_at(&case.payload, 0).unwrap();
        }
        Some(data) => {
            let options = OpenOptions::default().header(&image);
            let volume = options.open(data, secret).unwrap();
            volume.write_at(&case.payload, 0).unwrap();
        }
    }
    image.into_bytes()
}

/// What is left when the power goes after so many events: all that was flushed, and of the writes since some.
fn cut(initial: Vec<u8>, events: &[Event], seed: u64, is_torn: bool) -> Vec<u8> {
    let flushed = events.iter().rposition(|event| *event == Event::Flush);
    let durable = flushed.map_or(0, |flush| flush + 1);
    let mut image = initial;
    for (number, event) in events.iter().enumerate() {
        let Event::Write { offset, data } = event else {
            continue;
        };
        let is_last = number + 1 == events.len();
        let len = match () {
            () if number < durable => data.len(),
            () if is_torn && is_last => (seed as usize % data.len()) / 512 * 512,
            // In a third of the cases nothing is lost: a killed process.
            () if !seed.is_multiple_of(3) && seed >> (3 + number % 60) & 1 == 1 => 0,
            () => data.len(),
        };
        let start = usize::try_from(*offset).unwrap();
        image[start..start + len].copy_from_slice(&data[..len]);
    }
    image
}

fn run(case: &Case, cryptsetup: Option<&Cryptsetup>) {
    let mut image = volume(case);
    // Of resilience none what was lost.
    let mut lost: Vec<Range<usize>> = Vec::new();
    let is_same = |devices: &Devices<'_>, lost: &[Range<usize>]| {
        let found = devices.read(0..case.payload.len()).unwrap();
        let mut bytes = found.iter().zip(&case.payload).enumerate();
        bytes.all(|(at, (found, expected))| {
            found == expected || lost.iter().any(|lost| lost.contains(&at))
        })
    };
    for (round, &(place, seed, is_torn, by_cryptsetup)) in case.cuts.iter().enumerate() {
        let recording = RecordingStorage::new(image.clone());
        let devices = Devices::of(&recording, case);
        if devices.is_unfinished() {
            devices.resume(&resume_options(case)).unwrap();
        } else {
            devices.begin(case).unwrap();
        }
        assert!(is_same(&devices, &lost), "round {round}, done");
        let events = recording.events();
        let count = (place * (events.len() + 1) as f64) as usize;
        // cryptsetup loses blocks that are torn inside.
        let is_torn = is_torn && !(by_cryptsetup && cryptsetup.is_some());
        image = cut(image, &events[..count.min(events.len())], seed, is_torn);
        let storage = MemoryStorage::from(image.clone());
        let devices = Devices::of(&storage, case);
        let mut zone = None;
        if devices.is_unfinished() {
            zone = devices.hot_zone(case);
        }
        if case.resilience == ReencryptResilience::None
            && let Some(zone) = zone.clone()
        {
            let error = devices.resume(&options(case)).unwrap_err();
            assert!(matches!(error, Error::Device(_)), "{error}");
            assert!(devices.read(zone.clone()).is_err());
            lost.push(zone.clone());
            for part in [0..zone.start, zone.end..case.payload.len()] {
                let found = devices.read(part.clone()).unwrap();
                let mut bytes = found.iter().zip(part);
                let is_lost = |at: usize| lost.iter().any(|lost| lost.contains(&at));
                assert!(bytes.all(|(found, at)| *found == case.payload[at] || is_lost(at)));
            }
        } else {
            assert!(is_same(&devices, &lost), "round {round}, read as it stands");
            if let Some(cryptsetup) = cryptsetup.filter(|_| by_cryptsetup) {
                image = finished_by(cryptsetup, image, case);
                let storage = MemoryStorage::from(image.clone());
                let devices = Devices::of(&storage, case);
                assert!(is_same(&devices, &lost), "round {round}, by cryptsetup");
            }
        }
    }
    let storage = MemoryStorage::from(image);
    let devices = Devices::of(&storage, case);
    if devices.is_unfinished() {
        devices.resume(&resume_options(case)).unwrap();
    }
    assert!(is_same(&devices, &lost), "in the end");
    assert!(!devices.is_unfinished());
    let metadata = read_header(&storage).unwrap().header.metadata().clone();
    assert_eq!(metadata.segments().len(), 1);
    assert_eq!(metadata.keyslots().len(), 1);
}

fn resume_options(case: &Case) -> ReencryptOptions {
    ReencryptOptions {
        unprotected_zone: Some(case.side),
        ..options(case)
    }
}

fn finished_by(cryptsetup: &Cryptsetup, mut image: Vec<u8>, case: &Case) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let key = write("key", FIRST);
    let data = case
        .is_detached
        .then(|| write("data", &image.split_off(HEADER_LEN as usize)));
    let header = write("header", &image);
    for verb in [
        &["repair"][..],
        &["reencrypt", "--resume-only", "--force-offline-reencrypt"],
    ] {
        let is_unfinished = {
            let header = MemoryStorage::from(std::fs::read(&header).unwrap());
            let header = read_header(&header).unwrap().header;
            !header.metadata().requirements().is_empty()
        };
        if !is_unfinished {
            break;
        }
        let mut arguments: Vec<&OsStr> = verb.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("-q"), OsStr::new("--key-file"), key.as_os_str()]);
        match &data {
            Some(data) => {
                arguments.extend([OsStr::new("--header"), header.as_os_str(), data.as_os_str()]);
            }
            None => arguments.push(header.as_os_str()),
        }
        cryptsetup.must(arguments);
    }
    let mut image = std::fs::read(header).unwrap();
    if let Some(data) = data {
        image.truncate(HEADER_LEN as usize);
        image.extend(std::fs::read(data).unwrap());
    }
    image
}

fn cases(otherwise: u32) -> Config {
    let asked = std::env::var("LUCARNE_TEST_CASES").ok();
    Config {
        cases: asked.map_or(otherwise, |asked| asked.parse().unwrap()),
        failure_persistence: None,
        ..Config::default()
    }
}

#[test]
fn whatever_happens_the_payload_is_what_it_was() {
    TestRunner::new(cases(24))
        .run(&case(), |case| {
            run(&case, None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn cryptsetup_goes_on_in_between() {
    let Some(cryptsetup) = Cryptsetup::or_skip("re-encryptions that it takes up") else {
        return;
    };
    TestRunner::new(cases(6))
        .run(&case(), |mut case| {
            // It re-encrypts files of whole blocks only.
            case.payload.truncate(case.payload.len() / 4096 * 4096);
            run(&case, Some(&cryptsetup));
            Ok(())
        })
        .unwrap();
}
