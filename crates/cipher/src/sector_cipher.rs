//! [`SectorCipher`].

use std::{fmt, sync::Arc};

use cipher::inout::InOutBuf;

use crate::{
    CipherError, CipherSpec, DataUnit, Kernel,
    cbc::Cbc,
    iv::{Iv, Numbers},
    run::Run,
    spec::Algorithm,
    xts::{VectorUnit, Xts},
    xts_aes::refuse_equal_halves,
};

/// A sector cipher under a key, for one size of data unit.
///
/// Cloning shares the key; the last clone wipes it. `Debug` does not show it.
///
/// `first_iv` everywhere is the number of the first data unit **in 512-byte units**: byte offset in
/// the segment / 512 + the segment's `iv_tweak`. Any number will do; data units after the first
/// count on from it.
#[derive(Clone)]
pub struct SectorCipher {
    mode: Mode,
    iv: Iv,
    data_unit: DataUnit,
}

/// A cipher with its chaining mode, under a key: where a further one fits.
#[derive(Clone)]
enum Mode {
    Xts(Arc<Xts>),
    Cbc(Arc<Cbc>),
}

impl Mode {
    #[inline]
    fn encrypt(&self, run: Run<'_, '_>) {
        match self {
            Self::Xts(xts) => xts.encrypt(run),
            Self::Cbc(cbc) => cbc.encrypt(run),
        }
    }

    #[inline]
    fn decrypt(&self, run: Run<'_, '_>) {
        match self {
            Self::Xts(xts) => xts.decrypt(run),
            Self::Cbc(cbc) => cbc.decrypt(run),
        }
    }

    fn past_caches_alignment(&self) -> Option<usize> {
        match self {
            Self::Xts(xts) => xts.past_caches_alignment(),
            Self::Cbc(_) => None,
        }
    }

    #[inline]
    fn decrypt_past_caches(&self, run: Run<'_, '_>) {
        match self {
            Self::Xts(xts) => xts.decrypt_past_caches(run),
            Self::Cbc(cbc) => cbc.decrypt(run),
        }
    }
}

impl SectorCipher {
    /// The cipher `spec` under `key`, for a volume or area that is being made.
    ///
    /// `aes-xts-plain64` and `aes-xts-plain` take a key of 32 bytes (AES-128) or 64 (AES-256);
    /// `aes-cbc-essiv:sha256`, `aes-cbc-plain64` and `aes-cbc-plain` one of 16, 24 or 32.
    ///
    /// # Errors
    /// [`CipherError::Unsupported`], [`CipherError::KeySize`], and [`CipherError::EqualKeyHalves`]
    /// for a key that must not be given to new data.
    pub fn new(spec: &CipherSpec, key: &[u8], data_unit: DataUnit) -> Result<Self, CipherError> {
        Self::new_with_kernel(spec, key, data_unit, Kernel::preferred())
    }

    /// As [`SectorCipher::new`], with a kernel of the caller's choice: for XTS, the others have but one.
    ///
    /// # Errors
    /// Those, and [`CipherError::KernelUnavailable`].
    pub fn new_with_kernel(
        spec: &CipherSpec,
        key: &[u8],
        data_unit: DataUnit,
        kernel: Kernel,
    ) -> Result<Self, CipherError> {
        let cipher = Self::with_kernel(spec, key, data_unit, kernel)?;
        if let Mode::Xts(_) = cipher.mode {
            refuse_equal_halves(key)?;
        }
        Ok(cipher)
    }

    /// The cipher `spec` under `key`, for data that exists: a weak key does not stop its owner from
    /// reading it.
    ///
    /// # Errors
    /// [`CipherError::Unsupported`] and [`CipherError::KeySize`].
    pub fn new_for_existing(
        spec: &CipherSpec,
        key: &[u8],
        data_unit: DataUnit,
    ) -> Result<Self, CipherError> {
        Self::with_kernel(spec, key, data_unit, Kernel::preferred())
    }

    fn with_kernel(
        spec: &CipherSpec,
        key: &[u8],
        data_unit: DataUnit,
        kernel: Kernel,
    ) -> Result<Self, CipherError> {
        let (algorithm, iv) = spec.supported()?;
        let unit = VectorUnit::require(kernel)?;
        let mode = match algorithm {
            Algorithm::Xts => Xts::new(unit, key).map(|xts| Mode::Xts(xts.into())),
            Algorithm::Cbc => Cbc::new(key).map(|cbc| Mode::Cbc(cbc.into())),
            Algorithm::CbcEssivSha256 => {
                Cbc::with_essiv_sha256(key).map(|cbc| Mode::Cbc(cbc.into()))
            }
        }
        .ok_or_else(|| CipherError::KeySize {
            spec: spec.to_string(),
            bytes: key.len(),
            takes: algorithm.key_lens(),
        })?;
        Ok(Self {
            mode,
            iv,
            data_unit,
        })
    }

    /// The size of a data unit.
    #[must_use]
    pub fn data_unit(&self) -> DataUnit {
        self.data_unit
    }

