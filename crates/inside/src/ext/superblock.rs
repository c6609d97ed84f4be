//! The superblock: 1024 bytes at byte 1024 (kernel documentation, `filesystems/ext4/super.rst`).

use crate::Error;
use crate::bytes::{le16, le32, part, text, u8_at};
use crate::crc::crc32c;

pub(super) const AT: u64 = 1024;
pub(super) const LEN: usize = 1024;

const MAGIC: u16 = 0xef53;

/// Features without which nothing can be read, by bit.
mod incompat {
    pub(super) const COMPRESSION: u32 = 0x1;
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const JOURNAL_DEVICE: u32 = 0x8;
    pub(super) const META_BG: u32 = 0x10;
    pub(super) const EXTENTS: u32 = 0x40;
    pub(super) const BIT64: u32 = 0x80;
    pub(super) const CSUM_SEED: u32 = 0x2000;
    /// file types in directories, extents, 64bit, MMP, flex_bg, EA inodes, seed, large directories, inline data,
    /// encryption (which is refused file by file), case folding; and those above that are read.
    pub(super) const READ: u32 = 0x2
        | RECOVER
        | META_BG
        | EXTENTS
        | BIT64
        | 0x100
        | 0x200
        | 0x400
        | CSUM_SEED
        | 0x4000
        | 0x8000
        | 0x1_0000
        | 0x2_0000;
}

const RO_METADATA_CSUM: u32 = 0x400;
const RO_SPARSE_SUPER: u32 = 0x1;
const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;

/// What of it is needed to find inodes.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) block_len: u32,
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    pub(super) first_data_block: u32,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_len: u16,
    pub(super) descriptor_len: u16,
    pub(super) is_64bit: bool,
    /// The block group from which on each meta group keeps its own descriptors.
    first_meta_group: Option<u32>,
    is_sparse: bool,
    backup_groups: Option<[u32; 2]>,
    /// What checksums begin with, where there are any.
    pub(super) checksum_seed: Option<u32>,
    /// The journal's inode, where changes wait in it.
    pub(super) unfinished_journal: Option<u32>,
    has_journal: bool,
    has_extents: bool,
    pub(super) label: String,
}

/// Whether the head of a device (from byte 0) has the signature.
pub(crate) fn is_there(head: &[u8]) -> bool {
    let superblock = part(head, AT as usize, LEN);
    le16(superblock, 0x38) == MAGIC && le32(superblock, 0x18) <= 6 && le32(superblock, 0) != 0
}

