//! A second, deliberately naive reading of the LUKS2 header (on-disk format specification 1.1, section 2), to
//! inspect and to damage it.
//!
//! ```text
//!    0  magic (6) | version (2)      256  hdr_offset (8)
//!    8  hdr_size (8)                 264  padding (184)
//!   16  seqid (8)                    448  csum (64)
//!   24  label (48)                   512  padding (3584)
//!   72  csum_alg (32)               4096  JSON area, to hdr_size
//!  104  salt (64)
//!  168  uuid (40)
//!  208  subsystem (48)
//! ```
//! It does no checks beyond what it needs: images that are wrong on purpose go through it.

use std::ops::Range;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Length in bytes of the binary part.
pub const BINARY_LEN: usize = 4096;
/// Where `hdr_size` stands in a copy.
pub const HDR_SIZE: Range<usize> = 8..16;
/// Where `seqid` stands in a copy.
pub const SEQID: Range<usize> = 16..24;
/// Where `hdr_offset` stands in a copy.
pub const HDR_OFFSET: Range<usize> = 256..264;
/// Where `csum` stands in a copy.
pub const CSUM: Range<usize> = 448..512;

/// `hdr_size` of the copy at `offset`: binary part and JSON area, in bytes.
pub fn header_len(image: &[u8], offset: usize) -> usize {
    number(image, offset, HDR_SIZE).try_into().expect("fits")
}

/// A 64-bit big-endian field of the copy at `offset`.
pub fn number(image: &[u8], offset: usize, field: Range<usize>) -> u64 {
    let bytes = &image[offset + field.start..offset + field.end];
    u64::from_be_bytes(bytes.try_into().expect("the field has eight bytes"))
}

/// Sets a 64-bit big-endian field of the copy at `offset`; the checksum is left as it is.
pub fn set_number(image: &mut [u8], offset: usize, field: Range<usize>, value: u64) {
    image[offset + field.start..offset + field.end].copy_from_slice(&value.to_be_bytes());
}

/// The JSON of the copy at `offset`.
///
/// # Panics
/// If it is not JSON.
pub fn json(image: &[u8], offset: usize) -> Value {
    let area = &image[offset + BINARY_LEN..offset + header_len(image, offset)];
    let text_len = area
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(area.len());
    serde_json::from_slice(&area[..text_len]).expect("the header holds JSON")
}

/// Changes the JSON of both copies; checksums are made right again.
pub fn edit_json(image: &mut [u8], edit: impl FnOnce(&mut Value)) {
    let mut value = json(image, 0);
    edit(&mut value);
    set_json(image, value.to_string().as_bytes());
}

/// Puts this text (any bytes) at the start of both JSON areas, zeros after it, and makes the checksums right.
///
/// # Panics
/// If it does not fit.
pub fn set_json(image: &mut [u8], text: &[u8]) {
    let header_len = header_len(image, 0);
    for offset in [0, header_len] {
        let area = &mut image[offset + BINARY_LEN..offset + header_len];
        area.fill(0);
        area[..text.len()].copy_from_slice(text);
        fix_checksum(image, offset);
    }
}

/// Makes the SHA-256 checksum of the copy at `offset` right.
pub fn fix_checksum(image: &mut [u8], offset: usize) {
    let len = header_len(image, offset);
    image[offset + CSUM.start..offset + CSUM.end].fill(0);
    let checksum = Sha256::digest(&image[offset..offset + len]);
    image[offset + CSUM.start..offset + CSUM.start + 32].copy_from_slice(&checksum);
}

/// Where the data starts: the smallest offset of a segment, in bytes.
pub fn data_offset(image: &[u8]) -> usize {
    let json = json(image, 0);
    let segments = json["segments"].as_object().expect("there are segments");
    segments
        .values()
        .map(|segment| decimal(&segment["offset"]))
        .min()
        .expect("there is a segment")
}

/// The keyslots area: offset and length in bytes.
pub fn keyslots_area(image: &[u8]) -> Range<usize> {
    let json = json(image, 0);
    let start = 2 * header_len(image, 0);
    start..start + decimal(&json["config"]["keyslots_size"])
}

/// Zeroes every byte of the keyslots area that no keyslot owns: formatting fills it with random bytes, which
/// would not compress.
pub fn zero_unowned_keyslot_bytes(image: &mut [u8]) {
    let area = keyslots_area(image);
    let mut owned: Vec<Range<usize>> = json(image, 0)["keyslots"]
        .as_object()
        .expect("there are keyslots")
        .values()
        .map(|keyslot| {
            let start = decimal(&keyslot["area"]["offset"]);
            start..start + decimal(&keyslot["area"]["size"])
        })
        .collect();
    owned.sort_by_key(|range| range.start);
    let end = area.end.min(image.len());
    let mut position = area.start;
    for range in owned {
        image[position..range.start].fill(0);
        position = range.end;
    }
    image[position..end].fill(0);
}

/// A number that the format keeps as a decimal string.
fn decimal(value: &Value) -> usize {
    value
        .as_str()
        .expect("a decimal string")
        .parse()
        .expect("decimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Two copies of 16 KiB each, a keyslots area of 16 KiB full of ones.
    fn image() -> Vec<u8> {
        let mut image = vec![0xff_u8; 0xc000];
        for offset in [0, 0x4000] {
            image[offset..offset + 0x4000].fill(0);
            set_number(&mut image, offset, HDR_SIZE, 0x4000);
        }
        let text = json!({
            "keyslots": {"0": {"area": {"offset": "36864", "size": "4096"}}},
            "segments": {"0": {"offset": "49152"}},
            "config": {"keyslots_size": "16384"},
        });
        set_json(&mut image, text.to_string().as_bytes());
        image
    }

    #[test]
    fn bytes_that_no_keyslot_owns_are_zeroed() {
        let mut image = image();
        zero_unowned_keyslot_bytes(&mut image);
        assert!(image[0x8000..0x9000].iter().all(|&byte| byte == 0));
        assert!(image[0x9000..0xa000].iter().all(|&byte| byte == 0xff));
        assert!(image[0xa000..0xc000].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn editing_changes_both_copies_and_their_checksums() {
        let mut image = image();
        let before = image[CSUM].to_vec();
        edit_json(&mut image, |json| {
            json["segments"]["0"]["offset"] = json!("53248")
        });
        assert_eq!(data_offset(&image), 53248);
        assert_eq!(json(&image, 0), json(&image, 0x4000));
        assert_ne!(image[CSUM], before[..]);
        let again = image.clone();
        fix_checksum(&mut image, 0x4000);
        assert_eq!(image, again);
    }
}
