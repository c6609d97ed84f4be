//! An entry's bytes: ours, or lent to the kernel.
//!
//! ```text
//! 0      in_out     128 bytes: the request's header, then the answer's
//! 128    op_in      128 bytes: the operation's struct
//! 256    how long the data are, and the number under which the answer is handed over
//! 1024   where all this is, for the kernel: two `struct iovec`
//! 4096   data: names and what is to be written, then the answer's body
//! ```
//!
//! Who has a [`Bytes`] may touch them; of a [`Lent`] nothing can be touched, and its memory is never given back to the
//! system. From the one to the other it goes by [`Bytes::lend`], back by [`Lent::reclaim`].
#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::abi::{InHeader, OutHeader};
use crate::answer::Exchange;
use crate::memory::{Memory, PAGE_LEN};
use crate::reply;
use crate::request::Parts;

const ARGUMENT_START: usize = 128;
const STATE_START: usize = 256;
const HEADERS_LEN: usize = STATE_START + size_of::<EntryState>();
const ADDRESSES_START: usize = 1024;

/// `struct fuse_uring_ent_in_out`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct EntryState {
    flags: u64,
    commit_id: u64,
    payload_len: u32,
    padding: u32,
    reserved: u64,
}

const _: () = assert!(HEADERS_LEN == 288);

/// An entry's bytes, which are ours.
#[derive(Debug)]
pub(super) struct Bytes(Memory);

impl Bytes {
    /// With room for so many bytes of data.
    pub(super) fn new(data_len: usize) -> io::Result<Self> {
        let mut memory = Memory::zeroed(PAGE_LEN + data_len)?;
        let start = memory.address();
        let addresses = [start, HEADERS_LEN, start + PAGE_LEN, data_len];
        let addresses = addresses.as_bytes();
        memory.bytes_mut()[ADDRESSES_START..][..addresses.len()].copy_from_slice(addresses);
        Ok(Self(memory))
    }

    /// Where the kernel finds where the buffers are.
    pub(super) fn addresses(&self) -> usize {
        self.0.address() + ADDRESSES_START
    }

    /// The number under which the answer is handed over.
    pub(super) fn commit_id(&self) -> u64 {
        self.state().commit_id
    }

    /// Writes the answer's header, the body being there already; nothing but that it is done if there is none.
    pub(super) fn finish(&mut self, header: Option<OutHeader>) {
        let header = header.unwrap_or_else(|| {
            let request = InHeader::read_from_prefix(self.0.bytes());
            reply::done(request.map_or(0, |(request, _)| request.unique), 0)
        });
        let body_len = header.len - reply::HEADER_LEN as u32;
        let state = EntryState {
            payload_len: body_len,
            ..self.state()
        };
        let bytes = self.0.bytes_mut();
        bytes[..size_of::<OutHeader>()].copy_from_slice(header.as_bytes());
        bytes[STATE_START..HEADERS_LEN].copy_from_slice(state.as_bytes());
    }

    /// Nobody touches them until they are back.
    pub(super) fn lend(self) -> Lent {
        Lent(ManuallyDrop::new(self.0))
    }

    fn state(&self) -> EntryState {
        let bytes = &self.0.bytes()[STATE_START..HEADERS_LEN];
        // OK to unwrap: as many bytes as the struct has.
        EntryState::read_from_bytes(bytes).expect("as long as the struct")
    }
}

impl Exchange for Bytes {
    fn parts(&self) -> Parts<'_> {
        let bytes = self.0.bytes();
        let payload = &bytes[PAGE_LEN..];
        let payload_len = (self.state().payload_len as usize).min(payload.len());
        Parts {
            header: &bytes[..ARGUMENT_START],
            argument: &bytes[ARGUMENT_START..STATE_START],
            payload: &payload[..payload_len],
        }
    }

    fn body(&mut self) -> &mut [u8] {
        &mut self.0.bytes_mut()[PAGE_LEN..]
    }
}

/// An entry's bytes, which are the kernel's. Forgotten, they stay where they are for good: whoever loses sight of the
/// kernel loses memory, and not what others keep in it by then.
#[derive(Debug)]
pub(super) struct Lent(ManuallyDrop<Memory>);

impl Lent {
    /// Takes them back.
    ///
    /// # Safety
    /// No command is under way, nor will there be one, that the kernel was given for the entry before.
    pub(super) unsafe fn reclaim(self) -> Bytes {
        Bytes(ManuallyDrop::into_inner(self.0))
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::request::tests::{header, write_in};
    use crate::request::{Operation, Request};

    fn filled(header: &[u8], argument: &[u8], payload: &[u8], payload_len: u32) -> Bytes {
        let mut bytes = Bytes::new(8192).unwrap();
        let memory = bytes.0.bytes_mut();
        memory[..header.len()].copy_from_slice(header);
        memory[ARGUMENT_START..][..argument.len()].copy_from_slice(argument);
        memory[PAGE_LEN..][..payload.len()].copy_from_slice(payload);
        memory[STATE_START + 8..][..8].copy_from_slice(&77_u64.to_ne_bytes());
        memory[STATE_START + 16..][..4].copy_from_slice(&payload_len.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_request_is_read_where_the_kernel_puts_it_and_answered_there() {
        let mut bytes = filled(&header(16, 9, 2), &write_in(4096, 5), b"hello", 5);
        let request = Request::decode(bytes.parts()).unwrap();
        let write = Operation::Write {
            offset: 4096,
            data: b"hello",
        };
        assert_eq!((request.unique, request.operation), (9, write));
        assert_eq!(bytes.commit_id(), 77);
        bytes.finish(Some(reply::done(9, 8)));
        assert_eq!(bytes.commit_id(), 77);
        assert_eq!(bytes.0.bytes()[..4], 24_u32.to_ne_bytes());
        assert_eq!(bytes.0.bytes()[272..276], 8_u32.to_ne_bytes());
        bytes.finish(Some(reply::refused(9, Errno::IO)));
        assert_eq!(bytes.0.bytes()[4..8], (-5_i32).to_ne_bytes());
        assert_eq!(bytes.0.bytes()[272..276], 0_u32.to_ne_bytes());
    }

    #[test]
    fn data_are_no_longer_than_their_buffer_whatever_is_said() {
        let bytes = filled(&header(16, 9, 2), &write_in(0, u32::MAX), b"", u32::MAX);
        assert_eq!(bytes.parts().payload.len(), 8192);
        assert!(Request::decode(bytes.parts()).is_err());
    }

    #[test]
    fn what_needs_no_answer_is_handed_back_as_done() {
        let mut bytes = filled(&header(2, 11, 2), &[0; 8], b"", 0);
        bytes.finish(None);
        assert_eq!(bytes.0.bytes()[8..16], 11_u64.to_ne_bytes());
        assert_eq!(bytes.0.bytes()[4..8], [0; 4]);
    }

    #[test]
    fn buffers_are_where_the_kernel_is_told() {
        let bytes = Bytes::new(8192).unwrap();
        let at = bytes.addresses() - bytes.0.address();
        let told = &bytes.0.bytes()[at..][..4 * size_of::<usize>()];
        let start = bytes.0.address();
        let expected = [start, 288, start + 4096, 8192].map(usize::to_ne_bytes);
        assert_eq!(told, expected.concat());
        // SAFETY: no kernel knows of it.
        let back = unsafe { bytes.lend().reclaim() };
        assert_eq!(back.0.address(), start);
    }
}
