//! Argon2id and Argon2i (RFC 9106, version 1.3): a key from a password, at the speed of the memory.
//!
//! What comes out is what every other implementation derives. What differs is the time: the block
//! function runs in AVX-512 or AVX2 where the CPU has them ([`Kernel`]), lanes take turns on a thread
//! so that the one computes while the other waits for memory, and the memory is advised to be of
//! huge pages. On other CPUs the `argon2` crate does the work, in the same memory.
//!
//! The memory is refused above the caller's limit, is an error where it cannot be had, is kept out
//! of core dumps, and is wiped before it is given back. A derivation is not constant in time:
//! Argon2id's memory accesses depend on the password from the middle of the first pass on, by design.
//!
//! ```
//! use lucarne_argon2::{Argon2, Inputs, Kernel, Params, Variant};
//!
//! let argon2 = Argon2::new(Params::new(Variant::Id, 4, 1024, 4)?).with_memory_limit_kib(1 << 20);
//! let inputs = Inputs { password: b"correct horse", salt: &[7; 32], ..Inputs::default() };
//! let mut key = [0; 64];
//! argon2.derive(&inputs, &mut key)?;
//!
//! let mut same = [0; 64];
//! argon2.with_kernel(Kernel::Portable).derive(&inputs, &mut same)?;
//! assert_eq!(key, same);
//! # Ok::<(), lucarne_argon2::Error>(())
//! ```
#![deny(unsafe_code)]
// Where there is no kernel of ours, nothing calls what kernels run in but the tests.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[allow(unsafe_code)]
mod arch;
mod block;
mod derive;
mod error;
mod fill;
mod hash;
mod index;
mod kernel;
#[allow(unsafe_code)]
mod memory;
#[cfg(all(unix, not(miri)))]
#[allow(unsafe_code)]
mod pages;
#[cfg(not(all(unix, not(miri))))]
#[path = "heap.rs"]
mod pages;
mod params;

#[cfg(target_arch = "x86_64")]
pub use arch::{Avx2, Avx512};
pub use derive::Argon2;
pub use error::Error;
pub use kernel::Kernel;
pub use params::{Inputs, Params, Variant};
