//! Buffers for ciphertext on its way to the storage.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Kept for the next writes; more threads than that bring their own.
const KEPT_MAX: usize = 8;

/// Buffers that were used before: fresh memory costs a page fault for every 4 KiB and zeros that nobody reads, for a
/// write of 1 MiB about as much as its encryption.
#[derive(Default)]
pub(crate) struct ScratchPool(Mutex<Vec<Vec<u8>>>);

/// A buffer, given back when this is dropped.
pub(crate) struct Scratch<'p> {
    pool: &'p ScratchPool,
    buffer: Vec<u8>,
    len: usize,
}

impl ScratchPool {
    /// `len` bytes, of no particular content.
    pub(crate) fn take(&self, len: usize) -> Scratch<'_> {
        let mut buffer = self.kept().pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        Scratch {
            pool: self,
            buffer,
            len,
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // No buffer is ever half-made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Scratch<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut kept = self.pool.kept();
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
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
