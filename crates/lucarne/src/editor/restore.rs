//! A kept header put back in a volume's place.
//!
//! A header names the places of its key material, so it cannot just be written over another: where one of
//! the two keeps a key, the other may keep another one. The new header's material goes where the old one
//! keeps nothing; material whose own place is not free yet goes to a place that neither of the two uses, and
//! a header in between names it there.
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | new key material, in places that the old header keeps nothing in; flush | the old header |
//! | if some of it had to go elsewhere: a header that names it there; each copy, flush | the old header, then all new keys |
//! | that material once more, where it belongs; flush | all new keys |
//! | the new header; each copy, flush | all new keys |
//! | the rest of the keyslots area, what the old header kept there included; flush | the new header |
//!
//! That holds if the two headers have the same sizes and there is room ([`Restore::is_atomic`]). Where it
//! does not, or there is no LUKS2 header to keep, the keyslots area is written first and the header last: a
//! crash leaves a header whose keys are partly overwritten, or none, and the same restore again completes it.

use std::ops::Range;
use std::time::Duration;

use lucarne_format::luks2::{
    Header, HeaderCopy, Keyslot, Repair, Requirement, areas_overlap, first_gap,
};
use lucarne_storage::Storage;

use super::backup::HeaderBackup;
use super::commit::{alone, changed_meanwhile, order};
use crate::error::{flushing, measuring, reading, writing};
use crate::header_io::write_copy;
use crate::{Error, read_header};

/// How much is compared or written at once.
const STEP_LEN_BYTES: usize = 1 << 20;

/// A backup and the device that it is to be put on, compared: nothing is written yet.
pub struct Restore<'a> {
    backup: &'a HeaderBackup,
    storage: &'a dyn Storage,
    found: Found,
    plan: Plan,
}

impl std::fmt::Debug for Restore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore")
            .field("backup", &self.backup)
            .field("warnings", &self.warnings())
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// What is lost or doubtful when the backup is put on the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreWarnings {
    /// There is no usable header of the backup's version: what lies at the device's start may be data.
    pub no_header: bool,
    /// There is a LUKS1 header.
    pub luks1: bool,
    /// There is a LUKS2 header, and the backup is of LUKS1.
    pub luks2: bool,
    /// The device's header has another UUID.
    pub other_uuid: bool,
    /// The device's header has requirements that are not known here: the data may need what the backup
    /// does not say.
    pub unknown_requirements: bool,
    /// A re-encryption of the device is unfinished: where it stands is in the header that is replaced.
    pub reencryption: bool,
    /// The backup was taken in the middle of a re-encryption.
    pub reencryption_in_backup: bool,
}

/// What lies where the backup belongs.
enum Found {
    Luks2(Box<lucarne_format::luks2::Selected>),
    Luks1,
    Nothing,
}

/// How it can be written.
#[derive(Debug)]
enum Plan {
    /// Old keys or new keys at any moment.
    Atomic {
        /// Areas whose bytes are not on the device yet and that the old header keeps nothing in.
        fresh: Vec<Range<u64>>,
        /// Keyslots whose area is the old header's, and where their material waits meanwhile.
        moved: Vec<(u32, Range<u64>, u64)>,
    },
    /// The keyslots area, then the header.
    Plain,
}

impl HeaderBackup {
    /// Compares it with what it is to replace.
    ///
    /// # Errors
    /// [`Error::Refused`] if its header has requirements other than a re-encryption's, or the device's
    /// header is of another size or has its data elsewhere; [`Error::Device`] if the device is shorter
    /// than the header; [`Error::Io`].
    pub fn compare<'a>(&'a self, storage: &'a dyn Storage) -> Result<Restore<'a>, Error> {
        let header = self.header();
        let forbidden = header.metadata().requirements().iter();
        let mut forbidden = forbidden.filter(|requirement| !is_reencryption(requirement));
        if let Some(requirement) = forbidden.next() {
            return Err(Error::refused(format!(
                "the backup's header says that it requires {requirement}"
            )));
        }
        let len = self.as_bytes().len() as u64;
        let device_len = storage.len().map_err(measuring)?;
        if device_len < len {
            return Err(Error::device(format!(
                "the header takes {len} bytes, the device has {device_len}"
            )));
        }
        let found = find(storage)?;
        let data_offset = header.metadata().data_offset();
        let plan = match &found {
            Found::Luks2(selected) => {
                let old = &selected.header;
                if !old.metadata().requirements().iter().any(is_reencryption) {
                    refuse_other_offset(old.metadata().data_offset(), data_offset)?;
                    let old_len = old.metadata().keyslots_area().end;
                    if old_len != len {
                        return Err(Error::refused(format!(
                            "header and keyslots area take {old_len} bytes on the device and {len} in the backup"
                        )));
                    }
                }
                plan(self, old, storage)?
            }
            Found::Luks1 => {
                let mut sectors = [0; 4];
                storage
                    .read_at(&mut sectors, LUKS1_PAYLOAD_OFFSET)
                    .map_err(reading(LUKS1_PAYLOAD_OFFSET))?;
                refuse_other_offset(u64::from(u32::from_be_bytes(sectors)) * 512, data_offset)?;
                Plan::Plain
            }
            Found::Nothing => Plan::Plain,
        };
        Ok(Restore {
            backup: self,
            storage,
            found,
            plan,
        })
    }
}

