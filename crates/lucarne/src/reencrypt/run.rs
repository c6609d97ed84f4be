//! From the first zone, or the one that was interrupted, to the last.

mod recovery;

use std::ops::Range;
use std::time::Duration;

use lucarne_format::luks2::{
    Header, KEYSLOTS_SIZE_MAX, Keyslot, Requirement, Resilience, Selected,
};
use lucarne_storage::{AlignedBuffer, HeaderLock, LockKind, Storage};

use super::begin::head::clear_displaced;
use super::begin::{ReencryptOptions, UnprotectedZone};
use super::checksums::Checksums;
use super::commit::commit;
use super::keys::Keys;
use super::plan::{Plan, Position};
use super::protection::Protection;
use super::reading::unlock_what_is_left;
use super::side::Side;
use super::zone::{Buffers, Turner, Zone};
use crate::bulk::pool_of;
use crate::editor::commit::changed_meanwhile;
use crate::error::{Busy, IoOp, flushing, measuring, writing};
use crate::header_io::fill_with_noise;
use crate::length_token::LengthToken;
use crate::{Control, Error, HeaderRef, Parallelism, read_header};

/// A hot zone unless another length is asked for, as far as the keyslots area allows: long enough that four
/// flushes cost little, short enough that an interruption does not wait long.
pub(super) const ZONE_LEN_BYTES: u64 = 64 << 20;

/// The longest zone, which is in memory: cryptsetup's is as long.
pub(super) const ZONE_LEN_MAX: u64 = 1 << 30;

/// An unfinished re-encryption, of which nobody else does anything meanwhile.
///
/// [`Self::resume`] takes up one that a header describes, be it ours or cryptsetup's; [`Self::run`] finishes it.
/// A power cut at any write leaves a header and data from which it can be taken up again, unless its resilience is
/// `none`; by cryptsetup too, but for a block that was torn inside, which only this library puts together.
///
/// ```
/// use lucarne::{Control, FormatOptions, KdfKind, KdfRequest, MemoryStorage, OpenOptions, Parallelism, ReencryptOptions, Reencryption, Secret};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// # let format = FormatOptions { kdf: kdf.clone(), keyslots_size: Some(1 << 20), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// lucarne::format(&image, None, b"an example", &format)?;
/// # let volume = OpenOptions::default().open(&image, Secret::Passphrase(b"an example"))?;
/// # volume.write_at(b"weights", 1000)?;
///
/// let options = ReencryptOptions { kdf, ..ReencryptOptions::default() };
/// Reencryption::begin(&image, None, &[b"an example"], &options)?
///     .run(Parallelism::default(), &Control::default())?;
/// # let volume = OpenOptions::default().open(&image, Secret::Passphrase(b"an example"))?;
/// # let mut back = [0; 7];
/// # volume.read_at(&mut back, 1000)?;
/// # assert_eq!(&back, b"weights");
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct Reencryption<'s> {
    storage: &'s dyn Storage,
    detached_data: Option<&'s dyn Storage>,
    selected: Selected,
    plan: Plan,
    position: Position,
    keys: Keys,
    resilience: Resilience,
    area: Range<u64>,
    zone_len: Option<u64>,
    unprotected_zone: Option<UnprotectedZone>,
    patience: Option<Duration>,
    _locks: Locks<'s>,
}

impl std::fmt::Debug for Reencryption<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reencryption")
            .field("plan", &self.plan)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Held as long as a re-encryption lives.
#[derive(Debug)]
pub(super) struct Locks<'s>(#[expect(dead_code, reason = "held")] [HeaderLock<'s>; 2]);

