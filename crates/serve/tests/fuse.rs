//! The plaintext as a file through the kernel, by `/dev/fuse`.
#![allow(clippy::unwrap_used)]

mod common;
mod mounted_file;

const TRANSPORT: lucarne_serve::fuse::Transport = lucarne_serve::fuse::Transport::Device;
