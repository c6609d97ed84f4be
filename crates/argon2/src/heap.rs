//! Heap memory for the matrix, on systems without `mmap`.

use zeroize::Zeroize;

use crate::block::Block;

/// Blocks that are wiped on drop.
pub(crate) struct Pages(Vec<Block>);

impl Pages {
    /// `block_count` zeroed blocks; `None` where there is no memory.
    pub(crate) fn zeroed(block_count: usize) -> Option<Self> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(block_count).ok()?;
        blocks.resize(block_count, Block::ZERO);
        Some(Self(blocks))
    }

    pub(crate) fn blocks(&mut self) -> &mut [Block] {
        &mut self.0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}