/// Nobody else re-encrypts this volume, or serves or writes its data, as long as it lives; without patience no lock is
/// taken at all.
pub(super) fn lock<'s>(
    storage: &'s dyn Storage,
    detached_data: Option<&'s dyn Storage>,
    uuid: &str,
    patience: Option<Duration>,
) -> Result<Locks<'s>, Error> {
    if patience.is_none() {
        return Ok(Locks([HeaderLock::none(), HeaderLock::none()]));
    }
    let or_busy = |taken: std::io::Result<HeaderLock<'s>>, who: &'static str| {
        taken.map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::Busy(Busy::new(who)),
            _ => Error::io(IoOp::Lock, 0, error),
        })
    };
    let data = detached_data.unwrap_or(storage);
    let in_use = or_busy(
        data.lock_use(LockKind::Exclusive),
        "another process serves, writes or re-encrypts these data",
    )?;
    let reencryption = or_busy(
        storage.lock_reencryption(uuid),
        "another process is re-encrypting this volume, or serves a copy with the same UUID",
    )?;
    Ok(Locks([in_use, reencryption]))
}

/// What can be refused without a key.
pub(super) fn check_header(header: &Header, is_detached: bool) -> Result<(), Error> {
    let metadata = header.metadata();
    let is_another =
        |requirement: &&Requirement| !matches!(requirement, Requirement::OnlineReencrypt { .. });
    if let Some(requirement) = metadata.requirements().iter().find(is_another) {
        return Err(Error::unsupported(format!(
            "the volume needs {:?} besides (config.requirements): what else must change with the data is not known",
            requirement.as_str()
        )));
    }
    if !is_detached {
        HeaderRef::Luks2(header).check_data_behind(metadata.data_offset())?;
    }
    if LengthToken::find(metadata).is_some_and(|token| token.sparse) {
        return Err(Error::refused(
            "a sparse volume: re-encrypted, its holes would be noise and not zeros; rekey --sparse keeps them",
        ));
    }
    Ok(())
}

impl<'s> Reencryption<'s> {
    /// Takes up a re-encryption that is unfinished. Nothing is written yet. The header lies on `storage`, and the
    /// data too if they are not on `detached_data`. Each of both keys must be opened by one of the passphrases. Of
    /// the options those that say what the data become have no effect: it goes on as it was begun.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is none, the data have holes ([`LengthToken::sparse`](crate::LengthToken)), or
    /// the segments are not those of any step; [`Error::Unvouched`]; [`Error::Device`] when the device was cut;
    /// [`Error::Busy`] when another process is at it; [`Error::WrongKey`] and the others of [`crate::unlock()`].
    pub fn resume(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        passphrases: &[&[u8]],
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        let uuid = read_header(storage)?.header.uuid().to_owned();
        let lock = lock(storage, detached_data, &uuid, options.patience)?;
        // Read once more: now it cannot be on its way.
        let selected = read_header(storage)?;
        if selected.header.uuid() != uuid {
            return Err(changed_meanwhile());
        }
        if selected.header.metadata().reencryption().is_none() {
            return Err(Error::refused("there is no unfinished re-encryption"));
        }
        check_header(&selected.header, detached_data.is_some())?;
        let keys = unlock_what_is_left(&selected.header, storage, passphrases, &options.limits)?;
        Self::of_parts(storage, detached_data, selected, keys, options, lock)
    }

    /// With keys that vouch for what the header says.
    pub(super) fn of_parts(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        selected: Selected,
        keys: Keys,
        options: &ReencryptOptions,
        locks: Locks<'s>,
    ) -> Result<Self, Error> {
        let Some(reencryption) = selected.header.metadata().reencryption() else {
            return Err(Error::refused("there is no unfinished re-encryption"));
        };
        let device_len = detached_data.unwrap_or(storage).len().map_err(measuring)?;
        let plan = Plan::new(&reencryption, device_len)?;
        // A segment to the end of the device does not say where that was. The token does, of what was not a whole sector.
        let recorded = LengthToken::find(selected.header.metadata()).and_then(|token| token.length);
        if let Some(recorded) = recorded.filter(|&recorded| recorded > plan.len) {
            return Err(Error::device(format!(
                "the volume has held {recorded} bytes and the device has room for {}: it was cut",
                plan.len
            )));
        }
        let position = plan.position(&selected.header)?;
        let (resilience, area) = (
            reencryption.keyslot.resilience.clone(),
            reencryption.keyslot.area.clone(),
        );
        Ok(Self {
            storage,
            detached_data,
            plan,
            position,
            keys,
            resilience,
            area,
            selected,
            zone_len: options.hot_zone,
            unprotected_zone: options.unprotected_zone,
            patience: options.patience,
            _locks: locks,
        })
    }

