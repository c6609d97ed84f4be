//! What an untrusted header may cost.
//!
//! A header names the memory, the passes and the iterations of its key derivations, and opening a
//! volume pays them before anything is verified. The limits bound each keyslot and all that are
//! tried together.

use std::fmt;

use lucarne_format::luks2::{Digest, Kdf, Luks2Keyslot};

use crate::{Error, Hash, machine};

/// Something that a header can ask too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cost {
    /// Memory of an Argon2 keyslot in KiB.
    Argon2MemoryKib,
    /// Memory × passes of an Argon2 keyslot in KiB.
    Argon2WorkKib,
    /// Lanes of an Argon2 keyslot.
    Argon2Lanes,
    /// Iterations of a PBKDF2 keyslot.
    Pbkdf2Iterations,
    /// Iterations of a digest.
    DigestIterations,
    /// Memory × passes in KiB over all keyslots tried.
    TotalArgon2WorkKib,
    /// Iterations over all PBKDF2 keyslots and digests tried.
    TotalPbkdf2Iterations,
    /// Bytes of a keyslot's split key: its key's length times the AF stripes.
    SplitKeyBytes,
    /// Bytes read of a header, both copies together.
    HeaderBytes,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2MemoryKib => "argon2 memory in KiB",
            Self::Argon2WorkKib => "argon2 memory times passes in KiB",
            Self::Argon2Lanes => "argon2 lanes",
            Self::Pbkdf2Iterations => "pbkdf2 iterations, counted as sha256's,",
            Self::DigestIterations => "digest iterations, counted as sha256's,",
            Self::TotalArgon2WorkKib => "argon2 memory times passes in KiB over all keyslots tried",
            Self::TotalPbkdf2Iterations => {
                "pbkdf2 iterations, counted as sha256's, over all keyslots tried"
            }
            Self::SplitKeyBytes => "split key bytes",
            Self::HeaderBytes => "header bytes of both copies",
        })
    }
}

/// The most that a header may cost.
///
/// A header that is hostile cannot be told from one that is merely old and full: a volume with all 32
/// keyslots made by cryptsetup's defaults (argon2id, 4 passes over 1 GiB) costs 128 GiB of memory times
/// passes until its last keyslot, or a wrong passphrase, is known. That is the total by default, so
/// that such a volume opens by each of its passphrases, and no header costs more than a minute or so of
/// two processors. A single keyslot may cost a half of it: what cryptsetup makes of 10 seconds on a
/// machine that fills 6 GiB in one. What exceeds a limit is not computed; keyslots that cost less are
/// still tried, and one that is asked for by number is all that counts.
///
/// ```
/// use lucarne_keyslot::CostLimits;
///
/// let limits = CostLimits { argon2_memory_kib: 64 << 10, ..CostLimits::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLimits {
    /// Memory of one Argon2 keyslot in KiB. Default: 4 GiB, or the machine's memory or the control
    /// group's limit where that is less.
    pub argon2_memory_kib: u32,
    /// Memory × passes of one Argon2 keyslot in KiB. Default: 64 GiB.
    pub argon2_work_kib: u64,
    /// Lanes of one Argon2 keyslot. Default: 64.
    pub argon2_lanes: u32,
    /// Iterations of one PBKDF2 keyslot or digest. Default: 50 million. Those of a
    /// slower hash than SHA-256 count as many times more as they take longer.
    pub pbkdf2_iterations: u32,
    /// Memory × passes in KiB over all keyslots tried. Default: 128 GiB.
    pub total_argon2_work_kib: u64,
    /// Iterations over all PBKDF2 keyslots and digests tried, counted in the same way. Default: 200
    /// million, 6 for each of 32 keyslots.
    pub total_pbkdf2_iterations: u64,
    /// Bytes of one keyslot's split key, which are read, decrypted and hashed: its key's length times
    /// 4000, the number of AF stripes, which the format fixes. Default: 16 MiB, for keys of 4 KiB.
    pub split_key_bytes: u64,
    /// Bytes read of a header, both copies together; their JSON is all of it but 8 KiB. Default: 8
    /// MiB, the most that the format allows. A lower limit also ends the search for the secondary copy
    /// of a header whose primary is lost.
    pub header_bytes: u64,
}

