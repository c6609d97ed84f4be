//! The kernel's structs and numbers (`include/uapi/linux/fuse.h`), under its own names without `fuse_`.
//!
//! All are in the machine's byte order. What a request begins with, 8 bytes a row:
//!
//! ```text
//! InHeader    len, opcode          OutHeader   len, error
//!             unique                           unique
//!             nodeid
//!             uid, gid
//!             pid, total_extlen
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The protocol that is spoken.
pub(crate) const MAJOR: u32 = 7;
/// The version that these structs are of; the kernel takes what it knows of it.
pub(crate) const MINOR: u32 = 42;
/// Before it replies were shorter, and there were no flags of much that is asked for here (Linux 3.15).
pub(crate) const MINOR_MIN: u32 = 23;

/// The directory that is mounted.
pub const ROOT_NODE: u64 = 1;

/// What is asked for.
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const LSEEK: u32 = 46;
}

/// What both sides say at the beginning that they can do.
pub(crate) mod init_flag {
    /// Several reads of one file at a time.
    pub(crate) const ASYNC_READ: u64 = 1 << 0;
    /// Writes longer than a page.
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    /// Several direct requests of one file at a time.
    pub(crate) const ASYNC_DIO: u64 = 1 << 15;
    /// Several lookups in one directory at a time.
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    /// [`InitOut::max_pages`](super::InitOut::max_pages) counts.
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    /// There are more than 32 flags.
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    /// Files that go past the cache can be mapped all the same.
    pub(crate) const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
    /// Requests come by io_uring.
    pub(crate) const OVER_IO_URING: u64 = 1 << 41;
}

/// What `SETATTR` is to change.
pub(crate) mod setattr_flag {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
}

/// How a file is open.
pub(crate) mod open_flag {
    pub(crate) const DIRECT_IO: u32 = 1 << 0;
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    pub(crate) const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
}

/// A struct of the kernel's, and the size that it has there.
macro_rules! kernel_struct {
    ($(#[$meta:meta])* $name:ident, $size:literal { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
        #[repr(C)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type),*
        }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

kernel_struct!(InHeader, 40 {
    len: u32,
    opcode: u32,
    unique: u64,
    nodeid: u64,
    uid: u32,
    gid: u32,
    pid: u32,
    total_extlen: u16,
    padding: u16,
});

kernel_struct!(OutHeader, 16 { len: u32, error: i32, unique: u64 });

kernel_struct!(InitIn, 64 {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
    flags2: u32,
    unused: [u32; 11],
});

kernel_struct!(InitOut, 64 {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
    max_background: u16,
    congestion_threshold: u16,
    max_write: u32,
    time_gran: u32,
    max_pages: u16,
    map_alignment: u16,
    flags2: u32,
    max_stack_depth: u32,
    request_timeout: u16,
    unused: [u16; 11],
});

kernel_struct!(Attr, 88 {
    ino: u64,
    size: u64,
    blocks: u64,
    atime: u64,
    mtime: u64,
    ctime: u64,
    atimensec: u32,
    mtimensec: u32,
    ctimensec: u32,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u32,
    blksize: u32,
    flags: u32,
});

kernel_struct!(EntryOut, 128 {
    nodeid: u64,
    generation: u64,
    entry_valid: u64,
    attr_valid: u64,
    entry_valid_nsec: u32,
    attr_valid_nsec: u32,
    attr: Attr,
});

kernel_struct!(GetattrIn, 16 { getattr_flags: u32, dummy: u32, fh: u64 });

kernel_struct!(AttrOut, 104 {
    attr_valid: u64,
    attr_valid_nsec: u32,
    dummy: u32,
    attr: Attr,
});

kernel_struct!(SetattrIn, 88 {
    valid: u32,
    padding: u32,
    fh: u64,
    size: u64,
    lock_owner: u64,
    atime: u64,
    mtime: u64,
    ctime: u64,
    atimensec: u32,
    mtimensec: u32,
    ctimensec: u32,
    mode: u32,
    unused4: u32,
    uid: u32,
    gid: u32,
    unused5: u32,
});

kernel_struct!(OpenIn, 8 { flags: u32, open_flags: u32 });

kernel_struct!(OpenOut, 16 { fh: u64, open_flags: u32, backing_id: i32 });

kernel_struct!(ReleaseIn, 24 { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 });

kernel_struct!(FlushIn, 24 { fh: u64, unused: u32, padding: u32, lock_owner: u64 });

kernel_struct!(
    /// Of `READ` and `READDIR`.
    ReadIn, 40 {
    fh: u64,
    offset: u64,
    size: u32,
    read_flags: u32,
    lock_owner: u64,
    flags: u32,
    padding: u32,
});

kernel_struct!(WriteIn, 40 {
    fh: u64,
    offset: u64,
    size: u32,
    write_flags: u32,
    lock_owner: u64,
    flags: u32,
    padding: u32,
});

kernel_struct!(WriteOut, 8 { size: u32, padding: u32 });

kernel_struct!(StatfsOut, 80 {
    blocks: u64,
    bfree: u64,
    bavail: u64,
    files: u64,
    ffree: u64,
    bsize: u32,
    namelen: u32,
    frsize: u32,
    padding: u32,
    spare: [u32; 6],
});

kernel_struct!(FsyncIn, 16 { fh: u64, fsync_flags: u32, padding: u32 });

kernel_struct!(FallocateIn, 32 { fh: u64, offset: u64, length: u64, mode: u32, padding: u32 });

kernel_struct!(LseekIn, 24 { fh: u64, offset: u64, whence: u32, padding: u32 });

kernel_struct!(LseekOut, 8 { offset: u64 });

kernel_struct!(ForgetIn, 8 { nlookup: u64 });

kernel_struct!(BatchForgetIn, 8 { count: u32, dummy: u32 });

kernel_struct!(InterruptIn, 8 { unique: u64 });

kernel_struct!(
    /// A name of `namelen` bytes follows, and zeros up to the next multiple of 8.
    Dirent, 24 { ino: u64, off: u64, namelen: u32, r#type: u32 });
