//! AES-NI on 128-bit vectors, one block each.

use std::arch::asm;
#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::x86_64::*;

use cipher::consts::U128;

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

    #[inline(always)]
    fn load(self, batch: &Batch<Self>, stream: usize) -> __m128i {
        let bytes = &batch.as_chunks::<16>().0[stream];
        // SAFETY: 16 readable bytes, any alignment; `self` proves AVX2.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, batch: &mut Batch<Self>, stream: usize, vector: __m128i) {
        let bytes = &mut batch.as_chunks_mut::<16>().0[stream];
        // SAFETY: 16 writable bytes, any alignment; `self` proves AVX2.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load_ivs(self, ivs: &IvGroup) -> __m128i {
        // SAFETY: 16 readable bytes of 64, any alignment; `self` proves AVX2.
        unsafe { _mm_loadu_si128(ivs.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_ivs(self, ivs: &mut IvGroup, vector: __m128i) {
        // SAFETY: 16 writable bytes of 64, any alignment; `self` proves AVX2.
        unsafe { _mm_storeu_si128(ivs.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn splat(self, block: &Block) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { x86::load_block(block) }
    }

    #[inline(always)]
    fn prefetch(self, batch: &Batch<Self>, stream: usize, ahead_bytes: usize) {
        // Once for each line of the cache.
        if (stream * 16).is_multiple_of(64) {
            let place = batch.as_ptr().wrapping_add(stream * 16 + ahead_bytes);
            // SAFETY: a prefetch reads nothing and never faults, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
        }
    }

    #[inline(always)]
    fn xor(self, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_xor_si128(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m128i, b: __m128i, c: __m128i) -> __m128i {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn encrypt_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: `self` proves AES-NI.
        unsafe { _mm_aesenc_si128(state, key) }
    }

    #[inline(always)]
    fn encrypt_last_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: `self` proves AES-NI.
        unsafe { _mm_aesenclast_si128(state, key) }
    }

    #[inline(always)]
    fn decrypt_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: `self` proves AES-NI.
        unsafe { _mm_aesdec_si128(state, key) }
    }

    #[inline(always)]
    fn decrypt_last_round(self, state: __m128i, key: __m128i) -> __m128i {
        // SAFETY: `self` proves AES-NI.
        unsafe { _mm_aesdeclast_si128(state, key) }
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

    #[inline(always)]
    fn pin(
        self,
        states: &mut [__m128i; STREAMS],
        computed: &mut __m128i,
        needed_next: &mut __m128i,
    ) {
        #[target_feature(enable = "avx2")]
        #[inline]
        fn inner(states: &mut [__m128i; STREAMS], computed: &mut __m128i, next: &mut __m128i) {
            let [s0, s1, s2, s3, s4, s5, s6, s7] = states;
            // SAFETY: no instruction but a comment.
            unsafe {
                asm!(
                    "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} */",
                    inout(xmm_reg) * s0,
                    inout(xmm_reg) * s1,
                    inout(xmm_reg) * s2,
                    inout(xmm_reg) * s3,
                    inout(xmm_reg) * s4,
                    inout(xmm_reg) * s5,
                    inout(xmm_reg) * s6,
                    inout(xmm_reg) * s7,
                    inout(xmm_reg) * computed,
                    inout(xmm_reg) * next,
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
        // SAFETY: `self` proves AVX2.
        unsafe { inner(states, computed, needed_next) }
    }

    #[inline(always)]
    fn sub_word(self, word: u32) -> u32 {
        // SAFETY: `new` asked for AES too, and AVX2 includes SSE 4.1.
        unsafe { x86::sub_word(word) }
    }

    #[inline(always)]
    fn inv_mix_columns(self, block: &Block) -> Block {
        // SAFETY: `new` asked for AES too, and AVX2 includes SSE 4.1.
        unsafe { x86::inv_mix_columns(block) }
    }
}
