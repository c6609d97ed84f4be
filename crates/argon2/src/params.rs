//! What a derivation costs, and what goes into it (RFC 9106, 3.1).

use std::fmt;

use crate::error::{Error, within};

/// The synchronisation points of a pass: SL in the RFC.
pub(crate) const SLICES: u32 = 4;
const MAX_LANES: u32 = (1 << 24) - 1;
const MIN_SALT_LEN: u32 = 8;
const MAX_ASSOCIATED_DATA_LEN: u32 = 32;
const MIN_OUT_LEN: u32 = 4;

/// How the blocks that go into a block are chosen. Argon2d is not offered: LUKS2 has no use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// Argon2i: by a generator that knows no secret.
    I = 1,
    /// Argon2id: as Argon2i for half of the first pass, by the blocks themselves afterwards.
    Id = 2,
}

/// What a derivation costs.
///
/// ```
/// use lucarne_argon2::{Params, Variant};
///
/// let params = Params::new(Variant::Id, 4, 1 << 20, 4)?;
/// assert_eq!(params.memory_kib(), 1 << 20);
/// let error = Params::new(Variant::Id, 4, 31, 4).unwrap_err();
/// assert_eq!(error.to_string(), "argon2 memory in KiB of 31 is outside of 32 to 4294967295");
/// # Ok::<(), lucarne_argon2::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Params {
    variant: Variant,
    time: u32,
    memory_kib: u32,
    lanes: u32,
}

impl Params {
    /// Checks the costs: `time` passes (at least 1) over `memory_kib` KiB (at least 8 for each lane)
    /// in `lanes` lanes (1 to 2^24 - 1).
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn new(variant: Variant, time: u32, memory_kib: u32, lanes: u32) -> Result<Self, Error> {
        within("argon2 passes", time.into(), 1, u32::MAX)?;
        within("argon2 lanes", lanes.into(), 1, MAX_LANES)?;
        let least = 2 * SLICES * lanes;
        within("argon2 memory in KiB", memory_kib.into(), least, u32::MAX)?;
        Ok(Self {
            variant,
            time,
            memory_kib,
            lanes,
        })
    }

    /// Argon2i or Argon2id.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Passes over the memory.
    #[must_use]
    pub fn time(&self) -> u32 {
        self.time
    }

    /// The memory in KiB, as it goes into the hash. What is used is this rounded down to a multiple
    /// of four times the lanes.
    #[must_use]
    pub fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// How many lanes can be computed at the same time.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Blocks of one lane between two synchronisation points, at least 2.
    pub(crate) fn segment_len(&self) -> u32 {
        self.memory_kib / (SLICES * self.lanes)
    }

    /// Blocks in all: m' in the RFC.
    pub(crate) fn block_count(&self) -> u32 {
        self.segment_len() * SLICES * self.lanes
    }
}

/// What a key is derived from. Nothing of it is shown by `Debug`.
///
/// ```
/// use lucarne_argon2::Inputs;
///
/// let inputs = Inputs { password: b"hunter2", salt: &[1; 32], ..Inputs::default() };
/// assert!(!format!("{inputs:?}").contains("hunter2"));
/// ```
#[derive(Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// The password, of any length.
    pub password: &'a [u8],
    /// The salt, at least 8 bytes.
    pub salt: &'a [u8],
    /// A further secret; LUKS2 has none.
    pub secret: &'a [u8],
    /// At most 32 bytes; LUKS2 has none.
    pub associated_data: &'a [u8],
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inputs([redacted])")
    }
}

impl Inputs<'_> {
    /// That everything has a length which the algorithm knows.
    pub(crate) fn check(&self, out: &[u8]) -> Result<(), Error> {
        for (name, bytes, min, max) in [
            (
                "argon2 password length in bytes",
                self.password,
                0,
                u32::MAX,
            ),
            (
                "argon2 salt length in bytes",
                self.salt,
                MIN_SALT_LEN,
                u32::MAX,
            ),
            ("argon2 secret length in bytes", self.secret, 0, u32::MAX),
            (
                "argon2 associated data length in bytes",
                self.associated_data,
                0,
                MAX_ASSOCIATED_DATA_LEN,
            ),
            ("argon2 output length in bytes", out, MIN_OUT_LEN, u32::MAX),
        ] {
            within(name, bytes.len() as u64, min, max)?;
        }
        Ok(())
    }
}
