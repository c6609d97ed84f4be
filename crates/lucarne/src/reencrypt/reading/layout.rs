//! From the header to pieces: what its segments say, held against what the keys vouch for.
//!
//! The keys vouch for the backup segments and the keyslot ([`Keys::unlock`](super::super::keys::Keys)), but
//! for no regular segment: those change with every hot zone. But each of them can be foretold from the backup
//! segments and the bytes before it, and one that is otherwise is refused. So a forger can move borders and
//! spoil what is read; they cannot have ciphertext given out as plaintext, or read beside the data.

use std::ops::Range;

use lucarne_cipher::{CipherSpec, DataUnit};
use lucarne_format::luks2::{
    ChecksumResilience, CryptSegment, Metadata, ReencryptDirection, Reencryption, Resilience,
    Segment, SegmentSize,
};
use lucarne_keyslot::Hash;
use lucarne_storage::Storage;

use super::{HalfDone, Piece, State};
use crate::Error;
use crate::error::{measuring, reading};
use crate::reencrypt::checksums::Checksums;
use crate::reencrypt::keys::Keys;
use crate::reencrypt::side::Side;

/// What a hot zone's resilience data may take in memory. cryptsetup's longest zone, 1 GiB, has as much of
/// SHA-256 over 512 bytes.
const RESILIENCE_LEN_MAX: u64 = 64 << 20;
const SECTOR_LEN_BYTES: u64 = 512;

/// Refuses by name what cannot be read, before a key derivation is paid for.
pub(crate) fn check_supported(reencryption: &Reencryption<'_>) -> Result<(), Error> {
    let segments = [Some(reencryption.previous), Some(reencryption.last)];
    for segment in segments.into_iter().chain([reencryption.moved]).flatten() {
        match segment {
            Segment::Linear { .. } => {}
            Segment::Crypt(segment) => {
                if let Some(integrity) = &segment.integrity {
                    return Err(Error::unsupported(format!(
                        "a re-encryption with integrity {integrity:?}"
                    )));
                }
                DataUnit::try_from(segment.sector_size)?;
                segment
                    .encryption
                    .parse::<CipherSpec>()?
                    .check_supported()?;
            }
            other => {
                return Err(Error::unsupported(format!(
                    "a re-encryption with a segment of type {:?}",
                    other.kind()
                )));
            }
        }
    }
    if let Some(checksum) = reencryption.keyslot.resilience.checksum() {
        checksum.hash.parse::<Hash>()?;
    }
    Ok(())
}

impl HalfDone {
    /// How the plaintext lies on `data`. `header_end` is where data on the header's own device may begin; `None`
    /// for a header on `header_storage` apart.
    ///
    /// # Errors
    /// [`Error::Refused`] for segments that the re-encryption cannot have made, [`Error::Device`] when something
    /// lies past the end of its device.
    pub(crate) fn new(
        metadata: &Metadata,
        reencryption: &Reencryption<'_>,
        keys: &Keys,
        data: &dyn Storage,
        header_storage: &dyn Storage,
        header_end: Option<u64>,
    ) -> Result<Self, Error> {
        let device_len = data.len().map_err(measuring)?;
        let end = device_len - device_len % SECTOR_LEN_BYTES;
        // In "data finished, metadata not" there may be no old key any more, and nothing under it.
        let has_old = keys.old_key().is_some() || reencryption.old_digest.is_none();
        let old = match has_old {
            true => Side::new(reencryption.previous, keys.old_key())?,
            false => Side::Linear,
        };
        let new = Side::new(reencryption.last, keys.new_key(reencryption))?;
        let mut layout = Layout {
            metadata,
            reencryption,
            device: header_end.unwrap_or(0)..end,
            header_storage,
            sector_lens: [old.sector_len() as u64, new.sector_len() as u64],
            position: 0,
            pieces: Vec::new(),
            before: None,
            head: None,
        };
        layout.lay()?;
        let is_new = |piece: &Piece| matches!(piece.state, State::New { .. });
        if !has_old && !layout.pieces.iter().all(is_new) {
            return Err(Error::WrongKey);
        }
        let len = layout.position.min(layout.previous_len()?);
        if len == 0 {
            return Err(Error::device(
                "the data have no bytes: the image is truncated",
            ));
        }
        Ok(Self {
            len,
            data_offset: reencryption.last.offset(),
            pieces: layout.pieces,
            old,
            new,
        })
    }
}

