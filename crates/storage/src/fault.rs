//! Storage that remembers every write, so that a test can ask what a crash would have left.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{MemoryStorage, Storage};

/// What a disk writes whole.
const SECTOR_LEN: usize = 512;
/// A long write is torn at so many places only.
const TORN_PLACES_MAX: usize = 64;
/// Up to so many writes, every subset of them is a state of its own.
const ALL_SUBSETS_MAX: usize = 10;
/// Of more, so many subsets by chance.
const CHANCE_SUBSETS: u64 = 1000;

/// Something that happened to the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `data` was written at `offset`.
    Write {
        /// First byte.
        offset: u64,
        /// What was written.
        data: Vec<u8>,
    },
    /// The length was changed.
    SetLen(u64),
    /// All before it is durable.
    Flush,
}

/// A storage in memory that records its events and can fail at one of them.
///
/// [`RecordingStorage::crash_states`] then gives the images that a power cut could have left: after any
/// event, with un-flushed writes present, missing or torn.
///
/// ```
/// use lucarne_storage::{Storage, fault::RecordingStorage};
/// let storage = RecordingStorage::new(vec![0; 512]);
/// storage.write_at(&[1; 512], 0)?;
/// storage.flush()?;
/// let states: Vec<_> = storage.crash_states().collect();
/// assert!(states.contains(&vec![0; 512]) && states.contains(&vec![1; 512]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct RecordingStorage {
    initial: Vec<u8>,
    current: MemoryStorage,
    events: Mutex<Vec<Event>>,
    fail_at: Option<usize>,
}

impl RecordingStorage {
    /// Starts from `initial`.
    pub fn new(initial: Vec<u8>) -> Self {
        Self {
            current: MemoryStorage::from(initial.clone()),
            initial,
            events: Mutex::default(),
            fail_at: None,
        }
    }

    /// Refuses every change from the event with this number on, as a full or broken disk does.
    #[must_use]
    pub fn failing_at(mut self, event: usize) -> Self {
        self.fail_at = Some(event);
        self
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// The bytes as they are now.
    ///
    /// # Errors
    /// None in practice: memory can be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.current.len()?).unwrap_or(usize::MAX)];
        self.current.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The images that a power cut could have left after each event: all writes since the last flush
    /// kept; none; each single one alone missing; each alone kept; the last one torn (at each 512 bytes,
    /// or at 64 places if it is longer than 32 KiB), alone and together with each of the others.
    pub fn crash_states(&self) -> impl Iterator<Item = Vec<u8>> {
        self.states(crashes_after)
    }

    /// Many more of them: of up to 10 writes since the last flush every subset kept; of more than 10 none,
    /// all, each single one and each pair alone missing and alone kept, and 1000 subsets by chance; the
    /// last one torn at each 512 bytes, with all of the others kept and with none.
    pub fn all_crash_states(&self) -> impl Iterator<Item = Vec<u8>> {
        self.states(all_crashes_after)
    }

    fn states(&self, crashes_after: fn(&[Event]) -> Vec<Crash>) -> impl Iterator<Item = Vec<u8>> {
        let events = self.events();
        let crashes: Vec<Crash> = (0..=events.len())
            .flat_map(|count| crashes_after(&events[..count]))
            .collect();
        let initial = self.initial.clone();
        crashes
            .into_iter()
            .map(move |crash| crash.image(&initial, &events))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) -> io::Result<()> {
        let mut events = self.lock();
        if self.fail_at.is_some_and(|limit| events.len() >= limit) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("refused on purpose at event {}", events.len()),
            ));
        }
        events.push(event);
        Ok(())
    }
}

fn apply(image: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write { offset, data } => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            let end = start + data.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[start..end].copy_from_slice(data);
        }
        Event::SetLen(len) => image.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
        Event::Flush => {}
    }
}

/// A power cut: `durable` events have happened for certain, `kept` of those up to `count` as well.
struct Crash {
    durable: usize,
    count: usize,
    kept: Kept,
}

/// Which of the writes since the last flush reached the disk.
enum Kept {
    All,
    None,
    AllBut(usize),
    Only(usize),
    /// Those whose flag is set, the first being the one after the flush.
    Subset(Vec<bool>),
    /// All, but of the last one only so many bytes.
    LastTorn(usize),
    /// So many bytes of the last one.
    OnlyLastTorn(usize),
    /// All, but of the one with this number, and of the last one, only so many bytes: a disk may do two
    /// writes that no flush separates at the same time.
    TwoTorn {
        index: usize,
        len: usize,
        last_len: usize,
    },
}

