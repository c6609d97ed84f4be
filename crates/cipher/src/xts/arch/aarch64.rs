//! The AES instructions of Armv8, on 128-bit vectors, one block each.

// Here they are not inlined, but where these methods are: in the one function with the features.
#![allow(inline_always_mismatching_target_features)]

#[allow(clippy::wildcard_imports, reason = "a vector's instructions")]
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use cipher::consts::U128;

use super::{Batch, Block, Isa, IvGroup, STREAMS};

/// Armv8's AES and PMULL instructions; existing proves that the CPU has them.
#[derive(Clone, Copy)]
pub(in crate::xts) struct ArmAes(());

impl ArmAes {
    pub(in crate::xts) fn new() -> Option<Self> {
        // "aes" covers PMULL.
        is_aarch64_feature_detected!("aes").then_some(Self(()))
    }
}

super::kernel!(ArmAes, "neon,aes");

/// Every block times x^(8·`$bytes`): shifted by whole bytes, and what falls out at the top, times
/// x^7 + x^2 + x + 1, added at the bottom.
macro_rules! times_x_to_bytes {
    ($tweaks:expr, $bytes:literal) => {{
        let tweaks = $tweaks;
        // SAFETY: `self` proves NEON and PMULL.
        unsafe {
            let zero = vdupq_n_u8(0);
            let out = vextq_u8::<{ 16 - $bytes }>(tweaks, zero);
            let shifted = vextq_u8::<{ 16 - $bytes }>(zero, tweaks);
            let low = vgetq_lane_u64::<0>(vreinterpretq_u64_u8(out));
            veorq_u8(shifted, vreinterpretq_u8_p128(vmull_p64(low, 0x87)))
        }
    }};
}

impl Isa for ArmAes {
    type Vector = uint8x16_t;
    type BatchLen = U128;
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn load(self, batch: &Batch<Self>, stream: usize) -> uint8x16_t {
        self.splat(&batch.as_chunks::<16>().0[stream])
    }

    #[inline(always)]
    fn store(self, batch: &mut Batch<Self>, stream: usize, vector: uint8x16_t) {
        let bytes = &mut batch.as_chunks_mut::<16>().0[stream];
        // SAFETY: 16 writable bytes; `self` proves NEON.
        unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
    }

    const PAST_CACHES_ALIGNMENT: Option<usize> = None;

    type Lines = ();

    #[inline(always)]
    fn lines(self, _: &mut [Batch<Self>]) {}

    #[inline(always)]
    fn store_past_caches(
        self,
        batches: &mut [Batch<Self>],
        at: usize,
        _: &mut (),
        vectors: [uint8x16_t; STREAMS],
    ) {
        // Pairs that are stored so (STNP) are a hint that nothing was measured of here.
        for (stream, vector) in vectors.into_iter().enumerate() {
            self.store(&mut batches[at], stream, vector);
        }
    }

    #[inline(always)]
    fn fence(self) {}

    #[inline(always)]
    fn load_ivs(self, ivs: &IvGroup) -> uint8x16_t {
        self.splat(&ivs[0])
    }

