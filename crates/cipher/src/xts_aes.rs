//! [`XtsAes`].

use std::fmt;

use cipher::inout::InOutBuf;

use crate::{
    CipherError, Kernel,
    iv::{Iv, Numbers},
    sector_cipher::pair,
    spec::Algorithm,
    xts::{Run, VectorUnit, Xts},
};

/// XTS-AES as IEEE 1619 defines it, over data units of any whole number of blocks, numbered one by
/// one. Volumes use [`crate::SectorCipher`], whose sizes and numbers are dm-crypt's.
///
/// ```
/// use lucarne_cipher::{Kernel, XtsAes};
///
/// let key: Vec<u8> = (0..32).collect();
/// let xts = XtsAes::new(&key, Kernel::preferred())?;
/// let mut data = [7; 480]; // ten data units of three blocks
/// xts.encrypt(48, 1000, &mut data)?;
/// xts.decrypt(48, 1001, &mut data[48..])?; // all but the first
/// assert_eq!(data[48..], [7; 432]);
/// # Ok::<(), lucarne_cipher::CipherError>(())
/// ```
pub struct XtsAes(Xts);

impl XtsAes {
    /// The largest data unit in bytes.
    pub const MAX_UNIT_BYTES: usize = 64 << 10;

    /// Under a key of 32 bytes (AES-128) or 64 (AES-256): the data key, then the tweak key.
    ///
    /// # Errors
    /// [`CipherError::KeySize`], [`CipherError::EqualKeyHalves`] and
    /// [`CipherError::KernelUnavailable`].
    pub fn new(key: &[u8], kernel: Kernel) -> Result<Self, CipherError> {
        let xts = Xts::new(VectorUnit::require(kernel)?, key).ok_or(CipherError::KeySize {
            spec: "aes-xts".to_owned(),
            bytes: key.len(),
            takes: Algorithm::Xts.key_lens(),
        })?;
        refuse_equal_halves(key)?;
        Ok(Self(xts))
    }

    /// Encrypts whole data units of `unit_bytes` in place: a multiple of 16, at most
    /// [`XtsAes::MAX_UNIT_BYTES`]. The first has the number `first_unit`.
    ///
    /// # Errors
    /// [`CipherError::UnitSize`], [`CipherError::PartialDataUnit`] and [`CipherError::IvOverflow`],
    /// before anything is changed.
    pub fn encrypt(
        &self,
        unit_bytes: usize,
        first_unit: u64,
        data: &mut [u8],
    ) -> Result<(), CipherError> {
        self.0.encrypt(run(unit_bytes, first_unit, data.into())?);
        Ok(())
    }

    /// Decrypts whole data units in place.
    ///
    /// # Errors
    /// As [`XtsAes::encrypt`].
    pub fn decrypt(
        &self,
        unit_bytes: usize,
        first_unit: u64,
        data: &mut [u8],
    ) -> Result<(), CipherError> {
        self.0.decrypt(run(unit_bytes, first_unit, data.into())?);
        Ok(())
    }

    /// Encrypts the data units of `source` into `destination`, which is as long.
    ///
    /// # Errors
    /// As [`XtsAes::encrypt`], and [`CipherError::LengthMismatch`].
    pub fn encrypt_from(
        &self,
        unit_bytes: usize,
        first_unit: u64,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), CipherError> {
        let data = pair(source, destination)?;
        self.0.encrypt(run(unit_bytes, first_unit, data)?);
        Ok(())
    }

    /// Decrypts the data units of `source` into `destination`, which is as long.
    ///
    /// # Errors
    /// As [`XtsAes::encrypt_from`].
    pub fn decrypt_from(
        &self,
        unit_bytes: usize,
        first_unit: u64,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), CipherError> {
        let data = pair(source, destination)?;
        self.0.decrypt(run(unit_bytes, first_unit, data)?);
        Ok(())
    }
}

/// Both halves of an XTS key must differ (IEEE 1619-2018, FIPS 140-3 IG C.I); compared in constant time.
pub(crate) fn refuse_equal_halves(key: &[u8]) -> Result<(), CipherError> {
    let (data_key, tweak_key) = key.split_at(key.len() / 2);
    let difference = data_key
        .iter()
        .zip(tweak_key)
        .fold(0, |bits, (a, b)| bits | (a ^ b));
    match difference {
        0 => Err(CipherError::EqualKeyHalves),
        _ => Ok(()),
    }
}

fn run<'i, 'o>(
    unit_bytes: usize,
    first_unit: u64,
    data: InOutBuf<'i, 'o, u8>,
) -> Result<Run<'i, 'o>, CipherError> {
    if unit_bytes == 0 || !unit_bytes.is_multiple_of(16) || unit_bytes > XtsAes::MAX_UNIT_BYTES {
        return Err(CipherError::UnitSize { bytes: unit_bytes });
    }
    let len_bytes = data.len();
    if !len_bytes.is_multiple_of(unit_bytes) {
        return Err(CipherError::PartialDataUnit {
            len_bytes,
            // At most 64 KiB.
            data_unit_bytes: unit_bytes as u32,
        });
    }
    let last = (len_bytes / unit_bytes).saturating_sub(1) as u64;
    if first_unit.checked_add(last).is_none() {
        return Err(CipherError::IvOverflow {
            first_iv: first_unit,
            len_bytes,
        });
    }
    Ok(Run {
        unit_bytes,
        numbers: Numbers::new(Iv::Plain64, first_unit, 1),
        data,
    })
}

impl fmt::Debug for XtsAes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XtsAes").finish_non_exhaustive()
    }
}
