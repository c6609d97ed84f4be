//! Read, transform, write: many pieces at once, in bounded memory.
//!
//! A few I/O threads each take the next piece of work, have it transformed on a rayon pool, and deliver
//! it. While one waits for the disk, the others read and compute, so the three stages overlap without
//! queues between them, and the memory in use is the number of I/O threads times the length of a piece.

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use lucarne_storage::{AlignedBuffer, Storage};

use crate::Error;
use crate::error::{IoOp, writing};

/// Memory for pieces, in all.
const BUFFERS_LEN_BYTES: usize = 48 << 20;
/// The longest piece: longer ones gain nothing on any disk measured, and cost memory.
const PIECE_MAX_LEN_BYTES: usize = 4 << 20;
/// Writes that wait for the disk while every pool thread computes.
const WRITES_IN_FLIGHT: usize = 4;
/// Pieces that are computed at the same time, at most: any disk is slower by then.
const COMPUTING_MAX: usize = 60;

/// Steers a long operation from outside: shows how far it is and stops it.
///
/// ```
/// let control = lucarne::Control::default();
/// control.interrupt();
/// assert!(control.is_interrupted());
/// ```
#[derive(Debug, Default)]
pub struct Control {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    interrupted: AtomicBool,
}

impl Control {
    /// Bytes of plaintext dealt with so far.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of plaintext in all; `None` while that is not known (a stream).
    pub fn total_bytes(&self) -> Option<u64> {
        match self.total_bytes.load(Ordering::Relaxed) {
            0 => None,
            total => Some(total),
        }
    }

