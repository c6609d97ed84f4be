//! What can be read by position and no more.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::{FileStorage, MemoryStorage, OffsetStorage, Storage};

/// Bytes that can be read at any position, by any number of threads at once: storage, the plaintext of a volume,
/// a file inside of one.
///
/// ```
/// use lucarne_storage::ReadAt;
/// let bytes = b"some bytes".to_vec();
/// let mut four = [0; 4];
/// bytes.read_exact_at(&mut four, 5)?;
/// assert_eq!(&four, b"byte");
/// assert!(bytes.read_exact_at(&mut four, 7).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ReadAt: Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Fills all of `buf` from byte `offset` on; [`io::ErrorKind::UnexpectedEof`] where the bytes end before.
    ///
    /// # Errors
    /// What the system says. After an error the content of `buf` is unspecified.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// As [`Self::read_exact_at`], of bytes that are loaded into memory and not looked at right away: whoever can do so
    /// keeps them out of the CPU's caches.
    ///
    /// # Errors
    /// As [`Self::read_exact_at`].
    fn load_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }
}

impl ReadAt for [u8] {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len_bytes(&self) -> io::Result<u64> {
        self.as_slice().len_bytes()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

macro_rules! read_storage {
    ($($kind:ty: $($generic:ident)?),*) => {$(
        impl $(<$generic: Storage>)? ReadAt for $kind {
            fn len_bytes(&self) -> io::Result<u64> { Storage::len(self) }
            fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
                Storage::read_at(self, buf, offset)
            }
        }
    )*};
}

read_storage!(FileStorage:, MemoryStorage:, OffsetStorage<S>: S);

macro_rules! forward_read_at {
    ($($pointer:ty),*) => {$(
        impl<R: ReadAt + ?Sized> ReadAt for $pointer {
            fn len_bytes(&self) -> io::Result<u64> { (**self).len_bytes() }
            fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
                (**self).read_exact_at(buf, offset)
            }
            fn load_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
                (**self).load_exact_at(buf, offset)
            }
        }
    )*};
}

forward_read_at!(&R, Box<R>, Arc<R>);

/// A part of something, which no offset leaves: a partition, or a file at the start of a device.
///
/// ```
/// use lucarne_storage::{ReadAt, ReadWindow};
/// let window = ReadWindow::new(b"some bytes".to_vec(), 5..9);
/// let mut byte = [0];
/// window.read_exact_at(&mut byte, 3)?;
/// assert_eq!(&byte, b"e");
/// assert!(window.read_exact_at(&mut byte, 4).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ReadWindow<R> {
    source: R,
    range: Range<u64>,
}

impl<R: ReadAt> ReadWindow<R> {
    /// The bytes `range` of `source`. What of it lies past the end of the source fails to be read.
    pub fn new(source: R, range: Range<u64>) -> Self {
        Self { source, range }
    }

    /// Where so many bytes from `offset` on lie in the source.
    fn place_of(&self, len: usize, offset: u64) -> io::Result<u64> {
        let own_len = self.range.end.saturating_sub(self.range.start);
        let fits = offset
            .checked_add(len as u64)
            .is_some_and(|end| end <= own_len);
        match fits {
            true => Ok(self.range.start + offset),
            false => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ends at byte {own_len}"),
            )),
        }
    }

    /// What it is a part of.
    pub fn into_source(self) -> R {
        self.source
    }
}

impl<R: ReadAt> ReadAt for ReadWindow<R> {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.range.end.saturating_sub(self.range.start))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = self.place_of(buf.len(), offset)?;
        self.source.read_exact_at(buf, at)
    }

    fn load_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = self.place_of(buf.len(), offset)?;
        self.source.load_exact_at(buf, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_end_where_they_end() {
        let bytes = [1_u8, 2, 3];
        let mut two = [0; 2];
        for (offset, is_there) in [(0, true), (1, true), (2, false), (u64::MAX, false)] {
            let result = bytes.as_slice().read_exact_at(&mut two, offset);
            assert_eq!(result.is_ok(), is_there, "{offset}");
        }
        assert_eq!(two, [2, 3]);
        let window = OffsetStorage::new(MemoryStorage::from(bytes.to_vec()), 1..3);
        assert_eq!(ReadAt::len_bytes(&&window).unwrap(), 2);
        Box::new(window).read_exact_at(&mut two, 0).unwrap();
        assert_eq!(two, [2, 3]);
    }
}
