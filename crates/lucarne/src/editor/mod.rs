//! Changing a volume's header: keys, tokens, names.

mod any;
mod any_backup;
mod backup;
pub(crate) mod commit;
mod config;
mod evidence;
mod foreign;
mod keyslot;
pub(crate) mod luks1;
mod luks1_backup;
mod luks1_repair;
mod relocate;
mod restore;
mod token;

use std::ops::Range;
use std::time::Duration;

use lucarne_format::luks2::{Draft, Header, Repair, Selected};
use lucarne_storage::Storage;

use crate::header_io::read_header_for_repair;
use crate::{Error, read_header};
use commit::Change;

pub use any::AnyEditor;
pub use any_backup::{AnyHeaderBackup, AnyRestore};
pub use backup::HeaderBackup;
pub use evidence::{EraseEvidence, ErasedArea};
pub use foreign::foreign_signature;
pub use keyslot::KeyslotOptions;
pub use luks1::Luks1Editor;
pub use luks1_backup::{Luks1HeaderBackup, Luks1Restore};
pub use luks1_repair::Luks1Repair;
pub use restore::{Restore, RestoreWarnings};

/// A header that can be changed.
///
/// Every method that changes something writes both copies before it returns, in an order such that a
/// power cut at any moment leaves the old header or the new one, and each key that was not being removed
/// usable. Other processes, cryptsetup among them, are locked out for the write alone; if one of them
/// has changed the header since it was read, nothing is written and the error is [`Error::Busy`].
/// A damaged copy is written anew with the first change.
///
/// ```
/// use lucarne::{FormatOptions, HeaderEditor, KdfKind, KdfRequest, KeyslotOptions, MemoryStorage, Secret};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// # let format = FormatOptions { kdf: kdf.clone(), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(17 << 20);
/// lucarne::format(&image, None, b"first example", &format)?;
///
/// let mut editor = HeaderEditor::open(&image)?;
/// let key = editor.unlock(Secret::Passphrase(b"first example"), &Default::default())?;
/// let options = KeyslotOptions { kdf, ..KeyslotOptions::default() };
/// let keyslot = editor.add_keyslot(&key, b"second example", &options)?;
/// assert_eq!(keyslot, 1);
/// editor.remove_keyslot(0)?;
/// assert_eq!(editor.header().metadata().keyslots().len(), 1);
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct HeaderEditor<'s> {
    storage: &'s dyn Storage,
    selected: Selected,
    patience: Option<Duration>,
}

impl std::fmt::Debug for HeaderEditor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderEditor")
            .field("selected", &self.selected)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl<'s> HeaderEditor<'s> {
    /// How long another process's change is waited for unless something else is asked for: cryptsetup holds
    /// its lock while it derives a key.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// Reads the header that lies on `storage`. Nothing is locked or written.
    ///
    /// # Errors
    /// As [`read_header`].
    pub fn open(storage: &'s dyn Storage) -> Result<Self, Error> {
        Ok(Self::of_judged(storage, read_header(storage)?))
    }

    /// As [`Self::open`], with what was read and judged before.
    #[must_use]
    pub fn of_judged(storage: &'s dyn Storage, selected: Selected) -> Self {
        Self {
            storage,
            selected,
            patience: Some(Self::PATIENCE),
        }
    }

    /// As [`Self::open`], for [`Self::repair`]: where the primary copy is lost, the secondary is taken even if
    /// the device bears the signature of something else ([`foreign_signature`]), which no other verb does.
    ///
    /// # Errors
    /// As [`read_header`].
    pub fn open_for_repair(storage: &'s dyn Storage) -> Result<Self, Error> {
        Ok(Self::of_judged(storage, read_header_for_repair(storage)?))
    }

    /// How long a change waits for another process that is changing this header; 30 seconds by default.
    /// `None`: no lock is taken at all.
    #[must_use]
    pub fn with_patience(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    /// The header as it stands.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.selected.header
    }

    /// Finds a key that the header recognises: [`crate::unlock()`].
    ///
    /// # Errors
    /// As [`crate::unlock()`].
    pub fn unlock(
        &self,
        secret: crate::Secret<'_>,
        options: &crate::UnlockOptions,
    ) -> Result<crate::Unlocked, Error> {
        crate::unlock(self.header(), self.storage, secret, options)
    }

    /// What is wrong with the copies that the header was read from.
    #[must_use]
    pub fn defects(&self) -> &Repair {
        &self.selected.repair
    }

    /// Writes both copies anew, if one of them is damaged or stale; whether that was so. Nothing else
    /// overwrites what bears the signature of something that is not LUKS ([`foreign_signature`]): ask
    /// before this does.
    ///
    /// # Errors
    /// [`Error::Refused`] for a header with requirements, or whose damaged copy is newer than the good
    /// one and only not usable here; [`Error::Busy`], [`Error::Io`].
    pub fn repair(&mut self) -> Result<bool, Error> {
        self.refuse_requirements("repair")?;
        if !self.selected.repair.is_needed() {
            return Ok(false);
        }
        let header = self.header().edit(|_| Ok(()))?;
        self.write(header.into(), read_header_for_repair)?;
        Ok(true)
    }

    /// What a reader must know does not stop a key from being taken away, but anything else: who does
    /// not know it cannot tell what else must change.
    fn refuse_requirements(&self, what: &str) -> Result<(), Error> {
        let requirements = self.header().metadata().requirements();
        if requirements.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = requirements
            .iter()
            .map(|requirement| requirement.as_str())
            .collect();
        Err(Error::refused(format!(
            "{what}: the header says that this requires {}",
            names.join(", ")
        )))
    }

    /// A change of the JSON or the names alone.
    fn edit(
        &mut self,
        change: impl FnOnce(&mut Draft) -> Result<(), lucarne_format::Error>,
    ) -> Result<(), Error> {
        let header = self.header().edit(change)?;
        self.commit(header.into())
    }

    /// A change after which nobody owns `forgotten` any more.
    fn edit_and_wipe(
        &mut self,
        forgotten: Vec<Range<u64>>,
        change: impl FnOnce(&mut Draft) -> Result<(), lucarne_format::Error>,
    ) -> Result<(), Error> {
        let header = self.header().edit(change)?;
        self.commit(Change {
            forgotten,
            ..header.into()
        })
    }

    fn commit(&mut self, change: Change) -> Result<(), Error> {
        self.write(change, read_header)
    }

    /// `read` decides for whom the header that is there counts as one.
    fn write(&mut self, change: Change, read: commit::ReadHeader) -> Result<(), Error> {
        commit::commit(self.storage, &self.selected, &change, self.patience, read)?;
        self.selected = Selected {
            header: change.header,
            repair: Default::default(),
        };
        Ok(())
    }
}