/// How far a segment is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Old,
    Hot,
    New,
}

struct Layout<'a> {
    metadata: &'a Metadata,
    reencryption: &'a Reencryption<'a>,
    /// Where data may lie.
    device: Range<u64>,
    header_storage: &'a dyn Storage,
    /// Of the old side and the new one.
    sector_lens: [u64; 2],
    /// Bytes of plaintext so far.
    position: u64,
    pieces: Vec<Piece>,
    /// Of the last piece but a head that was moved away.
    before: Option<Progress>,
    /// Of a head that was moved away.
    head: Option<Progress>,
}

impl Layout<'_> {
    fn lay(&mut self) -> Result<(), Error> {
        let segments = self.metadata.segments().iter();
        let regular: Vec<_> = segments
            .filter(|(_, segment)| !segment.is_backup())
            .collect();
        let is_alone = regular.len() == 1;
        let count = regular.len();
        for (number, (&id, segment)) in regular.into_iter().enumerate() {
            let len = match segment.size() {
                SegmentSize::Bytes(len) => len,
                SegmentSize::Dynamic if number + 1 == count => {
                    let len = self.device.end.checked_sub(segment.offset());
                    len.filter(|&len| len > 0).ok_or_else(|| {
                        Error::device(format!(
                            "the device ends at {} bytes, before segment {id} at {}: the image is truncated",
                            self.device.end,
                            segment.offset()
                        ))
                    })?
                }
                SegmentSize::Dynamic => {
                    return Err(unlike(
                        id,
                        "its size is \"dynamic\", and it is not the last",
                    ));
                }
            };
            let end = self.position.checked_add(len);
            let end = end.ok_or_else(|| unlike(id, "its size"))?;
            let range = self.position..end;
            let (progress, state) = self.state(id, segment, &range, is_alone)?;
            self.check_turn(id, &range, progress)?;
            self.pieces.push(Piece { range, state });
            self.position = end;
        }
        Ok(())
    }

    /// One direction from end to end, and one hot zone; a head that was moved away comes last.
    fn check_turn(&mut self, id: u32, range: &Range<u64>, progress: Progress) -> Result<(), Error> {
        use Progress::{Hot, New, Old};
        let keyslot = self.reencryption.keyslot;
        if self.reencryption.moved.is_some() && range.start == 0 {
            self.head = Some(progress);
            return Ok(());
        }
        let (first, second) = match keyslot.direction {
            ReencryptDirection::Forward => (New, Old),
            ReencryptDirection::Backward => (Old, New),
        };
        // Two of a kind are one, unless a flag was taken from the one, or nothing changes at all.
        let reencryption = self.reencryption;
        let nothing_changes = reencryption.old_digest == reencryption.new_digest
            && is_like(reencryption.previous, reencryption.last);
        let in_turn = match self.before {
            None => true,
            _ if nothing_changes => true,
            Some(Hot) => progress == second,
            Some(before) => progress != before && before == first,
        };
        let after_head = match self.head {
            None | Some(Old) => true,
            Some(Hot) => progress == New,
            Some(New) => false,
        };
        self.before = Some(progress);
        if in_turn && after_head {
            return Ok(());
        }
        Err(unlike(id, "it is not its turn"))
    }

    fn state(
        &self,
        id: u32,
        segment: &Segment,
        range: &Range<u64>,
        is_alone: bool,
    ) -> Result<(Progress, State), Error> {
        let is_of = |digest| is_of_digest(self.metadata, id, digest);
        let fits = |model: &Segment, digest, at| {
            is_like(segment, model)
                && segment.offset() == at
                && (matches!(segment, Segment::Linear { .. }) || is_of(digest))
                // cryptsetup ignores it where there is one segment, and may have kept another.
                && (is_alone || first_iv(segment).is_none_or(|iv| iv == range.start / SECTOR_LEN_BYTES))
        };
        let reencryption = self.reencryption;
        let new_at = self.new_at(id, range)?;
        if segment.is_in_reencryption() {
            if !fits(reencryption.last, reencryption.new_digest, new_at) {
                return Err(unlike(
                    id,
                    "it is in re-encryption, and unlike the data after it",
                ));
            }
            return Ok((Progress::Hot, self.hot_zone(id, range, new_at)?));
        }
        if fits(reencryption.last, reencryption.new_digest, new_at) {
            self.check_place(id, range, new_at, self.sector_lens[1])?;
            return Ok((Progress::New, State::New { at: new_at }));
        }
        let (old_model, old_at) = self.old_at(id, range)?;
        if fits(old_model, reencryption.old_digest, old_at) {
            self.check_place(id, range, old_at, self.sector_lens[0])?;
            return Ok((Progress::Old, State::Old { at: old_at }));
        }
        Err(unlike(
            id,
            "it is neither as the data were there nor as they will be",
        ))
    }

    /// Where the new data of a range lie.
    fn new_at(&self, id: u32, range: &Range<u64>) -> Result<u64, Error> {
        let at = self.reencryption.last.offset().checked_add(range.start);
        at.ok_or_else(|| unlike(id, "its offset"))
    }

    /// Where the old data of a range lie: those of the head elsewhere, if it was moved out of the way.
    fn old_at(&self, id: u32, range: &Range<u64>) -> Result<(&Segment, u64), Error> {
        let (model, base) = match self.reencryption.moved {
            Some(moved) => {
                let SegmentSize::Bytes(moved_len) = moved.size() else {
                    return Err(Error::refused(
                        "backup-moved-segment has the size \"dynamic\"",
                    ));
                };
                if range.start >= moved_len {
                    (
                        self.reencryption.previous,
                        self.reencryption.previous.offset(),
                    )
                } else if range.end <= moved_len {
                    if !is_like(moved, self.reencryption.previous) {
                        return Err(Error::refused(
                            "backup-moved-segment and backup-previous have different ciphers",
                        ));
                    }
                    (moved, moved.offset())
                } else {
                    return Err(unlike(id, "it reaches over the end of the moved head"));
                }
            }
            None => (
                self.reencryption.previous,
                self.reencryption.previous.offset(),
            ),
        };
        let at = base.checked_add(range.start);
        Ok((model, at.ok_or_else(|| unlike(id, "its offset"))?))
    }

    fn hot_zone(&self, id: u32, range: &Range<u64>, new_at: u64) -> Result<State, Error> {
        let (_, old_at) = self.old_at(id, range)?;
        for sector_len in self.sector_lens {
            self.check_place(id, range, new_at, sector_len)?;
        }
        let len = range.end - range.start;
        let in_place = new_at == old_at;
        let is_apart = new_at.abs_diff(old_at) >= len;
        Ok(match &self.reencryption.keyslot.resilience {
            Resilience::Checksum(checksum) | Resilience::DatashiftChecksum { checksum, .. }
                if in_place =>
            {
                self.checksums(id, len, new_at, checksum)?
            }
            Resilience::Journal | Resilience::DatashiftJournal { .. } if in_place => {
                State::Journal(self.resilience_data(len)?)
            }
            Resilience::Datashift { .. }
            | Resilience::DatashiftChecksum { .. }
            | Resilience::DatashiftJournal { .. }
                if is_apart =>
            {
                self.check_place(id, range, old_at, self.sector_lens[0])?;
                State::Old { at: old_at }
            }
            Resilience::None => State::Unknown,
            Resilience::Unknown { kind } => {
                return Err(Error::unsupported(format!("resilience {kind:?}")));
            }
            other => {
                return Err(unlike(
                    id,
                    &format!(
                        "resilience {:?} protects no {len} bytes that go from {old_at} to {new_at}",
                        other.kind()
                    ),
                ));
            }
        })
    }

    fn checksums(
        &self,
        id: u32,
        zone_len: u64,
        at: u64,
        parameters: &ChecksumResilience,
    ) -> Result<State, Error> {
        let [old, new] = self.sector_lens;
        let checksums = Checksums::new(parameters, old.max(new))?;
        if !zone_len.is_multiple_of(u64::from(parameters.sector_size)) {
            return Err(unlike(
                id,
                &format!(
                    "{zone_len} bytes are not whole blocks of {}",
                    parameters.sector_size
                ),
            ));
        }
        Ok(State::Checksums {
            at,
            checksums,
            hashes: self.resilience_data(checksums.len_for(zone_len))?,
        })
    }

    /// The first bytes of the keyslot's area.
    fn resilience_data(&self, len: u64) -> Result<Vec<u8>, Error> {
        let area = &self.reencryption.keyslot.area;
        let id = self.reencryption.keyslot_id;
        let area_len = area.end.saturating_sub(area.start);
        if len > area_len {
            return Err(Error::refused(format!(
                "keyslot {id}: the hot zone needs {len} bytes of resilience data, its area has {area_len}"
            )));
        }
        if len > RESILIENCE_LEN_MAX {
            return Err(Error::refused(format!(
                "keyslot {id}: {len} bytes of resilience data (at most {RESILIENCE_LEN_MAX} are read)"
            )));
        }
        let storage_len = self.header_storage.len().map_err(measuring)?;
        if area
            .start
            .checked_add(len)
            .is_none_or(|end| end > storage_len)
        {
            return Err(Error::device(format!(
                "keyslot {id}: area {}+{area_len} reaches past the end of the header's device at {storage_len}",
                area.start
            )));
        }
        // OK to unwrap: at most RESILIENCE_LEN_MAX.
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = self.header_storage.read_at(&mut bytes, area.start);
        read.map_err(reading(area.start))?;
        Ok(bytes)
    }

    /// Whole sectors, behind the header and before the end of the device.
    fn check_place(
        &self,
        id: u32,
        range: &Range<u64>,
        at: u64,
        sector_len: u64,
    ) -> Result<(), Error> {
        let len = range.end - range.start;
        if !range.start.is_multiple_of(sector_len) || !len.is_multiple_of(sector_len) {
            return Err(Error::device(format!(
                "segment {id}: {len} bytes from {} on are not whole sectors of {sector_len} bytes",
                range.start
            )));
        }
        if at < self.device.start {
            return Err(Error::refused(format!(
                "segment {id}: the data at {at} lie over the header, which ends at {}",
                self.device.start
            )));
        }
        match at.checked_add(len) {
            Some(end) if end <= self.device.end => Ok(()),
            _ => Err(Error::device(format!(
                "segment {id}: {at}+{len} reaches past the device's end at {} bytes: the image is truncated",
                self.device.end
            ))),
        }
    }

    /// How much plaintext there is: what a data shift leaves behind the last of it is not.
    fn previous_len(&self) -> Result<u64, Error> {
        let previous = self.reencryption.previous;
        match previous.size() {
            SegmentSize::Bytes(len) => Ok(len),
            SegmentSize::Dynamic => {
                let len = self.device.end.checked_sub(previous.offset());
                len.ok_or_else(|| {
                    Error::device(format!(
                        "the device ends at {} bytes, before the data at {}: the image is truncated",
                        self.device.end,
                        previous.offset()
                    ))
                })
            }
        }
    }
}

/// A hot zone is of both.
pub(super) fn is_of_digest(metadata: &Metadata, segment: u32, digest: Option<u32>) -> bool {
    let digest = digest.and_then(|id| metadata.digests().get(&id));
    digest.is_some_and(|digest| digest.segments.contains(&segment))
}

fn unlike(id: u32, what: &str) -> Error {
    Error::refused(format!(
        "segment {id} is none of this re-encryption: {what}"
    ))
}

fn first_iv(segment: &Segment) -> Option<u64> {
    match segment {
        Segment::Crypt(CryptSegment { iv_tweak, .. }) => Some(*iv_tweak),
        _ => None,
    }
}

/// Whether the data of both are made alike, wherever they lie.
fn is_like(segment: &Segment, model: &Segment) -> bool {
    match (segment, model) {
        (Segment::Crypt(a), Segment::Crypt(b)) => {
            a.encryption == b.encryption
                && a.sector_size == b.sector_size
                && a.integrity == b.integrity
        }
        (Segment::Linear { .. }, Segment::Linear { .. }) => true,
        _ => false,
    }
}
