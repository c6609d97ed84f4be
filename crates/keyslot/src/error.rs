//! Why a keyslot cannot be opened or made.

use lucarne_cipher::CipherError;

use crate::cost::Cost;

/// Why a keyslot cannot be opened or made; a wrong passphrase is none of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cost that exceeds the caller's limit.
    #[error("{cost} of {value} exceeds the limit of {limit}")]
    Refused {
        /// What would cost too much.
        cost: Cost,
        /// What was asked for.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A hash that is not known, or that this build does not include.
    #[error(
        "hash {name:?} is not supported (supported: {})",
        crate::hash::supported()
    )]
    UnsupportedHash {
        /// Its name.
        name: String,
    },
    /// A key derivation that is not known.
    #[error("key derivation {name:?} is not supported (supported: argon2id, argon2i, pbkdf2)")]
    UnsupportedKdf {
        /// Its name.
        name: String,
    },
    /// The area's cipher or its key's length.
    #[error("keyslot area: {0}")]
    AreaCipher(#[from] CipherError),
    /// A parameter outside of what the algorithm allows.
    #[error("{parameter} of {value} is outside of {min} to {max}")]
    Parameter {
        /// Which.
        parameter: &'static str,
        /// What was asked for.
        value: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// An area that is too short for the key it is said to hold.
    #[error(
        "keyslot area of {available_bytes} bytes is too short for a split key of {needed_bytes}"
    )]
    AreaTooShort {
        /// What the split key takes.
        needed_bytes: u64,
        /// What there is.
        available_bytes: u64,
    },
    /// A keyslot of LUKS1 that is not free, or not there.
    #[error(transparent)]
    Format(#[from] lucarne_format::Error),
    /// A key of another length than the keyslot or segment says.
    #[error("key of {actual_bytes} bytes where {expected_bytes} are expected")]
    KeyLen {
        /// The key's length.
        actual_bytes: usize,
        /// The length it must have.
        expected_bytes: usize,
    },
    /// The memory for Argon2 is not to be had.
    #[error("out of memory: {kib} KiB for argon2 cannot be had")]
    OutOfMemory {
        /// What was asked for.
        kib: u32,
    },
    /// The system's random number generator fails.
    #[error("no random bytes from the system: {0}")]
    Random(#[from] getrandom::Error),
}

impl From<lucarne_argon2::Error> for Error {
    fn from(error: lucarne_argon2::Error) -> Self {
        use lucarne_argon2::Error as Argon2;
        match error {
            Argon2::Parameter {
                parameter,
                value,
                min,
                max,
            } => Self::Parameter {
                parameter,
                value,
                min,
                max,
            },
            Argon2::MemoryLimit { kib, limit_kib } => Self::Refused {
                cost: Cost::Argon2MemoryKib,
                value: kib.into(),
                limit: limit_kib.into(),
            },
            Argon2::OutOfMemory { kib } => Self::OutOfMemory { kib },
        }
    }
}
