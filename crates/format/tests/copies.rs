//! Which of the two copies is the header, whatever has happened to them.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::ops::Range;

use common::{fix_checksum, image, load, replace_json, sample, sample_of_size};
use lucarne_format::luks2::{ChecksumAlgorithm, Defect, Header, HeaderCopy, NewHeader};
use lucarne_format::{Error, LoadError};

const SIZES: [usize; 9] = [
    0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x10_0000, 0x20_0000, 0x40_0000,
];

/// `old` with the primary copy of `new` over it: a commit cut off between the copies.
fn torn(old: &Header, new: &Header, written: HeaderCopy) -> Vec<u8> {
    let mut image = image(old);
    let copy = new.encode(written, [5; 64]).unwrap();
    let at = usize::try_from(written.offset(new.header_size())).unwrap();
    image[at..at + copy.len()].copy_from_slice(&copy);
    image
}

#[test]
fn a_whole_header_needs_no_repair() {
    for size in SIZES {
        let header = sample_of_size(size as u64);
        let selected = load(&image(&header)).unwrap();
        assert!(!selected.repair.is_needed());
        assert_eq!(selected.header.metadata(), header.metadata());
        assert_eq!(selected.header.header_size(), size as u64);
        assert_eq!(selected.header.seqid(), 1);
        assert_eq!(selected.header.label(), "models");
        assert_eq!(selected.header.subsystem(), "weights");
        assert_eq!(selected.header.uuid(), common::UUID);
        assert_eq!(selected.header.salt(HeaderCopy::Primary), Some(&[1; 64]));
        assert_eq!(selected.header.salt(HeaderCopy::Secondary), Some(&[2; 64]));
    }
}

#[test]
fn the_secondary_is_found_at_every_legal_place() {
    for size in SIZES {
        let mut image = image(&sample_of_size(size as u64));
        image[0] = 0;
        let selected = load(&image).unwrap();
        assert_eq!(selected.header.header_size(), size as u64);
        assert_eq!(selected.header.salt(HeaderCopy::Primary), None);
        assert_eq!(
            selected.repair.primary.unwrap().to_string(),
            "corrupt header: no magic at 0x0"
        );
        assert_eq!(selected.repair.secondary, None);
    }
}

#[test]
fn a_primary_with_a_bad_checksum_gives_way() {
    for at in [16, 100, 448, 5000] {
        let mut image = image(&sample_of_size(0x8000));
        image[at] ^= 1;
        let selected = load(&image).unwrap();
        assert!(selected.repair.primary.is_some() && selected.repair.secondary.is_none());
    }
}

