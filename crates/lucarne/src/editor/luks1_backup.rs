//! A LUKS1 header with its keyslots' areas, kept elsewhere and put back.
//!
//! A backup is what cryptsetup's is: the device from its start to the end of the last area, rounded up to
//! 4096 bytes, with zeros between the header's two sectors and the first area.
//!
//! There is one copy of the header, so it is never replaced as a whole where it must be kept. If both headers
//! are of one volume (the same digest, cipher and areas), they differ in their keyslots, and each of those
//! comes and goes by its flag as in [`super::luks1`]:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | the backup's UUID (one sector) | the old keys |
//! | every keyslot that only the backup has: material, then header, then flag | the old keys and some of the new |
//! | every keyslot whose key differs: its new key in a keyslot that neither uses, its flag off, its new material, its flag on, the other one off | the old key of this keyslot or its new one |
//! | every keyslot that only the device has: flag off, area overwritten | the new keys and some of the old |
//! | all bytes of the backup: they differ where no active keyslot is | the new keys |
//!
//! Where no keyslot is free in both, or the headers are of different volumes, or there is none to keep, the
//! areas are written first, then the header from its second sector on, then the first sector, which a disk
//! writes whole. A crash leaves a header whose keys are partly overwritten, or none, and the same restore
//! again completes it.

use std::time::Duration;

use lucarne_format::luks1::{HEADER_LEN, Header, KeyslotState};
use lucarne_storage::{MemoryStorage, Storage};

use super::RestoreWarnings;
use super::commit::{Alone, alone, changed_meanwhile};
use super::luks1::{Step, added, removed, run_steps};
use super::restore::refuse_other_offset;
use crate::any_header::LUKS1_SECTOR_LEN;
use crate::error::{flushing, measuring, reading, writing};
use crate::header_io::{read_any_header, read_luks1_header};
use crate::{AnyHeader, Error};

/// The unit of a backup's length: cryptsetup's, which is the page it runs with.
const UNIT_LEN: u64 = 4096;
/// The header's two sectors are kept whole, as in cryptsetup.
const CLEARED_FROM: usize = 2 * LUKS1_SECTOR_LEN as usize;
/// cryptsetup's headers take 4 MiB at most, with keys of 128 bytes; a header that takes more is none that it made.
const LEN_MAX: u64 = 128 << 20;
const STEP_LEN_BYTES: usize = 1 << 20;

/// All of a LUKS1 volume's header: the header and the keyslots' areas, as they lie at a device's start.
///
/// With it and a passphrase that was valid when it was taken the data can be decrypted, whatever is done to the
/// volume's own header later. At most 128 MiB, all of it in memory.
///
/// ```
/// # use lucarne::{FormatOptions, KdfKind, KdfRequest, Luks1Editor, Luks1HeaderBackup, LuksVersion, MemoryStorage};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// let options = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
/// lucarne::format(&image, None, b"an example", &options)?;
/// let backup = Luks1HeaderBackup::take(&image, None)?;
/// assert_eq!(backup.as_bytes().len(), 2_068_480);
///
/// Luks1Editor::open(&image)?.erase_keyslots()?;
/// let restore = backup.compare(&image)?;
/// assert!(restore.is_atomic() && !restore.warnings().other_uuid);
/// restore.run(None)?;
/// assert_eq!(Luks1Editor::open(&image)?.header().free_keyslot(), Some(1));
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct Luks1HeaderBackup {
    bytes: Vec<u8>,
    header: Header,
}

impl std::fmt::Debug for Luks1HeaderBackup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Luks1HeaderBackup")
            .field("len_bytes", &self.bytes.len())
            .field("uuid", &self.header.uuid())
            .finish_non_exhaustive()
    }
}

/// A LUKS1 backup and the device that it is to be put on, compared: nothing is written yet.
pub struct Luks1Restore<'a> {
    backup: &'a Luks1HeaderBackup,
    storage: &'a dyn Storage,
    found: Found,
    /// `None`: the areas, then the header.
    steps: Option<Vec<Step>>,
}

impl std::fmt::Debug for Luks1Restore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Luks1Restore")
            .field("backup", &self.backup)
            .field("warnings", &self.warnings())
            .field("is_atomic", &self.is_atomic())
            .finish_non_exhaustive()
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one a restore")]
enum Found {
    Luks1(Header),
    Luks2,
    Nothing,
}

impl Luks1HeaderBackup {
    /// Takes it from a volume, with everybody else of this library who changes the header kept out meanwhile:
    /// [`HeaderBackup::take`](crate::HeaderBackup::take). The volume is only read.
    ///
    /// # Errors
    /// As [`crate::read_any_header`], [`Error::Busy`]; [`Error::Unsupported`] for a header of more than 128 MiB.
    pub fn take(storage: &dyn Storage, patience: Option<Duration>) -> Result<Self, Error> {
        let _alone = alone(storage, patience)?;
        Self::read(storage)
    }

