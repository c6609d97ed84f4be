//! The block matrix, and views of it that lanes can be computed through at the same time.
//!
//! RFC 9106, 3.4: while a slice is computed, each lane writes its segment of that slice, and reads
//! its own segment and every block *outside* of the slice. So segments of one slice never meet.
//! That is what [`Segments`] upholds, block by block: it is the only way to the blocks while there
//! are several threads.
//!
//! ```text
//!            slice 0     slice 1     slice 2     slice 3
//! lane 0   |  read     |  WRITE    |  read     |  read     |   a lane's own segment is also read
//! lane 1   |  read     |  (lane 1) |  read     |  read     |   <- not by lane 0 while in slice 1
//! ```

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

use crate::block::Block;
use crate::pages::Pages;
use crate::params::{Params, SLICES};

/// A block's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) lane: usize,
    pub(crate) column: usize,
}

/// The matrix's dimensions, in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) lanes: usize,
    pub(crate) segment_len: usize,
}

impl Shape {
    pub(crate) fn of(params: &Params) -> Self {
        Self {
            lanes: params.lanes() as usize,
            segment_len: params.segment_len() as usize,
        }
    }

    pub(crate) fn lane_len(&self) -> usize {
        self.segment_len * SLICES as usize
    }
}

/// All blocks, lane after lane, in [`Pages`] that are wiped before they are given back.
pub(crate) struct Matrix {
    pages: Pages,
    shape: Shape,
}

impl Matrix {
    /// Zeroed blocks; `None` where there is no memory.
    pub(crate) fn new(shape: Shape) -> Option<Self> {
        let blocks = shape.lanes.checked_mul(shape.lane_len())?;
        let pages = Pages::zeroed(blocks)?;
        Some(Self { pages, shape })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Every block, lane after lane.
    pub(crate) fn blocks(&mut self) -> &mut [Block] {
        self.pages.blocks()
    }

    /// The same as the `argon2` crate has them.
    pub(crate) fn rustcrypto_blocks(&mut self) -> &mut [argon2::Block] {
        const {
            assert!(size_of::<argon2::Block>() == size_of::<Block>());
            assert!(align_of::<argon2::Block>() <= align_of::<Block>());
        }
        let blocks = self.blocks();
        // SAFETY: both kinds are 1024 bytes, of which all are words (theirs by `AsRef<[u64]>`, 128
        // of them; a test counts), so that every bit pattern of the one is one of the other; the
        // alignment suffices; and the borrow is passed on.
        unsafe { slice::from_raw_parts_mut(blocks.as_mut_ptr().cast(), blocks.len()) }
    }

    /// All lanes' segments of one slice.
    pub(crate) fn segments(&mut self, slice: usize) -> Segments<'_> {
        assert!(slice < SLICES as usize, "slice {slice}");
        let start = slice * self.shape.segment_len;
        let blocks = NonNull::from(self.pages.blocks());
        assert_eq!(blocks.len(), self.shape.lanes * self.shape.lane_len());
        Segments {
            blocks: blocks.cast(),
            shape: self.shape,
            columns: start..start + self.shape.segment_len,
            lanes: 0..self.shape.lanes,
            matrix: PhantomData,
        }
    }
}

/// The segments of one slice and of some lanes, and a sight of every block that they may refer to.
///
/// All that exist at one time stem from one borrow of the matrix, so they are of one slice; and
/// [`Segments::split_at`] makes two of one, so no lane is in two of them.
pub(crate) struct Segments<'m> {
    /// The matrix's first block.
    blocks: NonNull<Block>,
    shape: Shape,
    /// The slice.
    columns: Range<usize>,
    /// The lanes that are written through this value alone.
    lanes: Range<usize>,
    matrix: PhantomData<&'m mut [Block]>,
}

// SAFETY: this is exclusive access to some blocks, as `&mut [Block]` is, and shared access to others
// that nobody writes for as long as it lives; both may be used from another thread.
unsafe impl Send for Segments<'_> {}

