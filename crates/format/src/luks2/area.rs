//! Where a keyslot's key material lies and how it is encrypted ("area", specification 3.2).

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::member::Object;
use crate::error::CorruptKind;

/// AF stripes: LUKS2 knows this number only.
pub const STRIPES: u32 = 4000;

/// New areas start and end on multiples of this many bytes.
pub const AREA_ALIGNMENT_BYTES: u64 = 4096;

/// The unit of an area's own encryption: 512-byte sectors.
const SECTOR_BYTES: u64 = 512;

/// A keyslot's area of type `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// First byte, counted from the start of the header device; a multiple of 512.
    pub offset: u64,
    /// Length in bytes; a multiple of 512, room for the split key.
    pub size: u64,
    /// The cipher of the area in dm-crypt's notation, `aes-xts-plain64`.
    pub encryption: String,
    /// Length of the area's key in bytes; not 0.
    pub key_size: u32,
}

impl Area {
    /// The size that a new area for a key of `key_size` bytes gets: `key_size` × 4000 stripes,
    /// rounded up to whole 4096 bytes.
    ///
    /// ```
    /// assert_eq!(lucarne_format::luks2::Area::size_for_key(64), 258_048);
    /// ```
    #[must_use]
    pub fn size_for_key(key_size: u32) -> u64 {
        split_len_bytes(key_size).next_multiple_of(AREA_ALIGNMENT_BYTES)
    }

    /// What every reader needs of it: members of the right types.
    pub(super) fn check_shape(area: &Object<'_>) -> Result<(), CorruptKind> {
        let kind = area.string("type")?;
        if kind != "raw" {
            return Err(CorruptKind::Value {
                path: area.path("type"),
                value: crate::error::Quoted::new(kind).to_string(),
                expected: "\"raw\"",
            });
        }
        area.string("encryption")?;
        area.check_integer("key_size")
    }

    /// After [`Self::check_shape`].
    pub(super) fn parse(area: &Object<'_>) -> Result<Self, CorruptKind> {
        let range = parse_range(area)?;
        let size = range.end.saturating_sub(range.start);
        for (name, value) in [("offset", range.start), ("size", size)] {
            if !value.is_multiple_of(SECTOR_BYTES) {
                return Err(CorruptKind::Misaligned {
                    path: area.path(name),
                    value,
                    unit: SECTOR_BYTES,
                });
            }
        }
        Ok(Self {
            offset: range.start,
            size,
            encryption: area.string("encryption")?.to_owned(),
            key_size: area.positive_u32("key_size")?,
        })
    }

    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut area = Map::new();
        area.insert("type".into(), json!("raw"));
        area.insert("offset".into(), json!(self.offset.to_string()));
        area.insert("size".into(), json!(self.size.to_string()));
        area.insert("encryption".into(), json!(self.encryption));
        area.insert("key_size".into(), json!(self.key_size));
        area
    }
}

/// Bytes of a key of `key_size` bytes after the AF split.
pub(super) fn split_len_bytes(key_size: u32) -> u64 {
    u64::from(key_size).saturating_mul(u64::from(STRIPES))
}

/// The bytes of an area of any type: not empty, end within 64 bits.
pub(super) fn parse_range(area: &Object<'_>) -> Result<Range<u64>, CorruptKind> {
    let offset = area.u64("offset")?;
    let size = area.u64("size")?;
    if size == 0 {
        return Err(CorruptKind::TooSmall {
            path: area.path("size"),
            value: 0,
            limit: 1,
        });
    }
    let end = offset
        .checked_add(size)
        .ok_or_else(|| CorruptKind::Overflow {
            path: area.own_path(),
            offset,
            size,
        })?;
    Ok(offset..end)
}

