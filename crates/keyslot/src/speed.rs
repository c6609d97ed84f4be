//! What key derivation takes here and now, for a benchmark.

use std::time::{Duration, Instant};

use crate::{Error, KdfParams, kdf, machine};

/// How long it takes to derive a key of `key_len` bytes. The costs are the caller's, who bounds them.
///
/// Argon2's memory is allocated, used and wiped within that time, as when a keyslot is opened.
///
/// ```
/// use lucarne_keyslot::{Hash, KdfParams, time_derivation};
///
/// let iterations = 1000;
/// let params = KdfParams::Pbkdf2 { hash: Hash::Sha256, iterations };
/// let taken = time_derivation(&params, 32)?;
/// println!("{:.0} iterations per second", f64::from(iterations) / taken.as_secs_f64());
/// # Ok::<(), lucarne_keyslot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for costs that a new keyslot may not have, and [`Error::OutOfMemory`].
pub fn time_derivation(params: &KdfParams, key_len: usize) -> Result<Duration, Error> {
    params.check()?;
    let kdf = params.with_salt(vec![0; 32]);
    let start = Instant::now();
    kdf::derive(&kdf, b"benchmark", key_len)?;
    Ok(start.elapsed())
}

/// What may be taken for a while without harm to others, in KiB: half of what the machine or the control
/// group has; `None` where the system does not say.
#[must_use]
pub fn spare_memory_kib() -> Option<u64> {
    machine::memory_for_new_keyslot_kib()
}

#[cfg(test)]
mod tests {
    use lucarne_format::luks2::Argon2Variant;

    use super::*;
    use crate::Hash;

    #[test]
    fn either_kind_is_timed_and_costs_are_checked() {
        let pbkdf2 = |iterations| KdfParams::Pbkdf2 {
            hash: Hash::Sha256,
            iterations,
        };
        let argon2 = |memory_kib| KdfParams::Argon2 {
            variant: Argon2Variant::Id,
            time: 4,
            memory_kib,
            lanes: 1,
        };
        for params in [pbkdf2(1000), argon2(64)] {
            assert!(time_derivation(&params, 32).unwrap() > Duration::ZERO);
        }
        for params in [pbkdf2(999), argon2(31)] {
            assert!(matches!(
                time_derivation(&params, 32),
                Err(Error::Parameter { .. })
            ));
        }
    }
}
