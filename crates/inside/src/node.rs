//! What a name in a file system stands for.

use std::fmt;

/// The longest directory that is read, in bytes; it bounds the time that one takes.
pub(crate) const MAX_DIRECTORY_LEN_BYTES: u64 = 256 << 20;
/// The longest target of a symbolic link: Linux's `PATH_MAX`.
pub(crate) const MAX_LINK_LEN: usize = 4096;

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file
    File,
    /// A directory
    Directory,
    /// A symbolic link
    Link,
    /// A named pipe
    Fifo,
    /// A character device
    CharacterDevice,
    /// A block device
    BlockDevice,
    /// A socket
    Socket,
}

impl Kind {
    /// The letter that `ls -l` shows.
    pub fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Link => 'l',
            Self::Fifo => 'p',
            Self::CharacterDevice => 'c',
            Self::BlockDevice => 'b',
            Self::Socket => 's',
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "symbolic link",
            Self::Fifo => "named pipe",
            Self::CharacterDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Socket => "socket",
        })
    }
}

/// Which file or directory it is, within its file system: the number of an inode, or of a first cluster. (Empty files
/// of a FAT have none, and share it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(crate) u64);

/// What the file system says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Which it is.
    pub id: Id,
    /// Its kind.
    pub kind: Kind,
    /// Its length in bytes.
    pub len: u64,
    /// Permissions: the lower twelve bits. Those of a FAT are 0755 and 0644, without writing where it is read-only.
    pub mode: u16,
    /// Its owner's number.
    pub user: u32,
    /// Its group's number.
    pub group: u32,
    /// When it was modified, in seconds from 1970 on; `None` where that is not said. A FAT keeps local time, which is
    /// taken for UTC.
    pub modified: Option<i64>,
}

/// A name in a directory.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name: any bytes but `/` and NUL, and never `.` or `..`, on a well-made file system. A hostile one may give
    /// anything: see [`Self::is_plain`].
    pub name: Vec<u8>,
    /// The kind, where the directory says it.
    pub kind: Option<Kind>,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Inode(u32),
    Node(Node),
}

impl Entry {
    /// Whether the name can be that of one file in a directory: not empty, not `.` or `..`, without `/` and NUL.
    pub fn is_plain(&self) -> bool {
        !matches!(self.name.as_slice(), b"" | b"." | b"..")
            && !self.name.iter().any(|byte| matches!(byte, b'/' | 0))
    }
}
