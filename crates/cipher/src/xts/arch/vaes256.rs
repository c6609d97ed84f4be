//! VAES on 256-bit vectors, two blocks each: for CPUs without AVX-512, and those that slow down on it.

use std::arch::asm;
#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::x86_64::*;

use cipher::consts::U256;

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

    #[inline(always)]
    fn load(self, batch: &Batch<Self>, stream: usize) -> __m256i {
        let bytes = &batch.as_chunks::<32>().0[stream];
        // SAFETY: 32 readable bytes, any alignment; `self` proves AVX2.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, batch: &mut Batch<Self>, stream: usize, vector: __m256i) {
        let bytes = &mut batch.as_chunks_mut::<32>().0[stream];
        // SAFETY: 32 writable bytes, any alignment; `self` proves AVX2.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn load_ivs(self, ivs: &IvGroup) -> __m256i {
        // SAFETY: 32 readable bytes of 64, any alignment; `self` proves AVX2.
        unsafe { _mm256_loadu_si256(ivs.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_ivs(self, ivs: &mut IvGroup, vector: __m256i) {
        // SAFETY: 32 writable bytes of 64, any alignment; `self` proves AVX2.
        unsafe { _mm256_storeu_si256(ivs.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn splat(self, block: &Block) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_broadcastsi128_si256(x86::load_block(block)) }
    }

    #[inline(always)]
    fn prefetch(self, batch: &Batch<Self>, stream: usize, ahead_bytes: usize) {
        // Once for each line of the cache.
        if (stream * 32).is_multiple_of(64) {
            let place = batch.as_ptr().wrapping_add(stream * 32 + ahead_bytes);
            // SAFETY: a prefetch reads nothing and never faults, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
        }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        self.xor(a, self.xor(b, c))
    }

    #[inline(always)]
    fn encrypt_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2 and VAES.
        unsafe { _mm256_aesenc_epi128(state, key) }
    }

    #[inline(always)]
    fn encrypt_last_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2 and VAES.
        unsafe { _mm256_aesenclast_epi128(state, key) }
    }

    #[inline(always)]
    fn decrypt_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2 and VAES.
        unsafe { _mm256_aesdec_epi128(state, key) }
    }

    #[inline(always)]
    fn decrypt_last_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2 and VAES.
        unsafe { _mm256_aesdeclast_epi128(state, key) }
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

    #[inline(always)]
    fn pin(
        self,
        states: &mut [__m256i; STREAMS],
        computed: &mut __m256i,
        needed_next: &mut __m256i,
    ) {
        #[target_feature(enable = "avx2")]
        #[inline]
        fn inner(states: &mut [__m256i; STREAMS], computed: &mut __m256i, next: &mut __m256i) {
            let [s0, s1, s2, s3, s4, s5, s6, s7] = states;
            // SAFETY: no instruction but a comment.
            unsafe {
                asm!(
                    "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} */",
                    inout(ymm_reg) * s0,
                    inout(ymm_reg) * s1,
                    inout(ymm_reg) * s2,
                    inout(ymm_reg) * s3,
                    inout(ymm_reg) * s4,
                    inout(ymm_reg) * s5,
                    inout(ymm_reg) * s6,
                    inout(ymm_reg) * s7,
                    inout(ymm_reg) * computed,
                    inout(ymm_reg) * next,
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
