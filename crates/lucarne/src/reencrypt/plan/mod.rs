//! Where the old bytes lie, where the new ones belong, and which segments say so at every moment.

mod segments;

use std::ops::Range;

use lucarne_format::luks2::{
    Header, ReencryptDirection, ReencryptMode, Reencryption, Segment, SegmentSize,
};

use super::expected::difference;
use crate::Error;

/// How far a re-encryption is. Offsets are those of the plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// On one side of this byte the data are new, on the other old.
    Between(u64),
    /// As before, and of these bytes some are new and some are old.
    Hot(Range<u64>),
}

/// The order in which the bytes are turned, and how far they move.
#[derive(Debug, Clone)]
enum Way {
    /// In place, from the first byte to the last.
    Forward,
    /// In place, from the last byte to the first: a decryption under a detached header.
    Backward,
    /// An encryption that makes room for its header: from the last byte to the first, each zone `shift` bytes behind
    /// where it was. The head, which the header displaced, lies in the tail of the device; it is the last zone, in one
    /// piece.
    Up { shift: u64, moved: Moved },
    /// A decryption that takes the header's room: from the end of the head to the last byte, each zone `shift` bytes
    /// before where it was. The head, which lies where it belongs already, is the last zone, in one piece and in place.
    Down { shift: u64, moved: Moved },
}

/// The head of the data, out of the way: `backup-moved-segment`.
#[derive(Debug, Clone)]
struct Moved {
    segment: Segment,
    len: u64,
}

/// A re-encryption's geometry: all of it comes from what the metadata's digest covers, and the device's length.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    mode: ReencryptMode,
    previous: Segment,
    last: Segment,
    old_digest: Option<u32>,
    new_digest: Option<u32>,
    way: Way,
    /// Length of the plaintext.
    pub(super) len: u64,
}

impl Plan {
    pub(super) fn new(reencryption: &Reencryption<'_>, device_len: u64) -> Result<Self, Error> {
        use ReencryptDirection::{Backward, Forward};
        let keyslot = reencryption.keyslot;
        let shift = keyslot.resilience.shift_size();
        let moved = reencryption.moved.map(Moved::of).transpose()?;
        let way = match (keyslot.mode, keyslot.direction, shift, moved) {
            (_, Forward, None, None) => Way::Forward,
            (ReencryptMode::Decrypt, Backward, None, None) => Way::Backward,
            (ReencryptMode::Encrypt, Backward, Some(shift), Some(moved)) => {
                Way::Up { shift, moved }
            }
            (ReencryptMode::Decrypt, Forward, Some(shift), Some(moved)) => {
                Way::Down { shift, moved }
            }
            (mode, direction, ..) => {
                return Err(Error::unsupported(format!(
                    "a re-encryption of mode {}, {}, {}",
                    mode.as_str(),
                    direction.as_str(),
                    keyslot.resilience.kind()
                )));
            }
        };
        let plan = Self {
            mode: keyslot.mode,
            previous: reencryption.previous.clone(),
            last: reencryption.last.clone(),
            old_digest: reencryption.old_digest,
            new_digest: reencryption.new_digest,
            way,
            len: 0,
        };
        plan.with_len(device_len)
    }

    fn with_len(self, device_len: u64) -> Result<Self, Error> {
        let (from, to) = (self.previous.offset(), self.last.offset());
        let room = device_len.saturating_sub(from);
        let len = match (self.previous.size(), &self.way) {
            (SegmentSize::Bytes(len), _) => len,
            (SegmentSize::Dynamic, Way::Up { .. }) => {
                return Err(Error::unsupported(
                    "a data shift of a segment without a length",
                ));
            }
            (SegmentSize::Dynamic, _) => room - room % 512,
        };
        let ends = [from, to].map(|offset| offset.checked_add(len));
        if len == 0
            || ends
                .iter()
                .any(|end| end.is_none_or(|end| end > device_len))
        {
            return Err(Error::device(format!(
                "the device has {device_len} bytes, and {len} bytes of data from byte {} on are being re-encrypted: it was cut since, or is another",
                from.max(to)
            )));
        }
        let (shifted, shift) = match &self.way {
            Way::Forward | Way::Backward => (from.checked_sub(to), 0),
            Way::Up { shift, .. } => (to.checked_sub(from), *shift),
            Way::Down { shift, .. } => (from.checked_sub(to), *shift),
        };
        if shifted != Some(shift) {
            return Err(Error::refused(format!(
                "the data move from byte {from} to {to}, which is not the shift of {shift} bytes"
            )));
        }
        if let Some(moved) = self.moved() {
            let offset = moved.segment.offset();
            let is_its_place = matches!(self.way, Way::Up { .. }) || offset == to;
            let end = offset.checked_add(moved.len);
            if moved.len > len
                || moved.len > shift
                || !is_its_place
                || end.is_none_or(|end| end > device_len)
            {
                return Err(Error::refused(format!(
                    "the {} bytes of the head, moved to byte {offset}, do not fit the {len} bytes of data, a shift of {shift} bytes and a device of {device_len} bytes",
                    moved.len
                )));
            }
        }
        for sector_len in [sector_len(&self.previous), sector_len(&self.last)] {
            if !len.is_multiple_of(sector_len) {
                return Err(Error::refused(format!(
                    "the {len} bytes of data are not whole sectors of {sector_len} bytes"
                )));
            }
        }
        Ok(Self { len, ..self })
    }

