//! From a [`Reply`] to bytes: a header, and a body that follows it or lies in the ring entry's payload.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::abi::{self, OutHeader, open_flag};

/// How long the header is, in bytes.
pub(crate) const HEADER_LEN: usize = size_of::<OutHeader>();
/// How long the body of a reply may be that is not data, in bytes; one of data may be as long as its buffer.
pub(crate) const BODY_LEN_MIN: usize = size_of::<abi::EntryOut>();

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// It is done.
    Done,
    /// A name was found.
    Entry(Attributes),
    /// What there is to know.
    Attributes(Attributes),
    /// The file or directory is open.
    Opened(Opened),
    /// So many bytes were written.
    Written(u32),
    /// The file system's size.
    Statfs(Statfs),
    /// The offset that was looked for, in bytes.
    Sought(u64),
}

/// What the kernel may believe for good about a directory or file: nothing here ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub node: u64,
    /// Directory or file.
    pub kind: Kind,
    /// Permissions, without the kind.
    pub permissions: u16,
    /// In bytes.
    pub len: u64,
    /// What reads and writes go best in multiples of, in bytes.
    pub block_len: u32,
    /// How many names it has.
    pub links: u32,
    /// Whose it is.
    pub uid: u32,
    /// Whose it is.
    pub gid: u32,
    /// All its times.
    pub time: SystemTime,
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has names in it.
    Directory,
    /// It has bytes in it.
    File,
}

impl Kind {
    /// As in `st_mode`; four bits of it are what a directory's entry says.
    fn mode(self) -> u32 {
        match self {
            Kind::Directory => 0o040_000,
            Kind::File => 0o100_000,
        }
    }
}

/// How the kernel treats an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opened {
    /// Through the cache, which is emptied first.
    #[default]
    Plain,
    /// Through the cache, what is in it staying true.
    KeepsCache,
    /// Past the cache, several writes at a time.
    Direct,
}

/// The size of a file system of which all is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// In blocks.
    pub blocks: u64,
    /// In bytes.
    pub block_len: u32,
    /// How many there are.
    pub files: u64,
    /// In bytes.
    pub name_len_max: u32,
}

/// Nothing that the kernel is told ever changes.
const VALID: Duration = Duration::from_secs(24 * 60 * 60);

impl Reply {
    /// Writes the body to the front of `into`; gives its length.
    ///
    /// # Panics
    /// If `into` is shorter than [`BODY_LEN_MIN`].
    pub(crate) fn encode(&self, into: &mut [u8]) -> usize {
        let mut put = |body: &[u8]| {
            into[..body.len()].copy_from_slice(body);
            body.len()
        };
        match self {
            Reply::Done => 0,
            Reply::Entry(attributes) => put(abi::EntryOut {
                nodeid: attributes.node,
                entry_valid: VALID.as_secs(),
                attr_valid: VALID.as_secs(),
                attr: attr(attributes),
                ..Default::default()
            }
            .as_bytes()),
            Reply::Attributes(attributes) => put(abi::AttrOut {
                attr_valid: VALID.as_secs(),
                attr: attr(attributes),
                ..Default::default()
            }
            .as_bytes()),
            Reply::Opened(how) => put(abi::OpenOut {
                open_flags: match how {
                    Opened::Plain => 0,
                    Opened::KeepsCache => open_flag::KEEP_CACHE,
                    Opened::Direct => open_flag::DIRECT_IO | open_flag::PARALLEL_DIRECT_WRITES,
                },
                ..Default::default()
            }
            .as_bytes()),
            Reply::Written(size) => put(abi::WriteOut {
                size: *size,
                padding: 0,
            }
            .as_bytes()),
            Reply::Statfs(size) => put(abi::StatfsOut {
                blocks: size.blocks,
                files: size.files,
                bsize: size.block_len,
                frsize: size.block_len,
                namelen: size.name_len_max,
                ..Default::default()
            }
            .as_bytes()),
            Reply::Sought(offset) => put(abi::LseekOut { offset: *offset }.as_bytes()),
        }
    }
}

fn attr(attributes: &Attributes) -> abi::Attr {
    // Before 1970 is as good as 1970.
    let time = (attributes.time.duration_since(UNIX_EPOCH)).unwrap_or_default();
    let (seconds, nanoseconds) = (time.as_secs(), time.subsec_nanos());
    abi::Attr {
        ino: attributes.node,
        size: attributes.len,
        blocks: attributes.len.div_ceil(512),
        atime: seconds,
        mtime: seconds,
        ctime: seconds,
        atimensec: nanoseconds,
        mtimensec: nanoseconds,
        ctimensec: nanoseconds,
        mode: attributes.kind.mode() | u32::from(attributes.permissions),
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: attributes.block_len,
        flags: 0,
    }
}

