//! A header's segments held against those that a step of the re-encryption has, and the first difference named.
//!
//! No digest covers the regular segments, nor which keys' digests name which segment. All of them follow from what is
//! covered and from how far it is: what follows otherwise was changed.

use std::collections::BTreeSet;

use lucarne_format::luks2::{Header, IN_REENCRYPTION, Segment, SegmentSize};

const FLAGS: [&str; 4] = [
    IN_REENCRYPTION,
    "backup-previous",
    "backup-final",
    "backup-moved-segment",
];

/// What is unlike `expected`, if anything is: the segments in the order of their numbers, each with its digests. Of
/// backup segments the flags, and not the numbers, say which is which: cryptsetup has more than one order.
pub(super) fn difference(header: &Header, expected: &[(Segment, Vec<u32>)]) -> Option<String> {
    let metadata = header.metadata();
    let mut found: Vec<(u32, &Segment)> = (metadata.segments().iter())
        .map(|(&id, segment)| (id, segment))
        .collect();
    let mut expected: Vec<&(Segment, Vec<u32>)> = expected.iter().collect();
    found.sort_by_key(|(_, segment)| backup_flag(segment));
    expected.sort_by_key(|(segment, _)| backup_flag(segment));
    if found.len() != expected.len() {
        return Some(format!(
            "there are {} segments, and should be {}",
            found.len(),
            expected.len()
        ));
    }
    for ((id, segment), (model, digests)) in found.into_iter().zip(expected) {
        let difference = fields(segment)
            .into_iter()
            .zip(fields(model))
            .find(|(found, expected)| found != expected);
        if let Some(((name, found), (_, expected))) = difference {
            return Some(format!(
                "segment {id}: {name} is {found}, and should be {expected}"
            ));
        }
        if segment != model {
            return Some(format!("segment {id}: not what it should be"));
        }
        if segment.is_backup() && FLAGS.iter().filter(|flag| has_flag(segment, flag)).count() > 1 {
            return Some(format!("segment {id}: flags {:?}", segment.flags()));
        }
        let of_segment: BTreeSet<u32> = metadata
            .digest_links()
            .filter(|digest| digest.segments.contains(&id))
            .map(|digest| digest.id)
            .collect();
        let digests: BTreeSet<u32> = digests.iter().copied().collect();
        if of_segment != digests {
            return Some(format!(
                "segment {id}: named by the digests {of_segment:?}, and should be by {digests:?}"
            ));
        }
    }
    None
}

/// The number of a backup's flag in [`FLAGS`]; 0 of a regular segment.
fn backup_flag(segment: &Segment) -> usize {
    let flag = FLAGS[1..].iter().position(|flag| has_flag(segment, flag));
    flag.map_or(0, |flag| flag + 1)
}

fn has_flag(segment: &Segment, flag: &str) -> bool {
    segment.flags().iter().any(|own| own == flag)
}

/// Two segments' fields have the same order; those of one type the same length.
fn fields(segment: &Segment) -> Vec<(&'static str, String)> {
    let size = match segment.size() {
        SegmentSize::Dynamic => "dynamic".to_owned(),
        SegmentSize::Bytes(size) => size.to_string(),
    };
    let mut fields = vec![
        ("type", segment.kind().to_owned()),
        ("flags", format!("{:?}", segment.flags())),
        ("offset", segment.offset().to_string()),
        ("size", size),
    ];
    if let Segment::Crypt(crypt) = segment {
        fields.extend([
            ("iv_tweak", crypt.iv_tweak.to_string()),
            ("encryption", crypt.encryption.clone()),
            ("sector_size", crypt.sector_size.to_string()),
        ]);
    }
    fields
}
