//! What no XTS can exceed: AES alone, on registers.

use std::hint::black_box;

use super::arch::{Block, Isa, STREAMS};

/// Encrypts about `bytes` bytes, and tells how many. They are nobody's: the rounds are all there is.
#[inline(always)]
pub(super) fn spin<I: Isa, const N: usize>(isa: I, bytes: usize) -> usize {
    let keys: [I::Vector; N] = std::array::from_fn(|round| isa.splat(&[round as u8; 16]));
    // Twice as many for vectors of four blocks: an instruction on these keeps a unit busy for longer,
    // and there are twice the registers.
    let mut sets: [[I::Vector; STREAMS]; 2] = std::array::from_fn(|set| {
        std::array::from_fn(|stream| isa.splat(&[(set * STREAMS + stream) as u8; 16]))
    });
    let sets_used = if I::BLOCKS == 4 { 2 } else { 1 };
    let mut idle = [keys[0]; 2];
    let turn_bytes = sets_used * STREAMS * I::BLOCKS * size_of::<Block>();
    let turns = bytes.div_ceil(turn_bytes);
    for _ in 0..turns {
        unrolled!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13 14] {
            if ROUND < N {
                for states in &mut sets[..sets_used] {
                    for state in &mut *states {
                        *state = if ROUND < N - 1 {
                            isa.encrypt_round(*state, keys[ROUND])
                        } else {
                            isa.encrypt_last_round(*state, keys[ROUND])
                        };
                    }
                    // One round after the other, or the streams are done one by one.
                    let [idle, idle_too] = &mut idle;
                    isa.pin(states, idle, idle_too);
                }
            }
        });
    }
    black_box((sets, idle));
    turns * turn_bytes
}
