//! From the first zone, or the one that was interrupted, to the last.

use std::ops::Range;
use std::time::Duration;

use lucarne_format::luks2::{
    Header, KEYSLOTS_SIZE_MAX, Keyslot, Requirement, Resilience, Selected,
};
use lucarne_storage::{AlignedBuffer, HeaderLock, Storage};

use super::begin::ReencryptOptions;
use super::checksums::Checksums;
use super::commit::commit;
use super::keys::Keys;
use super::plan::{Plan, Position};
use super::side::Side;
use super::zone::{Protection, Turner, Zone};
use crate::bulk::pool_of;
use crate::editor::commit::changed_meanwhile;
use crate::error::{Busy, IoOp, flushing, measuring, writing};
use crate::header_io::fill_with_noise;
use crate::length_token::LengthToken;
use crate::{Control, Error, HeaderRef, Parallelism, read_header};

/// A hot zone unless another length is asked for, as far as the keyslots area allows: long enough that four
/// flushes cost little, short enough for the memory.
const ZONE_LEN_BYTES: u64 = 64 << 20;

/// The longest zone, which is in memory: cryptsetup's is as long.
const ZONE_LEN_MAX: u64 = 1 << 30;

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
    patience: Option<Duration>,
    _lock: HeaderLock<'s>,
}

impl std::fmt::Debug for Reencryption<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reencryption")
            .field("plan", &self.plan)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Nobody else re-encrypts this volume as long as it lives; without patience no lock is taken at all.
pub(super) fn lock<'s>(
    storage: &'s dyn Storage,
    uuid: &str,
    patience: Option<Duration>,
) -> Result<HeaderLock<'s>, Error> {
    if patience.is_none() {
        return Ok(HeaderLock::none());
    }
    storage
        .lock_reencryption(uuid)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::Busy(Busy::new("another process is re-encrypting this volume"))
            }
            _ => Error::io(IoOp::Lock, 0, error),
        })
}

