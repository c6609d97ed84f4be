//! Byte buffers for secrets: wiped on drop, locked in memory and kept out of core dumps.
//!
//! Passphrases, key material and volume keys live in [`SecretBytes`] from the moment they are read
//! or derived. On Unix each buffer has pages of its own, so that locking one and excluding it from
//! core dumps neither covers foreign data nor ends when a neighbour is freed; elsewhere it is a
//! heap buffer that is wiped.
//!
//! Locking is best effort: the limit on locked memory (`RLIMIT_MEMLOCK`) belongs to the user, and
//! a key that may be swapped is better than a volume that does not open.
//! [`SecretBytes::is_locked`] tells whether it succeeded.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod process;
mod secret_bytes;
mod stack;

#[cfg(unix)]
#[allow(unsafe_code)]
mod pages;
#[cfg(not(unix))]
#[path = "heap.rs"]
mod pages;

pub use process::make_process_undumpable;
pub use secret_bytes::SecretBytes;
pub use stack::with_clean_stack;