    /// Reads one that was taken before. What lies after it is not looked at.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn read(file: &dyn Storage) -> Result<Self, Error> {
        let len = backup_len(&read_luks1_header(file)?)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        // The areas are there; what they are rounded up to need not be.
        let present = file.len().map_err(measuring)?.min(len);
        let present = usize::try_from(present).unwrap_or(usize::MAX);
        file.read_at(&mut bytes[..present], 0).map_err(reading(0))?;
        // What was just read is what is judged and used, whatever the file says by now.
        let bytes = MemoryStorage::from(bytes);
        let header = read_luks1_header(&bytes)?;
        let mut bytes = bytes.into_bytes();
        if backup_len(&header)? != len {
            return Err(changed_meanwhile());
        }
        // Signatures of what the device once was have no business in a backup.
        if header.keyslots()[0].area.start == UNIT_LEN {
            bytes[CLEARED_FROM..UNIT_LEN as usize].fill(0);
        }
        Ok(Self { bytes, header })
    }

    /// The header in it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What belongs at the start of a device.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Compares it with what it is to replace.
    ///
    /// # Errors
    /// [`Error::Refused`] if the device's header has its data elsewhere or, of LUKS1, keys of another length;
    /// [`Error::Device`] if the device is shorter than the header; [`Error::Io`].
    pub fn compare<'a>(&'a self, storage: &'a dyn Storage) -> Result<Luks1Restore<'a>, Error> {
        let device_len = storage.len().map_err(measuring)?;
        let len = self.written().len() as u64;
        if device_len < len {
            return Err(Error::device(format!(
                "the header takes {len} bytes, the device has {device_len}"
            )));
        }
        let offset = self.header.payload_offset();
        let (found, steps) = match find(storage)? {
            AnyFound::Luks1(old) => {
                refuse_other_offset(old.payload_offset(), offset)?;
                if old.key_bytes() != self.header.key_bytes() {
                    return Err(Error::refused(format!(
                        "the volume key has {} bytes on the device and {} in the backup",
                        old.key_bytes(),
                        self.header.key_bytes()
                    )));
                }
                let steps = self.steps_from(&old, storage)?;
                (Found::Luks1(old), steps)
            }
            AnyFound::Luks2(data_offset) => {
                refuse_other_offset(data_offset, offset)?;
                (Found::Luks2, None)
            }
            AnyFound::Nothing => (Found::Nothing, None),
        };
        Ok(Luks1Restore {
            backup: self,
            storage,
            found,
            steps,
        })
    }

    /// What is written: nothing that is not the header's, which cryptsetup's rounding up can reach.
    fn written(&self) -> &[u8] {
        match self.header.payload_offset() {
            0 => &self.bytes,
            end => {
                let end = usize::try_from(end).unwrap_or(usize::MAX);
                &self.bytes[..end.min(self.bytes.len())]
            }
        }
    }

    fn material(&self, id: u32) -> Vec<u8> {
        self.header.keyslot(id).map_or_else(Vec::new, |keyslot| {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            self.bytes[index(keyslot.area.start)..index(keyslot.area.end)].to_vec()
        })
    }

    /// From the header on the device to the backup's, keyslot by keyslot; `None` if there is no such way.
    fn steps_from(&self, old: &Header, storage: &dyn Storage) -> Result<Option<Vec<Step>>, Error> {
        let new = &self.header;
        let areas = |header: &Header| header.keyslots().each_ref().map(|slot| slot.area.clone());
        let is_unusable = |header: &Header| {
            let mut keyslots = header.keyslots().iter();
            keyslots.any(|slot| matches!(slot.state, KeyslotState::Unusable { .. }))
        };
        if old.encryption() != new.encryption()
            || old.hash() != new.hash()
            || old.digest() != new.digest()
            || areas(old) != areas(new)
            || is_unusable(old)
            || is_unusable(new)
        {
            return Ok(None);
        }
        let mut header = old.clone();
        let mut steps = Vec::new();
        if old.uuid() != new.uuid() {
            // A UUID that is none can be restored with the rest of the header alone.
            match old.with_uuid(new.uuid()) {
                Ok(renamed) if renamed.uuid() == new.uuid() => header = renamed,
                _ => return Ok(None),
            }
            steps.push(Step::Header(header.clone()));
        }
        let (mut fresh, mut changed, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        let mut free = None;
        for (id, (old, new)) in (0..).zip(old.keyslots().iter().zip(new.keyslots())) {
            match (&old.state, &new.state) {
                (KeyslotState::Inactive, KeyslotState::Active { iterations, salt }) => {
                    fresh.push((id, *iterations, *salt));
                }
                (was, KeyslotState::Active { iterations, salt }) => {
                    let mut there = self.material(id);
                    storage
                        .read_at(&mut there, new.area.start)
                        .map_err(reading(new.area.start))?;
                    if was != &new.state || there != self.material(id) {
                        changed.push((id, *iterations, *salt));
                    }
                }
                (KeyslotState::Inactive, _) => free = free.or(Some(id)),
                _ => dead.push(id),
            }
        }
        for (id, iterations, salt) in fresh {
            header = header.with_keyslot(id, iterations, salt)?;
            steps.extend(added(id, self.material(id), header.clone())?);
        }
        for (id, iterations, salt) in changed {
            let Some(aside) = free else {
                return Ok(None);
            };
            // What is encrypted does not depend on where it lies: the same bytes serve both.
            let both = header.with_keyslot(aside, iterations, salt)?;
            steps.extend(added(aside, self.material(id), both.clone())?);
            steps.push(Step::Header(both.with_keyslot_marked_inactive(id)?));
            let twice = both
                .without_keyslot(id)?
                .with_keyslot(id, iterations, salt)?;
            steps.extend(added(id, self.material(id), twice.clone())?);
            steps.extend(removed(aside, &twice)?);
            header = twice.without_keyslot(aside)?;
        }
        for id in dead {
            steps.extend(removed(id, &header)?);
            header = header.without_keyslot(id)?;
        }
        Ok(Some(steps))
    }
}

