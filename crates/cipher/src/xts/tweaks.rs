//! The tweaks of a data unit: T, T·x, T·x², … in GF(2^128) modulo x^128 + x^7 + x^2 + x + 1.
//!
//! Doubling one tweak after the other is a chain of dependent steps as long as the data, and slower
//! than AES in hardware. So eight tweaks are kept side by side, low and high halves in two arrays,
//! and all eight are multiplied by x^8 at once: shifts and xors on lanes that do not depend on each
//! other, which the compiler turns into vector instructions.

use aes::Block;

/// Blocks in a group; every data unit is a whole number of groups.
pub(super) const GROUP: usize = 8;

/// Eight successive tweaks, as little-endian 128-bit numbers.
#[derive(Clone, Copy)]
pub(super) struct Group {
    low: [u64; GROUP],
    high: [u64; GROUP],
}

/// What `top`, the bits shifted out above x^127, comes back as. At most eight bits come out, so
/// that this is below 2^15 and needs no second reduction.
#[inline(always)]
fn reduce(top: u64) -> u64 {
    top ^ (top << 1) ^ (top << 2) ^ (top << 7)
}

impl Group {
    /// T·x^0 to T·x^7, where T is the encrypted IV.
    #[inline(always)]
    pub(super) fn first(encrypted_iv: &Block) -> Self {
        let number = u128::from_le_bytes(encrypted_iv.0);
        let (low, high) = (number as u64, (number >> 64) as u64);
        let mut group = Self {
            low: [0; GROUP],
            high: [0; GROUP],
        };
        for i in 0..GROUP {
            // Shifted right by 64 - i, in two steps because 64 would be too far for i = 0.
            let carry = (low >> 1) >> (63 - i);
            let top = (high >> 1) >> (63 - i);
            group.low[i] = (low << i) ^ reduce(top);
            group.high[i] = (high << i) ^ carry;
        }
        group
    }

    /// The eight tweaks that follow.
    #[inline(always)]
    pub(super) fn next(&self) -> Self {
        let mut next = *self;
        for i in 0..GROUP {
            next.low[i] = (self.low[i] << 8) ^ reduce(self.high[i] >> 56);
            next.high[i] = (self.high[i] << 8) ^ (self.low[i] >> 56);
        }
        next
    }

    #[inline(always)]
    pub(super) fn store(&self, blocks: &mut [Block; GROUP]) {
        for (block, (low, high)) in blocks.iter_mut().zip(self.low.iter().zip(&self.high)) {
            block.0[..8].copy_from_slice(&low.to_le_bytes());
            block.0[8..].copy_from_slice(&high.to_le_bytes());
        }
    }
}

/// The tweaks of successive data units, a group at a time.
pub(super) struct Tweaks<'a> {
    encrypted_ivs: std::slice::Iter<'a, Block>,
    groups_per_unit: usize,
    /// The group to give out next and how many are left in its data unit, itself included.
    group: Group,
    left: usize,
}

impl<'a> Tweaks<'a> {
    #[inline(always)]
    pub(super) fn new(encrypted_ivs: &'a [Block], blocks_per_unit: usize) -> Self {
        Self {
            encrypted_ivs: encrypted_ivs.iter(),
            groups_per_unit: blocks_per_unit / GROUP,
            group: Group {
                low: [0; GROUP],
                high: [0; GROUP],
            },
            left: 0,
        }
    }

    /// The next tweaks, as many as fit; zeros where there are no more.
    #[inline(always)]
    pub(super) fn fill(&mut self, groups: &mut [[Block; GROUP]]) {
        for blocks in groups {
            if self.left == 0 {
                let Some(encrypted_iv) = self.encrypted_ivs.next() else {
                    return;
                };
                self.group = Group::first(encrypted_iv);
                self.left = self.groups_per_unit;
            }
            self.group.store(blocks);
            self.group = self.group.next();
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
            piece in 1..40_usize,
        ) {
            let ivs: Vec<Block> = ivs.into_iter().map(Block::from).collect();
            let mut tweaks = Tweaks::new(&ivs, blocks_per_unit);
            let mut groups = vec![[Block::default(); GROUP]; ivs.len() * blocks_per_unit / GROUP];
            for piece in groups.chunks_mut(piece) {
                tweaks.fill(piece);
            }
            for (unit, iv) in groups.as_flattened().chunks(blocks_per_unit).zip(&ivs) {
                let expected = std::iter::successors(Some(*iv), |&block| Some(doubled(block)));
                prop_assert!(unit.iter().copied().eq(expected.take(blocks_per_unit)));
            }
        }
    }
}
