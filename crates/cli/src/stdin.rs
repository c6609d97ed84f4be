//! Standard input as data: a read that waits still notices a signal.

use std::io::{self, Read};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::signals;

/// How long a signal may wait to be noticed.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// Standard input without a buffer of its own.
///
/// A signal handler lets an interrupted `read` go on waiting. This reader waits in `poll` for short
/// times instead, and answers [`io::ErrorKind::Interrupted`] once a stop was asked for.
#[derive(Debug, Default)]
pub(crate) struct InterruptibleStdin;

impl Read for InterruptibleStdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        loop {
            if signals::stop_requested() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&STEP)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(rustix::io::read(stdin, buf)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
