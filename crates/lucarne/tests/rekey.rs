//! A copy under a new key: what it holds, what a power cut at any write leaves of it, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::{Condvar, Mutex};

use common::{FIRST, SECOND, cheap, states};
use lucarne::{
    Control, EncryptOptions, Error, FileStorage, FormatOptions, LuksVersion, MemoryStorage,
    Parallelism, Rekey, RekeyOptions, RekeyRun, Rekeyed, Secret, SectorSize, Source, Storage,
    Volume, encrypt, format, read_header, unfinished_rekey,
};
use lucarne_storage::fault::{Event, RecordingStorage};

const DATA_OFFSET: u64 = 288 << 10;

/// A header of 288 KiB in all, so that the states stay small.
fn small() -> FormatOptions {
    FormatOptions {
        kdf: cheap(),
        keyslots_size: Some(256 << 10),
        data_offset: Some(DATA_OFFSET),
        ..FormatOptions::default()
    }
}

fn options() -> RekeyOptions {
    RekeyOptions {
        format: small(),
        ..RekeyOptions::default()
    }
}

fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// A volume of these bytes, opened by [`FIRST`].
fn source_of(bytes: &[u8], format: FormatOptions) -> Volume<MemoryStorage> {
    let image = MemoryStorage::default();
    let options = EncryptOptions {
        format,
        ..EncryptOptions::default()
    };
    let source = MemoryStorage::from(bytes.to_vec());
    encrypt(
        Source::Storage(&source),
        &image,
        None,
        FIRST,
        &options,
        &Control::default(),
    )
    .unwrap();
    Volume::open(image, Secret::Passphrase(FIRST)).unwrap()
}

fn content<S: Storage>(volume: &Volume<S>) -> Vec<u8> {
    let mut content = vec![0; volume.len() as usize];
    volume.read_at(&mut content, 0).unwrap();
    content
}

fn copied<S: Storage>(
    volume: &Volume<S>,
    output: &dyn Storage,
    options: &RekeyOptions,
    run: &RekeyRun<'_>,
) -> Result<Rekeyed, Error> {
    let control = Control::default();
    let rekey = Rekey::begin(volume, output, SECOND, options, &control)?;
    rekey.run(run, &control)?;
    rekey.finish()
}

#[test]
fn every_pair_of_sector_sizes_ciphers_and_key_lengths_keeps_the_plaintext() {
    let sizes = [SectorSize::B512, SectorSize::B1024, SectorSize::B4096];
    let ciphers = [
        ("aes-xts-plain64", 64),
        ("aes-xts-plain64", 32),
        ("aes-cbc-essiv:sha256", 32),
    ];
    // Not whole sectors, whole small ones, whole large ones.
    for len in [1, 100_001, 99 * 512, 20 * 4096] {
        let bytes = plaintext(len);
        for from in sizes {
            let volume = source_of(
                &bytes,
                FormatOptions {
                    sector_size: Some(from),
                    ..small()
                },
            );
            for to in sizes {
                for (cipher, key_len) in ciphers {
                    let format = FormatOptions {
                        sector_size: Some(to),
                        cipher: cipher.parse().unwrap(),
                        key_len,
                        ..small()
                    };
                    let options = RekeyOptions {
                        format,
                        ..RekeyOptions::default()
                    };
                    let output = MemoryStorage::default();
                    let verified = RekeyRun {
                        verify: true,
                        ..RekeyRun::default()
                    };
                    let made = copied(&volume, &output, &options, &verified).unwrap();
                    assert_eq!(
                        made.plaintext_len, len as u64,
                        "{from:?} to {to:?}, {cipher}"
                    );
                    let copy = Volume::open(output, Secret::Passphrase(SECOND)).unwrap();
                    assert_eq!(copy.sector_len(), to.bytes() as usize);
                    let found = content(&copy);
                    assert_eq!(found[..len], bytes, "{from:?} to {to:?}, {cipher}");
                    assert!(found[len..].iter().all(|&byte| byte == 0));
                    assert!(copy.storage().len().unwrap() >= made.volume_len);
                }
            }
        }
    }
}

