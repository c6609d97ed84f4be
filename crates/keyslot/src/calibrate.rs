//! How costly a new keyslot's key derivation is to be: what cryptsetup's options ask for, measured
//! on this machine.

use std::time::{Duration, Instant};

use lucarne_format::luks2::Argon2Variant;

use crate::{
    Error, Hash, KdfParams, kdf,
    kdf::{
        MAX_ARGON2_LANES, MIN_ARGON2_MEMORY_KIB, MIN_ARGON2_TIME, MIN_PBKDF2_ITERATIONS,
        check_pbkdf2_iterations,
    },
    machine,
};

/// A measurement that is shorter says too little.
const SHORTEST_ARGON2: Duration = Duration::from_millis(250);
const SHORTEST_PBKDF2: Duration = Duration::from_millis(60);
/// A measured keyslot has at least this much memory where it may have it, however short its time is to
/// be: cryptsetup's floor.
const MEASURED_MEMORY_MIN_KIB: u32 = 64 << 10;
/// What a digest's verification is to take; it is part of every opening.
const DIGEST_TARGET: Duration = Duration::from_millis(125);

/// A kind of key derivation, by cryptsetup's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KdfKind {
    /// `argon2id`.
    #[default]
    Argon2id,
    /// `argon2i`.
    Argon2i,
    /// `pbkdf2`.
    Pbkdf2,
}

impl std::str::FromStr for KdfKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "argon2id" => Ok(Self::Argon2id),
            "argon2i" => Ok(Self::Argon2i),
            "pbkdf2" => Ok(Self::Pbkdf2),
            _ => Err(Error::UnsupportedKdf {
                name: name.chars().take(64).collect(),
            }),
        }
    }
}

impl std::fmt::Display for KdfKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Argon2id => "argon2id",
            Self::Argon2i => "argon2i",
            Self::Pbkdf2 => "pbkdf2",
        })
    }
}

/// A key derivation as a person asks for it. The default is cryptsetup's for LUKS2: argon2id for
/// 2 seconds with at most 1 GiB and 4 lanes.
///
/// ```no_run
/// use lucarne_keyslot::{Hash, KdfRequest};
///
/// let params = KdfRequest::default().resolve(Hash::Sha256, 64)?; // takes about 3 seconds
/// # Ok::<(), lucarne_keyslot::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KdfRequest {
    /// Which one.
    pub kind: KdfKind,
    /// How long deriving a key is to take. Argon2 takes longer where even the least that it may have
    /// does: 4 passes over 64 MiB, or over `max_memory_kib` if that is less.
    pub target: Duration,
    /// The most memory that Argon2 may take, in KiB; also never more than half of what this machine
    /// or control group has, unless the cost is given in `iterations`.
    pub max_memory_kib: u32,
    /// The most lanes that Argon2 may have; also never more than 4, nor than there are CPUs unless
    /// the cost is given in `iterations` (as in cryptsetup 2.8; 2.6 reduced given lanes too).
    pub max_lanes: u32,
    /// The cost instead of a measurement: PBKDF2's iterations, or Argon2's passes over all of
    /// `max_memory_kib`.
    pub iterations: Option<u32>,
}

impl Default for KdfRequest {
    fn default() -> Self {
        Self {
            kind: KdfKind::default(),
            target: Duration::from_secs(2),
            max_memory_kib: 1 << 20,
            max_lanes: 4,
            iterations: None,
        }
    }
}

