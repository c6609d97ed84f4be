//! The on-disk formats of LUKS2 (specification 1.1.x) and LUKS1 (1.2.3): bytes to types and back, with
//! every check.
//!
//! This crate is pure: it knows no keys and opens no files. [`luks2::Header::load`] and
//! [`luks1::Header::load`] take a closure that reads bytes; `encode` gives bytes to write.
//!
//! ```
//! use lucarne_format::luks2::{Header, HeaderCopy};
//! # use lucarne_format::luks2::{ChecksumAlgorithm, Digest, NewHeader, Segment, CryptSegment, SegmentSize};
//! # let new = NewHeader { uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(), ..NewHeader::default() };
//! # let made = Header::new(&new, |draft| {
//! #     draft.insert_segment(0, &Segment::Crypt(CryptSegment {
//! #         offset: 16 << 20, size: SegmentSize::Dynamic, iv_tweak: 0, encryption: "aes-xts-plain64".into(),
//! #         sector_size: 4096, integrity: None, flags: vec![] }))?;
//! #     draft.insert_digest(0, &Digest { keyslots: [].into(), segments: [0].into(), hash: "sha256".into(),
//! #         iterations: 1000, salt: vec![7; 32], digest: vec![9; 32] })
//! # })?;
//! # let mut image = made.encode(HeaderCopy::Primary, [1; 64])?;
//! # image.extend(made.encode(HeaderCopy::Secondary, [2; 64])?);
//! # image.resize(16 << 20, 0);
//! // `image` holds the bytes of a volume.
//! let selected = Header::load(|offset, buffer: &mut [u8]| {
//!     let rest = usize::try_from(offset).ok().and_then(|at| image.get(at..)).unwrap_or_default();
//!     let len = rest.len().min(buffer.len());
//!     buffer[..len].copy_from_slice(&rest[..len]);
//!     Ok::<_, std::convert::Infallible>(len)
//! })?;
//! assert!(!selected.repair.is_needed());
//! assert_eq!(selected.header.uuid(), "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod error;
mod text;

pub mod luks1;
pub mod luks2;

pub use error::{Corrupt, Error, LoadError, Refused, Unsupported};
