//! Checks of members against each other: references, numbering, areas, sizes. Checks of one member
//! stand in the file of its type.

use std::ops::Range;

use super::{Keyslot, Metadata, Requirement, Segment, SegmentSize};
use crate::error::CorruptKind;

/// `json_size` is the size of the area that the JSON came from.
pub(super) fn check(metadata: &Metadata, json_size: u64) -> Result<(), CorruptKind> {
    check_sizes(metadata, json_size)?;
    check_references(metadata)?;
    check_segments(metadata)?;
    check_areas(metadata)?;
    check_reencryption(metadata)
}

fn check_sizes(metadata: &Metadata, json_size: u64) -> Result<(), CorruptKind> {
    if metadata.json_size() != json_size {
        return Err(CorruptKind::JsonSize {
            json_size: metadata.json_size(),
            expected: json_size,
        });
    }
    let data_offset = metadata.data_offset();
    if data_offset != 0 && metadata.keyslots_area().end > data_offset {
        return Err(CorruptKind::KeyslotsSize {
            keyslots_size: metadata.keyslots_size(),
            data_offset,
            room: data_offset.saturating_sub(metadata.keyslots_area().start),
        });
    }
    Ok(())
}

fn check_references(metadata: &Metadata) -> Result<(), CorruptKind> {
    let dangling = |path: String, kind, id| Err(CorruptKind::Dangling { path, kind, id });
    for digest in metadata.digest_links() {
        let number = digest.id;
        for id in digest.keyslots {
            if !metadata.keyslots().contains_key(id) {
                return dangling(format!("digests.{number}.keyslots"), "keyslot", *id);
            }
        }
        for id in digest.segments {
            if !metadata.segments().contains_key(id) {
                return dangling(format!("digests.{number}.segments"), "segment", *id);
            }
        }
    }
    for (number, token) in metadata.tokens() {
        for id in &token.keyslots {
            if !metadata.keyslots().contains_key(id) {
                return dangling(format!("tokens.{number}.keyslots"), "keyslot", *id);
            }
        }
    }
    for (&id, keyslot) in metadata.keyslots() {
        let count = metadata
            .digest_links()
            .filter(|digest| digest.keyslots.contains(&id))
            .count();
        if matches!(keyslot, Keyslot::Luks2(_) | Keyslot::Unusable(_)) && count != 1 {
            return Err(CorruptKind::KeyslotDigests { id, count });
        }
    }
    for (&id, segment) in metadata.segments() {
        let encrypted = matches!(segment.kind(), "crypt" | "hw-opal-crypt");
        let has_digest = |id| {
            metadata
                .digest_links()
                .any(|digest| digest.segments.contains(&id))
        };
        if encrypted && !has_digest(id) {
            return Err(CorruptKind::SegmentWithoutDigest(id));
        }
    }
    Ok(())
}

fn check_segments(metadata: &Metadata) -> Result<(), CorruptKind> {
    let mut backup_seen = false;
    let mut regular: Vec<(u32, &Segment)> = Vec::new();
    for (expected, (&id, segment)) in (0_u32..).zip(metadata.segments()) {
        if id != expected {
            return Err(CorruptKind::SegmentGap(expected));
        }
        if segment.is_backup() {
            if regular.is_empty() {
                return Err(CorruptKind::NoRegularSegment(id));
            }
            backup_seen = true;
        } else if backup_seen {
            return Err(CorruptKind::RegularAfterBackup(id));
        } else {
            regular.push((id, segment));
        }
    }
    let Some(&(last, _)) = regular.last() else {
        return Err(CorruptKind::NoSegments);
    };
    for &(id, segment) in &regular {
        if segment.size() == SegmentSize::Dynamic && id != last {
            return Err(CorruptKind::DynamicNotLast { id, last });
        }
    }
    regular.sort_by_key(|(_, segment)| segment.offset());
    for (&(other, before), &(id, segment)) in regular.iter().zip(regular.iter().skip(1)) {
        if segment_range(before).end > segment.offset() {
            return Err(CorruptKind::SegmentOverlap {
                id,
                offset: segment.offset(),
                other,
                other_offset: before.offset(),
            });
        }
    }
    Ok(())
}

