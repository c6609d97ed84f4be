//! Changes that wait in the journal (kernel documentation, `filesystems/ext4/journal.rst`): a file system that was
//! not unmounted is read as if they had been written to their places, which they are not.
//!
//! As in the kernel, three passes: how far whole transactions reach; which blocks they revoke; which blocks they
//! bring. Transactions follow each other by number, each descriptor block with the blocks that it brings behind it,
//! a commit block at the end; at the end of the journal they go on at its start.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use lucarne_storage::ReadAt;

use super::{Ext, blocks};
use crate::bytes::{be16, be32, joined, part};
use crate::crc::crc32c;
use crate::layout::{Layout, Place};
use crate::{Error, File};

pub(super) const MAGIC: u32 = 0xc03b_3998;

/// More than any journal's that mke2fs makes of 4096-byte blocks; each takes some forty bytes of memory.
const MAX_BLOCKS: u32 = 1 << 21;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

const FEATURE_REVOKE: u32 = 0x1;
const FEATURE_64BIT: u32 = 0x2;
const FEATURE_CSUM_V2: u32 = 0x8;
const FEATURE_CSUM_V3: u32 = 0x10;
const FEATURE_FAST_COMMIT: u32 = 0x20;
const READ_FEATURES: u32 =
    FEATURE_REVOKE | FEATURE_64BIT | FEATURE_CSUM_V2 | FEATURE_CSUM_V3 | FEATURE_FAST_COMMIT;

const TAG_ESCAPED: u16 = 0x1;
const TAG_SAME_UUID: u16 = 0x2;
const TAG_LAST: u16 = 0x8;

/// Where blocks lie whose newest content is in the journal.
#[derive(Debug, Default)]
pub(super) struct Replayed(BTreeMap<u64, Place>);

impl Replayed {
    pub(super) fn get(&self, block: u64) -> Option<Place> {
        self.0.get(&block).copied()
    }

    pub(super) fn range(&self, blocks: Range<u64>) -> impl Iterator<Item = (u64, Place)> {
        self.0.range(blocks).map(|(&block, &place)| (block, place))
    }
}

pub(super) fn replay(ext: &Ext, source: &dyn ReadAt, inode: u32) -> Result<Replayed, Error> {
    let inode = ext.inode(source, inode)?;
    let layout = blocks::layout(ext, source, &inode)?;
    let Some(journal) = Journal::open(ext, source, layout)? else {
        return Ok(Replayed::default());
    };
    let end = journal.transactions(|_, _| Ok(()))?;
    journal.refuse_fast_commits(end)?;
    let mut revoked = HashMap::new();
    journal.transactions_until(end, |sequence, event| {
        if let Event::Revoked(block) = event {
            revoked.insert(block, sequence);
        }
        Ok(())
    })?;
    let mut replayed = BTreeMap::new();
    journal.transactions_until(end, |sequence, event| {
        let Event::Block { block, place } = event else {
            return Ok(());
        };
        // Sequence numbers wrap.
        let is_revoked = revoked
            .get(&block)
            .is_some_and(|&by: &u32| by.wrapping_sub(sequence) as i32 >= 0);
        if is_revoked {
            return Ok(());
        }
        ext.check_blocks(block.max(1), 1, &"the journal")?;
        replayed.insert(block, place);
        Ok(())
    })?;
    Ok(Replayed(replayed))
}

enum Event {
    Revoked(u64),
    Block { block: u64, place: Place },
}

struct Journal<'a> {
    file: File<'a>,
    layout: Layout,
    block_len: usize,
    /// Blocks of transactions: the others are the journal's own, or fast commits.
    blocks: Range<u32>,
    fast_commits: Option<u32>,
    start: u32,
    sequence: u32,
    features: u32,
    checksum_seed: u32,
}

