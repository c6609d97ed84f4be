//! The checks, in order: what stops a header from being loaded.

use std::ops::Range;

use super::layout::area_sectors;
use super::raw::{KEYSLOTS, MAGIC, RawHeader, RawKeyslot, SECTOR_BYTES, STRIPES, VERSION};
use crate::Error;
use crate::error::{CorruptKind, Quoted, UnsupportedKind};
use crate::text::zero_terminated;

/// Hashes of at least 20 bytes, the digest's length; case does not matter.
const HASHES: [&str; 20] = [
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
    "blake2b-512",
    "blake2s-256",
    "ripemd160",
    "rmd160",
    "whirlpool",
    "wp512",
    "stribog256",
    "stribog512",
    "streebog256",
    "streebog512",
    "sm3",
];

/// The first sectors are the header's: in memory, and for the checks, cryptsetup pads it to two.
const OFFSET_MIN_SECTORS: u32 = 2;
/// The last sector below 4 GiB.
const OFFSET_MAX_SECTORS: u32 = 0x7f_ffff;

/// That the header makes sense, apart from what concerns one keyslot or the digest only. Gives the
/// keyslots' areas in bytes.
pub(super) fn check(raw: &RawHeader) -> Result<[Range<u64>; KEYSLOTS], Error> {
    if raw.magic != MAGIC {
        return Err(Error::NotLuks);
    }
    if raw.version.get() != VERSION {
        return Err(UnsupportedKind::Version(raw.version.get()).into());
    }
    check_hash(&zero_terminated(&raw.hash_spec))?;
    if raw.key_bytes.get() == 0 {
        return Err(CorruptKind::TooSmall {
            path: "keyBytes".into(),
            value: 0,
            limit: 1,
        }
        .into());
    }
    let area_len = area_sectors(raw.key_bytes.get()).saturating_mul(SECTOR_BYTES);
    let payload_offset = u64::from(raw.payload_offset.get()).saturating_mul(SECTOR_BYTES);
    for (id, keyslot) in raw.numbered() {
        check_keyslot(id, keyslot, area_len, payload_offset)?;
    }
    let areas = raw.keyslots.each_ref().map(|keyslot| {
        let offset = keyslot.area_offset();
        offset..offset.saturating_add(area_len)
    });
    check_overlaps(&areas)?;
    Ok(areas)
}

pub(super) fn check_hash(name: &str) -> Result<(), Error> {
    if HASHES.iter().any(|hash| hash.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(UnsupportedKind::Hash(Quoted::new(name)).into())
}

fn check_keyslot(
    id: u32,
    keyslot: &RawKeyslot,
    area_len: u64,
    payload_offset: u64,
) -> Result<(), CorruptKind> {
    let stripes = keyslot.stripes.get();
    if stripes != STRIPES {
        return Err(CorruptKind::Value {
            path: format!("keyslot {id} stripes"),
            value: stripes.to_string(),
            expected: "4000",
        });
    }
    let path = || format!("keyslot {id} keyMaterialOffset");
    let sectors = keyslot.key_material_offset.get();
    if sectors < OFFSET_MIN_SECTORS {
        return Err(CorruptKind::TooSmall {
            path: path(),
            value: sectors.into(),
            limit: OFFSET_MIN_SECTORS.into(),
        });
    }
    if sectors > OFFSET_MAX_SECTORS {
        return Err(CorruptKind::TooLarge {
            path: path(),
            value: sectors.into(),
            limit: OFFSET_MAX_SECTORS.into(),
        });
    }
    let offset = keyslot.area_offset();
    if payload_offset != 0 && offset.saturating_add(area_len) > payload_offset {
        return Err(CorruptKind::AreaPastPayload {
            id,
            offset,
            size: area_len,
            payload_offset,
        });
    }
    Ok(())
}

fn check_overlaps(areas: &[Range<u64>; KEYSLOTS]) -> Result<(), CorruptKind> {
    let mut sorted: Vec<_> = (0_u32..).zip(areas).collect();
    sorted.sort_by_key(|(_, area)| area.start);
    for pair in sorted.windows(2) {
        let [(other, before), (id, area)] = pair else {
            continue;
        };
        if area.start < before.end {
            let len = |area: &Range<u64>| area.end.saturating_sub(area.start);
            return Err(CorruptKind::AreaOverlap {
                id: *id,
                offset: area.start,
                size: len(area),
                other: *other,
                other_offset: before.start,
                other_size: len(before),
            });
        }
    }
    Ok(())
}
