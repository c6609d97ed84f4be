//! Where a file's blocks lie: extent trees and block maps (kernel documentation, `filesystems/ext4/ifork.rst`).

use lucarne_storage::ReadAt;

use super::Ext;
use super::inode::{Inode, ROOT_LEN};
use crate::Error;
use crate::bytes::{joined, le16, le32, part};
use crate::crc::crc32c;
use crate::layout::{Collector, Layout, Place};

const EXTENT_MAGIC: u16 = 0xf30a;
/// Levels under the root.
const MAX_DEPTH: u16 = 5;
/// Longer ones are of blocks that were set aside and never written: zeros.
const MAX_WRITTEN_LEN: u16 = 32768;
/// Pointers in the inode before those of blocks of pointers.
const DIRECT: u32 = 12;

pub(super) fn layout(ext: &Ext, source: &dyn ReadAt, inode: &Inode) -> Result<Layout, Error> {
    inode.refuse_encrypted()?;
    if inode.has_inline_data() {
        return Ok(Layout::Inline(inline(inode)?));
    }
    let walk = Walk {
        ext,
        source,
        inode,
        pieces: Collector::new(inode.len),
        next_block: 0,
    };
    if inode.has_extents() {
        walk.extents()
    } else {
        walk.map()
    }
}

/// The bytes of a file that lie in its inode.
pub(super) fn inline(inode: &Inode) -> Result<Vec<u8>, Error> {
    let rest = inode.inline_rest();
    let mut bytes = inode.root.to_vec();
    bytes.extend_from_slice(rest);
    match usize::try_from(inode.len) {
        Ok(len) if len <= bytes.len() => bytes.truncate(len),
        _ => {
            return Err(Error::corrupt(format!(
                "inode {}: {} bytes, {} of them in the inode",
                inode.number,
                inode.len,
                bytes.len()
            )));
        }
    }
    Ok(bytes)
}

struct Walk<'a> {
    ext: &'a Ext,
    source: &'a dyn ReadAt,
    inode: &'a Inode,
    pieces: Collector,
    /// The first of the file's blocks that may come now.
    next_block: u64,
}

impl Walk<'_> {
    fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("inode {}: {what}", self.inode.number))
    }

    fn extents(mut self) -> Result<Layout, Error> {
        let root = self.inode.root;
        let depth = le16(&root, 6);
        if depth > MAX_DEPTH {
            return Err(self.corrupt(format!(
                "extents of {depth} levels, the limit is {MAX_DEPTH}"
            )));
        }
        self.extent_node(&root, depth, true)?;
        Ok(self.pieces.finish())
    }

    /// Every node but the root has an entry, and every extent lies behind the last one: so the work is bounded by
    /// the number of extents, whatever leads to what.
    fn extent_node(&mut self, node: &[u8], depth: u16, is_root: bool) -> Result<(), Error> {
        let (magic, entries, max) = (le16(node, 0), le16(node, 2), le16(node, 4));
        let room = (node.len() - 12) / 12;
        if magic != EXTENT_MAGIC || le16(node, 6) != depth {
            return Err(self.corrupt("a node of its extents is none"));
        }
        if entries > max || usize::from(max) > room || (entries == 0 && !is_root) {
            return Err(self.corrupt(format!("{entries} extents in a node of {max}")));
        }
        for entry in node[12..].chunks_exact(12).take(entries.into()) {
            let block = u64::from(le32(entry, 0));
            if depth == 0 {
                self.extent(block, entry)?;
                continue;
            }
            if block < self.next_block {
                return Err(self.corrupt(format!("extents of block {block} are out of order")));
            }
            let child = joined(le16(entry, 8).into(), le32(entry, 4));
            self.ext
                .check_blocks(child, 1, &format_args!("inode {}", self.inode.number))?;
            let bytes = self.ext.block(self.source, child)?;
            self.check_node(&bytes)?;
            self.extent_node(&bytes, depth - 1, false)?;
        }
        Ok(())
    }

    /// The checksum behind the entries.
    fn check_node(&self, node: &[u8]) -> Result<(), Error> {
        let Some(seed) = self.inode.checksum_seed else {
            return Ok(());
        };
        let at = 12 + 12 * usize::from(le16(node, 4));
        if crc32c(seed, part(node, 0, at)) != le32(node, at) {
            return Err(self.corrupt("checksum of a node of its extents"));
        }
        Ok(())
    }

    fn extent(&mut self, block: u64, entry: &[u8]) -> Result<(), Error> {
        let given = le16(entry, 4);
        let (count, is_written) = match given > MAX_WRITTEN_LEN {
            true => (given - MAX_WRITTEN_LEN, false),
            false => (given, true),
        };
        if count == 0 || block < self.next_block {
            return Err(self.corrupt(format!("extent of {count} blocks at block {block}")));
        }
        self.next_block = block + u64::from(count);
        if !is_written {
            return Ok(());
        }
        let first = joined(le16(entry, 6).into(), le32(entry, 8));
        self.push(block, first, count.into())
    }

    /// Blocks `first..first + count` of the file system are the file's from `block` on.
    fn push(&mut self, block: u64, first: u64, count: u64) -> Result<(), Error> {
        self.ext
            .check_blocks(first, count, &format_args!("inode {}", self.inode.number))?;
        let block_len = self.ext.block_len();
        // Of a file's 2^32 blocks of at most 2^16 bytes no offset overflows.
        let (mut done, end) = (0, first + count);
        for (at, place) in self.ext.replayed.range(first..end) {
            let before = at - first - done;
            if before > 0 {
                let place_before = Place::At((first + done) * block_len);
                self.pieces
                    .push((block + done) * block_len, before * block_len, place_before)?;
            }
            done = at - first;
            self.pieces
                .push((block + done) * block_len, block_len, place)?;
            done += 1;
        }
        if done == count {
            return Ok(());
        }
        let place = Place::At((first + done) * block_len);
        self.pieces.push(
            (block + done) * block_len,
            (count - done) * block_len,
            place,
        )
    }

    fn map(mut self) -> Result<Layout, Error> {
        let root = self.inode.root;
        let blocks = self.inode.len.div_ceil(self.ext.block_len());
        if blocks > u64::from(u32::MAX) {
            return Err(self.corrupt(format!(
                "{} bytes, more than a map can hold",
                self.inode.len
            )));
        }
        for index in 0..(ROOT_LEN / 4) as u32 {
            if self.next_block >= blocks {
                break;
            }
            let pointer = le32(&root, 4 * index as usize);
            self.pointer(pointer, index.saturating_sub(DIRECT - 1), blocks)?;
        }
        Ok(self.pieces.finish())
    }

    /// What a pointer leads to: a block of the file, or `level` levels of blocks of pointers.
    fn pointer(&mut self, pointer: u32, level: u32, blocks: u64) -> Result<(), Error> {
        let per_block = self.ext.block_len() / 4;
        let covered = per_block.saturating_pow(level);
        if pointer == 0 {
            self.next_block = self.next_block.saturating_add(covered);
            return Ok(());
        }
        if level == 0 {
            self.push(self.next_block, pointer.into(), 1)?;
            self.next_block += 1;
            return Ok(());
        }
        self.ext.check_blocks(
            pointer.into(),
            1,
            &format_args!("inode {}", self.inode.number),
        )?;
        let bytes = self.ext.block(self.source, pointer.into())?;
        for entry in bytes.chunks_exact(4) {
            if self.next_block >= blocks {
                break;
            }
            self.pointer(le32(entry, 0), level - 1, blocks)?;
        }
        Ok(())
    }
}
