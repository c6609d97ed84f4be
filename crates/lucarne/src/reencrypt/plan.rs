//! Where the old bytes lie, where the new ones belong, and which segments say so at every moment.

use std::ops::Range;

use lucarne_format::luks2::{
    CryptSegment, Header, IN_REENCRYPTION, ReencryptDirection, ReencryptMode, Reencryption,
    Segment, SegmentSize,
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

/// A re-encryption's geometry: all of it comes from what the metadata's digest covers, and the device's length.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    mode: ReencryptMode,
    previous: Segment,
    last: Segment,
    moved: Option<Segment>,
    old_digest: Option<u32>,
    new_digest: Option<u32>,
    /// The head of a plain device is encrypted into its tail: from the last byte to the first, each zone this
    /// far behind where it was.
    shift: Option<u64>,
    /// Length of the plaintext.
    pub(super) len: u64,
}

impl Plan {
    pub(super) fn new(reencryption: &Reencryption<'_>, device_len: u64) -> Result<Self, Error> {
        let shift = reencryption.keyslot.resilience.shift_size();
        let is_forward = reencryption.keyslot.direction == ReencryptDirection::Forward;
        let mode = reencryption.keyslot.mode;
        let is_shifted_encryption = mode == ReencryptMode::Encrypt
            && !is_forward
            && shift.is_some()
            && reencryption.moved.is_some();
        let is_in_place = is_forward && shift.is_none() && reencryption.moved.is_none();
        if !is_shifted_encryption && !is_in_place {
            return Err(Error::unsupported(format!(
                "a re-encryption of mode {}, {}, {}",
                mode.as_str(),
                reencryption.keyslot.direction.as_str(),
                reencryption.keyslot.resilience.kind()
            )));
        }
        let plan = Self {
            mode,
            previous: reencryption.previous.clone(),
            last: reencryption.last.clone(),
            moved: reencryption.moved.cloned(),
            old_digest: reencryption.old_digest,
            new_digest: reencryption.new_digest,
            shift,
            len: 0,
        };
        plan.with_len(device_len)
    }