impl<'a> Journal<'a> {
    /// `None` where nothing waits in it.
    fn open(ext: &Ext, source: &'a dyn ReadAt, layout: Layout) -> Result<Option<Self>, Error> {
        let file = File::new(source, layout.clone());
        let block_len = ext.block_len() as usize;
        let mut head = vec![0; 1024];
        read(&file, &mut head, 0)?;
        let kind = be32(&head, 4);
        if be32(&head, 0) != MAGIC || !(3..=4).contains(&kind) {
            return Err(Error::corrupt(
                "the journal does not begin with its superblock",
            ));
        }
        let (features, checksum_type) = match kind {
            3 => (0, 0),
            _ => (be32(&head, 0x28), crate::bytes::u8_at(&head, 0x50)),
        };
        if features & !READ_FEATURES != 0 {
            return Err(Error::unsupported(format!(
                "a journal with features {features:#x}: mount the file system through lucarne serve (--nbd, --fuse)"
            )));
        }
        let has_checksums = features & (FEATURE_CSUM_V2 | FEATURE_CSUM_V3) != 0;
        if has_checksums {
            let stored = be32(&head, 0xfc);
            let mut zeroed = head.clone();
            zeroed[0xfc..0x100].fill(0);
            if checksum_type != 4 || crc32c(!0, &zeroed) != stored {
                return Err(Error::corrupt("checksum of the journal's superblock"));
            }
        }
        let (len, first, start) = (be32(&head, 0x10), be32(&head, 0x14), be32(&head, 0x1c));
        let file_blocks = file.len() / block_len as u64;
        if be32(&head, 0xc) as usize != block_len
            || u64::from(len) > file_blocks
            || len > MAX_BLOCKS
        {
            return Err(Error::corrupt(format!(
                "a journal of {len} blocks of {} bytes in a file of {file_blocks} blocks; at most {MAX_BLOCKS} are read",
                be32(&head, 0xc)
            )));
        }
        if start == 0 {
            return Ok(None);
        }
        let fast_commit_len = match features & FEATURE_FAST_COMMIT {
            0 => 0,
            // 256 unless it says otherwise.
            _ => match be32(&head, 0x54) {
                0 => 256,
                len => len,
            },
        };
        let end = len.saturating_sub(fast_commit_len);
        if first == 0 || !(first..end).contains(&start) {
            return Err(Error::corrupt(format!(
                "the journal starts at block {start}, its blocks are {first} to {end}"
            )));
        }
        Ok(Some(Self {
            file,
            layout,
            block_len,
            blocks: first..end,
            fast_commits: (fast_commit_len > 0).then_some(end),
            start,
            sequence: be32(&head, 0x18),
            features,
            checksum_seed: crc32c(!0, part(&head, 0x30, 16)),
        }))
    }

    fn has(&self, features: u32) -> bool {
        self.features & features != 0
    }

    fn has_checksums(&self) -> bool {
        self.has(FEATURE_CSUM_V2 | FEATURE_CSUM_V3)
    }

    fn block(&self, index: u32, block: &mut [u8]) -> Result<(), Error> {
        read(&self.file, block, u64::from(index) * self.block_len as u64)
    }

    /// Where a block of the journal lies in the file system.
    fn place(&self, index: u32) -> Option<u64> {
        let at = u64::from(index) * self.block_len as u64;
        let Layout::Extents { extents, .. } = &self.layout else {
            return None;
        };
        let next = extents.partition_point(|extent| extent.start + extent.len <= at);
        let extent = extents.get(next).filter(|extent| extent.start <= at)?;
        match extent.place {
            Place::At(place) => Some(place + (at - extent.start)),
            Place::Escaped(_) => None,
        }
    }

    /// Goes through all whole transactions; returns the number of the first that is not.
    fn transactions(
        &self,
        seen: impl FnMut(u32, Event) -> Result<(), Error>,
    ) -> Result<u32, Error> {
        self.walk(None, seen)
    }

    fn transactions_until(
        &self,
        end: u32,
        seen: impl FnMut(u32, Event) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.walk(Some(end), seen).map(|_| ())
    }

