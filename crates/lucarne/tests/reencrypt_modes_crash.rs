//! What a power cut at any write leaves of plaintext that is being encrypted in place, and of a volume that is being
//! decrypted: something that is finished by taking it up again, with every byte as it was.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io;
use std::sync::Mutex;

use common::modes::{CHECKSUM, SHIFT, detached, detached_with_room, options, run, step, volume};
use common::{FIRST, Payload, SECOND, states};
use lucarne::{
    DecryptedTo, Error, MemoryStorage, OpenOptions, ReencryptOptions, ReencryptResilience,
    Reencryption, Secret, SectorSize, Storage, read_header,
};
use lucarne_storage::fault::{Event, RecordingStorage};

fn is_unfinished(header: &dyn Storage) -> bool {
    let header = read_header(header).unwrap().header;
    !header.metadata().requirements().is_empty()
}

/// The plaintext, and behind it what the volume will be longer by and what is given up.
fn plain(payload: Payload) -> Vec<u8> {
    let mut bytes = payload.bytes();
    bytes.resize(bytes.len() + 2 * SHIFT as usize, 0xee);
    bytes
}

/// How many states there were, and of how many the plaintext was untouched or put together.
fn encrypt_with_shift(payload: Payload, sector_size: SectorSize, every: usize) -> [usize; 3] {
    let volume = volume(sector_size, Some(SHIFT));
    let begin = |storage: &dyn Storage, passphrase: &[u8]| {
        let begun =
            Reencryption::begin_encryption(storage, None, passphrase, &volume, &options(CHECKSUM));
        begun.and_then(run)
    };
    let recording = RecordingStorage::new(plain(payload));
    begin(&recording, FIRST).unwrap();
    assert!(payload.is_in(&recording));
    let original = plain(payload);
    let (mut count, mut untouched, mut put_together) = (0, 0, 0);
    for state in states(&recording).step_by(step(every)) {
        count += 1;
        let place = format!("state {count} of {} bytes, {sector_size:?}", payload.len);
        let image = MemoryStorage::from(state.clone());
        if read_header(&image).is_ok() {
            assert!(payload.is_in(&image), "{place}, as it stands");
            if is_unfinished(&image) {
                let resumed =
                    Reencryption::resume(&image, None, &[FIRST], &options(CHECKSUM)).and_then(run);
                resumed.unwrap_or_else(|error| panic!("{place}: {error}"));
            }
        } else {
            if state[..payload.len] == original[..payload.len] {
                untouched += 1;
            } else {
                put_together += 1;
                // Not without the passphrase, and then nothing is written.
                let error = begin(&image, SECOND).unwrap_err();
                assert!(matches!(error, Error::WrongKey), "{place}: {error}");
                assert!(common::bytes(&image) == state, "{place}");
            }
            begin(&image, FIRST).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        assert!(payload.is_in(&image), "{place}");
        assert!(!is_unfinished(&image), "{place}");
        // No plaintext is left.
        let image = common::bytes(&image);
        for probe in original[..payload.len].chunks(32 << 10) {
            let probe = &probe[512..1024];
            assert!(
                !image
                    .windows(512)
                    .step_by(512)
                    .any(|sector| sector == probe),
                "{place}: plaintext is left"
            );
        }
    }
    assert!(untouched > 0 && put_together > 0);
    [count, untouched, put_together]
}

#[test]
fn every_state_of_an_encryption_with_data_shift_is_finished() {
    // Two zones and a part; heads shorter than the shift, with the spare header before and behind their copy.
    for (len, sector_size) in [
        (416 << 10, SectorSize::B512),
        (416 << 10, SectorSize::B4096),
        (168 << 10, SectorSize::B512),
        (24 << 10, SectorSize::B512),
    ] {
        let [count, untouched, put_together] = encrypt_with_shift(Payload { len }, sector_size, 19);
        println!("{len}: {count} states, {untouched} of plaintext, {put_together} put together");
    }
}

#[test]
fn plaintext_that_was_used_after_a_crash_is_not_put_back() {
    let payload = Payload { len: 416 << 10 };
    let volume = volume(SectorSize::B512, Some(SHIFT));
    let recording = RecordingStorage::new(plain(payload));
    Reencryption::begin_encryption(&recording, None, FIRST, &volume, &options(CHECKSUM)).unwrap();
    let original = plain(payload);
    // The spare header is whole, and nothing of the head is gone.
    let ready = recording
        .crash_states()
        .filter(|state| state[..payload.len] == original[..payload.len])
        .last()
        .unwrap();
    let spare = ready[payload.len..payload.len + 4].iter();
    assert!(spare.map(|byte| !byte).eq(*b"LUKS"));
    let image = MemoryStorage::from(ready);
    // Where a key's area would be, and nowhere else.
    image.write_at(&[0x77; 512], 40 << 10).unwrap();
    let begun =
        Reencryption::begin_encryption(&image, None, SECOND, &volume, &options(CHECKSUM)).unwrap();
    run(begun).unwrap();
    let opened = OpenOptions::default()
        .open(&image, Secret::Passphrase(SECOND))
        .unwrap();
    let mut sector = [0; 512];
    opened.read_at(&mut sector, 40 << 10).unwrap();
    assert!(sector == [0x77; 512]);
}

/// A header and its data on two devices: what is durable on one says nothing of the other.
struct Disk<'l> {
    log: &'l Mutex<Vec<(usize, Event)>>,
    number: usize,
    now: MemoryStorage,
}

