//! Partition tables as sfdisk makes them, and what else a volume may hold.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{compare_bytes, ext, file, have, storage, tool};
use lucarne_inside::{Content, Error, FileSystem, detect, partitions};
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

const TOOLS: &[&str] = &["sfdisk", "mke2fs", "mkfs.vfat"];

/// A disk with this table.
fn disk(path: &Path, len: u64, options: &[&str], table: &str) {
    std::fs::File::create(path).unwrap().set_len(len).unwrap();
    let words = options
        .iter()
        .map(OsStr::new)
        .chain([OsStr::new("-q"), path.as_os_str()]);
    tool("sfdisk", words, table.as_bytes());
}

/// Start and length in bytes, by sfdisk.
fn by_sfdisk(path: &Path, options: &[&str], sector_len: u64) -> Vec<(u32, u64, u64)> {
    let words = options
        .iter()
        .map(OsStr::new)
        .chain([OsStr::new("-d"), path.as_os_str()]);
    let said = String::from_utf8(tool("sfdisk", words, b"")).unwrap();
    let mut found = Vec::new();
    for line in said.lines().filter(|line| {
        line.contains("start=") && !line.contains("type=5") && !line.contains("type=f")
    }) {
        let (name, rest) = line.split_once(" : ").unwrap();
        let number = name
            .trim()
            .rsplit(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let value = |key: &str| -> u64 {
            let rest = rest.split(key).nth(1).unwrap();
            rest.split(',')
                .next()
                .unwrap()
                .trim()
                .parse::<u64>()
                .unwrap()
                * sector_len
        };
        found.push((number, value("start="), value("size=")));
    }
    found
}

fn put(disk: &Path, at: u64, part: &Path) {
    let bytes = std::fs::read(part).unwrap();
    let disk = std::fs::OpenOptions::new().write(true).open(disk).unwrap();
    disk.write_all_at(&bytes, at).unwrap();
}

#[test]
fn tables_are_read_as_sfdisk_reads_them() {
    if !have("tables_are_read_as_sfdisk_reads_them", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    std::fs::create_dir(&folder).unwrap();
    file(&folder.join("file"), 50_000);
    let part = scratch.path("part");
    ext(&part, 4 << 20, &["-t", "ext4"], &folder);
    let gpt = "label: gpt\nsize=8M, name=\"first one\"\nsize=8M\nsize=8M, name=\"größe\"\n";
    let logical = "label: dos\nsize=4M, type=83\nsize=28M, type=5\nsize=4M, type=83, bootable\nsize=4M, type=83\nsize=4M, type=83\n";
    for (options, sector_len, table) in [
        (&[][..], 512, gpt),
        (&[], 512, "label: dos\nsize=8M, type=83\nsize=8M, type=c\n"),
        (&[], 512, logical),
    ] {
        let image = scratch.path("disk");
        disk(&image, 64 << 20, options, table);
        let found = partitions(&storage(&image), sector_len).unwrap();
        let ours: Vec<_> = found
            .iter()
            .map(|one| (one.number, one.range.start, one.range.end - one.range.start))
            .collect();
        assert_eq!(ours, by_sfdisk(&image, options, sector_len), "{table}");
        assert!(ours.len() >= 2);
        assert_eq!(detect(&storage(&image)).unwrap(), Content::PartitionTable);
        if table == gpt {
            assert_eq!(
                (found[0].name.as_str(), found[2].name.as_str()),
                ("first one", "größe")
            );
        }

        // None, then one, then two that can be read.
        let error = FileSystem::open(storage(&image), None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("none of the volume's partitions holds a file system"),
            "{error}"
        );
        let (number, start, _) = *ours.last().unwrap();
        put(&image, start, &part);
        let files = FileSystem::open(storage(&image), None).unwrap();
        assert_eq!(files.partition().unwrap().number, number);
        compare_bytes(&files, b"/file", &stream("file", 50_000));
        put(&image, ours[0].1, &part);
        let error = FileSystem::open(storage(&image), None).unwrap_err();
        assert!(
            matches!(&error, Error::WhichPartition { partitions } if partitions.len() == ours.len())
        );
        assert!(
            error
                .to_string()
                .contains("an ext2, ext3 or ext4 file system"),
            "{error}"
        );
        let files = FileSystem::open(storage(&image), Some(ours[0].0)).unwrap();
        compare_bytes(&files, b"/file", &stream("file", 50_000));
        let error = FileSystem::open(storage(&image), Some(77)).unwrap_err();
        assert!(
            error.to_string().starts_with("no partition 77: 1"),
            "{error}"
        );
        if table == gpt {
            let error = FileSystem::open(storage(&image), Some(2)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "partition 2 holds zeros where a file system begins; lucarne read gives its bytes"
            );
            // The copy at the end serves where the first is damaged; with both gone it is said.
            put_byte(&image, sector_len + 40);
            let files = FileSystem::open(storage(&image), Some(1)).unwrap();
            compare_bytes(&files, b"/file", &stream("file", 50_000));
            put_byte(&image, (64 << 20) - sector_len + 40);
            let error = FileSystem::open(storage(&image), Some(1)).unwrap_err();
            assert!(error.to_string().contains("of the GPT header"), "{error}");
        }
        std::fs::remove_file(&image).unwrap();
    }
}

/// CRC-32, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// As a table lies on a volume whose sectors are the unit of its numbers; sfdisk makes none in a file.
#[test]
fn sectors_of_4096_bytes_are_a_unit_too() {
    if !have("sectors_of_4096_bytes_are_a_unit_too", &["mke2fs"]) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    std::fs::create_dir(&folder).unwrap();
    file(&folder.join("file"), 50_000);
    let part = scratch.path("part");
    ext(&part, 4 << 20, &["-t", "ext4"], &folder);
    let part = std::fs::read(part).unwrap();
    let check = |disk: Vec<u8>| {
        let files = FileSystem::open(disk, None).unwrap();
        assert_eq!(files.partition().unwrap().range, 1 << 20..5 << 20);
        compare_bytes(&files, b"/file", &stream("file", 50_000));
    };

    let mut disk = vec![0; 8 << 20];
    disk[1 << 20..5 << 20].copy_from_slice(&part);
    let mut entries = vec![0; 128 * 128];
    entries[..16].fill(0xab);
    entries[32..40].copy_from_slice(&256_u64.to_le_bytes());
    entries[40..48].copy_from_slice(&1279_u64.to_le_bytes());
    let mut header = [0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    header[72..80].copy_from_slice(&2_u64.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
    let checksum = crc32(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk[4096..4096 + 92].copy_from_slice(&header);
    disk[8192..8192 + entries.len()].copy_from_slice(&entries);
    check(disk);

    let mut disk = vec![0; 8 << 20];
    disk[1 << 20..5 << 20].copy_from_slice(&part);
    disk[446 + 4] = 0x83;
    disk[446 + 8..446 + 12].copy_from_slice(&256_u32.to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&1024_u32.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    check(disk);
}

fn put_byte(disk: &Path, at: u64) {
    let disk = std::fs::OpenOptions::new()
        .write(true)
        .read(true)
        .open(disk)
        .unwrap();
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).unwrap();
    disk.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn a_ring_of_logical_partitions_ends() {
    let mut disk = vec![0; 4 << 20];
    let entry = |disk: &mut Vec<u8>, at: usize, kind: u8, first: u32, count: u32| {
        disk[at + 4] = kind;
        disk[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
    };
    entry(&mut disk, 446, 5, 8, 4000);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let at = 8 * 512;
    entry(&mut disk, at + 446, 0x83, 1, 100);
    // Leads back to itself, by way of the largest number that there is.
    entry(&mut disk, at + 462, 5, 16, 100);
    disk[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
    let next = 24 * 512;
    entry(&mut disk, next + 446, 0x83, 1, 100);
    entry(&mut disk, next + 462, 5, 16, 100);
    disk[next + 510..next + 512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(partitions(&disk, 512).unwrap().len(), 60);
}

#[test]
fn other_contents_are_named() {
    let of = |at: usize, magic: &[u8]| {
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        FileSystem::open(bytes, None).unwrap_err().to_string()
    };
    let advice = "which is not supported: mount it through lucarne serve (--nbd, --fuse)";
    assert_eq!(
        of(0, b"XFSB"),
        format!("the volume holds an XFS file system, {advice}")
    );
    assert_eq!(
        of(0x10040, b"_BHRfS_M"),
        format!("the volume holds a btrfs file system, {advice}")
    );
    assert_eq!(
        of(512, b"LABELONE"),
        format!("the volume holds an LVM physical volume, {advice}")
    );
    assert_eq!(
        of(0, b"\x02\0\0\0\0\0\0\0{}"),
        "the volume holds a safetensors file, and no file system: see lucarne tensors"
    );
    assert_eq!(
        of(0, b""),
        "the volume holds zeros where a file system begins; lucarne read gives its bytes"
    );
    assert_eq!(
        of(77, b"x"),
        "the volume holds no file system that is known here; lucarne read gives its bytes"
    );
    for len in 0..2048 {
        let error = FileSystem::open(vec![0xff; len], None).unwrap_err();
        assert!(
            matches!(error, Error::NoFileSystem { .. }),
            "{len}: {error}"
        );
    }
    let error = FileSystem::open(vec![0; 5000], Some(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no partition 1: the volume has no partitions"
    );
}
