//! A second, deliberately naive reading of the LUKS1 header (specification 2.1), to inspect and to change it.

/// Bytes of the header.
pub const HEADER_LEN: usize = 592;
/// Where the keyslots' fields start, and how many bytes each has.
const KEYSLOTS: usize = 208;
const KEYSLOT_LEN: usize = 48;
const ACTIVE: u32 = 0x00ac_71f3;

/// Whether the image begins as LUKS1 does.
pub fn is_luks1(image: &[u8]) -> bool {
    image.starts_with(b"LUKS\xba\xbe\x00\x01")
}

/// First byte of the payload.
pub fn data_offset(image: &[u8]) -> usize {
    number(image, 104) as usize * 512
}

/// The keyslots that are active.
pub fn active(image: &[u8]) -> Vec<usize> {
    (0..8)
        .filter(|id| number(image, KEYSLOTS + id * KEYSLOT_LEN) == ACTIVE)
        .collect()
}

/// Zeros in the areas of inactive keyslots, which luksFormat fills with noise: so they compress.
pub fn zero_inactive_areas(image: &mut [u8]) {
    let key_len = number(image, 108) as usize;
    let active = active(image);
    for id in (0..8).filter(|id| !active.contains(id)) {
        let start = number(image, KEYSLOTS + id * KEYSLOT_LEN + 40) as usize * 512;
        image[start..start + (key_len * 4000).next_multiple_of(512)].fill(0);
    }
}

fn number(image: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(image[at..at + 4].try_into().unwrap())
}
