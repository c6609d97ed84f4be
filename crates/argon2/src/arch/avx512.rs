//! AVX-512: a block is 16 vectors, and all of them stay in registers.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_alignr_epi8, _mm512_loadu_epi64, _mm512_mul_epu32,
    _mm512_permutex_epi64, _mm512_ror_epi64, _mm512_shuffle_i64x2, _mm512_storeu_epi64,
    _mm512_xor_si512,
};
use std::array::from_fn;

use super::BlockFunction;
use super::rounds::{Layout, Vector, Vectors, block_function, permute_columns, permute_rows};
use super::x86::{self, kernel_of_any_width};
use crate::block::Block;

/// That this CPU has AVX-512 F and BW, and the system keeps its registers.
///
/// ```
/// use lucarne_argon2::{Avx512, Kernel};
///
/// if let Some(cpu) = Avx512::new() {
///     assert!(Kernel::available().contains(&Kernel::Avx512(cpu)));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// `None` on a CPU without.
    #[must_use]
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then_some(Self(()))
    }
}

kernel_of_any_width! {
    kernel: Avx512, features: "avx512f,avx512bw",
    /// Eight words.
    vector: Zmm, register: __m512i, words: 8,
    load: _mm512_loadu_epi64, store: _mm512_storeu_epi64,
    add: _mm512_add_epi64, xor: _mm512_xor_si512, multiply: _mm512_mul_epu32,
    rotate_right: _mm512_ror_epi64, turn: _mm512_permutex_epi64, straddle: _mm512_alignr_epi8,
}

impl Layout for Avx512 {
    /// A row is two of them.
    type State = [Zmm; 16];

    /// All rows at once, in pairs that share a vector.
    #[inline(always)]
    fn rows(vector: impl Fn(usize) -> Zmm) -> [Zmm; 16] {
        let state: [Zmm; 16] = from_fn(vector);
        let (first, second) = (|i| state[4 * i], |i| state[4 * i + 2]);
        let (first_end, second_end) = (|i| state[4 * i + 1], |i| state[4 * i + 3]);
        let [a, b, c, d] = permute_rows::<_, 4>([
            from_fn(|i| first(i).lower(second(i))),
            from_fn(|i| first(i).upper(second(i))),
            from_fn(|i| first_end(i).lower(second_end(i))),
            from_fn(|i| first_end(i).upper(second_end(i))),
        ]);
        from_fn(|i| match (i / 4, i % 4) {
            (pair, 0) => a[pair].lower(b[pair]),
            (pair, 1) => c[pair].lower(d[pair]),
            (pair, 2) => a[pair].upper(b[pair]),
            (pair, _) => c[pair].upper(d[pair]),
        })
    }

    /// All columns at once, four to a vector.
    #[inline(always)]
    fn columns(state: &[Zmm; 16], mut sink: impl FnMut(usize, Zmm)) {
        // The vector of a quarter's four rows: of the first and second, and each of both halves.
        let place = |quarter: usize, i: usize| 4 * quarter + 2 * (i % 2) + i / 2;
        let quarters = from_fn(|quarter| from_fn(|i| state[place(quarter, i)]));
        for (quarter, vectors) in permute_columns::<_, 4>(quarters).into_iter().enumerate() {
            for (i, vector) in vectors.into_iter().enumerate() {
                sink(place(quarter, i), vector);
            }
        }
    }
}

impl Zmm {
    /// The lower halves of both.
    #[inline(always)]
    fn lower(self, other: Self) -> Self {
        // SAFETY: a `Zmm` exists only where AVX-512 does.
        Self(unsafe { _mm512_shuffle_i64x2::<0b01_00_01_00>(self.0, other.0) })
    }

    /// The upper halves of both.
    #[inline(always)]
    fn upper(self, other: Self) -> Self {
        // SAFETY: a `Zmm` exists only where AVX-512 does.
        Self(unsafe { _mm512_shuffle_i64x2::<0b11_10_11_10>(self.0, other.0) })
    }
}
