//! Files and block devices.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, SeekFrom};

use crate::aligned::is_direct_capable;
use crate::lock::LockFile;
use crate::mapping::Mapping;
use crate::{HeaderLock, Storage};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    ReadOnly,
    /// Read and written.
    ReadWrite,
}

/// Who else may hold the file at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Others may hold it shared too.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// A file or a block device.
///
/// ```no_run
/// use lucarne_storage::{Access, FileStorage, Storage};
/// let disk = FileStorage::open("disk.img", Access::ReadOnly)?;
/// println!("{} bytes", disk.len()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileStorage {
    buffered: File,
    // The same file again, opened with O_DIRECT. Used for whole aligned blocks only; the kernel keeps
    // the two views coherent.
    direct: Option<File>,
    mapping: Option<Mapping>,
    is_block_device: bool,
    // Held until the file is closed, if it is a device that was taken into use.
    device_use: Mutex<Option<LockFile>>,
}

impl FileStorage {
    /// Opens an existing file or block device.
    ///
    /// A block device that is opened for writing must not be in use (mounted, or part of another
    /// device): that is [`io::ErrorKind::ResourceBusy`]; nor read-only: [`io::ErrorKind::ReadOnlyFilesystem`].
    ///
    /// # Errors
    /// What the system says; a directory or another kind of file is [`io::ErrorKind::InvalidInput`].
    pub fn open(path: impl AsRef<Path>, access: Access) -> io::Result<Self> {
        let path = path.as_ref();
        let kind = std::fs::metadata(path)?.file_type();
        if !(kind.is_file() || kind.is_block_device()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file or a block device",
            ));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::ReadWrite);
        if kind.is_block_device() && access == Access::ReadWrite {
            // Without O_CREAT, O_EXCL on a block device asks the kernel for sole use of it.
            options.custom_flags(OFlags::EXCL.bits() as i32);
        }
        let storage = Self::from_file(options.open(path)?)?;
        if access == Access::ReadWrite && storage.is_read_only_device()? {
            return Err(io::Error::new(
                io::ErrorKind::ReadOnlyFilesystem,
                "the device is read-only",
            ));
        }
        Ok(storage)
    }

    /// The kernel opens such a device for writing too, and fails each write. What `/sys` does not tell is left to that.
    fn is_read_only_device(&self) -> io::Result<bool> {
        if !self.is_block_device {
            return Ok(false);
        }
        let number = self.buffered.metadata()?.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let told = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/ro"));
        Ok(told.is_ok_and(|told| told.trim() == "1"))
    }

    /// Takes an open file.
    ///
    /// # Errors
    /// When the file's kind cannot be asked.
    pub fn from_file(file: File) -> io::Result<Self> {
        let is_block_device = file.metadata()?.file_type().is_block_device();
        Ok(Self {
            buffered: file,
            direct: None,
            mapping: None,
            is_block_device,
            device_use: Mutex::default(),
        })
    }

    /// Lets whole aligned blocks (see [`crate::DIRECT_ALIGNMENT`]) be written past the page cache, where
    /// the file system can do that; elsewhere nothing changes.
    #[must_use]
    pub fn with_direct_writes(mut self) -> Self {
        self.direct = reopen_direct(&self.buffered).ok();
        self
    }

    /// Maps the file as it is now into the address space, where that can be done, so that a volume's sectors
    /// are decrypted straight from the page cache ([`Storage::visit`]); elsewhere nothing changes.
    ///
    /// A file that is cut while it is mapped gives the errors that it would give without: the first mapping
    /// in a process installs a handler for SIGBUS, which deals with faults in these mappings and passes all
    /// others on.
    #[must_use]
    pub fn with_mapped_reads(mut self) -> Self {
        let len = self.len().unwrap_or(0);
        self.mapping = match len {
            0 => None,
            len => Mapping::new(&self.buffered, len).ok(),
        };
        self
    }

    /// Whether this is a block device.
    pub fn is_block_device(&self) -> bool {
        self.is_block_device
    }

    /// The name of the file system that the file lies on, if it is one that writes new data elsewhere than
    /// over the old: what is overwritten may stay on the disk, and in snapshots.
    pub fn copy_on_write_file_system(&self) -> Option<&'static str> {
        if self.is_block_device {
            return None;
        }
        let kind = rustix::fs::fstatfs(&self.buffered).ok()?.f_type;
        // The numbers that statfs(2) lists.
        Some(match u32::try_from(kind).ok()? {
            0x9123_683e => "btrfs",
            0x2fc1_2fc1 => "zfs",
            0xca45_1a4e => "bcachefs",
            0xf2f5_2010 => "f2fs",
            0x3434 => "nilfs",
            _ => return None,
        })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.buffered
    }

    /// Takes an advisory lock (`flock`) without waiting; it lasts until the file is closed or
    /// [`Self::unlock`] is called. cryptsetup takes the same lock on image files.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process holds it.
    pub fn try_lock(&self, kind: LockKind) -> io::Result<()> {
        let operation = match kind {
            LockKind::Shared => FlockOperation::NonBlockingLockShared,
            LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        Ok(rustix::fs::flock(&self.buffered, operation)?)
    }

    /// As [`Storage::lock_use`], until the file is closed.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when others use the data.
    pub fn try_use(&self, kind: LockKind) -> io::Result<()> {
        crate::in_use::take(&self.buffered, kind)?;
        if self.is_block_device {
            let device = LockFile::take_use(&self.buffered, kind)?;
            *self
                .device_use
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = device;
        }
        Ok(())
    }

    /// Keeps cryptsetup from re-encrypting the volume of this UUID, and all copies of it, until the lock is dropped;
    /// who else does the same is not kept out. [`Storage::lock_use`] is what keeps our own processes apart.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when one of them is being re-encrypted.
    pub fn keep_reencryption_out(&self, uuid: &str) -> io::Result<HeaderLock<'static>> {
        HeaderLock::keep_reencryption_out(uuid)
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// What the system says.
    pub fn unlock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&self.buffered, FlockOperation::Unlock)?)
    }
}

