//! AVX2: a block is 32 vectors, of which 8 are in registers.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_alignr_epi8, _mm256_loadu_si256, _mm256_mul_epu32,
    _mm256_permute4x64_epi64, _mm256_set_epi64x, _mm256_shuffle_epi8, _mm256_shuffle_epi32,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
};
use std::array::from_fn;

use super::BlockFunction;
use super::rounds::{Layout, Vector, Vectors, block_function, permute_columns, permute_rows};
use super::x86::{self, kernel_of_any_width};
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

kernel_of_any_width! {
    kernel: Avx2, features: "avx2",
    /// Four words.
    vector: Ymm, register: __m256i, words: 4,
    load: _mm256_loadu_si256, store: _mm256_storeu_si256,
    add: _mm256_add_epi64, xor: _mm256_xor_si256, multiply: _mm256_mul_epu32,
    rotate_right: rotate_right, turn: _mm256_permute4x64_epi64, straddle: _mm256_alignr_epi8,
}

impl Layout for Avx2 {
    /// A row is four of them.
    type State = [Ymm; 32];

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

/// There is no such instruction: by whole bytes it is a shuffle, by 63 a doubling and what that loses.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_right<const N: i32>(words: __m256i) -> __m256i {
    match N {
        32 => _mm256_shuffle_epi32::<0b10_11_00_01>(words),
        24 => _mm256_shuffle_epi8(words, bytes_down(3)),
        16 => _mm256_shuffle_epi8(words, bytes_down(2)),
        _ => _mm256_xor_si256(
            _mm256_add_epi64(words, words),
            _mm256_srli_epi64::<63>(words),
        ),
    }
}

/// The shuffle that moves the bytes of each word `n` places down.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes_down(n: i64) -> __m256i {
    let word = |word: i64| (0..8).fold(0, |bytes, i| bytes | (8 * word + (i + n) % 8) << (8 * i));
    _mm256_set_epi64x(word(1), word(0), word(1), word(0))
}