    /// Asks the operation to stop at the next safe point; it then fails with [`Error::Interrupted`].
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::interrupt`] was called.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_total_bytes(&self, total: u64) {
        self.total_bytes.store(total, Ordering::Relaxed);
    }

    pub(crate) fn add_done_bytes(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_interrupted() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }
}

/// How many threads compute, and whose they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parallelism<'a> {
    /// At most this many threads compute, and never more than there are processors; `None`: as many as
    /// there are.
    pub threads: Option<NonZeroUsize>,
    /// The pool to compute on, if the caller brings one; `threads` is then ignored.
    pub pool: Option<&'a rayon::ThreadPool>,
}

/// A piece of work: `len` bytes of plaintext from byte `offset`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

/// Where finished pieces go.
pub(crate) enum Sink<'a> {
    /// Anywhere, in any order; byte 0 of the plaintext lies at `offset`.
    Storage {
        storage: &'a dyn Storage,
        offset: u64,
    },
    /// As [`Self::Storage`]; each piece is told of once it is written, by whichever thread wrote it.
    Watched {
        storage: &'a dyn Storage,
        offset: u64,
        written: &'a (dyn Fn(Piece) -> Result<(), Error> + Sync),
    },
    /// Nowhere: the transformation was all.
    Nowhere,
    /// One after the other.
    Stream(Mutex<&'a mut (dyn Write + Send)>),
}

/// The pieces' numbers, by which a stream is put in order.
struct Turns {
    next: Mutex<u64>,
    changed: Condvar,
}

struct Run<'r, 's, N, T> {
    /// The number of the next piece, and what gives it.
    next_piece: Mutex<(u64, N)>,
    transform: T,
    sink: &'r Sink<'s>,
    turns: Turns,
    pool: &'r rayon::ThreadPool,
    control: &'r Control,
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
}

/// Runs until `next_piece` has no more; the first failure stops all and is returned.
///
/// `next_piece` is the sequential part: it says which piece is next, and may put its bytes into the
/// buffer (a stream must). `transform` is the parallel part: it turns the piece's buffer into what the
/// sink gets.
pub(crate) fn run<N, T>(
    parallelism: Parallelism<'_>,
    control: &Control,
    next_piece: N,
    transform: T,
    sink: &Sink<'_>,
) -> Result<(), Error>
where
    N: FnMut(&mut [u8]) -> Result<Option<Piece>, Error> + Send,
    T: Fn(Piece, &mut [u8]) -> Result<(), Error> + Sync,
{
    let mut own_pool = None;
    let pool = pool_of(parallelism, &mut own_pool)?;
    let workers = worker_count(pool);
    let piece_len = piece_len_bytes(workers);
    let run = Run {
        next_piece: Mutex::new((0, next_piece)),
        transform,
        sink,
        turns: Turns {
            next: Mutex::new(0),
            changed: Condvar::new(),
        },
        pool,
        control,
        failure: Mutex::new(None),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let _guard = StopOthersOnPanic(|| run.fail(Error::Interrupted));
                if let Err(error) = run.work(piece_len) {
                    run.fail(error);
                }
            });
        }
    });
    match run
        .failure
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The caller's pool, or one of our own, which is put into `own`.
pub(crate) fn pool_of<'p>(
    parallelism: Parallelism<'p>,
    own: &'p mut Option<rayon::ThreadPool>,
) -> Result<&'p rayon::ThreadPool, Error> {
    if let Some(pool) = parallelism.pool {
        return Ok(pool);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(thread_count(parallelism.threads))
        .thread_name(|index| format!("lucarne-cipher-{index}"))
        .build()
        .map_err(|error| Error::io(IoOp::StartThreads, 0, std::io::Error::other(error)))?;
    Ok(own.insert(pool))
}

/// How many threads read and write while the pool's compute.
pub(crate) fn worker_count(pool: &rayon::ThreadPool) -> usize {
    pool.current_num_threads().min(COMPUTING_MAX) + WRITES_IN_FLIGHT
}

fn thread_count(threads_max: Option<NonZeroUsize>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    threads_max.map_or(processors, |max| max.get().min(processors))
}

fn piece_len_bytes(workers: usize) -> usize {
    let share = BUFFERS_LEN_BYTES / workers.max(1);
    // A power of two is a multiple of every sector size and of what direct I/O asks for.
    let power = 1 << share.max(1).ilog2();
    usize::clamp(power, 64 << 10, PIECE_MAX_LEN_BYTES)
}

/// A worker that panics (in a caller's `Storage` or `Write`) must not leave others waiting for its turn.
struct StopOthersOnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for StopOthersOnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

impl<N, T> Run<'_, '_, N, T>
where
    N: FnMut(&mut [u8]) -> Result<Option<Piece>, Error> + Send,
    T: Fn(Piece, &mut [u8]) -> Result<(), Error> + Sync,
{
    fn work(&self, piece_len: usize) -> Result<(), Error> {
        let mut buffer = AlignedBuffer::zeroed(piece_len);
        while let Some((number, piece)) = self.take(&mut buffer)? {
            let bytes = &mut buffer[..piece.len];
            self.pool.install(|| (self.transform)(piece, bytes))?;
            self.deliver(number, piece, bytes)?;
            self.control.add_done_bytes(piece.len as u64);
        }
        Ok(())
    }

    fn take(&self, buffer: &mut [u8]) -> Result<Option<(u64, Piece)>, Error> {
        let mut next = self
            .next_piece
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.failed.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.control.check()?;
        let Some(piece) = (next.1)(buffer)? else {
            return Ok(None);
        };
        let number = next.0;
        next.0 += 1;
        Ok(Some((number, piece)))
    }

    fn deliver(&self, number: u64, piece: Piece, bytes: &[u8]) -> Result<(), Error> {
        match self.sink {
            Sink::Storage { storage, offset } => {
                let at = offset + piece.offset;
                storage.write_at(bytes, at).map_err(writing(at))
            }
            Sink::Watched {
                storage,
                offset,
                written,
            } => {
                let at = offset + piece.offset;
                storage.write_at(bytes, at).map_err(writing(at))?;
                written(piece)
            }
            Sink::Nowhere => Ok(()),
            Sink::Stream(stream) => {
                self.wait_for_turn(number)?;
                let result = stream
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .write_all(bytes);
                self.pass_turn();
                result.map_err(|source| Error::io(IoOp::Write, piece.offset, source))
            }
        }
    }

    /// Pieces are numbered in the order they are taken, and every earlier one is already with a worker,
    /// so the turn always comes, or a failure does.
    fn wait_for_turn(&self, number: u64) -> Result<(), Error> {
        let mut next = self
            .turns
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while *next != number {
            if self.failed.load(Ordering::Acquire) {
                return Err(Error::Interrupted);
            }
            next = self
                .turns
                .changed
                .wait(next)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn pass_turn(&self) {
        *self
            .turns
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        self.turns.changed.notify_all();
    }

    /// Keeps the first failure: those after it are its consequences.
    fn fail(&self, error: Error) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        // Under the lock that waiters hold between looking and waiting, or one could miss it.
        let _turn = self
            .turns
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.failed.store(true, Ordering::Release);
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_starts_more_threads_than_there_are_processors() {
        let all = thread_count(None);
        assert_eq!(thread_count(NonZeroUsize::new(usize::MAX)), all);
        assert_eq!(thread_count(NonZeroUsize::new(1)), 1);
    }

    #[test]
    fn buffers_stay_within_their_share_whatever_the_number_of_workers() {
        for workers in 1..=COMPUTING_MAX + WRITES_IN_FLIGHT {
            let len = piece_len_bytes(workers);
            assert!(len.is_power_of_two() && len >= 64 << 10);
            assert!(
                len * workers <= BUFFERS_LEN_BYTES,
                "{workers} workers of {len} bytes"
            );
        }
    }
}