    #[inline(always)]
    fn store_ivs(self, ivs: &mut IvGroup, vector: uint8x16_t) {
        // SAFETY: 16 writable bytes; `self` proves NEON.
        unsafe { vst1q_u8(ivs[0].as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn splat(self, block: &Block) -> uint8x16_t {
        // SAFETY: a block is 16 readable bytes; `self` proves NEON.
        unsafe { vld1q_u8(block.as_ptr()) }
    }

    #[inline(always)]
    fn prefetch(self, batch: &Batch<Self>, stream: usize, ahead_bytes: usize) {
        // Once for each line of the cache.
        if (stream * 16).is_multiple_of(64) {
            let place = batch.as_ptr().wrapping_add(stream * 16 + ahead_bytes);
            // SAFETY: a prefetch reads nothing and never faults, wherever it points.
            unsafe {
                asm!("prfm pldl1keep, [{0}]", in(reg) place,
                    options(nostack, preserves_flags, readonly));
            }
        }
    }

    #[inline(always)]
    fn xor(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves NEON.
        unsafe { veorq_u8(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: uint8x16_t, b: uint8x16_t, c: uint8x16_t) -> uint8x16_t {
        self.xor(a, self.xor(b, c))
    }

    // Armv8 adds the round key before SubBytes, the other kernels' instructions at the end. Adding
    // zero there and the key by an xor is the same round; the compiler moves each xor into the next
    // round's AESE or AESD, so that nothing is left of it.

    #[inline(always)]
    fn encrypt_round(self, state: uint8x16_t, key: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves AES.
        unsafe { veorq_u8(vaesmcq_u8(vaeseq_u8(state, vdupq_n_u8(0))), key) }
    }

    #[inline(always)]
    fn encrypt_last_round(self, state: uint8x16_t, key: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves AES.
        unsafe { veorq_u8(vaeseq_u8(state, vdupq_n_u8(0)), key) }
    }

    #[inline(always)]
    fn decrypt_round(self, state: uint8x16_t, key: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves AES.
        unsafe { veorq_u8(vaesimcq_u8(vaesdq_u8(state, vdupq_n_u8(0))), key) }
    }

    #[inline(always)]
    fn decrypt_last_round(self, state: uint8x16_t, key: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves AES.
        unsafe { veorq_u8(vaesdq_u8(state, vdupq_n_u8(0)), key) }
    }

    #[inline(always)]
    fn powers(self, tweak: uint8x16_t, power: usize) -> uint8x16_t {
        let power = power as i64;
        // SAFETY: `self` proves NEON and PMULL.
        unsafe {
            let tweak = vreinterpretq_u64_u8(tweak);
            let halves_swapped = vextq_u64::<1>(tweak, tweak);
            // In the low half what leaves the block at the top, in the high half the carry into it.
            // A shift by a negative distance goes right; by 64 or more, it leaves nothing.
            let out = vshlq_u64(halves_swapped, vdupq_n_s64(power - 64));
            let carry = vsetq_lane_u64::<0>(0, out);
            let shifted = veorq_u64(vshlq_u64(tweak, vdupq_n_s64(power)), carry);
            let reduced = vmull_p64(vgetq_lane_u64::<0>(out), 0x87);
            veorq_u8(
                vreinterpretq_u8_u64(shifted),
                vreinterpretq_u8_p128(reduced),
            )
        }
    }

    #[inline(always)]
    fn times_x8(self, tweaks: uint8x16_t) -> uint8x16_t {
        times_x_to_bytes!(tweaks, 1)
    }

    #[inline(always)]
    fn times_x16(self, tweaks: uint8x16_t) -> uint8x16_t {
        times_x_to_bytes!(tweaks, 2)
    }

    #[inline(always)]
    fn times_x32(self, tweaks: uint8x16_t) -> uint8x16_t {
        times_x_to_bytes!(tweaks, 4)
    }

    #[inline(always)]
    fn pin(
        self,
        _states: &mut [uint8x16_t; STREAMS],
        _computed: &mut uint8x16_t,
        _needed_next: &mut uint8x16_t,
    ) {
        // Would stop the compiler from moving the xors into AESE and AESD; there are registers enough.
    }

    #[inline(always)]
    fn align_code(self) {
        // Instructions of four bytes, all of them.
    }

    #[inline(always)]
    fn sub_word(self, word: u32) -> u32 {
        // SAFETY: `self` proves AES.
        unsafe {
            // The same word in all columns: ShiftRows changes nothing.
            let columns = vreinterpretq_u8_u32(vdupq_n_u32(word));
            vgetq_lane_u32::<0>(vreinterpretq_u32_u8(vaeseq_u8(columns, vdupq_n_u8(0))))
        }
    }

    #[inline(always)]
    fn inv_mix_columns(self, block: &Block) -> Block {
        let mut mixed = Block::default();
        // SAFETY: 16 readable and 16 writable bytes; `self` proves AES.
        unsafe { vst1q_u8(mixed.as_mut_ptr(), vaesimcq_u8(vld1q_u8(block.as_ptr()))) };
        mixed
    }
}
