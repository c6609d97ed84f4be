//! Key derivation: PBKDF2 (RFC 8018) and Argon2 (RFC 9106).

use lucarne_argon2::{Argon2, Inputs, Params, Variant};
use lucarne_format::luks2::{Argon2Variant, Kdf};
use lucarne_secret::SecretBytes;

use crate::{Error, Hash};

/// Length of a new salt; LUKS2 knows no other.
const SALT_LEN: usize = 32;

/// The floor of NIST SP 800-132, and cryptsetup's.
pub(crate) const MIN_PBKDF2_ITERATIONS: u32 = 1000;
/// cryptsetup's floors and ceilings for new Argon2 keyslots.
pub(crate) const MIN_ARGON2_TIME: u32 = 4;
pub(crate) const MIN_ARGON2_MEMORY_KIB: u32 = 32;
pub(crate) const MAX_ARGON2_MEMORY_KIB: u32 = 4 << 20;
pub(crate) const MAX_ARGON2_LANES: u32 = 4;
/// RFC 9106, 3.1.
const MIN_ARGON2_KEY: u32 = 4;

/// A key derivation and its costs, for a keyslot to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KdfParams {
    /// PBKDF2 over HMAC.
    Pbkdf2 {
        /// The HMAC's hash.
        hash: Hash,
        /// At least 1000.
        iterations: u32,
    },
    /// Argon2, version 1.3.
    Argon2 {
        /// i or id.
        variant: Argon2Variant,
        /// Passes; at least 4.
        time: u32,
        /// Memory in KiB; 32 to 4 GiB, and at least 8 for each lane.
        memory_kib: u32,
        /// Lanes; 1 to 4.
        lanes: u32,
    },
}

impl KdfParams {
    /// With a random salt, as a keyslot holds it.
    ///
    /// # Errors
    /// [`Error::Parameter`] for costs outside of what cryptsetup accepts for a new keyslot, and
    /// [`Error::Random`].
    pub fn salted(&self) -> Result<Kdf, Error> {
        self.check()?;
        let mut salt = vec![0; SALT_LEN];
        getrandom::fill(&mut salt)?;
        Ok(self.with_salt(salt))
    }

    pub(crate) fn with_salt(self, salt: Vec<u8>) -> Kdf {
        match self {
            Self::Pbkdf2 { hash, iterations } => Kdf::Pbkdf2 {
                hash: hash.to_string(),
                iterations,
                salt,
            },
            Self::Argon2 {
                variant,
                time,
                memory_kib,
                lanes,
            } => Kdf::Argon2 {
                variant,
                time,
                memory_kib,
                lanes,
                salt,
            },
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match *self {
            Self::Pbkdf2 { iterations, .. } => check_pbkdf2_iterations(iterations),
            Self::Argon2 {
                time,
                memory_kib,
                lanes,
                ..
            } => {
                within("argon2 passes", time, MIN_ARGON2_TIME, u32::MAX)?;
                within("argon2 lanes", lanes, 1, MAX_ARGON2_LANES)?;
                let least = MIN_ARGON2_MEMORY_KIB.max(8 * lanes);
                within(
                    "argon2 memory in KiB",
                    memory_kib,
                    least,
                    MAX_ARGON2_MEMORY_KIB,
                )
            }
        }
    }
}

pub(crate) fn check_pbkdf2_iterations(iterations: u32) -> Result<(), Error> {
    within(
        "pbkdf2 iterations",
        iterations,
        MIN_PBKDF2_ITERATIONS,
        u32::MAX,
    )
}

fn within(parameter: &'static str, value: u32, min: u32, max: u32) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let [value, min, max] = [value, min, max].map(u64::from);
    Err(Error::Parameter {
        parameter,
        value,
        min,
        max,
    })
}

/// Derives `len` bytes from `passphrase`.
///
/// The costs are the header's: whoever calls has spent them. Argon2's lanes run on the current
/// rayon pool, and its memory is wiped before it is given back.
pub(crate) fn derive(kdf: &Kdf, passphrase: &[u8], len: usize) -> Result<SecretBytes, Error> {
    let mut derived = SecretBytes::zeroed(len);
    match kdf {
        Kdf::Pbkdf2 {
            hash,
            iterations,
            salt,
        } => {
            within("pbkdf2 iterations", *iterations, 1, u32::MAX)?;
            hash.parse::<Hash>()?
                .pbkdf2(passphrase, salt, *iterations, &mut derived);
        }
        Kdf::Argon2 {
            variant,
            time,
            memory_kib,
            lanes,
            salt,
        } => {
            within(
                "area key length in bytes",
                key_len(len),
                MIN_ARGON2_KEY,
                u32::MAX,
            )?;
            let variant = match variant {
                Argon2Variant::I => Variant::I,
                Argon2Variant::Id => Variant::Id,
            };
            let inputs = Inputs {
                password: passphrase,
                salt,
                ..Inputs::default()
            };
            Argon2::new(Params::new(variant, *time, *memory_kib, *lanes)?)
                .derive(&inputs, &mut derived)?;
        }
        Kdf::Unknown { kind } => {
            return Err(Error::UnsupportedKdf {
                name: kind.chars().take(64).collect(),
            });
        }
        _ => {
            return Err(Error::UnsupportedKdf {
                name: "unknown".to_owned(),
            });
        }
    }
    Ok(derived)
}

/// Too long is as long as can be told.
fn key_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