impl KdfRequest {
    /// The costs that take the time asked for, measured here and now if they are not given.
    ///
    /// `hash` is PBKDF2's; `key_len` is the length of the key to be derived in bytes, which PBKDF2's
    /// time depends on.
    ///
    /// # Errors
    /// [`Error::Parameter`] for given costs outside of what a new keyslot may have, and
    /// [`Error::OutOfMemory`].
    pub fn resolve(&self, hash: Hash, key_len: usize) -> Result<KdfParams, Error> {
        self.check()?;
        let variant = match self.kind {
            KdfKind::Pbkdf2 => {
                let iterations = match self.iterations {
                    Some(iterations) => iterations,
                    None => pbkdf2_iterations(hash, key_len, self.target),
                };
                return Ok(KdfParams::Pbkdf2 { hash, iterations });
            }
            KdfKind::Argon2id => Argon2Variant::Id,
            KdfKind::Argon2i => Argon2Variant::I,
        };
        let lanes = self.max_lanes.min(MAX_ARGON2_LANES);
        if let Some(time) = self.iterations {
            return Ok(KdfParams::Argon2 {
                variant,
                time,
                memory_kib: self.max_memory_kib,
                lanes,
            });
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = lanes.min(u32::try_from(cpus).unwrap_or(u32::MAX));
        let machine_kib = machine::memory_for_new_keyslot_kib()
            .and_then(|kib| u32::try_from(kib).ok())
            .unwrap_or(u32::MAX);
        let search = self.argon2_search(lanes, machine_kib);
        let (time, memory_kib) = search.run(|time, memory_kib| {
            let kdf = KdfParams::Argon2 {
                variant,
                time,
                memory_kib,
                lanes,
            }
            .with_salt(vec![0; 32]);
            let start = Instant::now();
            kdf::derive(&kdf, b"calibration", key_len)?;
            Ok(start.elapsed())
        })?;
        Ok(KdfParams::Argon2 {
            variant,
            time,
            memory_kib,
            lanes,
        })
    }

    fn argon2_search(&self, lanes: u32, machine_kib: u32) -> Argon2Search {
        let max_memory_kib = self.max_memory_kib.min(machine_kib);
        // Argon2 itself needs 8 KiB a lane.
        let least = MIN_ARGON2_MEMORY_KIB.max(8 * lanes);
        Argon2Search {
            min_memory_kib: MEASURED_MEMORY_MIN_KIB.min(max_memory_kib).max(least),
            max_memory_kib,
            target: self.target,
        }
    }

    /// Whether a new keyslot may have these costs; nothing is measured.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn check(&self) -> Result<(), Error> {
        let variant = match self.kind {
            KdfKind::Pbkdf2 => {
                return check_pbkdf2_iterations(self.iterations.unwrap_or(MIN_PBKDF2_ITERATIONS));
            }
            KdfKind::Argon2id => Argon2Variant::Id,
            KdfKind::Argon2i => Argon2Variant::I,
        };
        KdfParams::Argon2 {
            variant,
            time: self.iterations.unwrap_or(MIN_ARGON2_TIME),
            memory_kib: self.max_memory_kib,
            lanes: self.max_lanes.min(MAX_ARGON2_LANES),
        }
        .check()
    }

    /// The iterations of a new volume's digest: 125 ms' worth, or the least that is allowed when
    /// this request does without measuring, as cryptsetup has it.
    #[must_use]
    pub fn digest_iterations(&self, hash: Hash) -> u32 {
        match self.iterations {
            Some(_) => MIN_PBKDF2_ITERATIONS,
            None => pbkdf2_iterations(hash, hash.output_len(), DIGEST_TARGET),
        }
    }
}

/// The iterations that take `target` for a key of `key_len` bytes, at least 1000.
fn pbkdf2_iterations(hash: Hash, key_len: usize, target: Duration) -> u32 {
    let mut key = vec![0; key_len];
    let mut iterations: u32 = 1 << 14;
    loop {
        let start = Instant::now();
        hash.pbkdf2(b"calibration", b"salt", iterations, &mut key);
        let taken = start.elapsed();
        if taken >= SHORTEST_PBKDF2 || iterations >= 1 << 30 {
            let wanted = f64::from(iterations) * target.as_secs_f64() / taken.as_secs_f64();
            // The cast saturates.
            return (wanted as u32).max(MIN_PBKDF2_ITERATIONS);
        }
        iterations *= 2;
    }
}

/// The search for Argon2's passes and memory, with cryptsetup's preferences: as much memory as
/// allowed with the least passes; more passes only when there is no more memory to be had, and less
/// memory only when even the least passes take too long.
struct Argon2Search {
    min_memory_kib: u32,
    max_memory_kib: u32,
    target: Duration,
}

