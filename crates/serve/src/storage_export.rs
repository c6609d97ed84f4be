//! Some storage as what a door shows, byte for byte: what a served volume is held against.

use std::io;
use std::ops::Range;

use lucarne_storage::Storage;

use crate::{Export, Extent, ExtentKind, ZeroHow};

/// A page: what reads and writes of a file go best in multiples of.
const BLOCK_LEN_BYTES: u32 = 4096;
/// Zeros are written in pieces of this length.
const ZEROS_LEN_BYTES: u64 = 256 << 10;

/// The bytes of some storage, as they are.
///
/// ```
/// use lucarne::MemoryStorage;
/// use lucarne_serve::{Export, StorageExport};
///
/// let export = StorageExport::new(MemoryStorage::with_len(1 << 20))?.read_only();
/// assert_eq!(export.len(), 1 << 20);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct StorageExport<S> {
    storage: S,
    len: u64,
    is_read_only: bool,
}

impl<S: Storage> StorageExport<S> {
    /// All of it, read and written; no space is given back.
    ///
    /// # Errors
    /// When the storage does not tell its length.
    pub fn new(storage: S) -> io::Result<Self> {
        Ok(Self {
            len: storage.len()?,
            storage,
            is_read_only: false,
        })
    }

    /// Refuses to write.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            is_read_only: true,
            ..self
        }
    }
}

impl<S: Storage> Export for StorageExport<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn block_len(&self) -> u32 {
        BLOCK_LEN_BYTES
    }

    fn can_trim(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let range = offset..offset + buf.len() as u64;
        let mut copy = |bytes: &[u8]| buf.copy_from_slice(bytes);
        match self.storage.visit(range, &mut copy)? {
            true => Ok(()),
            false => self.storage.read_at(buf, offset),
        }
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.storage.write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.storage.flush()
    }

    fn trim(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, range: Range<u64>, how: ZeroHow) -> io::Result<()> {
        if how.is_fast {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let zeros = vec![0; (range.end - range.start).min(ZEROS_LEN_BYTES) as usize];
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(ZEROS_LEN_BYTES);
            // At most as long as a piece.
            self.storage.write_at(&zeros[..len as usize], at)?;
            at += len;
        }
        Ok(())
    }

    fn extent_at(&self, range: Range<u64>) -> io::Result<Extent> {
        Ok(Extent {
            len: range.end - range.start,
            kind: ExtentKind::Data,
        })
    }
}

#[cfg(test)]
mod tests {
    use lucarne_storage::MemoryStorage;

    use super::*;

    #[test]
    fn zeros_fill_the_range_and_nothing_else() {
        let export = StorageExport::new(MemoryStorage::with_len(1 << 20)).unwrap();
        export.write_at(&[7; 1 << 20], 0).unwrap();
        let range = 5..600_000;
        export.zero(range.clone(), ZeroHow::default()).unwrap();
        let mut back = vec![1; 1 << 20];
        export.read_at(&mut back, 0).unwrap();
        for (place, byte) in back.iter().enumerate() {
            let expected = if range.contains(&(place as u64)) {
                0
            } else {
                7
            };
            assert_eq!(*byte, expected, "byte {place}");
        }
        let fast = ZeroHow {
            is_fast: true,
            ..ZeroHow::default()
        };
        let error = export.zero(0..1, fast).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}