/// Whether two areas have a byte in common.
///
/// ```
/// use lucarne_format::luks2::areas_overlap;
/// assert!(areas_overlap(&(0..4096), &(4095..8192)));
/// assert!(!areas_overlap(&(0..4096), &(4096..8192)));
/// ```
#[must_use]
pub fn areas_overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The first gap of `len_bytes` within `space` that no area of `used` touches, on a multiple of
/// 4096 bytes.
///
/// ```
/// use lucarne_format::luks2::first_gap;
/// assert_eq!(first_gap(0x8000..0x20000, vec![0x8000..0x9000], 0x1000), Some(0x9000));
/// assert_eq!(first_gap(0x8000..0x20000, vec![0x8000..0x9000], 0x20000), None);
/// ```
#[must_use]
pub fn first_gap(space: Range<u64>, mut used: Vec<Range<u64>>, len_bytes: u64) -> Option<u64> {
    used.sort_unstable_by_key(|range| range.start);
    let mut start = space.start.checked_next_multiple_of(AREA_ALIGNMENT_BYTES)?;
    for range in used {
        if start.checked_add(len_bytes)? <= range.start {
            break;
        }
        start = start.max(range.end.checked_next_multiple_of(AREA_ALIGNMENT_BYTES)?);
    }
    (start.checked_add(len_bytes)? <= space.end).then_some(start)
}

/// The longest run of bytes in `space` that none of `used` touches, from a multiple of 4096 bytes on; empty if
/// there is none.
pub(super) fn longest_gap(space: Range<u64>, mut used: Vec<Range<u64>>) -> Range<u64> {
    used.sort_unstable_by_key(|range| range.start);
    let on_grid = |at: u64| {
        at.checked_next_multiple_of(AREA_ALIGNMENT_BYTES)
            .unwrap_or(u64::MAX)
    };
    let mut longest = space.end..space.end;
    let mut start = on_grid(space.start);
    let end = std::iter::once(space.end..space.end);
    for range in used.into_iter().chain(end) {
        let len = range.start.saturating_sub(start);
        if len > longest.end.saturating_sub(longest.start) {
            longest = start..range.start;
        }
        start = start.max(on_grid(range.end));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_found_wherever_it_lies() {
        let space = 0x8000..0x20000;
        assert_eq!(longest_gap(space.clone(), vec![]), space);
        let used = vec![0x10000..0x11000, 0x8000..0x9000];
        assert_eq!(longest_gap(space.clone(), used), 0x11000..0x20000);
        let used = vec![0x1_8000..0x1_8200, 0x1_f000..0x1_f200];
        assert_eq!(longest_gap(space.clone(), used), 0x8000..0x18000);
        let used = vec![0x8000..0x9000, 0x9000..0x20000];
        assert!(longest_gap(space, used).is_empty());
    }

    #[test]
    fn sizes_for_keys_are_cryptsetups() {
        // What luksFormat writes for 256-bit, 512-bit and 768-bit keys.
        assert_eq!(Area::size_for_key(32), 131_072);
        assert_eq!(Area::size_for_key(64), 258_048);
        assert_eq!(Area::size_for_key(96), 385_024);
        assert_eq!(Area::size_for_key(u32::MAX), 17_179_869_184_000);
    }

    #[test]
    fn the_first_gap_that_fits_is_taken() {
        let space = 0x8000..0x20000;
        assert_eq!(first_gap(space.clone(), vec![], 0x1000), Some(0x8000));
        let used = vec![0x10000..0x11000, 0x8000..0x9000];
        assert_eq!(first_gap(space.clone(), used.clone(), 0x7000), Some(0x9000));
        assert_eq!(
            first_gap(space.clone(), used.clone(), 0x8000),
            Some(0x11000)
        );
        assert_eq!(first_gap(space.clone(), used, 0x10000), None);
        // An area that ends off the grid pushes the next one up to it.
        let odd = vec![0x8000..0x8200, 0x1_1000..0x1_1200];
        assert_eq!(first_gap(space.clone(), odd, 0x1000), Some(0x9000));
        assert_eq!(first_gap(space, vec![], u64::MAX), None);
    }
}
