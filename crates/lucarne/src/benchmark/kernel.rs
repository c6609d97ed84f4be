//! A kernel beside this CPU's AES units.

use std::time::Duration;

use lucarne_cipher::{CipherSpec, DataUnit, Kernel, SectorCipher};

use super::{
    cipher::key,
    rounds::{median, take_turns},
};
use crate::Error;

const BUDGET: Duration = Duration::from_millis(300);
/// Lies in the second-level cache: the memory does not count here.
const BUFFER_BYTES: usize = 256 << 10;

/// How fast a kernel is on one thread, with the data in the cache.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KernelSpeed {
    /// Which.
    pub kernel: Kernel,
    /// Length of the XTS key.
    pub key_bytes: usize,
    /// Size of a sector.
    pub sector: DataUnit,
    /// Into ciphertext.
    pub encryption: Direction,
    /// Out of it.
    pub decryption: Direction,
    /// What AES alone does on registers as wide as this kernel's, in bytes a second; for the portable
    /// kernel on the widest. `None` on a CPU without AES instructions that are known here.
    pub limit: Option<f64>,
}

/// A kernel's speed in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Direction {
    /// Bytes a second, the median of all turns.
    pub rate: f64,
    /// The median of what each turn reached of the limit's own turn, 1 being all; `None` without a
    /// limit.
    pub share: Option<f64>,
}

pub(super) fn check(kernel: Kernel, key_bytes: usize) -> Result<(), Error> {
    sector_cipher(kernel, key_bytes, DataUnit::B4096).map(|_| ())
}

fn sector_cipher(
    kernel: Kernel,
    key_bytes: usize,
    sector: DataUnit,
) -> Result<SectorCipher, Error> {
    let spec: CipherSpec = "aes-xts-plain64".parse()?;
    let cipher = SectorCipher::new_with_kernel(&spec, &key(key_bytes), sector, kernel)?;
    Ok(cipher)
}

/// Whose registers the kernel is held against.
fn limit_of(kernel: Kernel) -> Option<Kernel> {
    match kernel {
        // It runs on whatever the `aes` crate finds here.
        Kernel::Portable => Some(Kernel::fastest()).filter(|fastest| *fastest != Kernel::Portable),
        kernel => Some(kernel),
    }
}

pub(super) fn run(
    kernel: Kernel,
    key_bytes: usize,
    sector: DataUnit,
) -> Result<KernelSpeed, Error> {
    let cipher = sector_cipher(kernel, key_bytes, sector)?;
    let limit = limit_of(kernel);
    let mut plaintext = vec![0; BUFFER_BYTES];
    let mut ciphertext = plaintext.clone();
    // Whole sectors from the first on are never refused; in the loop it would be measured.
    cipher.encrypt(0, &mut ciphertext)?;
    let mut encrypt = || {
        cipher
            .encrypt(0, &mut plaintext)
            .map_or(0, |()| BUFFER_BYTES)
    };
    let mut decrypt = || {
        cipher
            .decrypt(0, &mut ciphertext)
            .map_or(0, |()| BUFFER_BYTES)
    };
    // Half of an XTS key is AES's own.
    let mut spin = || {
        limit
            .and_then(|limit| limit.spin(key_bytes / 2, BUFFER_BYTES))
            .unwrap_or(BUFFER_BYTES)
    };
    let rounds = take_turns(BUDGET, [&mut encrypt, &mut spin, &mut decrypt]);
    let has_limit = limit.is_some();
    let direction = |work: usize| Direction {
        rate: median(rounds.iter().map(|round| round[work])),
        share: has_limit.then(|| median(rounds.iter().map(|round| round[work] / round[1]))),
    };
    Ok(KernelSpeed {
        kernel,
        key_bytes,
        sector,
        encryption: direction(0),
        decryption: direction(2),
        limit: has_limit.then(|| median(rounds.iter().map(|round| round[1]))),
    })
}
