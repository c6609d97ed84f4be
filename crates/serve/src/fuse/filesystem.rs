//! From the kernel's requests to [`PlainFile`], and back.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use rustix::fs::OFlags;

use super::plain_file::{Attributes, PLAIN, PlainFile, ROOT, Refusal};
use crate::Export;

/// Nothing that the kernel is told ever changes.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);
/// One request's data, in bytes: what the kernel allows at most unless told otherwise.
const REQUEST_LEN_MAX: u32 = 1 << 20;
/// From this version on ([`fuser::Version`]; Linux 6.18) files that go past the cache are seen to agree with others
/// that do not; before 6.8 or so, pages that were being read while a direct write was under way could stay as they were.
const COHERENT_SINCE: fuser::Version = fuser::Version(7, 45);
/// Requests of readahead and direct I/O that wait at a time.
const BACKGROUND_MAX: u16 = 64;

const O_DIRECT: i32 = OFlags::DIRECT.bits().cast_signed();

thread_local! {
    /// What was read; as many as there are threads, each as long as the longest request.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct PlainFilesystem<E> {
    pub(super) plain: PlainFile<E>,
    pub(super) is_uncached: bool,
    /// Whether what is opened with `O_DIRECT` goes past the cache by itself.
    pub(super) is_direct_coherent: bool,
    pub(super) mounted: SystemTime,
}

impl<E: Export> PlainFilesystem<E> {
    fn attr(&self, attributes: &Attributes) -> FileAttr {
        let is_directory = attributes.node == ROOT;
        FileAttr {
            ino: INodeNo(attributes.node),
            size: attributes.len,
            blocks: attributes.len.div_ceil(512),
            atime: self.mounted,
            mtime: self.mounted,
            ctime: self.mounted,
            crtime: self.mounted,
            kind: match is_directory {
                true => FileType::Directory,
                false => FileType::RegularFile,
            },
            perm: attributes.permissions,
            nlink: if is_directory { 2 } else { 1 },
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: attributes.block_len,
            flags: 0,
        }
    }
}

fn errno(refusal: Refusal) -> Errno {
    Errno::from_i32(refusal.raw_os_error())
}

fn reply_empty(result: Result<(), Refusal>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

impl<E: Export + 'static> Filesystem for PlainFilesystem<E> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wish in [
            // A loop device with direct I/O has many requests under way.
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            // So that an uncached file can be mapped all the same.
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ] {
            if config.add_capabilities(wish).is_err() {
                tracing::debug!(?wish, "the kernel does not have it");
            }
        }
        self.is_direct_coherent = config.kernel_abi() >= COHERENT_SINCE;
        // What is too large is answered with what is not.
        if let Err(limit) = config.set_max_write(REQUEST_LEN_MAX) {
            let _ = config.set_max_write(limit);
        }
        if let Err(limit) = config.set_max_readahead(REQUEST_LEN_MAX) {
            let _ = config.set_max_readahead(limit);
        }
        let _ = config.set_max_background(BACKGROUND_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.plain.lookup(parent.0, name) {
            Ok(attributes) => reply.entry(&FOR_EVER, &self.attr(&attributes), Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.plain.attributes(node.0) {
            Ok(attributes) => reply.attr(&FOR_EVER, &self.attr(&attributes)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let other = mode.is_some() || uid.is_some() || gid.is_some();
        match self.plain.set_attributes(node.0, size, other) {
            Ok(attributes) => reply.attr(&FOR_EVER, &self.attr(&attributes)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn open(&self, _: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let to_write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        // Or else direct writes wait for each other. A loop device is not opened so, and told later to go past the cache.
        let is_direct = self.is_direct_coherent && flags.0 & O_DIRECT != 0;
        // Nobody else writes, so what is in the cache stays true.
        let how = match self.is_uncached || is_direct {
            true => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES,
            false => FopenFlags::FOPEN_KEEP_CACHE,
        };
        match self.plain.open(node.0, to_write) {
            Ok(()) => reply.opened(FileHandle(0), how),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(
            |buffer| match self.plain.read(node.0, offset, size, buffer) {
                Ok(bytes) => reply.data(bytes),
                Err(refusal) => reply.error(errno(refusal)),
            },
        );
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.plain.write(node.0, offset, data) {
            Ok(len) => reply.written(len),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Asked for at every close: so what was written before is on the disk then, or it is said that it is not.
        reply_empty(self.plain.flush(), reply);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply_empty(self.plain.flush(), reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply_empty(self.plain.flush(), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if node.0 != ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let entries = [
            (ROOT, FileType::Directory, OsStr::new(".")),
            (ROOT, FileType::Directory, OsStr::new("..")),
            (PLAIN, FileType::RegularFile, self.plain.name()),
        ];
        for (position, (node, kind, name)) in (1..).zip(entries) {
            if position > offset && reply.add(INodeNo(node), position, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let block_len = self.plain.export().block_len();
        let blocks = self.plain.export().len().div_ceil(block_len.into());
        // All of it is in use: by the file.
        reply.statfs(blocks, 0, 0, 2, 0, block_len, 255, block_len);
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        reply_empty(self.plain.allocate(node.0, offset, length, mode), reply);
    }

    fn lseek(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.plain.seek(node.0, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    // The kernel does not ask again.
    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }
}
