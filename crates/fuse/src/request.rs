//! From bytes to a [`Request`].
//!
//! The transports lay a request out differently, and both feed this decoder with its three parts:
//!
//! | | header | argument | payload |
//! |---|---|---|---|
//! | `/dev/fuse` | the first 40 bytes of the buffer | what follows, as long as the operation's struct | the rest |
//! | io_uring | `in_out` of the entry's headers | `op_in` of the entry's headers | the entry's payload |
//!
//! On the ring an operation without a struct (`LOOKUP`) has its name in the payload too, and the header's length is
//! what it would be on the device: it is not used.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use zerocopy::FromBytes;

use crate::abi::{self, InHeader, InitIn, opcode, setattr_flag};

/// How long the header is, in bytes.
pub const HEADER_LEN: usize = size_of::<InHeader>();

/// A request's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Who asks for what, of which file: [`HEADER_LEN`] bytes, or more.
    pub header: &'a [u8],
    /// The operation's own struct, or more.
    pub argument: &'a [u8],
    /// Names and data.
    pub payload: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Of a request that lies in one piece, as `/dev/fuse` gives them.
    pub fn of_contiguous(bytes: &'a [u8]) -> Self {
        let (header, rest) = bytes.split_at(bytes.len().min(HEADER_LEN));
        let code = InHeader::read_from_bytes(header).map_or(0, |header| header.opcode);
        let (argument, payload) = rest.split_at(rest.len().min(argument_len(code)));
        Self {
            header,
            argument,
            payload,
        }
    }
}

/// How long an operation's struct is, in bytes; 0 if it has none, or is not known.
fn argument_len(code: u32) -> usize {
    match code {
        opcode::GETATTR => size_of::<abi::GetattrIn>(),
        opcode::SETATTR => size_of::<abi::SetattrIn>(),
        opcode::OPEN | opcode::OPENDIR => size_of::<abi::OpenIn>(),
        opcode::READ | opcode::READDIR => size_of::<abi::ReadIn>(),
        opcode::WRITE => size_of::<abi::WriteIn>(),
        opcode::RELEASE | opcode::RELEASEDIR => size_of::<abi::ReleaseIn>(),
        opcode::FSYNC | opcode::FSYNCDIR => size_of::<abi::FsyncIn>(),
        opcode::FLUSH => size_of::<abi::FlushIn>(),
        opcode::INIT => size_of::<InitIn>(),
        opcode::FALLOCATE => size_of::<abi::FallocateIn>(),
        opcode::LSEEK => size_of::<abi::LseekIn>(),
        opcode::FORGET => size_of::<abi::ForgetIn>(),
        opcode::BATCH_FORGET => size_of::<abi::BatchForgetIn>(),
        opcode::INTERRUPT => size_of::<abi::InterruptIn>(),
        _ => 0,
    }
}

/// What the kernel asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Under which it is answered.
    pub unique: u64,
    /// The directory or file that it is about.
    pub node: u64,
    /// What to do.
    pub operation: Operation<'a>,
}

/// What to do with a directory or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// The first request of all.
    Init(Offer),
    /// Finds a name in the directory.
    Lookup {
        /// Not empty, without a NUL.
        name: &'a OsStr,
    },
    /// The kernel does not know the file any more, or several; not answered.
    Forget,
    /// What there is to know about it.
    Attributes,
    /// Changes that.
    SetAttributes {
        /// The length.
        len: Option<u64>,
        /// Permissions or an owner.
        changes_owner_or_mode: bool,
    },
    /// As by `open(2)`.
    Open {
        /// Of `open(2)`.
        flags: u32,
    },
    /// Bytes from an offset on.
    Read(Span),
    /// Writes bytes from an offset on.
    Write {
        /// In bytes.
        offset: u64,
        /// To be written.
        data: &'a [u8],
    },
    /// The file system's size.
    Statfs,
    /// The file is closed for good.
    Release,
    /// What was written must last.
    Fsync,
    /// Somebody closed the file.
    Flush,
    /// As by `opendir(3)`.
    OpenDirectory,
    /// Names in the directory.
    ReadDirectory(Span),
    /// The directory is closed for good.
    ReleaseDirectory,
    /// As [`Operation::Fsync`].
    FsyncDirectory,
    /// As by `fallocate(2)`.
    Allocate {
        /// In bytes.
        offset: u64,
        /// In bytes.
        len: u64,
        /// Of `fallocate(2)`.
        mode: i32,
    },
    /// As by `lseek(2)` to data or holes.
    Seek {
        /// In bytes.
        offset: i64,
        /// Of `lseek(2)`.
        whence: i32,
    },
    /// Who waits for another request does not want to any more.
    Interrupt,
    /// The last request, if there is one.
    Destroy,
    /// A link, which file systems without links refuse in their own way.
    Link,
    /// Anything else: its number.
    Unknown(u32),
}

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// In bytes; in a directory, what the last entry said.
    pub offset: u64,
    /// At most, in bytes.
    pub len: u32,
}

