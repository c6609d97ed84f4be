//! From the first zone, or the one that was interrupted, to the last.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use lucarne_format::luks2::{Keyslot, Requirement, Resilience, Selected};
use lucarne_keyslot::{CostLimits, Hash};
use lucarne_storage::{AlignedBuffer, HeaderLock, Storage};

use super::commit::commit;
use super::keys::Keys;
use super::plan::{Plan, Position};
use super::zone::{BLOCK_MAX_LEN_BYTES, Checksums, Side, Turner};
use crate::bulk::cipher_pool;
use crate::editor::commit::changed_meanwhile;
use crate::error::{Busy, IoOp, flushing, measuring, writing};
use crate::header_io::fill_with_noise;
use crate::{Control, Error, HeaderEditor, read_header};

/// A hot zone unless another length is asked for, as far as the keyslots area allows: long enough that four
/// flushes cost little, short enough for the memory.
const ZONE_LEN_BYTES: u64 = 64 << 20;

/// An unfinished re-encryption, of which nobody else does anything meanwhile.
///
/// [`Self::resume`] takes up one that a header describes, be it ours or cryptsetup's; [`Self::run`] finishes it.
/// A power cut at any write leaves a header and data from which it can be taken up again, by us or by cryptsetup.
///
/// ```
/// use lucarne::{Control, FormatOptions, KdfKind, KdfRequest, MemoryStorage, OpenOptions, ReencryptOptions, Reencryption, Secret};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// # let format = FormatOptions { kdf: kdf.clone(), keyslots_size: Some(1 << 20), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// lucarne::format(&image, None, b"an example", &format)?;
/// # let volume = OpenOptions::default().open(&image, Secret::Passphrase(b"an example"))?;
/// # volume.write_at(b"weights", 1000)?;
///
/// let options = ReencryptOptions { kdf, ..ReencryptOptions::default() };
/// Reencryption::begin(&image, None, &[b"an example"], &options)?.run(&Control::default())?;
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
    threads: Option<NonZeroUsize>,
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

/// Nobody else re-encrypts this volume as long as it lives.
pub(super) fn lock<'s>(storage: &'s dyn Storage, uuid: &str) -> Result<HeaderLock<'s>, Error> {
    storage
        .lock_reencryption(uuid)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::Busy(Busy::new("another process is re-encrypting this volume"))
            }
            _ => Error::io(IoOp::Lock, 0, error),
        })
}

impl<'s> Reencryption<'s> {
    /// Takes up a re-encryption that is unfinished. Nothing is written yet. The header lies on `storage`, and the
    /// data too if they are not on `detached_data`. Each of both keys must be opened by one of the passphrases.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is none, when its metadata are not those that the keys vouch for, or the
    /// segments are not those of any step; [`Error::Device`] when the device was cut; [`Error::Busy`] when
    /// another process is at it; [`Error::WrongKey`] and the others of [`crate::unlock()`].
    pub fn resume(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        passphrases: &[&[u8]],
        limits: &CostLimits,
    ) -> Result<Self, Error> {
        let uuid = read_header(storage)?.header.uuid().to_owned();
        let lock = lock(storage, &uuid)?;
        // Read once more: now it cannot be on its way.
        let selected = read_header(storage)?;
        if selected.header.uuid() != uuid {
            return Err(changed_meanwhile());
        }
        if selected.header.metadata().reencryption().is_none() {
            return Err(Error::refused("there is no unfinished re-encryption"));
        }
        let keys = Keys::unlock(&selected.header, storage, passphrases, limits)?;
        Self::of_parts(storage, detached_data, selected, keys, lock)
    }

