//! Buffers for ciphertext on its way to the storage, or from it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use lucarne_storage::AlignedBuffer;

/// Kept for the next writes; more threads than that bring their own.
const KEPT_MAX: usize = 8;

/// Buffers that were used before: fresh memory costs a page fault for every 4 KiB and zeros that nobody reads, for a
/// write of 1 MiB about as much as its encryption.
#[derive(Default)]
pub(crate) struct ScratchPool(Mutex<Vec<AlignedBuffer>>);

/// A buffer, given back when this is dropped.
pub(crate) struct Scratch<'p> {
    pool: &'p ScratchPool,
    /// `None` only while this is dropped.
    buffer: Option<AlignedBuffer>,
    len: usize,
}

impl ScratchPool {
    /// `len` bytes, of no particular content.
    pub(crate) fn take(&self, len: usize) -> Scratch<'_> {
        let kept = self.kept().pop().filter(|buffer| buffer.len() >= len);
        Scratch {
            pool: self,
            buffer: Some(kept.unwrap_or_else(|| AlignedBuffer::zeroed(len))),
            len,
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<AlignedBuffer>> {
        // No buffer is ever half-made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Scratch<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .map_or(&[], |buffer| &buffer[..self.len])
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer
            .as_mut()
            .map_or(&mut [], |buffer| &mut buffer[..self.len])
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let mut kept = self.pool.kept();
        if kept.len() < KEPT_MAX {
            kept.extend(self.buffer.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_no_more_than_so_many_are_kept() {
        let pool = ScratchPool::default();
        pool.take(100).fill(7);
        assert_eq!(*pool.take(10), [7; 10]);
        assert_eq!(pool.take(200).len(), 200);
        let many: Vec<_> = (0..2 * KEPT_MAX).map(|_| pool.take(1)).collect();
        drop(many);
        assert_eq!(pool.kept().len(), KEPT_MAX);
    }
}
