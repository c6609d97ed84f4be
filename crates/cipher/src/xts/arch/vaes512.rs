//! VAES on 512-bit vectors, four blocks each.

#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::x86_64::*;

use cipher::consts::U512;

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

const LINE_LEN_BYTES: usize = 64;
const QWORD_LEN_BYTES: usize = 8;

/// Batches that lie anywhere, stored in whole lines: each made of the end of one vector and the beginning of the next.
/// A line of which a part were stored as usual would first be read, and waited for.
#[derive(Clone, Copy)]
pub(in crate::xts) struct Lines {
    /// So many quad words after a line's beginning vectors begin; `None` if that is no whole number of them.
    into_line: Option<usize>,
    /// Where a line's quad words are in two vectors that follow each other.
    places: __m512i,
    /// The vector before.
    held: __m512i,
}

/// The truth table of a ^ b ^ c.
const XOR3: i32 = 0x96;
/// The truth table of a ^ (b & c).
const XOR_AND: i32 = 0x78;

impl<const CLMUL: bool> Isa for Vaes512<CLMUL> {
    type Vector = __m512i;
    type BatchLen = U512;
    const BLOCKS: usize = 4;

    // What a shift within two vectors goes by.
    const PAST_CACHES_ALIGNMENT: Option<usize> = Some(QWORD_LEN_BYTES);
    type Lines = Lines;

    #[inline(always)]
    fn lines(self, batches: &mut [Batch<Self>]) -> Lines {
        let into_line_bytes = batches.as_ptr().addr() % LINE_LEN_BYTES;
        let into_line = into_line_bytes / QWORD_LEN_BYTES;
        let is_shiftable = into_line_bytes.is_multiple_of(QWORD_LEN_BYTES);
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let places = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
            let first = _mm512_set1_epi64(8 - into_line as i64);
            Lines {
                into_line: is_shiftable.then_some(into_line),
                places: _mm512_add_epi64(places, first),
                held: _mm512_setzero_si512(),
            }
        }
    }

    #[inline(always)]
    fn store_past_caches(
        self,
        batches: &mut [Batch<Self>],
        at: usize,
        lines: &mut Lines,
        vectors: [__m512i; STREAMS],
    ) {
        let is_last = at + 1 == batches.len();
        let Some(into_line) = lines.into_line else {
            for (stream, vector) in vectors.into_iter().enumerate() {
                self.store(&mut batches[at], stream, vector);
            }
            return;
        };
        let first_line = batches[at..].as_mut_ptr().cast::<__m512i>();
        let first_line = first_line.wrapping_byte_sub(into_line * QWORD_LEN_BYTES);
        // Which of a line's quad words are of the vector before, if that is not the line before.
        let before = (1 << into_line) - 1;
        // SAFETY: lines lie at multiples of their length. Each that is stored whole holds what was in the batches: the end of
        // the vector before, which is of the same batches except before the first, and the beginning of a vector. Of the
        // first and the last line nothing else is stored than what is of the batches. `self` proves AVX-512, and
        // whoever calls this calls `fence` afterwards.
        unsafe {
            for (stream, vector) in vectors.into_iter().enumerate() {
                let line = first_line.wrapping_add(stream);
                let whole = match into_line {
                    0 => vector,
                    _ => _mm512_permutex2var_epi64(lines.held, lines.places, vector),
                };
                lines.held = vector;
                if at == 0 && stream == 0 && into_line != 0 {
                    _mm512_mask_storeu_epi64(line.cast(), !before, whole);
                } else {
                    _mm512_stream_si512(line, whole);
                }
            }
            if is_last && into_line != 0 {
                let line = first_line.wrapping_add(STREAMS);
                let end = _mm512_permutex2var_epi64(lines.held, lines.places, lines.held);
                _mm512_mask_storeu_epi64(line.cast(), before, end);
            }
        }
    }

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
