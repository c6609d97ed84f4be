//! What can go wrong.

use std::fmt;
use std::io;
use std::ops::Range;

/// Why no tensors are read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a safetensors file, or one that contradicts itself.
    #[error("not a valid safetensors file: {0}")]
    Malformed(Malformed),
    /// The file has no tensor of that name.
    #[error("no tensor {name:?}")]
    NoSuchTensor {
        /// The name asked for.
        name: String,
    },
    /// The caller's buffer, or the part asked for, does not fit the tensor.
    #[error("tensor {name:?} has {len} bytes, asked for are bytes {} to {}", asked.start, asked.end)]
    OutOfRange {
        /// The tensor.
        name: String,
        /// Its length in bytes.
        len: u64,
        /// What was asked for.
        asked: Range<u64>,
    },
    /// The file cannot be read there.
    #[error("cannot read {len} bytes at byte {offset}")]
    Io {
        /// Where, from the file's start.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(offset: u64, len: usize, source: io::Error) -> Self {
        let len = len as u64;
        Self::Io {
            offset,
            len,
            source,
        }
    }
}

impl From<MalformedKind> for Error {
    fn from(kind: MalformedKind) -> Self {
        Self::Malformed(Malformed(Box::new(kind)))
    }
}

/// What is wrong with the file; its text names the tensor, the field, the value and the limit.
#[derive(Debug)]
pub struct Malformed(Box<MalformedKind>);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MalformedKind {
    #[error("{len} bytes, too short for the 8 bytes of the header's length")]
    TooShort { len: u64 },
    #[error("a header of {len} bytes, the limit is {limit}")]
    HeaderTooLong { len: u64, limit: u64 },
    #[error("a header of {len} bytes in a file of {file_len}")]
    HeaderPastEnd { len: u64, file_len: u64 },
    #[error("the header does not begin with {{")]
    NoBrace,
    #[error("the header is not UTF-8 at its byte {at}")]
    NotUtf8 { at: usize },
    #[error("the header: {0}")]
    Json(serde_json::Error),
    #[error("tensor {name:?}: two of that name")]
    Duplicate { name: String },
    #[error("tensor {name:?}: data_offsets begin at {begin}, behind their end at {end}")]
    Backwards { name: String, begin: u64, end: u64 },
    #[error(
        "tensor {name:?}: data_offsets {begin} to {end} reach past the {data_len} bytes of data"
    )]
    PastEnd {
        name: String,
        begin: u64,
        end: u64,
        data_len: u64,
    },
    #[error("tensor {name:?}: data_offsets begin at {begin}, before {before:?} ends at {end}")]
    Overlap {
        name: String,
        begin: u64,
        before: String,
        end: u64,
    },
    #[error(
        "tensor {name:?}: data_offsets begin at {begin}, bytes {from} to {begin} are no tensor's"
    )]
    Hole { name: String, begin: u64, from: u64 },
    #[error("tensor {name:?}: shape {shape} of {dtype} overflows")]
    Overflow {
        name: String,
        shape: String,
        dtype: &'static str,
    },
    #[error("tensor {name:?}: shape {shape} of {dtype} is {bits} bits, no whole number of bytes")]
    PartOfByte {
        name: String,
        shape: String,
        dtype: &'static str,
        bits: u64,
    },
    #[error(
        "tensor {name:?}: shape {shape} of {dtype} is {expected} bytes, data_offsets give it {given}"
    )]
    Size {
        name: String,
        shape: String,
        dtype: &'static str,
        expected: u64,
        given: u64,
    },
    #[error("{len} bytes after the last tensor, which ends at byte {end}")]
    Trailing { end: u64, len: u64 },
}
