//! ext2, ext3 and ext4, read as the kernel's documentation (`filesystems/ext4/`) describes them.
//!
//! | file | rule |
//! |---|---|
//! | `superblock` | sizes and features |
//! | `inode` | where an inode lies, what it says, what lies in it |
//! | `blocks` | extents and block maps: where a file's bytes lie |
//! | `directory` | names |
//! | `journal` | changes that wait in the journal: read in their place, never written |

mod blocks;
mod directory;
mod inode;
mod journal;
mod superblock;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lucarne_storage::ReadAt;

pub(crate) use inode::Inode;
pub(crate) use superblock::is_there;

use crate::Error;
use crate::layout::{Layout, Place};
use crate::node::Node;
use crate::window::{length, read};
use journal::Replayed;
use superblock::Superblock;

/// Memory of blocks of metadata that were read already, in bytes.
const CACHE_LEN_BYTES: usize = 4 << 20;

pub(crate) const ROOT: u32 = 2;

/// An ext file system.
pub(crate) struct Ext {
    superblock: Superblock,
    replayed: Replayed,
    cache: Mutex<HashMap<u64, Arc<[u8]>>>,
}

impl std::fmt::Debug for Ext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ext")
            .field("superblock", &self.superblock)
            .finish_non_exhaustive()
    }
}

impl Ext {
    pub(crate) fn open(source: &dyn ReadAt) -> Result<Self, Error> {
        let mut bytes = [0; superblock::LEN];
        read(source, &mut bytes, superblock::AT)?;
        let superblock = Superblock::parse(&bytes)?;
        let len = length(source)?;
        // No overflow: checked by the superblock.
        let claimed = superblock.blocks * u64::from(superblock.block_len);
        if claimed > len {
            return Err(Error::corrupt(format!(
                "the ext file system has {claimed} bytes, its place {len}"
            )));
        }
        let mut ext = Self {
            superblock,
            replayed: Replayed::default(),
            cache: Mutex::default(),
        };
        if let Some(inode) = ext.superblock.unfinished_journal {
            ext.replayed = journal::replay(&ext, source, inode)?;
            // What was read until now may be older than the journal.
            ext.cache = Mutex::default();
        }
        Ok(ext)
    }

    pub(crate) fn version(&self) -> &'static str {
        self.superblock.version()
    }

    pub(crate) fn label(&self) -> &str {
        &self.superblock.label
    }

    pub(crate) fn inode(&self, source: &dyn ReadAt, number: u32) -> Result<Inode, Error> {
        Inode::read(self, source, number)
    }

    pub(crate) fn node(&self, source: &dyn ReadAt, number: u32) -> Result<Node, Error> {
        Ok(self.inode(source, number)?.node())
    }

    /// The names of a directory, `.` and `..` left out, until `found` says that it has enough.
    pub(crate) fn list(
        &self,
        source: &dyn ReadAt,
        number: u32,
        found: directory::Found<'_>,
    ) -> Result<(), Error> {
        let inode = self.inode(source, number)?;
        directory::list(self, source, &inode, found)
    }

    pub(crate) fn layout(&self, source: &dyn ReadAt, number: u32) -> Result<Layout, Error> {
        let inode = self.inode(source, number)?;
        blocks::layout(self, source, &inode)
    }

    pub(crate) fn link_target(&self, source: &dyn ReadAt, number: u32) -> Result<Vec<u8>, Error> {
        let inode = self.inode(source, number)?;
        if let Some(target) = inode.fast_link() {
            return Ok(target.to_vec());
        }
        let layout = blocks::layout(self, source, &inode)?;
        let limit = crate::node::MAX_LINK_LEN;
        let len = usize::try_from(layout.len())
            .ok()
            .filter(|len| (1..=limit).contains(len))
            .ok_or_else(|| {
                Error::corrupt(format!(
                    "inode {number}: a symbolic link of {} bytes, the limit is {limit}",
                    layout.len()
                ))
            })?;
        let mut target = vec![0; len];
        crate::File::new(source, layout)
            .read_exact_at(&mut target, 0)
            .map_err(|source| Error::Io {
                offset: 0,
                len,
                source,
            })?;
        Ok(target)
    }

    fn block_len(&self) -> u64 {
        self.superblock.block_len.into()
    }

    /// Whether these blocks are some of the file system's.
    fn check_blocks(
        &self,
        first: u64,
        count: u64,
        of: &dyn std::fmt::Display,
    ) -> Result<(), Error> {
        let end = first.checked_add(count);
        if first == 0 || end.is_none_or(|end| end > self.superblock.blocks) {
            return Err(Error::corrupt(format!(
                "{of}: {count} blocks at {first}, the file system has {}",
                self.superblock.blocks
            )));
        }
        Ok(())
    }

    /// Where a block's newest content lies.
    fn place(&self, block: u64) -> Place {
        match self.replayed.get(block) {
            Some(place) => place,
            // No overflow: blocks are checked against the superblock.
            None => Place::At(block * self.block_len()),
        }
    }

    /// A block of metadata.
    fn block(&self, source: &dyn ReadAt, block: u64) -> Result<Arc<[u8]>, Error> {
        if block >= self.superblock.blocks {
            return Err(Error::corrupt(format!(
                "block {block}, the file system has {}",
                self.superblock.blocks
            )));
        }
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = cache().get(&block) {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; self.superblock.block_len as usize];
        match self.place(block) {
            Place::At(at) => read(source, &mut bytes, at)?,
            Place::Escaped(at) => {
                read(source, &mut bytes, at)?;
                bytes[..4].copy_from_slice(&journal::MAGIC.to_be_bytes());
            }
        }
        let bytes: Arc<[u8]> = bytes.into();
        let mut cache = cache();
        if cache.len() >= CACHE_LEN_BYTES / bytes.len() {
            cache.clear();
        }
        cache.insert(block, Arc::clone(&bytes));
        Ok(bytes)
    }
}
