//! Anonymous pages for the matrix: huge where the system has them, never in a core dump, an error
//! where there is no memory.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::slice;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use zeroize::Zeroize;

use crate::block::Block;

/// x86-64's and aarch64's (with pages of 4 KiB).
const HUGE_PAGE_LEN: usize = 2 << 20;

/// A private anonymous mapping of whole blocks: zeroed at first, wiped before it is unmapped.
pub(crate) struct Pages {
    /// What was mapped, a huge page longer than the blocks where they are to start on one.
    mapping: NonNull<c_void>,
    mapping_len: usize,
    /// Within the mapping.
    blocks: NonNull<Block>,
    block_count: usize,
}

impl Pages {
    /// Maps `block_count` zeroed blocks, at least one; `None` where there is no memory.
    pub(crate) fn zeroed(block_count: usize) -> Option<Self> {
        let len = block_count.checked_mul(size_of::<Block>())?;
        // Only a mapping that starts on a huge page is made of them from its start.
        let slack = if len < HUGE_PAGE_LEN {
            0
        } else {
            HUGE_PAGE_LEN
        };
        let mapping_len = len.checked_add(slack)?;
        // SAFETY: a null address lets the kernel choose, so that no existing mapping is touched.
        let mapping = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                mapping_len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let mapping = NonNull::new(mapping.ok()?)?;
        let before = if slack == 0 {
            0
        } else {
            mapping.align_offset(HUGE_PAGE_LEN)
        };
        assert!(before <= slack);
        // SAFETY: the offset is within the mapping, whose end is `len` and `slack` away.
        let start = unsafe { mapping.byte_add(before) };
        advise(start, len);
        Some(Self {
            mapping,
            mapping_len,
            blocks: start.cast(),
            block_count,
        })
    }

    pub(crate) fn blocks(&mut self) -> &mut [Block] {
        // SAFETY: `blocks` is the start of `block_count` blocks within a readable and writable
        // mapping that lives as long as `self`; it is aligned to a page, and so to a block. They
        // were zeroed by the kernel, and every bit pattern is a block. `&mut self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.blocks.as_ptr(), self.block_count) }
    }
}

/// Best effort: without either advice the key is the same.
fn advise(start: NonNull<c_void>, len: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        for advice in [Advice::LinuxHugepage, Advice::LinuxDontDump] {
            // SAFETY: the range is within a mapping of ours; neither advice changes the bytes.
            let _ = unsafe { madvise(start.as_ptr(), len, advice) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, len);
}

impl Drop for Pages {
    fn drop(&mut self) {
        // On one thread: it goes at the memory's full speed, and several were not faster.
        self.blocks().zeroize();
        #[cfg(test)]
        tests::observe_before_unmap(self.blocks());
        // SAFETY: this is our own mapping, whole, and nothing borrows from a value that is being
        // dropped.
        let _ = unsafe { munmap(self.mapping.as_ptr(), self.mapping_len) };
    }
}

// SAFETY: the mapping is owned by this value alone, as a box's memory is.
unsafe impl Send for Pages {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Blocks that were unmapped on this thread, and how many of them were not wiped.
        static UNMAPPED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    pub(super) fn observe_before_unmap(blocks: &[Block]) {
        let dirty = blocks.iter().filter(|block| **block != Block::ZERO).count();
        UNMAPPED.set((UNMAPPED.get().0 + blocks.len(), UNMAPPED.get().1 + dirty));
    }

    #[test]
    fn blocks_are_zeroed_at_first_and_wiped_at_last() {
        // Below and above a huge page.
        for count in [1, 7, 2047, 2048, 5000] {
            let mut pages = Pages::zeroed(count).unwrap();
            assert_eq!(pages.blocks().len(), count);
            assert!(pages.blocks().iter().all(|block| *block == Block::ZERO));
            pages.blocks().fill(Block([u64::MAX; Block::WORDS]));
            UNMAPPED.set((0, 0));
            drop(pages);
            assert_eq!(UNMAPPED.get(), (count, 0));
        }
    }

    #[test]
    fn a_derivation_leaves_nothing() {
        use crate::{Argon2, Inputs, Kernel, Params, Variant};
        let params = Params::new(Variant::Id, 2, 4096, 2).unwrap();
        let inputs = Inputs {
            salt: &[1; 16],
            ..Inputs::default()
        };
        for kernel in Kernel::available() {
            UNMAPPED.set((0, 0));
            let argon2 = Argon2::new(params).with_kernel(kernel);
            argon2.derive(&inputs, &mut [0; 32]).unwrap();
            assert_eq!(UNMAPPED.get(), (4096, 0), "{kernel}");
        }
    }

    #[test]
    fn a_large_mapping_starts_on_a_huge_page() {
        let mut pages = Pages::zeroed(HUGE_PAGE_LEN / Block::LEN).unwrap();
        assert!(pages.blocks().as_ptr().addr().is_multiple_of(HUGE_PAGE_LEN));
    }

    #[test]
    fn no_memory_is_no_panic() {
        assert!(Pages::zeroed(usize::MAX / Block::LEN).is_none());
        assert!(Pages::zeroed(usize::MAX).is_none());
        // More than any address space of today.
        assert!(Pages::zeroed(1 << 47).is_none());
    }
}
