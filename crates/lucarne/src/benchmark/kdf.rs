//! Key derivation.

use std::time::Duration;

use lucarne_format::luks2::Argon2Variant;
use lucarne_keyslot::{Hash, KdfKind, KdfParams, KdfRequest, time_derivation};

use super::rounds::median;
use crate::Error;

/// Length of the key that is derived.
pub const KEY_BYTES: usize = 32;

/// One derivation takes at least this long.
const SHORTEST: Duration = Duration::from_millis(60);
const REPETITIONS: usize = 5;

/// What a key derivation does or costs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum KdfSpeed {
    /// PBKDF2.
    Pbkdf2 {
        /// The hash's name.
        hash: String,
        /// `None` for a hash that is not done here.
        iterations_per_second: Option<f64>,
    },
    /// Argon2, with the costs that a new keyslot would get.
    Argon2 {
        /// i or id.
        kind: KdfKind,
        /// Passes.
        time: u32,
        /// Memory in KiB.
        memory_kib: u32,
        /// Lanes.
        lanes: u32,
        /// The time that was asked for.
        target: Duration,
    },
}

pub(super) fn pbkdf2(name: &str) -> Result<KdfSpeed, Error> {
    let rate = match name.parse::<Hash>() {
        Ok(hash) => Some(pbkdf2_rate(hash)?),
        Err(_) => None,
    };
    Ok(KdfSpeed::Pbkdf2 {
        hash: name.to_owned(),
        iterations_per_second: rate,
    })
}

fn pbkdf2_rate(hash: Hash) -> Result<f64, Error> {
    let time = |iterations| time_derivation(&KdfParams::Pbkdf2 { hash, iterations }, KEY_BYTES);
    let mut iterations: u32 = 1 << 12;
    while time(iterations)? < SHORTEST && iterations < 1 << 30 {
        iterations *= 2;
    }
    let mut rates = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        rates.push(f64::from(iterations) / time(iterations)?.as_secs_f64());
    }
    Ok(median(rates))
}

pub(super) fn argon2(request: &KdfRequest) -> Result<KdfSpeed, Error> {
    match request.resolve(Hash::Sha256, KEY_BYTES)? {
        KdfParams::Argon2 {
            variant,
            time,
            memory_kib,
            lanes,
        } => Ok(KdfSpeed::Argon2 {
            kind: match variant {
                Argon2Variant::I => KdfKind::Argon2i,
                Argon2Variant::Id => KdfKind::Argon2id,
            },
            time,
            memory_kib,
            lanes,
            target: request.target,
        }),
        KdfParams::Pbkdf2 { hash, .. } => pbkdf2(hash.name()),
    }
}
