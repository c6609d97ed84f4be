//! What bounds every implementation: the memory. (The AES units' own limit is the kernel's to tell.)
#![allow(unsafe_code)]

use std::hint::black_box;

/// Reads, changes and writes back all of `data`.
pub(crate) fn read_xor_write(data: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { xor_avx2(data) };
    }
    xor(data);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(data: &mut [u8]) {
    xor(data);
}

#[inline(always)]
fn xor(data: &mut [u8]) {
    for byte in black_box(data) {
        *byte ^= 0x55;
    }
}

/// Copies the one half of `data` onto the other, and tells how many bytes that was.
pub(crate) fn copy_half(data: &mut [u8]) -> usize {
    let (to, from) = data.split_at_mut(data.len() / 2);
    black_box(to).copy_from_slice(black_box(&from[..]));
    from.len()
}
