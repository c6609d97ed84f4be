//! What a volume or a partition holds, by its signatures.

use std::fmt;

use lucarne_storage::ReadAt;

use crate::bytes::{le16, le32, le64, part, u8_at};
use crate::window::read_up_to;
use crate::{Error, ext, fat};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// ext2, ext3 or ext4
    Ext,
    /// FAT12, FAT16 or FAT32
    Fat,
    /// A partition table, GPT or MBR
    PartitionTable,
    /// Something known that is not read here
    Other(&'static str),
    /// A safetensors file
    Safetensors,
    /// Zeros, as far as was looked
    Empty,
    /// Nothing known
    Unknown,
}

impl Content {
    /// Whether its files can be read here.
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Ext | Self::Fat)
    }

    /// What to do instead.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Other(_) => {
                ", which is not supported: mount it through lucarne serve (--nbd, --fuse)"
            }
            Self::Safetensors => ", and no file system: see lucarne tensors",
            Self::Empty | Self::Unknown => "; lucarne read gives its bytes",
            _ => "",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext => "an ext2, ext3 or ext4 file system",
            Self::Fat => "a FAT file system",
            Self::PartitionTable => "a partition table",
            Self::Other(what) => what,
            Self::Safetensors => "a safetensors file",
            Self::Empty => "zeros where a file system begins",
            Self::Unknown => "no file system that is known here",
        })
    }
}

/// As far as the signatures lie, the last being btrfs's.
const LOOKED_AT_LEN: usize = 0x10000 + 0x1000;

/// Signatures: where, which bytes, of what.
const SIGNATURES: [(usize, &[u8], &str); 16] = [
    (0, b"XFSB", "an XFS file system"),
    (0x10040, b"_BHRfS_M", "a btrfs file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (512, b"LABELONE", "an LVM physical volume"),
    (0, b"LABELONE", "an LVM physical volume"),
    (4086, b"SWAPSPACE2", "swap space"),
    (0, b"hsqs", "a squashfs file system"),
    (0x8001, b"CD001", "an ISO 9660 file system"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    (1024, b"H+\0\x04", "an HFS+ file system"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd stream"),
    (0, b"\x1f\x8b\x08", "a gzip stream"),
];

/// Looks at the signatures of `source`.
///
/// # Errors
/// [`Error::Io`].
///
/// ```
/// use lucarne_inside::{Content, detect};
/// let mut bytes = vec![0; 1 << 20];
/// assert_eq!(detect(&bytes)?, Content::Empty);
/// bytes[..4].copy_from_slice(b"XFSB");
/// assert_eq!(detect(&bytes)?.to_string(), "an XFS file system");
/// # Ok::<(), lucarne_inside::Error>(())
/// ```
pub fn detect(source: &dyn ReadAt) -> Result<Content, Error> {
    let head = read_up_to(source, 0, LOOKED_AT_LEN)?;
    if ext::is_there(&head) {
        return Ok(Content::Ext);
    }
    let found = SIGNATURES
        .iter()
        .find(|(at, magic, _)| part(&head, *at, magic.len()) == *magic);
    if let Some((_, _, what)) = found {
        return Ok(Content::Other(what));
    }
    // The first sector of a FAT bears the same signature as a partition table, so it comes first.
    if fat::is_there(&head) {
        return Ok(Content::Fat);
    }
    let is_table = [512, 4096]
        .iter()
        .any(|&sector| part(&head, sector, 8) == b"EFI PART");
    if is_table || is_mbr(&head) {
        return Ok(Content::PartitionTable);
    }
    if le64(&head, 0) <= 100_000_000 && u8_at(&head, 8) == b'{' {
        return Ok(Content::Safetensors);
    }
    Ok(match head.iter().all(|&byte| byte == 0) {
        true => Content::Empty,
        false => Content::Unknown,
    })
}

/// A partition table has partitions, and their first bytes say "active" or nothing.
fn is_mbr(head: &[u8]) -> bool {
    let entries = || (0..4).map(|index| part(head, 446 + 16 * index, 16));
    le16(head, 510) == 0xaa55
        && entries().all(|entry| u8_at(entry, 0) & 0x7f == 0)
        && entries().any(|entry| u8_at(entry, 4) != 0 && le32(entry, 12) != 0)
}
