//! Which segments a header has at each position.

use std::ops::Range;

use lucarne_format::luks2::{CryptSegment, IN_REENCRYPTION, ReencryptMode, Segment, SegmentSize};

use super::{Moved, Plan, Position, Way};

/// A segment and the digests that it is assigned to.
type Assigned = (Segment, Vec<u32>);

impl Plan {
    /// All segments and the digests of their keys, as cryptsetup has them at this position.
    pub(in crate::reencrypt) fn segments(&self, position: &Position) -> Vec<Assigned> {
        let zone = match position {
            Position::Between(boundary) => *boundary..*boundary,
            Position::Hot(zone) => zone.clone(),
        };
        let mut segments = match &self.way {
            Way::Forward => self.forward_segments(&zone),
            Way::Backward => self.backward_segments(&zone),
            Way::Up { moved, .. } => self.upward_segments(&zone, moved),
            Way::Down { moved, .. } => self.downward_segments(&zone, moved),
        };
        segments.push((self.previous.clone(), self.old_digests()));
        segments.push((self.last.clone(), self.new_digests()));
        let moved = self.moved();
        segments.extend(moved.map(|moved| (moved.segment.clone(), self.old_digests())));
        segments
    }

    fn forward_segments(&self, hot: &Range<u64>) -> Vec<Assigned> {
        let mut segments = Vec::new();
        self.push_new(&mut segments, 0..hot.start);
        self.push_hot(&mut segments, hot);
        self.push_old(&mut segments, hot.end..self.len);
        segments
    }

    fn backward_segments(&self, hot: &Range<u64>) -> Vec<Assigned> {
        let mut segments = Vec::new();
        self.push_old(&mut segments, 0..hot.start);
        self.push_hot(&mut segments, hot);
        self.push_new(&mut segments, hot.end..self.len);
        segments
    }

    fn upward_segments(&self, hot: &Range<u64>, moved: &Moved) -> Vec<Assigned> {
        let mut segments = Vec::new();
        if hot.start > 0 {
            segments.push(self.head(moved));
        }
        self.push_old(&mut segments, moved.len..hot.start);
        self.push_hot(&mut segments, hot);
        if *hot == (0..0) {
            segments.push(self.new_part(0, SegmentSize::Dynamic));
        } else if hot.end < self.len {
            segments.push(self.new_part(hot.end, SegmentSize::Bytes(self.len - hot.end)));
        }
        segments
    }

    fn downward_segments(&self, hot: &Range<u64>, moved: &Moved) -> Vec<Assigned> {
        let mut segments = Vec::new();
        if *hot == (0..0) {
            self.push_new(&mut segments, 0..self.len);
        } else if hot.start == 0 {
            self.push_hot(&mut segments, hot);
            self.push_new(&mut segments, hot.end..self.len);
        } else {
            segments.push(self.head(moved));
            self.push_new(&mut segments, moved.len..hot.start);
            self.push_hot(&mut segments, hot);
            self.push_old(&mut segments, hot.end..self.len);
        }
        segments
    }

    fn old_digests(&self) -> Vec<u32> {
        self.old_digest.into_iter().collect()
    }

    fn new_digests(&self) -> Vec<u32> {
        self.new_digest.into_iter().collect()
    }

    /// What reaches to the end of the data reaches to the end of the device, if the data did before.
    fn size_of(&self, range: &Range<u64>) -> SegmentSize {
        match self.previous.size() {
            SegmentSize::Dynamic if range.end == self.len => SegmentSize::Dynamic,
            _ => SegmentSize::Bytes(range.end.saturating_sub(range.start)),
        }
    }

    fn push_old(&self, segments: &mut Vec<Assigned>, range: Range<u64>) {
        if !range.is_empty() {
            let old = part(&self.previous, range.start, self.size_of(&range), &[]);
            segments.push((old, self.old_digests()));
        }
    }

    fn push_new(&self, segments: &mut Vec<Assigned>, range: Range<u64>) {
        if !range.is_empty() {
            segments.push(self.new_part(range.start, self.size_of(&range)));
        }
    }

    fn push_hot(&self, segments: &mut Vec<Assigned>, range: &Range<u64>) {
        if !range.is_empty() {
            segments.push(self.hot_part(range.start, range.end - range.start));
        }
    }

    fn head(&self, moved: &Moved) -> Assigned {
        let size = SegmentSize::Bytes(moved.len);
        (part(&moved.segment, 0, size, &[]), self.old_digests())
    }

    fn new_part(&self, start: u64, size: SegmentSize) -> Assigned {
        (part(&self.last, start, size, &[]), self.new_digests())
    }

    fn hot_part(&self, start: u64, len: u64) -> Assigned {
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
            ReencryptMode::Encrypt => self.new_digests(),
            ReencryptMode::Decrypt => Vec::new(),
        };
        digests.dedup();
        (segment, digests)
    }

    /// The one segment of a finished volume.
    pub(in crate::reencrypt) fn finished_segment(&self) -> Assigned {
        let size = match self.way {
            Way::Up { .. } => SegmentSize::Dynamic,
            _ => self.previous.size(),
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