impl Storage for Disk<'_> {
    fn len(&self) -> io::Result<u64> {
        self.now.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.now.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let event = Event::Write {
            offset,
            data: data.to_vec(),
        };
        self.log.lock().unwrap().push((self.number, event));
        self.now.write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.log.lock().unwrap().push((self.number, Event::Flush));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.now.set_len(len)
    }

    fn discard(&self, _range: std::ops::Range<u64>) -> io::Result<()> {
        Ok(())
    }
}

/// After each event: on each disk what was not flushed is there or not, and the last write is torn.
fn both_states(initial: [&[u8]; 2], log: &[(usize, Event)]) -> Vec<[Vec<u8>; 2]> {
    let mut result = Vec::new();
    for count in 0..=log.len() {
        let happened = &log[..count];
        let state = |disk: usize, keeps: bool, torn: Option<usize>| {
            let mine = || happened.iter().filter(move |(of, _)| *of == disk);
            let flushed = mine().map(|(_, event)| event).enumerate();
            let durable = flushed
                .filter(|(_, event)| matches!(event, Event::Flush))
                .last()
                .map_or(0, |(at, _)| at);
            let last = mine().count().saturating_sub(1);
            let mut bytes = initial[disk].to_vec();
            for (at, (_, event)) in mine().enumerate() {
                let Event::Write { offset, data } = event else {
                    continue;
                };
                let len = match torn {
                    Some(len) if at == last => len.min(data.len()),
                    _ if keeps || at < durable => data.len(),
                    _ => 0,
                };
                let start = *offset as usize;
                bytes[start..start + len].copy_from_slice(&data[..len]);
            }
            bytes
        };
        for keeps in [[true, true], [true, false], [false, true], [false, false]] {
            result.push([0, 1].map(|disk| state(disk, keeps[disk], None)));
        }
        if let Some((disk, Event::Write { data, .. })) = happened.last() {
            for torn in [512, data.len() / 1024 * 512, data.len().saturating_sub(512)] {
                for keeps in [true, false] {
                    result.push([0, 1].map(|of| state(of, keeps, (of == *disk).then_some(torn))));
                }
            }
        }
    }
    result
}

/// Runs it on two disks, and gives what they may be after a crash.
fn recorded(
    initial: [Vec<u8>; 2],
    change: impl FnOnce(&dyn Storage, &dyn Storage),
) -> (Vec<[Vec<u8>; 2]>, [Vec<u8>; 2]) {
    let log = Mutex::new(Vec::new());
    let disk = |number: usize| Disk {
        log: &log,
        number,
        now: MemoryStorage::from(initial[number].clone()),
    };
    let (header, data) = (disk(0), disk(1));
    change(&header, &data);
    let last = [header.now, data.now].map(MemoryStorage::into_bytes);
    let log = log.into_inner().unwrap();
    (both_states([&initial[0], &initial[1]], &log), last)
}

fn is_in_detached(payload: Payload, header: &dyn Storage, data: &dyn Storage) -> bool {
    let volume = OpenOptions::default()
        .header(header)
        .open(data, Secret::Passphrase(FIRST))
        .unwrap();
    let mut bytes = vec![0; payload.len];
    volume.read_at(&mut bytes, 0).unwrap();
    bytes == payload.bytes()
}