impl Luks1Restore<'_> {
    /// What to tell a person before [`Self::run`].
    #[must_use]
    pub fn warnings(&self) -> RestoreWarnings {
        let mut warnings = RestoreWarnings::default();
        match &self.found {
            Found::Luks1(old) => {
                warnings.luks1 = true;
                warnings.other_uuid = old.uuid() != self.backup.header.uuid();
            }
            Found::Luks2 => (warnings.no_header, warnings.luks2) = (true, true),
            Found::Nothing => warnings.no_header = true,
        }
        warnings
    }

    /// Whether a power cut at any moment leaves each key of the old header that is to stay, and of one that
    /// is replaced the old or the new. `false` where there is no LUKS1 header to keep, too.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.steps.is_some()
    }

    /// Writes the backup, to the last byte of the keyslots' areas.
    ///
    /// # Errors
    /// [`Error::Busy`] when the device's header is not what was compared any more, or another process holds
    /// the lock for longer than `patience` (`None`: no lock is taken); [`Error::Io`].
    pub fn run(self, patience: Option<Duration>) -> Result<(), Error> {
        let _alone: Alone<'_> = alone(self.storage, patience)?;
        match (&self.found, find(self.storage)?) {
            (Found::Luks1(old), AnyFound::Luks1(now)) if *old == now => {}
            (Found::Luks2, AnyFound::Luks2(_)) | (Found::Nothing, AnyFound::Nothing) => {}
            _ => return Err(changed_meanwhile()),
        }
        let bytes = self.backup.written();
        if let (Some(steps), Found::Luks1(mut old)) = (self.steps, self.found) {
            run_steps(self.storage, &mut old, steps)?;
        }
        let behind_header = HEADER_LEN.next_multiple_of(LUKS1_SECTOR_LEN as usize);
        write(self.storage, bytes, behind_header..bytes.len())?;
        write(
            self.storage,
            bytes,
            LUKS1_SECTOR_LEN as usize..behind_header,
        )?;
        write(self.storage, bytes, 0..LUKS1_SECTOR_LEN as usize)
    }
}

/// Durable when it returns.
fn write(storage: &dyn Storage, bytes: &[u8], range: std::ops::Range<usize>) -> Result<(), Error> {
    let mut at = range.start as u64;
    for step in bytes[range].chunks(STEP_LEN_BYTES) {
        storage.write_at(step, at).map_err(writing(at))?;
        at = at.saturating_add(step.len() as u64);
    }
    storage.flush().map_err(flushing)
}

fn backup_len(header: &Header) -> Result<u64, Error> {
    let len = header.keyslots_end().next_multiple_of(UNIT_LEN);
    if len > LEN_MAX {
        return Err(Error::unsupported(format!(
            "a header of {len} bytes: {LEN_MAX} are the most that is kept"
        )));
    }
    Ok(len)
}

#[expect(clippy::large_enum_variant, reason = "there is one a restore")]
enum AnyFound {
    Luks1(Header),
    /// Where its data start.
    Luks2(u64),
    Nothing,
}

fn find(storage: &dyn Storage) -> Result<AnyFound, Error> {
    match read_any_header(storage) {
        Ok(AnyHeader::Luks1(header)) => Ok(AnyFound::Luks1(header)),
        Ok(AnyHeader::Luks2(selected)) => {
            Ok(AnyFound::Luks2(selected.header.metadata().data_offset()))
        }
        // A header that nobody can use is what a backup is for.
        Err(Error::NotLuks | Error::Corrupt(_) | Error::Unsupported(_)) => Ok(AnyFound::Nothing),
        Err(error) => Err(error),
    }
}
