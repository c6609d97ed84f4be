//! Inodes (kernel documentation, `filesystems/ext4/inodes.rst`, `inlinedata`, `attributes.rst`).

use lucarne_storage::ReadAt;

use super::Ext;
use crate::Error;
use crate::bytes::{joined, le16, le32, part, u8_at};
use crate::crc::crc32c;
use crate::node::{Id, Kind, Node};

const FLAG_ENCRYPTED: u32 = 0x800;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// Bytes of the place that holds a block map, the root of an extent tree, or a few bytes of the file.
pub(super) const ROOT_LEN: usize = 60;
const ROOT_AT: usize = 0x28;
/// Where fields begin that old inodes do not have.
const EXTRA_AT: usize = 128;

/// An inode.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(super) number: u32,
    kind: Kind,
    mode: u16,
    user: u32,
    group: u32,
    pub(super) len: u64,
    modified: i64,
    flags: u32,
    /// What checksums of its blocks begin with.
    pub(super) checksum_seed: Option<u32>,
    pub(super) root: [u8; ROOT_LEN],
    /// What lies behind the fields: extended attributes.
    attributes: Vec<u8>,
}

impl Inode {
    pub(super) fn read(ext: &Ext, source: &dyn ReadAt, number: u32) -> Result<Self, Error> {
        let superblock = &ext.superblock;
        if number == 0 || number > superblock.inodes {
            return Err(Error::corrupt(format!(
                "inode {number}, the file system has {}",
                superblock.inodes
            )));
        }
        let (group, index) = (
            (number - 1) / superblock.inodes_per_group,
            (number - 1) % superblock.inodes_per_group,
        );
        let (block, at) = superblock.descriptor_place(group);
        let descriptors = ext.block(source, block)?;
        let descriptor = part(&descriptors, at, superblock.descriptor_len.into());
        let high = match superblock.is_64bit {
            true => le32(descriptor, 0x28),
            false => 0,
        };
        let table = joined(high, le32(descriptor, 0x8));
        let byte = u64::from(index) * u64::from(superblock.inode_len);
        let block = table.checked_add(byte / ext.block_len());
        let block = block.ok_or_else(|| Error::corrupt(format!("inode table at block {table}")))?;
        ext.check_blocks(block, 1, &format_args!("inode {number}"))?;
        let block = ext.block(source, block)?;
        // An inode never crosses a block: its size is a power of two, and at most a block's.
        let at = (byte % ext.block_len()) as usize;
        let bytes = part(&block, at, superblock.inode_len.into());
        Self::parse(number, bytes, superblock.checksum_seed)
    }

