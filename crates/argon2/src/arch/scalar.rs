//! The block function as RFC 9106 writes it: what the others are tested against, and what Miri can
//! run.

use super::BlockFunction;
use crate::block::Block;

/// Every CPU has words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

impl BlockFunction for Scalar {
    /// 3.5: the block as a matrix of 8 × 8 registers of two words.
    fn compress(self, block: &mut Block, x: &Block, y: &Block, onto: bool) {
        let mut sum = *x;
        sum.xor(y);
        let mut result = sum;
        for row in 0..8 {
            permute(&mut result, |register| 8 * row + register);
        }
        for column in 0..8 {
            permute(&mut result, |register| 8 * register + column);
        }
        result.xor(&sum);
        if onto {
            result.xor(block);
        }
        *block = result;
    }

    fn prefetch(self, _: &Block) {}
}

/// P of 3.6 on eight registers, two words each.
fn permute(block: &mut Block, register: impl Fn(usize) -> usize) {
    let mut v: [u64; 16] = std::array::from_fn(|i| block.0[2 * register(i / 2) + i % 2]);
    for [a, b, c, d] in [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ] {
        for (x, y, z, rotation) in [(a, b, d, 32), (c, d, b, 24), (a, b, d, 16), (c, d, b, 63)] {
            let product = (v[x] & 0xffff_ffff) * (v[y] & 0xffff_ffff);
            v[x] = v[x]
                .wrapping_add(v[y])
                .wrapping_add(product.wrapping_mul(2));
            v[z] = (v[z] ^ v[x]).rotate_right(rotation);
        }
    }
    for (i, word) in v.into_iter().enumerate() {
        block.0[2 * register(i / 2) + i % 2] = word;
    }
}