    fn walk(
        &self,
        end: Option<u32>,
        mut seen: impl FnMut(u32, Event) -> Result<(), Error>,
    ) -> Result<u32, Error> {
        let (mut index, mut sequence) = (self.start, self.sequence);
        let mut block = vec![0; self.block_len];
        // All of its blocks once, and no block twice.
        let mut left = self.blocks.end - self.blocks.start;
        let mut step = |index: &mut u32| {
            *index = match *index + 1 {
                next if next >= self.blocks.end => self.blocks.start,
                next => next,
            };
            left = left.saturating_sub(1);
            left > 0
        };
        while end != Some(sequence) {
            self.block(index, &mut block)?;
            if be32(&block, 0) != MAGIC || be32(&block, 8) != sequence {
                break;
            }
            let mut goes_on = true;
            match be32(&block, 4) {
                DESCRIPTOR => {
                    if !self.is_whole(&block) {
                        break;
                    }
                    for tag in self.tags(&block) {
                        goes_on &= step(&mut index);
                        if !goes_on {
                            break;
                        }
                        if end.is_some() {
                            let place = self.tagged(&tag, index, sequence)?;
                            let block = tag.block;
                            seen(sequence, Event::Block { block, place })?;
                        }
                    }
                }
                REVOKE => {
                    if !self.is_whole(&block) {
                        break;
                    }
                    for revoked in self.revoked(&block) {
                        seen(sequence, Event::Revoked(revoked))?;
                    }
                }
                COMMIT => {
                    if !self.is_committed(&block) {
                        break;
                    }
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
            if !goes_on || !step(&mut index) {
                break;
            }
        }
        Ok(sequence)
    }

    /// The checksum in the last four bytes of a block of tags or of revoked blocks.
    fn is_whole(&self, block: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let at = block.len() - 4;
        let crc = crc32c(self.checksum_seed, &block[..at]);
        crc32c(crc, &[0; 4]) == be32(block, at)
    }

    fn is_committed(&self, block: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let mut zeroed = block.to_vec();
        zeroed[16..20].fill(0);
        crc32c(self.checksum_seed, &zeroed) == be32(block, 16)
    }

    /// Where the records of a block end: before its checksum, if it has one.
    fn records_end(&self, block: &[u8]) -> usize {
        block.len() - if self.has_checksums() { 4 } else { 0 }
    }

    fn tags(&self, block: &[u8]) -> Vec<Tag> {
        let is_64bit = self.has(FEATURE_64BIT);
        let tag_len = match (self.has(FEATURE_CSUM_V3), self.has(FEATURE_CSUM_V2)) {
            (true, _) => 16,
            (false, has_v2) => 8 + 4 * usize::from(is_64bit) + 2 * usize::from(has_v2),
        };
        let mut tags = Vec::new();
        let (mut at, end) = (12, self.records_end(block));
        while at + tag_len <= end {
            let high = if is_64bit { be32(block, at + 8) } else { 0 };
            let (flags, checksum) = match self.has(FEATURE_CSUM_V3) {
                true => (be32(block, at + 4) as u16, be32(block, at + 12)),
                false => (be16(block, at + 6), be16(block, at + 4).into()),
            };
            tags.push(Tag {
                block: joined(high, be32(block, at)),
                is_escaped: flags & TAG_ESCAPED != 0,
                checksum,
            });
            if flags & TAG_LAST != 0 {
                break;
            }
            at += tag_len;
            if flags & TAG_SAME_UUID == 0 {
                at += 16;
            }
        }
        tags
    }

    fn revoked(&self, block: &[u8]) -> Vec<u64> {
        let len = match self.has(FEATURE_64BIT) {
            true => 8,
            false => 4,
        };
        let end = (be32(block, 12) as usize).min(self.records_end(block));
        let records = block.get(16..end).unwrap_or_default();
        records
            .chunks_exact(len)
            .map(|record| match len {
                8 => joined(be32(record, 0), be32(record, 4)),
                _ => be32(record, 0).into(),
            })
            .collect()
    }

    /// Checks the block that a tag describes, and says where it lies.
    fn tagged(&self, tag: &Tag, index: u32, sequence: u32) -> Result<Place, Error> {
        if self.has_checksums() {
            let mut block = vec![0; self.block_len];
            self.block(index, &mut block)?;
            let crc = crc32c(self.checksum_seed, &sequence.to_be_bytes());
            let crc = crc32c(crc, &block);
            let expected = match self.has(FEATURE_CSUM_V3) {
                true => crc,
                false => crc & 0xffff,
            };
            if expected != tag.checksum {
                return Err(Error::corrupt(format!(
                    "checksum of block {index} of the journal, which has the newest block {}",
                    tag.block
                )));
            }
        }
        let place = self.place(index);
        let place = place
            .ok_or_else(|| Error::corrupt(format!("block {index} of the journal is nowhere")))?;
        Ok(match tag.is_escaped {
            true => Place::Escaped(place),
            false => Place::At(place),
        })
    }

    /// Changes kept in the shorter form of fast commits are not read: an older state would be shown.
    fn refuse_fast_commits(&self, sequence: u32) -> Result<(), Error> {
        let Some(index) = self.fast_commits else {
            return Ok(());
        };
        let mut block = vec![0; self.block_len];
        self.block(index, &mut block)?;
        // A tag that begins a run of them (9, of 8 bytes), and of which transaction they are.
        if block.starts_with(&[9, 0, 8, 0]) && crate::bytes::le32(&block, 8) == sequence {
            return Err(Error::unsupported(
                "a journal with fast commits: mount the file system through lucarne serve (--nbd, --fuse)",
            ));
        }
        Ok(())
    }
}

struct Tag {
    block: u64,
    is_escaped: bool,
    checksum: u32,
}

fn read(file: &File<'_>, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    let len = buf.len();
    file.read_exact_at(buf, offset).map_err(|source| Error::Io {
        offset,
        len,
        source,
    })
}
