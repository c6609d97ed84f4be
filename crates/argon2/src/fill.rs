//! RFC 9106, 3.2, steps 4 to 6: the passes over the matrix.
//!
//! A block needs the one before it and one from anywhere, whose address is known only when the one
//! before is finished: memory's latency, a million times over. Two things hide it. Two lanes of a
//! thread take turns, block by block, so that while one waits the other computes; and the next
//! reference is fetched as soon as it is known. Where the addresses do not depend on the blocks, it
//! is fetched several blocks ahead, and that suffices.

use std::ops::Range;

use rayon::prelude::*;
use zeroize::{optimization_barrier, zeroize_stack};

use crate::arch::BlockFunction;
use crate::block::Block;
use crate::index::Turn;
use crate::memory::{Matrix, Position, Segments};
use crate::params::{Params, SLICES, Variant};

/// How many lanes take turns on a thread. With one, memory's latency shows; with four, their blocks
/// drive each other out of the first-level cache.
const INTERLEAVED: usize = 2;
/// How many blocks ahead a reference is fetched whose address does not depend on a block.
const AHEAD: usize = 4;
/// A slice of less blocks is not spread over threads: to wake one takes as long.
const MIN_SPREAD_BLOCKS: usize = 256;
/// Less memory than this is faulted in by the lanes as they go.
const MIN_FAULTED_BLOCKS: usize = 16 << 10;
/// A huge page: what one fault brings.
const FAULTED_BLOCKS: usize = 2 << 10;
/// The least that a fault brings.
const SMALL_PAGE_BLOCKS: usize = 4;
/// More than a kernel leaves on the stack.
const STACK_LEN: usize = 4 << 10;

/// Touches all of the memory, on all threads of the current rayon pool.
///
/// The system zeroes fresh memory when it is touched, and in a virtual machine may have to ask for
/// it first: up to half of the time of a derivation. Lanes that did it as they go would wait for
/// each other at every slice, and a single lane would do it all alone.
pub(crate) fn fault_in(matrix: &mut Matrix) {
    let blocks = matrix.blocks();
    if blocks.len() < MIN_FAULTED_BLOCKS {
        return;
    }
    blocks.par_chunks_mut(FAULTED_BLOCKS).for_each(|page| {
        for block in page.iter_mut().step_by(SMALL_PAGE_BLOCKS) {
            block.0[0] = 0;
            // Without it the compiler may find that nothing changes.
            optimization_barrier(block);
        }
    });
}

/// Fills the matrix, of which the first two columns are filled, in all passes.
///
/// The lanes are spread over the current rayon pool's threads.
pub(crate) fn fill<B: BlockFunction>(kernel: B, params: &Params, matrix: &mut Matrix) {
    let shape = matrix.shape();
    if shape.lanes == 1 || shape.lanes * shape.segment_len < MIN_SPREAD_BLOCKS {
        fill_on(kernel, params, matrix, 1);
        return;
    }
    let threads = shape.lanes.min(rayon::current_num_threads());
    // From inside of the pool, so that no slice starts with a call into it from without.
    rayon::scope(|_| fill_on(kernel, params, matrix, threads));
}

/// Fills the matrix on so many threads of the current pool.
fn fill_on<B: BlockFunction>(kernel: B, params: &Params, matrix: &mut Matrix, threads: usize) {
    let shape = matrix.shape();
    for pass in 0..params.time() {
        for slice in 0..SLICES {
            let fill = SliceFill {
                kernel,
                params,
                turn: Turn { shape, pass, slice },
            };
            fill.spread(matrix.segments(slice as usize), threads);
        }
    }
}

/// What to do with a slice.
#[derive(Clone, Copy)]
struct SliceFill<'a, B> {
    kernel: B,
    params: &'a Params,
    turn: Turn,
}