/// Opens the same file again, whatever became of its name, with O_DIRECT.
fn reopen_direct(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        if self.is_block_device {
            // A device's metadata says 0. The position that this moves is used by nobody.
            return Ok(rustix::fs::seek(&self.buffered, SeekFrom::End(0))?);
        }
        Ok(self.buffered.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.buffered.read_exact_at(buf, offset)
    }

    fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let Some(mapping) = &self.mapping else {
            return Ok(false);
        };
        // What lies in the last page after the end of a file that was cut reads as zeros, without a fault.
        let end = range.end;
        Ok(mapping.visit(range, visitor) && end <= self.len()?)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && is_direct_capable(data, offset)
        {
            match direct.write_all_at(data, offset) {
                // The file system takes the flag but not this write: the cached way always works.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {}
                result => return result,
            }
        }
        self.buffered.write_all_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.buffered.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.buffered.set_len(len)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        Ok(rustix::fs::fallocate(
            &self.buffered,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            range.start,
            range.end - range.start,
        )?)
    }

    fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        if from >= len {
            return Ok(None);
        }
        let start = match rustix::fs::seek(&self.buffered, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            // Not every file system knows its holes.
            Err(_) => return Ok(Some(from..len)),
        };
        let end = rustix::fs::seek(&self.buffered, SeekFrom::Hole(start)).unwrap_or(len);
        Ok(Some(start..end.min(len)))
    }

    fn lock_header(&self, patience: Duration) -> io::Result<HeaderLock<'_>> {
        HeaderLock::take(&self.buffered, self.is_block_device, patience)
    }

    fn lock_reencryption(&self, uuid: &str) -> io::Result<HeaderLock<'_>> {
        HeaderLock::take_reencryption(uuid)
    }

    fn lock_use(&self, kind: LockKind) -> io::Result<HeaderLock<'_>> {
        HeaderLock::take_use(&self.buffered, self.is_block_device, kind)
    }

    fn drop_cached(&self) -> io::Result<()> {
        // The whole file; a hint, which file systems without a page cache may not know.
        match rustix::fs::fadvise(&self.buffered, 0, None, rustix::fs::Advice::DontNeed) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        if self.is_block_device {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.buffered, FallocateFlags::empty(), 0, len) {
            // Saves time where it can be done; a full disk is better found now than at the end.
            Err(
                error @ (rustix::io::Errno::NOSPC
                | rustix::io::Errno::FBIG
                | rustix::io::Errno::DQUOT),
            ) => Err(error.into()),
            Ok(()) => Ok(()),
            Err(_) => self.set_len(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlignedBuffer;

    fn temporary() -> (tempfile::NamedTempFile, FileStorage) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let storage = FileStorage::open(file.path(), Access::ReadWrite).unwrap();
        (file, storage)
    }

    #[test]
    fn direct_and_cached_writes_see_each_other() {
        let (_file, storage) = temporary();
        let storage = storage.with_direct_writes();
        let mut block = AlignedBuffer::zeroed(8192);
        block.fill(5);
        storage.write_at(&block, 4096).unwrap();
        storage.write_at(b"unaligned", 5000).unwrap();
        let mut back = vec![0; 12288];
        storage.read_at(&mut back, 0).unwrap();
        assert_eq!(back[..4096], [0; 4096]);
        assert_eq!(back[4096..5000], [5; 904]);
        assert_eq!(&back[5000..5009], b"unaligned");
        assert_eq!(back[5009..], [5; 12288 - 5009]);
    }

    #[test]
    fn directories_are_refused() {
        let error = FileStorage::open(std::env::temp_dir(), Access::ReadOnly).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn holes_are_found_or_nothing_is_claimed() {
        let (_file, storage) = temporary();
        storage.set_len(1 << 20).unwrap();
        storage.write_at(&[1; 4096], 512 << 10).unwrap();
        let data = storage.next_data(0).unwrap().unwrap();
        assert!(data.start <= 512 << 10 && data.end >= (512 << 10) + 4096);
        assert_eq!(storage.next_data(1 << 20).unwrap(), None);
    }

    #[test]
    fn a_second_exclusive_lock_does_not_wait() {
        let (file, storage) = temporary();
        storage.try_lock(LockKind::Exclusive).unwrap();
        let other = FileStorage::open(file.path(), Access::ReadOnly).unwrap();
        let error = other.try_lock(LockKind::Shared).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        storage.unlock().unwrap();
        other.try_lock(LockKind::Shared).unwrap();
    }

    #[test]
    fn mapped_bytes_are_those_that_are_read() {
        let (file, storage) = temporary();
        storage.write_at(&[7; 10_000], 0).unwrap();
        let mapped = FileStorage::open(file.path(), Access::ReadOnly)
            .unwrap()
            .with_mapped_reads();
        storage.write_at(b"later", 9000).unwrap();
        let mut seen = Vec::new();
        let shown = mapped.visit(8999..9006, &mut |bytes| seen.extend_from_slice(bytes));
        assert!(shown.unwrap());
        assert_eq!(seen, *b"\x07later\x07");
        // Cut inside of a page, where nothing faults.
        storage.set_len(9003).unwrap();
        assert!(!mapped.visit(8999..9006, &mut |_| ()).unwrap());
        assert!(mapped.visit(8999..9003, &mut |_| ()).unwrap());
        let error = mapped.read_at(&mut [0; 7], 8999).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // Without a mapping there is nothing to show.
        assert!(!storage.visit(0..1, &mut |_| panic!("shown")).unwrap());
    }

    #[test]
    fn discarded_ranges_read_as_zeros() {
        let (_file, storage) = temporary();
        storage.write_at(&[3; 16384], 0).unwrap();
        if storage.discard(4096..8192).is_err() {
            return; // the file system has no holes
        }
        let mut back = vec![0; 16384];
        storage.read_at(&mut back, 0).unwrap();
        assert_eq!(back[4096..8192], [0; 4096]);
        assert_eq!(back[8192..], [3; 8192]);
    }
}
