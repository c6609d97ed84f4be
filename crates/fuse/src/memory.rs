//! Memory in whole pages, zeroed, which costs nothing until it is touched.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// The size of a page, or more, in bytes.
pub(crate) const PAGE_LEN: usize = 4096;

/// A mapping of its own.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is nobody else's, so whoever has this has the bytes.
unsafe impl Send for Memory {}

impl Memory {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses, overlaps nothing.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is so long, was zeroed by the kernel, and lives as long as this.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; and nobody else has a reference while this is borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The first byte's address, for the kernel.
    pub(crate) fn address(&self) -> usize {
        self.start.as_ptr().expose_provenance()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and no reference to it outlives it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        // OK to ignore: it costs address space, and nothing else can be done.
        let _ = unmapped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zeroed_aligned_and_writable() {
        let mut memory = Memory::zeroed(3 * PAGE_LEN).unwrap();
        assert_eq!(memory.address() % PAGE_LEN, 0);
        assert!(memory.bytes().iter().all(|&byte| byte == 0));
        memory.bytes_mut()[3 * PAGE_LEN - 1] = 7;
        assert_eq!(memory.bytes()[3 * PAGE_LEN - 1], 7);
    }
}
