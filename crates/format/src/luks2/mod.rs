//! LUKS2: a binary header and a JSON area, each in two copies, then the keyslots area, then the data.
//!
//! Bytes become a [`Header`] in three steps, each a type: the raw binary header, a copy whose checksum
//! holds, the header whose JSON passed every check. Only [`Header::load`] takes them.
//! [`strictness`] lists where more is refused than cryptsetup refuses.

mod binary_header;
mod checksum;
mod config;
mod draft;
mod foreign;
mod header;
mod json_area;
mod member;
mod metadata;
mod reencryption;
mod requirements;
mod select;
mod validate;

pub mod area;
pub mod digest;
pub mod keyslot;
pub mod reencrypt;
pub mod segment;
pub mod strictness;
pub mod token;
pub mod unusable;

pub use area::{Area, areas_overlap, first_gap};
pub use binary_header::{HEADER_SALT_LEN, HeaderCopy};
pub use checksum::ChecksumAlgorithm;
pub use config::KEYSLOTS_SIZE_MAX;
pub use digest::Digest;
pub use draft::Draft;
pub use foreign::{FOREIGN_SEARCH_LEN_BYTES, foreign_signature};
pub use header::{Header, NewHeader};
pub use keyslot::{
    AntiForensic, Argon2Variant, Kdf, Keyslot, Luks2Keyslot, Priority, UnknownKeyslot,
};
pub use metadata::{DigestLinks, Metadata};
pub use reencrypt::{
    ChecksumResilience, ReencryptDirection, ReencryptKeyslot, ReencryptMode, Resilience,
};
pub use reencryption::Reencryption;
pub use requirements::Requirement;
pub use segment::{CryptSegment, IN_REENCRYPTION, Segment, SegmentSize};
pub use select::{Defect, Repair, Selected};
pub use token::Token;
pub use unusable::{UnusableDigest, UnusableKeyslot};
