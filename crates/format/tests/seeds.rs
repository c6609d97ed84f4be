//! Headers that cryptsetup wrote, the fuzz targets' seeds: they load, and are written back byte for
//! byte.
#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::path::Path;

use lucarne_format::luks1;
use lucarne_format::luks2::{Header, HeaderCopy, Metadata};

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn cryptsetups_json_is_written_back_byte_for_byte() {
    let seeds = seeds("json");
    assert_eq!(seeds.len(), 12);
    for (name, text) in seeds {
        let size = if name == "metadata-32k" {
            0x7000
        } else {
            0x3000
        };
        let mut area = text.clone();
        area.resize(size, 0);
        let metadata =
            Metadata::from_json_area(&area).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(metadata.to_json_text().as_bytes(), text, "{name}");
    }
}

#[test]
fn cryptsetups_headers_are_written_back_byte_for_byte() {
    let seeds = seeds("header");
    assert_eq!(seeds.len(), 15);
    for (name, mut device) in seeds {
        device.pop(); // the fuzz target's mode
        device.resize(16 << 20, 0);
        let loaded = Header::load(|offset, buffer: &mut [u8]| {
            let rest = &device[usize::try_from(offset).unwrap()..];
            buffer.copy_from_slice(&rest[..buffer.len()]);
            Ok::<_, Infallible>(buffer.len())
        });
        let selected = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        // Most seeds hold the primary copy only.
        assert_eq!(
            selected.repair.is_needed(),
            !name.ends_with("both-copies"),
            "{name}"
        );
        let header = selected.header;
        let mut copies = 0;
        for copy in [HeaderCopy::Primary, HeaderCopy::Secondary] {
            if let Some(&salt) = header.salt(copy) {
                let at = usize::try_from(copy.offset(header.header_size())).unwrap();
                let bytes = header.encode(copy, salt).unwrap();
                assert_eq!(bytes, device[at..at + bytes.len()], "{name}, {copy}");
                copies += 1;
            }
        }
        assert_eq!(copies, if name.ends_with("both-copies") { 2 } else { 1 });
    }
}

#[test]
fn cryptsetups_luks1_headers_are_written_back_byte_for_byte() {
    let seeds = seeds("luks1_header");
    assert_eq!(seeds.len(), 11);
    for (name, bytes) in seeds {
        let header =
            luks1::Header::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(header.encode(), bytes, "{name}");
        assert_eq!(header.uuid(), "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d");
    }
}
