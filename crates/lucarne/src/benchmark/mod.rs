//! What this machine's key derivations, ciphers and memory can do, measured here and now.
//!
//! A [`Test`] is one row of a table; [`Test::all`] lists those that `cryptsetup benchmark` runs, in its
//! order, and then what shows how near the kernels are to this CPU: each beside what AES does on
//! registers alone, and the memory, which bounds them all together.
//!
//! ```no_run
//! use lucarne::KdfRequest;
//! use lucarne::benchmark::{Outcome, Test};
//!
//! for test in Test::all(&KdfRequest::default(), None) {
//!     if let Outcome::Kernel(speed) = test.run()? {
//!         println!("{}: {:.0} % of the AES limit", speed.kernel, 100.0 * speed.encryption.share.unwrap_or(0.0));
//!     }
//! }
//! # Ok::<(), lucarne::Error>(())
//! ```
//!
//! Figures move with the machine's load and clock. What is compared is therefore run in turns of a few
//! milliseconds, and the median of many turns is given.

mod cipher;
mod kdf;
mod kernel;
mod memory;
mod rounds;

use lucarne_cipher::{DataUnit, Kernel};
use lucarne_keyslot::{Hash, KdfKind, KdfRequest};

use crate::Error;

pub use cipher::{CipherRequest, CipherSpeed, SECTOR};
pub use kdf::{KEY_BYTES, KdfSpeed};
pub use kernel::{Direction, KernelSpeed};
pub use memory::MemorySpeed;

/// Hashes for PBKDF2 in cryptsetup's table.
const HASHES: [&str; 5] = ["sha1", "sha256", "sha512", "ripemd160", "whirlpool"];
/// Ciphers in cryptsetup's table with their keys' lengths in bytes; XTS has two keys.
const MODES: [(&str, [usize; 2]); 2] = [("cbc", [16, 32]), ("xts", [32, 64])];
const CIPHERS: [&str; 3] = ["aes", "serpent", "twofish"];
/// The least and the largest sector of a volume.
const SECTORS: [DataUnit; 2] = [DataUnit::B512, DataUnit::B4096];

/// What can be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Test {
    /// PBKDF2's iterations in a second, with the hash of this name.
    Pbkdf2(String),
    /// The costs of a new keyslot that this request leads to.
    Argon2(KdfRequest),
    /// A cipher in both directions.
    Cipher(CipherRequest),
    /// A kernel beside AES on registers alone.
    Kernel {
        /// Which.
        kernel: Kernel,
        /// Length of the XTS key: 32 or 64.
        key_bytes: usize,
        /// Size of a sector.
        sector: DataUnit,
    },
    /// The memory, from so many threads at once.
    Memory {
        /// At least 1.
        threads: usize,
    },
}

/// What was measured. Rates are in bytes a second.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Of [`Test::Pbkdf2`] and [`Test::Argon2`].
    Kdf(KdfSpeed),
    /// Of [`Test::Cipher`].
    Cipher(CipherSpeed),
    /// Of [`Test::Kernel`].
    Kernel(KernelSpeed),
    /// Of [`Test::Memory`].
    Memory(MemorySpeed),
}

impl Test {
    /// The whole table: [`Test::kdfs`], [`Test::ciphers`], [`Test::kernels`] and [`Test::memory`].
    #[must_use]
    pub fn all(argon2: &KdfRequest, kernel: Option<Kernel>) -> Vec<Self> {
        let mut tests = Self::kdfs(argon2);
        tests.extend(Self::ciphers(kernel));
        tests.extend(Self::kernels(kernel, &[32, 64]));
        tests.extend(Self::memory());
        tests
    }

    /// PBKDF2 with cryptsetup's hashes, then Argon2i and Argon2id with the bounds of `argon2`.
    #[must_use]
    pub fn kdfs(argon2: &KdfRequest) -> Vec<Self> {
        let pbkdf2 = HASHES.map(|hash| Self::Pbkdf2(hash.to_owned()));
        let argon2 = [KdfKind::Argon2i, KdfKind::Argon2id].map(|kind| {
            Self::Argon2(KdfRequest {
                kind,
                ..argon2.clone()
            })
        });
        pbkdf2.into_iter().chain(argon2).collect()
    }

    /// cryptsetup's ciphers and key lengths, whether they are done here or not, with this kernel or
    /// the preferred one.
    #[must_use]
    pub fn ciphers(kernel: Option<Kernel>) -> Vec<Self> {
        let mut tests = Vec::new();
        for (mode, key_lens) in MODES {
            for key_bytes in key_lens {
                tests.extend(CIPHERS.map(|cipher| {
                    Self::Cipher(CipherRequest {
                        cipher: format!("{cipher}-{mode}"),
                        key_bytes,
                        kernel: kernel.unwrap_or_else(Kernel::preferred),
                    })
                }));
            }
        }
        tests
    }

    /// This kernel, or every one that this CPU can run, with XTS keys of each length and sectors of 512 and 4096
    /// bytes.
    #[must_use]
    pub fn kernels(kernel: Option<Kernel>, key_lens_bytes: &[usize]) -> Vec<Self> {
        let kernels = kernel.map_or_else(|| Kernel::available().collect(), |kernel| vec![kernel]);
        let mut tests = Vec::new();
        for kernel in kernels {
            for &key_bytes in key_lens_bytes {
                tests.extend(SECTORS.map(|sector| Self::Kernel {
                    kernel,
                    key_bytes,
                    sector,
                }));
            }
        }
        tests
    }

