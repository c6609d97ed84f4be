//! A window of a larger storage.

use std::io;
use std::ops::Range;
use std::time::Duration;

use crate::{HeaderLock, Storage};

/// The bytes `range` of another storage, as a storage of their own.
///
/// ```
/// use lucarne_storage::{MemoryStorage, OffsetStorage, Storage};
/// let disk = MemoryStorage::from((0..100).collect::<Vec<u8>>());
/// let partition = OffsetStorage::new(disk, 20..40);
/// let mut byte = [0];
/// partition.read_at(&mut byte, 5)?;
/// assert_eq!(byte, [25]);
/// assert!(partition.read_at(&mut byte, 20).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct OffsetStorage<S> {
    inner: S,
    window: Range<u64>,
}

impl<S: Storage> OffsetStorage<S> {
    /// The window `window` of `inner`, in bytes. It may reach past the end of `inner`; reads there fail.
    pub fn new(inner: S, window: Range<u64>) -> Self {
        Self { inner, window }
    }

    fn translate(&self, offset: u64, len: usize) -> io::Result<u64> {
        let start = self.window.start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(len as u64));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.window.end => Ok(start),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{len} bytes at {offset} reach past the window's {} bytes",
                    self.window.end.saturating_sub(self.window.start)
                ),
            )),
        }
    }
}

impl<S: Storage> Storage for OffsetStorage<S> {
    fn len(&self) -> io::Result<u64> {
        let end = self.inner.len()?.min(self.window.end);
        Ok(end.saturating_sub(self.window.start))
    }

    fn lock_header(&self, patience: Duration) -> io::Result<HeaderLock<'_>> {
        self.inner.lock_header(patience)
    }

    fn lock_reencryption(&self, uuid: &str) -> io::Result<HeaderLock<'_>> {
        self.inner.lock_reencryption(uuid)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(buf, self.translate(offset, buf.len())?)
    }

    fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let start = self.translate(range.start, len)?;
        self.inner.visit(start..start + len as u64, visitor)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.inner
            .write_at(data, self.translate(offset, data.len())?)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a window's length is fixed",
        ))
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        let start = self.window.start.saturating_add(range.start);
        let end = self.window.start.saturating_add(range.end);
        self.inner
            .discard(start.min(self.window.end)..end.min(self.window.end))
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let Some(start) = self.window.start.checked_add(from) else {
            return Ok(None);
        };
        let found = self.inner.next_data(start)?.map(|data| {
            let start = data.start - self.window.start;
            let end = data
                .end
                .min(self.window.end)
                .saturating_sub(self.window.start);
            start..end
        });
        Ok(found.filter(|data| data.start < data.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;

    #[test]
    fn nothing_outside_the_window_is_touched() {
        let memory = MemoryStorage::from(vec![1; 30]);
        let window = OffsetStorage::new(&memory, 10..20);
        assert_eq!(window.len().unwrap(), 10);
        window.write_at(&[2; 10], 0).unwrap();
        assert!(window.write_at(&[3; 11], 0).is_err());
        assert!(window.write_at(&[3], u64::MAX).is_err());
        window.discard(5..500).unwrap();
        let bytes = memory.into_bytes();
        assert_eq!(bytes[..10], [1; 10]);
        assert_eq!(bytes[10..15], [2; 5]);
        assert_eq!(bytes[15..20], [0; 5]);
        assert_eq!(bytes[20..], [1; 10]);
    }

    #[test]
    fn data_ranges_are_cut_to_the_window() {
        let window = OffsetStorage::new(MemoryStorage::with_len(100), 10..20);
        assert_eq!(window.next_data(0).unwrap(), Some(0..10));
        assert_eq!(window.next_data(10).unwrap(), None);
        let past = OffsetStorage::new(MemoryStorage::with_len(15), 10..20);
        assert_eq!(past.len().unwrap(), 5);
    }
}
