//! LUKS1 (specification 1.2.3): a header of 592 bytes, eight keyslots' areas, then the data ("payload").
//!
//! There is one copy, with no checksum: what passes the checks here is all that is known of it. The bytes
//! become a [`Header`] in one step, [`Header::load`]; [`Header::repair`] mends what
//! `cryptsetup repair` mends.
//!
//! What cryptsetup refuses to load is refused here too: another version, a hash that it does not know,
//! stripes other than 4000, areas that reach into the header, each other or the payload, or past the
//! device's end. These it loads and we refuse, with the whole header:
//! - a key material offset of 4 GiB or more (it counts the bytes in 32 bits);
//! - hashes other than those of [`Header::hash`]: `sha512-256`, `shake256`, `sha-256` and what else its
//!   backend happens to know (not supported).
//!
//! What concerns one keyslot only leaves the others as they are: a state that is neither active nor
//! inactive, or no iterations ([`KeyslotState::Unusable`]). Likewise a [digest](Header::digest) without
//! iterations recognises no key, but the header can be looked at.
//!
//! Text fields end at their first zero byte or at their last byte, whatever that is; a UUID's form is not
//! checked, as in cryptsetup. Ciphers are text here: whether they can be had is asked elsewhere.

mod convert;
mod edit;
mod header;
mod keyslot;
mod layout;
mod raw;
mod repair;
mod validate;

pub use header::{Header, VolumeKeyDigest};
pub use keyslot::{Keyslot, KeyslotState};
pub use layout::{NewHeader, PayloadOffset, area_size_for_key};
pub use raw::{DIGEST_LEN, HEADER_LEN, KEYSLOTS, SALT_LEN};
pub use repair::{Repaired, RepairedField};