impl Argon2Search {
    /// Passes and memory in KiB; `measure` tells how long they take.
    fn run(
        &self,
        mut measure: impl FnMut(u32, u32) -> Result<Duration, Error>,
    ) -> Result<(u32, u32), Error> {
        let mut params = (MIN_ARGON2_TIME, self.min_memory_kib);
        let mut taken = measure(params.0, params.1)?;
        // Grow until the measurement means something.
        while taken < SHORTEST_ARGON2.min(self.target) {
            let next = self.scaled(
                params,
                (SHORTEST_ARGON2.as_secs_f64() / seconds(taken)).min(16.0),
            );
            if next == params {
                break;
            }
            params = next;
            taken = measure(params.0, params.1)?;
        }
        // Then approach the target. Cost and time are nearly proportional: a few steps do, and more
        // would follow the noise of a busy machine.
        for _ in 0..4 {
            if (0.95..=1.10).contains(&(seconds(taken) / seconds(self.target))) {
                break;
            }
            let next = self.scaled(params, seconds(self.target) / seconds(taken));
            if next == params {
                break;
            }
            params = next;
            taken = measure(params.0, params.1)?;
        }
        Ok(params)
    }

    /// Parameters that cost `factor` times as much.
    fn scaled(&self, (time, memory_kib): (u32, u32), factor: f64) -> (u32, u32) {
        let cost = f64::from(time) * f64::from(memory_kib) * factor;
        // The casts saturate.
        let memory_kib = (cost / f64::from(MIN_ARGON2_TIME)) as u32;
        if memory_kib <= self.max_memory_kib {
            return (MIN_ARGON2_TIME, memory_kib.max(self.min_memory_kib));
        }
        let time = (cost / f64::from(self.max_memory_kib)) as u32;
        (time.max(MIN_ARGON2_TIME), self.max_memory_kib)
    }
}