    fn with_len(self, device_len: u64) -> Result<Self, Error> {
        let start = self.last.offset();
        let room = device_len.saturating_sub(start);
        let len = match (self.previous.size(), self.shift) {
            (SegmentSize::Bytes(len), _) => len,
            (SegmentSize::Dynamic, None) => room - room % 512,
            (SegmentSize::Dynamic, Some(_)) => {
                return Err(Error::unsupported(
                    "a data shift of a segment without a length",
                ));
            }
        };
        let needed = len.checked_add(self.shift.map_or(start, |shift| start.max(shift)));
        if len == 0 || needed.is_none_or(|needed| needed > device_len) {
            return Err(Error::device(format!(
                "the device has {device_len} bytes, and {len} bytes of data from byte {start} on are being re-encrypted: it was cut since, or is another"
            )));
        }
        if let Some(shift) = self.shift {
            if self.previous.offset().checked_add(shift) != Some(start) {
                return Err(Error::refused(format!(
                    "the data move from byte {} to {start}, which is not the shift of {shift} bytes",
                    self.previous.offset()
                )));
            }
        } else if self.previous.offset() != start {
            return Err(Error::unsupported(
                "a re-encryption that moves the data without a shift",
            ));
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
            // The head's zone is as long as the shift, whatever its length.
            Position::Hot(zone) if zone.start == 0 => {
                (zone.clone(), self.len.max(self.shift.unwrap_or(0)))
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
        if self.shift.is_some() {
            let linear = regular.iter().filter(|(_, segment)| is_linear(segment));
            let sizes = linear.map(|(_, segment)| size(segment));
            return sizes.sum::<Option<u64>>().map(Position::Between);
        }
        match regular {
            &[(id, only)] => Some(Position::Between(if self.is_new(header, id, only) {
                self.len
            } else {
                0
            })),
            [(_, new), _] => size(new).map(Position::Between),
            _ => None,
        }
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

    /// The next bytes to be done, at most `zone_len` of them; `None` when all are.
    pub(super) fn next_zone(&self, boundary: u64, zone_len: u64) -> Option<Range<u64>> {
        let Some(shift) = self.shift else {
            let end = boundary.saturating_add(zone_len).min(self.len);
            return (boundary < end).then_some(boundary..end);
        };
        // The head lies elsewhere, and goes last and in one piece.
        match boundary {
            0 => None,
            boundary if boundary <= shift => Some(0..shift),
            boundary => Some(boundary.saturating_sub(shift).max(shift)..boundary),
        }
    }

    /// Where the boundary is when `zone` is done.
    pub(super) fn after(&self, zone: &Range<u64>) -> u64 {
        match self.shift {
            Some(_) => zone.start,
            None => zone.end,
        }
    }

    /// How many bytes are done at this boundary.
    pub(super) fn done_len(&self, boundary: u64) -> u64 {
        match self.shift {
            Some(_) => self.len.saturating_sub(boundary),
            None => boundary,
        }
    }

    /// Where a zone's old bytes lie on the data device.
    pub(super) fn old_at(&self, zone: &Range<u64>) -> u64 {
        match &self.moved {
            Some(moved) if zone.start == 0 => moved.offset(),
            _ => self.previous.offset().saturating_add(zone.start),
        }
    }

    /// Where a zone's new bytes belong.
    pub(super) fn new_at(&self, zone: &Range<u64>) -> u64 {
        self.last.offset().saturating_add(zone.start)
    }

    /// The head of the plaintext as it lies out of the way: nobody needs it in the end.
    pub(super) fn moved_range(&self) -> Option<Range<u64>> {
        let moved = self.moved.as_ref()?;
        match moved.size() {
            SegmentSize::Bytes(len) => Some(moved.offset()..moved.offset().saturating_add(len)),
            SegmentSize::Dynamic => None,
        }
    }

    /// What hot zones begin and end at multiples of: whole sectors before and after.
    pub(super) fn alignment(&self) -> u64 {
        sector_len(&self.previous).max(sector_len(&self.last))
    }

    /// All segments and the digests of their keys, as cryptsetup has them at this position.
    pub(super) fn segments(&self, position: &Position) -> Vec<(Segment, Vec<u32>)> {
        let mut segments = match self.shift {
            Some(shift) => self.shifted_segments(position, shift),
            None => self.forward_segments(position),
        };
        segments.push((self.previous.clone(), self.old_digest.into_iter().collect()));
        segments.push((self.last.clone(), self.new_digest.into_iter().collect()));
        segments.extend(self.moved.iter().map(|moved| (moved.clone(), Vec::new())));
        segments
    }

    fn forward_segments(&self, position: &Position) -> Vec<(Segment, Vec<u32>)> {
        let (done, hot_end) = match position {
            Position::Between(boundary) => (*boundary, *boundary),
            Position::Hot(zone) => (zone.start, zone.end),
        };
        let mut segments = Vec::new();
        if done == self.len {
            segments.push(self.new_part(0, self.previous.size()));
        } else if done > 0 {
            segments.push(self.new_part(0, SegmentSize::Bytes(done)));
        }
        if hot_end > done {
            segments.push(self.hot_part(done, hot_end - done));
        }
        if hot_end < self.len {
            let size = match self.previous.size() {
                SegmentSize::Dynamic => SegmentSize::Dynamic,
                SegmentSize::Bytes(len) => SegmentSize::Bytes(len.saturating_sub(hot_end)),
            };
            let old = part(&self.previous, hot_end, size, &[]);
            segments.push((old, self.old_digest.into_iter().collect()));
        }
        segments
    }

    fn shifted_segments(&self, position: &Position, shift: u64) -> Vec<(Segment, Vec<u32>)> {
        let (linear_end, hot_end) = match position {
            Position::Between(boundary) => (*boundary, *boundary),
            Position::Hot(zone) => (zone.start, zone.end),
        };
        let mut segments = Vec::new();
        if linear_end > 0
            && let Some(moved) = &self.moved
        {
            segments.push((part(moved, 0, moved.size(), &[]), Vec::new()));
        }
        if linear_end > shift {
            let size = SegmentSize::Bytes(linear_end - shift);
            segments.push((part(&self.previous, shift, size, &[]), Vec::new()));
        }
        if hot_end > linear_end {
            segments.push(self.hot_part(linear_end, hot_end - linear_end));
        }
        if linear_end == 0 && hot_end == 0 {
            segments.push(self.new_part(0, SegmentSize::Dynamic));
        } else if hot_end < self.len {
            segments.push(self.new_part(hot_end, SegmentSize::Bytes(self.len - hot_end)));
        }
        segments
    }

    fn new_part(&self, start: u64, size: SegmentSize) -> (Segment, Vec<u32>) {
        (
            part(&self.last, start, size, &[]),
            self.new_digest.into_iter().collect(),
        )
    }

    fn hot_part(&self, start: u64, len: u64) -> (Segment, Vec<u32>) {
        let segment = part(
            &self.last,
            start,
            SegmentSize::Bytes(len),
            &[IN_REENCRYPTION],
        );
        let mut digests: Vec<u32> = match self.mode {
            ReencryptMode::Reencrypt => [self.new_digest, self.old_digest]
                .into_iter()
                .flatten()
                .collect(),
            ReencryptMode::Encrypt => self.new_digest.into_iter().collect(),
            ReencryptMode::Decrypt => Vec::new(),
        };
        digests.dedup();
        (segment, digests)
    }

    /// The one segment of a finished volume.
    pub(super) fn finished_segment(&self) -> (Segment, Vec<u32>) {
        let size = match self.shift {
            Some(_) => SegmentSize::Dynamic,
            None => self.previous.size(),
        };
        self.new_part(0, size)
    }
}

/// Part of a segment from `start` on, counted from the segment's own first byte.
fn part(whole: &Segment, start: u64, size: SegmentSize, flags: &[&str]) -> Segment {
    let offset = whole.offset().saturating_add(start);
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    match whole {
        Segment::Crypt(crypt) => Segment::Crypt(CryptSegment {
            offset,
            size,
            // What a single segment's `iv_tweak` says is ignored, there as in cryptsetup.
            iv_tweak: start / 512,
            flags,
            ..crypt.clone()
        }),
        _ => Segment::Linear {
            offset,
            size,
            flags,
        },
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