    /// Finds what [`Self::run`] would refuse, before anything is written: a zone that cannot be, and a JSON area
    /// without room for the segments. The last zone but one has the longest numbers of all.
    pub(super) fn check(&self) -> Result<(), Error> {
        let zone_len = self.usable_zone_len()?;
        let last_but_one = self.plan.len.saturating_sub(1) / zone_len;
        let boundary = last_but_one.saturating_sub(1).saturating_mul(zone_len);
        let zone = self
            .plan
            .next_zone(self.plan.boundary_at(boundary), zone_len);
        zone.map_or(Ok(()), |zone| {
            self.header_at(&Position::Hot(zone)).map(drop)
        })
    }

    pub(super) fn selected(&self) -> &Selected {
        &self.selected
    }

    /// Re-encrypts what is still to be done, finishes the metadata, and wipes the old keys' keyslots.
    ///
    /// Some MiB of memory are needed, and with a journal that of two zones.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `control` was asked to stop: the zone at hand is finished first;
    /// [`Error::Device`] when the bytes of an interrupted zone are neither the old nor the new ones, or it was
    /// not protected (resilience `none`; see [`ReencryptOptions::unprotected_zone`]): nothing is written then;
    /// [`Error::Busy`] when somebody else changed the header; [`Error::OutOfMemory`], [`Error::Io`]. After any of them
    /// it can be resumed.
    pub fn run(mut self, parallelism: Parallelism<'_>, control: &Control) -> Result<(), Error> {
        if self.is_all_new() {
            return self.finish();
        }
        let mut own_pool = None;
        let turner = self.turner(pool_of(parallelism, &mut own_pool)?, control)?;
        control.set_total_bytes(self.plan.len);
        if let Position::Hot(zone) = self.position.clone() {
            self.recover_zone(&turner, &zone)?;
        }
        let zone_len = self.usable_zone_len()?;
        self.clear_displaced()?;
        let mut boundary = match self.position {
            Position::Between(boundary) => boundary,
            Position::Hot(ref zone) => self.plan.after(zone),
        };
        control.add_done_bytes(self.plan.done_len(boundary));
        let mut next = self.zone_at(boundary, zone_len, Buffers::default())?;
        turner.advance(None, next.as_mut())?;
        let mut spare = Buffers::default();
        while let Some(mut zone) = next {
            if control.is_interrupted() {
                self.commit_between(boundary)?;
                self.flush_header()?;
                return Err(Error::Interrupted);
            }
            self.make_hot(&zone, boundary)?;
            boundary = self.plan.after(&zone.range);
            next = self.zone_at(boundary, zone_len, spare)?;
            match next.as_mut() {
                Some(next) if zone.overwrites(next) => {
                    turner.advance(Some(&mut zone), None)?;
                    turner.advance(None, Some(next))?;
                }
                next => turner.advance(Some(&mut zone), next)?,
            }
            self.flush_all()?;
            spare = zone.into_buffers();
        }
        self.finish()
    }

