//! Errors by who is at fault.

use std::io;

use lucarne_keyslot::Cost;

/// Why an operation did not happen.
///
/// Every message is one line without a full stop: what is wrong, the value and the limit. Secrets never
/// appear.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no LUKS magic where a header must start.
    #[error("not a LUKS volume")]
    NotLuks,
    /// There is a LUKS1 header.
    #[error("not supported: a LUKS1 header (this is done with LUKS2 only)")]
    Luks1,
    /// The header's bytes contradict themselves or the format.
    #[error("corrupt header: {0}")]
    Corrupt(Corrupt),
    /// Valid, but not done here.
    #[error("not supported: {0}")]
    Unsupported(Unsupported),
    /// No keyslot that was tried opens with this passphrase, or the volume key is not this volume's.
    #[error("no keyslot accepts this key")]
    WrongKey,
    /// There is no keyslot to try: none is in use, all are ignored unless asked for by number, or none
    /// holds the key of the data.
    #[error("no usable keyslot")]
    NoUsableKeyslot,
    /// There is no token to try: none serves a keyslot that can be tried, or nobody knows those that do.
    #[error("no usable token")]
    NoUsableToken,
    /// A token gave no passphrase, and no other did.
    #[error("token {id}: {fault}")]
    Token {
        /// Its number.
        id: u32,
        /// Why.
        fault: crate::TokenFault,
    },
    /// Against a limit, or something that the caller could have known.
    #[error("refused: {0}")]
    Refused(Refused),
    /// More than the caller's [`CostLimits`](crate::CostLimits) allow. Nothing was computed for it; with
    /// a higher limit the secret may open the volume.
    #[error("refused: {}{cost} of {value} exceeds the limit of {limit}", .keyslot.map_or(String::new(), |id| format!("keyslot {id}: ")))]
    TooCostly {
        /// The keyslot that would have been tried; `None` for the digest of a volume key.
        keyslot: Option<u32>,
        /// What would cost too much.
        cost: Cost,
        /// What the header asks for, or what it would have come to.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// The header breaks the policy or the pins that it was judged by.
    #[error("refused: {0}")]
    Policy(crate::policy::Judgement),
    /// The keys of an unfinished re-encryption do not vouch for what the header says of it: somebody changed it,
    /// or never had the keys (CVE-2021-4122). Nothing was done by it.
    #[error(
        "refused: keyslot {keyslot}: the keys do not vouch for the re-encryption's metadata: they have been changed"
    )]
    Unvouched {
        /// The keyslot of the re-encryption.
        keyslot: u32,
    },
    /// The device or file cannot hold or give what is asked.
    #[error("{0}")]
    Device(DeviceFault),
    /// The key derivation's memory is not to be had.
    #[error("out of memory: {kib} KiB for the key derivation cannot be had")]
    OutOfMemory {
        /// What was asked for.
        kib: u32,
    },
    /// Somebody else holds the header or the device.
    #[error("busy: {0}")]
    Busy(Busy),
    /// Stopped by [`crate::Control::interrupt`].
    #[error("interrupted")]
    Interrupted,
    /// The storage below failed.
    #[error("cannot {op}{}: {source}", .op.place(*.offset))]
    Io {
        /// What was tried.
        op: IoOp,
        /// Where, in bytes from the start of the storage; 0 where that means nothing.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// What was tried on the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoOp {
    /// Open it.
    Open,
    /// Read.
    Read,
    /// Write.
    Write,
    /// Make durable.
    Flush,
    /// Ask for the length.
    Length,
    /// Set space aside; the offset is how much.
    Reserve,
    /// Give a finished file its name.
    Rename,
    /// Take random bytes from the system.
    Random,
    /// Start threads.
    StartThreads,
    /// Keep other processes out.
    Lock,
}

impl IoOp {
    /// What the offset means, for the operations where it means something.
    fn place(self, offset: u64) -> String {
        match self {
            Self::Read | Self::Write => format!(" at byte {offset}"),
            Self::Reserve => format!(" {offset} bytes"),
            _ => String::new(),
        }
    }
}