    /// With keys that vouch for what the header says.
    pub(super) fn of_parts(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        selected: Selected,
        keys: Keys,
        lock: HeaderLock<'s>,
    ) -> Result<Self, Error> {
        let Some(reencryption) = selected.header.metadata().reencryption() else {
            return Err(Error::refused("there is no unfinished re-encryption"));
        };
        let device_len = detached_data.unwrap_or(storage).len().map_err(measuring)?;
        let plan = Plan::new(&reencryption, device_len)?;
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
            zone_len: None,
            threads: None,
            patience: Some(HeaderEditor::PATIENCE),
            _lock: lock,
        })
    }

    /// Finds what [`Self::run`] would refuse, before anything is written.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.usable_zone_len().map(drop)
    }

    pub(super) fn selected(&self) -> &Selected {
        &self.selected
    }

    /// At most so many bytes are in both states at once; the default is 64 MiB. What the keyslots area, the
    /// sectors and a data shift allow comes before it.
    #[must_use]
    pub fn with_hot_zone(mut self, len_bytes: Option<u64>) -> Self {
        self.zone_len = len_bytes;
        self
    }

    /// At most so many threads compute; `None`: as many as there are processors.
    #[must_use]
    pub fn with_threads(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.threads = threads;
        self
    }

    /// As [`HeaderEditor::with_patience`].
    #[must_use]
    pub fn with_patience(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
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
    pub fn run(mut self, control: &Control) -> Result<(), Error> {
        let turner = self.turner()?;
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
        let mut buffer = AlignedBuffer::zeroed(0);
        while let Some(zone) = self.plan.next_zone(boundary, zone_len) {
            if control.is_interrupted() {
                self.commit_between(boundary)?;
                self.flush_header()?;
                return Err(Error::Interrupted);
            }
            let len = usize::try_from(zone.end - zone.start).unwrap_or(usize::MAX);
            if buffer.len() < len {
                buffer = AlignedBuffer::zeroed(len);
            }
            self.step(&turner, &zone, boundary, &mut buffer[..len])?;
            let before = self.plan.done_len(boundary);
            boundary = self.plan.after(&zone);
            control.add_done_bytes(self.plan.done_len(boundary).saturating_sub(before));
        }
        self.finish()
    }

    fn turner(&self) -> Result<Turner<'s>, Error> {
        let reencryption = self.reencryption()?;
        Ok(Turner {
            data: self.data(),
            old: Side::new(reencryption.previous, self.keys.old_key())?,
            new: Side::new(reencryption.last, self.keys.new_key(&reencryption))?,
            pool: cipher_pool(self.threads)?,
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
        let Some(checksum) = self.resilience.checksum() else {
            return Ok(None);
        };
        let hash: Hash = checksum.hash.parse()?;
        let block_len = checksum.sector_size as usize;
        if block_len > BLOCK_MAX_LEN_BYTES
            || !(block_len as u64).is_multiple_of(self.plan.alignment())
        {
            return Err(Error::refused(format!(
                "checksums of {block_len} bytes each: they must be whole sectors of {} bytes, and at most {BLOCK_MAX_LEN_BYTES} bytes",
                self.plan.alignment()
            )));
        }
        Ok(Some(Checksums { hash, block_len }))
    }

    /// The length of a zone: what was asked for, cut to what the area protects.
    fn usable_zone_len(&self) -> Result<u64, Error> {
        let area_len = self.area.end.saturating_sub(self.area.start);
        let asked = self.zone_len.unwrap_or(ZONE_LEN_BYTES);
        let checksums = self.checksums()?;
        let (limit, unit) = match (&self.resilience, checksums) {
            (Resilience::Datashift { shift_size }, _) => return Ok(*shift_size),
            (Resilience::None, _) => (u64::MAX, self.plan.alignment()),
            (Resilience::Journal, _) => (area_len, self.plan.alignment()),
            (Resilience::Checksum(_), Some(checksums)) => {
                let blocks = area_len / checksums.hash.output_len() as u64;
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

    fn step(
        &mut self,
        turner: &Turner<'_>,
        zone: &Range<u64>,
        boundary: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let (old_at, new_at) = (self.plan.old_at(zone), self.plan.new_at(zone));
        match self.checksums()? {
            Some(kind) => {
                let len = kind.len_for(buffer.len() as u64);
                let mut checksums = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
                turner.read_old(buffer, old_at, Some((kind, &mut checksums)))?;
                self.commit_between(boundary)?;
                self.write_area(&checksums)?;
            }
            None => {
                turner.read_old(buffer, old_at, None)?;
                if self.resilience == Resilience::Journal {
                    self.commit_between(boundary)?;
                    self.write_area(buffer)?;
                }
            }
        }
        self.commit_position(Position::Hot(zone.clone()))?;
        turner.write_new(buffer, zone.start, new_at)?;
        self.flush_all()
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

    fn commit_position(&mut self, position: Position) -> Result<(), Error> {
        let segments = self.plan.segments(&position);
        let header = self.selected.header.edit(|draft| {
            draft.replace_segments(
                segments
                    .iter()
                    .map(|(segment, digests)| (segment, digests.clone())),
            )
        })?;
        self.replace_header(header)?;
        self.position = position;
        Ok(())
    }

    fn replace_header(&mut self, header: lucarne_format::luks2::Header) -> Result<(), Error> {
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
        let data_offset = segment.offset();
        let header = self.selected.header.edit(|draft| {
            draft.replace_segments([(&segment, digests.clone())])?;
            for &id in &gone {
                draft.remove_keyslot(id)?;
            }
            draft.set_requirements(&requirements);
            if data_offset > 0 {
                draft.set_keyslots_end(data_offset);
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