impl Superblock {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let field = |at| le32(bytes, at);
        if le16(bytes, 0x38) != MAGIC {
            return Err(Error::corrupt("no ext superblock"));
        }
        let (compat, incompat, ro_compat) = match field(0x4c) {
            0 => (0, 0, 0),
            _ => (field(0x5c), field(0x60), field(0x64)),
        };
        check_features(incompat)?;
        let log_block_len = field(0x18);
        if log_block_len > 6 {
            return Err(Error::corrupt(format!(
                "ext block size 2^{} bytes, the largest is 65536",
                u64::from(log_block_len) + 10
            )));
        }
        let block_len = 1024_u32 << log_block_len;
        let is_64bit = incompat & incompat::BIT64 != 0;
        let high = if is_64bit { field(0x150) } else { 0 };
        let superblock = Self {
            block_len,
            blocks: crate::bytes::joined(high, field(0x4)),
            inodes: field(0x0),
            first_data_block: field(0x14),
            blocks_per_group: field(0x20),
            inodes_per_group: field(0x28),
            inode_len: match field(0x4c) {
                0 => 128,
                _ => le16(bytes, 0x58),
            },
            descriptor_len: match is_64bit {
                true => le16(bytes, 0xfe),
                false => 32,
            },
            is_64bit,
            first_meta_group: (incompat & incompat::META_BG != 0).then(|| field(0x104)),
            is_sparse: ro_compat & RO_SPARSE_SUPER != 0,
            backup_groups: (compat & COMPAT_SPARSE_SUPER2 != 0)
                .then(|| [field(0x24c), field(0x250)]),
            checksum_seed: (ro_compat & RO_METADATA_CSUM != 0).then(|| {
                match incompat & incompat::CSUM_SEED != 0 {
                    true => field(0x270),
                    false => crc32c(!0, part(bytes, 0x68, 16)),
                }
            }),
            unfinished_journal: (incompat & incompat::RECOVER != 0
                && compat & COMPAT_HAS_JOURNAL != 0)
                .then(|| field(0xe0)),
            has_journal: compat & COMPAT_HAS_JOURNAL != 0,
            has_extents: incompat & incompat::EXTENTS != 0,
            label: text(part(bytes, 0x78, 16)),
        };
        superblock.check()?;
        if superblock.checksum_seed.is_some() {
            if u8_at(bytes, 0x175) != 1 {
                return Err(Error::unsupported(format!(
                    "ext4 checksums of type {}",
                    u8_at(bytes, 0x175)
                )));
            }
            if crc32c(!0, part(bytes, 0, 0x3fc)) != field(0x3fc) {
                return Err(Error::corrupt("checksum of the ext4 superblock"));
            }
        }
        Ok(superblock)
    }

    fn check(&self) -> Result<(), Error> {
        let refused =
            |what: &str, value: u64| Err(Error::corrupt(format!("ext superblock: {what} {value}")));
        if !(128..=self.block_len).contains(&u32::from(self.inode_len))
            || !self.inode_len.is_power_of_two()
        {
            return refused("inode size", self.inode_len.into());
        }
        let smallest = if self.is_64bit { 64 } else { 32 };
        if !(smallest..=1024).contains(&self.descriptor_len)
            || !self.descriptor_len.is_power_of_two()
        {
            return refused("descriptor size", self.descriptor_len.into());
        }
        // One bit a block, and an inode, in one block; a cluster may be several blocks.
        if self.blocks_per_group == 0 {
            return refused("blocks per group", 0);
        }
        if self.inodes_per_group == 0 || self.inodes_per_group > 8 * self.block_len {
            return refused("inodes per group", self.inodes_per_group.into());
        }
        if u64::from(self.first_data_block) >= self.blocks {
            return refused("first data block", self.first_data_block.into());
        }
        if self.blocks.checked_mul(self.block_len.into()).is_none() {
            return refused("blocks", self.blocks);
        }
        Ok(())
    }

    /// Which of the three it is, by what mke2fs gives each.
    pub(super) fn version(&self) -> &'static str {
        match (
            self.has_extents || self.checksum_seed.is_some() || self.is_64bit,
            self.has_journal,
        ) {
            (true, _) => "ext4",
            (false, true) => "ext3",
            (false, false) => "ext2",
        }
    }

    /// The block and the byte in it where a group's descriptor lies.
    pub(super) fn descriptor_place(&self, group: u32) -> (u64, usize) {
        let per_block = self.block_len / u32::from(self.descriptor_len);
        let table_block = group / per_block;
        let byte = (group % per_block * u32::from(self.descriptor_len)) as usize;
        // Block 0 is the boot sector's where blocks are as small as that, whatever the first data block is.
        let superblock_block = u64::from(self.block_len == 1024);
        let block = match self.first_meta_group {
            Some(first) if table_block >= first => {
                let first_group = u64::from(table_block) * u64::from(per_block);
                let start = u64::from(self.first_data_block)
                    .saturating_add(first_group.saturating_mul(self.blocks_per_group.into()));
                let is_behind_boot = table_block == 0 && self.first_data_block == 0;
                start
                    + u64::from(self.has_backup(first_group))
                    + superblock_block * u64::from(is_behind_boot)
            }
            _ => superblock_block + 1 + u64::from(table_block),
        };
        (block, byte)
    }

    /// Whether a group begins with a copy of the superblock.
    fn has_backup(&self, group: u64) -> bool {
        let is_power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        match self.backup_groups {
            _ if group == 0 => true,
            Some(groups) => groups.map(u64::from).contains(&group),
            None => !self.is_sparse || group == 1 || [3, 5, 7].into_iter().any(is_power_of),
        }
    }
}

fn check_features(incompat: u32) -> Result<(), Error> {
    let name = match incompat & !incompat::READ {
        0 => return Ok(()),
        bits if bits & incompat::COMPRESSION != 0 => "compression".into(),
        bits if bits & incompat::JOURNAL_DEVICE != 0 => "a journal's own device".into(),
        bits => format!("features {bits:#x}"),
    };
    Err(Error::unsupported(format!(
        "an ext file system with {name}: mount it through lucarne serve (--nbd, --fuse)"
    )))
}
