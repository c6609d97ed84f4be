//! Requests: read off the wire, and judged.

use super::negotiation::{ProtocolError, be_u16, be_u32, be_u64};
use super::protocol::{
    EXTENDED_REQUEST_MAGIC, PAYLOAD_LEN_MAX, REQUEST_MAGIC, command, command_flag, errno,
};
use super::session::{ReplyKind, Session};
use crate::ZeroHow;

/// A request's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    flags: u16,
    command: u16,
    /// The client's own; every reply carries it.
    pub cookie: u64,
    /// Where its range begins, in bytes.
    pub offset: u64,
    len: u64,
}

/// What a request asks for, once it is known to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Bytes.
    Read {
        /// From where on.
        offset: u64,
        /// How many: at most 32 MiB.
        len: u32,
        /// In one chunk.
        is_whole: bool,
    },
    /// The payload is written.
    Write {
        /// From where on.
        offset: u64,
        /// The payload's length: at most 32 MiB.
        len: u32,
        /// Durable before it is answered.
        is_durable: bool,
    },
    /// All that was answered becomes durable.
    Flush,
    /// Bytes that nobody needs.
    Trim {
        /// From where on.
        offset: u64,
        /// How many.
        len: u64,
        /// Durable before it is answered.
        is_durable: bool,
    },
    /// Bytes that will be read soon.
    Cache,
    /// Zeros.
    Zero {
        /// From where on.
        offset: u64,
        /// How many.
        len: u64,
        /// In which way.
        how: ZeroHow,
        /// Durable before it is answered.
        is_durable: bool,
    },
    /// What lies where.
    Status {
        /// From where on.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Only the first extent.
        is_one: bool,
    },
    /// The client leaves.
    Disconnect,
    /// It is refused, with one of the protocol's error numbers and a reason.
    Refuse(u32, &'static str),
}

impl Request {
    /// Length of a request's header, in bytes.
    pub fn header_len(kind: ReplyKind) -> usize {
        match kind {
            ReplyKind::Extended => 32,
            ReplyKind::Simple | ReplyKind::Structured => 28,
        }
    }

    /// Reads a header of [`Self::header_len`] bytes.
    ///
    /// # Errors
    /// When it does not begin with the magic number: the stream cannot be understood any more.
    pub fn parse(bytes: &[u8], kind: ReplyKind) -> Result<Self, ProtocolError> {
        let is_extended = kind == ReplyKind::Extended;
        let expected = match is_extended {
            true => EXTENDED_REQUEST_MAGIC,
            false => REQUEST_MAGIC,
        };
        let magic = be_u32(bytes, 0);
        if magic != expected {
            return Err(ProtocolError::Magic {
                what: "a request's magic number",
                value: u64::from(magic),
                expected: u64::from(expected),
            });
        }
        Ok(Self {
            flags: be_u16(bytes, 4),
            command: be_u16(bytes, 6),
            cookie: be_u64(bytes, 8),
            offset: be_u64(bytes, 16),
            len: match is_extended {
                true => be_u64(bytes, 24),
                false => u64::from(be_u32(bytes, 24)),
            },
        })
    }

    /// How many bytes of payload follow the header.
    ///
    /// # Errors
    /// When they are more than 32 MiB: nobody reads that only to refuse it.
    pub fn payload_len(&self, kind: ReplyKind) -> Result<u32, ProtocolError> {
        // A write must have the flag where headers are extended. QEMU 10.0 forgets it, and sends the payload all the same.
        let is_flagged = kind == ReplyKind::Extended && self.flags & command_flag::PAYLOAD_LEN != 0;
        let has_payload = is_flagged || self.command == command::WRITE;
        if !has_payload {
            return Ok(0);
        }
        match u32::try_from(self.len) {
            Ok(len) if len <= PAYLOAD_LEN_MAX => Ok(len),
            _ => Err(ProtocolError::TooLong {
                what: "a request's payload",
                value: self.len,
                limit: u64::from(PAYLOAD_LEN_MAX),
            }),
        }
    }

    /// What the client of this session asks for, if it may.
    pub fn action(&self, session: &Session) -> Action {
        use command_flag as flag;
        let (offset, len) = (self.offset, self.len);
        let is_extended = session.kind == ReplyKind::Extended;
        let mut known = match self.command {
            command::READ if session.kind != ReplyKind::Simple => flag::DF,
            command::WRITE if is_extended => flag::PAYLOAD_LEN,
            command::WRITE_ZEROES => flag::NO_HOLE | flag::FAST_ZERO,
            command::BLOCK_STATUS => flag::REQ_ONE,
            _ => 0,
        };
        // Allowed everywhere: it means something where something is written.
        known |= flag::FUA;
        if self.flags & !known != 0 {
            return Action::Refuse(errno::EINVAL, "flags that this command does not have");
        }
        let has = |flag: u16| self.flags & flag != 0;
        let is_durable = has(flag::FUA);
        let writes = matches!(
            self.command,
            command::WRITE | command::TRIM | command::WRITE_ZEROES
        );
        if writes && session.is_read_only {
            return Action::Refuse(errno::EPERM, "the export is read-only");
        }
        let has_range = writes
            || matches!(
                self.command,
                command::READ | command::CACHE | command::BLOCK_STATUS
            );
        let is_inside = offset
            .checked_add(len)
            .is_some_and(|end| end <= session.len);
        if has_range && !is_inside {
            let error = match self.command {
                command::WRITE | command::WRITE_ZEROES => errno::ENOSPC,
                _ => errno::EINVAL,
            };
            return Action::Refuse(error, "the range reaches past the end of the export");
        }
        let short = u32::try_from(len)
            .ok()
            .filter(|&len| len <= PAYLOAD_LEN_MAX);
        match (self.command, short) {
            (command::READ, Some(len)) => Action::Read {
                offset,
                len,
                is_whole: has(flag::DF),
            },
            (command::READ, None) => {
                Action::Refuse(errno::EINVAL, "at most 32 MiB are read at once")
            }
            (command::WRITE, Some(len)) => Action::Write {
                offset,
                len,
                is_durable,
            },
            (command::FLUSH, _) if len != 0 || offset != 0 => {
                Action::Refuse(errno::EINVAL, "a flush has neither offset nor length")
            }
            (command::FLUSH, _) => Action::Flush,
            (command::TRIM, _) if !session.can_trim => {
                Action::Refuse(errno::EINVAL, "TRIM is not offered")
            }
            (command::TRIM, _) => Action::Trim {
                offset,
                len,
                is_durable,
            },
            (command::CACHE, _) => Action::Cache,
            (command::WRITE_ZEROES, _) => Action::Zero {
                offset,
                len,
                how: ZeroHow {
                    may_punch: !has(flag::NO_HOLE),
                    is_fast: has(flag::FAST_ZERO),
                },
                is_durable,
            },
            (command::BLOCK_STATUS, _) if !session.has_allocation => {
                Action::Refuse(errno::EINVAL, "no metadata context was chosen")
            }
            (command::BLOCK_STATUS, _) if len == 0 => {
                Action::Refuse(errno::EINVAL, "the status of no bytes")
            }
            (command::BLOCK_STATUS, _) => Action::Status {
                offset,
                len,
                is_one: has(flag::REQ_ONE),
            },
            (command::DISC, _) => Action::Disconnect,
            _ => Action::Refuse(errno::EINVAL, "the command is not known here"),
        }
    }
}
