//! FAT12, FAT16 and FAT32 as mkfs.vfat and mtools make them.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use common::{compare, compare_bytes, file, have, opened, storage, tool};
use lucarne_inside::FileSystem;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

const TOOLS: &[&str] = &["mkfs.vfat", "mcopy", "mdel"];

fn vfat(image: &Path, len: u64, options: &str) {
    std::fs::File::create(image).unwrap().set_len(len).unwrap();
    let words =
        options
            .split(' ')
            .map(OsString::from)
            .chain(["-n".into(), "A LABEL".into(), image.into()]);
    tool("mkfs.vfat", words, b"");
}

/// Copies all that lies in a folder.
fn fill(image: &Path, folder: &Path) {
    let mut words: Vec<OsString> = [
        "-i".into(),
        image.into(),
        "-s".into(),
        "-Q".into(),
        "-m".into(),
    ]
    .into();
    let mut inside: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inside.sort();
    words.extend(inside.into_iter().map(OsString::from));
    words.push("::/".into());
    tool("mcopy", words, b"");
}

fn tree(root: &Path, largest: usize) {
    std::fs::create_dir(root).unwrap();
    for len in [0, 1, 511, 512, 5000, 70_000, largest] {
        file(&root.join(format!("of {len} bytes")), len);
    }
    for name in [
        "README.TXT",
        "lower.txt",
        "MiXed.Case",
        "größe €.dat",
        "a.b.c.d",
        &"long ".repeat(40),
        "no extension",
    ] {
        file(&root.join(name.trim()), 600);
    }
    let mut deep = root.join("deep");
    for level in 0..12 {
        deep.push(format!("level {level}"));
    }
    std::fs::create_dir_all(&deep).unwrap();
    file(&deep.join("bottom"), 100);
    std::fs::create_dir(root.join("many")).unwrap();
    for index in 0..300 {
        file(&root.join(format!("many/a rather long name {index}")), 3);
    }
}

#[test]
fn every_width_is_read_as_the_folder_that_was_copied() {
    if !have("every_width_is_read_as_the_folder_that_was_copied", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    for (version, len, options, largest) in [
        ("fat12", 4 << 20, "-F 12", 1 << 20),
        ("fat12", 4 << 20, "-F 12 -s 4", 1 << 20),
        ("fat16", 32 << 20, "-F 16", 9 << 20),
        ("fat16", 64 << 20, "-F 16 -s 8 -f 1", 9 << 20),
        ("fat32", 80 << 20, "-F 32", 9 << 20),
        ("fat32", 600 << 20, "-F 32 -s 8", 9 << 20),
        ("fat32", 300 << 20, "-F 32 -S 4096 -s 1", 9 << 20),
    ] {
        let (image, folder) = (scratch.path("img"), scratch.path(options));
        tree(&folder, largest);
        vfat(&image, len, options);
        fill(&image, &folder);
        let files = opened(&image);
        assert_eq!(
            (files.format(), files.label()),
            (version, "A LABEL"),
            "{options}"
        );
        assert!(compare(&files, &folder) > 320);
        for name in [
            "/readme.txt",
            "/Readme.TXT",
            "/LOWER.txt",
            "/GRÖSSE €.DAT".to_lowercase().replace("ss", "ß").as_str(),
            "/LONGLO~1",
        ] {
            assert!(
                files.open_file(name.as_bytes()).is_ok(),
                "{options}: {name}"
            );
        }

        // In pieces: what is written last goes where something was deleted.
        let pattern = OsStr::new("::/many/a rather long name *[02468]");
        tool("mdel", [OsStr::new("-i"), image.as_os_str(), pattern], b"");
        let pieces = scratch.path("pieces");
        file(&pieces, largest / 2);
        tool(
            "mcopy",
            [
                OsStr::new("-i"),
                image.as_os_str(),
                pieces.as_os_str(),
                OsStr::new("::/pieces"),
            ],
            b"",
        );
        let files = opened(&image);
        compare_bytes(&files, b"/PIECES", &stream("pieces", largest / 2));
        assert_eq!(files.list(b"/many").unwrap().len(), 150);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn chains_that_end_early_or_never_are_said() {
    if !have("chains_that_end_early_or_never_are_said", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (image, folder) = (scratch.path("img"), scratch.path("tree"));
    std::fs::create_dir_all(folder.join("dir")).unwrap();
    file(&folder.join("file"), 100_000);
    vfat(&image, 32 << 20, "-F 16 -s 1 -R 1");
    fill(&image, &folder);
    let whole = std::fs::read(&image).unwrap();
    let files = opened(&image);
    let start = |path: &[u8]| {
        format!("{:?}", files.node(path).unwrap().id)
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<usize>()
            .unwrap()
    };
    let (of_file, of_dir) = (start(b"/file"), start(b"/dir"));
    let changed = |cluster: usize, next: u16| {
        let mut bytes = whole.clone();
        bytes[512 + 2 * cluster..][..2].copy_from_slice(&next.to_le_bytes());
        FileSystem::open(bytes, None).unwrap()
    };
    let said = |files: FileSystem<Vec<u8>>| files.open_file(b"/file").unwrap_err().to_string();
    assert!(said(changed(of_file, 0xffff)).ends_with("has 1 clusters and ends, 196 belong to it"));
    assert!(said(changed(of_file, 0)).contains("FAT cluster 0 in the chain"));
    assert!(said(changed(of_file, 0xff00)).contains("FAT cluster 65280 in the chain"));
    let ring = changed(of_dir, of_dir as u16)
        .list(b"/dir")
        .unwrap_err()
        .to_string();
    assert!(ring.contains("and goes on"), "{ring}");
    let short = whole[..1 << 20].to_vec();
    let error = FileSystem::open(short, None).unwrap_err().to_string();
    assert_eq!(
        error,
        "damaged file system: the FAT file system has 33554432 bytes, its place 1048576"
    );
    drop(storage(&image));
}