#[test]
fn the_key_is_new_and_the_header_complete() {
    let volume = source_of(&plaintext(9000), small());
    let output = MemoryStorage::default();
    let made = copied(&volume, &output, &options(), &RekeyRun::default()).unwrap();
    let selected = read_header(&output).unwrap();
    assert!(!selected.repair.is_needed());
    let metadata = selected.header.metadata();
    assert!(metadata.requirements().is_empty());
    let kinds: Vec<_> = metadata
        .tokens()
        .values()
        .map(|token| &token.kind)
        .collect();
    assert_eq!(kinds, ["lucarne-length"]);
    assert_eq!(selected.header.uuid(), made.uuid);
    let copy = Volume::open(&output, Secret::Passphrase(SECOND)).unwrap();
    let digest = |volume: &lucarne::VolumeIdentity| volume.volume_key_digest.clone();
    assert_ne!(digest(copy.identity()), digest(volume.identity()));
    assert!(matches!(
        Volume::open(&output, Secret::Passphrase(FIRST)),
        Err(Error::WrongKey)
    ));
    assert!(unfinished_rekey(&output).unwrap().is_none());
}

#[test]
fn a_recorded_length_is_carried_over_while_it_holds() {
    let volume = source_of(&plaintext(5000), small());
    volume.write_at(&[1], 6000).unwrap();
    let output = MemoryStorage::default();
    let made = copied(&volume, &output, &options(), &RekeyRun::default()).unwrap();
    // All of it, as decrypt gives it.
    assert_eq!((made.plaintext_len, made.volume_len), (8192, 8192));
    assert!(
        read_header(&output)
            .unwrap()
            .header
            .metadata()
            .tokens()
            .is_empty()
    );
}

#[test]
fn luks1_becomes_luks2() {
    let image = MemoryStorage::with_len(4 << 20);
    let luks1 = FormatOptions {
        version: LuksVersion::Luks1,
        kdf: cheap(),
        ..FormatOptions::default()
    };
    format(&image, None, FIRST, &luks1).unwrap();
    let volume = Volume::open(&image, Secret::Passphrase(FIRST)).unwrap();
    volume.write_at(&plaintext(70_000), 512).unwrap();
    assert_eq!(volume.identity().seqid, None);
    let output = MemoryStorage::default();
    copied(&volume, &output, &options(), &RekeyRun::default()).unwrap();
    let copy = Volume::open(&output, Secret::Passphrase(SECOND)).unwrap();
    assert_eq!(content(&copy), content(&volume));
    let into_luks1 = RekeyOptions {
        format: luks1,
        ..RekeyOptions::default()
    };
    let refused = copied(&volume, &output, &into_luks1, &RekeyRun::default());
    assert!(matches!(refused, Err(Error::Unsupported(_))));
}

#[test]
fn a_device_must_have_room_and_keeps_what_lies_behind() {
    let bytes = plaintext(64 << 10);
    let volume = source_of(&bytes, small());
    let short = MemoryStorage::with_len((288 << 10) + (64 << 10) - 512);
    short.write_at(b"somebody's", 100).unwrap();
    let refused = copied(&volume, &short, &options(), &RekeyRun::default());
    assert!(matches!(refused, Err(Error::Device(_))), "{refused:?}");
    let mut kept = [0; 10];
    short.read_at(&mut kept, 100).unwrap();
    assert_eq!(&kept, b"somebody's");

    let long = MemoryStorage::from(vec![7; 1 << 20]);
    copied(&volume, &long, &options(), &RekeyRun::default()).unwrap();
    let copy = Volume::open(&long, Secret::Passphrase(SECOND)).unwrap();
    assert_eq!(content(&copy), bytes);
    let mut behind = [0; 100];
    long.read_at(&mut behind, (1 << 20) - 100).unwrap();
    assert_eq!(behind, [7; 100]);
}

/// Damages one sector of what is written, when it is read again.
struct Damaging {
    storage: MemoryStorage,
    at: u64,
}

impl Storage for Damaging {
    fn len(&self) -> std::io::Result<u64> {
        self.storage.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.storage.read_at(buf, offset)?;
        if let Some(byte) = self
            .at
            .checked_sub(offset)
            .and_then(|at| buf.get_mut(at as usize))
        {
            *byte ^= 1;
        }
        Ok(())
    }
    fn write_at(&self, data: &[u8], offset: u64) -> std::io::Result<()> {
        self.storage.write_at(data, offset)
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.storage.set_len(len)
    }
    fn discard(&self, range: std::ops::Range<u64>) -> std::io::Result<()> {
        self.storage.discard(range)
    }
}

