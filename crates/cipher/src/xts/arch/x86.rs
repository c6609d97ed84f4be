//! What the x86 kernels share: the key expansion's instructions, and the CPU's make.

use std::{
    arch::x86_64::{
        __cpuid, __m128i, _mm_aesimc_si128, _mm_aeskeygenassist_si128, _mm_extract_epi32,
        _mm_loadu_si128, _mm_set_epi32, _mm_storeu_si128,
    },
    sync::LazyLock,
};

use super::Block;

/// The methods of [`super::Isa`] that differ in a vector's width only. The type that they are methods of
/// proves the CPU features of all the instructions that are named.
macro_rules! methods_of_any_width {
    (
        vector: $vector:ty, bytes: $bytes:literal, register: $register:ident, feature: $feature:literal,
        load: $load:ident, store: $store:ident, broadcast: $broadcast:expr, xor: $xor:ident,
        encrypt: $encrypt:ident, encrypt_last: $encrypt_last:ident,
        decrypt: $decrypt:ident, decrypt_last: $decrypt_last:ident,
    ) => {
        #[inline(always)]
        fn load(self, batch: &Batch<Self>, stream: usize) -> $vector {
            let bytes = &batch.as_chunks::<$bytes>().0[stream];
            // SAFETY: as many readable bytes as it loads, any alignment; `self` proves the feature.
            unsafe { $load(bytes.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store(self, batch: &mut Batch<Self>, stream: usize, vector: $vector) {
            let bytes = &mut batch.as_chunks_mut::<$bytes>().0[stream];
            // SAFETY: as many writable bytes as it stores, any alignment; `self` proves the feature.
            unsafe { $store(bytes.as_mut_ptr().cast(), vector) }
        }

        #[inline(always)]
        fn fence(self) {
            // SAFETY: every x86-64 CPU has SSE.
            unsafe { _mm_sfence() }
        }

        #[inline(always)]
        fn load_ivs(self, ivs: &IvGroup) -> $vector {
            const { assert!($bytes <= size_of::<IvGroup>()) };
            // SAFETY: enough readable bytes, any alignment; `self` proves the feature.
            unsafe { $load(ivs.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store_ivs(self, ivs: &mut IvGroup, vector: $vector) {
            const { assert!($bytes <= size_of::<IvGroup>()) };
            // SAFETY: enough writable bytes, any alignment; `self` proves the feature.
            unsafe { $store(ivs.as_mut_ptr().cast(), vector) }
        }

        #[inline(always)]
        fn splat(self, block: &Block) -> $vector {
            // SAFETY: `self` proves the feature.
            unsafe { $broadcast(x86::load_block(block)) }
        }

        #[inline(always)]
        fn prefetch(self, batch: &Batch<Self>, stream: usize, ahead_bytes: usize) {
            // Once for each line of the cache.
            if (stream * $bytes).is_multiple_of(64) {
                let place = batch.as_ptr().wrapping_add(stream * $bytes + ahead_bytes);
                // SAFETY: a prefetch reads nothing and never faults, wherever it points.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
            }
        }

        #[inline(always)]
        fn xor(self, a: $vector, b: $vector) -> $vector {
            // SAFETY: `self` proves the feature.
            unsafe { $xor(a, b) }
        }

        #[inline(always)]
        fn encrypt_round(self, state: $vector, key: $vector) -> $vector {
            // SAFETY: `self` proves the AES instructions of this width.
            unsafe { $encrypt(state, key) }
        }

        #[inline(always)]
        fn encrypt_last_round(self, state: $vector, key: $vector) -> $vector {
            // SAFETY: `self` proves the AES instructions of this width.
            unsafe { $encrypt_last(state, key) }
        }

        #[inline(always)]
        fn decrypt_round(self, state: $vector, key: $vector) -> $vector {
            // SAFETY: `self` proves the AES instructions of this width.
            unsafe { $decrypt(state, key) }
        }

        #[inline(always)]
        fn decrypt_last_round(self, state: $vector, key: $vector) -> $vector {
            // SAFETY: `self` proves the AES instructions of this width.
            unsafe { $decrypt_last(state, key) }
        }

        #[inline(always)]
        fn pin(
            self,
            states: &mut [$vector; STREAMS],
            computed: &mut $vector,
            needed_next: &mut $vector,
        ) {
            #[target_feature(enable = $feature)]
            #[inline]
            fn inner(states: &mut [$vector; STREAMS], computed: &mut $vector, next: &mut $vector) {
                let [s0, s1, s2, s3, s4, s5, s6, s7] = states;
                // SAFETY: no instruction but a comment.
                unsafe {
                    std::arch::asm!(
                        "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} */",
                        inout($register) * s0,
                        inout($register) * s1,
                        inout($register) * s2,
                        inout($register) * s3,
                        inout($register) * s4,
                        inout($register) * s5,
                        inout($register) * s6,
                        inout($register) * s7,
                        inout($register) * computed,
                        inout($register) * next,
                        options(nomem, nostack, preserves_flags)
                    );
                }
            }
            // SAFETY: `self` proves the feature.
            unsafe { inner(states, computed, needed_next) }
        }

        #[inline(always)]
        fn align_code(self) {
            // SAFETY: instructions that do nothing, up to the next multiple of 64.
            unsafe { std::arch::asm!(".p2align 6", options(nomem, nostack, preserves_flags)) }
        }

        #[inline(always)]
        fn sub_word(self, word: u32) -> u32 {
            // SAFETY: whoever makes `self` asks for AES and SSE 4.1 too.
            unsafe { x86::sub_word(word) }
        }

        #[inline(always)]
        fn inv_mix_columns(self, block: &Block) -> Block {
            // SAFETY: whoever makes `self` asks for AES and SSE 4.1 too.
            unsafe { x86::inv_mix_columns(block) }
        }
    };
}
pub(super) use methods_of_any_width;

#[target_feature(enable = "sse2")]
#[inline]
pub(super) fn load_block(block: &Block) -> __m128i {
    // SAFETY: a block is 16 readable bytes; the instruction does not care for alignment.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[target_feature(enable = "sse2")]
#[inline]
pub(super) fn store_block(block: &mut Block, vector: __m128i) {
    // SAFETY: a block is 16 writable bytes; the instruction does not care for alignment.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), vector) }
}

/// `SubWord`: the first word that AESKEYGENASSIST gives for the second one of its input.
#[target_feature(enable = "aes,sse4.1")]
#[inline]
pub(super) fn sub_word(word: u32) -> u32 {
    let assisted = _mm_aeskeygenassist_si128::<0>(_mm_set_epi32(0, 0, word.cast_signed(), 0));
    _mm_extract_epi32::<0>(assisted).cast_unsigned()
}

#[target_feature(enable = "aes,sse4.1")]
#[inline]
pub(super) fn inv_mix_columns(block: &Block) -> Block {
    let mut mixed = Block::default();
    store_block(&mut mixed, _mm_aesimc_si128(load_block(block)));
    mixed
}

/// CPUs that lower their clock for 512-bit vectors by more than these gain: Ice Lake and Tiger Lake.
/// Their Intel family is 6; the models are those that Linux excludes from its 512-bit AES too
/// (arch/x86/crypto, since 6.10), of all that have VAES.
const MODELS_SLOW_ON_ZMM: [u32; 7] = [
    0x6a, // Ice Lake, server
    0x6c, // Ice Lake D
    0x7d, // Ice Lake
    0x7e, // Ice Lake, mobile
    0x8c, // Tiger Lake, mobile
    0x8d, // Tiger Lake
    0x9d, // Ice Lake, accelerator card
];

/// Whether 256-bit vectors are the better choice on this CPU although it has AVX-512.
pub(crate) fn slows_down_on_zmm() -> bool {
    let make = Make::of_this_cpu();
    &make.vendor == b"GenuineIntel" && make.family == 6 && MODELS_SLOW_ON_ZMM.contains(&make.model)
}

/// Whether the carry-less multiplier takes time from AES: so on AMD's CPUs, all of those with VAES.
pub(in crate::xts) fn shares_aes_pipes_with_clmul() -> bool {
    matches!(
        &Make::of_this_cpu().vendor,
        b"AuthenticAMD" | b"HygonGenuine"
    )
}

struct Make {
    vendor: [u8; 12],
    family: u32,
    model: u32,
}

impl Make {
    /// Asked for once: on a virtual machine each CPUID is a visit to the hypervisor.
    fn of_this_cpu() -> &'static Self {
        static MAKE: LazyLock<Make> = LazyLock::new(Make::ask);
        &MAKE
    }

    fn ask() -> Self {
        let id = __cpuid(0);
        let mut vendor = [0; 12];
        for (part, register) in vendor.chunks_mut(4).zip([id.ebx, id.edx, id.ecx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        let signature = __cpuid(1).eax;
        let base_family = signature >> 8 & 0xf;
        let mut family = base_family;
        let mut model = signature >> 4 & 0xf;
        if base_family == 0xf {
            family += signature >> 20 & 0xff;
        }
        if matches!(base_family, 6 | 0xf) {
            model |= signature >> 12 & 0xf0;
        }
        Self {
            vendor,
            family,
            model,
        }
    }
}
