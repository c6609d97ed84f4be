//! The LUKS2 on-disk format (specification 1.1.x): bytes to types and back, with every check.
//!
//! This crate is pure: it knows no keys and opens no files.
#![forbid(unsafe_code)]

mod error;
pub mod luks2;

pub use error::{Corrupt, Error, Unsupported};