/// A device that was given to another use must not come back as the volume that it was.
#[test]
fn a_secondary_under_something_else_is_left_for_repair() {
    let mut image = image(&sample());
    image[..0x1000].fill(0);
    load(&image).unwrap();
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(
        load(&image).unwrap_err().to_string(),
        "corrupt header: the primary copy is lost and a partition table or a boot sector stands on the device: the secondary is used only to repair it"
    );
    let repaired = Header::load_for_repair(|offset, buffer| {
        let rest = &image[usize::try_from(offset).unwrap().min(image.len())..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok::<_, std::convert::Infallible>(len)
    });
    assert!(repaired.unwrap().repair.primary.is_some());
    // Behind a sound primary it says nothing: an image may hold a boot sector's end by chance.
    let mut sound = self::image(&sample());
    sound[0x8001..0x8006].copy_from_slice(b"CD001");
    load(&sound).unwrap();
}

#[test]
fn a_bad_secondary_is_reported() {
    let mut whole = image(&sample());
    whole[0x4000 + 5000] ^= 1;
    let selected = load(&whole).unwrap();
    assert_eq!(
        selected.repair.secondary.unwrap().to_string(),
        "corrupt header: sha256 checksum of the header at 0x4000 does not match"
    );
    assert_eq!(selected.header.salt(HeaderCopy::Secondary), None);
}

#[test]
fn the_newer_copy_wins() {
    let old = sample();
    let new = old.edit(|draft| draft.set_label("newer")).unwrap();
    let selected = load(&torn(&old, &new, HeaderCopy::Primary)).unwrap();
    assert_eq!(selected.header.label(), "newer");
    assert_eq!(
        selected.repair.secondary,
        Some(Defect::Stale {
            seqid: 1,
            newest: 2
        })
    );
    let selected = load(&torn(&old, &new, HeaderCopy::Secondary)).unwrap();
    assert_eq!(selected.header.label(), "newer");
    assert_eq!(
        selected.repair.primary.unwrap().to_string(),
        "stale: seqid is 1, the other copy's is 2"
    );
}

#[test]
fn copies_of_one_seqid_that_differ_are_reported() {
    let one = sample().edit(|draft| draft.set_label("one")).unwrap();
    let two = sample().edit(|draft| draft.set_label("two")).unwrap();
    let selected = load(&torn(&one, &two, HeaderCopy::Secondary)).unwrap();
    assert_eq!(selected.header.label(), "one");
    assert_eq!(
        selected.repair.secondary,
        Some(Defect::Differs { seqid: 2 })
    );
}

#[test]
fn a_copy_with_bad_json_is_unusable_even_if_newer() {
    let old = sample();
    let new = old.edit(|draft| draft.set_label("newer")).unwrap();
    let mut image = torn(&old, &new, HeaderCopy::Primary);
    replace_json(&mut image, 0, 0x4000, b"{}");
    let selected = load(&image).unwrap();
    assert_eq!(selected.header.label(), "models");
    let defect = selected.repair.primary.unwrap();
    assert_eq!(defect.to_string(), "corrupt header: digests is missing");
    // It says that something newer was there.
    assert!(matches!(defect, Defect::Unusable { seqid: Some(2), .. }));
}

#[test]
fn both_copies_bad_says_what_is_wrong_with_each() {
    let mut image = image(&sample());
    image[20] ^= 1;
    replace_json(&mut image, 0x4000, 0x4000, b"[]");
    assert_eq!(
        load(&image).unwrap_err().to_string(),
        "corrupt header: primary: sha256 checksum of the header at 0x0 does not match; \
         secondary: JSON area starts with byte 0x5b, must be '{'"
    );
    image[0x4000] = 0;
    assert_eq!(
        load(&image).unwrap_err().to_string(),
        "corrupt header: primary: sha256 checksum of the header at 0x0 does not match; \
         secondary: no secondary header at any of 0x4000 to 0x400000"
    );
}

#[test]
fn what_is_no_luks2_is_told_apart() {
    assert_eq!(load(b"").unwrap_err(), Error::NotLuks);
    assert_eq!(load(b"LUKS\xba\xbe").unwrap_err(), Error::NotLuks);
    assert_eq!(load(&vec![0; 10 << 20]).unwrap_err(), Error::NotLuks);
    assert_eq!(load(b"LUKS\xba\xbe\0\x01").unwrap_err(), Error::Luks1);
    let mut luks1 = image(&sample());
    luks1[7] = 1;
    let error = load(&luks1).unwrap_err();
    assert_eq!(error, Error::Luks1);
    assert_eq!(error.to_string(), "LUKS1 header: not supported yet");
    luks1[7] = 3;
    assert_eq!(
        load(&luks1).unwrap_err().to_string(),
        "not supported: header version 3"
    );
    // Version 0 is a damaged primary, as for cryptsetup.
    luks1[7] = 0;
    assert!(load(&luks1).unwrap().repair.primary.is_some());
}

#[test]
fn every_checksum_works_and_others_are_named() {
    for checksum in ChecksumAlgorithm::ALL {
        let new = NewHeader {
            checksum,
            ..common::new_header(0x4000)
        };
        let header = Header::new(&new, |draft| {
            draft.insert_segment(
                0,
                &lucarne_format::luks2::Segment::Linear {
                    offset: 16 << 20,
                    size: lucarne_format::luks2::SegmentSize::Dynamic,
                    flags: vec![],
                },
            )
        })
        .unwrap();
        let selected = load(&image(&header)).unwrap();
        assert!(!selected.repair.is_needed());
        assert_eq!(selected.header.checksum_algorithm(), checksum);
    }
    let mut image = image(&sample());
    for copy in [0, 0x4000] {
        image[copy + 72..copy + 79].copy_from_slice(b"crc32c\0");
    }
    assert_eq!(
        load(&image).unwrap_err().to_string(),
        "not supported: primary: header checksum \"crc32c\" is not supported; \
         secondary: header checksum \"crc32c\" is not supported"
    );
}

#[test]
fn devices_that_end_too_early_are_refused() {
    let whole = image(&sample());
    let end = whole.len();
    load(&whole[..end - 1]).unwrap_err();
    assert_eq!(
        load(&whole[..end - 1]).unwrap_err().to_string(),
        "corrupt header: device ends before the keyslots area does, at 0x108000"
    );
    for len in [6, 7] {
        assert_eq!(load(&whole[..len]).unwrap_err(), Error::NotLuks);
    }
    for len in [8, 512, 4095, 4096, 0x3fff, 0x4000, 0x4fff, 0x7fff, 0x8000] {
        assert!(
            matches!(load(&whole[..len]).unwrap_err(), Error::Corrupt(_)),
            "{len}"
        );
    }
    assert_eq!(
        load(&whole[..0x3000]).unwrap_err().to_string(),
        "corrupt header: primary: device ends at byte 12288, the primary header at 0x0 reaches to \
         0x4000; secondary: no secondary header at any of 0x4000 to 0x400000"
    );
}

#[test]
fn an_illegal_size_does_not_start_a_search() {
    // The primary's checksum holds, but it says 0x5000. cryptsetup looks for the secondary there and
    // nowhere else: the good one at 0x8000 does not save it.
    let mut image = image(&sample_of_size(0x8000));
    image[8..16].copy_from_slice(&0x5000_u64.to_be_bytes());
    fix_checksum(&mut image, 0, 0x5000);
    assert_eq!(
        load(&image).unwrap_err().to_string(),
        "corrupt header: primary: config.json_size is 28672, the header's is 16384; \
         secondary: no magic at 0x5000"
    );
    // With a wrong checksum the size means nothing, and the search finds it.
    image[448] ^= 1;
    assert_eq!(load(&image).unwrap().header.header_size(), 0x8000);
}

#[test]
fn no_byte_is_read_twice() {
    let mut damaged = image(&sample_of_size(0x40_0000));
    damaged[4096] ^= 1;
    for image in [image(&sample()), damaged, vec![0; 9 << 20]] {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let _ = Header::load(|offset, buffer: &mut [u8]| {
            let end = offset + buffer.len() as u64;
            for range in &ranges {
                assert!(
                    end <= range.start || range.end <= offset,
                    "{offset:#x} read twice"
                );
            }
            ranges.push(offset..end);
            let at = usize::try_from(offset).unwrap();
            let len = buffer.len().min(image.len().saturating_sub(at));
            buffer[..len].copy_from_slice(&image[at..at + len]);
            Ok::<_, std::io::Error>(len)
        });
        let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        assert!(total <= (8 << 20) + 1, "{total} bytes read");
    }
}

#[test]
fn the_readers_own_error_comes_back() {
    let image = image(&sample());
    for failing in 0..4 {
        let mut call = 0;
        let result = Header::load(|offset, buffer: &mut [u8]| {
            if call == failing {
                return Err("no such luck");
            }
            call += 1;
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&image[at..at + buffer.len()]);
            Ok(buffer.len())
        });
        assert!(
            matches!(result, Err(LoadError::Read("no such luck"))),
            "call {failing}"
        );
    }
}

#[test]
fn a_reader_that_lies_about_its_length_is_bounded() {
    let result = Header::load(|_, _: &mut [u8]| Ok::<_, std::io::Error>(usize::MAX));
    assert!(matches!(result, Err(LoadError::Format(Error::NotLuks))));
}
