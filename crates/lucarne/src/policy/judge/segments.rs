//! Segments: what they are, how they are encrypted, and where they lie.

use lucarne_format::luks2::{CryptSegment, Metadata, Segment, SegmentSize};

use super::{DataDevice, Judge, Rule, is_flag_of_reencryption};

impl Judge<'_> {
    pub(super) fn segments(&mut self, metadata: &Metadata, device: DataDevice, reencrypting: bool) {
        let regular = metadata.segments().values();
        let count = regular.filter(|segment| !segment.is_backup()).count();
        // A re-encryption has up to three regular segments: what is done, the hot zone, what is not.
        // Whether there may be one is another rule's affair.
        if !reencrypting || count > 3 {
            self.number(Rule::Segments, || "segments".into(), count as u64);
        }
        for (&id, segment) in metadata.segments() {
            let field = |name: &str| format!("segments.{id}.{name}");
            self.name(Rule::SegmentType, || field("type"), segment.kind());
            let size = match segment.size() {
                SegmentSize::Dynamic => "dynamic",
                SegmentSize::Bytes(_) => "fixed",
            };
            // During a re-encryption each part but the last has its own length.
            if !reencrypting {
                self.name(Rule::SegmentSize, || field("size"), size);
            }
            for flag in segment.flags() {
                if !is_flag_of_reencryption(flag) {
                    self.name(Rule::SegmentFlags, || field("flags"), flag);
                }
            }
            self.bounds(metadata, id, segment, device);
            self.digests_of(metadata, id, segment);
            if let Segment::Crypt(crypt) = segment {
                self.crypt(id, crypt, reencrypting);
            }
        }
    }

    fn crypt(&mut self, id: u32, crypt: &CryptSegment, reencrypting: bool) {
        let field = |name: &str| format!("segments.{id}.{name}");
        self.name(
            Rule::SegmentCipher,
            || field("encryption"),
            &crypt.encryption,
        );
        let sector_size = u64::from(crypt.sector_size);
        self.number(Rule::SectorBytes, || field("sector_size"), sector_size);
        if !reencrypting {
            self.number(Rule::IvTweak, || field("iv_tweak"), crypt.iv_tweak);
        }
        if let Some(integrity) = &crypt.integrity {
            let field = || field("integrity.type");
            self.name(Rule::SegmentIntegrity, field, integrity);
        }
    }

    /// A second digest would let a second volume key open the same data.
    fn digests_of(&mut self, metadata: &Metadata, id: u32, segment: &Segment) {
        if matches!(segment, Segment::Linear { .. }) {
            return;
        }
        let digests = metadata.digest_links();
        let count = digests
            .filter(|digest| digest.segments.contains(&id))
            .count();
        let field = || format!("digests of segments.{id}");
        self.number(Rule::DigestsPerSegment, field, count as u64);
    }

    fn bounds(&mut self, metadata: &Metadata, id: u32, segment: &Segment, device: DataDevice) {
        let field = |name: &str| format!("segments.{id}.{name}");
        let offset = segment.offset();
        let len = match device {
            DataDevice::Unknown => return,
            DataDevice::Apart { len_bytes } => len_bytes,
            DataDevice::WithHeader { len_bytes } => {
                let header_end = metadata.keyslots_area().end;
                if offset < header_end {
                    self.broken(
                        Rule::SegmentBounds,
                        field("offset"),
                        offset.to_string(),
                        &format!("at least {header_end}, where the header ends"),
                    );
                }
                len_bytes
            }
        };
        match segment.size() {
            SegmentSize::Dynamic if offset >= len => self.broken(
                Rule::SegmentBounds,
                field("offset"),
                offset.to_string(),
                &format!("less than {len}, the device's length"),
            ),
            SegmentSize::Bytes(size) if offset.saturating_add(size) > len => self.broken(
                Rule::SegmentBounds,
                field("size"),
                size.to_string(),
                &format!(
                    "at most {}, to the device's end",
                    len.saturating_sub(offset)
                ),
            ),
            _ => {}
        }
    }
}
