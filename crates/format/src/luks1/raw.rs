//! The header's bytes (specification 2.1, figures 1 and 2), big-endian.
//!
//! ```text
//!        0        1        2        3        4        5        6        7
//!   0  |                     magic                     |     version     |
//!   8  |                       cipherName, 32 bytes                      |
//!  40  |                       cipherMode, 32 bytes                      |
//!  72  |                        hashSpec, 32 bytes                       |
//! 104  |           payloadOffset           |            keyBytes         |
//! 112  |                        mkDigest, 20 bytes                       |
//! 132  |                      mkDigestSalt, 32 bytes                     |
//! 164  |        mkDigestIterations         |       uuid, 40 bytes        |
//! 208  |                  keyslots, 8 times 48 bytes                     |
//!
//!        0        1        2        3        4        5        6        7
//!   0  |              active               |          iterations         |
//!   8  |                          salt, 32 bytes                         |
//!  40  |         keyMaterialOffset         |            stripes          |
//! ```

use std::mem::{offset_of, size_of};

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::text::UUID_LEN;

/// Bytes of the header, keyslots included.
pub const HEADER_LEN: usize = 592;
/// Keyslots of every header, numbered from 0.
pub const KEYSLOTS: usize = 8;
/// Bytes of the digest's and of a keyslot's salt.
pub const SALT_LEN: usize = 32;
/// Bytes of the digest.
pub const DIGEST_LEN: usize = 20;

pub(super) const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
pub(super) const VERSION: u16 = 1;
pub(super) const NAME_LEN: usize = 32;
/// The unit of offsets.
pub(super) const SECTOR_BYTES: u64 = 512;
/// AF stripes: LUKS1 knows this number only.
pub(super) const STRIPES: u32 = 4000;

pub(super) const ACTIVE: u32 = 0x00ac_71f3;
pub(super) const INACTIVE: u32 = 0x0000_dead;

/// The bytes under the specification's names; nothing is checked.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) magic: [u8; 6],
    pub(super) version: U16,
    pub(super) cipher_name: [u8; NAME_LEN],
    pub(super) cipher_mode: [u8; NAME_LEN],
    pub(super) hash_spec: [u8; NAME_LEN],
    pub(super) payload_offset: U32,
    pub(super) key_bytes: U32,
    pub(super) mk_digest: [u8; DIGEST_LEN],
    pub(super) mk_digest_salt: [u8; SALT_LEN],
    pub(super) mk_digest_iterations: U32,
    pub(super) uuid: [u8; UUID_LEN],
    pub(super) keyslots: [RawKeyslot; KEYSLOTS],
}

/// A keyslot's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub(super) struct RawKeyslot {
    pub(super) active: U32,
    pub(super) iterations: U32,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) key_material_offset: U32,
    pub(super) stripes: U32,
}

const _: () = {
    assert!(size_of::<RawHeader>() == HEADER_LEN);
    assert!(offset_of!(RawHeader, cipher_name) == 8);
    assert!(offset_of!(RawHeader, cipher_mode) == 40);
    assert!(offset_of!(RawHeader, hash_spec) == 72);
    assert!(offset_of!(RawHeader, payload_offset) == 104);
    assert!(offset_of!(RawHeader, key_bytes) == 108);
    assert!(offset_of!(RawHeader, mk_digest) == 112);
    assert!(offset_of!(RawHeader, mk_digest_salt) == 132);
    assert!(offset_of!(RawHeader, mk_digest_iterations) == 164);
    assert!(offset_of!(RawHeader, uuid) == 168);
    assert!(offset_of!(RawHeader, keyslots) == 208);
    assert!(size_of::<RawKeyslot>() == 48);
    assert!(offset_of!(RawKeyslot, salt) == 8);
    assert!(offset_of!(RawKeyslot, key_material_offset) == 40);
    assert!(offset_of!(RawKeyslot, stripes) == 44);
};

impl RawHeader {
    /// The keyslots with their numbers.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u32, &RawKeyslot)> {
        (0..).zip(&self.keyslots)
    }

    pub(super) fn keyslot_mut(&mut self, id: u32) -> Option<&mut RawKeyslot> {
        self.keyslots.get_mut(usize::try_from(id).ok()?)
    }
}

impl RawKeyslot {
    /// Its area's first byte.
    pub(super) fn area_offset(&self) -> u64 {
        u64::from(self.key_material_offset.get()).saturating_mul(SECTOR_BYTES)
    }

    /// Nobody's, as in a new header.
    pub(super) fn deactivate(&mut self) {
        self.active = U32::new(INACTIVE);
        self.iterations = U32::new(0);
        self.salt = [0; SALT_LEN];
    }
}
