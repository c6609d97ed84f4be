//! What a request does: to the directory, which never changes, and to its one file, whose length never does.
//!
//! The file behaves as a block device would where files differ from those: nothing is written past its end, and it
//! cannot be cut. Holes are where the two differ from what encryption can do: whoever punches a hole into a file
//! relies on reading zeros there, a loop device among them, which zeros that way what a file system wants to be zero.
//! In most volumes a hole decrypts to noise. So [`FALLOC_FL_PUNCH_HOLE`](FallocateFlags::PUNCH_HOLE) gives space back
//! where holes read as zeros, and is not supported elsewhere.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::{Export, ExtentKind, ZeroHow};

/// The directory's number.
pub const ROOT: u64 = 1;
/// The file's number.
pub const PLAIN: u64 = 2;

// Of lseek(2).
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// What requests are refused with: the system's error numbers.
pub type Refusal = Errno;

/// What the kernel is told about a directory or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// [`ROOT`] or [`PLAIN`].
    pub node: u64,
    /// In bytes.
    pub len: u64,
    /// Permissions, without the kind.
    pub permissions: u16,
    /// What reads and writes go best in multiples of, in bytes.
    pub block_len: u32,
}

/// The directory and its file.
///
/// ```
/// use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
/// use lucarne_serve::{VolumeExport, fuse::{PLAIN, PlainFile, ROOT}};
///
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(2 << 20);
/// lucarne::format(&image, None, b"an example", &options)?;
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// let plain = PlainFile::new(VolumeExport::new(volume), "disk", false);
/// assert_eq!(plain.lookup(ROOT, "disk".as_ref()).unwrap().node, PLAIN);
/// assert_eq!(plain.write(PLAIN, 3, b"bytes"), Ok(5));
/// let mut buffer = [0; 3];
/// assert_eq!(plain.read(PLAIN, 4, &mut buffer), Ok(3));
/// assert_eq!(&buffer, b"yte");
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug)]
pub struct PlainFile<E> {
    export: E,
    name: OsString,
    others_may: bool,
    /// Something was written that was not flushed.
    is_dirty: AtomicBool,
}

impl<E: Export> PlainFile<E> {
    /// The file goes by `name`; with `others_may` all users may read it, and else its owner alone.
    pub fn new(export: E, name: impl Into<OsString>, others_may: bool) -> Self {
        Self {
            export,
            name: name.into(),
            others_may,
            is_dirty: AtomicBool::new(false),
        }
    }

    /// What is shown.
    pub fn export(&self) -> &E {
        &self.export
    }

