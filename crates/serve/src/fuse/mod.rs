//! A directory with one file in it, the plaintext, through the kernel's FUSE.
//!
//! | file | what |
//! |---|---|
//! | `plain_file` | what each request does to an [`crate::Export`]: no kernel needed, so that tests and the fuzzer get at it |
//! | `filesystem` | from the kernel's requests to that, and back |
//! | `mount` | mounting and unmounting: `mount(2)`, or `fusermount3` where that is not allowed |
//! | `mounted` | what is mounted where, from `/proc/self/mountinfo` |
//! | `server` | all together |
//!
//! The protocol itself is [`lucarne_fuse`]'s; neither libfuse nor any other C is needed. Requests are read and answered
//! by several threads, each with one buffer: memory does not grow with what clients ask for.

mod filesystem;
mod mount;
mod mounted;
mod plain_file;
mod server;

pub use filesystem::PlainFilesystem;
pub use lucarne_fuse::{Tally, Transport};
pub use mount::{MountError, Unmount, UnmountError, check_mount_point, unmount};
pub use mounted::{Mounted, mounted_at};
pub use plain_file::{PLAIN, PlainFile, ROOT, Refusal};
pub use server::{Server, ServerOptions, Stopper, TransportChoice};
