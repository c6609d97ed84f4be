//! The commit protocol for LUKS1, where there is one copy of the header and no checksum.
//!
//! ```text
//! byte 0                 208     256            496  512  544     592
//!      | names, digest ... | slot 0 | ... slot 5 | slot 6 | slot 7 |
//!      |------------------ sector 0 ------------------|-- sector 1 ...
//! ```
//!
//! A disk writes 512 bytes whole or not at all, and keyslot 6 lies in two such sectors; but every keyslot's
//! flag lies in one, and only where the flag says active does anybody look at its salt and iterations. So
//! a keyslot comes and goes by its flag alone:
//!
//! | adding | a crash after it leaves |
//! |---|---|
//! | lock; read again, and compare with what the change was made from | the old header |
//! | the key material, in the area of an inactive keyslot; flush | the old header |
//! | salt and iterations, the flag still inactive; flush | torn or whole: the old keys |
//! | the flag; flush | the new header |
//!
//! | removing | a crash after it leaves |
//! |---|---|
//! | the flag; flush | the key is gone, but for its material |
//! | noise over the area; flush | the key is gone |
//! | zeros over salt and iterations; flush | torn or whole: the key is gone |
//!
//! A key is changed by adding the new one in a free keyslot and then removing the old one: at any moment
//! one of the two works. Where the number must stay, that happens twice, by way of a free keyslot. Only
//! where all eight are in use there is no place for both, and a crash can lose the one that is changed.

use std::time::Duration;

use lucarne_format::luks1::{Header, KEYSLOTS, KeyslotState};
use lucarne_keyslot::{KdfKind, KdfParams};
use lucarne_secret::with_clean_stack;
use lucarne_storage::Storage;

use super::commit::{alone, changed_meanwhile};
use super::{HeaderEditor, KeyslotOptions};
use crate::any_header::LUKS1_SECTOR_LEN;
use crate::create::luks1::not_pbkdf2;
use crate::error::{flushing, reading, writing};
use crate::header_io::{fill_with_noise, read_luks1_header};
use crate::{Error, Secret, UnlockOptions, Unlocked};

/// A LUKS1 header whose keys can be changed.
///
/// Every method that changes something has written and flushed it before it returns, in an order such that
/// a power cut at any moment leaves each key that was not being removed usable. Other processes of this
/// library are locked out for the write alone; if the header has been changed since it was read, nothing
/// is written and the error is [`Error::Busy`].
///
/// ```
/// use lucarne::{FormatOptions, KdfKind, KdfRequest, KeyslotOptions, Luks1Editor, LuksVersion, MemoryStorage, Secret};
/// let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// let format = FormatOptions { version: LuksVersion::Luks1, kdf: kdf.clone(), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// lucarne::format(&image, None, b"first example", &format)?;
///
/// let mut editor = Luks1Editor::open(&image)?;
/// let key = editor.unlock(Secret::Passphrase(b"first example"), &Default::default())?;
/// let options = KeyslotOptions { kdf, ..KeyslotOptions::default() };
/// assert_eq!(editor.add_keyslot(&key, b"second example", &options)?, 1);
/// editor.remove_keyslot(0)?;
/// assert_eq!(editor.header().free_keyslot(), Some(0));
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct Luks1Editor<'s> {
    storage: &'s dyn Storage,
    header: Header,
    patience: Option<Duration>,
}

impl std::fmt::Debug for Luks1Editor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Luks1Editor")
            .field("header", &self.header)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// What is durable before the next is begun.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a dozen at most")]
pub(super) enum Step {
    /// The key material of a keyslot whose flag is inactive.
    Material(u32, Vec<u8>),
    /// Noise over a keyslot's area.
    Wipe(u32),
    /// The header, whose difference to the one before it any tear may cut.
    Header(Header),
}

impl<'s> Luks1Editor<'s> {
    /// Reads the header that lies on `storage`. Nothing is locked or written.
    ///
    /// # Errors
    /// As [`crate::read_any_header`]; [`Error::Unsupported`] for LUKS2.
    pub fn open(storage: &'s dyn Storage) -> Result<Self, Error> {
        Ok(Self::of_judged(storage, read_luks1_header(storage)?))
    }

    /// As [`Self::open`], with what was read and judged before.
    #[must_use]
    pub fn of_judged(storage: &'s dyn Storage, header: Header) -> Self {
        Self {
            storage,
            header,
            patience: Some(HeaderEditor::PATIENCE),
        }
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
        &self.header
    }