    fn moved(&self) -> Option<&Moved> {
        match &self.way {
            Way::Up { moved, .. } | Way::Down { moved, .. } => Some(moved),
            Way::Forward | Way::Backward => None,
        }
    }

    /// Where it begins.
    pub(super) fn start(&self) -> Position {
        Position::Between(match &self.way {
            Way::Forward => 0,
            Way::Backward | Way::Up { .. } => self.len,
            Way::Down { moved, .. } => moved.len,
        })
    }

    /// How far each zone moves but the head's; `None` where all are turned in place.
    pub(super) fn shift(&self) -> Option<u64> {
        match &self.way {
            Way::Up { shift, .. } | Way::Down { shift, .. } => Some(*shift),
            Way::Forward | Way::Backward => None,
        }
    }

    /// How far the header says that it is. Its segments are not covered by any digest: they, and the digests that name
    /// them, must be those that this position has.
    pub(super) fn position(&self, header: &Header) -> Result<Position, Error> {
        let regular: Vec<(u32, &Segment)> = header
            .metadata()
            .segments()
            .iter()
            .filter(|(_, segment)| !segment.is_backup())
            .map(|(&id, segment)| (id, segment))
            .collect();
        let position = self.claimed_position(header, &regular);
        let Some(position) = position.filter(|position| self.has(position)) else {
            return Err(Error::refused(
                "the segments are not those of a re-encryption that was interrupted, or it was one of a part of the device (--device-size)",
            ));
        };
        match difference(header, &self.segments(&position)) {
            None => Ok(position),
            Some(difference) => Err(Error::refused(format!(
                "the segments are not those of a re-encryption that was interrupted: {difference}"
            ))),
        }
    }

    /// Whether the position is one between whole sectors of the data.
    fn has(&self, position: &Position) -> bool {
        let (range, end_max) = match position {
            Position::Between(boundary) => (*boundary..*boundary, self.len),
            // cryptsetup's zone of a displaced head is as long as the shift, whatever the head's length.
            Position::Hot(zone) if zone.start == 0 => {
                (zone.clone(), self.len.max(self.shift().unwrap_or(0)))
            }
            Position::Hot(zone) => (zone.clone(), self.len),
        };
        let is_hot = matches!(position, Position::Hot(_));
        let unit = self.alignment();
        range.end <= end_max
            && range.is_empty() != is_hot
            && range.start.is_multiple_of(unit)
            && range.end.is_multiple_of(unit)
    }

    fn claimed_position(&self, header: &Header, regular: &[(u32, &Segment)]) -> Option<Position> {
        let hot = regular
            .iter()
            .find(|(_, segment)| segment.is_in_reencryption());
        if let Some((_, hot)) = hot {
            let start = hot.offset().checked_sub(self.last.offset())?;
            let SegmentSize::Bytes(len) = hot.size() else {
                return None;
            };
            return Some(Position::Hot(start..start.checked_add(len)?));
        }
        let size = |segment: &Segment| match segment.size() {
            SegmentSize::Bytes(size) => Some(size),
            SegmentSize::Dynamic => None,
        };
        let boundary = match &self.way {
            // What is still old has sizes.
            Way::Up { .. } => {
                let linear = regular.iter().filter(|(_, segment)| is_linear(segment));
                linear
                    .map(|(_, segment)| size(segment))
                    .sum::<Option<u64>>()?
            }
            Way::Down { moved, .. } => match regular {
                [(_, head), ..] if is_linear(head) => 0,
                [_, (_, new), ..] if is_linear(new) => {
                    size(new).map_or(Some(self.len), |size| moved.len.checked_add(size))?
                }
                _ => moved.len,
            },
            Way::Forward | Way::Backward => match regular {
                &[(id, only)] => {
                    let is_new = self.is_new(header, id, only);
                    if is_new == matches!(self.way, Way::Forward) {
                        self.len
                    } else {
                        0
                    }
                }
                [(_, first), _] => size(first)?,
                _ => return None,
            },
        };
        Some(Position::Between(boundary))
    }

