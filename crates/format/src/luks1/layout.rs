//! New headers: where cryptsetup puts the areas and the payload.

use zerocopy::FromZeros;
use zerocopy::big_endian::{U16, U32};

use super::raw::{INACTIVE, KEYSLOTS, MAGIC, NAME_LEN, RawHeader, SECTOR_BYTES, STRIPES, VERSION};
use super::{Header, VolumeKeyDigest, validate};
use crate::Error;
use crate::error::{CorruptKind, Quoted, RefusedKind};
use crate::text::{Text, text_field, uuid_field};

/// New areas start on multiples of this many sectors: 4096 bytes.
const ALIGNMENT_SECTORS: u64 = 8;

/// What a new header needs.
///
/// See [`Header`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHeader {
    /// The cipher of payload and key material in dm-crypt's notation, `aes-xts-plain64`: cipher and mode
    /// have at most 31 bytes each.
    pub encryption: String,
    /// One of the hashes of [`Header::hash`], which gets it in lower case.
    pub hash: String,
    /// Length of the volume key in bytes; not 0.
    pub key_bytes: u32,
    /// What the volume key hashes to.
    pub digest: VolumeKeyDigest,
    /// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    pub uuid: String,
    /// Where the payload starts.
    pub payload_offset: PayloadOffset,
    /// Where the keyslots' areas start, in 512-byte sectors from 2 to 8,388,607; `None` for cryptsetup's places: one
    /// after the other from byte 4096 on, each on a multiple of 4096 bytes.
    pub key_material_offsets: Option<[u32; KEYSLOTS]>,
}

/// Where a new volume's payload starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadOffset {
    /// On another device than the header.
    Detached,
    /// At the first multiple of so many 512-byte sectors behind the keyslots, as with `--align-payload`;
    /// cryptsetup's default is 2048, 1 MiB. 0 counts as 1.
    Aligned {
        /// The unit in sectors.
        sectors: u32,
    },
    /// At this 512-byte sector: 0, which means another device, or behind the keyslots.
    Sectors(u32),
}

/// Bytes of the area of a key of `key_bytes` bytes: × 4000 stripes, rounded up to whole sectors.
///
/// ```
/// assert_eq!(lucarne_format::luks1::area_size_for_key(64), 256_000);
/// ```
#[must_use]
pub fn area_size_for_key(key_bytes: u32) -> u64 {
    area_sectors(key_bytes).saturating_mul(SECTOR_BYTES)
}

pub(super) fn area_sectors(key_bytes: u32) -> u64 {
    u64::from(key_bytes)
        .saturating_mul(u64::from(STRIPES))
        .div_ceil(SECTOR_BYTES)
}

/// cryptsetup's offsets of the areas of keys of `key_bytes` bytes, and the first that none of them has.
pub(super) fn default_offsets(key_bytes: u32) -> ([u64; KEYSLOTS], u64) {
    let stride = area_sectors(key_bytes).next_multiple_of(ALIGNMENT_SECTORS);
    let mut next = ALIGNMENT_SECTORS;
    let offsets = std::array::from_fn(|_| {
        let offset = next;
        next = next.saturating_add(stride);
        offset
    });
    (offsets, next)
}

impl Header {
    /// Makes a header with no active keyslot.
    ///
    /// # Errors
    ///
    /// `Refused` names what would make the header invalid, `Unsupported` a hash that is not known.
    pub fn new(new: &NewHeader) -> Result<Self, Error> {
        let (cipher, mode) = new
            .encryption
            .split_once('-')
            .filter(|(cipher, mode)| !cipher.is_empty() && !mode.is_empty())
            .ok_or_else(|| RefusedKind::Encryption(Quoted::new(&new.encryption)))?;
        let cipher_name: Text<NAME_LEN> = text_field("cipher", cipher)?;
        let cipher_mode: Text<NAME_LEN> = text_field("cipher mode", mode)?;
        validate::check_hash(&new.hash)?;
        let hash: Text<NAME_LEN> = text_field("hash", &new.hash.to_ascii_lowercase())?;
        if new.digest.iterations == 0 {
            return Err(invalid(CorruptKind::TooSmall {
                path: "mkDigestIterations".into(),
                value: 0,
                limit: 1,
            }));
        }
        let (offsets, end) = match new.key_material_offsets {
            Some(offsets) => {
                let last = offsets.iter().max().copied().unwrap_or_default();
                let end = u64::from(last).saturating_add(area_sectors(new.key_bytes));
                (offsets.map(u64::from), end)
            }
            None => default_offsets(new.key_bytes),
        };

        let mut raw = RawHeader::new_zeroed();
        raw.magic = MAGIC;
        raw.version = U16::new(VERSION);
        raw.cipher_name = *cipher_name.raw();
        raw.cipher_mode = *cipher_mode.raw();
        raw.hash_spec = *hash.raw();
        raw.payload_offset = U32::new(new.payload_offset.sectors(end)?);
        raw.key_bytes = U32::new(new.key_bytes);
        raw.mk_digest = new.digest.digest;
        raw.mk_digest_salt = new.digest.salt;
        raw.mk_digest_iterations = U32::new(new.digest.iterations);
        raw.uuid = *uuid_field(&new.uuid)?.raw();
        for (keyslot, offset) in raw.keyslots.iter_mut().zip(offsets) {
            keyslot.active = U32::new(INACTIVE);
            // One that does not fit is past the limit, which the checks name.
            keyslot.key_material_offset = U32::new(u32::try_from(offset).unwrap_or(u32::MAX));
            keyslot.stripes = U32::new(STRIPES);
        }
        Self::from_raw(raw).map_err(refused)
    }
}

impl PayloadOffset {
    /// In sectors; `end` is the first behind the keyslots.
    fn sectors(self, end: u64) -> Result<u32, Error> {
        let sectors = match self {
            Self::Detached | Self::Sectors(0) => return Ok(0),
            Self::Aligned { sectors } => end.next_multiple_of(u64::from(sectors.max(1))),
            Self::Sectors(sectors) => sectors.into(),
        };
        let refused = RefusedKind::PayloadOffset {
            sectors,
            needed: end,
        };
        match u32::try_from(sectors) {
            Ok(fits) if sectors >= end => Ok(fits),
            _ => Err(refused.into()),
        }
    }
}

/// What is corrupt in a header that is read is a mistake in one that is made.
pub(super) fn refused(error: Error) -> Error {
    match error {
        Error::Corrupt(corrupt) => RefusedKind::Invalid(corrupt).into(),
        other => other,
    }
}

fn invalid(kind: CorruptKind) -> Error {
    RefusedKind::Invalid(kind.into()).into()
}