/// What can be refused without a key.
pub(super) fn check_header(header: &Header, is_detached: bool) -> Result<(), Error> {
    let metadata = header.metadata();
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
        let lock = lock(storage, &uuid, options.patience)?;
        // Read once more: now it cannot be on its way.
        let selected = read_header(storage)?;
        if selected.header.uuid() != uuid {
            return Err(changed_meanwhile());
        }
        if selected.header.metadata().reencryption().is_none() {
            return Err(Error::refused("there is no unfinished re-encryption"));
        }
        check_header(&selected.header, detached_data.is_some())?;
        let keys = Keys::unlock(&selected.header, storage, passphrases, &options.limits)?;
        Self::of_parts(storage, detached_data, selected, keys, options, lock)
    }

    /// With keys that vouch for what the header says.
    pub(super) fn of_parts(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        selected: Selected,
        keys: Keys,
        options: &ReencryptOptions,
        lock: HeaderLock<'s>,
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
            patience: options.patience,
            _lock: lock,
        })
    }

    /// Finds what [`Self::run`] would refuse, before anything is written: a zone that cannot be, and a JSON area
    /// without room for the segments. The last zone but one has the longest numbers of all.
    pub(super) fn check(&self) -> Result<(), Error> {
        let zone_len = self.usable_zone_len()?;
        let last_but_one = self.plan.len.saturating_sub(1) / zone_len;
        let start = last_but_one.saturating_sub(1).saturating_mul(zone_len);
        let zone = self.plan.next_zone(start, zone_len);
        zone.map_or(Ok(()), |zone| {
            self.header_at(&Position::Hot(zone)).map(drop)
        })
    }

    pub(super) fn selected(&self) -> &Selected {
        &self.selected
    }

    /// Re-encrypts what is still to be done, finishes the metadata, and wipes the old keys' keyslots.
    ///
    /// A zone of memory is needed besides some MiB.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `control` was asked to stop: the zone at hand is finished first;
    /// [`Error::Device`] when the bytes of an interrupted zone are neither the old nor the new ones, or it was
    /// not protected (resilience `none`): nothing is written then; [`Error::Busy`] when somebody else changed
    /// the header; [`Error::OutOfMemory`], [`Error::Io`]. After any of them it can be resumed.
    pub fn run(mut self, parallelism: Parallelism<'_>, control: &Control) -> Result<(), Error> {
        let mut own_pool = None;
        let turner = self.turner(pool_of(parallelism, &mut own_pool)?, control)?;
        control.set_total_bytes(self.plan.len);
        if let Position::Hot(zone) = self.position.clone() {
            self.recover(&turner, &zone)?;
        }
        let zone_len = self.usable_zone_len()?;
        let mut boundary = match self.position {
            Position::Between(boundary) => boundary,
            Position::Hot(ref zone) => self.plan.after(zone),
        };
        control.add_done_bytes(self.plan.done_len(boundary));
        let mut next = self.zone_at(boundary, zone_len, Protection::default())?;
        turner.advance(None, next.as_mut())?;
        let mut spare = Protection::default();
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
                    return Err(Error::refused("zones that overwrite the ones behind them"));
                }
                next => turner.advance(Some(&mut zone), next)?,
            }
            self.flush_all()?;
            spare = zone.into_protection();
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

    fn checksums(&self) -> Result<Option<Checksums>, Error> {
        let parameters = self.resilience.checksum();
        parameters
            .map(|parameters| Checksums::new(parameters, self.plan.alignment()))
            .transpose()
    }

    /// The length of a zone: what was asked for, cut to what the area protects.
    fn usable_zone_len(&self) -> Result<u64, Error> {
        let area_len = self.area.end.saturating_sub(self.area.start);
        let asked = self.zone_len.unwrap_or(ZONE_LEN_BYTES).min(ZONE_LEN_MAX);
        let checksums = self.checksums()?;
        let (limit, unit) = match (&self.resilience, checksums) {
            (Resilience::Datashift { shift_size }, _) if *shift_size <= ZONE_LEN_MAX => {
                return Ok(*shift_size);
            }
            (Resilience::None, _) => (u64::MAX, self.plan.alignment()),
            (Resilience::Journal, _) => (area_len, self.plan.alignment()),
            (Resilience::Checksum(_), Some(checksums)) => {
                let blocks = area_len / checksums.hash_len() as u64;
                let block_len = checksums.block_len as u64;
                (blocks.saturating_mul(block_len), block_len)
            }
            (other, _) => {
                return Err(Error::unsupported(format!("resilience {}", other.kind())));
            }
        };
        let len = asked.min(limit);
        match len - len % unit {
            0 => Err(Error::refused(format!(
                "a hot zone of {len} bytes: the least is {unit}, and the re-encryption's area of {area_len} bytes protects {limit}"
            ))),
            len => Ok(len),
        }
    }

    /// The zone behind `boundary`, with room for what protects it: that of `spare`, if it has enough.
    fn zone_at(
        &self,
        boundary: u64,
        zone_len: u64,
        spare: Protection,
    ) -> Result<Option<Zone>, Error> {
        let Some(range) = self.plan.next_zone(boundary, zone_len) else {
            return Ok(None);
        };
        let room = |spare: Option<AlignedBuffer>, len: u64| {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            spare
                .filter(|buffer| buffer.len() >= len)
                .unwrap_or_else(|| AlignedBuffer::zeroed(len))
        };
        let len = range.end - range.start;
        let is_held = self.resilience == Resilience::Journal;
        let protection = Protection {
            bytes: is_held.then(|| room(spare.bytes, len)),
            checksums: self.checksums()?.map(|kind| {
                let spare = spare.checksums.map(|(_, hashes)| hashes);
                (kind, room(spare, kind.len_for(len)))
            }),
        };
        let at = [self.plan.old_at(&range), self.plan.new_at(&range)];
        Ok(Some(Zone::new(range, at, protection)))
    }

    /// Makes what protects a zone durable, and then has the header say that it is hot.
    fn make_hot(&mut self, zone: &Zone, boundary: u64) -> Result<(), Error> {
        if let Some(protection) = zone.area_bytes() {
            self.commit_between(boundary)?;
            self.write_area(protection)?;
        }
        self.commit_position(Position::Hot(zone.range.clone()))
    }

    /// Finishes the zone that was interrupted, as it would have been.
    fn recover(&mut self, turner: &Turner<'_>, zone: &Range<u64>) -> Result<(), Error> {
        let zone_len = zone.end.saturating_sub(zone.start);
        let area_len = self.area.end.saturating_sub(self.area.start);
        let checksums = self.checksums()?;
        let needed = match (&self.resilience, checksums) {
            (Resilience::Journal, _) => zone_len,
            (_, Some(kind)) => kind.len_for(zone_len),
            _ => 0,
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
        match (&self.resilience, checksums) {
            (Resilience::Journal, _) => {
                turner.redo(self.storage, self.area.start, zone, new_at)?;
            }
            (Resilience::Datashift { .. }, _) => {
                turner.redo(self.data(), old_at, zone, new_at)?;
            }
            (Resilience::Checksum(_), Some(kind)) => {
                turner.redo_by_checksums(kind, self.storage, self.area.start, zone, new_at)?;
            }
            (other, _) => {
                return Err(Error::device(format!(
                    "the re-encryption was interrupted in the {zone_len} bytes of plaintext from byte {} on, which resilience {} does not protect: which of them are old is not known",
                    zone.start,
                    other.kind()
                )));
            }
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
        let reencryption = self.reencryption()?;
        let journal = reencryption.keyslot_id;
        let metadata = self.selected.header.metadata();
        let mut gone: Vec<u32> = vec![journal];
        if reencryption.old_digest != reencryption.new_digest
            && let Some(digest) = reencryption
                .old_digest
                .and_then(|id| metadata.digests().get(&id))
        {
            gone.extend(digest.keyslots.iter().copied());
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
        if let Some(moved) = self.plan.moved_range() {
            let len = moved.end.saturating_sub(moved.start);
            fill_with_noise(self.data(), moved.start, len)?;
        }
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
