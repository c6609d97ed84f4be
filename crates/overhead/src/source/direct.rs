//! Reading past the page cache.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use lucarne_storage::{AlignedBuffer, DIRECT_ALIGNMENT, FileStorage, Storage};
use rustix::fs::OFlags;

use super::REGION_LEN_BYTES;
use crate::{Error, space::reopened};

thread_local! {
    /// Where ciphertext lands that is decrypted from here into the loader's memory.
    static LANDING: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::zeroed(REGION_LEN_BYTES as usize));
}

/// A file whose aligned blocks are read with O_DIRECT; what is not aligned comes through the page cache.
pub(crate) struct DirectFile {
    direct: File,
    buffered: FileStorage,
}

impl DirectFile {
    /// # Errors
    /// [`Error::Refused`] where the file system has no direct reads.
    pub(crate) fn open(file: &File, write: bool) -> Result<Self, Error> {
        let failed = || Error::io("cannot open the file again");
        let direct = reopened(file, OFlags::DIRECT, false).map_err(|error| {
            Error::Refused(format!(
                "the file system has no direct reads (O_DIRECT): {error}"
            ))
        })?;
        let buffered = reopened(file, OFlags::empty(), write).map_err(failed())?;
        Ok(Self {
            direct,
            buffered: FileStorage::from_file(buffered).map_err(failed())?,
        })
    }
}

fn is_aligned(number: u64) -> bool {
    number.is_multiple_of(DIRECT_ALIGNMENT as u64)
}

impl Storage for DirectFile {
    fn len(&self) -> io::Result<u64> {
        self.buffered.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let fits = is_aligned(offset) && is_aligned(buf.len() as u64);
        match fits && is_aligned(buf.as_ptr().addr() as u64) {
            true => self.direct.read_exact_at(buf, offset),
            false => self.buffered.read_at(buf, offset),
        }
    }

    /// One read into memory of the thread's own, so that a volume asks the disk for a region at once.
    fn visit(&self, range: Range<u64>, visitor: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let len = range.end - range.start;
        if !is_aligned(range.start) || !is_aligned(len) || len > REGION_LEN_BYTES {
            return Ok(false);
        }
        LANDING.with_borrow_mut(|landing| {
            // At most a region, so it fits.
            let landing = &mut landing[..len as usize];
            self.direct.read_exact_at(landing, range.start)?;
            visitor(landing);
            Ok(true)
        })
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.buffered.write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.buffered.flush()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.buffered.set_len(len)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.buffered.discard(range)
    }
}
