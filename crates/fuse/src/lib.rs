//! The kernel's FUSE protocol: what a file system is asked, and how it answers.
//!
//! | file | what |
//! |---|---|
//! | `abi` | the kernel's structs and numbers |
//! | `request` | from bytes to a [`Request`]: pure, and nothing in the bytes is believed |
//! | `reply` | from a [`Reply`] to bytes |
//! | `answer` | from a request to its answer by way of a [`FileSystem`], a panic of which fails one request |
//! | `init` | what is agreed on at the beginning |
//! | `device` | requests by reading and writing `/dev/fuse`; `clone` gives it more descriptors |
//! | `ring` | requests by io_uring: less than half of the time for small ones, where the kernel has it |
//! | `memory` | the buffers of both |
//! | `session` | from a mounted file system's descriptor to its end |
//!
//! Mounting is somebody else's affair: it begins with a descriptor of `/dev/fuse` that was mounted. Nothing that the
//! kernel is told is ever taken back: attributes and names are valid for good. That is enough for file systems that
//! never change.
#![deny(unsafe_code)]

mod abi;
mod answer;
mod clone;
mod device;
mod init;
mod memory;
mod reply;
mod request;
mod ring;
mod session;

pub use abi::ROOT_NODE;
pub use answer::{FileSystem, answer_bytes};
pub use init::Settings;
pub use reply::{Attributes, Entries, Kind, Opened, Reply, Statfs};
pub use request::{DecodeError, HEADER_LEN, Offer, Operation, Parts, Request, Span};
pub use rustix::io::Errno;
pub use session::{Session, Tally, Transport};
