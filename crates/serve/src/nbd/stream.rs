//! A client's stream of bytes, in both directions.

use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

/// Requests that come at once are taken off the socket at once.
const INCOMING_LEN_BYTES: usize = 16 << 10;

/// Where a client's bytes come from and go.
pub(super) trait Transport: Send + Sync {
    /// As [`io::Read::read_vectored`].
    fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// As [`io::Write::write_vectored`].
    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// How long [`Self::read`] waits at most.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends reading: at once, also for who waits for bytes.
    fn stop_reading(&self);

    /// Ends everything.
    fn abort(&self);
}

/// Bytes that have come, ahead of who wants them.
pub(super) struct Incoming<'t> {
    transport: &'t dyn Transport,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<'t> Incoming<'t> {
    pub(super) fn new(transport: &'t dyn Transport) -> Self {
        Self {
            transport,
            buffer: vec![0; INCOMING_LEN_BYTES].into(),
            start: 0,
            end: 0,
        }
    }

    pub(super) fn transport(&self) -> &'t dyn Transport {
        self.transport
    }

    /// Whether something came that nobody has asked for yet.
    pub(super) fn has_more(&self) -> bool {
        self.start < self.end
    }

    /// The next `len` bytes, if they have come.
    pub(super) fn peek(&self, len: usize) -> Option<&[u8]> {
        self.buffer[self.start..self.end].get(..len)
    }

    /// Takes bytes that were looked at.
    pub(super) fn skip(&mut self, len: usize) {
        self.start = self.end.min(self.start + len);
    }

    /// Fills `buf`; false when the stream ended before its first byte.
    pub(super) fn read_exact(&mut self, mut buf: &mut [u8]) -> io::Result<bool> {
        let mut is_first = true;
        while !buf.is_empty() {
            if self.start < self.end {
                let len = buf.len().min(self.end - self.start);
                let (now, later) = buf.split_at_mut(len);
                now.copy_from_slice(&self.buffer[self.start..self.start + len]);
                self.start += len;
                buf = later;
                is_first = false;
                continue;
            }
            // What is wanted goes straight to its place, and what came behind it here.
            let wanted = buf.len();
            let mut buffers = [IoSliceMut::new(buf), IoSliceMut::new(&mut self.buffer)];
            let len = match self.transport.read(&mut buffers) {
                Ok(0) if is_first => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            is_first = false;
            (self.start, self.end) = (0, len.saturating_sub(wanted));
            buf = buf.split_at_mut(len.min(wanted)).1;
        }
        Ok(true)
    }
}

pub(super) fn write_all(transport: &dyn Transport, parts: &[&[u8]]) -> io::Result<()> {
    write_all_by(|slices| transport.write(slices), parts)
}

/// All of `parts`, one after the other, by calls of what may take only some of them, as
/// [`io::Write::write_vectored`] does.
pub(super) fn write_all_by(
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    parts: &[&[u8]],
) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut slices = slices.as_mut_slice();
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match write(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => IoSlice::advance_slices(&mut slices, len),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
