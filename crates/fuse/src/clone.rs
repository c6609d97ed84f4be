//! The one call of `/dev/fuse` that is neither a read nor a write.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `FUSE_DEV_IOC_CLONE`, which the kernel numbers as if it wrote its number and not read it.
const CLONE: Opcode = opcode::read::<u32>(229, 0);

/// Makes `descriptor`, a newly opened `/dev/fuse`, another one of `original`'s file system.
///
/// # Errors
/// From the kernel, if either is not what it should be.
pub(crate) fn clone_onto(descriptor: impl AsFd, original: BorrowedFd<'_>) -> io::Result<()> {
    let number = original.as_raw_fd().cast_unsigned();
    // SAFETY: the kernel's FUSE_DEV_IOC_CLONE reads one u32, a descriptor's number, which lives until it returns.
    unsafe { ioctl(descriptor, Setter::<CLONE, u32>::new(number)) }?;
    Ok(())
}