    /// The file's name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Finds a file by its name.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Result<Attributes, Refusal> {
        match parent {
            ROOT if name == self.name => self.attributes(PLAIN),
            PLAIN => Err(Errno::NOTDIR),
            _ => Err(Errno::NOENT),
        }
    }

    /// What there is to know.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn attributes(&self, node: u64) -> Result<Attributes, Refusal> {
        let (len, owner, others) = match node {
            ROOT => (0, 0o500, 0o055),
            PLAIN if self.export.is_read_only() => (self.export.len(), 0o400, 0o044),
            PLAIN => (self.export.len(), 0o600, 0o044),
            _ => return Err(Errno::NOENT),
        };
        Ok(Attributes {
            node,
            len,
            permissions: match self.others_may {
                true => owner | others,
                false => owner,
            },
            block_len: self.export.block_len(),
        })
    }

    /// Changes a length, or an owner or permissions (`other`): nothing of which can be changed. Times are nobody's
    /// concern, and are not kept.
    ///
    /// # Errors
    /// `EPERM`, `ENOENT`.
    pub fn set_attributes(
        &self,
        node: u64,
        len: Option<u64>,
        other: bool,
    ) -> Result<Attributes, Refusal> {
        let attributes = self.attributes(node)?;
        let is_other_len = len.is_some_and(|len| len != attributes.len);
        if is_other_len || other {
            return Err(Errno::PERM);
        }
        Ok(attributes)
    }

    /// Whether the file may be opened.
    ///
    /// # Errors
    /// `EROFS`, `EISDIR`, `ENOENT`.
    pub fn open(&self, node: u64, to_write: bool) -> Result<(), Refusal> {
        self.file(node)?;
        match to_write && self.export.is_read_only() {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }

    /// Bytes from `offset` on, to the front of `into`: as many as there are and as it holds. Gives their number.
    ///
    /// # Errors
    /// `EISDIR`, `ENOENT`; what the export says.
    pub fn read(&self, node: u64, offset: u64, into: &mut [u8]) -> Result<usize, Refusal> {
        self.file(node)?;
        let left = self.export.len().saturating_sub(offset);
        // No more than there are.
        let len = left.min(into.len() as u64) as usize;
        if len > 0 {
            self.export
                .read_at(&mut into[..len], offset)
                .map_err(|error| refusal_of(&error))?;
        }
        Ok(len)
    }

    /// Writes what fits before the end; tells how much that was.
    ///
    /// # Errors
    /// `ENOSPC` at the end; `EROFS`, `EISDIR`, `ENOENT`; what the export says.
    pub fn write(&self, node: u64, offset: u64, data: &[u8]) -> Result<u32, Refusal> {
        self.writable(node)?;
        let left = self.export.len().saturating_sub(offset);
        // No more than there are.
        let len = left.min(data.len() as u64) as usize;
        if len == 0 {
            return match data.is_empty() {
                true => Ok(0),
                false => Err(Errno::NOSPC),
            };
        }
        self.is_dirty.store(true, Ordering::SeqCst);
        self.export
            .write_at(&data[..len], offset)
            .map_err(|error| refusal_of(&error))?;
        u32::try_from(len).map_err(|_| Errno::INVAL)
    }

    /// Returns once all that was written would survive a power cut.
    ///
    /// # Errors
    /// What the export says; then it is not over, and the next call tries again.
    pub fn flush(&self) -> Result<(), Refusal> {
        // What is written from here on is another flush's affair.
        if !self.is_dirty.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        self.export.flush().map_err(|error| {
            self.is_dirty.store(true, Ordering::SeqCst);
            refusal_of(&error)
        })
    }

    /// `fallocate(2)`: holes and zeros within the file. Space cannot be set aside.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for any other mode, and for holes that would not read as zeros; `EPERM` where the file would grow;
    /// `EROFS`, `EISDIR`, `ENOENT`, `EINVAL`; what the export says.
    pub fn allocate(&self, node: u64, offset: u64, len: u64, mode: i32) -> Result<(), Refusal> {
        self.writable(node)?;
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let keeps_len = mode.contains(FallocateFlags::KEEP_SIZE);
        let how = match mode - FallocateFlags::KEEP_SIZE {
            FallocateFlags::PUNCH_HOLE if keeps_len => ZeroHow {
                may_punch: true,
                // Or else it would take as long as writing, and more space than before.
                is_fast: true,
            },
            FallocateFlags::ZERO_RANGE => ZeroHow::default(),
            _ => return Err(Errno::OPNOTSUPP),
        };
        let end = offset.checked_add(len).ok_or(Errno::INVAL)?;
        if len == 0 {
            return Err(Errno::INVAL);
        }
        let file_len = self.export.len();
        if end > file_len && !keeps_len {
            return Err(Errno::PERM);
        }
        let range = offset.min(file_len)..end.min(file_len);
        if range.is_empty() {
            return Ok(());
        }
        self.is_dirty.store(true, Ordering::SeqCst);
        self.export
            .zero(range, how)
            .map_err(|error| refusal_of(&error))
    }

    /// `lseek(2)` to the next data or hole.
    ///
    /// # Errors
    /// `ENXIO` past the end or the last data, `EINVAL`; `EISDIR`, `ENOENT`; what the export says.
    pub fn seek(&self, node: u64, offset: i64, whence: i32) -> Result<i64, Refusal> {
        self.file(node)?;
        let wanted = match whence {
            SEEK_DATA => ExtentKind::Data,
            SEEK_HOLE => ExtentKind::Hole,
            _ => return Err(Errno::INVAL),
        };
        let len = self.export.len();
        let mut at = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
        if at >= len {
            return Err(Errno::NXIO);
        }
        while at < len {
            let extent = self
                .export
                .extent_at(Range {
                    start: at,
                    end: len,
                })
                .map_err(|error| refusal_of(&error))?;
            if extent.kind == wanted {
                return i64::try_from(at).map_err(|_| Errno::OVERFLOW);
            }
            at = at.saturating_add(extent.len.max(1));
        }
        match wanted {
            // Every file ends with one.
            ExtentKind::Hole => i64::try_from(len).map_err(|_| Errno::OVERFLOW),
            ExtentKind::Data => Err(Errno::NXIO),
        }
    }

    fn file(&self, node: u64) -> Result<(), Refusal> {
        match node {
            PLAIN => Ok(()),
            ROOT => Err(Errno::ISDIR),
            _ => Err(Errno::NOENT),
        }
    }

    fn writable(&self, node: u64) -> Result<(), Refusal> {
        self.file(node)?;
        match self.export.is_read_only() {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }
}

/// What a program is told when the storage fails.
fn refusal_of(error: &io::Error) -> Refusal {
    use io::ErrorKind as Kind;
    let refusal = match error.kind() {
        Kind::StorageFull => Errno::NOSPC,
        Kind::QuotaExceeded => Errno::DQUOT,
        Kind::FileTooLarge => Errno::FBIG,
        Kind::OutOfMemory => Errno::NOMEM,
        Kind::PermissionDenied => Errno::PERM,
        Kind::ReadOnlyFilesystem => Errno::ROFS,
        Kind::Unsupported => Errno::OPNOTSUPP,
        _ => Errno::IO,
    };
    if refusal != Errno::OPNOTSUPP {
        tracing::warn!(%error, "a request failed");
    }
    refusal
}
