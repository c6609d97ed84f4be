//! AVX2: a block is 32 vectors, of which 8 are in registers.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_alignr_epi8, _mm256_loadu_si256, _mm256_mul_epu32,
    _mm256_permute4x64_epi64, _mm256_set_epi64x, _mm256_shuffle_epi8, _mm256_shuffle_epi32,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
};
use std::array::from_fn;

use super::BlockFunction;
use super::rounds::{Layout, Vector, block_function, permute_columns, permute_rows};
use crate::block::Block;

/// That this CPU has AVX2, and the system keeps its registers.
///
/// ```
/// use lucarne_argon2::{Avx2, Kernel};
///
/// if let Some(cpu) = Avx2::new() {
///     assert!(Kernel::available().contains(&Kernel::Avx2(cpu)));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// `None` on a CPU without.
    #[must_use]
    pub fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl BlockFunction for Avx2 {
    #[inline]
    fn compress(self, block: &mut Block, x: &Block, y: &Block, onto: bool) {
        // SAFETY: the CPU has the instructions, or `self` would not exist.
        unsafe {
            if onto {
                compress::<true>(self, block, x, y);
            } else {
                compress::<false>(self, block, x, y);
            }
        }
    }

    #[inline]
    fn prefetch(self, block: &Block) {
        super::prefetch(block);
    }
}

#[target_feature(enable = "avx2")]
fn compress<const ONTO: bool>(kernel: Avx2, block: &mut Block, x: &Block, y: &Block) {
    block_function::<_, ONTO>(kernel, block, x, y);
}

impl Layout for Avx2 {
    type Vector = Ymm;
    /// A row is four of them.
    type State = [Ymm; 32];

    #[inline(always)]
    fn load(self, block: &Block, i: usize) -> Ymm {
        let words = &block.0.as_chunks::<4>().0[i];
        // SAFETY: `words` are 32 bytes that may be read, and the CPU has the instruction, or `self`
        // would not exist.
        Ymm(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, block: &mut Block, i: usize, vector: Ymm) {
        let words = &mut block.0.as_chunks_mut::<4>().0[i];
        // SAFETY: `words` are 32 bytes that may be written, and the CPU has the instruction, or
        // `self` would not exist.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector.0) }
    }

    /// Two rows at a time.
    #[inline(always)]
    fn rows(vector: impl Fn(usize) -> Ymm) -> [Ymm; 32] {
        let mut state = [vector(0); 32];
        for (pair, state) in state.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let quarters = from_fn(|quarter| from_fn(|row| vector(8 * pair + 4 * row + quarter)));
            let quarters = permute_rows::<_, 2>(quarters);
            *state = from_fn(|i| quarters[i % 4][i / 4]);
        }
        state
    }

    /// Two columns at a time.
    #[inline(always)]
    fn columns(state: &[Ymm; 32], mut sink: impl FnMut(usize, Ymm)) {
        for columns in 0..4 {
            let place = |quarter: usize, row: usize| 8 * quarter + 4 * row + columns;
            let quarters = from_fn(|quarter| from_fn(|row| state[place(quarter, row)]));
            for (quarter, vectors) in permute_columns::<_, 2>(quarters).into_iter().enumerate() {
                for (row, vector) in vectors.into_iter().enumerate() {
                    sink(place(quarter, row), vector);
                }
            }
        }
    }
}

/// Four words. It is made by [`Avx2::load`] alone.
#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256i);

impl Vector for Ymm {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a `Ymm` exists only where AVX2 does.
        Self(unsafe { _mm256_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: a `Ymm` exists only where AVX2 does.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        // SAFETY: a `Ymm` exists only where AVX2 does.
        Self(unsafe { _mm256_mul_epu32(self.0, other.0) })
    }

    #[inline(always)]
    fn rotate_right<const N: i32>(self) -> Self {
        // SAFETY: a `Ymm` exists only where AVX2 does.
        Self(unsafe {
            // There is no rotation: by whole bytes it is a shuffle, by 63 a doubling and what that
            // loses.
            match N {
                32 => _mm256_shuffle_epi32::<0b10_11_00_01>(self.0),
                24 => _mm256_shuffle_epi8(self.0, bytes_down(3)),
                16 => _mm256_shuffle_epi8(self.0, bytes_down(2)),
                _ => _mm256_xor_si256(
                    _mm256_add_epi64(self.0, self.0),
                    _mm256_srli_epi64::<63>(self.0),
                ),
            }
        })
    }

    #[inline(always)]
    fn turn<const N: i32>(self) -> Self {
        // SAFETY: a `Ymm` exists only where AVX2 does.
        Self(unsafe {
            match N {
                1 => _mm256_permute4x64_epi64::<0b00_11_10_01>(self.0),
                2 => _mm256_permute4x64_epi64::<0b01_00_11_10>(self.0),
                _ => _mm256_permute4x64_epi64::<0b10_01_00_11>(self.0),
            }
        })
    }

    #[inline(always)]
    fn straddle(self, other: Self) -> Self {
        // SAFETY: a `Ymm` exists only where AVX2 does.
        Self(unsafe { _mm256_alignr_epi8::<8>(other.0, self.0) })
    }
}

/// The shuffle that moves the bytes of each word `n` places down.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes_down(n: i64) -> __m256i {
    let word = |word: i64| (0..8).fold(0, |bytes, i| bytes | (8 * word + (i + n) % 8) << (8 * i));
    _mm256_set_epi64x(word(1), word(0), word(1), word(0))
}
