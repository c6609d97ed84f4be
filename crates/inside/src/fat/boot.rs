//! The boot sector: sizes, and which of the three widths a table's entries have.

use std::ops::Range;

use crate::Error;
use crate::bytes::{le16, le32, part, text, u8_at};

/// Bits of an entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// What the boot sector says, in bytes from the file system's start.
#[derive(Debug, Clone)]
pub(super) struct Boot {
    pub(super) width: Width,
    pub(super) cluster_len: u64,
    pub(super) clusters: u64,
    /// The table that is in use.
    pub(super) table: Range<u64>,
    /// The root directory, where it has a place of its own; empty for FAT32.
    pub(super) root: Range<u64>,
    pub(super) root_cluster: Option<u64>,
    /// Where cluster 2 begins.
    pub(super) data_at: u64,
    pub(super) len: u64,
    pub(super) label: String,
}

/// Whether the head of a device (from byte 0) is the boot sector of a FAT.
pub(crate) fn is_there(head: &[u8]) -> bool {
    le16(head, 510) == 0xaa55
        && matches!(u8_at(head, 0), 0xeb | 0xe9)
        && Boot::parse(part(head, 0, 512)).is_ok()
}

impl Boot {
    pub(super) fn parse(sector: &[u8]) -> Result<Self, Error> {
        let refused =
            |what: &str, value: u64| Error::corrupt(format!("FAT boot sector: {what} {value}"));
        let either = |short: usize, long: usize| match le16(sector, short) {
            0 => u64::from(le32(sector, long)),
            value => u64::from(value),
        };
        let sector_len = u64::from(le16(sector, 11));
        if !matches!(sector_len, 512 | 1024 | 2048 | 4096) {
            return Err(refused("bytes in a sector", sector_len));
        }
        let per_cluster = u64::from(u8_at(sector, 13));
        if !per_cluster.is_power_of_two() {
            return Err(refused("sectors in a cluster", per_cluster));
        }
        let (reserved, tables) = (u64::from(le16(sector, 14)), u64::from(u8_at(sector, 16)));
        if reserved == 0 || !(1..=2).contains(&tables) {
            return Err(refused(
                "reserved sectors, or tables,",
                reserved.min(tables),
            ));
        }
        let media = u8_at(sector, 21);
        if media != 0xf0 && media < 0xf8 {
            return Err(refused("media", media.into()));
        }
        let (sectors, table_sectors) = (either(19, 32), either(22, 36));
        // All of these are sums of products of at most 48 bits.
        let root_sectors = (u64::from(le16(sector, 17)) * 32).div_ceil(sector_len);
        let root_sector = reserved + tables * table_sectors;
        let data_sector = root_sector + root_sectors;
        if table_sectors == 0 || data_sector >= sectors {
            return Err(refused("sectors", sectors));
        }
        let clusters = (sectors - data_sector) / per_cluster;
        let (width, bits) = match clusters {
            0 => return Err(refused("clusters", 0)),
            1..4085 => (Width::Bits12, 12),
            4085..65525 => (Width::Bits16, 16),
            65525..0x0fff_fff5 => (Width::Bits32, 32),
            _ => return Err(refused("clusters", clusters)),
        };
        let table_len = table_sectors * sector_len;
        let needed = ((clusters + 2) * bits).div_ceil(8);
        if needed > table_len {
            return Err(Error::corrupt(format!(
                "FAT boot sector: a table of {table_len} bytes for {clusters} clusters, which take {needed}"
            )));
        }
        let is_32 = width == Width::Bits32;
        let root_cluster = is_32.then(|| u64::from(le32(sector, 44)));
        let flags = le16(sector, 40);
        // FAT32 may have switched mirroring off: then one table is true.
        let active = match is_32 && flags & 0x80 != 0 {
            true => u64::from(flags & 0xf),
            false => 0,
        };
        if active >= tables {
            return Err(refused("active table", active));
        }
        let table_at = (reserved + active * table_sectors) * sector_len;
        Ok(Self {
            width,
            cluster_len: per_cluster * sector_len,
            clusters,
            table: table_at..table_at + table_len,
            root: root_sector * sector_len..data_sector * sector_len,
            root_cluster,
            data_at: data_sector * sector_len,
            len: sectors * sector_len,
            label: text(part(sector, if is_32 { 71 } else { 43 }, 11)),
        })
    }
}
