//! Storage in memory.

use std::io;
use std::ops::Range;
use std::sync::RwLock;

use crate::Storage;

/// Storage in memory: grows when written past its end, forgets everything when dropped.
///
/// ```
/// use lucarne_storage::{MemoryStorage, Storage};
/// let storage = MemoryStorage::from(vec![1, 2, 3]);
/// assert_eq!(storage.len()?, 3);
/// assert_eq!(storage.into_bytes(), [1, 2, 3]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStorage {
    bytes: RwLock<Vec<u8>>,
}

impl MemoryStorage {
    /// `len` zeros.
    pub fn with_len(len: usize) -> Self {
        Self::from(vec![0; len])
    }

    /// The bytes, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<u8>> {
        // A panic elsewhere cannot leave the vector half-made: every change is one call on it.
        self.bytes
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<u8>> {
        self.bytes
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl From<Vec<u8>> for MemoryStorage {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes: RwLock::new(bytes),
        }
    }
}

fn index(offset: u64, len: usize) -> io::Result<Range<usize>> {
    let start = usize::try_from(offset).ok();
    let end = start.and_then(|start| start.checked_add(len));
    match (start, end) {
        (Some(start), Some(end)) => Ok(start..end),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("offset {offset} and length {len} exceed the address space"),
        )),
    }
}

impl Storage for MemoryStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.read().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let range = index(offset, buf.len())?;
        let bytes = self.read();
        let source = bytes
            .get(range)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buf.copy_from_slice(source);
        Ok(())
    }

    fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let range = index(range.start, len)?;
        Ok(self.read().get(range).map(visitor).is_some())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let range = index(offset, data.len())?;
        let mut bytes = self.write();
        if bytes.len() < range.end {
            bytes.resize(range.end, 0);
        }
        bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let range = index(len, 0)?;
        self.write().resize(range.start, 0);
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        let mut bytes = self.write();
        let len = bytes.len() as u64;
        // Both ends are at most the vector's length, so they fit.
        let (start, end) = (range.start.min(len) as usize, range.end.min(len) as usize);
        if start < end {
            bytes[start..end].fill(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_past_the_end_fail_whole() {
        let storage = MemoryStorage::with_len(10);
        let mut buf = [7; 4];
        let error = storage.read_at(&mut buf, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(buf, [7; 4]);
        assert!(storage.read_at(&mut buf, u64::MAX).is_err());
    }

    #[test]
    fn writes_past_the_end_grow_with_zeros() {
        let storage = MemoryStorage::default();
        assert!(storage.is_empty().unwrap());
        storage.write_at(&[9], 3).unwrap();
        assert_eq!(storage.into_bytes(), [0, 0, 0, 9]);
    }

    #[test]
    fn discard_zeroes_and_stops_at_the_end() {
        let storage = MemoryStorage::from(vec![1; 8]);
        storage.discard(6..100).unwrap();
        storage.discard(200..300).unwrap();
        assert_eq!(storage.into_bytes(), [1, 1, 1, 1, 1, 1, 0, 0]);
    }
}