/// A segment's bytes; a dynamic one reaches to the end of the numbers.
fn segment_range(segment: &Segment) -> Range<u64> {
    let end = match segment.size() {
        SegmentSize::Dynamic => u64::MAX,
        SegmentSize::Bytes(size) => segment.offset().saturating_add(size),
    };
    segment.offset()..end
}

fn check_areas(metadata: &Metadata) -> Result<(), CorruptKind> {
    let space = metadata.keyslots_area();
    let mut areas: Vec<(u32, Range<u64>)> = Vec::new();
    for (&id, keyslot) in metadata.keyslots() {
        let area = keyslot.area_range();
        if area.start < space.start || area.end > space.end {
            return Err(CorruptKind::AreaOutside {
                id,
                offset: area.start,
                size: len(&area),
                area_offset: space.start,
                area_size: len(&space),
            });
        }
        for (other, taken) in &areas {
            if area.start < taken.end && taken.start < area.end {
                return Err(CorruptKind::AreaOverlap {
                    id,
                    offset: area.start,
                    size: len(&area),
                    other: *other,
                    other_offset: taken.start,
                    other_size: len(taken),
                });
            }
        }
        areas.push((id, area));
    }
    Ok(())
}

fn len(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// An unfinished online re-encryption needs its keyslot, its requirement and its backup segments,
/// all or none.
fn check_reencryption(metadata: &Metadata) -> Result<(), CorruptKind> {
    let mut slots = metadata
        .keyslots()
        .iter()
        .filter(|(_, keyslot)| matches!(keyslot, Keyslot::Reencrypt(_)))
        .map(|(&id, _)| id);
    let slot = slots.next();
    if let (Some(first), Some(second)) = (slot, slots.next()) {
        return Err(CorruptKind::TwoReencryptKeyslots { first, second });
    }
    let announced = metadata
        .requirements()
        .iter()
        .filter(|requirement| requirement.announces_online_reencryption())
        .count();
    let known = metadata
        .requirements()
        .iter()
        .any(|requirement| matches!(requirement, Requirement::OnlineReencrypt { .. }));
    match (slot, announced) {
        (_, 2..) => return Err(CorruptKind::ReencryptRequirements(announced)),
        (Some(id), 0) => return Err(CorruptKind::ReencryptKeyslotUnannounced(id)),
        (None, 1) if known => return Err(CorruptKind::ReencryptKeyslotMissing),
        _ => {}
    }
    if known {
        check_reencryption_segments(metadata)?;
    }
    Ok(())
}

fn check_reencryption_segments(metadata: &Metadata) -> Result<(), CorruptKind> {
    let backup = |flag: &'static str, but_not: &str| {
        metadata
            .segments()
            .values()
            .filter(|segment| segment.is_backup())
            .find(|segment| has_flag(segment, flag) && !has_flag(segment, but_not))
            .ok_or(CorruptKind::BackupSegmentMissing(flag))
    };
    let last = backup("backup-final", "")?;
    // One that bears both is the final one only.
    let previous = backup("backup-previous", "backup-final")?;
    for (&id, segment) in metadata.segments() {
        if segment.is_backup() || same_cipher(segment, last) {
            continue;
        }
        if segment.is_in_reencryption() || !same_cipher(segment, previous) {
            return Err(CorruptKind::SegmentUnlikeBackups(id));
        }
    }
    Ok(())
}

fn has_flag(segment: &Segment, flag: &str) -> bool {
    segment.flags().iter().any(|own| own == flag)
}

fn same_cipher(a: &Segment, b: &Segment) -> bool {
    match (a, b) {
        (Segment::Crypt(a), Segment::Crypt(b)) => {
            a.sector_size == b.sector_size && a.encryption == b.encryption
        }
        _ => a.kind() == b.kind(),
    }
}