impl Default for CostLimits {
    fn default() -> Self {
        const GIB_IN_KIB: u64 = 1 << 20;
        let machine_kib = machine::memory_limit_kib().unwrap_or(u64::MAX);
        Self {
            argon2_memory_kib: machine_kib.min(4 * GIB_IN_KIB) as u32,
            argon2_work_kib: 64 * GIB_IN_KIB,
            argon2_lanes: 64,
            pbkdf2_iterations: 50_000_000,
            total_argon2_work_kib: 128 * GIB_IN_KIB,
            total_pbkdf2_iterations: 200_000_000,
            split_key_bytes: 16 << 20,
            header_bytes: 8 << 20,
        }
    }
}

/// Counts what one opening of one volume has cost so far, over all keyslots that it tries.
#[derive(Debug)]
pub struct CostMeter {
    limits: CostLimits,
    argon2_work_kib: u64,
    pbkdf2_iterations: u64,
}

impl CostMeter {
    /// Nothing spent yet.
    #[must_use]
    pub fn new(limits: &CostLimits) -> Self {
        Self {
            limits: limits.clone(),
            argon2_work_kib: 0,
            pbkdf2_iterations: 0,
        }
    }

    /// That joining a keyslot's key costs no more than it may.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn check_split_key(&self, keyslot: &Luks2Keyslot) -> Result<(), Error> {
        at_most(
            Cost::SplitKeyBytes,
            split_key_bytes(keyslot),
            self.limits.split_key_bytes,
        )
    }

    /// Spends what deriving a key by `kdf` costs. A refusal spends nothing.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::UnsupportedKdf`] for a kind whose cost is not known.
    pub fn spend_kdf(&mut self, kdf: &Kdf) -> Result<(), Error> {
        match kdf {
            Kdf::Pbkdf2 {
                hash, iterations, ..
            } => self.spend_pbkdf2(Cost::Pbkdf2Iterations, hash, *iterations),
            Kdf::Argon2 {
                time,
                memory_kib,
                lanes,
                ..
            } => self.spend_argon2(*time, *memory_kib, *lanes),
            Kdf::Unknown { kind } => Err(Error::UnsupportedKdf {
                name: kind.chars().take(64).collect(),
            }),
            _ => Err(Error::UnsupportedKdf {
                name: "unknown".to_owned(),
            }),
        }
    }

    /// Spends what verifying a key against `digest` costs. A refusal spends nothing.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn spend_digest(&mut self, digest: &Digest) -> Result<(), Error> {
        self.spend_pbkdf2(Cost::DigestIterations, &digest.hash, digest.iterations)
    }

    fn spend_argon2(&mut self, time: u32, memory_kib: u32, lanes: u32) -> Result<(), Error> {
        let limits = &self.limits;
        at_most(
            Cost::Argon2MemoryKib,
            memory_kib.into(),
            limits.argon2_memory_kib.into(),
        )?;
        at_most(Cost::Argon2Lanes, lanes.into(), limits.argon2_lanes.into())?;
        // The product of two 32-bit numbers fits in 64 bits.
        let work_kib = u64::from(memory_kib) * u64::from(time);
        at_most(Cost::Argon2WorkKib, work_kib, limits.argon2_work_kib)?;
        let total = self.argon2_work_kib.saturating_add(work_kib);
        at_most(
            Cost::TotalArgon2WorkKib,
            total,
            limits.total_argon2_work_kib,
        )?;
        self.argon2_work_kib = total;
        Ok(())
    }

    fn spend_pbkdf2(&mut self, cost: Cost, hash: &str, iterations: u32) -> Result<(), Error> {
        let limits = &self.limits;
        // A hash that is not known is not computed either.
        let weight = hash.parse().map_or(1, Hash::pbkdf2_weight);
        let iterations = u64::from(iterations) * u64::from(weight);
        at_most(cost, iterations, limits.pbkdf2_iterations.into())?;
        let total = self.pbkdf2_iterations.saturating_add(iterations);
        at_most(
            Cost::TotalPbkdf2Iterations,
            total,
            limits.total_pbkdf2_iterations,
        )?;
        self.pbkdf2_iterations = total;
        Ok(())
    }
}

