//! RFC 9106, 3.4: which block goes into a block.

use crate::memory::{Position, Shape};
use crate::params::SLICES;

/// Where in the course of the computation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) shape: Shape,
    pub(crate) pass: u32,
    pub(crate) slice: u32,
}

impl Turn {
    /// The block that goes into `lane`'s block `index` of this slice, chosen by the pseudo-random
    /// word `random`: J1 is its lower half, J2 its upper.
    pub(crate) fn reference(&self, lane: usize, index: usize, random: u64) -> Position {
        let Self { shape, pass, slice } = *self;
        let (slice, lane_len) = (slice as usize, shape.lane_len());
        let first_slice = pass == 0 && slice == 0;
        let chosen = if first_slice {
            lane
        } else {
            (random >> 32) as usize % shape.lanes
        };
        // What is finished and may be chosen: all slices but this one, or those before it in the
        // first pass...
        let finished = if pass == 0 {
            slice * shape.segment_len
        } else {
            lane_len - shape.segment_len
        };
        let area = if chosen == lane {
            // ... and of the lane itself this segment's blocks, but not the one just before.
            finished + index - 1
        } else {
            // ... and of another lane not the last, for the first block of a segment.
            finished - usize::from(index == 0)
        };
        // The distribution prefers what is recent.
        let j1 = random & u64::from(u32::MAX);
        let x = (j1 * j1) >> 32;
        let from_end = ((area as u64 * x) >> 32) as usize;
        let start = if pass == 0 || slice == SLICES as usize - 1 {
            0
        } else {
            (slice + 1) * shape.segment_len
        };
        // Below two lane lengths: one subtraction is the modulus.
        let column = start + area - 1 - from_end;
        Position {
            lane: chosen,
            column: if column < lane_len {
                column
            } else {
                column - lane_len
            },
        }
    }
}
