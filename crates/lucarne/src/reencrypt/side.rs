//! How the data are before a re-encryption, or after it.

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::Segment;
use lucarne_secret::{SecretBytes, with_clean_stack};

use crate::Error;
use crate::sector_map::SectorMap;

/// One of both ways in which the data are written. In either the IV of a sector is its place in the plaintext.
pub(super) enum Side {
    Linear,
    /// Only its cipher is used: where the data lie, others know.
    Crypt(Box<SectorMap>),
}

impl Side {
    /// # Errors
    /// [`Error::Refused`] where there is a key and nothing is encrypted, or the other way round;
    /// [`Error::Unsupported`] from the cipher.
    pub(super) fn new(segment: &Segment, key: Option<&SecretBytes>) -> Result<Self, Error> {
        let (segment, key) = match (segment, key) {
            (Segment::Linear { .. }, None) => return Ok(Self::Linear),
            (Segment::Crypt(segment), Some(key)) => (segment, key),
            _ => {
                return Err(Error::refused(
                    "the re-encryption's digests belong to other segments",
                ));
            }
        };
        let cipher: CipherSpec = segment.encryption.parse()?;
        let sector_size = DataUnit::try_from(segment.sector_size)?;
        let cipher =
            with_clean_stack(|| SectorCipher::new_for_existing(&cipher, key, sector_size))?;
        let sector_len = sector_size.bytes() as usize;
        // Its place is never used.
        Ok(Self::Crypt(Box::new(SectorMap::new(
            cipher, sector_len, 0, 0,
        ))))
    }

    pub(super) fn sector_len(&self) -> usize {
        match self {
            Self::Linear => 1,
            Self::Crypt(map) => map.sector_len(),
        }
    }

    /// Whole sectors in place; `offset` is that of the plaintext. Holes are zeros where they are to be.
    pub(super) fn decrypt(&self, sectors: &mut [u8], offset: u64) -> Result<(), Error> {
        match self {
            Self::Linear => Ok(()),
            Self::Crypt(map) => map.decrypt(sectors, offset),
        }
    }

    /// As [`Self::decrypt`], and a hole is ciphertext like any other.
    pub(super) fn decrypt_all(&self, sectors: &mut [u8], offset: u64) -> Result<(), Error> {
        match self {
            Self::Linear => Ok(()),
            Self::Crypt(map) => map.decrypt_all(sectors, offset),
        }
    }

    pub(super) fn encrypt(&self, sectors: &mut [u8], offset: u64) -> Result<(), Error> {
        match self {
            Self::Linear => Ok(()),
            Self::Crypt(map) => map.encrypt(sectors, offset),
        }
    }

    pub(super) fn with_zeros_as_holes(self) -> Self {
        match self {
            Self::Linear => Self::Linear,
            Self::Crypt(map) => Self::Crypt(Box::new(map.with_zeros_as_holes(true))),
        }
    }
}
