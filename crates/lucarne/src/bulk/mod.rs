//! Whole volumes at the speed of the disk: plaintext in, volume out, and back.

pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod extents;
mod output;
pub(crate) mod pipeline;

pub use decrypt::{DecryptOptions, Decrypted, decrypt, plaintext_len};
pub use encrypt::{EncryptOptions, Encrypted, encrypt};
pub use output::{Output, Replace};
pub use pipeline::{Control, Parallelism};
pub(crate) use pipeline::{pool_of, worker_count};

use std::io::{Read, Write};

use lucarne_storage::Storage;

/// Where plaintext comes from.
pub enum Source<'a> {
    /// Storage of a known length, read in any order.
    Storage(&'a dyn Storage),
    /// A stream, read once from front to back; its length shows when it ends.
    Stream(&'a mut (dyn Read + Send)),
}

/// Where plaintext goes.
pub enum Destination<'a> {
    /// Storage, written in any order from byte 0 on.
    Storage(&'a dyn Storage),
    /// A stream, written from front to back.
    Stream(&'a mut (dyn Write + Send)),
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Storage(_) => "Source::Storage",
            Self::Stream(_) => "Source::Stream",
        })
    }
}

impl std::fmt::Debug for Destination<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Storage(_) => "Destination::Storage",
            Self::Stream(_) => "Destination::Stream",
        })
    }
}
