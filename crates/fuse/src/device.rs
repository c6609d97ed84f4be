//! `/dev/fuse`: one `read` is one request, one `write` its answer.
//!
//! A request is read so that the data of a write begin a page, and an answer's body is written there:
//!
//! ```text
//!          page - 80        page - 40         page - 16      page
//! request  InHeader         WriteIn                          data ...
//! answer                                      OutHeader      body ...
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::abi::{OutHeader, WriteIn};
use crate::answer::{Exchange, FileSystem, answer};
use crate::clone::clone_onto;
use crate::memory::{Memory, PAGE_LEN};
use crate::reply;
use crate::request::{self, Parts};

const PATH: &str = "/dev/fuse";
/// Where a request begins in the buffer: the data of a write lie on a page.
const REQUEST_START: usize = PAGE_LEN - request::HEADER_LEN - size_of::<WriteIn>();
/// Where an answer begins: its body lies on a page.
const REPLY_START: usize = PAGE_LEN - reply::HEADER_LEN;

/// A descriptor that requests are read from.
#[derive(Debug)]
pub(crate) struct Device(OwnedFd);

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Device {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// One more of the same file system's, so that threads do not stand in line for one. Who may not open the device
    /// shares the descriptor.
    pub(crate) fn another(&self) -> io::Result<Self> {
        match File::options().read(true).write(true).open(PATH) {
            Ok(file) => {
                let another = OwnedFd::from(file);
                clone_onto(&another, self.as_fd())?;
                Ok(Self(another))
            }
            Err(_) => Ok(Self(self.0.try_clone()?)),
        }
    }

    /// Waits for a request; `None` once the file system is unmounted.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut Buffer) -> io::Result<Option<Received<'b>>> {
        loop {
            match rustix::io::read(self, &mut buffer.memory.bytes_mut()[REQUEST_START..]) {
                Ok(len) => return Ok(Some(Received { buffer, len })),
                // A signal; a request that was taken back before it was read.
                Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
                // Unmounted; by force, or while this very request was being read.
                Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Answers; the answer's body was written to its place.
    pub(crate) fn send(&self, header: &OutHeader, buffer: &mut Buffer) {
        let bytes = buffer.memory.bytes_mut();
        bytes[REPLY_START..PAGE_LEN].copy_from_slice(header.as_bytes());
        let end = REPLY_START + header.len as usize;
        match rustix::io::write(self, &bytes[REPLY_START..end]) {
            // Nobody waits for it any more; unmounted, of which reading tells.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::CONNABORTED) => {}
            Err(error) => tracing::warn!(%error, "an answer was not taken"),
        }
    }

    /// Answers requests until the file system is unmounted; gives their number.
    pub(crate) fn serve<F: FileSystem>(
        &self,
        file_system: &F,
        buffer: &mut Buffer,
    ) -> io::Result<u64> {
        let mut count = 0;
        while let Some(mut received) = self.receive(buffer)? {
            count += 1;
            let Some(header) = answer(file_system, &mut received) else {
                continue;
            };
            self.send(&header, buffer);
        }
        Ok(count)
    }
}

/// Room for a request and its answer.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Memory,
}

impl Buffer {
    /// For data of so many bytes.
    pub(crate) fn new(data_len: usize) -> io::Result<Self> {
        Ok(Self {
            memory: Memory::zeroed(PAGE_LEN + data_len)?,
        })
    }

    /// Where an answer's body goes.
    pub(crate) fn body(&mut self) -> &mut [u8] {
        &mut self.memory.bytes_mut()[PAGE_LEN..]
    }
}

/// A request that was read.
#[derive(Debug)]
pub(crate) struct Received<'b> {
    buffer: &'b mut Buffer,
    len: usize,
}

impl Exchange for Received<'_> {
    fn parts(&self) -> Parts<'_> {
        Parts::of_contiguous(&self.buffer.memory.bytes()[REQUEST_START..][..self.len])
    }

    fn body(&mut self) -> &mut [u8] {
        self.buffer.body()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Operation, Request};

    #[test]
    fn a_writes_data_begin_a_page_where_they_were_read() {
        let mut bytes = crate::request::tests::header(16, 7, 2);
        bytes.extend(crate::request::tests::write_in(8192, 5));
        bytes.extend(b"hello");
        let mut buffer = Buffer::new(PAGE_LEN).unwrap();
        buffer.memory.bytes_mut()[REQUEST_START..][..bytes.len()].copy_from_slice(&bytes);
        let received = Received {
            len: bytes.len(),
            buffer: &mut buffer,
        };
        let request = Request::decode(received.parts()).unwrap();
        let Operation::Write { offset, data } = request.operation else {
            panic!("{request:?}");
        };
        assert_eq!((offset, data), (8192, &b"hello"[..]));
        assert_eq!(data.as_ptr().addr() % PAGE_LEN, 0);
    }
}
