//! VAES on 512-bit vectors, four blocks each.

#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::x86_64::*;

use cipher::consts::U512;

use super::lines::{Join, past_caches};
use super::{Batch, Block, Isa, IvGroup, STREAMS, x86};

/// AVX-512 with VAES and VPCLMULQDQ; existing proves that the CPU has them.
///
/// `CLMUL`: how T·x^k is reduced. Where the carry-less multiplier has a port of its own (Intel's
/// port 5), it is the shortest way. Where it shares AES's pipes (AMD's 0 and 1) it takes their time,
/// and shifts and xors, of which there are more, go to the pipes that AES leaves free: 0.95 of the
/// in-register limit instead of 0.89 on a Zen 4.
#[derive(Clone, Copy)]
pub(in crate::xts) struct Vaes512<const CLMUL: bool>(());

impl<const CLMUL: bool> Vaes512<CLMUL> {
    pub(in crate::xts) fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("sse4.1");
        has_all.then_some(Self(()))
    }
}

super::kernel!(
    Vaes512<true>,
    "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,sse4.1"
);
super::kernel!(
    Vaes512<false>,
    "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,sse4.1"
);

/// Every block times x^(8·`$bytes`): shifted by whole bytes, and what falls out at the top, times
/// x^7 + x^2 + x + 1, added at the bottom. At most 32 bits fall out: the product fits in 64.
macro_rules! times_x_to_bytes {
    ($tweaks:expr, $bytes:literal) => {{
        let tweaks = $tweaks;
        // SAFETY: `self` proves AVX-512 and VPCLMULQDQ.
        unsafe {
            let out = _mm512_bsrli_epi128::<{ 16 - $bytes }>(tweaks);
            if CLMUL {
                let reduced = _mm512_clmulepi64_epi128::<0>(out, _mm512_set1_epi64(0x87));
                _mm512_xor_si512(_mm512_bslli_epi128::<$bytes>(tweaks), reduced)
            } else {
                // Rotated, so that the 1 of the polynomial is in already.
                let rotated = _mm512_alignr_epi8::<{ 16 - $bytes }>(tweaks, tweaks);
                let doubled = _mm512_add_epi64(out, out);
                let times_4 = _mm512_slli_epi64::<2>(out);
                let times_128 = _mm512_slli_epi64::<7>(out);
                let sum = _mm512_ternarylogic_epi64::<XOR3>(rotated, doubled, times_4);
                _mm512_xor_si512(sum, times_128)
            }
        }
    }};
}

/// The truth table of a ^ b ^ c.
const XOR3: i32 = 0x96;
/// The truth table of a ^ (b & c).
const XOR_AND: i32 = 0x78;

impl<const CLMUL: bool> Isa for Vaes512<CLMUL> {
    type Vector = __m512i;
    type BatchLen = U512;
    const BLOCKS: usize = 4;

    past_caches!();

    x86::methods_of_any_width! {
        vector: __m512i, bytes: 64, register: zmm_reg, feature: "avx512f",
        load: _mm512_loadu_si512, store: _mm512_storeu_si512, broadcast: _mm512_broadcast_i32x4, xor: _mm512_xor_si512,
        encrypt: _mm512_aesenc_epi128, encrypt_last: _mm512_aesenclast_epi128,
        decrypt: _mm512_aesdec_epi128, decrypt_last: _mm512_aesdeclast_epi128,
    }

    #[inline(always)]
    fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_ternarylogic_epi64::<XOR3>(a, b, c) }
    }

    #[inline(always)]
    fn powers(self, tweak: __m512i, power: usize) -> __m512i {
        let [p0, p1, p2, p3] = std::array::from_fn(|lane| (power + lane) as i64);
        // SAFETY: `self` proves AVX-512 and VPCLMULQDQ.
        unsafe {
            let reducer = _mm512_set1_epi64(0x87);
            if CLMUL {
                // Shifts by a vector of distances would go to the port of AES.
                let factors = _mm512_set_epi64(0, 1 << p3, 0, 1 << p2, 0, 1 << p1, 0, 1 << p0);
                let low = _mm512_clmulepi64_epi128::<0x00>(tweak, factors);
                let high = _mm512_clmulepi64_epi128::<0x01>(tweak, factors);
                let reduced = _mm512_clmulepi64_epi128::<0x01>(high, reducer);
                let high = _mm512_bslli_epi128::<8>(high);
                _mm512_ternarylogic_epi64::<XOR3>(low, high, reduced)
            } else {
                let left = _mm512_set_epi64(p3, p3, p2, p2, p1, p1, p0, p0);
                let right = _mm512_sub_epi64(_mm512_set1_epi64(64), left);
                let halves_swapped = _mm512_shuffle_epi32::<0x4e>(tweak);
                // In the low half what leaves the block at the top, in the high half the carry into it.
                let out = _mm512_srlv_epi64(halves_swapped, right);
                let high_half = _mm512_set_epi64(-1, 0, -1, 0, -1, 0, -1, 0);
                let left = _mm512_sllv_epi64(tweak, left);
                let shifted = _mm512_ternarylogic_epi64::<XOR_AND>(left, out, high_half);
                // Of the low half alone: what is zero there is zero in all of these.
                let out = _mm512_andnot_si512(high_half, out);
                let doubled = _mm512_add_epi64(out, out);
                let times_4 = _mm512_slli_epi64::<2>(out);
                let times_128 = _mm512_slli_epi64::<7>(out);
                let sum = _mm512_ternarylogic_epi64::<XOR3>(shifted, out, doubled);
                _mm512_ternarylogic_epi64::<XOR3>(sum, times_4, times_128)
            }
        }
    }

    #[inline(always)]
    fn times_x8(self, tweaks: __m512i) -> __m512i {
        times_x_to_bytes!(tweaks, 1)
    }

    #[inline(always)]
    fn times_x16(self, tweaks: __m512i) -> __m512i {
        times_x_to_bytes!(tweaks, 2)
    }

    #[inline(always)]
    fn times_x32(self, tweaks: __m512i) -> __m512i {
        times_x_to_bytes!(tweaks, 4)
    }
}

impl<const CLMUL: bool> Join for Vaes512<CLMUL> {
    /// Where the quad words of a joined vector are in two.
    type Places = __m512i;

    #[inline(always)]
    fn places(self, into: usize) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let places = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
            _mm512_add_epi64(places, _mm512_set1_epi64(8 - into as i64))
        }
    }

    #[inline(always)]
    fn joined(self, before: __m512i, vector: __m512i, places: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_permutex2var_epi64(before, places, vector) }
    }

    #[inline(always)]
    unsafe fn stream(self, place: *mut __m512i, vector: __m512i) {
        // SAFETY: the caller's, and `self` proves AVX-512.
        unsafe { _mm512_stream_si512(place, vector) }
    }
}