/// What the kernel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) max_readahead: u32,
    pub(crate) flags: u64,
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The header is cut: nobody can be answered.
    Header,
    /// The rest is cut, or does not fit together.
    Body {
        /// Under which it is refused.
        unique: u64,
    },
}

impl<'a> Request<'a> {
    /// Takes a request apart. Nothing is believed to be there that is not.
    ///
    /// # Errors
    /// As [`DecodeError`] says.
    pub fn decode(parts: Parts<'a>) -> Result<Self, DecodeError> {
        let (header, _) =
            InHeader::read_from_prefix(parts.header).map_err(|_| DecodeError::Header)?;
        let cut = DecodeError::Body {
            unique: header.unique,
        };
        let operation = operation(header.opcode, parts).ok_or(cut)?;
        Ok(Self {
            unique: header.unique,
            node: header.nodeid,
            operation,
        })
    }
}

fn operation(code: u32, parts: Parts<'_>) -> Option<Operation<'_>> {
    let span = |argument| {
        struct_at::<abi::ReadIn>(argument).map(|read| Span {
            offset: read.offset,
            len: read.size,
        })
    };
    let argument = parts.argument;
    Some(match code {
        opcode::INIT => Operation::Init(offer(argument)?),
        opcode::LOOKUP => Operation::Lookup {
            name: name(parts.payload)?,
        },
        opcode::FORGET | opcode::BATCH_FORGET => Operation::Forget,
        opcode::GETATTR => Operation::Attributes,
        opcode::SETATTR => set_attributes(&struct_at(argument)?),
        opcode::OPEN => Operation::Open {
            flags: struct_at::<abi::OpenIn>(argument)?.flags,
        },
        opcode::READ => Operation::Read(span(argument)?),
        opcode::WRITE => {
            let write: abi::WriteIn = struct_at(argument)?;
            let len = usize::try_from(write.size).ok()?;
            Operation::Write {
                offset: write.offset,
                data: parts.payload.get(..len)?,
            }
        }
        opcode::STATFS => Operation::Statfs,
        opcode::RELEASE => Operation::Release,
        opcode::FSYNC => Operation::Fsync,
        opcode::FLUSH => Operation::Flush,
        opcode::OPENDIR => Operation::OpenDirectory,
        opcode::READDIR => Operation::ReadDirectory(span(argument)?),
        opcode::RELEASEDIR => Operation::ReleaseDirectory,
        opcode::FSYNCDIR => Operation::FsyncDirectory,
        opcode::FALLOCATE => {
            let allocate: abi::FallocateIn = struct_at(argument)?;
            Operation::Allocate {
                offset: allocate.offset,
                len: allocate.length,
                mode: allocate.mode.cast_signed(),
            }
        }
        opcode::LSEEK => {
            let seek: abi::LseekIn = struct_at(argument)?;
            Operation::Seek {
                offset: seek.offset.cast_signed(),
                whence: seek.whence.cast_signed(),
            }
        }
        opcode::INTERRUPT => Operation::Interrupt,
        opcode::DESTROY => Operation::Destroy,
        opcode::LINK | opcode::SYMLINK => Operation::Link,
        other => Operation::Unknown(other),
    })
}

fn struct_at<T: FromBytes>(bytes: &[u8]) -> Option<T> {
    T::read_from_prefix(bytes).ok().map(|(value, _)| value)
}

/// Before its flags were more than 32, the kernel's struct was shorter.
fn offer(argument: &[u8]) -> Option<Offer> {
    const SHORT_LEN: usize = 16;
    let mut whole = [0; size_of::<InitIn>()];
    let given = argument.get(..argument.len().min(whole.len()))?;
    if given.len() < SHORT_LEN {
        return None;
    }
    whole[..given.len()].copy_from_slice(given);
    let init = struct_at::<InitIn>(&whole)?;
    let mut flags = u64::from(init.flags);
    if flags & abi::init_flag::INIT_EXT != 0 {
        flags |= u64::from(init.flags2) << 32;
    }
    Some(Offer {
        major: init.major,
        minor: init.minor,
        max_readahead: init.max_readahead,
        flags,
    })
}

/// Up to its NUL.
fn name(payload: &[u8]) -> Option<&OsStr> {
    let end = payload.iter().position(|&byte| byte == 0)?;
    (end > 0).then(|| OsStr::from_bytes(&payload[..end]))
}

fn set_attributes(set: &abi::SetattrIn) -> Operation<'static> {
    let has = |flag| set.valid & flag != 0;
    Operation::SetAttributes {
        len: has(setattr_flag::SIZE).then_some(set.size),
        changes_owner_or_mode: has(setattr_flag::MODE | setattr_flag::UID | setattr_flag::GID),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    /// What every request begins with.
    pub(crate) fn header(code: u32, unique: u64, node: u64) -> Vec<u8> {
        let header = InHeader {
            opcode: code,
            unique,
            nodeid: node,
            ..Default::default()
        };
        header.as_bytes().to_vec()
    }

    pub(crate) fn write_in(offset: u64, size: u32) -> Vec<u8> {
        let write = abi::WriteIn {
            offset,
            size,
            ..Default::default()
        };
        write.as_bytes().to_vec()
    }

    /// Each operation's number, struct and payload as the kernel makes them, and what they say.
    fn examples() -> Vec<(u32, Vec<u8>, Vec<u8>, Operation<'static>)> {
        let set = |valid| abi::SetattrIn {
            valid,
            size: 99,
            ..Default::default()
        };
        let read = abi::ReadIn {
            fh: 3,
            offset: 1 << 40,
            size: 0x1_0000,
            ..Default::default()
        };
        let span = Span {
            offset: 1 << 40,
            len: 0x1_0000,
        };
        let allocate = abi::FallocateIn {
            fh: 3,
            offset: 5,
            length: 6,
            mode: 0x10,
            padding: 0,
        };
        let seek = abi::LseekIn {
            offset: u64::MAX,
            whence: 3,
            ..Default::default()
        };
        let init = abi::InitIn {
            major: 7,
            minor: 45,
            max_readahead: 0x2_0000,
            flags: 0x4000_0001,
            flags2: 2,
            ..Default::default()
        };
        let offer = Offer {
            major: 7,
            minor: 45,
            max_readahead: 0x2_0000,
            flags: 0x2_4000_0001,
        };
        let attributes = |len, changes_owner_or_mode| Operation::SetAttributes {
            len,
            changes_owner_or_mode,
        };
        let plain = |code, len, operation| (code, vec![0; len], vec![], operation);
        vec![
            (26, init.as_bytes().to_vec(), vec![], Operation::Init(offer)),
            (
                1,
                vec![],
                b"disk\0".to_vec(),
                Operation::Lookup {
                    name: OsStr::new("disk"),
                },
            ),
            plain(2, 8, Operation::Forget),
            plain(42, 8, Operation::Forget),
            plain(3, 16, Operation::Attributes),
            (
                4,
                set(8).as_bytes().to_vec(),
                vec![],
                attributes(Some(99), false),
            ),
            (
                4,
                set(1).as_bytes().to_vec(),
                vec![],
                attributes(None, true),
            ),
            (
                4,
                set(2 | 4).as_bytes().to_vec(),
                vec![],
                attributes(None, true),
            ),
            (
                4,
                set(0x30).as_bytes().to_vec(),
                vec![],
                attributes(None, false),
            ),
            (
                14,
                [2_u32, 0].as_bytes().to_vec(),
                vec![],
                Operation::Open { flags: 2 },
            ),
            (15, read.as_bytes().to_vec(), vec![], Operation::Read(span)),
            (
                16,
                write_in(7, 3),
                b"abc".to_vec(),
                Operation::Write {
                    offset: 7,
                    data: b"abc",
                },
            ),
            plain(17, 0, Operation::Statfs),
            plain(18, 24, Operation::Release),
            plain(20, 16, Operation::Fsync),
            plain(25, 24, Operation::Flush),
            plain(27, 8, Operation::OpenDirectory),
            (
                28,
                read.as_bytes().to_vec(),
                vec![],
                Operation::ReadDirectory(span),
            ),
            plain(29, 24, Operation::ReleaseDirectory),
            plain(30, 16, Operation::FsyncDirectory),
            (
                43,
                allocate.as_bytes().to_vec(),
                vec![],
                Operation::Allocate {
                    offset: 5,
                    len: 6,
                    mode: 0x10,
                },
            ),
            (
                46,
                seek.as_bytes().to_vec(),
                vec![],
                Operation::Seek {
                    offset: -1,
                    whence: 3,
                },
            ),
            plain(36, 8, Operation::Interrupt),
            plain(38, 0, Operation::Destroy),
            plain(6, 0, Operation::Link),
            plain(13, 0, Operation::Link),
            plain(22, 0, Operation::Unknown(22)),
            plain(4096, 0, Operation::Unknown(4096)),
        ]
    }

    #[test]
    fn every_operation_is_read_from_either_layout() {
        for (code, argument, payload, operation) in examples() {
            let expected = Ok(Request {
                unique: 5,
                node: 2,
                operation,
            });
            let header = header(code, 5, 2);
            let contiguous = [&header[..], &argument, &payload].concat();
            assert_eq!(Request::decode(Parts::of_contiguous(&contiguous)), expected);
            // The ring's place for an operation's struct is longer, and holds what was there before.
            let mut place = [0xa5; 128];
            place[..argument.len()].copy_from_slice(&argument);
            let parts = Parts {
                header: &header,
                argument: &place,
                payload: &payload,
            };
            assert_eq!(Request::decode(parts), expected);
        }
    }

    #[test]
    fn a_request_cut_anywhere_is_refused_or_needs_no_more() {
        for (code, argument, payload, operation) in examples() {
            let whole = [&header(code, 5, 2)[..], &argument, &payload].concat();
            for len in 0..whole.len() {
                let decoded = Request::decode(Parts::of_contiguous(&whole[..len]));
                match decoded {
                    Err(DecodeError::Header) => assert!(len < HEADER_LEN),
                    Err(DecodeError::Body { unique }) => assert!(unique == 5 && len >= HEADER_LEN),
                    // Nothing of its struct is used, or, of the first request, only what there always was.
                    Ok(request) => match (request.operation, operation) {
                        (Operation::Init(_), _) => assert!(len >= HEADER_LEN + 16),
                        (got, whole) => {
                            assert_eq!(got, whole);
                            assert!(!matches!(got, Operation::Read(_) | Operation::Write { .. }));
                        }
                    },
                }
            }
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let decode = |argument: &[u8], payload: &[u8]| {
            let bytes = [&header(16, 5, 2)[..], argument, payload].concat();
            Request::decode(Parts::of_contiguous(&bytes)).is_ok()
        };
        for len in [4, 5, 0x8000_0000, u32::MAX] {
            assert!(!decode(&write_in(0, len), b"abc"), "{len}");
        }
        assert!(decode(&write_in(u64::MAX, 2), b"abc"));
        // A name without an end, or none.
        for name in [&b""[..], b"\0", b"disk"] {
            let bytes = [&header(1, 5, 1)[..], name].concat();
            let cut = Err(DecodeError::Body { unique: 5 });
            assert_eq!(Request::decode(Parts::of_contiguous(&bytes)), cut);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(
            code in 0_u32..64,
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in (0_usize..300, 0_usize..300),
        ) {
            let mut contiguous = header(code, 1, 2);
            contiguous.extend(&bytes);
            let _ = Request::decode(Parts::of_contiguous(&contiguous));
            let _ = Request::decode(Parts::of_contiguous(&bytes));
            let (first, second) = (at.0.min(bytes.len()), at.1.min(bytes.len()));
            let (argument, payload) = (&bytes[..first], &bytes[second..]);
            let _ = Request::decode(Parts { header: &contiguous, argument, payload });
        }
    }
}
