//! Buffers that direct I/O accepts.

use std::ops::{Deref, DerefMut};

/// What direct I/O wants of a buffer's address, of offsets and of lengths, in bytes.
///
/// Devices ask for their logical block size, 512 or 4096; the larger always serves.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// A buffer whose address is a multiple of [`DIRECT_ALIGNMENT`].
///
/// ```
/// let buffer = lucarne_storage::AlignedBuffer::zeroed(8192);
/// assert_eq!(buffer.as_ptr() as usize % lucarne_storage::DIRECT_ALIGNMENT, 0);
/// ```
#[derive(Debug)]
pub struct AlignedBuffer {
    // One alignment longer than asked for: the bytes from `start` on are aligned, without unsafe code.
    allocation: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let allocation = vec![0; len + DIRECT_ALIGNMENT];
        let start = allocation.as_ptr().align_offset(DIRECT_ALIGNMENT);
        Self {
            allocation,
            start,
            len,
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.allocation[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.allocation[self.start..self.start + self.len]
    }
}

/// Whether direct I/O takes this access as it is.
pub(crate) fn is_direct_capable(data: &[u8], offset: u64) -> bool {
    data.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT)
        && data.len().is_multiple_of(DIRECT_ALIGNMENT)
        && offset.is_multiple_of(DIRECT_ALIGNMENT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_aligned_and_zeroed() {
        for len in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let buffer = AlignedBuffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().addr() % DIRECT_ALIGNMENT, 0);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn one_misfit_is_enough_to_refuse_direct() {
        let buffer = AlignedBuffer::zeroed(8192);
        assert!(is_direct_capable(&buffer, 4096));
        assert!(!is_direct_capable(&buffer[1..4097], 4096));
        assert!(!is_direct_capable(&buffer[..512], 4096));
        assert!(!is_direct_capable(&buffer, 512));
    }
}