#[test]
fn every_state_of_an_encryption_under_a_detached_header_is_finished() {
    let payload = Payload { len: 160 << 10 };
    for (resilience, sector_size) in [
        (CHECKSUM, SectorSize::B512),
        (ReencryptResilience::Journal, SectorSize::B4096),
    ] {
        let volume = volume(sector_size, None);
        let initial = [vec![0; SHIFT as usize], payload.bytes()];
        let (states, last) = recorded(initial, |header, data| {
            let options = options(resilience);
            let begun =
                Reencryption::begin_encryption(header, Some(data), FIRST, &volume, &options);
            begun.and_then(run).unwrap();
        });
        let last = last.map(MemoryStorage::from);
        assert!(is_in_detached(payload, &last[0], &last[1]));
        let total = states.len();
        for (number, [header, data]) in states.into_iter().enumerate().step_by(step(7)) {
            let place = format!("state {number} of {resilience:?}");
            let (header, data) = (MemoryStorage::from(header), MemoryStorage::from(data));
            if read_header(&header).is_err() {
                assert!(common::bytes(&data) == payload.bytes(), "{place}");
                continue;
            }
            assert!(
                is_in_detached(payload, &header, &data),
                "{place}, as it stands"
            );
            if is_unfinished(&header) {
                Reencryption::resume(&header, Some(&data), &[FIRST], &options(resilience))
                    .and_then(run)
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            assert!(is_in_detached(payload, &header, &data), "{place}");
            assert!(!is_unfinished(&header), "{place}");
        }
        println!("{resilience:?}: {total} states");
    }
}

#[test]
fn every_state_of_a_change_of_key_under_a_detached_header_is_finished() {
    let payload = Payload { len: 160 << 10 };
    let journal = ReencryptResilience::Journal;
    for (resilience, before, after) in [
        (CHECKSUM, SectorSize::B512, SectorSize::B4096),
        (journal, SectorSize::B4096, SectorSize::B512),
    ] {
        let initial = detached_with_room(payload, before);
        let options = ReencryptOptions {
            sector_size: Some(after),
            ..options(resilience)
        };
        let (states, last) = recorded(initial, |header, data| {
            let begun = Reencryption::begin(header, Some(data), &[FIRST], &options);
            begun.and_then(run).unwrap();
        });
        let [header, data] = last.map(MemoryStorage::from);
        assert!(is_in_detached(payload, &header, &data));
        let total = states.len();
        let mut unfinished = 0;
        for (number, [header, data]) in states.into_iter().enumerate().step_by(step(7)) {
            let place = format!("state {number} of {resilience:?}");
            let (header, data) = (MemoryStorage::from(header), MemoryStorage::from(data));
            assert!(
                is_in_detached(payload, &header, &data),
                "{place}, as it stands"
            );
            if is_unfinished(&header) {
                unfinished += 1;
                Reencryption::resume(&header, Some(&data), &[FIRST], &options)
                    .and_then(run)
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(is_in_detached(payload, &header, &data), "{place}");
            }
            assert!(!is_unfinished(&header), "{place}");
        }
        println!("{resilience:?}: {total} states, of those tried {unfinished} unfinished");
        assert!(unfinished > 0);
    }
}

#[test]
fn every_state_of_a_decryption_is_finished() {
    use DecryptedTo::{Place, Start};
    let journal = ReencryptResilience::Journal;
    for (to, offset, len, resilience, sector_size) in [
        (Place, 0, 160 << 10, CHECKSUM, SectorSize::B512),
        (Place, SHIFT, 160 << 10, journal, SectorSize::B4096),
        (Start, SHIFT, 480 << 10, CHECKSUM, SectorSize::B4096),
        (Start, SHIFT, 416 << 10, journal, SectorSize::B512),
        (Start, SHIFT, 20 << 10, CHECKSUM, SectorSize::B512),
    ] {
        let payload = Payload { len };
        let what = format!("{to:?}, {len} bytes at {offset}, {resilience:?}");
        let options = ReencryptOptions {
            hot_zone: Some(16 << 10),
            ..options(resilience)
        };
        let initial = detached(payload, sector_size, offset);
        let is_plain = |data: &[u8]| {
            let start = match to {
                Place => offset as usize,
                Start => 0,
            };
            data[start..start + len] == payload.bytes()
        };
        let (states, last) = recorded(initial, |header, data| {
            let begun = Reencryption::begin_decryption(header, data, &[FIRST], to, &options);
            begun.and_then(run).unwrap();
        });
        assert!(is_plain(&last[1]), "{what}");
        let total = states.len();
        for (number, [header, data]) in states.into_iter().enumerate().step_by(step(7)) {
            let place = format!("state {number} of {what}");
            let (header, data) = (MemoryStorage::from(header), MemoryStorage::from(data));
            let metadata = read_header(&header).unwrap().header.metadata().clone();
            let is_finished = metadata.requirements().is_empty() && metadata.keyslots().is_empty();
            if !is_finished {
                assert!(
                    is_in_detached(payload, &header, &data),
                    "{place}, as it stands"
                );
                let resumed = match is_unfinished(&header) {
                    true => Reencryption::resume(&header, Some(&data), &[FIRST], &options),
                    false => Reencryption::begin_decryption(&header, &data, &[FIRST], to, &options),
                };
                resumed
                    .and_then(run)
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            assert!(!is_unfinished(&header), "{place}");
            assert!(is_plain(&data.into_bytes()), "{place}");
        }
        println!("{what}: {total} states");
    }
}
