//! SHA-256 (FIPS 180-4) of many blocks of one length: what tells the sectors of an interrupted re-encryption apart.
//!
//! One hash is a chain in which each step waits for the one before. Of many blocks that are hashed at once none waits
//! for another: with AVX-512 sixteen of them go through the same instructions, which takes a fraction of the time that
//! the CPU's SHA instructions need for them one after the other. On other CPUs the `sha2` crate does the work.
//!
//! ```
//! let bytes = [7; 3 * 512 + 100];
//! let mut digests = [[0; 32]; 4];
//! lucarne_sha256::Kernel::best().digest_blocks(&bytes, 512, &mut digests);
//! assert_eq!(digests[0], digests[2]);
//! assert_ne!(digests[0], digests[3], "the last block is shorter");
//! ```
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;

use std::fmt;

use sha2::{Digest, Sha256};

#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;

/// What a hash takes at a time, in bytes.
#[cfg(target_arch = "x86_64")]
const CHUNK_LEN_BYTES: usize = 64;

/// A program for the hashes that this CPU can run. All give the same.
///
/// ```
/// use lucarne_sha256::Kernel;
///
/// let names: Vec<_> = Kernel::available().iter().map(Kernel::name).collect();
/// assert_eq!(names.last(), Some(&"portable"));
/// assert_eq!(Kernel::best(), Kernel::available()[0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Sixteen blocks at a time.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// The `sha2` crate, block by block: the CPU's SHA instructions where it has them.
    Portable,
}

impl Kernel {
    /// All that this CPU can run, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        kernels.extend(Avx512::new().map(Self::Avx512));
        kernels.push(Self::Portable);
        kernels
    }

    /// The fastest.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(cpu) = Avx512::new() {
            return Self::Avx512(cpu);
        }
        Self::Portable
    }

    /// `avx512` or `portable`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            Self::Portable => "portable",
        }
    }

    /// Sets `digests` to the hashes of the blocks of `block_len` bytes that `bytes` consists of, in their order; the
    /// last block may be shorter. What is more of either than of the other is left alone, and so is everything where
    /// `block_len` is 0.
    pub fn digest_blocks(&self, bytes: &[u8], block_len: usize, digests: &mut [[u8; 32]]) {
        if block_len == 0 {
            return;
        }
        let done = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(cpu) if block_len.is_multiple_of(CHUNK_LEN_BYTES) => {
                cpu.digest_groups(bytes, block_len, digests)
            }
            _ => 0,
        };
        let rest = bytes.chunks(block_len).skip(done);
        for (block, digest) in rest.zip(digests.iter_mut().skip(done)) {
            *digest = Sha256::digest(block).into();
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let byte = |_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(byte).collect()
    }

    fn check(bytes: &[u8], block_len: usize) {
        let expected: Vec<[u8; 32]> = bytes
            .chunks(block_len)
            .map(|block| Sha256::digest(block).into())
            .collect();
        for kernel in Kernel::available() {
            let mut digests = vec![[0; 32]; expected.len()];
            kernel.digest_blocks(bytes, block_len, &mut digests);
            assert!(digests == expected, "{kernel}, blocks of {block_len}");
        }
    }

    #[test]
    fn sectors_of_every_length_are_hashed_by_every_kernel() {
        for block_len in [64, 128, 512, 1024, 2048, 4096] {
            for blocks in [0, 1, 15, 16, 17, 31, 32, 50] {
                check(&bytes_of(blocks * block_len, 7), block_len);
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_is_the_standards(
            block_len in 1_usize..700, len in 0_usize..40_000, seed: u64,
        ) {
            let bytes = bytes_of(len, seed);
            check(&bytes, block_len);
            check(&bytes, block_len.next_multiple_of(64));
        }
    }

    #[test]
    fn what_is_too_much_of_either_is_left_alone() {
        let expected: [u8; 32] = Sha256::digest([1; 64]).into();
        for kernel in Kernel::available() {
            let mut digests = [[9; 32]; 20];
            kernel.digest_blocks(&[1; 17 * 64], 64, &mut digests);
            assert_eq!(digests[..17], [expected; 17]);
            assert_eq!(digests[17..], [[9; 32]; 3]);
            let mut digests = [[9; 32]; 16];
            kernel.digest_blocks(&[1; 17 * 64], 64, &mut digests);
            assert_eq!(digests, [expected; 16]);
            kernel.digest_blocks(&[1; 64], 0, &mut digests);
            // Longer than all bytes there can be, sixteen times over.
            kernel.digest_blocks(&[1; 64], 1 << (usize::BITS - 4), &mut digests[..1]);
            assert_eq!(digests[0], expected);
        }
    }
}
