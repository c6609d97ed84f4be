//! Why a key cannot be derived.

/// Why a key cannot be derived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A parameter or an input's length outside of what the algorithm allows.
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
    /// More memory than the caller allows; none was taken.
    #[error("argon2 memory of {kib} KiB exceeds the limit of {limit_kib} KiB")]
    MemoryLimit {
        /// What was asked for.
        kib: u32,
        /// The caller's limit.
        limit_kib: u32,
    },
    /// The system has not that much memory.
    #[error("out of memory: {kib} KiB for argon2 cannot be had")]
    OutOfMemory {
        /// What was asked for.
        kib: u32,
    },
}

/// Refuses a value outside of `min..=max`.
pub(crate) fn within(parameter: &'static str, value: u64, min: u32, max: u32) -> Result<(), Error> {
    let [min, max] = [min, max].map(u64::from);
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::Parameter {
        parameter,
        value,
        min,
        max,
    })
}
