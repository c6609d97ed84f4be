//! What `cryptsetup repair` mends in a LUKS1 header: keyslots that hold nothing and were overwritten, as
//! by a partition table; the IV of ECB, which has none; a hash in upper case, which old versions do not
//! know.
//!
//! Active keyslots stay as they are: where their key material lies is known to nobody else. So a header
//! comes out right only if those make sense.

use std::fmt;

use zerocopy::big_endian::U32;

use super::header::raw_header;
use super::layout::default_offsets;
use super::raw::{ACTIVE, RawHeader, STRIPES};
use super::{Header, KEYSLOTS};
use crate::Error;
use crate::error::RefusedKind;
use crate::text::{text_field, zero_terminated};

/// A header, and what was wrong with the one that it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The header, to be written if `changes` is not empty.
    pub header: Header,
    /// What was changed.
    pub changes: Vec<RepairedField>,
}

/// A change of [`Header::repair`]. A keyslot with one is inactive afterwards, its salt and iterations
/// wiped. `Display` gives it for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairedField {
    /// `ecb-` and an IV became `ecb`.
    CipherMode {
        /// What it was.
        was: String,
    },
    /// The hash was not in lower case.
    Hash {
        /// What it was.
        was: String,
    },
    /// A keyslot's area was not where cryptsetup puts it.
    KeyMaterialOffset {
        /// The keyslot's number.
        keyslot: u32,
        /// What it was, in sectors.
        was: u32,
        /// What it is.
        is: u32,
    },
    /// A keyslot's stripes were not 4000.
    Stripes {
        /// The keyslot's number.
        keyslot: u32,
        /// What they were.
        was: u32,
    },
    /// A keyslot had the signature of a partition table in its salt.
    PartitionSignature {
        /// The keyslot's number.
        keyslot: u32,
    },
}

impl fmt::Display for RepairedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CipherMode { was } => write!(f, "cipherMode was {was:?}, is \"ecb\""),
            Self::Hash { was } => write!(f, "hashSpec was {was:?}, is in lower case"),
            Self::KeyMaterialOffset { keyslot, was, is } => {
                write!(
                    f,
                    "keyslot {keyslot} keyMaterialOffset was {was}, is {is}; salt wiped"
                )
            }
            Self::Stripes { keyslot, was } => {
                write!(
                    f,
                    "keyslot {keyslot} stripes was {was}, is 4000; salt wiped"
                )
            }
            Self::PartitionSignature { keyslot } => write!(
                f,
                "keyslot {keyslot} had the signature of a partition table; salt wiped"
            ),
        }
    }
}

/// Where a partition table (MBR) has its signature: in this keyslot's salt.
const SIGNED_KEYSLOT: u32 = 6;
/// Its place in that salt, which starts at byte 504 of the header.
const SIGNATURE_AT: usize = 0x1fe - 504;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

impl Header {
    /// The header that the first bytes of a device hold, or one that is mended as `cryptsetup repair`
    /// mends it. Only what stops it from loading, an IV of ECB or a hash in upper case makes it look further.
    ///
    /// That the cipher can be had, the caller should have checked: a header that names nonsense may hold
    /// more of it.
    ///
    /// # Errors
    ///
    /// As for [`from_bytes`](Self::from_bytes) where that is nothing that can be mended; `Refused` for
    /// keys of other than 16, 32 or 64 bytes and for areas that were never where cryptsetup puts them.
    pub fn repair(start: &[u8]) -> Result<Repaired, Error> {
        let mut raw = raw_header(start)?;
        let cipher_mode = zero_terminated(&raw.cipher_mode).into_owned();
        let has_ecb_iv = cipher_mode.starts_with("ecb-");
        let hash = zero_terminated(&raw.hash_spec).into_owned();
        let has_odd_hash = hash.bytes().any(|byte| byte.is_ascii_uppercase());
        match Self::from_raw(raw.clone()) {
            Ok(header) if !has_ecb_iv && !has_odd_hash => {
                return Ok(Repaired {
                    header,
                    changes: Vec::new(),
                });
            }
            // Nothing here is about what these complain of.
            Err(error @ (Error::NotLuks | Error::Unsupported(_))) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let offsets = repairable_offsets(&raw)?;
        let mut changes = Vec::new();
        if has_ecb_iv {
            raw.cipher_mode = *text_field("cipherMode", "ecb")?.raw();
            changes.push(RepairedField::CipherMode { was: cipher_mode });
        }
        if has_odd_hash {
            let name = raw.hash_spec.iter_mut().take_while(|byte| **byte != 0);
            name.for_each(|byte| byte.make_ascii_lowercase());
            changes.push(RepairedField::Hash { was: hash });
        }
        for ((keyslot, slot), offset) in (0..).zip(&mut raw.keyslots).zip(offsets) {
            if slot.active.get() == ACTIVE {
                continue;
            }
            let before = changes.len();
            let was = slot.key_material_offset.get();
            if was != offset {
                slot.key_material_offset = U32::new(offset);
                changes.push(RepairedField::KeyMaterialOffset {
                    keyslot,
                    was,
                    is: offset,
                });
            }
            let was = slot.stripes.get();
            if was != STRIPES {
                slot.stripes = U32::new(STRIPES);
                changes.push(RepairedField::Stripes { keyslot, was });
            }
            let signature = slot.salt.iter().skip(SIGNATURE_AT).take(SIGNATURE.len());
            if keyslot == SIGNED_KEYSLOT && signature.eq(&SIGNATURE) {
                changes.push(RepairedField::PartitionSignature { keyslot });
            }
            if changes.len() > before {
                slot.deactivate();
            }
        }
        let header = Self::from_raw(raw)?;
        Ok(Repaired { header, changes })
    }
}

/// Where the areas must be, if it can be told.
fn repairable_offsets(raw: &RawHeader) -> Result<[u32; KEYSLOTS], Error> {
    let key_bytes = raw.key_bytes.get();
    if ![16, 32, 64].contains(&key_bytes) {
        return Err(RefusedKind::NoRepair {
            path: "keyBytes",
            value: key_bytes,
            expected: "16, 32 or 64",
        }
        .into());
    }
    let [first, ..] = &raw.keyslots;
    if first.key_material_offset.get() < 8 {
        return Err(RefusedKind::NoRepair {
            path: "keyslot 0 keyMaterialOffset",
            value: first.key_material_offset.get(),
            expected: "8 or more",
        }
        .into());
    }
    let (offsets, end) = default_offsets(key_bytes);
    let payload_offset = raw.payload_offset.get();
    if payload_offset != 0 && u64::from(payload_offset) < end {
        return Err(RefusedKind::PayloadOffset {
            sectors: payload_offset.into(),
            needed: end,
        }
        .into());
    }
    // With keys of 64 bytes at most they are small.
    Ok(offsets.map(|offset| u32::try_from(offset).unwrap_or(u32::MAX)))
}
