//! Replies, as bytes.

use super::protocol::{
    BASE_ALLOCATION_ID, EXTENDED_REPLY_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, reply,
    state,
};
use super::session::ReplyKind;
use crate::{Extent, ExtentKind};

/// The longest header of a reply with what stands before its data: chunk header and offset.
const HEADER_LEN_MAX: usize = 40;

/// The bytes before a reply's data.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplyHeader {
    bytes: [u8; HEADER_LEN_MAX],
    len: usize,
}

impl ReplyHeader {
    fn new() -> Self {
        Self {
            bytes: [0; HEADER_LEN_MAX],
            len: 0,
        }
    }

    fn put<const N: usize>(mut self, bytes: [u8; N]) -> Self {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + N) {
            room.copy_from_slice(&bytes);
            self.len += N;
        }
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// How replies to one request are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replies {
    pub(super) kind: ReplyKind,
    pub(super) cookie: u64,
    /// The request's.
    pub(super) offset: u64,
}

impl Replies {
    /// Done, and there are no data.
    pub(super) fn done(&self) -> ReplyHeader {
        match self.kind {
            ReplyKind::Simple => self.simple(0),
            _ => self.chunk(reply::NONE, true, 0),
        }
    }

    /// Failed. What follows the header is the reason.
    pub(super) fn failed(&self, error: u32, why: &str) -> Vec<u8> {
        if self.kind == ReplyKind::Simple {
            return self.simple(error).as_bytes().to_vec();
        }
        // A reason is a short text of our own.
        let why = &why.as_bytes()[..why.len().min(1000)];
        let len = 4 + 2 + why.len() as u64;
        let mut bytes = self.chunk(reply::TYPE_ERROR, true, len).as_bytes().to_vec();
        bytes.extend(error.to_be_bytes());
        bytes.extend((why.len() as u16).to_be_bytes());
        bytes.extend(why);
        bytes
    }

    /// A read failed at `offset`, after what was sent before.
    pub(super) fn failed_at(&self, error: u32, offset: u64) -> Vec<u8> {
        let len = 4 + 2 + 8;
        let header = self.chunk(reply::TYPE_ERROR_OFFSET, true, len);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(error.to_be_bytes());
        bytes.extend(0_u16.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes
    }

    /// What stands before `len` bytes read from `offset` on. A simple reply has it once, before all of them.
    pub(super) fn data(&self, offset: u64, len: usize, is_last: bool) -> ReplyHeader {
        match self.kind {
            ReplyKind::Simple => self.simple(0),
            _ => self
                .chunk(reply::OFFSET_DATA, is_last, 8 + len as u64)
                .put(offset.to_be_bytes()),
        }
    }

    /// What lies where, extent by extent; there is at least one.
    pub(super) fn status(&self, extents: &[Extent]) -> Vec<u8> {
        let count = extents.len();
        let flags = |extent: &Extent| match extent.kind {
            ExtentKind::Data => 0,
            ExtentKind::Hole => state::HOLE | state::ZERO,
        };
        if self.kind == ReplyKind::Extended {
            let len = 8 + 16 * count as u64;
            let header = self.chunk(reply::BLOCK_STATUS_EXT, true, len);
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend(BASE_ALLOCATION_ID.to_be_bytes());
            bytes.extend((count as u32).to_be_bytes());
            for extent in extents {
                bytes.extend(extent.len.to_be_bytes());
                bytes.extend(u64::from(flags(extent)).to_be_bytes());
            }
            return bytes;
        }
        let header = self.chunk(reply::BLOCK_STATUS, true, 4 + 8 * count as u64);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(BASE_ALLOCATION_ID.to_be_bytes());
        for extent in extents {
            // A request has 32 bits for its length here, and no extent is longer.
            bytes.extend(u32::try_from(extent.len).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend(flags(extent).to_be_bytes());
        }
        bytes
    }

    fn simple(&self, error: u32) -> ReplyHeader {
        ReplyHeader::new()
            .put(SIMPLE_REPLY_MAGIC.to_be_bytes())
            .put(error.to_be_bytes())
            .put(self.cookie.to_be_bytes())
    }

    fn chunk(&self, kind: u16, is_last: bool, len: u64) -> ReplyHeader {
        let flags = if is_last { reply::FLAG_DONE } else { 0 };
        let magic = match self.kind {
            ReplyKind::Extended => EXTENDED_REPLY_MAGIC,
            _ => STRUCTURED_REPLY_MAGIC,
        };
        let header = ReplyHeader::new()
            .put(magic.to_be_bytes())
            .put(flags.to_be_bytes())
            .put(kind.to_be_bytes())
            .put(self.cookie.to_be_bytes());
        match self.kind {
            ReplyKind::Extended => header.put(self.offset.to_be_bytes()).put(len.to_be_bytes()),
            // No chunk is longer than a payload and its offset.
            _ => header.put(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()),
        }
    }
}
