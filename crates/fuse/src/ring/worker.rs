//! One thread's io_uring, and the entries that it serves.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::Barrier;

use io_uring::squeue::Entry128;
use io_uring::{IoUring, cqueue, opcode};
use rustix::io::Errno;

use super::command;
use super::entry::{Bytes, Lent};
use crate::answer::{FileSystem, answer};

/// One thread's io_uring, with an entry in each of its queues.
pub(crate) struct Worker {
    ring: IoUring<Entry128>,
    entries: Vec<Entry>,
    /// How many are the kernel's.
    lent: usize,
}

#[derive(Debug)]
struct Entry {
    queue: u16,
    state: State,
}

/// Whose an entry's bytes are.
#[derive(Debug)]
enum State {
    Ours(Bytes),
    Kernels(Lent),
    /// The kernel does not take it any more.
    Over,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// Of the thread that turns it on, which alone uses it, and in which alone the kernel fills buffers: when that waits.
fn io_uring(entries: usize) -> io::Result<IoUring<Entry128>> {
    IoUring::builder()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(u32::try_from(entries).map_err(|_| io::ErrorKind::InvalidInput)?)
}

/// Whether this process may do all that a [`Worker`] does: a filter of system calls may let some through. Once the
/// kernel was told that there is a ring it would be too late.
pub(super) fn probe() -> io::Result<()> {
    let mut ring = io_uring(1)?;
    ring.submitter().register_enable_rings()?;
    let nothing = Entry128::from(opcode::Nop::new().build());
    // SAFETY: an operation without a buffer.
    unsafe { ring.submission().push(&nothing) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    match ring.completion().next().map(|done| done.result()) {
        Some(0) => Ok(()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl Worker {
    /// With one entry in each of `queues`, for data of `data_len` bytes.
    pub(super) fn new(queues: &[u16], data_len: usize) -> io::Result<Self> {
        let entries = queues.iter().map(|&queue| {
            Ok(Entry {
                queue,
                state: State::Ours(Bytes::new(data_len)?),
            })
        });
        Ok(Self {
            ring: io_uring(queues.len())?,
            entries: entries.collect::<io::Result<_>>()?,
            lent: 0,
        })
    }

    /// Answers requests until the kernel takes no entry any more: the file system is unmounted, or it did not take
    /// them to begin with. Gives their number. Nothing is answered before all have come to `registered`, with which
    /// every worker of the ring is called.
    ///
    /// # Errors
    /// From the kernel, if io_uring does not work any more.
    pub(crate) fn serve<F: FileSystem>(
        mut self,
        file_system: &F,
        device: BorrowedFd<'_>,
        registered: &Barrier,
    ) -> io::Result<u64> {
        // The kernel uses the ring as soon as each queue has one entry. What it then finds no free entry for waits until
        // one is handed back, also while others are registered. That is soon as long as nobody has been answered:
        // only names and attributes can be asked for. A read that waits for the disk must find all entries there.
        let begun = self.register(device);
        registered.wait();
        begun?;
        let mut count = 0;
        let mut completed: Vec<cqueue::Entry> = Vec::with_capacity(self.entries.len());
        while self.lent > 0 {
            self.wait()?;
            completed.extend(self.ring.completion());
            let are_several = completed.len() > 1;
            for completion in completed.drain(..) {
                let Some((index, mut bytes)) = self.reclaim(&completion) else {
                    continue;
                };
                count += 1;
                let header = answer(file_system, &mut bytes);
                bytes.finish(header);
                let queue = self.entries[index].queue;
                let command = command::commit_and_fetch(device, queue, bytes.commit_id());
                self.lend(index, bytes, command);
                // Or else the first waits for the last.
                if are_several && let Err(error) = self.ring.submit() {
                    tracing::debug!(%error, "an answer waits for the next");
                }
            }
        }
        Ok(count)
    }

    fn register(&mut self, device: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_enable_rings()?;
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            if let State::Ours(bytes) = mem::replace(&mut entry.state, State::Over) {
                let command = command::register(device, entry.queue, bytes.addresses());
                self.lend(index, bytes, command);
            }
        }
        self.ring.submit().map(drop)
    }

    /// Hands over what is there to be handed over, and returns when something is completed.
    fn wait(&self) -> io::Result<()> {
        loop {
            let waited = self.ring.submit_and_wait(1).map(drop);
            match waited.as_ref().map_err(Errno::from_io_error) {
                Err(Some(Errno::INTR)) => {}
                // It is short of memory, which passes.
                Err(Some(Errno::AGAIN | Errno::NOMEM | Errno::BUSY)) => std::thread::yield_now(),
                _ => return waited,
            }
        }
    }

    /// Has the kernel do `command`, which has no buffers but the entry's.
    fn lend(&mut self, index: usize, bytes: Bytes, command: Entry128) {
        let command = command.user_data(index as u64);
        self.entries[index].state = State::Kernels(bytes.lend());
        self.lent += 1;
        // SAFETY: the buffers are lent: their memory is neither touched nor given back before `reclaim`, which comes
        // after the command's completion. The device stays open longer than this, whatever the kernel does.
        let pushed = unsafe { self.ring.submission().push(&command) };
        // OK to unwrap: there is room for one command of each entry, and each has one at most.
        pushed.expect("room for every entry's command");
    }

    /// The entry whose command is completed, with a request in it.
    fn reclaim(&mut self, completion: &cqueue::Entry) -> Option<(usize, Bytes)> {
        let index = usize::try_from(completion.user_data()).ok()?;
        let entry = self.entries.get_mut(index)?;
        let State::Kernels(lent) = mem::replace(&mut entry.state, State::Over) else {
            return None;
        };
        self.lent -= 1;
        // SAFETY: an entry has one command at a time, and this is its completion: the kernel fills the buffers before
        // it completes a command, and has no other that knows them.
        let bytes = unsafe { lent.reclaim() };
        match completion.result() {
            0 => Some((index, bytes)),
            error => {
                let error = io::Error::from_raw_os_error(error.wrapping_neg());
                tracing::debug!(queue = entry.queue, %error, "an entry of the ring is over");
                None
            }
        }
    }
}
