//! Where the time of a load goes: the same load once more, with a stopwatch between the stages.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lucarne_storage::Storage;

use super::Source;
use crate::{Error, measure::cpu_time};

/// Time of all threads together, in nanoseconds.
#[derive(Debug, Default)]
struct Counters {
    /// In the source's calls.
    wall: AtomicU64,
    /// Of that, on a processor.
    cpu: AtomicU64,
    /// In the storage's calls, without what it was only shown to.
    storage: AtomicU64,
}

/// How the time of a load divides, in seconds of all threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stages {
    /// Without a processor: for the disk, for a lock, or because others had it.
    pub waiting: f64,
    /// In the kernel: finding pages, copying or mapping them.
    pub storage: f64,
    /// Decrypting; what a mapping touches for the first time is in it. Of the bare file: copying out of the mapping.
    pub cipher: f64,
}

impl Stages {
    /// All stages together.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.waiting + self.storage + self.cipher
    }
}

impl std::iter::Sum for Stages {
    fn sum<I: Iterator<Item = Self>>(stages: I) -> Self {
        stages.fold(Self::default(), |sum, one| Self {
            waiting: sum.waiting + one.waiting,
            storage: sum.storage + one.storage,
            cipher: sum.cipher + one.cipher,
        })
    }
}

/// Storage that is timed.
pub struct Staged<S> {
    inner: S,
    counters: Arc<Counters>,
}

impl<S: Storage> Staged<S> {
    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        add(&self.counters.storage, start.elapsed());
        result
    }
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(
        u64::try_from(time.as_nanos()).unwrap_or(0),
        Ordering::Relaxed,
    );
}

impl<S: Storage> Storage for Staged<S> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.timed(|| self.inner.read_at(buf, offset))
    }

    fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let mut shown = Duration::ZERO;
        let start = Instant::now();
        let result = self.inner.visit(range, &mut |bytes| {
            let start = Instant::now();
            visitor(bytes);
            shown += start.elapsed();
        });
        add(
            &self.counters.storage,
            start.elapsed().saturating_sub(shown),
        );
        result
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.timed(|| self.inner.write_at(data, offset))
    }

    fn flush(&self) -> io::Result<()> {
        self.timed(|| self.inner.flush())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.discard(range)
    }
}

/// A source on timed storage, timed itself.
pub(crate) struct StagedSource {
    inner: Box<dyn Source + Send>,
    counters: Arc<Counters>,
}

impl StagedSource {
    /// `open` makes the source of the storage that it is given.
    pub(crate) fn open<S: Storage>(
        storage: S,
        open: impl FnOnce(Staged<S>) -> Result<Box<dyn Source + Send>, Error>,
    ) -> Result<Self, Error> {
        let counters = Arc::new(Counters::default());
        let inner = open(Staged {
            inner: storage,
            counters: Arc::clone(&counters),
        })?;
        // Opening is no part of it.
        counters.storage.store(0, Ordering::Relaxed);
        Ok(Self { inner, counters })
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (
            Instant::now(),
            cpu_time(rustix::time::ClockId::ThreadCPUTime),
        );
        let result = work();
        add(&self.counters.wall, start.elapsed());
        let cpu_after = cpu_time(rustix::time::ClockId::ThreadCPUTime);
        add(&self.counters.cpu, cpu_after.saturating_sub(cpu));
        result
    }

    pub(crate) fn stages(&self) -> Stages {
        let seconds = |counter: &AtomicU64| {
            Duration::from_nanos(counter.load(Ordering::Relaxed)).as_secs_f64()
        };
        let wall = seconds(&self.counters.wall);
        let storage = seconds(&self.counters.storage).min(wall);
        // Ciphers do not wait: what was waited for lies in the storage's calls, as far as they took.
        let waiting = (wall - seconds(&self.counters.cpu)).clamp(0.0, storage);
        Stages {
            waiting,
            storage: storage - waiting,
            cipher: wall - storage,
        }
    }
}

impl Source for StagedSource {
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        self.timed(|| self.inner.read(buf, offset))
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.timed(|| self.inner.write(data, offset))
    }

    fn flush(&self) -> Result<(), Error> {
        self.timed(|| self.inner.flush())
    }
}
