//! What can be read by position and no more.

use std::io;
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
        }
    )*};
}

forward_read_at!(&R, Box<R>, Arc<R>);

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
