//! Positional storage under a volume.
//!
//! Everything above is written against [`Storage`], so that a volume can live in a file, on a block
//! device, in memory, inside a window of something larger, or on storage that fails on purpose.
//!
//! ```
//! use lucarne_storage::{MemoryStorage, Storage};
//!
//! let storage = MemoryStorage::with_len(8192);
//! storage.write_at(b"LUKS", 4096)?;
//! let mut magic = [0; 4];
//! storage.read_at(&mut magic, 4096)?;
//! assert_eq!(&magic, b"LUKS");
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(unsafe_code)]

mod aligned;
pub mod fault;
mod file;
mod in_use;
mod lock;
mod mapping;
mod memory;
mod new_file;
mod offset;
mod read_at;

pub use aligned::{AlignedBuffer, DIRECT_ALIGNMENT};
pub use file::{Access, FileStorage, LockKind};
pub use lock::HeaderLock;
pub use memory::MemoryStorage;
pub use new_file::NewFile;
pub use offset::OffsetStorage;
pub use read_at::{ReadAt, ReadWindow};

use std::io;
use std::ops::Range;
use std::time::Duration;

/// Bytes at positions, for any number of threads at once.
///
/// Offsets and lengths are in bytes. Overlapping writes from several threads leave each byte with the
/// value that one of them wrote; who needs more takes a lock of its own.
pub trait Storage: Send + Sync {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills all of `buf` from `offset`; [`io::ErrorKind::UnexpectedEof`] where the storage ends before.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`. Whether that may lengthen the storage is the storage's affair.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once all that was written before would survive a power cut.
    fn flush(&self) -> io::Result<()>;

    /// Cuts or lengthens the storage, if it can; what is added reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives the range's space back; afterwards it reads as zeros.
    fn discard(&self, range: Range<u64>) -> io::Result<()>;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The next range at or after `from` that may hold something other than zeros; `None` past the last.
    ///
    /// Storage that does not know its holes gives the whole rest.
    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        Ok((from < len).then_some(from..len))
    }

    /// Shows `visitor` the bytes of `range` where they lie, if the storage can do that: a copy less than
    /// [`Self::read_at`].
    ///
    /// `false`: it cannot, or could not for these bytes; what the visitor saw then, if anything, must not be
    /// used, and [`Self::read_at`] says what is the matter. Others may change the bytes while they are looked
    /// at.
    fn visit(&self, _range: Range<u64>, _visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        Ok(false)
    }

    /// Says that `len` bytes will be written in full, so that space can be set aside in one piece.
    fn reserve(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Has what is read from now on come from the storage itself and not from a copy in memory, as far as
    /// that can be had. What was flushed before is not lost.
    fn drop_cached(&self) -> io::Result<()> {
        Ok(())
    }

    /// Keeps the other processes that change the header which lies here out until the lock is dropped, and
    /// waits for them for at most `patience`; then [`io::ErrorKind::WouldBlock`].
    ///
    /// Storage that no other process reaches has nothing to lock.
    fn lock_header(&self, _patience: Duration) -> io::Result<HeaderLock<'_>> {
        Ok(HeaderLock::none())
    }

    /// Keeps other processes from re-encrypting the volume of this UUID until the lock is dropped; does not
    /// wait: [`io::ErrorKind::WouldBlock`]. The header may be changed meanwhile.
    fn lock_reencryption(&self, _uuid: &str) -> io::Result<HeaderLock<'_>> {
        Ok(HeaderLock::none())
    }

    /// Takes the data that lie here into use until the lock is dropped; does not wait:
    /// [`io::ErrorKind::WouldBlock`]. Shared by those who read for long; who writes, or moves the data, is alone.
    fn lock_use(&self, _kind: LockKind) -> io::Result<HeaderLock<'_>> {
        Ok(HeaderLock::none())
    }
}

macro_rules! forward_storage {
    ($($pointer:ty),*) => {$(
        impl<S: Storage + ?Sized> Storage for $pointer {
            fn len(&self) -> io::Result<u64> { (**self).len() }
            fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> { (**self).read_at(buf, offset) }
            fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> { (**self).write_at(data, offset) }
            fn flush(&self) -> io::Result<()> { (**self).flush() }
            fn set_len(&self, len: u64) -> io::Result<()> { (**self).set_len(len) }
            fn discard(&self, range: Range<u64>) -> io::Result<()> { (**self).discard(range) }
            fn is_empty(&self) -> io::Result<bool> { (**self).is_empty() }
            fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> { (**self).next_data(from) }
            fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
                (**self).visit(range, visitor)
            }
            fn drop_cached(&self) -> io::Result<()> { (**self).drop_cached() }
            fn reserve(&self, len: u64) -> io::Result<()> { (**self).reserve(len) }
            fn lock_header(&self, patience: Duration) -> io::Result<HeaderLock<'_>> {
                (**self).lock_header(patience)
            }
            fn lock_reencryption(&self, uuid: &str) -> io::Result<HeaderLock<'_>> {
                (**self).lock_reencryption(uuid)
            }
            fn lock_use(&self, kind: LockKind) -> io::Result<HeaderLock<'_>> {
                (**self).lock_use(kind)
            }
        }
    )*};
}

forward_storage!(&S, Box<S>, std::sync::Arc<S>);
