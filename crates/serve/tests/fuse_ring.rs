//! The plaintext as a file through the kernel, by io_uring: all that `fuse.rs` tests. Root turns it on for the moment of
//! mounting; where that cannot be, it is said that the tests are skipped.
#![allow(clippy::unwrap_used)]

mod common;
mod mounted_file;

const TRANSPORT: lucarne_serve::fuse::Transport = lucarne_serve::fuse::Transport::Ring;