/// Never zero, to be divided by.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64().max(1e-6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs the search on a machine that does so many KiB of memory × passes in a second.
    fn search(kib_per_second: f64, max_memory_kib: u32, target_ms: u64) -> (u32, u32, f64) {
        let search = Argon2Search {
            min_memory_kib: 32,
            max_memory_kib,
            target: Duration::from_millis(target_ms),
        };
        let taken =
            |time: u32, memory_kib: u32| f64::from(time) * f64::from(memory_kib) / kib_per_second;
        let mut runs = 0;
        let (time, memory_kib) = search
            .run(|time, memory_kib| {
                runs += 1;
                assert!(runs < 20, "does not end");
                assert!(memory_kib <= max_memory_kib);
                Ok(Duration::from_secs_f64(taken(time, memory_kib)))
            })
            .unwrap();
        (time, memory_kib, taken(time, memory_kib))
    }

    #[test]
    fn memory_grows_first_then_passes() {
        let (time, memory_kib, _) = search(1e6, 1 << 20, 2000);
        assert_eq!(time, 4);
        assert!((470_000..550_000).contains(&memory_kib), "{memory_kib}");
        let (time, memory_kib, _) = search(1e7, 1 << 20, 2000);
        assert_eq!(memory_kib, 1 << 20);
        assert!((18..=20).contains(&time), "{time}");
    }

    #[test]
    fn the_floor_holds_on_the_slowest_machine() {
        assert_eq!(search(1.0, 1 << 20, 2000).0, 4);
        assert_eq!(search(1.0, 1 << 20, 2000).1, 32);
    }

    #[test]
    fn however_short_the_time_memory_has_cryptsetups_floor() {
        // What `cryptsetup luksFormat --iter-time 1` 2.6.1 gave for each `--pbkdf-memory`.
        for (max_memory_kib, memory_kib) in [
            (1 << 20, 64 << 10),
            (100_000, 64 << 10),
            (64 << 10, 64 << 10),
            (32 << 10, 32 << 10),
            (1000, 1000),
            (32, 32),
        ] {
            let request = KdfRequest {
                target: Duration::from_millis(1),
                max_memory_kib,
                ..KdfRequest::default()
            };
            let search = request.argon2_search(2, u32::MAX);
            let slow_machine = |_, _| Ok(Duration::from_secs(1));
            assert_eq!(search.run(slow_machine).unwrap(), (4, memory_kib));
            // Half of a small machine bounds the floor too.
            let search = request.argon2_search(2, 40_000);
            assert_eq!(search.run(slow_machine).unwrap().1, memory_kib.min(40_000));
        }
    }

    proptest! {
        #[test]
        fn the_time_is_met_where_the_bounds_allow(
            kib_per_second in 1e4..1e8_f64,
            max_memory_kib in 32..4_000_000_u32,
            target_ms in 1..20_000_u64,
        ) {
            let (time, memory_kib, taken) = search(kib_per_second, max_memory_kib, target_ms);
            prop_assert!(time >= 4 && (32..=max_memory_kib).contains(&memory_kib));
            let target = target_ms as f64 / 1000.0;
            let at_floor = (time, memory_kib) == (4, 32);
            // A whole pass is the least step.
            let step = f64::from(max_memory_kib) / kib_per_second;
            prop_assert!(at_floor || taken <= target * 1.1 + step, "{taken} for {target}");
            prop_assert!(taken >= target * 0.9 - step, "{taken} for {target}");
        }
    }

    #[test]
    fn given_costs_are_taken_as_they_are_or_refused() {
        let argon2 = KdfRequest {
            iterations: Some(5),
            max_memory_kib: 777,
            // More than this machine may have CPUs: given costs are not made to fit it.
            max_lanes: 4,
            ..KdfRequest::default()
        };
        assert_eq!(
            argon2.resolve(Hash::Sha256, 64).unwrap(),
            KdfParams::Argon2 {
                variant: Argon2Variant::Id,
                time: 5,
                memory_kib: 777,
                lanes: 4
            },
        );
        assert_eq!(argon2.digest_iterations(Hash::Sha256), 1000);
        let refused =
            |request: KdfRequest| request.resolve(Hash::Sha256, 64).unwrap_err().to_string();
        assert_eq!(
            refused(KdfRequest {
                iterations: Some(3),
                ..argon2.clone()
            }),
            "argon2 passes of 3 is outside of 4 to 4294967295",
        );
        assert_eq!(
            refused(KdfRequest {
                max_memory_kib: 31,
                ..argon2.clone()
            }),
            "argon2 memory in KiB of 31 is outside of 32 to 4194304",
        );
        assert_eq!(
            refused(KdfRequest {
                max_memory_kib: 31,
                iterations: None,
                ..argon2.clone()
            }),
            "argon2 memory in KiB of 31 is outside of 32 to 4194304",
        );
        assert_eq!(
            refused(KdfRequest {
                max_memory_kib: 4_194_305,
                iterations: None,
                ..argon2.clone()
            }),
            "argon2 memory in KiB of 4194305 is outside of 32 to 4194304",
        );
        assert_eq!(
            refused(KdfRequest {
                max_lanes: 0,
                ..argon2.clone()
            }),
            "argon2 lanes of 0 is outside of 1 to 4",
        );
        assert_eq!(
            refused(KdfRequest {
                kind: KdfKind::Pbkdf2,
                iterations: Some(999),
                ..argon2
            }),
            "pbkdf2 iterations of 999 is outside of 1000 to 4294967295",
        );
    }

    #[test]
    fn measured_costs_are_within_the_bounds() {
        let request = KdfRequest {
            target: Duration::from_millis(20),
            max_memory_kib: 4096,
            ..KdfRequest::default()
        };
        let params = request.resolve(Hash::Sha256, 32).unwrap();
        let KdfParams::Argon2 {
            time,
            memory_kib,
            lanes,
            ..
        } = params
        else {
            panic!("{params:?}")
        };
        assert!(time >= 4 && (32..=4096).contains(&memory_kib) && (1..=4).contains(&lanes));
        assert!(request.digest_iterations(Hash::Sha512) >= 1000);
    }

    #[test]
    fn kinds_have_cryptsetups_names() {
        for kind in [KdfKind::Argon2id, KdfKind::Argon2i, KdfKind::Pbkdf2] {
            assert_eq!(kind.to_string().parse::<KdfKind>().unwrap(), kind);
        }
        assert!("scrypt".parse::<KdfKind>().is_err());
    }
}
