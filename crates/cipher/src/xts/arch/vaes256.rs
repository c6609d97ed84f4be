//! VAES on 256-bit vectors, two blocks each: for CPUs without AVX-512, and those that slow down on it.

#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::x86_64::*;

use cipher::consts::U256;

use super::lines::{Join, past_caches};
use super::{Batch, Block, Isa, IvGroup, STREAMS, x86};

/// AVX2 with VAES and VPCLMULQDQ; existing proves that the CPU has them.
#[derive(Clone, Copy)]
pub(in crate::xts) struct Vaes256(());

impl Vaes256 {
    pub(in crate::xts) fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("aes");
        has_all.then_some(Self(()))
    }
}

super::kernel!(Vaes256, "avx2,vaes,vpclmulqdq,aes");

/// Every block times x^(8·`$bytes`): shifted by whole bytes, and what falls out at the top, times
/// x^7 + x^2 + x + 1, added at the bottom.
macro_rules! times_x_to_bytes {
    ($tweaks:expr, $bytes:literal) => {{
        let tweaks = $tweaks;
        // SAFETY: `self` proves AVX2 and VPCLMULQDQ.
        unsafe {
            let out = _mm256_bsrli_epi128::<{ 16 - $bytes }>(tweaks);
            let reduced = _mm256_clmulepi64_epi128::<0>(out, _mm256_set1_epi64x(0x87));
            _mm256_xor_si256(_mm256_bslli_epi128::<$bytes>(tweaks), reduced)
        }
    }};
}

impl Isa for Vaes256 {
    type Vector = __m256i;
    type BatchLen = U256;
    const BLOCKS: usize = 2;

    past_caches!();

    x86::methods_of_any_width! {
        vector: __m256i, bytes: 32, register: ymm_reg, feature: "avx2",
        load: _mm256_loadu_si256, store: _mm256_storeu_si256, broadcast: _mm256_broadcastsi128_si256, xor: _mm256_xor_si256,
        encrypt: _mm256_aesenc_epi128, encrypt_last: _mm256_aesenclast_epi128,
        decrypt: _mm256_aesdec_epi128, decrypt_last: _mm256_aesdeclast_epi128,
    }

    #[inline(always)]
    fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn powers(self, tweak: __m256i, power: usize) -> __m256i {
        let [p0, p1] = std::array::from_fn(|lane| (power + lane) as i64);
        // SAFETY: `self` proves AVX2 and VPCLMULQDQ.
        unsafe {
            let left = _mm256_set_epi64x(p1, p1, p0, p0);
            let right = _mm256_sub_epi64(_mm256_set1_epi64x(64), left);
            let halves_swapped = _mm256_shuffle_epi32::<0x4e>(tweak);
            // In the low half what leaves the block at the top, in the high half the carry into it.
            let out = _mm256_srlv_epi64(halves_swapped, right);
            let high_half = _mm256_set_epi64x(-1, 0, -1, 0);
            let shifted = _mm256_xor_si256(
                _mm256_sllv_epi64(tweak, left),
                _mm256_and_si256(out, high_half),
            );
            let reduced = _mm256_clmulepi64_epi128::<0>(out, _mm256_set1_epi64x(0x87));
            _mm256_xor_si256(shifted, reduced)
        }
    }

    #[inline(always)]
    fn times_x8(self, tweaks: __m256i) -> __m256i {
        times_x_to_bytes!(tweaks, 1)
    }

    #[inline(always)]
    fn times_x16(self, tweaks: __m256i) -> __m256i {
        times_x_to_bytes!(tweaks, 2)
    }

    #[inline(always)]
    fn times_x32(self, tweaks: __m256i) -> __m256i {
        times_x_to_bytes!(tweaks, 4)
    }
}

impl Join for Vaes256 {
    /// Of eight double words: where each of the joined vector is in what was blended, and which of that are of the one before.
    type Places = [__m256i; 2];

    #[inline(always)]
    fn places(self, into: usize) -> [__m256i; 2] {
        let halves = 2 * into as i32;
        // SAFETY: `self` proves AVX2.
        unsafe {
            let places = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
            let rotated = _mm256_sub_epi32(places, _mm256_set1_epi32(halves));
            let of_before = _mm256_cmpgt_epi32(places, _mm256_set1_epi32(7 - halves));
            [rotated, of_before]
        }
    }

    #[inline(always)]
    fn joined(
        self,
        before: __m256i,
        vector: __m256i,
        [rotated, of_before]: [__m256i; 2],
    ) -> __m256i {
        // The lowest three bits of a place count, so that those below zero are the last.
        // SAFETY: `self` proves AVX2.
        unsafe {
            let blended = _mm256_blendv_epi8(vector, before, of_before);
            _mm256_permutevar8x32_epi32(blended, rotated)
        }
    }

    #[inline(always)]
    unsafe fn stream(self, place: *mut __m256i, vector: __m256i) {
        // SAFETY: the caller's, and `self` proves AVX2.
        unsafe { _mm256_stream_si256(place, vector) }
    }
}