#[test]
fn verifying_finds_a_byte_that_reads_back_as_another() {
    let volume = source_of(&plaintext(6 << 20), small());
    let output = Damaging {
        storage: MemoryStorage::default(),
        at: (288 << 10) + (5 << 20) + 17,
    };
    let control = Control::default();
    let rekey = Rekey::begin(&volume, &output, SECOND, &options(), &control).unwrap();
    rekey.run(&RekeyRun::default(), &control).unwrap();
    let verified = RekeyRun {
        verify: true,
        ..RekeyRun::default()
    };
    let Err(Error::Device(fault)) = rekey.run(&verified, &control) else {
        panic!("not found");
    };
    // XTS garbles the 16 bytes around it.
    let at = (5 << 20) + 16;
    assert!(
        fault.to_string().contains(&format!("from byte {at} ")),
        "{fault}"
    );
}

#[test]
fn holes_are_kept_where_they_stand_for_zeros_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, b"").unwrap();
        FileStorage::open(path, lucarne::Access::ReadWrite).unwrap()
    };
    let plain = file("plain");
    plain.set_len(8 << 20).unwrap();
    plain.write_at(&plaintext(10_000), 5 << 20).unwrap();
    let image = file("image");
    let make = |image: &FileStorage, sparse| {
        let options = EncryptOptions {
            format: small(),
            sparse,
            ..EncryptOptions::default()
        };
        encrypt(
            Source::Storage(&plain),
            image,
            None,
            FIRST,
            &options,
            &Control::default(),
        )
        .unwrap();
    };
    make(&image, true);
    let sparse = RekeyOptions {
        sparse: true,
        ..options()
    };
    let verified = RekeyRun {
        verify: true,
        ..RekeyRun::default()
    };
    let volume = Volume::open(&image, Secret::Passphrase(FIRST)).unwrap();
    let expected = content(&volume);
    assert_eq!(expected[5 << 20..(5 << 20) + 10_000], plaintext(10_000));

    // With holes, and without: the same plaintext.
    for (options, keeps) in [(&sparse, true), (&options(), false)] {
        let output = file(&format!("output {keeps}"));
        copied(&volume, &output, options, &verified).unwrap();
        let copy = Volume::open(&output, Secret::Passphrase(SECOND)).unwrap();
        assert!(content(&copy) == expected);
        assert_eq!(copy.length_token().is_some_and(|token| token.sparse), keeps);
        let first = output.next_data(1 << 20).unwrap().unwrap();
        assert_eq!(first.start > 4 << 20, keeps, "{first:?}");
    }

    // An ordinary volume in a sparse image: its holes are noise to every reader.
    let ordinary = file("ordinary");
    ordinary.set_len(4 << 20).unwrap();
    format(&ordinary, None, FIRST, &small()).unwrap();
    let volume = Volume::open(&ordinary, Secret::Passphrase(FIRST)).unwrap();
    volume.write_at(&plaintext(5000), 2 << 20).unwrap();
    let refused = copied(&volume, &file("refused"), &sparse, &verified);
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let output = file("exact");
    copied(&volume, &output, &options(), &verified).unwrap();
    let copy = Volume::open(&output, Secret::Passphrase(SECOND)).unwrap();
    assert!(content(&copy) == content(&volume));
    assert!(content(&copy)[..4096].iter().any(|&byte| byte != 0));

    // Unless the caller knows that nobody wrote there.
    let volume = volume.with_zeros_as_holes();
    let output = file("unwritten");
    copied(&volume, &output, &sparse, &verified).unwrap();
    let copy = Volume::open(&output, Secret::Passphrase(SECOND)).unwrap();
    let mut expected = vec![0; copy.len() as usize];
    expected[2 << 20..(2 << 20) + 5000].copy_from_slice(&plaintext(5000));
    let found = content(&copy);
    // The last written sector's rest is what the volume had there: noise of a hole, read for the overlay.
    assert!(found[..(2 << 20) + 5000] == expected[..(2 << 20) + 5000]);
    assert!(found[3 << 20..] == expected[3 << 20..]);
}

/// Has the pieces come one after the other, and slowly, as on a disk: in memory all would be written before
/// the first record is.
struct InOrder<'s> {
    storage: &'s RecordingStorage,
    next: Mutex<u64>,
    changed: Condvar,
}

impl Storage for InOrder<'_> {
    fn len(&self) -> std::io::Result<u64> {
        self.storage.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.storage.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> std::io::Result<()> {
        if offset < DATA_OFFSET {
            return self.storage.write_at(data, offset);
        }
        let next = self.next.lock().unwrap();
        let mut next = self
            .changed
            .wait_while(next, |next| *next < offset)
            .unwrap();
        *next = offset + data.len() as u64;
        self.changed.notify_all();
        std::thread::sleep(std::time::Duration::from_millis(5));
        self.storage.write_at(data, offset)
    }
    fn flush(&self) -> std::io::Result<()> {
        self.storage.flush()
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.storage.set_len(len)
    }
    fn discard(&self, range: std::ops::Range<u64>) -> std::io::Result<()> {
        self.storage.discard(range)
    }
}

