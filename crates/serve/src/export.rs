//! What a door shows.

use std::io;
use std::ops::Range;

/// How a range is to become zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZeroHow {
    /// Whether its space may be given back.
    pub may_punch: bool,
    /// Whether to fail with [`io::ErrorKind::Unsupported`], at once, where it would take as long as writing.
    pub is_fast: bool,
}

/// What a range holds, as far as that is known without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Something.
    Data,
    /// Zeros, and it takes no space.
    Hole,
}

/// A range of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// In bytes, at least one.
    pub len: u64,
    /// What is there.
    pub kind: ExtentKind,
}

/// Bytes by position, for any number of threads at once.
///
/// Offsets and lengths are in bytes; a door asks only for ranges within [`Self::len`], and writes nothing where
/// [`Self::is_read_only`].
///
/// ```
/// use lucarne_serve::{Export, Extent, ExtentKind, ZeroHow};
/// use std::{io, ops::Range};
///
/// /// A disk full of zeros.
/// struct Zeros;
///
/// impl Export for Zeros {
///     fn len(&self) -> u64 { 1 << 20 }
///     fn is_read_only(&self) -> bool { true }
///     fn block_len(&self) -> u32 { 512 }
///     fn can_trim(&self) -> bool { false }
///     fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<()> { buf.fill(0); Ok(()) }
///     fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> { Err(io::ErrorKind::PermissionDenied.into()) }
///     fn flush(&self) -> io::Result<()> { Ok(()) }
///     fn trim(&self, _: Range<u64>) -> io::Result<()> { Err(io::ErrorKind::PermissionDenied.into()) }
///     fn zero(&self, _: Range<u64>, _: ZeroHow) -> io::Result<()> { Err(io::ErrorKind::PermissionDenied.into()) }
///     fn extent_at(&self, range: Range<u64>) -> io::Result<Extent> {
///         Ok(Extent { len: range.end - range.start, kind: ExtentKind::Hole })
///     }
/// }
/// assert_eq!(Zeros.extent_at(0..512)?.kind, ExtentKind::Hole);
/// # Ok::<(), io::Error>(())
/// ```
pub trait Export: Send + Sync {
    /// The length in bytes; it does not change.
    fn len(&self) -> u64;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether writing is refused.
    fn is_read_only(&self) -> bool;

    /// What reads and writes go best in multiples of, in bytes: a power of two, at least 512. Any range is taken.
    fn block_len(&self) -> u32;

    /// Whether [`Self::trim`] does anything.
    fn can_trim(&self) -> bool;

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// What the storage says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` from `offset` on.
    ///
    /// # Errors
    /// What the storage says.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// As [`Self::write_at`], with leave to do what it likes to `data`, which may save a copy.
    ///
    /// # Errors
    /// What the storage says.
    fn write_from(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        self.write_at(data, offset)
    }

    /// Returns once all that was written before, by whomever, would survive a power cut.
    ///
    /// # Errors
    /// What the storage says.
    fn flush(&self) -> io::Result<()>;

    /// Nobody needs these bytes any more.
    ///
    /// # Errors
    /// What the storage says.
    fn trim(&self, range: Range<u64>) -> io::Result<()>;

    /// Makes a range zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where it was to be fast and is not; what the storage says.
    fn zero(&self, range: Range<u64>, how: ZeroHow) -> io::Result<()>;

    /// What lies at the start of `range`, which is not empty, and how much of it: at most all of it.
    ///
    /// # Errors
    /// What the storage says.
    fn extent_at(&self, range: Range<u64>) -> io::Result<Extent>;
}