impl std::fmt::Display for IoOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Length => "find the length",
            Self::Reserve => "reserve",
            Self::Rename => "name the finished file",
            Self::Random => "take random bytes",
            Self::StartThreads => "start threads",
            Self::Lock => "lock the header",
        })
    }
}

macro_rules! opaque_messages {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Box<str>);

        impl $name {
            pub(crate) fn new(message: impl Into<String>) -> Self {
                Self(message.into().into_boxed_str())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

opaque_messages! {
    /// What is wrong with the header: field, value, limit.
    Corrupt,
    /// What a valid header or a request asks for that is not done here.
    Unsupported,
    /// Which limit or rule forbids it.
    Refused,
    /// What the device lacks.
    DeviceFault,
    /// Who is in the way.
    Busy,
}

impl Error {
    pub(crate) fn io(op: IoOp, offset: u64, source: io::Error) -> Self {
        Self::Io { op, offset, source }
    }

    /// Names the keyslot that would have cost too much.
    pub(crate) fn of_keyslot(mut self, id: u32) -> Self {
        if let Self::TooCostly { keyslot, .. } = &mut self {
            *keyslot = Some(id);
        }
        self
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(Unsupported::new(message))
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(Refused::new(message))
    }

    pub(crate) fn device(message: impl Into<String>) -> Self {
        Self::Device(DeviceFault::new(message))
    }
}

/// Ready-made `map_err` arguments for the storage's errors.
pub(crate) fn reading(offset: u64) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::io(IoOp::Read, offset, source)
}

pub(crate) fn writing(offset: u64) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::io(IoOp::Write, offset, source)
}

pub(crate) fn flushing(source: io::Error) -> Error {
    Error::io(IoOp::Flush, 0, source)
}

pub(crate) fn measuring(source: io::Error) -> Error {
    Error::io(IoOp::Length, 0, source)
}

impl From<lucarne_format::Error> for Error {
    fn from(error: lucarne_format::Error) -> Self {
        use lucarne_format::Error as Format;
        match error {
            Format::NotLuks => Self::NotLuks,
            Format::Luks1 => Self::Luks1,
            Format::Corrupt(what) => Self::Corrupt(Corrupt::new(what.to_string())),
            Format::Unsupported(what) => Self::unsupported(what.to_string()),
            Format::Refused(what) => Self::refused(what.to_string()),
            other => Self::Corrupt(Corrupt::new(other.to_string())),
        }
    }
}

impl From<lucarne_cipher::CipherError> for Error {
    fn from(error: lucarne_cipher::CipherError) -> Self {
        use lucarne_cipher::CipherError as Cipher;
        match error {
            Cipher::Unsupported { spec } => Self::unsupported(format!(
                "cipher {spec} ({} are)",
                lucarne_cipher::CipherSpec::SUPPORTED.join(", ")
            )),
            Cipher::DataUnitSize { bytes } => Self::unsupported(format!(
                "sector size {bytes} (512, 1024, 2048 and 4096 are)"
            )),
            _ => Self::refused(error.to_string()),
        }
    }
}

impl From<lucarne_keyslot::Error> for Error {
    fn from(error: lucarne_keyslot::Error) -> Self {
        use lucarne_keyslot::Error as Keyslot;
        match error {
            Keyslot::OutOfMemory { kib } => Self::OutOfMemory { kib },
            Keyslot::Refused { cost, value, limit } => Self::TooCostly {
                keyslot: None,
                cost,
                value,
                limit,
            },
            Keyslot::Random(source) => Self::io(IoOp::Random, 0, io::Error::other(source)),
            Keyslot::AreaCipher(cipher) => cipher.into(),
            Keyslot::Format(format) => format.into(),
            Keyslot::UnsupportedHash { .. } | Keyslot::UnsupportedKdf { .. } => {
                Self::unsupported(error.to_string())
            }
            _ => Self::refused(error.to_string()),
        }
    }
}