/// The header before a body of `body_len` bytes.
///
/// # Panics
/// If the body is of 4 GiB.
pub(crate) fn done(unique: u64, body_len: usize) -> OutHeader {
    OutHeader {
        len: u32::try_from(HEADER_LEN + body_len).expect("a body is as long as its buffer at most"),
        error: 0,
        unique,
    }
}

/// The header that is all of a refusal.
pub(crate) fn refused(unique: u64, error: Errno) -> OutHeader {
    OutHeader {
        error: -error.raw_os_error(),
        ..done(unique, 0)
    }
}

/// Names of a directory, written one after the other as long as there is room.
#[derive(Debug)]
pub struct Entries<'a> {
    into: &'a mut [u8],
    len: usize,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(into: &'a mut [u8]) -> Self {
        Self { into, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a name; `next` is the offset at which reading goes on after it. Tells whether there was room for it.
    pub fn add(&mut self, node: u64, kind: Kind, name: &OsStr, next: u64) -> bool {
        let Ok(name_len) = u32::try_from(name.len()) else {
            return false;
        };
        let head = abi::Dirent {
            ino: node,
            off: next,
            namelen: name_len,
            r#type: kind.mode() >> 12,
        };
        let len = size_of::<abi::Dirent>() + name.len();
        let Some(space) = self
            .into
            .get_mut(self.len..self.len + len.next_multiple_of(8))
        else {
            return false;
        };
        let (at_head, rest) = space.split_at_mut(size_of::<abi::Dirent>());
        let (at_name, padding) = rest.split_at_mut(name.len());
        at_head.copy_from_slice(head.as_bytes());
        at_name.copy_from_slice(name.as_bytes());
        padding.fill(0);
        self.len += len.next_multiple_of(8);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> Attributes {
        Attributes {
            node: 2,
            kind: Kind::File,
            permissions: 0o640,
            len: 1025,
            block_len: 4096,
            links: 1,
            uid: 7,
            gid: 8,
            time: UNIX_EPOCH + Duration::new(3, 5),
        }
    }

    #[test]
    fn bodies_are_the_kernels_structs() {
        let mut body = [0xaa; BODY_LEN_MIN];
        assert_eq!(Reply::Done.encode(&mut body), 0);
        assert_eq!(Reply::Written(0x0102_0304).encode(&mut body), 8);
        assert_eq!(body[..8], [0x0102_0304_u32.to_ne_bytes(), [0; 4]].concat());
        assert_eq!(Reply::Sought(9).encode(&mut body), 8);
        assert_eq!(body[..8], 9_u64.to_ne_bytes());
        assert_eq!(Reply::Opened(Opened::Direct).encode(&mut body), 16);
        assert_eq!(body[8..12], 0x41_u32.to_ne_bytes());
        assert_eq!(Reply::Attributes(attributes()).encode(&mut body), 104);
        // size, blocks, seconds; mode after the nanoseconds
        assert_eq!(body[24..32], 1025_u64.to_ne_bytes());
        assert_eq!(body[32..40], 3_u64.to_ne_bytes());
        assert_eq!(body[40..48], 3_u64.to_ne_bytes());
        assert_eq!(body[64..68], 5_u32.to_ne_bytes());
        assert_eq!(body[76..80], 0o100_640_u32.to_ne_bytes());
        assert_eq!(Reply::Entry(attributes()).encode(&mut body), 128);
        assert_eq!(body[..8], 2_u64.to_ne_bytes());
        assert_eq!(body[40..48], 2_u64.to_ne_bytes());
    }

    #[test]
    fn a_refusal_is_a_negative_number() {
        let header = refused(5, Errno::NOENT);
        assert_eq!((header.len, header.error, header.unique), (16, -2, 5));
        assert_eq!(done(5, 100).len, 116);
    }

    #[test]
    fn names_are_added_while_there_is_room() {
        let mut space = [0xaa; 32 + 24];
        let mut entries = Entries::new(&mut space);
        assert!(entries.add(1, Kind::Directory, OsStr::new("."), 1));
        assert!(!entries.add(2, Kind::File, OsStr::new("plain"), 2));
        assert_eq!(entries.len(), 32);
        assert_eq!(space[16..20], 1_u32.to_ne_bytes());
        assert_eq!(space[20..24], 4_u32.to_ne_bytes());
        assert_eq!(&space[24..32], b".\0\0\0\0\0\0\0");
        assert!(!Entries::new(&mut []).add(1, Kind::File, OsStr::new(""), 1));
    }
}
