//! What the x86 kernels share: the key expansion's instructions, and the CPU's make.

use std::{
    arch::x86_64::{
        __cpuid, __m128i, _mm_aesimc_si128, _mm_aeskeygenassist_si128, _mm_extract_epi32,
        _mm_loadu_si128, _mm_set_epi32, _mm_storeu_si128,
    },
    sync::LazyLock,
};

use super::Block;

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
