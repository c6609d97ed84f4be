//! What the fused kernel needs of a CPU, and the CPUs that have it: one file per vector width.
//!
//! The algorithm is in [`super::fused`], written once over [`Isa`]; the files here say how each of
//! its steps is one instruction, or few. A value of a type that implements [`Isa`] is the proof that
//! the CPU has those instructions: the only way to make one is to ask the CPU.
//!
//! The methods are `#[inline(always)]` and not `#[target_feature]` themselves, so that all of them
//! become part of the one function per kernel that is (see [`kernel!`]): the instructions are
//! inlined there, and nowhere does a vector cross a call.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod aesni;
#[cfg(target_arch = "x86_64")]
mod lines;
#[cfg(target_arch = "x86_64")]
mod vaes256;
#[cfg(target_arch = "x86_64")]
mod vaes512;
#[cfg(target_arch = "x86_64")]
mod x86;

use cipher::array::{Array, ArraySize};
use cipher::inout::InOutBuf;

#[cfg(target_arch = "aarch64")]
pub(super) use self::aarch64::ArmAes;
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86::slows_down_on_zmm;
#[cfg(target_arch = "x86_64")]
pub(super) use self::{
    aesni::AesNi, vaes256::Vaes256, vaes512::Vaes512, x86::shares_aes_pipes_with_clmul,
};

/// An AES block.
pub(super) type Block = [u8; 16];

/// Vectors in flight. AES takes 3 or 4 cycles and up to two start in each: 8 keep the units busy,
/// and their tweaks still fit in the registers of AVX-512.
pub(super) const STREAMS: usize = 8;

/// A batch: what [`STREAMS`] vectors hold.
pub(super) type Batch<I> = Array<u8, <I as Isa>::BatchLen>;

/// The most blocks that a vector holds.
pub(super) const MAX_BLOCKS: usize = 4;

/// The IVs that one vector takes, in its first [`Isa::BLOCKS`] places.
pub(super) type IvGroup = [Block; MAX_BLOCKS];

/// What a round of AES may need and a vector can do, on whole vectors of blocks.
pub(super) trait Isa: Copy {
    /// Some blocks.
    type Vector: Copy;
    /// Bytes in [`STREAMS`] vectors.
    type BatchLen: ArraySize;
    /// Blocks in a vector: 1, 2 or 4.
    const BLOCKS: usize;

    /// Vector `stream` of a batch.
    fn load(self, batch: &Batch<Self>, stream: usize) -> Self::Vector;
    /// Puts a vector into a batch.
    fn store(self, batch: &mut Batch<Self>, stream: usize, vector: Self::Vector);
    /// At multiples of how many bytes batches must lie for that to be faster past the caches, if it can be at all.
    const PAST_CACHES_ALIGNMENT: Option<usize>;
    /// How batches that go past the caches lie to the cache's lines, and what waits for its line to be whole.
    type Lines;
    /// Before the first of some batches.
    fn lines(self, batches: &mut [Batch<Self>]) -> Self::Lines;
    /// Puts vectors into batch `at`, past the caches where batches lie as [`Self::PAST_CACHES_ALIGNMENT`] says. Batches
    /// follow each other from the first to the last, which all are there only after; [`Self::fence`] must follow
    /// before anybody else looks.
    fn store_past_caches(
        self,
        batches: &mut [Batch<Self>],
        at: usize,
        lines: &mut Self::Lines,
        vectors: [Self::Vector; STREAMS],
    );
    /// What was stored past the caches comes before all that follows.
    fn fence(self);
    /// The blocks of an [`IvGroup`].
    fn load_ivs(self, ivs: &IvGroup) -> Self::Vector;
    /// Puts the blocks into an [`IvGroup`].
    fn store_ivs(self, ivs: &mut IvGroup, vector: Self::Vector);
    /// The same block everywhere.
    fn splat(self, block: &Block) -> Self::Vector;
    /// Asks for the memory some bytes after the start of vector `stream` to be brought in.
    fn prefetch(self, batch: &Batch<Self>, stream: usize, ahead_bytes: usize);

    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn xor3(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `SubBytes`, `ShiftRows`, `MixColumns`, `AddRoundKey` (FIPS 197, 5.1).
    fn encrypt_round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;
    /// The same without `MixColumns`.
    fn encrypt_last_round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;
    /// A round of the equivalent inverse cipher (FIPS 197, 5.3.5).
    fn decrypt_round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;
    /// The same without `InvMixColumns`.
    fn decrypt_last_round(self, state: Self::Vector, key: Self::Vector) -> Self::Vector;

    /// `tweak`, the same in all blocks, times x^(`power` + the block's place), for powers below 60.
    fn powers(self, tweak: Self::Vector, power: usize) -> Self::Vector;
    /// Every block times x^8.
    fn times_x8(self, tweaks: Self::Vector) -> Self::Vector;
    /// Every block times x^16.
    fn times_x16(self, tweaks: Self::Vector) -> Self::Vector;
    /// Every block times x^32.
    fn times_x32(self, tweaks: Self::Vector) -> Self::Vector;

    /// Keeps what was computed before this point before it, and what comes after it after.
    ///
    /// Does nothing to the values, and takes no instruction. Left alone, the compiler moves the
    /// tweaks' arithmetic out from between the rounds of AES into a block of its own, to save
    /// registers; the CPU then cannot look far enough ahead to do both at once.
    fn pin(
        self,
        states: &mut [Self::Vector; STREAMS],
        computed: &mut Self::Vector,
        needed_next: &mut Self::Vector,
    );

    /// Begins a line of the instruction cache here, if this is where a hot loop begins. What the CPU makes of
    /// instructions as long as those of AVX-512 depends on where they lie: 2 % on a Zen 4.
    fn align_code(self);

    /// `SubWord` of the key expansion (FIPS 197, 5.2), in time that does not depend on the word.
    fn sub_word(self, word: u32) -> u32;
    /// `InvMixColumns` of a round key.
    fn inv_mix_columns(self, block: &Block) -> Block;
}

/// A kernel's way in: the functions that are compiled for the CPU features of an [`Isa`].
pub(super) trait Enter: Isa {
    /// [`super::schedule::expand`] on this CPU.
    fn expand<const N: usize>(self, key: &[u8], encrypt: &mut [Block; N], decrypt: &mut [Block; N]);

