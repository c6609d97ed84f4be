//! The tweaks of a data unit: T, T·x, T·x², … in GF(2^128) modulo x^128 + x^7 + x^2 + x + 1.
//!
//! Doubling one tweak after the other is a chain of dependent steps as long as the data, and slower
//! than AES in hardware. So the tweaks come in stripes of 32, each of them T·x^k straight from the
//! stripe's first: a loop of shifts and xors whose rounds do not depend on each other, which the
//! compiler turns into vector instructions.

use aes::Block;

/// Blocks in a stripe. The smallest data unit is one stripe, the others are several; and T·x^31
/// still needs a single reduction.
pub(super) const STRIPE: usize = 32;

/// What `top`, the bits shifted out above x^127, comes back as; below 2^64 for up to 57 bits.
#[inline(always)]
fn reduce(top: u64) -> u64 {
    top ^ (top << 1) ^ (top << 2) ^ (top << 7)
}

/// `number`·x^`power` for a power below 57; low half first.
#[inline(always)]
fn times_x_to((low, high): (u64, u64), power: usize) -> (u64, u64) {
    // Shifted right by 64 - power, in two steps because 64 is too far at once.
    let carry = (low >> 1) >> (63 - power);
    let top = (high >> 1) >> (63 - power);
    ((low << power) ^ reduce(top), (high << power) ^ carry)
}

/// The tweaks of successive data units, a stripe at a time.
pub(super) struct Tweaks<'a> {
    encrypted_ivs: std::slice::Iter<'a, Block>,
    stripes_per_unit: usize,
    /// The first tweak of the next stripe, and how many are left in its data unit.
    first: (u64, u64),
    left: usize,
}

impl<'a> Tweaks<'a> {
    #[inline(always)]
    pub(super) fn new(encrypted_ivs: &'a [Block], blocks_per_unit: usize) -> Self {
        Self {
            encrypted_ivs: encrypted_ivs.iter(),
            stripes_per_unit: blocks_per_unit.div_ceil(STRIPE),
            first: (0, 0),
            left: 0,
        }
    }

    /// The next tweaks, as many as fit; what is there remains where there are no more.
    #[inline(always)]
    pub(super) fn fill(&mut self, stripes: &mut [[Block; STRIPE]]) {
        for stripe in stripes {
            if self.left == 0 {
                let Some(encrypted_iv) = self.encrypted_ivs.next() else {
                    return;
                };
                let number = u128::from_le_bytes(encrypted_iv.0);
                self.first = (number as u64, (number >> 64) as u64);
                self.left = self.stripes_per_unit;
            }
            for (power, block) in stripe.iter_mut().enumerate() {
                let (low, high) = times_x_to(self.first, power);
                block.0[..8].copy_from_slice(&low.to_le_bytes());
                block.0[8..].copy_from_slice(&high.to_le_bytes());
            }
            self.first = times_x_to(self.first, STRIPE);
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// IEEE 1619-2018, 5.2: multiplication by x, byte by byte.
    fn doubled(block: Block) -> Block {
        let mut doubled = Block::default();
        let mut carry = 0;
        for (byte, out) in block.iter().zip(doubled.iter_mut()) {
            *out = (byte << 1) | carry;
            carry = byte >> 7;
        }
        doubled[0] ^= 0x87 * carry;
        doubled
    }

    proptest! {
        #[test]
        fn tweaks_are_successive_doublings(
            ivs in proptest::collection::vec(any::<[u8; 16]>(), 1..4),
            blocks_per_unit in proptest::sample::select(vec![32_usize, 64, 128, 256]),
            piece in 1..10_usize,
        ) {
            let ivs: Vec<Block> = ivs.into_iter().map(Block::from).collect();
            let mut tweaks = Tweaks::new(&ivs, blocks_per_unit);
            let mut stripes = vec![[Block::default(); STRIPE]; ivs.len() * blocks_per_unit / STRIPE];
            for piece in stripes.chunks_mut(piece) {
                tweaks.fill(piece);
            }
            for (unit, iv) in stripes.as_flattened().chunks(blocks_per_unit).zip(&ivs) {
                let expected = std::iter::successors(Some(*iv), |&block| Some(doubled(block)));
                prop_assert!(unit.iter().copied().eq(expected.take(blocks_per_unit)));
            }
        }
    }
}
