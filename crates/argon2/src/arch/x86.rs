//! What the x86-64 kernels share: all but what a vector of theirs is and how a block lies in vectors.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use crate::block::Block;

/// A kernel's [`super::BlockFunction`] and [`super::rounds::Vectors`], and the type of its vectors. The type
/// `kernel` proves the CPU features of all the instructions that are named; `rotate_right` is one, or a
/// function for those features.
macro_rules! kernel_of_any_width {
    (
        kernel: $kernel:ident, features: $features:literal,
        $(#[$attribute:meta])*
        vector: $vector:ident, register: $register:ty, words: $words:literal,
        load: $load:ident, store: $store:ident,
        add: $add:ident, xor: $xor:ident, multiply: $multiply:ident,
        rotate_right: $rotate_right:ident, turn: $turn:ident, straddle: $straddle:ident,
    ) => {
        impl BlockFunction for $kernel {
            #[inline]
            fn compress(self, block: &mut Block, x: &Block, y: &Block, onto: bool) {
                #[target_feature(enable = $features)]
                fn inner<const ONTO: bool>(
                    kernel: $kernel,
                    block: &mut Block,
                    x: &Block,
                    y: &Block,
                ) {
                    block_function::<_, ONTO>(kernel, block, x, y);
                }
                // SAFETY: `self` proves the features.
                unsafe {
                    if onto {
                        inner::<true>(self, block, x, y);
                    } else {
                        inner::<false>(self, block, x, y);
                    }
                }
            }

            #[inline]
            fn prefetch(self, block: &Block) {
                x86::prefetch(block);
            }
        }

        impl Vectors for $kernel {
            type Vector = $vector;

            #[inline(always)]
            fn load(self, block: &Block, i: usize) -> $vector {
                let words = &block.0.as_chunks::<$words>().0[i];
                // SAFETY: as many readable words as it loads, any alignment; `self` proves the features.
                $vector(unsafe { $load(words.as_ptr().cast()) })
            }

            #[inline(always)]
            fn store(self, block: &mut Block, i: usize, vector: $vector) {
                let words = &mut block.0.as_chunks_mut::<$words>().0[i];
                // SAFETY: as many writable words as it stores, any alignment; `self` proves the features.
                unsafe { $store(words.as_mut_ptr().cast(), vector.0) }
            }
        }

        $(#[$attribute])*
        #[derive(Clone, Copy)]
        pub(super) struct $vector($register);

        impl Vector for $vector {
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: a vector is made of others, and the first by `load`: the kernel exists.
                Self(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: as in `add`.
                Self(unsafe { $xor(self.0, other.0) })
            }

            #[inline(always)]
            fn multiply(self, other: Self) -> Self {
                // SAFETY: as in `add`.
                Self(unsafe { $multiply(self.0, other.0) })
            }

            #[inline(always)]
            fn rotate_right<const N: i32>(self) -> Self {
                // SAFETY: as in `add`.
                Self(unsafe { $rotate_right::<N>(self.0) })
            }

            #[inline(always)]
            fn turn<const N: i32>(self) -> Self {
                // SAFETY: as in `add`.
                Self(unsafe {
                    match N {
                        1 => $turn::<0b00_11_10_01>(self.0),
                        2 => $turn::<0b01_00_11_10>(self.0),
                        _ => $turn::<0b10_01_00_11>(self.0),
                    }
                })
            }

            #[inline(always)]
            fn straddle(self, other: Self) -> Self {
                // SAFETY: as in `add`.
                Self(unsafe { $straddle::<8>(other.0, self.0) })
            }
        }
    };
}
pub(super) use kernel_of_any_width;

/// Fetches all cache lines of a block.
#[inline]
pub(super) fn prefetch(block: &Block) {
    for line in block.0.as_chunks::<8>().0 {
        // SAFETY: a prefetch is a hint: it reads nothing that the program could see and never
        // faults, and `line` is valid besides. Every x86-64 CPU has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}