    fn parse(number: u32, bytes: &[u8], seed: Option<u32>) -> Result<Self, Error> {
        let extra_len = match bytes.len() > EXTRA_AT {
            true => usize::from(le16(bytes, EXTRA_AT)).min(bytes.len() - EXTRA_AT),
            false => 0,
        };
        let has = |at: usize, len: usize| EXTRA_AT + extra_len >= at + len;
        let checksum_seed = seed.map(|seed| {
            let seed = crc32c(seed, &number.to_le_bytes());
            crc32c(seed, part(bytes, 0x64, 4))
        });
        if let Some(seed) = checksum_seed {
            check_checksum(number, bytes, seed, has(0x82, 2))?;
        }
        let mode = le16(bytes, 0);
        let kind = match mode >> 12 {
            0x1 => Kind::Fifo,
            0x2 => Kind::CharacterDevice,
            0x4 => Kind::Directory,
            0x6 => Kind::BlockDevice,
            0x8 => Kind::File,
            0xa => Kind::Link,
            0xc => Kind::Socket,
            _ => return Err(Error::corrupt(format!("inode {number}: mode {mode:#o}"))),
        };
        // 32 bits from 1970 on, signed; two more bits above them where there is room.
        let epoch = match has(0x88, 4) {
            true => i64::from(le32(bytes, 0x88) & 3) << 32,
            false => 0,
        };
        let mut root = [0; ROOT_LEN];
        root.copy_from_slice(&padded::<ROOT_LEN>(part(bytes, ROOT_AT, ROOT_LEN)));
        Ok(Self {
            number,
            kind,
            mode: mode & 0o7777,
            user: u32::from(le16(bytes, 0x78)) << 16 | u32::from(le16(bytes, 0x2)),
            group: u32::from(le16(bytes, 0x7a)) << 16 | u32::from(le16(bytes, 0x18)),
            len: joined(le32(bytes, 0x6c), le32(bytes, 0x4)),
            modified: i64::from(le32(bytes, 0x10) as i32) + epoch,
            flags: le32(bytes, 0x20),
            checksum_seed,
            root,
            attributes: part(bytes, EXTRA_AT + extra_len, bytes.len()).to_vec(),
        })
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    pub(super) fn has_inline_data(&self) -> bool {
        self.flags & FLAG_INLINE_DATA != 0
    }

    pub(super) fn refuse_encrypted(&self) -> Result<(), Error> {
        match self.flags & FLAG_ENCRYPTED {
            0 => Ok(()),
            _ => Err(Error::unsupported(format!(
                "inode {} is encrypted by the file system (fscrypt)",
                self.number
            ))),
        }
    }

    pub(crate) fn node(&self) -> Node {
        Node {
            id: Id(self.number.into()),
            kind: self.kind,
            len: self.len,
            mode: self.mode,
            user: self.user,
            group: self.group,
            modified: Some(self.modified),
        }
    }

    /// The target of a symbolic link that needs no block.
    pub(super) fn fast_link(&self) -> Option<&[u8]> {
        let is_fast = self.flags & (FLAG_EXTENTS | FLAG_INLINE_DATA | FLAG_ENCRYPTED) == 0;
        let len = usize::try_from(self.len).ok()?;
        (is_fast && (1..ROOT_LEN).contains(&len)).then(|| &self.root[..len])
    }

    /// The second part of inline data: the value of the attribute `system.data`.
    pub(super) fn inline_rest(&self) -> &[u8] {
        const MAGIC: u32 = 0xea02_0000;
        const SYSTEM: u8 = 7;
        let bytes = &self.attributes[..];
        if le32(bytes, 0) != MAGIC {
            return &[];
        }
        // Offsets of values count from the first entry.
        let entries = part(bytes, 4, bytes.len());
        let mut at = 0;
        while le32(entries, at) != 0 {
            let name_len = usize::from(u8_at(entries, at));
            if u8_at(entries, at + 1) == SYSTEM && part(entries, at + 16, name_len) == b"data" {
                let (value_at, inode) = (le16(entries, at + 2), le32(entries, at + 4));
                let len = usize::try_from(le32(entries, at + 8)).unwrap_or(usize::MAX);
                return match inode {
                    0 => part(entries, value_at.into(), len),
                    _ => &[],
                };
            }
            at += (16 + name_len).next_multiple_of(4);
        }
        &[]
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    let len = bytes.len().min(N);
    array[..len].copy_from_slice(&bytes[..len]);
    array
}

fn check_checksum(number: u32, bytes: &[u8], seed: u32, has_high: bool) -> Result<(), Error> {
    const LOW_AT: usize = 0x7c;
    const HIGH_AT: usize = 0x82;
    let mut zeroed = bytes.to_vec();
    let mut stored = u32::from(le16(bytes, LOW_AT));
    let mut mask = 0xffff;
    if let Some(low) = zeroed.get_mut(LOW_AT..LOW_AT + 2) {
        low.fill(0);
    }
    if let (true, Some(high)) = (has_high, zeroed.get_mut(HIGH_AT..HIGH_AT + 2)) {
        high.fill(0);
        stored |= u32::from(le16(bytes, HIGH_AT)) << 16;
        mask = u32::MAX;
    }
    if crc32c(seed, &zeroed) & mask != stored {
        return Err(Error::corrupt(format!("checksum of inode {number}")));
    }
    Ok(())
}
