//! Streams as data: a read that waits still notices a signal.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::signals;

/// How long a signal may wait to be noticed.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Reads a descriptor without a buffer of its own.
///
/// A signal handler lets an interrupted `read` go on waiting. This reader waits in `poll` for short
/// times instead, and answers [`io::ErrorKind::Interrupted`] once a stop was asked for.
#[derive(Debug)]
pub(crate) struct Interruptible<F>(pub(crate) F);

impl Interruptible<BorrowedFd<'static>> {
    /// Standard input.
    pub(crate) fn stdin() -> Self {
        Self(rustix::stdio::stdin())
    }
}

impl<F: AsFd> Read for Interruptible<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if signals::stop_requested() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&STEP)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(rustix::io::read(&self.0, buf)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