    /// [`super::fused::process`] on this CPU.
    fn process<D: super::fused::Direction, const N: usize>(
        self,
        keys: super::fused::Keys<'_, N>,
        run: super::Run<'_, '_>,
    );

    /// [`super::fused::copy_past_caches`] on this CPU.
    fn copy_past_caches(self, data: InOutBuf<'_, '_, u8>);

    /// [`super::limit::spin`] on this CPU.
    fn spin<const N: usize>(self, bytes: usize) -> usize;
}

/// Implements [`Enter`] for an [`Isa`], whose existence must prove the CPU features.
macro_rules! kernel {
    ($isa:ty, $features:literal) => {
        impl super::Enter for $isa {
            fn expand<const N: usize>(
                self,
                key: &[u8],
                encrypt: &mut [super::Block; N],
                decrypt: &mut [super::Block; N],
            ) {
                #[target_feature(enable = $features)]
                fn inner<const N: usize>(
                    isa: $isa,
                    key: &[u8],
                    encrypt: &mut [super::Block; N],
                    decrypt: &mut [super::Block; N],
                ) {
                    crate::xts::schedule::expand(isa, key, encrypt, decrypt);
                }
                // SAFETY: `self` exists only where the CPU has these features.
                unsafe { inner(self, key, encrypt, decrypt) }
            }

            fn process<D: crate::xts::fused::Direction, const N: usize>(
                self,
                keys: crate::xts::fused::Keys<'_, N>,
                run: crate::xts::Run<'_, '_>,
            ) {
                #[target_feature(enable = $features)]
                fn inner<D: crate::xts::fused::Direction, const N: usize>(
                    isa: $isa,
                    keys: crate::xts::fused::Keys<'_, N>,
                    run: crate::xts::Run<'_, '_>,
                ) {
                    crate::xts::fused::process::<$isa, D, N>(isa, keys, run);
                }
                // SAFETY: `self` exists only where the CPU has these features.
                unsafe { inner::<D, N>(self, keys, run) }
            }

            fn copy_past_caches(self, data: cipher::inout::InOutBuf<'_, '_, u8>) {
                #[target_feature(enable = $features)]
                fn inner(isa: $isa, data: cipher::inout::InOutBuf<'_, '_, u8>) {
                    crate::xts::fused::copy_past_caches(isa, data);
                }
                // SAFETY: `self` exists only where the CPU has these features.
                unsafe { inner(self, data) }
            }

            fn spin<const N: usize>(self, bytes: usize) -> usize {
                #[target_feature(enable = $features)]
                fn inner<const N: usize>(isa: $isa, bytes: usize) -> usize {
                    crate::xts::limit::spin::<$isa, N>(isa, bytes)
                }
                // SAFETY: `self` exists only where the CPU has these features.
                unsafe { inner::<N>(self, bytes) }
            }
        }
    };
}
use kernel;
