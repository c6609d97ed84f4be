//! How a zone's old bytes survive a crash.

use super::checksums::Checksums;

/// How the old bytes of a zone survive a crash.
pub(super) enum Protection {
    None,
    /// By their hashes in the area.
    Checksums(Checksums),
    /// In the area.
    Journal,
    /// They stay where they are, and the new ones go elsewhere.
    Shift,
}

impl Protection {
    /// How many bytes an area protects at once, in units of how many.
    pub(super) fn limit(&self, area_len: u64, alignment: u64) -> (u64, u64) {
        match self {
            Self::None | Self::Shift => (u64::MAX, alignment),
            Self::Journal => (area_len, alignment),
            Self::Checksums(checksums) => {
                let blocks = area_len / checksums.hash_len() as u64;
                let block_len = checksums.block_len as u64;
                (blocks.saturating_mul(block_len), block_len)
            }
        }
    }
}
