//! From the kernel's requests to [`PlainFile`], and back.

use std::ffi::OsStr;
use std::time::SystemTime;

use lucarne_fuse::{
    Attributes, Entries, Errno, FileSystem, Kind, Opened, Operation, ROOT_NODE, Reply, Statfs,
};
use rustix::fs::OFlags;

use super::plain_file::{self, PLAIN, PlainFile, ROOT};
use crate::Export;

const _: () = assert!(ROOT == ROOT_NODE);

/// From this version of the protocol on (7.45, Linux 6.18) files that go past the cache are seen to agree with others
/// that do not; before 6.8 or so, pages that were being read while a direct write was under way could stay as they were.
const COHERENT_SINCE_MINOR: u32 = 45;

/// The directory and its file as the kernel asks for them; without a kernel too
/// ([`lucarne_fuse::answer_bytes`]).
#[derive(Debug)]
pub struct PlainFilesystem<E> {
    plain: PlainFile<E>,
    is_uncached: bool,
    /// Whether what is opened with `O_DIRECT` goes past the cache by itself.
    is_direct_coherent: bool,
    mounted: SystemTime,
}

impl<E: Export> PlainFilesystem<E> {
    /// Mounted now, by a kernel that speaks the protocol's version 7 and `kernel_minor`. With `is_uncached` it caches
    /// nothing, however a program opens the file.
    pub fn new(plain: PlainFile<E>, is_uncached: bool, kernel_minor: u32) -> Self {
        Self {
            plain,
            is_uncached,
            is_direct_coherent: kernel_minor >= COHERENT_SINCE_MINOR,
            mounted: SystemTime::now(),
        }
    }

    fn attributes(&self, attributes: &plain_file::Attributes) -> Attributes {
        let (kind, links) = match attributes.node {
            ROOT => (Kind::Directory, 2),
            _ => (Kind::File, 1),
        };
        Attributes {
            node: attributes.node,
            kind,
            permissions: attributes.permissions,
            len: attributes.len,
            block_len: attributes.block_len,
            links,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            time: self.mounted,
        }
    }

    fn open(&self, node: u64, flags: u32) -> Result<Reply, Errno> {
        let flags = OFlags::from_bits_retain(flags);
        let to_write = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
        self.plain.open(node, to_write)?;
        // Or else direct writes wait for each other. A loop device is not opened so, and told later to go past the cache.
        let is_direct = self.is_direct_coherent && flags.contains(OFlags::DIRECT);
        // Nobody else writes, so what is in the cache stays true.
        Ok(Reply::Opened(match self.is_uncached || is_direct {
            true => Opened::Direct,
            false => Opened::KeepsCache,
        }))
    }

    fn statfs(&self) -> Statfs {
        let block_len = self.plain.export().block_len();
        Statfs {
            blocks: self.plain.export().len().div_ceil(block_len.into()),
            block_len,
            files: 2,
            name_len_max: 255,
        }
    }
}

impl<E: Export> FileSystem for PlainFilesystem<E> {
    fn answer(&self, node: u64, operation: Operation<'_>) -> Result<Reply, Errno> {
        let plain = &self.plain;
        match operation {
            Operation::Lookup { name } => {
                (plain.lookup(node, name)).map(|found| Reply::Entry(self.attributes(&found)))
            }
            Operation::Attributes => {
                (plain.attributes(node)).map(|found| Reply::Attributes(self.attributes(&found)))
            }
            Operation::SetAttributes {
                len,
                changes_owner_or_mode,
            } => (plain.set_attributes(node, len, changes_owner_or_mode))
                .map(|found| Reply::Attributes(self.attributes(&found))),
            Operation::Open { flags } => self.open(node, flags),
            Operation::Write { offset, data } => {
                plain.write(node, offset, data).map(Reply::Written)
            }
            // Asked for at every close: so what was written before is on the disk then, or it is said that it is not.
            Operation::Flush | Operation::Fsync | Operation::FsyncDirectory => {
                plain.flush().map(|()| Reply::Done)
            }
            Operation::Allocate { offset, len, mode } => {
                (plain.allocate(node, offset, len, mode)).map(|()| Reply::Done)
            }
            Operation::Seek { offset, whence } => (plain.seek(node, offset, whence))
                .map(|offset| Reply::Sought(offset.cast_unsigned())),
            Operation::Statfs => Ok(Reply::Statfs(self.statfs())),
            Operation::OpenDirectory => Ok(Reply::Opened(Opened::Plain)),
            Operation::Release | Operation::ReleaseDirectory => Ok(Reply::Done),
            Operation::Link => Err(Errno::PERM),
            // Extended attributes among them. The kernel does not ask again.
            _ => Err(Errno::NOSYS),
        }
    }

    fn read(&self, node: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        self.plain.read(node, offset, into)
    }

    fn read_directory(
        &self,
        node: u64,
        offset: u64,
        entries: &mut Entries<'_>,
    ) -> Result<(), Errno> {
        if node != ROOT {
            return Err(Errno::NOTDIR);
        }
        let names = [
            (ROOT, Kind::Directory, OsStr::new(".")),
            (ROOT, Kind::Directory, OsStr::new("..")),
            (PLAIN, Kind::File, self.plain.name()),
        ];
        for (position, (node, kind, name)) in (1..).zip(names) {
            if position > offset && !entries.add(node, kind, name, position) {
                break;
            }
        }
        Ok(())
    }
}