/// Progress is durable after every 16 KiB.
const OFTEN: RekeyRun<'_> = RekeyRun {
    parallelism: Parallelism {
        threads: None,
        pool: None,
    },
    checkpoint_bytes: 16 << 10,
    verify: false,
};

fn recorded(volume: &Volume<MemoryStorage>, initial: Vec<u8>) -> RecordingStorage {
    let recorder = RecordingStorage::new(initial);
    let in_order = InOrder {
        storage: &recorder,
        next: Mutex::new(DATA_OFFSET),
        changed: Condvar::new(),
    };
    copied(volume, &in_order, &options(), &OFTEN).unwrap();
    recorder
}

/// Takes an image on to a complete copy, if there is something to take up, and says where it stood.
fn taken_up(volume: &Volume<MemoryStorage>, image: Vec<u8>) -> Option<u64> {
    let storage = MemoryStorage::from(image);
    let unfinished = unfinished_rekey(&storage).unwrap()?;
    // Nobody takes it for a volume before.
    let opened = Volume::open(&storage, Secret::Passphrase(SECOND));
    assert!(matches!(opened, Err(Error::Unsupported(_))), "{opened:?}");
    let secret = Secret::Passphrase(SECOND);
    let rekey = Rekey::resume(volume, &storage, secret, &options()).unwrap();
    assert_eq!(rekey.done_bytes(), unfinished.done_bytes);
    rekey
        .run(&RekeyRun::default(), &Control::default())
        .unwrap();
    rekey.finish().unwrap();
    let copy = Volume::open(&storage, Secret::Passphrase(SECOND)).unwrap();
    assert!(
        content(&copy) == content(volume),
        "from byte {}",
        unfinished.done_bytes
    );
    Some(unfinished.done_bytes)
}

#[test]
fn a_power_cut_at_any_write_leaves_a_copy_that_can_be_taken_up() {
    // A file that grows, and a device with an old volume.
    let device = MemoryStorage::with_len(1 << 20);
    format(&device, None, FIRST, &small()).unwrap();
    for initial in [Vec::new(), device.into_bytes()] {
        let volume = source_of(&plaintext(150_000), small());
        let recorder = recorded(&volume, initial);
        let expected = content(&volume);
        let mut places = std::collections::BTreeMap::new();
        let (mut none, mut complete) = (0, 0);
        let mut seen = std::collections::HashSet::new();
        for image in states(&recorder) {
            if !seen.insert(hash_of_what_counts(&image)) {
                continue;
            }
            let storage = MemoryStorage::from(image.clone());
            if let Some(done) = taken_up(&volume, image) {
                *places.entry(done).or_insert(0) += 1;
            } else if let Ok(copy) = Volume::open(&storage, Secret::Passphrase(SECOND)) {
                assert!(content(&copy)[..expected.len()] == expected);
                complete += 1;
            } else {
                none += 1;
            }
        }
        assert!(none > 0 && complete > 0, "none {none}, complete {complete}");
        assert!(places.len() >= 3, "resumed from {places:?}");
        assert!(places.contains_key(&0), "{places:?}");
    }
}

/// Of the many states that differ only in data that no record counts on, one is enough.
fn hash_of_what_counts(image: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let unfinished = unfinished_rekey(&MemoryStorage::from(image.to_vec())).unwrap();
    let counts = match unfinished {
        Some(unfinished) => DATA_OFFSET as usize + unfinished.done_bytes as usize,
        None => image.len(),
    };
    let mut hasher = DefaultHasher::new();
    (counts, &image[..counts.min(image.len())]).hash(&mut hasher);
    hasher.finish()
}

