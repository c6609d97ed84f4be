//! Changing keys whichever version the header has.

use std::time::Duration;

use lucarne_storage::Storage;

use super::{HeaderEditor, KeyslotOptions, Luks1Editor};
use crate::{
    AnyHeader, Error, HeaderRef, LuksVersion, Secret, UnlockOptions, Unlocked, read_any_header,
};

/// The editor of a header of either version, for what both can do: each method is that of the one or the
/// other.
///
/// ```
/// use lucarne::{AnyEditor, FormatOptions, LuksVersion, MemoryStorage, Secret};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
///
/// let image = MemoryStorage::with_len(4 << 20);
/// let options = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
/// lucarne::format(&image, None, b"an example", &options)?;
/// let mut editor = AnyEditor::open(&image)?;
/// assert!(editor.header().is_last_keyslot(0));
/// editor.remove_keyslot(0)?;
/// assert!(editor.luks2().is_err());
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a volume")]
pub enum AnyEditor<'s> {
    /// Of a LUKS1 header.
    Luks1(Luks1Editor<'s>),
    /// Of a LUKS2 header.
    Luks2(HeaderEditor<'s>),
}

impl<'s> AnyEditor<'s> {
    /// Reads the header that lies on `storage`. Nothing is locked or written.
    ///
    /// # Errors
    /// As [`read_any_header`].
    pub fn open(storage: &'s dyn Storage) -> Result<Self, Error> {
        Ok(Self::of_judged(storage, read_any_header(storage)?))
    }

    /// As [`Self::open`], with what was read and judged before.
    #[must_use]
    pub fn of_judged(storage: &'s dyn Storage, header: AnyHeader) -> Self {
        match header {
            AnyHeader::Luks1(header) => Self::Luks1(Luks1Editor::of_judged(storage, header)),
            AnyHeader::Luks2(selected) => Self::Luks2(HeaderEditor::of_judged(storage, selected)),
        }
    }

    /// [`HeaderEditor::with_patience`]
    #[must_use]
    pub fn with_patience(self, patience: Option<Duration>) -> Self {
        match self {
            Self::Luks1(editor) => Self::Luks1(editor.with_patience(patience)),
            Self::Luks2(editor) => Self::Luks2(editor.with_patience(patience)),
        }
    }

    /// The header as it stands.
    #[must_use]
    pub fn header(&self) -> HeaderRef<'_> {
        match self {
            Self::Luks1(editor) => editor.header().into(),
            Self::Luks2(editor) => editor.header().into(),
        }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> LuksVersion {
        self.header().version()
    }

    /// The editor for what LUKS2 alone has.
    ///
    /// # Errors
    /// [`Error::Luks1`].
    pub fn luks2(&mut self) -> Result<&mut HeaderEditor<'s>, Error> {
        match self {
            Self::Luks1(_) => Err(Error::Luks1),
            Self::Luks2(editor) => Ok(editor),
        }
    }

    /// [`HeaderEditor::unlock`]
    ///
    /// # Errors
    /// As [`crate::unlock()`].
    pub fn unlock(&self, secret: Secret<'_>, options: &UnlockOptions) -> Result<Unlocked, Error> {
        match self {
            Self::Luks1(editor) => editor.unlock(secret, options),
            Self::Luks2(editor) => editor.unlock(secret, options),
        }
    }

    /// [`HeaderEditor::add_keyslot`], [`Luks1Editor::add_keyslot`]
    ///
    /// # Errors
    /// As there.
    pub fn add_keyslot(
        &mut self,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        match self {
            Self::Luks1(editor) => editor.add_keyslot(key, passphrase, options),
            Self::Luks2(editor) => editor.add_keyslot(key, passphrase, options),
        }
    }

    /// [`HeaderEditor::change_keyslot`], [`Luks1Editor::change_keyslot`]
    ///
    /// # Errors
    /// As there.
    pub fn change_keyslot(
        &mut self,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        match self {
            Self::Luks1(editor) => editor.change_keyslot(key, passphrase, options),
            Self::Luks2(editor) => editor.change_keyslot(key, passphrase, options),
        }
    }

    /// [`HeaderEditor::remove_keyslot`], [`Luks1Editor::remove_keyslot`]
    ///
    /// # Errors
    /// As there.
    pub fn remove_keyslot(&mut self, id: u32) -> Result<(), Error> {
        match self {
            Self::Luks1(editor) => editor.remove_keyslot(id),
            Self::Luks2(editor) => editor.remove_keyslot(id),
        }
    }

    /// [`HeaderEditor::erase_keyslots`], [`Luks1Editor::erase_keyslots`]
    ///
    /// # Errors
    /// As there.
    pub fn erase_keyslots(&mut self) -> Result<Vec<u32>, Error> {
        match self {
            Self::Luks1(editor) => editor.erase_keyslots(),
            Self::Luks2(editor) => editor.erase_keyslots(),
        }
    }

    /// [`HeaderEditor::set_uuid`], [`Luks1Editor::set_uuid`]
    ///
    /// # Errors
    /// As there.
    pub fn set_uuid(&mut self, uuid: uuid::Uuid) -> Result<(), Error> {
        match self {
            Self::Luks1(editor) => editor.set_uuid(uuid),
            Self::Luks2(editor) => editor.set_uuid(uuid),
        }
    }
}
