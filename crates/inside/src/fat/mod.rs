//! FAT12, FAT16 and FAT32 with long names (Microsoft, "FAT32 File System Specification" 1.03).

mod boot;
mod directory;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lucarne_storage::ReadAt;

pub(crate) use boot::is_there;

use crate::bytes::{le16, le32};
use crate::layout::{Collector, Layout, Place};
use crate::node::{Id, Kind, Node};
use crate::window::{length, read};
use crate::{Error, File};
use boot::{Boot, Width};

/// A directory has at most 65536 records of 32 bytes.
const MAX_DIRECTORY_LEN: u64 = 65536 * 32;
/// The file allocation table is read in pieces of so many bytes; three divides it, as an entry of 12 bits needs.
const PIECE_LEN: u64 = 12288;
const MAX_PIECES: usize = 256;

/// The root directory's number: no cluster has it.
const ROOT: u64 = 0;

/// A FAT file system.
pub(crate) struct Fat {
    boot: Boot,
    cache: Mutex<HashMap<u64, Arc<[u8]>>>,
}

impl std::fmt::Debug for Fat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fat")
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

impl Fat {
    pub(crate) fn open(source: &dyn ReadAt) -> Result<Self, Error> {
        let mut sector = [0; 512];
        read(source, &mut sector, 0)?;
        let boot = Boot::parse(&sector)?;
        let len = length(source)?;
        if boot.len > len {
            return Err(Error::corrupt(format!(
                "the FAT file system has {} bytes, its place {len}",
                boot.len
            )));
        }
        Ok(Self {
            boot,
            cache: Mutex::default(),
        })
    }

    pub(crate) fn version(&self) -> &'static str {
        match self.boot.width {
            Width::Bits12 => "fat12",
            Width::Bits16 => "fat16",
            Width::Bits32 => "fat32",
        }
    }

    pub(crate) fn label(&self) -> &str {
        &self.boot.label
    }

    pub(crate) fn root(&self) -> Node {
        Node {
            id: Id(ROOT),
            kind: Kind::Directory,
            len: 0,
            mode: 0o755,
            user: 0,
            group: 0,
            modified: None,
        }
    }

    /// The names of a directory until `found` says that it has enough.
    pub(crate) fn list(
        &self,
        source: &dyn ReadAt,
        directory: &Node,
        found: directory::Found<'_>,
    ) -> Result<(), Error> {
        let layout = match (directory.id.0, self.boot.root_cluster) {
            (ROOT, None) => {
                let root = &self.boot.root;
                let mut pieces = Collector::new(root.end - root.start);
                pieces.push(0, root.end - root.start, Place::At(root.start))?;
                pieces.finish()
            }
            (ROOT, Some(cluster)) => self.chain(source, cluster, None)?,
            (cluster, _) => self.chain(source, cluster, None)?,
        };
        let len = layout.len();
        if len > MAX_DIRECTORY_LEN.max(self.boot.cluster_len) {
            return Err(Error::corrupt(format!(
                "a FAT directory of {len} bytes, the limit is {MAX_DIRECTORY_LEN}"
            )));
        }
        let mut bytes = vec![0; len as usize];
        let file = File::new(source, layout);
        file.read_exact_at(&mut bytes, 0)
            .map_err(|source| Error::Io {
                offset: 0,
                len: bytes.len(),
                source,
            })?;
        directory::records(&bytes, self.boot.width == Width::Bits32, found)
    }

    pub(crate) fn layout(&self, source: &dyn ReadAt, file: &Node) -> Result<Layout, Error> {
        if file.len == 0 {
            return Ok(Collector::new(0).finish());
        }
        self.chain(source, file.id.0, Some(file.len))
    }

    /// The clusters from `first` on: as many as `len` takes, or all of them.
    fn chain(&self, source: &dyn ReadAt, first: u64, len: Option<u64>) -> Result<Layout, Error> {
        let boot = &self.boot;
        // More than there are would be a ring.
        let limit = match len {
            Some(len) => len.div_ceil(boot.cluster_len),
            None => (MAX_DIRECTORY_LEN / boot.cluster_len + 1).min(boot.clusters),
        };
        let mut pieces = Collector::new(len.unwrap_or(u64::MAX));
        let (mut cluster, mut count) = (first, 0);
        loop {
            if !(2..boot.clusters + 2).contains(&cluster) {
                return Err(Error::corrupt(format!(
                    "FAT cluster {cluster} in the chain from {first}; there are 2 to {}",
                    boot.clusters + 1
                )));
            }
            let at = boot.data_at + (cluster - 2) * boot.cluster_len;
            pieces.push(count * boot.cluster_len, boot.cluster_len, Place::At(at))?;
            count += 1;
            let next = match (len, count == limit) {
                (Some(_), true) => break,
                _ => self.next(source, cluster)?,
            };
            match next {
                None if len.is_none() => break,
                Some(next) if count < limit => cluster = next,
                _ => {
                    return Err(Error::corrupt(format!(
                        "the FAT chain from cluster {first} has {count} clusters {}, {limit} belong to it",
                        if next.is_none() {
                            "and ends"
                        } else {
                            "and goes on"
                        }
                    )));
                }
            }
        }
        let end = pieces.end();
        let Layout::Extents { extents, .. } = pieces.finish() else {
            return Err(Error::corrupt("a FAT chain without clusters"));
        };
        Ok(Layout::Extents {
            extents,
            len: len.unwrap_or(end),
        })
    }

    /// The cluster behind this one; `None` at the end.
    fn next(&self, source: &dyn ReadAt, cluster: u64) -> Result<Option<u64>, Error> {
        let entry = |at: u64, wide: bool| -> Result<u32, Error> {
            let piece = self.piece(source, at / PIECE_LEN)?;
            let at = (at % PIECE_LEN) as usize;
            Ok(match wide {
                true => le32(&piece, at),
                false => le16(&piece, at).into(),
            })
        };
        let (value, end) = match self.boot.width {
            Width::Bits12 => {
                let pair = entry(cluster + cluster / 2, false)?;
                let value = match cluster & 1 {
                    0 => pair & 0xfff,
                    _ => pair >> 4,
                };
                (value, 0xff8)
            }
            Width::Bits16 => (entry(2 * cluster, false)?, 0xfff8),
            Width::Bits32 => (entry(4 * cluster, true)? & 0x0fff_ffff, 0x0fff_fff8),
        };
        Ok((value < end).then_some(value.into()))
    }

    fn piece(&self, source: &dyn ReadAt, index: u64) -> Result<Arc<[u8]>, Error> {
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = cache().get(&index) {
            return Ok(Arc::clone(piece));
        }
        let table = &self.boot.table;
        let start = table.start.saturating_add(index * PIECE_LEN);
        let len = table.end.saturating_sub(start).min(PIECE_LEN);
        let mut piece = vec![0; len as usize];
        read(source, &mut piece, start)?;
        let piece: Arc<[u8]> = piece.into();
        let mut cache = cache();
        if cache.len() >= MAX_PIECES {
            cache.clear();
        }
        cache.insert(index, Arc::clone(&piece));
        Ok(piece)
    }
}