fn crashes_after(events: &[Event]) -> Vec<Crash> {
    let (durable, count) = (durable(events), events.len());
    let mut kept = vec![Kept::All];
    if durable < count {
        kept.push(Kept::None);
    }
    if durable + 1 < count {
        kept.extend((durable..count).flat_map(|index| [Kept::AllBut(index), Kept::Only(index)]));
    }
    if let Some(Event::Write { data, .. }) = events[durable..].last() {
        let step = (data.len() / TORN_PLACES_MAX)
            .next_multiple_of(SECTOR_LEN)
            .max(SECTOR_LEN);
        kept.extend((step..data.len()).step_by(step).map(Kept::LastTorn));
    }
    kept.extend(two_torn(events, durable));
    crashes(durable, count, kept)
}

/// The last write torn together with each of the others that no flush separates from it, at the first, the
/// middle and the last place where they can be.
fn two_torn(events: &[Event], durable: usize) -> Vec<Kept> {
    let places = |event: &Event| match event {
        Event::Write { data, .. } if data.len() > SECTOR_LEN => {
            let last = (data.len() - 1) / SECTOR_LEN * SECTOR_LEN;
            let middle = (last / 2).next_multiple_of(SECTOR_LEN);
            vec![SECTOR_LEN, middle, last]
        }
        _ => Vec::new(),
    };
    let Some((last, others)) = events[durable..].split_last() else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    for (place, other) in others.iter().enumerate() {
        for len in places(other) {
            kept.extend(places(last).into_iter().map(|last_len| Kept::TwoTorn {
                index: durable + place,
                len,
                last_len,
            }));
        }
    }
    kept
}

fn all_crashes_after(events: &[Event]) -> Vec<Crash> {
    let (durable, count) = (durable(events), events.len());
    let pending = count - durable;
    let mut kept = two_torn(events, durable);
    if let Some(Event::Write { data, .. }) = events[durable..].last() {
        for len in (SECTOR_LEN..data.len()).step_by(SECTOR_LEN) {
            kept.push(Kept::LastTorn(len));
            if pending > 1 {
                kept.push(Kept::OnlyLastTorn(len));
            }
        }
    }
    if pending <= ALL_SUBSETS_MAX {
        // Those without the last write are states of a moment before.
        let last = 1_u32 << pending >> 1;
        kept.extend(
            (last..1 << pending).map(|bits| {
                Kept::Subset((0..pending).map(|index| bits >> index & 1 == 1).collect())
            }),
        );
        return crashes(durable, count, kept);
    }
    kept.extend([Kept::All, Kept::None]);
    for first in 0..pending {
        for second in first..pending {
            for value in [true, false] {
                let is_other = |index| (index == first || index == second) == value;
                kept.push(Kept::Subset((0..pending).map(is_other).collect()));
            }
        }
    }
    let mut random = SplitMix(count as u64);
    kept.extend(
        (0..CHANCE_SUBSETS)
            .map(|_| Kept::Subset((0..pending).map(|_| random.next() & 1 == 1).collect())),
    );
    crashes(durable, count, kept)
}

/// How many events a flush has made durable.
fn durable(events: &[Event]) -> usize {
    let flush = events.iter().rposition(|event| *event == Event::Flush);
    flush.map_or(0, |flush| flush + 1)
}

fn crashes(durable: usize, count: usize, kept: Vec<Kept>) -> Vec<Crash> {
    kept.into_iter()
        .map(|kept| Crash {
            durable,
            count,
            kept,
        })
        .collect()
}

/// Numbers by chance that are the same in every run (splitmix64).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Crash {
    fn image(&self, initial: &[u8], events: &[Event]) -> Vec<u8> {
        let mut image = initial.to_vec();
        for (index, event) in events[..self.count].iter().enumerate() {
            match (event, self.torn_len(index)) {
                (Event::Write { offset, data }, Some(len)) => {
                    let torn = Event::Write {
                        offset: *offset,
                        data: data[..len].to_vec(),
                    };
                    apply(&mut image, &torn);
                }
                _ if index < self.durable || self.keeps(index) => apply(&mut image, event),
                _ => {}
            }
        }
        image
    }

    /// How many bytes of a torn write there are.
    fn torn_len(&self, index: usize) -> Option<usize> {
        let is_last = index + 1 == self.count;
        match self.kept {
            Kept::LastTorn(len) | Kept::OnlyLastTorn(len) if is_last => Some(len),
            Kept::TwoTorn { last_len, .. } if is_last => Some(last_len),
            Kept::TwoTorn {
                index: torn, len, ..
            } if index == torn => Some(len),
            _ => None,
        }
    }

    /// Whether an event since the last flush had its effect, in whole.
    fn keeps(&self, index: usize) -> bool {
        match &self.kept {
            Kept::All | Kept::LastTorn(_) | Kept::TwoTorn { .. } => true,
            Kept::None | Kept::OnlyLastTorn(_) => false,
            Kept::AllBut(lost) => index != *lost,
            Kept::Only(only) => index == *only,
            Kept::Subset(kept) => kept[index - self.durable],
        }
    }
}

