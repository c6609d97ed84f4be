//! Keeping a header and putting it back, whichever version it has.

use std::time::Duration;

use lucarne_storage::Storage;

use super::{HeaderBackup, Luks1HeaderBackup, Luks1Restore, Restore, RestoreWarnings};
use crate::{Error, HeaderRef, read_header};

/// A backup of a header of either version: each method is that of the one or the other.
///
/// ```
/// use lucarne::{AnyHeaderBackup, FormatOptions, LuksVersion, MemoryStorage};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// let options = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
/// lucarne::format(&image, None, b"an example", &options)?;
/// let backup = AnyHeaderBackup::take(&image, None)?;
/// assert_eq!(backup.header().version(), LuksVersion::Luks1);
/// backup.compare(&image)?.run(None)?;
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a volume")]
pub enum AnyHeaderBackup {
    /// Of a LUKS1 header.
    Luks1(Luks1HeaderBackup),
    /// Of a LUKS2 header.
    Luks2(HeaderBackup),
}

/// [`Restore`] or [`Luks1Restore`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a volume")]
pub enum AnyRestore<'a> {
    /// Of a LUKS1 backup.
    Luks1(Luks1Restore<'a>),
    /// Of a LUKS2 backup.
    Luks2(Restore<'a>),
}

impl AnyHeaderBackup {
    /// [`HeaderBackup::take`], [`Luks1HeaderBackup::take`]
    ///
    /// # Errors
    /// As there.
    pub fn take(storage: &dyn Storage, patience: Option<Duration>) -> Result<Self, Error> {
        match read_header(storage) {
            Err(Error::Luks1) => Luks1HeaderBackup::take(storage, patience).map(Self::Luks1),
            Err(error) => Err(error),
            Ok(_) => HeaderBackup::take(storage, patience).map(Self::Luks2),
        }
    }

    /// [`HeaderBackup::read`], [`Luks1HeaderBackup::read`]
    ///
    /// # Errors
    /// As there.
    pub fn read(file: &dyn Storage) -> Result<Self, Error> {
        match HeaderBackup::read(file) {
            Err(Error::Luks1) => Luks1HeaderBackup::read(file).map(Self::Luks1),
            backup => backup.map(Self::Luks2),
        }
    }

    /// The header in it.
    #[must_use]
    pub fn header(&self) -> HeaderRef<'_> {
        match self {
            Self::Luks1(backup) => backup.header().into(),
            Self::Luks2(backup) => backup.header().into(),
        }
    }

    /// What belongs at the start of a device.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Luks1(backup) => backup.as_bytes(),
            Self::Luks2(backup) => backup.as_bytes(),
        }
    }

    /// [`HeaderBackup::compare`], [`Luks1HeaderBackup::compare`]
    ///
    /// # Errors
    /// As there.
    pub fn compare<'a>(&'a self, storage: &'a dyn Storage) -> Result<AnyRestore<'a>, Error> {
        match self {
            Self::Luks1(backup) => backup.compare(storage).map(AnyRestore::Luks1),
            Self::Luks2(backup) => backup.compare(storage).map(AnyRestore::Luks2),
        }
    }
}

impl AnyRestore<'_> {
    /// What to tell a person before [`Self::run`].
    #[must_use]
    pub fn warnings(&self) -> RestoreWarnings {
        match self {
            Self::Luks1(restore) => restore.warnings(),
            Self::Luks2(restore) => restore.warnings(),
        }
    }

    /// [`Restore::is_atomic`], [`Luks1Restore::is_atomic`]
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        match self {
            Self::Luks1(restore) => restore.is_atomic(),
            Self::Luks2(restore) => restore.is_atomic(),
        }
    }

    /// [`Restore::run`], [`Luks1Restore::run`]
    ///
    /// # Errors
    /// As there.
    pub fn run(self, patience: Option<Duration>) -> Result<(), Error> {
        match self {
            Self::Luks1(restore) => restore.run(patience),
            Self::Luks2(restore) => restore.run(patience),
        }
    }
}
