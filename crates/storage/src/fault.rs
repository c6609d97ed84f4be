//! Storage that remembers every write, so that a test can ask what a crash would have left.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{MemoryStorage, Storage};

/// What a disk writes whole.
const SECTOR_LEN: usize = 512;
/// A long write is torn at so many places only.
const TORN_PLACES_MAX: usize = 64;

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
    /// or at 64 places if it is longer than 32 KiB).
    pub fn crash_states(&self) -> impl Iterator<Item = Vec<u8>> {
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
#[derive(Clone, Copy)]
enum Kept {
    All,
    None,
    AllBut(usize),
    Only(usize),
    /// All, but of the last one only so many bytes.
    LastTorn(usize),
}

fn crashes_after(events: &[Event]) -> Vec<Crash> {
    let count = events.len();
    let durable = events
        .iter()
        .rposition(|event| *event == Event::Flush)
        .map_or(0, |flush| flush + 1);
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
    kept.into_iter()
        .map(|kept| Crash {
            durable,
            count,
            kept,
        })
        .collect()
}

impl Crash {
    fn image(&self, initial: &[u8], events: &[Event]) -> Vec<u8> {
        let mut image = initial.to_vec();
        for (index, event) in events[..self.count].iter().enumerate() {
            let is_kept = index < self.durable
                || match self.kept {
                    Kept::All | Kept::LastTorn(_) => true,
                    Kept::None => false,
                    Kept::AllBut(lost) => index != lost,
                    Kept::Only(only) => index == only,
                };
            match (event, self.kept) {
                (Event::Write { offset, data }, Kept::LastTorn(len)) if index + 1 == self.count => {
                    let torn = Event::Write {
                        offset: *offset,
                        data: data[..len].to_vec(),
                    };
                    apply(&mut image, &torn);
                }
                _ if is_kept => apply(&mut image, event),
                _ => {}
            }
        }
        image
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
    fn a_failing_storage_keeps_what_it_had() {
        let storage = RecordingStorage::new(vec![0; 4]).failing_at(1);
        storage.write_at(&[1], 0).unwrap();
        assert!(storage.write_at(&[2], 1).is_err());
        assert_eq!(storage.bytes().unwrap(), [1, 0, 0, 0]);
        assert_eq!(storage.events().len(), 1);
    }
}