impl Restore<'_> {
    /// What to tell a person before [`Self::run`].
    #[must_use]
    pub fn warnings(&self) -> RestoreWarnings {
        let has = |header: &Header, what: fn(&Requirement) -> bool| {
            header.metadata().requirements().iter().any(what)
        };
        let mut warnings = RestoreWarnings {
            reencryption_in_backup: has(self.backup.header(), is_reencryption),
            ..RestoreWarnings::default()
        };
        match &self.found {
            Found::Luks2(selected) => {
                let old = &selected.header;
                warnings.other_uuid = old.uuid_bytes() != self.backup.header().uuid_bytes();
                warnings.unknown_requirements = has(old, |requirement| {
                    matches!(requirement, Requirement::Unknown(_))
                });
                warnings.reencryption = has(old, |requirement| {
                    is_reencryption(requirement)
                        || matches!(requirement, Requirement::OfflineReencrypt)
                });
            }
            Found::Luks1 => {
                (warnings.no_header, warnings.luks1) = (true, true);
            }
            Found::Nothing => warnings.no_header = true,
        }
        warnings
    }

    /// Whether a power cut at any moment leaves all keys of the old header or all of the new one. `false`
    /// where there is no LUKS2 header to keep, too.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        matches!(self.plan, Plan::Atomic { .. })
    }

    /// Writes the backup, to the last byte of its keyslots area.
    ///
    /// # Errors
    /// [`Error::Busy`] when the device's header is not what was compared any more, or another process holds
    /// the lock for longer than `patience` (`None`: no lock is taken); [`Error::Io`].
    pub fn run(self, patience: Option<Duration>) -> Result<(), Error> {
        let _alone = alone(self.storage, patience)?;
        self.refuse_changed()?;
        let keyslots = self.backup.header().metadata().keyslots_area();
        match &self.plan {
            Plan::Atomic { fresh, moved } => {
                let Found::Luks2(old) = &self.found else {
                    return Err(Error::refused("there is no header to keep"));
                };
                for area in fresh {
                    self.write(self.backup.part(area), area.start)?;
                }
                for (_, area, elsewhere) in moved {
                    self.write(self.backup.part(area), *elsewhere)?;
                }
                self.flush()?;
                let mut repair = old.repair.clone();
                if !moved.is_empty() {
                    let between = between(self.backup.header(), moved)?;
                    for copy in order(&repair) {
                        write_copy(self.storage, &between, copy)?;
                        self.flush()?;
                    }
                    repair = Repair::default();
                    for (_, area, _) in moved {
                        self.write(self.backup.part(area), area.start)?;
                    }
                    self.flush()?;
                }
                self.write_copies(order(&repair))?;
                self.write(self.backup.part(&keyslots), keyslots.start)?;
                self.flush()
            }
            Plan::Plain => {
                self.write(self.backup.part(&keyslots), keyslots.start)?;
                self.flush()?;
                self.write_copies([HeaderCopy::Secondary, HeaderCopy::Primary])
            }
        }
    }

    /// A header that was changed between comparison and lock is somebody's work.
    fn refuse_changed(&self) -> Result<(), Error> {
        let unchanged = match (&self.found, find(self.storage)?) {
            (Found::Luks2(old), Found::Luks2(now)) => {
                now.header.encodes_as(&old.header) && old.repair == now.repair
            }
            (Found::Luks1, Found::Luks1) | (Found::Nothing, Found::Nothing) => true,
            _ => false,
        };
        match unchanged {
            true => Ok(()),
            false => Err(changed_meanwhile()),
        }
    }

    fn write_copies(&self, order: [HeaderCopy; 2]) -> Result<(), Error> {
        let size = self.backup.header().header_size();
        for copy in order {
            let offset = copy.offset(size);
            self.write(
                self.backup.part(&(offset..offset.saturating_add(size))),
                offset,
            )?;
            self.flush()?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let mut at = offset;
        for step in bytes.chunks(STEP_LEN_BYTES) {
            self.storage.write_at(step, at).map_err(writing(at))?;
            at = at.saturating_add(step.len() as u64);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.storage.flush().map_err(flushing)
    }
}

/// Where a LUKS1 header says where its data start, as a big-endian number of sectors (LUKS1 specification
/// 2.1).
const LUKS1_PAYLOAD_OFFSET: u64 = 104;

fn find(storage: &dyn Storage) -> Result<Found, Error> {
    match read_header(storage) {
        Ok(selected) => Ok(Found::Luks2(Box::new(selected))),
        Err(Error::Luks1) => Ok(Found::Luks1),
        // A header that nobody can use is what a backup is for.
        Err(Error::NotLuks | Error::Corrupt(_) | Error::Unsupported(_)) => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

fn is_reencryption(requirement: &Requirement) -> bool {
    matches!(requirement, Requirement::OnlineReencrypt { .. })
}

pub(super) fn refuse_other_offset(on_device: u64, in_backup: u64) -> Result<(), Error> {
    if on_device == in_backup {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the data start at byte {on_device} on the device and at {in_backup} in the backup"
    )))
}

fn plan(backup: &HeaderBackup, old: &Header, storage: &dyn Storage) -> Result<Plan, Error> {
    let new = backup.header();
    // With copies of another size the new ones lie where the old header keeps its keys.
    if new.header_size() != old.header_size()
        || new.metadata().keyslots_area() != old.metadata().keyslots_area()
    {
        return Ok(Plan::Plain);
    }
    let owned: Vec<Range<u64>> = areas(old).map(|(_, area)| area).collect();
    let mut used: Vec<Range<u64>> = owned
        .iter()
        .cloned()
        .chain(areas(new).map(|(_, area)| area))
        .collect();
    let (mut fresh, mut moved) = (Vec::new(), Vec::new());
    for (id, area) in areas(new) {
        if is_there(storage, backup.part(&area), area.start)? {
            continue;
        }
        if !owned.iter().any(|owned| areas_overlap(owned, &area)) {
            fresh.push(area);
            continue;
        }
        let len = area.end.saturating_sub(area.start);
        let keeps_key = matches!(new.metadata().keyslots().get(&id), Some(Keyslot::Luks2(_)));
        let Some(elsewhere) = first_gap(new.metadata().keyslots_area(), used.clone(), len) else {
            return Ok(Plan::Plain);
        };
        // Only of a keyslot with a key it is known how to move it.
        if !keeps_key {
            return Ok(Plan::Plain);
        }
        used.push(elsewhere..elsewhere.saturating_add(len));
        moved.push((id, area, elsewhere));
    }
    Ok(Plan::Atomic { fresh, moved })
}

fn areas(header: &Header) -> impl Iterator<Item = (u32, Range<u64>)> {
    let keyslots = header.metadata().keyslots().iter();
    keyslots.map(|(&id, keyslot)| (id, keyslot.area_range()))
}

/// Whether the device holds these bytes already.
fn is_there(storage: &dyn Storage, bytes: &[u8], offset: u64) -> Result<bool, Error> {
    let mut buffer = vec![0; bytes.len().min(STEP_LEN_BYTES)];
    let mut at = offset;
    for step in bytes.chunks(STEP_LEN_BYTES) {
        let there = &mut buffer[..step.len()];
        storage.read_at(there, at).map_err(reading(at))?;
        if there != step {
            return Ok(false);
        }
        at = at.saturating_add(step.len() as u64);
    }
    Ok(true)
}

/// The backup's header with some key material elsewhere. Material may lie anywhere: its encryption counts
/// from the area's own start.
fn between(header: &Header, moved: &[(u32, Range<u64>, u64)]) -> Result<Header, Error> {
    Ok(header.edit(|draft| {
        for (id, _, elsewhere) in moved {
            if let Some(Keyslot::Luks2(keyslot)) = header.metadata().keyslots().get(id) {
                let mut keyslot = keyslot.clone();
                keyslot.area.offset = *elsewhere;
                draft.update_keyslot(*id, &keyslot)?;
            }
        }
        Ok(())
    })?)
}