    /// Encrypts whole data units in place.
    ///
    /// # Errors
    /// [`CipherError::PartialDataUnit`] and [`CipherError::IvOverflow`], before anything is changed.
    pub fn encrypt(&self, first_iv: u64, data: &mut [u8]) -> Result<(), CipherError> {
        self.check(first_iv, data.len())?;
        self.mode.encrypt(self.run(first_iv, data.into()));
        Ok(())
    }

    /// Decrypts whole data units in place.
    ///
    /// # Errors
    /// As [`SectorCipher::encrypt`].
    pub fn decrypt(&self, first_iv: u64, data: &mut [u8]) -> Result<(), CipherError> {
        self.check(first_iv, data.len())?;
        self.mode.decrypt(self.run(first_iv, data.into()));
        Ok(())
    }

    /// Encrypts the data units of `source` into `destination`, which is as long.
    ///
    /// # Errors
    /// As [`SectorCipher::encrypt`], and [`CipherError::LengthMismatch`].
    pub fn encrypt_from(
        &self,
        first_iv: u64,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), CipherError> {
        self.check(first_iv, source.len())?;
        let data = pair(source, destination)?;
        self.mode.encrypt(self.run(first_iv, data));
        Ok(())
    }

    /// Decrypts the data units of `source` into `destination`, which is as long.
    ///
    /// # Errors
    /// As [`SectorCipher::encrypt_from`].
    pub fn decrypt_from(
        &self,
        first_iv: u64,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), CipherError> {
        self.check(first_iv, source.len())?;
        let data = pair(source, destination)?;
        self.mode.decrypt(self.run(first_iv, data));
        Ok(())
    }

    /// At multiples of how many bytes the destination of [`SectorCipher::decrypt_past_caches`] must lie: a power of
    /// two; `None` where nothing goes past the caches: with AES-CBC, on aarch64, by the portable kernel.
    pub fn past_caches_alignment(&self) -> Option<usize> {
        self.mode.past_caches_alignment()
    }

    /// As [`SectorCipher::decrypt_from`], for plaintext that is more than the caches hold: it goes past them, which saves
    /// reading what it replaces. Where `destination` does not lie as [`SectorCipher::past_caches_alignment`] says, it is the
    /// same as that.
    ///
    /// ```
    /// use lucarne_cipher::{DataUnit, SectorCipher};
    /// let key: Vec<u8> = (0..64).collect();
    /// let cipher = SectorCipher::new(&"aes-xts-plain64".parse()?, &key, DataUnit::B4096)?;
    /// let mut sectors = vec![7; 8192];
    /// cipher.encrypt(0, &mut sectors)?;
    /// let mut plaintext = vec![0; 8192];
    /// cipher.decrypt_past_caches(0, &sectors, &mut plaintext)?;
    /// assert_eq!(plaintext, [7; 8192]);
    /// # Ok::<(), lucarne_cipher::CipherError>(())
    /// ```
    ///
    /// # Errors
    /// As [`SectorCipher::encrypt_from`].
    pub fn decrypt_past_caches(
        &self,
        first_iv: u64,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<(), CipherError> {
        self.check(first_iv, source.len())?;
        let data = pair(source, destination)?;
        self.mode.decrypt_past_caches(self.run(first_iv, data));
        Ok(())
    }

    fn run<'i, 'o>(&self, first_iv: u64, data: InOutBuf<'i, 'o, u8>) -> Run<'i, 'o> {
        Run {
            unit_bytes: self.data_unit.bytes() as usize,
            numbers: Numbers::new(self.iv, first_iv, self.data_unit.iv_step().into()),
            data,
        }
    }

    /// Whole data units, and the last one's IV fits in 64 bits.
    fn check(&self, first_iv: u64, len_bytes: usize) -> Result<(), CipherError> {
        let data_unit_bytes = self.data_unit.bytes();
        if !(len_bytes as u64).is_multiple_of(u64::from(data_unit_bytes)) {
            return Err(CipherError::PartialDataUnit {
                len_bytes,
                data_unit_bytes,
            });
        }
        let last = (len_bytes as u64 / 512).saturating_sub(u64::from(self.data_unit.iv_step()));
        if first_iv.checked_add(last).is_none() {
            return Err(CipherError::IvOverflow {
                first_iv,
                len_bytes,
            });
        }
        Ok(())
    }
}

/// Source and destination, which must be of one length.
pub(crate) fn pair<'a>(
    source: &'a [u8],
    destination: &'a mut [u8],
) -> Result<InOutBuf<'a, 'a, u8>, CipherError> {
    let mismatch = CipherError::LengthMismatch {
        source_bytes: source.len(),
        destination_bytes: destination.len(),
    };
    InOutBuf::new(source, destination).map_err(|_| mismatch)
}

impl fmt::Debug for SectorCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectorCipher")
            .field("iv", &self.iv)
            .field("data_unit", &self.data_unit)
            .finish_non_exhaustive()
    }
}
