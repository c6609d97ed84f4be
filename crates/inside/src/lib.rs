//! The files in a volume, without mounting it: ext2, ext3, ext4 and FAT file systems, bare or in a partition of a GPT
//! or MBR, read only, over whatever can be read by position ([`ReadAt`]).
//!
//! | to | use |
//! |---|---|
//! | know what a volume holds | [`detect()`], [`partitions()`] |
//! | list and find files | [`FileSystem::list`], [`FileSystem::node`] |
//! | read a file by position, from many threads | [`FileSystem::open_file`], [`File`] |
//! | show a name to a person | [`shown`] |
//!
//! A file system is untrusted: whatever it says, memory and time are bounded, nothing is read outside of its
//! partition, and symbolic links are followed inside of it only. A [`File`] knows where its bytes lie and reads them
//! from there into the caller's buffer, which is why the formats are read here and not by a library of their own: none
//! that exists gives away where a file's bytes lie.
//!
//! An ext file system that was not unmounted is read with the changes that wait in its journal.
#![forbid(unsafe_code)]

mod bytes;
mod crc;
mod detect;
mod error;
mod ext;
mod fat;
mod file;
mod fs;
mod layout;
mod node;
mod partition;
mod window;

pub use detect::{Content, detect};
pub use error::{Error, shown};
pub use file::File;
pub use fs::FileSystem;
pub use node::{Entry, Id, Kind, Node};
pub use partition::{Partition, partitions};

pub use lucarne_storage::ReadAt;
