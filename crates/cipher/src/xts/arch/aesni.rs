//! AES-NI on 128-bit vectors, one block each.

#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::x86_64::*;

use cipher::consts::U128;

use super::lines::{Join, past_caches};
use super::{Batch, Block, Isa, IvGroup, STREAMS, x86};

/// AES-NI with PCLMULQDQ, and AVX2 for shifts by a vector of distances; existing proves that the CPU has them.
#[derive(Clone, Copy)]
pub(in crate::xts) struct AesNi(());

impl AesNi {
    pub(in crate::xts) fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq");
        has_all.then_some(Self(()))
    }
}

super::kernel!(AesNi, "avx2,aes,pclmulqdq");

/// Every block times x^(8·`$bytes`): shifted by whole bytes, and what falls out at the top, times
/// x^7 + x^2 + x + 1, added at the bottom.
macro_rules! times_x_to_bytes {
    ($tweaks:expr, $bytes:literal) => {{
        let tweaks = $tweaks;
        // SAFETY: `self` proves AVX2 and PCLMULQDQ.
        unsafe {
            let out = _mm_bsrli_si128::<{ 16 - $bytes }>(tweaks);
            let reduced = _mm_clmulepi64_si128::<0>(out, _mm_set1_epi64x(0x87));
            _mm_xor_si128(_mm_bslli_si128::<$bytes>(tweaks), reduced)
        }
    }};
}

impl Isa for AesNi {
    type Vector = __m128i;
    type BatchLen = U128;
    const BLOCKS: usize = 1;

    past_caches!();

    x86::methods_of_any_width! {
        vector: __m128i, bytes: 16, register: xmm_reg, feature: "avx2",
        load: _mm_loadu_si128, store: _mm_storeu_si128, broadcast: std::convert::identity, xor: _mm_xor_si128,
        encrypt: _mm_aesenc_si128, encrypt_last: _mm_aesenclast_si128,
        decrypt: _mm_aesdec_si128, decrypt_last: _mm_aesdeclast_si128,
    }

    #[inline(always)]
    fn xor3(self, a: __m128i, b: __m128i, c: __m128i) -> __m128i {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn powers(self, tweak: __m128i, power: usize) -> __m128i {
        let power = power as i64;
        // SAFETY: `self` proves AVX2 and PCLMULQDQ.
        unsafe {
            let left = _mm_set1_epi64x(power);
            let right = _mm_sub_epi64(_mm_set1_epi64x(64), left);
            let halves_swapped = _mm_shuffle_epi32::<0x4e>(tweak);
            // In the low half what leaves the block at the top, in the high half the carry into it.
            let out = _mm_srlv_epi64(halves_swapped, right);
            let high_half = _mm_set_epi64x(-1, 0);
            let shifted = _mm_xor_si128(_mm_sllv_epi64(tweak, left), _mm_and_si128(out, high_half));
            let reduced = _mm_clmulepi64_si128::<0>(out, _mm_set1_epi64x(0x87));
            _mm_xor_si128(shifted, reduced)
        }
    }

    #[inline(always)]
    fn times_x8(self, tweaks: __m128i) -> __m128i {
        times_x_to_bytes!(tweaks, 1)
    }

    #[inline(always)]
    fn times_x16(self, tweaks: __m128i) -> __m128i {
        times_x_to_bytes!(tweaks, 2)
    }

    #[inline(always)]
    fn times_x32(self, tweaks: __m128i) -> __m128i {
        times_x_to_bytes!(tweaks, 4)
    }
}

impl Join for AesNi {
    type Places = ();

    #[inline(always)]
    fn places(self, _: usize) {}

    #[inline(always)]
    fn joined(self, before: __m128i, vector: __m128i, (): ()) -> __m128i {
        // A vector has two quad words: there is one way to lie between.
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_alignr_epi8::<8>(vector, before) }
    }

    #[inline(always)]
    unsafe fn stream(self, place: *mut __m128i, vector: __m128i) {
        // SAFETY: the caller's, and `self` proves AVX2.
        unsafe { _mm_stream_si128(place, vector) }
    }
}
