//! RFC 9106, 3.2: memory is a matrix of 1 KiB blocks.

use zeroize::DefaultIsZeroes;

/// 1024 bytes as 128 little-endian words; aligned to a cache line, which is the widest vector.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [u64; Self::WORDS]);

impl Block {
    pub(crate) const WORDS: usize = 128;
    pub(crate) const LEN: usize = 1024;
    pub(crate) const ZERO: Self = Self([0; Self::WORDS]);

    pub(crate) fn set_bytes(&mut self, bytes: &[u8; Self::LEN]) {
        for (word, bytes) in self.0.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    pub(crate) fn write_bytes(&self, bytes: &mut [u8; Self::LEN]) {
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
    }

    pub(crate) fn xor(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word ^= other;
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::ZERO
    }
}

impl DefaultIsZeroes for Block {}
