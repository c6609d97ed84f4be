//! Doors: the plaintext of a volume as a block device or a file for other programs.
//!
//! | part | what |
//! |---|---|
//! | [`Export`] | what a door shows: bytes by position, flushed, trimmed, zeroed, mapped |
//! | [`VolumeExport`] | a [`lucarne::Volume`] as one |
//! | [`nbd`] | the NBD protocol: a codec without I/O, and a server |
//! | [`fuse`] | a file in a directory, through the kernel's FUSE |
#![forbid(unsafe_code)]

mod export;
pub mod fuse;
pub mod nbd;
mod volume_export;

pub use export::{Export, Extent, ExtentKind, ZeroHow};
pub use volume_export::VolumeExport;
