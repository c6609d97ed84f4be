//! What else a device may hold: another format's signature where the primary copy should be.
//!
//! A primary copy that is gone may have been damaged, or written over on purpose, by a file system or a partition
//! table of the device's next life. The secondary may still be there, and its volume is not what the owner sees: it is
//! used only when someone says so (`repair`). cryptsetup asks libblkid, which looks further into each format; a
//! signature alone is enough here.

/// Where a signature stands, what it is, whose it is.
const SIGNATURES: [(usize, &[u8], &str); 26] = [
    (0, b"XFSB", "XFS"),
    (0, b"hsqs", "squashfs"),
    (0, b"\xfc\x4e\x2b\xa9", "a Linux RAID member"),
    (0, b"LABELONE", "an LVM physical volume"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"-FVE-FS-", "BitLocker"),
    // A boot sector's end: FAT has it too.
    (510, b"\x55\xaa", "a partition table or a boot sector"),
    (512, b"EFI PART", "a GUID partition table"),
    (512, b"LABELONE", "an LVM physical volume"),
    (1024, b"LABELONE", "an LVM physical volume"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (1024, b"\xe2\xe1\xf5\xe0", "EROFS"),
    (1024, b"H+", "HFS+"),
    (1024, b"HX", "HFSX"),
    (1080, b"\x53\xef", "ext2, ext3 or ext4"),
    (1536, b"LABELONE", "an LVM physical volume"),
    (4086, b"SWAPSPACE2", "swap space"),
    (4086, b"SWAP-SPACE", "swap space"),
    (4096, b"EFI PART", "a GUID partition table"),
    (4096, b"\xfc\x4e\x2b\xa9", "a Linux RAID member"),
    (4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "bcache"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x8001, b"BEA01", "UDF"),
    (0x1_0034, b"ReIsEr", "ReiserFS"),
    (0x1_0040, b"_BHRfS_M", "Btrfs"),
];

/// The bytes of a device's start in which [`foreign_signature`] looks.
pub const FOREIGN_SEARCH_LEN_BYTES: u64 = 0x1_0048;

/// What else than a LUKS volume the first bytes of a device show it to be, of what is known here.
///
/// ```
/// use lucarne_format::luks2::foreign_signature;
/// let mut disk = vec![0; 4096];
/// assert_eq!(foreign_signature(&disk), None);
/// disk[512..520].copy_from_slice(b"EFI PART");
/// assert_eq!(foreign_signature(&disk), Some("a GUID partition table"));
/// ```
#[must_use]
pub fn foreign_signature(start: &[u8]) -> Option<&'static str> {
    SIGNATURES.iter().find_map(|&(offset, magic, name)| {
        start
            .get(offset..)
            .is_some_and(|bytes| bytes.starts_with(magic))
            .then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_found_where_they_stand() {
        for (offset, magic, name) in SIGNATURES {
            let len = usize::try_from(FOREIGN_SEARCH_LEN_BYTES).unwrap();
            assert!(offset + magic.len() <= len, "{name}");
            let mut start = vec![0; len];
            assert_eq!(foreign_signature(&start), None);
            start[offset..offset + magic.len()].copy_from_slice(magic);
            assert_eq!(foreign_signature(&start), Some(name));
            assert_eq!(foreign_signature(&start[..offset + magic.len() - 1]), None);
            start[offset] ^= 0x80;
            assert_eq!(foreign_signature(&start), None);
        }
    }
}