/// How many bytes of a keyslot's area its split key takes.
#[must_use]
pub fn split_key_bytes(keyslot: &Luks2Keyslot) -> u64 {
    u64::from(keyslot.key_size) * u64::from(keyslot.af.stripes)
}

fn at_most(cost: Cost, value: u64, limit: u64) -> Result<(), Error> {
    if value > limit {
        return Err(Error::Refused { cost, value, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lucarne_format::luks2::{AntiForensic, Area, Argon2Variant, Priority};

    use super::*;

    const LIMITS: CostLimits = CostLimits {
        argon2_memory_kib: 1000,
        argon2_work_kib: 4000,
        argon2_lanes: 4,
        pbkdf2_iterations: 100,
        total_argon2_work_kib: 10_000,
        total_pbkdf2_iterations: 250,
        split_key_bytes: 256_000,
        header_bytes: 0,
    };

    fn argon2(time: u32, memory_kib: u32, lanes: u32) -> Kdf {
        Kdf::Argon2 {
            variant: Argon2Variant::Id,
            time,
            memory_kib,
            lanes,
            salt: vec![0; 32],
        }
    }

    fn pbkdf2(iterations: u32) -> Kdf {
        Kdf::Pbkdf2 {
            hash: "sha256".to_owned(),
            iterations,
            salt: vec![0; 32],
        }
    }

    fn digest(iterations: u32) -> Digest {
        Digest {
            keyslots: Default::default(),
            segments: Default::default(),
            hash: "sha256".to_owned(),
            iterations,
            salt: vec![0; 32],
            digest: vec![0; 32],
        }
    }

    #[test]
    fn refusals_name_the_cost_the_value_and_the_limit() {
        let refusal = |kdf| {
            CostMeter::new(&LIMITS)
                .spend_kdf(&kdf)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal(argon2(1, 1001, 1)),
            "argon2 memory in KiB of 1001 exceeds the limit of 1000"
        );
        assert_eq!(
            refusal(argon2(5, 1000, 1)),
            "argon2 memory times passes in KiB of 5000 exceeds the limit of 4000",
        );
        assert_eq!(
            refusal(argon2(4, 100, 5)),
            "argon2 lanes of 5 exceeds the limit of 4"
        );
        assert_eq!(
            refusal(pbkdf2(101)),
            "pbkdf2 iterations, counted as sha256's, of 101 exceeds the limit of 100"
        );
        let error = CostMeter::new(&LIMITS)
            .spend_digest(&digest(u32::MAX))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "digest iterations, counted as sha256's, of 4294967295 exceeds the limit of 100"
        );
        // The largest numbers that a header can hold.
        refusal(argon2(u32::MAX, u32::MAX, u32::MAX));
        refusal(argon2(u32::MAX, 1000, 1));
    }

    #[test]
    fn totals_are_over_all_keyslots_and_a_refusal_spends_nothing() {
        let mut meter = CostMeter::new(&LIMITS);
        meter.spend_kdf(&argon2(4, 1000, 4)).unwrap();
        meter.spend_kdf(&argon2(4, 1000, 4)).unwrap();
        let error = meter.spend_kdf(&argon2(4, 1000, 4)).unwrap_err();
        assert!(matches!(
            error,
            Error::Refused {
                cost: Cost::TotalArgon2WorkKib,
                value: 12_000,
                limit: 10_000
            },
        ));
        meter.spend_kdf(&argon2(2, 1000, 4)).unwrap();

        meter.spend_kdf(&pbkdf2(100)).unwrap();
        meter.spend_digest(&digest(100)).unwrap();
        let error = meter.spend_digest(&digest(51)).unwrap_err();
        assert!(matches!(
            error,
            Error::Refused {
                cost: Cost::TotalPbkdf2Iterations,
                value: 251,
                limit: 250
            },
        ));
        meter.spend_digest(&digest(50)).unwrap();
    }

    #[test]
    fn a_slower_hash_costs_more() {
        let spend = |hash: &str, iterations| {
            let kdf = Kdf::Pbkdf2 {
                hash: hash.to_owned(),
                iterations,
                salt: vec![0; 32],
            };
            CostMeter::new(&LIMITS).spend_kdf(&kdf)
        };
        spend("sha256", 100).unwrap();
        spend("sha512", 50).unwrap();
        let error = spend("SHA512", 51).unwrap_err();
        assert!(error.to_string().contains("of 102 exceeds"), "{error}");
        #[cfg(feature = "rare-hashes")]
        for (hash, most) in [("whirlpool", 16), ("stribog512", 7)] {
            spend(hash, most).unwrap();
            spend(hash, most + 1).unwrap_err();
        }
        spend("sha384", u32::MAX).unwrap_err();
    }

    #[test]
    fn a_split_key_is_bounded() {
        let keyslot = |key_size| Luks2Keyslot {
            key_size,
            priority: Priority::Normal,
            af: AntiForensic {
                stripes: 4000,
                hash: "sha256".into(),
            },
            kdf: pbkdf2(1),
            area: Area {
                offset: 0,
                size: Area::size_for_key(key_size),
                encryption: "aes-xts-plain64".into(),
                key_size: 64,
            },
        };
        let meter = CostMeter::new(&LIMITS);
        meter.check_split_key(&keyslot(64)).unwrap();
        let error = meter.check_split_key(&keyslot(65)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "split key bytes of 260000 exceeds the limit of 256000"
        );
        meter.check_split_key(&keyslot(u32::MAX)).unwrap_err();
    }

    #[test]
    fn what_is_not_known_has_no_price() {
        let kdf = Kdf::Unknown {
            kind: "balloon".to_owned(),
        };
        let error = CostMeter::new(&LIMITS).spend_kdf(&kdf).unwrap_err();
        assert!(error.to_string().contains("\"balloon\""), "{error}");
    }

    #[test]
    fn defaults_end_a_hostile_header_soon() {
        let limits = CostLimits::default();
        let mut meter = CostMeter::new(&limits);
        let mut gib_passes = 0;
        for _ in 0..32 {
            let memory_kib = limits.argon2_memory_kib.min(1 << 20);
            if meter.spend_kdf(&argon2(60, memory_kib, 4)).is_ok() {
                gib_passes += 60;
            }
        }
        assert!(gib_passes <= 128, "{gib_passes}");
    }

    #[test]
    fn defaults_let_cryptsetups_own_defaults_pass() {
        let limits = CostLimits::default();
        assert!(limits.argon2_memory_kib <= 4 << 20);
        let memory_kib = limits.argon2_memory_kib.min(1 << 20);
        // One keyslot of a fast machine, and of a patient person.
        for passes in [16, 60] {
            let mut meter = CostMeter::new(&limits);
            meter.spend_kdf(&argon2(passes, memory_kib, 4)).unwrap();
            meter.spend_kdf(&pbkdf2(30_000_000)).unwrap();
            meter.spend_digest(&digest(2_000_000)).unwrap();
        }
        // As many keyslots as a volume can have, up to the last.
        let mut meter = CostMeter::new(&limits);
        for _ in 0..32 {
            meter.spend_kdf(&argon2(4, memory_kib, 4)).unwrap();
            meter.spend_digest(&digest(300_000)).unwrap();
        }
        let mut meter = CostMeter::new(&limits);
        for _ in 0..32 {
            meter.spend_kdf(&pbkdf2(5_000_000)).unwrap();
            meter.spend_digest(&digest(300_000)).unwrap();
        }
    }
}