impl Segments<'_> {
    pub(crate) fn lanes(&self) -> Range<usize> {
        self.lanes.clone()
    }

    /// The lanes before `lane`, and the others.
    pub(crate) fn split_at(self, lane: usize) -> (Self, Self) {
        assert!(self.lanes.start <= lane && lane <= self.lanes.end);
        let after = Self {
            blocks: self.blocks,
            shape: self.shape,
            columns: self.columns.clone(),
            lanes: lane..self.lanes.end,
            matrix: PhantomData,
        };
        let before = Self {
            lanes: self.lanes.start..lane,
            ..self
        };
        (before, after)
    }

    /// The block at `position`.
    ///
    /// # Panics
    /// If there is none, or somebody else may be writing it.
    pub(crate) fn block(&self, position: Position) -> &Block {
        let index = self.readable(position);
        // SAFETY: `index` is of a block within the matrix, which is borrowed for as long as `self`
        // lives, and nobody writes that block meanwhile: it is outside of the slice, which only
        // views of the same slice write within; or it is in one of the lanes that only this value
        // writes, for which it must be borrowed exclusively.
        unsafe { self.blocks.add(index).as_ref() }
    }

    /// What goes into the block in `lane`'s column `index` of this slice: the block itself, to be
    /// written, the one before it (in the lane's circle), and the one at `reference`.
    ///
    /// # Panics
    /// If there is no such block here, or `reference` is not to be read, or is the block itself.
    pub(crate) fn step(
        &mut self,
        lane: usize,
        index: usize,
        reference: Position,
    ) -> (&mut Block, &Block, &Block) {
        assert!(self.lanes.contains(&lane) && index < self.shape.segment_len);
        let column = self.columns.start + index;
        let before = column.checked_sub(1).unwrap_or(self.shape.lane_len() - 1);
        let target = self.index(Position { lane, column });
        let previous = self.index(Position {
            lane,
            column: before,
        });
        let reference = self.readable(reference);
        assert!(reference != target && previous != target);
        // SAFETY: all three are of blocks within the matrix, borrowed for as long as `self` lives.
        // The target is in this slice and in a lane that only this value writes, and `self` is
        // borrowed exclusively, so that no other reference to it exists. The two others are other
        // blocks than it, the previous in the same lane, and are not written meanwhile, as in
        // `block`: the previous is in that lane.
        unsafe {
            (
                self.blocks.add(target).as_mut(),
                self.blocks.add(previous).as_ref(),
                self.blocks.add(reference).as_ref(),
            )
        }
    }

    /// Where a block is, if nobody else may be writing it.
    fn readable(&self, position: Position) -> usize {
        assert!(
            self.lanes.contains(&position.lane) || !self.columns.contains(&position.column),
            "{position:?} is another thread's"
        );
        self.index(position)
    }

    fn index(&self, Position { lane, column }: Position) -> usize {
        let lane_len = self.shape.lane_len();
        assert!(lane < self.shape.lanes && column < lane_len);
        lane * lane_len + column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        lanes: 3,
        segment_len: 2,
    };

    #[test]
    fn the_other_crates_blocks_are_the_same_bytes() {
        assert_eq!(argon2::Block::new().as_ref().len(), Block::WORDS);
        let mut matrix = Matrix::new(SHAPE).unwrap();
        for (i, block) in matrix.rustcrypto_blocks().iter_mut().enumerate() {
            block.as_mut().fill(i as u64);
        }
        let blocks = matrix.blocks();
        assert_eq!(blocks.len(), 3 * 8);
        assert!(
            (0..)
                .zip(blocks)
                .all(|(i, block)| block.0 == [i; Block::WORDS])
        );
    }

    #[test]
    fn a_segment_is_written_between_what_it_refers_to() {
        let mut matrix = Matrix::new(SHAPE).unwrap();
        for (i, block) in (0..).zip(matrix.blocks()) {
            block.0[0] = i;
        }
        let mut segments = matrix.segments(0);
        let at = |lane, column| Position { lane, column };
        let (block, previous, reference) = segments.step(1, 0, at(2, 5));
        // The block before a lane's first is its last.
        assert_eq!([block.0[0], previous.0[0], reference.0[0]], [8, 15, 21]);
        block.0[0] = 99;
        let (block, previous, reference) = segments.step(1, 1, at(1, 0));
        assert_eq!([block.0[0], previous.0[0], reference.0[0]], [9, 99, 99]);
    }

    #[test]
    #[should_panic(expected = "another thread's")]
    fn another_lanes_segment_is_not_read() {
        let mut matrix = Matrix::new(SHAPE).unwrap();
        let (before, _after) = matrix.segments(1).split_at(2);
        let lane = before.lanes().end;
        before.block(Position { lane, column: 3 });
    }

    #[test]
    #[should_panic(expected = "lanes.contains")]
    fn another_lanes_segment_is_not_written() {
        let mut matrix = Matrix::new(SHAPE).unwrap();
        let (mut before, _after) = matrix.segments(1).split_at(2);
        before.step(2, 0, Position { lane: 0, column: 0 });
    }

    #[test]
    #[should_panic(expected = "reference != target")]
    fn a_block_does_not_refer_to_itself() {
        let mut matrix = Matrix::new(SHAPE).unwrap();
        matrix
            .segments(1)
            .step(0, 0, Position { lane: 0, column: 2 });
    }

    #[test]
    #[should_panic(expected = "column < lane_len")]
    fn a_lane_ends() {
        let mut matrix = Matrix::new(SHAPE).unwrap();
        matrix.segments(1).block(Position { lane: 0, column: 8 });
    }
}
