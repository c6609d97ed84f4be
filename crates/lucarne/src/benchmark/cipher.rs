//! A cipher by cryptsetup's name for it.

use std::time::Duration;

use lucarne_cipher::{CipherError, CipherSpec, DataUnit, Kernel, SectorCipher};

use super::rounds::{median, take_turns};
use crate::Error;

const BUDGET: Duration = Duration::from_millis(500);
/// As much as cryptsetup hands over at once.
const BUFFER_BYTES: usize = 1 << 20;
/// The sectors of [`super::Test::Cipher`]: those that a new volume has where its size allows.
pub const SECTOR: DataUnit = DataUnit::B4096;

/// A cipher to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CipherRequest {
    /// `aes-xts`, or with an IV (`aes-xts-plain64`), which does not change the figures.
    pub cipher: String,
    /// Length of the key; an XTS key is two.
    pub key_bytes: usize,
    /// The implementation.
    pub kernel: Kernel,
}

/// How fast a cipher is on one thread, with sectors of 4096 bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CipherSpeed {
    /// What was asked for.
    pub request: CipherRequest,
    /// Cipher and mode without the IV: `aes-xts`.
    pub name: String,
    /// Bytes a second; `None` for a cipher or key length that is not done here.
    pub encryption: Option<f64>,
    /// As [`CipherSpeed::encryption`].
    pub decryption: Option<f64>,
}

impl CipherRequest {
    /// With an IV, which a benchmark's user leaves out: a cipher without it is nobody's.
    fn spec(&self) -> Result<CipherSpec, Error> {
        let spec: CipherSpec = self.cipher.parse()?;
        if spec.chain_mode().is_some() && spec.iv_mode().is_none() {
            return Ok(format!("{spec}-plain64").parse()?);
        }
        Ok(spec)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let spec = self.spec()?;
        if spec.check_supported().is_err() {
            return Err(Error::unsupported(format!(
                "cipher {} (aes-xts and aes-cbc are)",
                self.cipher
            )));
        }
        if let Err(CipherError::KeySize { takes, .. }) = spec.check_key_len(self.key_bytes) {
            let bits: Vec<_> = takes.iter().map(|bytes| (8 * bytes).to_string()).collect();
            return Err(Error::unsupported(format!(
                "cipher {} with a key of {} bits ({} are)",
                self.cipher,
                8 * self.key_bytes,
                bits.join(", ")
            )));
        }
        self.sector_cipher(&spec).map(|_| ())
    }

    fn sector_cipher(&self, spec: &CipherSpec) -> Result<SectorCipher, Error> {
        let key = key(self.key_bytes);
        let cipher = SectorCipher::new_with_kernel(spec, &key, SECTOR, self.kernel)?;
        Ok(cipher)
    }

    pub(super) fn run(&self) -> Result<CipherSpeed, Error> {
        let spec = self.spec()?;
        let name = match spec.chain_mode() {
            Some(mode) => format!("{}-{mode}", spec.cipher()),
            None => spec.cipher().to_owned(),
        };
        let mut speed = CipherSpeed {
            request: self.clone(),
            name,
            encryption: None,
            decryption: None,
        };
        if spec.check_key_len(self.key_bytes).is_ok() {
            let [encryption, decryption] = rates(&self.sector_cipher(&spec)?)?;
            speed.encryption = Some(encryption);
            speed.decryption = Some(decryption);
        }
        Ok(speed)
    }
}

fn rates(cipher: &SectorCipher) -> Result<[f64; 2], Error> {
    let mut plaintext = vec![0; BUFFER_BYTES];
    let mut ciphertext = plaintext.clone();
    // Whole sectors from the first on are never refused; in the loop it would be measured.
    cipher.encrypt(0, &mut ciphertext)?;
    let rounds = take_turns(
        BUDGET,
        [
            &mut || {
                cipher
                    .encrypt(0, &mut plaintext)
                    .map_or(0, |()| BUFFER_BYTES)
            },
            &mut || {
                cipher
                    .decrypt(0, &mut ciphertext)
                    .map_or(0, |()| BUFFER_BYTES)
            },
        ],
    );
    Ok([0, 1].map(|work| median(rounds.iter().map(|round| round[work]))))
}

/// A key whose halves differ; nobody's.
pub(super) fn key(bytes: usize) -> Vec<u8> {
    // The cast wraps, which does no harm.
    (0..bytes).map(|at| at as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cipher: &str, key_bytes: usize) -> CipherRequest {
        CipherRequest {
            cipher: cipher.into(),
            key_bytes,
            kernel: Kernel::Portable,
        }
    }

    #[test]
    fn the_iv_may_be_left_out() {
        for cipher in ["aes-xts", "aes-xts-plain64", "aes-xts-plain"] {
            assert!(request(cipher, 64).check().is_ok(), "{cipher}");
        }
    }

    #[test]
    fn refusals_are_in_bits_and_say_what_there_is() {
        let message =
            |cipher, key_bytes| request(cipher, key_bytes).check().unwrap_err().to_string();
        assert_eq!(
            message("aes-xts", 48),
            "not supported: cipher aes-xts with a key of 384 bits (256, 512 are)"
        );
        assert_eq!(
            message("serpent-xts", 64),
            "not supported: cipher serpent-xts (aes-xts and aes-cbc are)"
        );
        assert_eq!(
            message("aes-cbc", 64),
            "not supported: cipher aes-cbc with a key of 512 bits (128, 192, 256 are)"
        );
        assert_eq!(
            message("aes", 32),
            "not supported: cipher aes (aes-xts and aes-cbc are)"
        );
        assert!(message("", 32).contains("is empty"));
    }
}
