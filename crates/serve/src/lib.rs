//! Doors: the plaintext of a volume as a block device or a file for other programs.
//!
//! | part | what |
//! |---|---|
//! | [`Export`] | what a door shows: bytes by position, flushed, trimmed, zeroed, mapped |
//! | [`VolumeExport`] | a [`lucarne::Volume`] as one |
//! | [`StorageExport`] | a [`lucarne::Storage`] as it is |
//! | [`nbd`] | the NBD protocol: a codec without I/O, a server, and a client |
//! | [`fuse`] | a file in a directory, through the kernel's FUSE |
#![forbid(unsafe_code)]

mod export;
pub mod fuse;
pub mod nbd;
mod storage_export;
mod volume_export;

pub use export::{Export, Extent, ExtentKind, ZeroHow};
pub use storage_export::StorageExport;
pub use volume_export::VolumeExport;