impl Storage for RecordingStorage {
    fn len(&self) -> io::Result<u64> {
        self.current.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.current.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.record(Event::Write {
            offset,
            data: data.to_vec(),
        })?;
        self.current.write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.record(Event::Flush)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.record(Event::SetLen(len))?;
        self.current.set_len(len)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.write_at(&vec![0; len], range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushed_writes_are_in_every_later_state() {
        let storage = RecordingStorage::new(vec![0; 4]);
        storage.write_at(&[1], 0).unwrap();
        storage.flush().unwrap();
        storage.write_at(&[2], 1).unwrap();
        storage.write_at(&[3], 2).unwrap();
        let states: Vec<_> = storage.crash_states().collect();
        for state in [
            [0, 0, 0, 0],
            [1, 0, 0, 0],
            [1, 2, 0, 0],
            [1, 0, 3, 0],
            [1, 2, 3, 0],
        ] {
            assert!(states.contains(&state.to_vec()), "{state:?} is missing");
        }
        assert!(
            !states.contains(&vec![0, 2, 0, 0]),
            "a flushed write was lost"
        );
    }

    #[test]
    fn writes_are_torn_at_each_512_bytes() {
        let storage = RecordingStorage::new(vec![0; 1536]);
        storage.write_at(&[1; 1536], 0).unwrap();
        let states: Vec<_> = storage.crash_states().collect();
        for kept in [0, 512, 1024, 1536] {
            let mut expected = vec![0; 1536];
            expected[..kept].fill(1);
            assert!(states.contains(&expected), "torn at {kept} is missing");
        }
    }

    #[test]
    fn two_writes_can_be_torn_at_once() {
        let storage = RecordingStorage::new(vec![0; 4096]);
        storage.write_at(&[1; 1024], 0).unwrap();
        storage.write_at(&[1; 1024], 2048).unwrap();
        let mut expected = vec![0; 4096];
        expected[..512].fill(1);
        expected[2048..2560].fill(1);
        assert!(storage.crash_states().any(|state| state == expected));
        assert!(storage.all_crash_states().any(|state| state == expected));
    }

    #[test]
    fn all_states_are_every_subset() {
        let storage = RecordingStorage::new(vec![0; 2048]);
        for index in 0..4 {
            storage.write_at(&[1; 512], index * 512).unwrap();
        }
        let states: std::collections::HashSet<_> = storage.all_crash_states().collect();
        assert_eq!(states.len(), 16);
        let sampled: std::collections::HashSet<_> = storage.crash_states().collect();
        assert!(sampled.is_subset(&states) && sampled.len() < 16);
    }

    #[test]
    fn of_many_writes_each_pair_is_lost_and_torn_ones_stand_alone() {
        let storage = RecordingStorage::new(vec![0; 12 * 1024]);
        for index in 0..12 {
            storage.write_at(&[1; 1024], index * 1024).unwrap();
        }
        let states: std::collections::HashSet<_> = storage.all_crash_states().collect();
        let with = |value: u8, places: &[usize]| {
            let mut image = vec![1 - value; 12 * 1024];
            places
                .iter()
                .for_each(|&at| image[at * 1024..(at + 1) * 1024].fill(value));
            image
        };
        for pair in [[0, 11], [3, 7], [5, 5]] {
            assert!(states.contains(&with(0, &pair)) && states.contains(&with(1, &pair)));
        }
        let mut torn = vec![0; 12 * 1024];
        torn[11 * 1024..11 * 1024 + 512].fill(1);
        assert!(states.contains(&torn));
        assert!(states.len() > 1000);
    }

    #[test]
    fn a_failing_storage_keeps_what_it_had() {
        let storage = RecordingStorage::new(vec![0; 4]).failing_at(1);
        storage.write_at(&[1], 0).unwrap();
        assert!(storage.write_at(&[2], 1).is_err());
        assert_eq!(storage.bytes().unwrap(), [1, 0, 0, 0]);
        assert_eq!(storage.events().len(), 1);
    }
}