    /// One thread, and as many as there are processors.
    #[must_use]
    pub fn memory() -> Vec<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut tests = vec![Self::Memory { threads: 1 }];
        if processors > 1 {
            tests.push(Self::Memory {
                threads: processors,
            });
        }
        tests
    }

    /// That it can be measured here, without measuring it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a hash, cipher or key length that is not done here, and
    /// [`Error::Refused`] for a cipher's name that is none, for Argon2's costs out of range and for a
    /// kernel that this CPU cannot run.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Pbkdf2(hash) => Ok(hash.parse::<Hash>().map(|_| ())?),
            Self::Argon2(request) => Ok(request.check()?),
            Self::Cipher(request) => request.check(),
            Self::Kernel {
                kernel, key_bytes, ..
            } => kernel::check(*kernel, *key_bytes),
            Self::Memory { .. } => Ok(()),
        }
    }

    /// Measures it; takes half a second to a few seconds. A hash or cipher that is not done here has no
    /// figures in its outcome.
    ///
    /// # Errors
    /// As [`Test::check`] but for hashes and ciphers that are not done here, and
    /// [`Error::OutOfMemory`].
    pub fn run(&self) -> Result<Outcome, Error> {
        Ok(match self {
            Self::Pbkdf2(hash) => Outcome::Kdf(kdf::pbkdf2(hash)?),
            Self::Argon2(request) => Outcome::Kdf(kdf::argon2(request)?),
            Self::Cipher(request) => Outcome::Cipher(request.run()?),
            Self::Kernel {
                kernel,
                key_bytes,
                sector,
            } => Outcome::Kernel(kernel::run(*kernel, *key_bytes, *sector)?),
            Self::Memory { threads } => Outcome::Memory(memory::run(*threads)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_table_is_cryptsetups_and_then_ours() {
        let all = Test::all(&KdfRequest::default(), None);
        let names: Vec<_> = all
            .iter()
            .filter_map(|test| match test {
                Test::Pbkdf2(hash) => Some(hash.clone()),
                Test::Argon2(request) => Some(request.kind.to_string()),
                Test::Cipher(request) => {
                    Some(format!("{} {}", request.cipher, 8 * request.key_bytes))
                }
                _ => None,
            })
            .collect();
        assert_eq!(names.len(), 5 + 2 + 12);
        assert_eq!(names[..2], ["sha1", "sha256"]);
        assert_eq!(names[5..8], ["argon2i", "argon2id", "aes-cbc 128"]);
        assert_eq!(names[18], "twofish-xts 512");
        let kernels = Kernel::available().count();
        assert_eq!(
            all.len(),
            names.len() + 4 * kernels + Test::memory().len(),
            "a kernel has two key lengths and two sector sizes",
        );
        let portable = Test::kernels(Some(Kernel::Portable), &[64]);
        assert_eq!(portable.len(), 2);
        // What this CPU cannot run stays in, to be refused by name.
        for kernel in Kernel::ALL {
            for test in Test::kernels(Some(kernel), &[32]) {
                assert_eq!(test.check().is_ok(), kernel.is_available(), "{kernel}");
            }
        }
    }

    #[test]
    fn what_is_not_done_has_no_figures_and_does_not_pass_the_check() {
        let hash = Test::Pbkdf2("md99".into());
        let serpent = Test::Cipher(CipherRequest {
            cipher: "serpent-xts".into(),
            key_bytes: 64,
            kernel: Kernel::preferred(),
        });
        for test in [hash, serpent] {
            assert!(matches!(test.check(), Err(Error::Unsupported(_))));
            match test.run().unwrap() {
                Outcome::Kdf(KdfSpeed::Pbkdf2 {
                    iterations_per_second: None,
                    ..
                }) => {}
                Outcome::Cipher(CipherSpeed {
                    encryption: None,
                    decryption: None,
                    ..
                }) => {}
                outcome => panic!("{outcome:?}"),
            }
        }
    }

    #[test]
    fn every_kind_of_test_gives_its_own_figures() {
        let argon2 = KdfRequest {
            target: Duration::from_millis(1),
            max_memory_kib: 32,
            max_lanes: 1,
            ..KdfRequest::default()
        };
        let cipher = CipherRequest {
            cipher: "aes-xts".into(),
            key_bytes: 32,
            kernel: Kernel::Portable,
        };
        let positive = |rate: f64| assert!(rate.is_finite() && rate > 0.0, "{rate}");
        for test in [
            Test::Pbkdf2("sha256".into()),
            Test::Argon2(argon2),
            Test::Cipher(cipher),
            Test::Memory { threads: 2 },
        ] {
            test.check().unwrap();
            match test.run().unwrap() {
                Outcome::Kdf(KdfSpeed::Pbkdf2 {
                    iterations_per_second,
                    ..
                }) => positive(iterations_per_second.unwrap()),
                Outcome::Kdf(KdfSpeed::Argon2 {
                    memory_kib, lanes, ..
                }) => assert_eq!((memory_kib, lanes), (32, 1)),
                Outcome::Cipher(speed) => {
                    positive(speed.encryption.unwrap());
                    positive(speed.decryption.unwrap());
                }
                Outcome::Memory(speed) => {
                    assert_eq!(speed.threads, 2);
                    positive(speed.xor);
                    positive(speed.copy);
                }
                outcome => panic!("{outcome:?}"),
            }
        }
        for kernel in Kernel::available() {
            let test = Test::Kernel {
                kernel,
                key_bytes: 64,
                sector: DataUnit::B512,
            };
            let Outcome::Kernel(speed) = test.run().unwrap() else {
                panic!("not a kernel's outcome");
            };
            assert_eq!(speed.kernel, kernel);
            positive(speed.encryption.rate);
            positive(speed.decryption.rate);
            let has_limit = Kernel::available().count() > 1;
            assert_eq!(speed.limit.is_some(), has_limit);
            assert_eq!(speed.encryption.share.is_some(), has_limit);
        }
    }
}