    /// Whether the only segment is the one that the data will be: then the data are finished, and the metadata
    /// are not.
    fn is_new(&self, header: &Header, id: u32, segment: &Segment) -> bool {
        match self.mode {
            ReencryptMode::Encrypt => !is_linear(segment),
            ReencryptMode::Decrypt => is_linear(segment),
            ReencryptMode::Reencrypt => {
                let digests = header.metadata().digests();
                let is_of = |digest: Option<u32>| {
                    digest
                        .and_then(|digest| digests.get(&digest))
                        .is_some_and(|digest| digest.segments.contains(&id))
                };
                is_of(self.new_digest) && !is_of(self.old_digest)
            }
        }
    }

    /// The next bytes to be done, at most `zone_len` of them but for a head; `None` when all are.
    pub(super) fn next_zone(&self, boundary: u64, zone_len: u64) -> Option<Range<u64>> {
        let forward = || boundary..boundary.saturating_add(zone_len).min(self.len);
        match &self.way {
            Way::Forward => Some(forward()).filter(|zone| !zone.is_empty()),
            // Whole zones, counted from the start, but for the first.
            Way::Backward => {
                let last = boundary.checked_sub(1)?;
                Some(last - last % zone_len..boundary)
            }
            Way::Up { moved, .. } => match boundary {
                0 => None,
                boundary if boundary <= moved.len => Some(0..moved.len),
                boundary => Some(boundary.saturating_sub(zone_len).max(moved.len)..boundary),
            },
            Way::Down { moved, .. } => match boundary {
                0 => None,
                boundary if boundary < self.len => Some(forward()),
                _ => Some(0..moved.len),
            },
        }
    }

    /// The boundary with so many bytes before it, as far as there is one.
    pub(super) fn boundary_at(&self, offset: u64) -> u64 {
        match &self.way {
            Way::Forward => offset,
            Way::Backward | Way::Up { .. } => self.len.saturating_sub(offset),
            Way::Down { moved, .. } => offset.max(moved.len),
        }
    }

    /// Where the boundary is when `zone` is done.
    pub(super) fn after(&self, zone: &Range<u64>) -> u64 {
        match &self.way {
            Way::Forward => zone.end,
            Way::Backward | Way::Up { .. } => zone.start,
            Way::Down { .. } if zone.start == 0 => 0,
            Way::Down { .. } => zone.end,
        }
    }

    /// How many bytes are done at this boundary.
    pub(super) fn done_len(&self, boundary: u64) -> u64 {
        match &self.way {
            Way::Forward => boundary,
            Way::Down { moved, .. } if boundary > 0 => boundary.saturating_sub(moved.len),
            Way::Backward | Way::Up { .. } | Way::Down { .. } => self.len.saturating_sub(boundary),
        }
    }

    /// Where a zone's old bytes lie on the data device.
    pub(super) fn old_at(&self, zone: &Range<u64>) -> u64 {
        match self.moved() {
            Some(moved) if zone.start == 0 => moved.segment.offset(),
            _ => self.previous.offset().saturating_add(zone.start),
        }
    }

    /// Where a zone's new bytes belong.
    pub(super) fn new_at(&self, zone: &Range<u64>) -> u64 {
        self.last.offset().saturating_add(zone.start)
    }

    /// A head that lies out of the way and that nobody needs in the end.
    pub(super) fn left_behind(&self) -> Option<Range<u64>> {
        match &self.way {
            Way::Up { moved, .. } => {
                let start = moved.segment.offset();
                Some(start..start.saturating_add(moved.len))
            }
            _ => None,
        }
    }

    /// How many bytes of the data are turned last and in one piece.
    pub(super) fn head_len(&self) -> Option<u64> {
        self.moved().map(|moved| moved.len)
    }

    /// What hot zones begin and end at multiples of: whole sectors before and after.
    pub(super) fn alignment(&self) -> u64 {
        sector_len(&self.previous).max(sector_len(&self.last))
    }
}

impl Moved {
    fn of(segment: &Segment) -> Result<Self, Error> {
        match segment.size() {
            SegmentSize::Bytes(len) if len > 0 => Ok(Self {
                segment: segment.clone(),
                len,
            }),
            _ => Err(Error::refused("backup-moved-segment has no size in bytes")),
        }
    }
}

fn is_linear(segment: &Segment) -> bool {
    matches!(segment, Segment::Linear { .. })
}

fn sector_len(segment: &Segment) -> u64 {
    match segment {
        Segment::Crypt(crypt) => u64::from(crypt.sector_size).max(512),
        _ => 512,
    }
}