impl<B: BlockFunction> SliceFill<'_, B> {
    /// Computes the segments on so many threads, the lanes spread evenly.
    ///
    /// Every slice is joined anew: a barrier between threads of a pool could wait for ever for one
    /// that the pool has not started.
    fn spread(self, segments: Segments<'_>, threads: usize) {
        if threads == 1 {
            self.compute_lanes(segments);
            zeroize_stack::<STACK_LEN>();
            return;
        }
        let lanes = segments.lanes();
        let left = threads / 2;
        let (before, after) = segments.split_at(lanes.start + lanes.len() * left / threads);
        rayon::join(
            || self.spread(before, left),
            || self.spread(after, threads - left),
        );
    }

    // Not inlined, so that what it leaves on the stack is below its caller's frame.
    #[inline(never)]
    fn compute_lanes(self, mut segments: Segments<'_>) {
        let lanes = segments.lanes();
        let independent = match self.params.variant() {
            Variant::I => true,
            Variant::Id => self.turn.pass == 0 && self.turn.slice < SLICES / 2,
        };
        if independent {
            for lane in lanes {
                self.independent(&mut segments, lane);
            }
        } else {
            for first in lanes.clone().step_by(INTERLEAVED) {
                let lanes = first..lanes.end.min(first + INTERLEAVED);
                self.dependent(&mut segments, lanes);
            }
        }
    }

    /// The blocks of a segment that are still to be computed.
    fn indices(&self) -> Range<usize> {
        // The first two columns come from the inputs.
        let first = if self.turn.pass == 0 && self.turn.slice == 0 {
            2
        } else {
            0
        };
        first..self.turn.shape.segment_len
    }

    /// Each block chooses the next one's reference.
    fn dependent(&self, segments: &mut Segments<'_>, lanes: Range<usize>) {
        let indices = self.indices();
        let mut references = [Position { lane: 0, column: 0 }; INTERLEAVED];
        for (lane, reference) in lanes.clone().zip(&mut references) {
            let previous = self.previous(lane, indices.start);
            let random = segments.block(previous).0[0];
            *reference = self.turn.reference(lane, indices.start, random);
        }
        for index in indices.clone() {
            for (lane, reference) in lanes.clone().zip(&mut references) {
                let random = self.compute(segments, lane, index, *reference);
                if index + 1 < indices.end {
                    *reference = self.turn.reference(lane, index + 1, random);
                    self.kernel.prefetch(segments.block(*reference));
                }
            }
        }
    }

    /// A generator that knows nothing but the parameters chooses the references: it has no secret to
    /// wipe.
    fn independent(&self, segments: &mut Segments<'_>, lane: usize) {
        let indices = self.indices();
        let mut addresses = Block::ZERO;
        for index in indices.clone() {
            let word = index % Block::WORDS;
            if word == 0 || index == indices.start {
                addresses = self.addresses(lane, index / Block::WORDS);
            }
            if index + AHEAD < indices.end
                && let Some(&random) = addresses.0.get(word + AHEAD)
            {
                let reference = self.turn.reference(lane, index + AHEAD, random);
                self.kernel.prefetch(segments.block(reference));
            }
            let reference = self.turn.reference(lane, index, addresses.0[word]);
            self.compute(segments, lane, index, reference);
        }
    }

    /// The words that choose the references of a segment's blocks from `chunk` × 128 on.
    fn addresses(&self, lane: usize, chunk: usize) -> Block {
        let mut input = Block::ZERO;
        input.0[..7].copy_from_slice(&[
            self.turn.pass.into(),
            lane as u64,
            self.turn.slice.into(),
            self.params.block_count().into(),
            self.params.time().into(),
            self.params.variant() as u64,
            chunk as u64 + 1,
        ]);
        let mut addresses = Block::ZERO;
        self.kernel
            .compress(&mut addresses, &Block::ZERO, &input, false);
        input.0 = addresses.0;
        self.kernel
            .compress(&mut addresses, &Block::ZERO, &input, false);
        addresses
    }

    /// Computes one block. Returns its first word.
    fn compute(
        &self,
        segments: &mut Segments<'_>,
        lane: usize,
        index: usize,
        reference: Position,
    ) -> u64 {
        let (block, previous, reference) = segments.step(lane, index, reference);
        self.kernel
            .compress(block, previous, reference, self.turn.pass > 0);
        block.0[0]
    }

    fn previous(&self, lane: usize, index: usize) -> Position {
        let column = self.turn.slice as usize * self.turn.shape.segment_len + index;
        Position {
            lane,
            column: column
                .checked_sub(1)
                .unwrap_or(self.turn.shape.lane_len() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Version};

    use super::*;
    use crate::arch::Scalar;
    use crate::memory::Shape;
    use crate::{Inputs, hash};

    /// The matrix as the `argon2` crate fills it.
    fn expected(params: &Params) -> Matrix {
        let mut matrix = Matrix::new(Shape::of(params)).unwrap();
        let algorithm = match params.variant() {
            Variant::I => Algorithm::Argon2i,
            Variant::Id => Algorithm::Argon2id,
        };
        let peer = argon2::Params::new(params.memory_kib(), params.time(), params.lanes(), None);
        argon2::Argon2::new(algorithm, Version::V0x13, peer.unwrap())
            .fill_memory(b"password", b"saltsalt", matrix.rustcrypto_blocks())
            .unwrap();
        matrix
    }

    /// With its first two columns.
    fn started(params: &Params) -> Matrix {
        let mut matrix = Matrix::new(Shape::of(params)).unwrap();
        let lane_len = matrix.shape().lane_len();
        let inputs = Inputs {
            password: b"password",
            salt: b"saltsalt",
            ..Inputs::default()
        };
        let initial = hash::initial(params, &inputs, &[]);
        for (lane, blocks) in (0..).zip(matrix.blocks().chunks_exact_mut(lane_len)) {
            for (column, block) in (0..2).zip(blocks) {
                hash::first_block(&initial, lane, column, block);
            }
        }
        matrix
    }

    fn filled(params: &Params, threads: usize) -> Matrix {
        let mut matrix = started(params);
        fill_on(Scalar, params, &mut matrix, threads);
        matrix
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes more than ten minutes in rayon")]
    fn every_block_is_the_argon2_crates() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        for (time, memory_kib, lanes, threads) in [
            (1, 8, 1, 1),
            (3, 1100, 1, 1),
            (2, 35, 4, 1),
            (2, 35, 4, 3),
            (5, 999, 5, 3),
            (2, 5000, 3, 2),
            (1, 200, 17, 3),
        ] {
            for variant in [Variant::I, Variant::Id] {
                let params = Params::new(variant, time, memory_kib, lanes).unwrap();
                let mut actual = pool.install(|| filled(&params, threads));
                let mut expected = expected(&params);
                assert!(
                    actual.blocks() == expected.blocks(),
                    "{params:?} on {threads} threads"
                );
            }
        }
    }

    /// With the system's threads, so that Miri can look for races and for references that meet.
    #[test]
    fn segments_of_a_slice_may_be_computed_at_the_same_time() {
        let params = Params::new(Variant::Id, 2, 27, 3).unwrap();
        let mut matrix = started(&params);
        let shape = matrix.shape();
        for (pass, slice) in (0..2).flat_map(|pass| (0..SLICES).map(move |slice| (pass, slice))) {
            let fill = SliceFill {
                kernel: Scalar,
                params: &params,
                turn: Turn { shape, pass, slice },
            };
            let (one, two) = matrix.segments(slice as usize).split_at(1);
            std::thread::scope(|scope| {
                scope.spawn(|| fill.compute_lanes(one));
                scope.spawn(|| fill.compute_lanes(two));
            });
        }
        assert!(matrix.blocks() == filled(&params, 1).blocks());
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes more than ten minutes in rayon")]
    fn faulting_in_changes_nothing() {
        let shape = Shape {
            lanes: 1,
            segment_len: MIN_FAULTED_BLOCKS / 4,
        };
        let mut matrix = Matrix::new(shape).unwrap();
        fault_in(&mut matrix);
        assert!(matrix.blocks().iter().all(|block| *block == Block::ZERO));
    }
}