    pub(super) fn storage(&self) -> &'s dyn Storage {
        self.storage
    }

    /// Finds the volume key: [`crate::unlock()`].
    ///
    /// # Errors
    /// As [`crate::unlock()`].
    pub fn unlock(&self, secret: Secret<'_>, options: &UnlockOptions) -> Result<Unlocked, Error> {
        crate::unlock(&self.header, self.storage, secret, options)
    }

    /// Adds a keyslot for the volume key that was found by [`Self::unlock`]; its number. Its hash and its
    /// area's cipher are the header's.
    ///
    /// # Errors
    /// [`Error::Refused`] if the number is taken or above 7, all are taken, or the options ask for another
    /// key derivation than PBKDF2, for a cipher or a token; [`Error::Unsupported`] from cipher and hash,
    /// [`Error::Busy`], [`Error::Io`].
    pub fn add_keyslot(
        &mut self,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        let id = match options.keyslot {
            Some(id) => id,
            None => self
                .header
                .free_keyslot()
                .ok_or_else(|| Error::refused("all 8 keyslots are in use"))?,
        };
        let (new, material) = self.seal(&self.header, id, key, passphrase, options)?;
        self.commit(added(id, material, new)?)?;
        Ok(id)
    }

    /// Puts a new passphrase in the place of that of the keyslot which gave `key`, in the first keyslot
    /// that is free, or the one that the options name: the number of the new one. Without a free
    /// keyslot ([`Self::can_change_safely`]) it is the same, and a power cut can lose this key.
    ///
    /// # Errors
    /// As [`Self::add_keyslot`]; [`Error::Refused`] too if `key` came from no keyslot.
    pub fn change_keyslot(
        &mut self,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        let Some(old) = key.keyslot else {
            return Err(Error::refused("the key did not come from a keyslot"));
        };
        let free = self.header.free_keyslot();
        let id = options.keyslot.or(free).unwrap_or(old);
        if id != old {
            let (both, material) = self.seal(&self.header, id, key, passphrase, options)?;
            let mut steps = added(id, material, both.clone())?;
            steps.extend(removed(old, &both)?);
            self.commit(steps)?;
            return Ok(id);
        }
        let vacated = self.header.with_keyslot_marked_inactive(id)?;
        let without = self.header.without_keyslot(id)?;
        match free {
            None => {
                let (new, material) = self.seal(&without, id, key, passphrase, options)?;
                let mut steps = vec![Step::Header(vacated)];
                steps.extend(added(id, material, new)?);
                self.commit(steps)?;
            }
            Some(aside) => {
                let (both, material) = self.seal(&self.header, aside, key, passphrase, options)?;
                let Some(KeyslotState::Active { iterations, salt }) =
                    both.keyslot(aside).map(|keyslot| keyslot.state.clone())
                else {
                    unreachable!("the keyslot that was just made is active")
                };
                let without_old = both.without_keyslot(id)?;
                let twice = without_old.with_keyslot(id, iterations, salt)?;
                // What is encrypted does not depend on where it lies: the same bytes serve both.
                let mut steps = added(aside, material.clone(), both.clone())?;
                steps.push(Step::Header(both.with_keyslot_marked_inactive(id)?));
                steps.extend(added(id, material, twice.clone())?);
                steps.extend(removed(aside, &twice)?);
                self.commit(steps)?;
            }
        }
        Ok(id)
    }

    /// Whether [`Self::change_keyslot`] has a free keyslot to work with.
    #[must_use]
    pub fn can_change_safely(&self) -> bool {
        self.header.free_keyslot().is_some()
    }

    /// Removes a keyslot and overwrites its key material. Whether it is the last one is for the caller to
    /// ask.
    ///
    /// # Errors
    /// [`Error::Refused`] if it holds nothing; [`Error::Busy`], [`Error::Io`].
    pub fn remove_keyslot(&mut self, id: u32) -> Result<(), Error> {
        self.commit(removed(id, &self.header)?)
    }

    /// Removes all keyslots and overwrites their areas: afterwards no passphrase opens the volume, and only
    /// a copy of the header or the volume key itself could. What they were.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Io`].
    pub fn erase_keyslots(&mut self) -> Result<Vec<u32>, Error> {
        let (mut dead, mut bare) = (self.header.clone(), self.header.clone());
        let mut ids = Vec::new();
        for (id, keyslot) in (0..).zip(self.header.keyslots()) {
            if keyslot.state != KeyslotState::Inactive {
                dead = dead.with_keyslot_marked_inactive(id)?;
                bare = bare.without_keyslot(id)?;
                ids.push(id);
            }
        }
        let areas = (0..).take(KEYSLOTS).map(Step::Wipe);
        let mut steps = vec![Step::Header(dead)];
        steps.extend(areas);
        steps.push(Step::Header(bare));
        self.commit(steps)?;
        Ok(ids)
    }

    /// Has the same passphrase open the free keyslot `to` too, without knowing it: what is derived and what
    /// is encrypted does not depend on number or place.
    pub(crate) fn copy_keyslot(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let Some(KeyslotState::Active { iterations, salt }) =
            self.header.keyslot(from).map(|keyslot| &keyslot.state)
        else {
            return Err(Error::refused(format!("keyslot {from} is not in use")));
        };
        let new = self.header.with_keyslot(to, *iterations, *salt)?;
        let area = area(&self.header, from)?;
        let len = usize::try_from(area.end.saturating_sub(area.start)).unwrap_or(usize::MAX);
        let mut material = vec![0; len];
        self.storage
            .read_at(&mut material, area.start)
            .map_err(reading(area.start))?;
        self.commit(added(to, material, new)?)
    }

    /// Sets the UUID, which lies within one sector.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Io`].
    pub fn set_uuid(&mut self, uuid: uuid::Uuid) -> Result<(), Error> {
        let header = self.header.with_uuid(&uuid.to_string())?;
        self.commit(vec![Step::Header(header)])
    }

    fn seal(
        &self,
        header: &Header,
        id: u32,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<(Header, Vec<u8>), Error> {
        if options.kdf.kind != KdfKind::Pbkdf2 {
            return Err(not_pbkdf2());
        }
        if options.area_cipher.is_some() {
            return Err(Error::refused(
                "a LUKS1 keyslot has the data's cipher; LUKS2 can have others",
            ));
        }
        if options.token.is_some() {
            return Err(Error::refused("a LUKS1 volume has no tokens; LUKS2 has"));
        }
        // What cannot be is refused before the key derivation is paid for.
        header.with_keyslot(id, 1, [0; 32])?;
        let hash = header.hash().parse()?;
        let KdfParams::Pbkdf2 { iterations, .. } =
            options.kdf.resolve(hash, key.volume_key.len())?
        else {
            return Err(not_pbkdf2());
        };
        Ok(with_clean_stack(|| {
            lucarne_keyslot::seal_luks1_keyslot(header, id, &key.volume_key, passphrase, iterations)
        })?)
    }

    fn commit(&mut self, steps: Vec<Step>) -> Result<(), Error> {
        let storage = self.storage;
        let _alone = alone(storage, self.patience)?;
        if read_luks1_header(storage)? != self.header {
            return Err(changed_meanwhile());
        }
        run_steps(storage, &mut self.header, steps)
    }
}

