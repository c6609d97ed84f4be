//! What else than a LUKS volume a device may be.

use lucarne_format::luks2::{self, FOREIGN_SEARCH_LEN_BYTES};
use lucarne_storage::Storage;

use crate::Error;
use crate::error::{measuring, reading};

/// What the signature of something else than LUKS says that a device is, if it bears one.
///
/// Known are the partition tables and the file systems that are met most; a device that bears none may
/// still hold something.
///
/// ```
/// use lucarne::MemoryStorage;
/// let mut disk = vec![0; 4096];
/// disk[512..520].copy_from_slice(b"EFI PART");
/// let found = lucarne::foreign_signature(&MemoryStorage::from(disk))?;
/// assert_eq!(found, Some("a GUID partition table"));
/// # Ok::<(), lucarne::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`].
pub fn foreign_signature(storage: &dyn Storage) -> Result<Option<&'static str>, Error> {
    let len = storage.len().map_err(measuring)?;
    let searched = len.min(FOREIGN_SEARCH_LEN_BYTES);
    let mut start = vec![0; usize::try_from(searched).unwrap_or(usize::MAX)];
    storage.read_at(&mut start, 0).map_err(reading(0))?;
    Ok(luks2::foreign_signature(&start))
}