    fn turner<'p>(
        &self,
        pool: &'p rayon::ThreadPool,
        control: &'p Control,
    ) -> Result<Turner<'p>, Error>
    where
        's: 'p,
    {
        let reencryption = self.reencryption()?;
        Ok(Turner {
            data: self.data(),
            old: Side::new(reencryption.previous, self.keys.old_key())?,
            new: Side::new(reencryption.last, self.keys.new_key(&reencryption))?,
            pool,
            control,
        })
    }

    fn reencryption(&self) -> Result<lucarne_format::luks2::Reencryption<'_>, Error> {
        let metadata = self.selected.header.metadata();
        metadata
            .reencryption()
            .ok_or_else(|| Error::refused("there is no unfinished re-encryption"))
    }

    fn data(&self) -> &'s dyn Storage {
        self.detached_data.unwrap_or(self.storage)
    }

    /// How a zone is protected: with a data shift, that one's own way is for what does not move.
    fn protection(&self, zone: &Range<u64>) -> Result<Protection, Error> {
        let is_moved = self.plan.old_at(zone) != self.plan.new_at(zone);
        let checksums = |parameters| {
            Checksums::new(parameters, self.plan.alignment()).map(Protection::Checksums)
        };
        match &self.resilience {
            Resilience::None => Ok(Protection::None),
            Resilience::Checksum(parameters) => checksums(parameters),
            Resilience::Journal => Ok(Protection::Journal),
            Resilience::Datashift { .. }
            | Resilience::DatashiftChecksum { .. }
            | Resilience::DatashiftJournal { .. }
                if is_moved =>
            {
                Ok(Protection::Shift)
            }
            Resilience::DatashiftChecksum { checksum, .. } => checksums(checksum),
            Resilience::DatashiftJournal { .. } => Ok(Protection::Journal),
            other => Err(Error::unsupported(format!(
                "resilience {} of data that stay where they are",
                other.kind()
            ))),
        }
    }

    /// The length of a zone: what was asked for, cut to what the area protects or the data shift allows.
    fn usable_zone_len(&self) -> Result<u64, Error> {
        self.check_head()?;
        let asked = self.zone_len.unwrap_or(ZONE_LEN_BYTES).min(ZONE_LEN_MAX);
        let area_len = self.area.end.saturating_sub(self.area.start);
        // cryptsetup goes on from whole shifts only.
        if let Some(shift) = self.plan.shift() {
            return match shift <= ZONE_LEN_MAX {
                true => Ok(shift),
                false => Err(Error::unsupported(format!(
                    "a data shift of {shift} bytes (at most {ZONE_LEN_MAX})"
                ))),
            };
        }
        let unit = self.plan.alignment();
        let (limit, unit) = self.protection(&(0..self.plan.len))?.limit(area_len, unit);
        let len = asked.min(limit);
        match len - len % unit {
            0 => Err(Error::refused(format!(
                "a hot zone of {len} bytes: the least is {unit}, and the re-encryption's area of {area_len} bytes protects {limit}"
            ))),
            len => Ok(len),
        }
    }

    /// The head of the data is a zone of its own, whatever length was asked for.
    fn check_head(&self) -> Result<(), Error> {
        let Some(len) = self.plan.head_len() else {
            return Ok(());
        };
        let area_len = self.area.end.saturating_sub(self.area.start);
        let unit = self.plan.alignment();
        let (limit, _) = self.protection(&(0..len))?.limit(area_len, unit);
        match len <= limit.min(ZONE_LEN_MAX) {
            true => Ok(()),
            false => Err(Error::refused(format!(
                "a head of {len} bytes, of which the re-encryption's area of {area_len} bytes protects {limit}"
            ))),
        }
    }

    /// The zone behind `boundary`, with room for what must be known of it: that of `spare`, if it has enough.
    fn zone_at(&self, boundary: u64, zone_len: u64, spare: Buffers) -> Result<Option<Zone>, Error> {
        let Some(range) = self.plan.next_zone(boundary, zone_len) else {
            return Ok(None);
        };
        let len = range.end - range.start;
        let (old_at, new_at) = (self.plan.old_at(&range), self.plan.new_at(&range));
        let protection = self.protection(&range)?;
        // A zone that comes to lie over itself must be known before it is written.
        let moves_over_itself = old_at != new_at && old_at.abs_diff(new_at) < len;
        let is_held = moves_over_itself || matches!(protection, Protection::Journal);
        let buffers = Buffers {
            bytes: is_held.then(|| room_of(spare.bytes, len)),
            checksums: match protection {
                Protection::Checksums(kind) => {
                    let spare = spare.checksums.map(|(_, hashes)| hashes);
                    Some((kind, room_of(spare, kind.len_for(len))))
                }
                _ => None,
            },
        };
        Ok(Some(Zone::new(range, [old_at, new_at], buffers)))
    }

    /// Makes what protects a zone durable, and then has the header say that it is hot.
    fn make_hot(&mut self, zone: &Zone, boundary: u64) -> Result<(), Error> {
        let protecting = match self.protection(&zone.range)? {
            Protection::Checksums(_) => zone.checksums(),
            Protection::Journal => zone.bytes(),
            Protection::None | Protection::Shift => None,
        };
        if let Some(protecting) = protecting {
            self.commit_between(boundary)?;
            self.write_area(protecting)?;
        }
        self.commit_position(Position::Hot(zone.range.clone()))
    }

    /// Finishes the zone that was interrupted, as it would have been.
    fn recover_zone(&mut self, turner: &Turner<'_>, zone: &Range<u64>) -> Result<(), Error> {
        let zone_len = zone.end.saturating_sub(zone.start);
        let area_len = self.area.end.saturating_sub(self.area.start);
        let protection = self.protection(zone)?;
        let needed = match &protection {
            Protection::Journal => zone_len,
            Protection::Checksums(kind) => kind.len_for(zone_len),
            Protection::None | Protection::Shift => 0,
        };
        let end = self.plan.new_at(zone).checked_add(zone_len);
        let device_len = self.data().len().map_err(measuring)?;
        if needed > area_len || end.is_none_or(|end| end > device_len) {
            return Err(Error::refused(format!(
                "the hot zone of {zone_len} bytes from byte {} on does not fit its area of {area_len} bytes or the device",
                zone.start
            )));
        }
        let (old_at, new_at) = (self.plan.old_at(zone), self.plan.new_at(zone));
        if matches!(protection, Protection::Shift) && old_at.abs_diff(new_at) < zone_len {
            return Err(Error::device(format!(
                "the re-encryption was interrupted in the {zone_len} bytes of plaintext from byte {} on, which go from byte {old_at} to {new_at}: whether old ones were written over is not known",
                zone.start
            )));
        }
        match protection {
            Protection::Journal => {
                turner.redo(self.storage, self.area.start, zone, new_at)?;
            }
            Protection::Shift => {
                turner.redo(self.data(), old_at, zone, new_at)?;
            }
            Protection::Checksums(kind) => {
                turner.redo_by_checksums(kind, self.storage, self.area.start, zone, new_at)?;
            }
            Protection::None => match self.unprotected_zone {
                Some(UnprotectedZone::Old) => turner.redo(self.data(), old_at, zone, new_at)?,
                Some(UnprotectedZone::New) => {}
                None => return Err(recovery::unprotected(zone)),
            },
        }
        self.flush_all()
    }

    fn write_area(&self, bytes: &[u8]) -> Result<(), Error> {
        let at = self.area.start;
        self.storage.write_at(bytes, at).map_err(writing(at))?;
        self.flush_header()
    }

    fn commit_between(&mut self, boundary: u64) -> Result<(), Error> {
        let position = Position::Between(boundary);
        if self.position == position {
            return Ok(());
        }
        self.commit_position(position)
    }

    fn header_at(&self, position: &Position) -> Result<Header, Error> {
        let segments = self.plan.segments(position);
        let segments = segments
            .iter()
            .map(|(segment, digests)| (segment, digests.clone()));
        Ok(self
            .selected
            .header
            .edit(|draft| draft.replace_segments(segments))?)
    }

    fn commit_position(&mut self, position: Position) -> Result<(), Error> {
        self.replace_header(self.header_at(&position)?)?;
        self.position = position;
        Ok(())
    }

    fn replace_header(&mut self, header: Header) -> Result<(), Error> {
        let new = Selected {
            header,
            repair: Default::default(),
        };
        commit(self.storage, &self.selected, &new, &[], self.patience)?;
        self.selected = new;
        Ok(())
    }

    /// One commit takes requirement, journal and old keys away together: there is no moment at which the data are
    /// new and the header still says that they are being re-encrypted without saying which of them, which is where
    /// cryptsetup begins anew and loses them. The last zone counts as hot until then.
    fn finish(mut self) -> Result<(), Error> {
        self.wipe_left_behind()?;
        let reencryption = self.reencryption()?;
        let journal = reencryption.keyslot_id;
        let metadata = self.selected.header.metadata();
        let mut gone: Vec<u32> = vec![journal];
        let is_vouched_for = self.unopened_keyslots().is_empty();
        if is_vouched_for {
            gone.extend(self.old_keyslots());
        }
        let areas: Vec<Range<u64>> = gone
            .iter()
            .filter_map(|id| metadata.keyslots().get(id))
            .map(Keyslot::area_range)
            .collect();
        let requirements: Vec<Requirement> = metadata
            .requirements()
            .iter()
            .filter(|requirement| !matches!(requirement, Requirement::OnlineReencrypt { .. }))
            .cloned()
            .collect();
        let (segment, digests) = self.plan.finished_segment();
        let keyslots_end = self.grown_keyslots_end(segment.offset())?;
        let header = self.selected.header.edit(|draft| {
            draft.replace_segments([(&segment, digests.clone())])?;
            for &id in &gone {
                draft.remove_keyslot(id)?;
            }
            draft.set_requirements(&requirements);
            if let Some(end) = keyslots_end {
                draft.set_keyslots_end(end);
            }
            Ok(())
        })?;
        self.replace_header(header)?;
        self.flush_header()?;
        for area in areas {
            fill_with_noise(
                self.storage,
                area.start,
                area.end.saturating_sub(area.start),
            )?;
        }
        self.flush_all()
    }

    /// At its start a header may still stand amid the plaintext that it has displaced: a crash came before the noise.
    fn clear_displaced(&self) -> Result<(), Error> {
        let Some(left) = self.plan.left_behind() else {
            return Ok(());
        };
        if self.position != self.plan.start() {
            return Ok(());
        }
        let data_offset = self.plan.new_at(&(0..0));
        let end = self.plan.new_at(&(self.plan.len..self.plan.len));
        let end = end.saturating_add(self.plan.shift().unwrap_or(0));
        let end = end.min(self.data().len().map_err(measuring)?);
        let header = &self.selected.header;
        clear_displaced(self.storage, header, data_offset, left.end..end)
    }

    /// The copy of a head of plaintext that was out of the way goes before the header says that all is encrypted: a
    /// crash meanwhile leaves a re-encryption with nothing to do but this.
    fn wipe_left_behind(&mut self) -> Result<(), Error> {
        let Some(left) = self.plan.left_behind() else {
            return Ok(());
        };
        self.commit_between(0)?;
        self.flush_header()?;
        fill_with_noise(self.data(), left.start, left.end.saturating_sub(left.start))?;
        self.flush_all()
    }

    /// Where the keyslots area ends when it takes all the room before the data, as cryptsetup has it then; `None` where
    /// it stays as it is, because that is more than it may be or than there is.
    fn grown_keyslots_end(&self, data_offset: u64) -> Result<Option<u64>, Error> {
        let start = self.selected.header.metadata().keyslots_area().start;
        let size = data_offset.saturating_sub(start);
        let present = self.storage.len().map_err(measuring)?;
        let may_be = size > 0
            && size <= KEYSLOTS_SIZE_MAX
            && size.is_multiple_of(4096)
            && data_offset <= present;
        Ok(may_be.then_some(data_offset))
    }

    fn flush_header(&self) -> Result<(), Error> {
        self.storage.flush().map_err(flushing)
    }

    fn flush_all(&self) -> Result<(), Error> {
        if let Some(data) = self.detached_data {
            data.flush().map_err(flushing)?;
        }
        self.flush_header()
    }
}

/// `spare`, if it is long enough, or else a new buffer of `len` bytes.
fn room_of(spare: Option<AlignedBuffer>, len: u64) -> AlignedBuffer {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    spare
        .filter(|buffer| buffer.len() >= len)
        .unwrap_or_else(|| AlignedBuffer::zeroed(len))
}