/// Does one after the other, each durable before the next is begun; `header` is the one that is there.
pub(super) fn run_steps(
    storage: &dyn Storage,
    header: &mut Header,
    steps: Vec<Step>,
) -> Result<(), Error> {
    for step in steps {
        match step {
            Step::Material(id, material) => {
                let offset = area(header, id)?.start;
                storage
                    .write_at(&material, offset)
                    .map_err(writing(offset))?;
            }
            Step::Wipe(id) => {
                let area = area(header, id)?;
                fill_with_noise(storage, area.start, area.end.saturating_sub(area.start))?;
            }
            Step::Header(new) => {
                write_difference(storage, header, &new)?;
                *header = new;
            }
        }
        storage.flush().map_err(flushing)?;
    }
    tracing::debug!("LUKS1 header written");
    Ok(())
}

fn area(header: &Header, id: u32) -> Result<std::ops::Range<u64>, Error> {
    let keyslot = header.keyslot(id).map(|keyslot| keyslot.area.clone());
    keyslot.ok_or_else(|| Error::refused(format!("keyslot {id} (they are numbered 0 to 7)")))
}

/// From a header to `new`, which is it with the keyslot `id`.
pub(super) fn added(id: u32, material: Vec<u8>, new: Header) -> Result<Vec<Step>, Error> {
    Ok(vec![
        Step::Material(id, material),
        Step::Header(new.with_keyslot_marked_inactive(id)?),
        Step::Header(new),
    ])
}

/// From `old` to it without the keyslot `id`.
pub(super) fn removed(id: u32, old: &Header) -> Result<Vec<Step>, Error> {
    Ok(vec![
        Step::Header(old.with_keyslot_marked_inactive(id)?),
        Step::Wipe(id),
        Step::Header(old.without_keyslot(id)?),
    ])
}

/// Writes the sectors of the header that differ.
fn write_difference(storage: &dyn Storage, old: &Header, new: &Header) -> Result<(), Error> {
    let sector_len = LUKS1_SECTOR_LEN as usize;
    let (old, new) = (old.encode(), new.encode());
    for (index, (old, new)) in old
        .chunks(sector_len)
        .zip(new.chunks(sector_len))
        .enumerate()
    {
        if old != new {
            let offset = (index * sector_len) as u64;
            storage.write_at(new, offset).map_err(writing(offset))?;
        }
    }
    Ok(())
}
