//! What the kernel is told by io_uring.
//!
//! A command is a submission of 128 bytes; from byte 48 on lies `struct fuse_uring_cmd_req`, 8 bytes a row:
//!
//! ```text
//! flags         none
//! commit_id     of the request that is answered
//! qid           the queue, in 2 bytes
//! ```
//!
//! An entry's first command also says, as `writev(2)` would, where its two buffers are.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use io_uring::squeue::Entry128;
use io_uring::{opcode, types};

/// An entry and its buffers; wait for a request.
const REGISTER: u32 = 1;
/// An answer; wait for the next request.
const COMMIT_AND_FETCH: u32 = 2;

/// How many buffers an entry has.
const BUFFERS: u32 = 2;

const _: () = assert!(size_of::<Entry128>() == 128 && align_of::<Entry128>() >= 4);

/// Adds an entry to a queue. `buffers` is the address of two `struct iovec`, that of the headers and that of the data.
pub(super) fn register(device: BorrowedFd<'_>, queue: u16, buffers: usize) -> Entry128 {
    /// Of `len` in `struct io_uring_sqe`.
    const LEN_OFFSET: usize = 24;
    let mut command = (opcode::UringCmd80::new(types::Fd(device.as_raw_fd()), REGISTER))
        .cmd(request(queue, 0))
        .addr(Some(buffers as u64))
        .build();
    let start = ptr::from_mut(&mut command).cast::<u8>();
    // SAFETY: the type is `repr(C)` around the kernel's `struct io_uring_sqe` and 64 bytes more: 128, as is asserted
    // above. The four bytes of `len` lie at 24 there, aligned, and any value may stand in them. The crate has no
    // other way to set them for this operation.
    unsafe { start.add(LEN_OFFSET).cast::<u32>().write(BUFFERS) };
    command
}

/// Hands over the answer to the request that came with `commit_id`.
pub(super) fn commit_and_fetch(device: BorrowedFd<'_>, queue: u16, commit_id: u64) -> Entry128 {
    opcode::UringCmd80::new(types::Fd(device.as_raw_fd()), COMMIT_AND_FETCH)
        .cmd(request(queue, commit_id))
        .build()
}

/// `struct fuse_uring_cmd_req`, and zeros.
fn request(queue: u16, commit_id: u64) -> [u8; 80] {
    let mut bytes = [0; 80];
    bytes[8..16].copy_from_slice(&commit_id.to_ne_bytes());
    bytes[16..18].copy_from_slice(&queue.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn bytes(command: &Entry128) -> [u8; 128] {
        // SAFETY: 128 bytes without padding, as is asserted above.
        unsafe { ptr::from_ref(command).cast::<[u8; 128]>().read() }
    }

    #[test]
    fn commands_are_laid_out_as_the_kernel_reads_them() {
        let input = std::io::stdin();
        let number = input.as_fd().as_raw_fd();
        let register = bytes(&register(input.as_fd(), 0x0102, 0x1122_3344_5566));
        assert_eq!(register[0], 46, "IORING_OP_URING_CMD");
        assert_eq!(register[4..8], number.to_ne_bytes());
        assert_eq!(register[8..12], REGISTER.to_ne_bytes());
        assert_eq!(register[16..24], 0x1122_3344_5566_u64.to_ne_bytes());
        assert_eq!(register[24..28], 2_u32.to_ne_bytes());
        assert_eq!(register[48..64], [0; 16]);
        assert_eq!(register[64..66], 0x0102_u16.to_ne_bytes());
        let commit = bytes(&commit_and_fetch(input.as_fd(), 3, 9));
        assert_eq!(commit[8..12], COMMIT_AND_FETCH.to_ne_bytes());
        assert_eq!(commit[16..28], [0; 12]);
        assert_eq!(commit[56..64], 9_u64.to_ne_bytes());
        assert_eq!(commit[64..66], 3_u16.to_ne_bytes());
    }
}
