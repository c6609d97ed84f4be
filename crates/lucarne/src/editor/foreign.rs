//! What else than a LUKS header a device's first bytes may be.

use lucarne_storage::Storage;

use crate::Error;
use crate::error::{measuring, reading};

/// Where a magic lies, its bytes, and what has it.
const MAGICS: &[(usize, &[u8], &str)] = &[
    (512, b"EFI PART", "a GPT partition table"),
    (0, b"XFSB", "an XFS file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (54, b"FAT", "a FAT file system"),
    (82, b"FAT32", "a FAT file system"),
    (0x438, &[0x53, 0xef], "an ext file system"),
    (512, b"LABELONE", "an LVM physical volume"),
    (4086, b"SWAPSPACE2", "a swap space"),
    (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "a member of a RAID array"),
    (0x1_0040, b"_BHRfS_M", "a Btrfs file system"),
    (0, b"hsqs", "a SquashFS file system"),
];
const LEN_BYTES: usize = 0x1_0048;

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
/// assert_eq!(found, Some("a GPT partition table"));
/// # Ok::<(), lucarne::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`].
pub fn foreign_signature(storage: &dyn Storage) -> Result<Option<&'static str>, Error> {
    let len = storage.len().map_err(measuring)?;
    let mut start = vec![0; LEN_BYTES.min(usize::try_from(len).unwrap_or(usize::MAX))];
    storage.read_at(&mut start, 0).map_err(reading(0))?;
    let magic = MAGICS
        .iter()
        .find(|(at, magic, _)| start.get(*at..at + magic.len()) == Some(magic));
    Ok(match magic {
        Some((_, _, name)) => Some(name),
        None if has_mbr(&start) => Some("a DOS partition table"),
        None => None,
    })
}

/// The mark at the first sector's end alone is in boot sectors of all kinds: there must be a partition too,
/// and each entry's state one of the two that exist.
fn has_mbr(start: &[u8]) -> bool {
    let Some(sector) = start.get(..512) else {
        return false;
    };
    let mut entries = sector[446..510].chunks_exact(16);
    let sane = entries.clone().all(|entry| matches!(entry[0], 0 | 0x80));
    let used = entries.any(|entry| entry[4] != 0 && entry[12..16] != [0; 4]);
    sector[510..] == [0x55, 0xaa] && sane && used
}

#[cfg(test)]
mod tests {
    use lucarne_storage::MemoryStorage;

    use super::*;

    #[test]
    fn a_short_or_empty_device_is_nothing() {
        for len in [0, 1, 511, 512, 4096, 1 << 20] {
            let found = foreign_signature(&MemoryStorage::with_len(len)).unwrap();
            assert_eq!(found, None, "{len}");
        }
    }

    #[test]
    fn each_magic_is_found() {
        for (at, magic, name) in MAGICS {
            let mut bytes = vec![0; LEN_BYTES];
            bytes[*at..at + magic.len()].copy_from_slice(magic);
            let found = foreign_signature(&MemoryStorage::from(bytes)).unwrap();
            assert_eq!(found, Some(*name));
        }
    }

    #[test]
    fn a_partition_table_has_a_partition() {
        let mut bytes = vec![0; 4096];
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let found = |bytes: &[u8]| foreign_signature(&MemoryStorage::from(bytes.to_vec())).unwrap();
        assert_eq!(found(&bytes), None);
        bytes[450] = 0x83;
        bytes[458] = 1;
        assert_eq!(found(&bytes), Some("a DOS partition table"));
        bytes[446] = 7;
        assert_eq!(found(&bytes), None);
    }
}