/// Every record that names bytes as done comes after a flush that comes after these bytes.
#[test]
fn what_is_recorded_as_done_was_flushed_before() {
    let volume = source_of(&plaintext(400_000), small());
    let recorder = recorded(&volume, Vec::new());
    let (mut written, mut flushed) = (Vec::new(), Vec::new());
    let mut records = 0;
    for event in recorder.events() {
        match event {
            Event::Write { offset, data } if offset >= DATA_OFFSET => {
                written.push((offset - DATA_OFFSET, data.len() as u64));
            }
            Event::Flush => flushed.clone_from(&written),
            Event::Write { offset: 0, data } => {
                let text = String::from_utf8_lossy(&data);
                let Some((_, rest)) = text.split_once("\"done\":\"") else {
                    continue;
                };
                let done: u64 = rest.split('"').next().unwrap().parse().unwrap();
                let mut ranges = flushed.clone();
                ranges.sort_unstable();
                let end = ranges.iter().fold(0, |end, &(offset, len)| {
                    if offset <= end {
                        end.max(offset + len)
                    } else {
                        end
                    }
                });
                assert!(end >= done, "{done} bytes are promised, {end} are durable");
                records += 1;
            }
            _ => {}
        }
    }
    assert!(records >= 2, "{records}");
}

#[test]
fn an_interrupted_run_keeps_what_is_complete() {
    let volume = source_of(&plaintext(1 << 20), small());
    let output = MemoryStorage::default();
    let control = Control::default();
    let rekey = Rekey::begin(&volume, &output, SECOND, &options(), &control).unwrap();
    control.interrupt();
    let stopped = rekey.run(&RekeyRun::default(), &control);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let unfinished = rekey.finish();
    assert!(matches!(unfinished, Err(Error::Refused(_))));
    assert_eq!(taken_up(&volume, output.into_bytes()), Some(0));
}

#[test]
fn a_disk_that_fills_up_at_any_write_is_an_error() {
    let volume = source_of(&plaintext(300_000), small());
    let events = recorded(&volume, Vec::new()).events().len();
    let mut failures = 0;
    for event in 0..events.min(36) {
        let recorder = RecordingStorage::new(Vec::new()).failing_at(event);
        let result = copied(&volume, &recorder, &options(), &OFTEN);
        // How often it records how far it is depends on the time: this run had fewer writes.
        if result.is_ok() && recorder.events().len() <= event {
            break;
        }
        failures += 1;
        assert!(
            matches!(result, Err(Error::Io { .. })),
            "event {event}: {result:?}"
        );
        taken_up(&volume, recorder.bytes().unwrap());
    }
    assert!(failures >= 10, "{failures} of {events}");
}

#[test]
fn only_the_same_source_goes_on() {
    let bytes = plaintext(200_000);
    let volume = source_of(&bytes, small());
    let output = MemoryStorage::default();
    let control = Control::default();
    let stamped = RekeyOptions {
        source_stamp: Some("monday".into()),
        ..options()
    };
    drop(Rekey::begin(&volume, &output, SECOND, &stamped, &control).unwrap());
    let resume = |volume: &Volume<MemoryStorage>, secret, options: &RekeyOptions| {
        Rekey::resume(volume, &output, Secret::Passphrase(secret), options).map(|_| ())
    };
    resume(&volume, SECOND, &stamped).unwrap();
    assert!(matches!(
        resume(&volume, FIRST, &stamped),
        Err(Error::WrongKey)
    ));
    let message = |result: Result<(), Error>| result.unwrap_err().to_string();
    let other = source_of(&bytes, small());
    let found = message(resume(&other, SECOND, &stamped));
    assert!(found.contains("copy of volume"), "{found}");
    let found = message(resume(&volume, SECOND, &options()));
    assert!(found.contains("written to since"), "{found}");
    let sparse = RekeyOptions {
        sparse: true,
        source_stamp: Some("monday".into()),
        ..options()
    };
    let found = message(resume(&volume, SECOND, &sparse));
    assert!(found.contains("not begun as a sparse one"), "{found}");

    // The same volume after a change of its keys.
    let mut editor = lucarne::HeaderEditor::open(volume.storage()).unwrap();
    editor
        .set_uuid(volume.identity().uuid.parse().unwrap())
        .unwrap();
    let changed = Volume::open(volume.storage(), Secret::Passphrase(FIRST)).unwrap();
    let refused = Rekey::resume(&changed, &output, Secret::Passphrase(SECOND), &stamped);
    let found = message(refused.map(|_| ()));
    assert!(found.contains("its seqid was 1 and is 2"), "{found}");

    // What is no unfinished copy, and what is one no more.
    let empty = MemoryStorage::with_len(1 << 20);
    let nothing = Rekey::resume(&volume, &empty, Secret::Passphrase(SECOND), &stamped);
    assert!(matches!(nothing, Err(Error::NotLuks)));
    assert!(taken_up(&volume, vec![0; 1 << 20]).is_none());
    output.set_len(2 << 20).unwrap();
    let found = message(resume(&volume, SECOND, &stamped));
    assert!(found.contains("another length"), "{found}");
}
