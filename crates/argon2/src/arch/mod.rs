//! The block function G (RFC 9106, 3.5), in vectors of several widths.
//!
//! A block is an 8 × 8 matrix of pairs of words. G sums two blocks, permutes each row and then each
//! column of the sum, and adds the sum again. There is one program for it ([`rounds`]) and a file
//! for each instruction set, which says what a vector is and how rows and columns lie in vectors.

#[cfg(target_arch = "x86_64")]
mod rounds;
#[cfg(test)]
mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(test)]
pub(crate) use scalar::Scalar;

use crate::block::Block;

/// G, by instructions that this CPU has: such a value exists only where it does.
pub(crate) trait BlockFunction: Copy + Send + Sync {
    /// `block = G(x, y)`, or `block ^= G(x, y)` if it goes `onto` what was there.
    fn compress(self, block: &mut Block, x: &Block, y: &Block, onto: bool);

    /// Brings a block into the cache before it is needed.
    fn prefetch(self, block: &Block);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Random words, and those whose products and sums carry.
    fn words() -> impl Strategy<Value = Vec<u64>> {
        let word = prop_oneof![4 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(0)];
        prop::collection::vec(word, Block::WORDS)
    }

    fn equals_scalar(kernel: impl BlockFunction, onto: bool, [x, y, old]: &[Block; 3]) {
        let [mut block, mut expected] = [*old; 2];
        kernel.prefetch(x);
        kernel.compress(&mut block, x, y, onto);
        Scalar.compress(&mut expected, x, y, onto);
        assert_eq!(block.0, expected.0);
    }

    proptest! {
        #[test]
        fn every_block_function_is_the_rfcs(
            blocks in [words(), words(), words()],
            onto in any::<bool>(),
        ) {
            let blocks = blocks.map(|words| Block(words.try_into().unwrap()));
            if let Some(kernel) = Avx512::new() {
                equals_scalar(kernel, onto, &blocks);
            }
            if let Some(kernel) = Avx2::new() {
                equals_scalar(kernel, onto, &blocks);
            }
        }
    }
}
