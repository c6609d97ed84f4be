//! LUKS2: a binary header and a JSON area, each in two copies.

pub mod area;
pub mod digest;
pub mod keyslot;
pub mod segment;
pub mod token;

pub use area::Area;
pub use digest::Digest;
pub use keyslot::{AntiForensic, Argon2Variant, Kdf, Keyslot, Luks2Keyslot, Priority};
pub use segment::{CryptSegment, Segment, SegmentSize};
pub use token::Token;
