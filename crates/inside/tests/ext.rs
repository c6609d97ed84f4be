//! ext2, ext3 and ext4 as mke2fs makes them, against the folders that they were made of, and against debugfs.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::path::Path;

use common::{compare, compare_bytes, ext, file, have, opened, storage, tool, tree};
use lucarne_inside::{Error, FileSystem, Kind};
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

const TOOLS: &[&str] = &["mke2fs", "e2fsck", "debugfs"];

/// Names of the versions, and mke2fs's options.
const VARIANTS: &[(&str, &str)] = &[
    ("ext2", "-t ext2"),
    ("ext2", "-t ext2 -b 1024 -I 128"),
    ("ext2", "-t ext2 -O ^filetype"),
    ("ext3", "-t ext3"),
    ("ext3", "-t ext3 -b 2048"),
    ("ext4", "-t ext4"),
    ("ext4", "-t ext4 -b 1024"),
    ("ext4", "-t ext4 -b 65536"),
    ("ext4", "-t ext4 -O ^64bit,^metadata_csum"),
    ("ext4", "-t ext4 -O metadata_csum_seed"),
    ("ext4", "-t ext4 -I 128 -O ^metadata_csum"),
    ("ext4", "-t ext4 -O bigalloc -C 65536"),
    ("ext4", "-t ext4 -O meta_bg,^resize_inode -b 1024"),
    ("ext4", "-t ext4 -O sparse_super2 -b 1024"),
    (
        "ext4",
        "-t ext4 -O meta_bg,^resize_inode,sparse_super2 -b 1024",
    ),
    ("ext4", "-t ext4 -O ^extent,^64bit"),
    ("ext4", "-t ext4 -O large_dir,mmp"),
    ("ext4", "-t ext4 -O casefold"),
    ("ext4", "-t ext4 -O ^flex_bg -g 1024"),
    ("ext4", "-t ext4 -O inline_data -I 256"),
    ("ext4", "-t ext4 -O inline_data -I 1024"),
];

#[test]
fn every_variant_is_read_as_the_folder_that_it_was_made_of() {
    if !have(
        "every_variant_is_read_as_the_folder_that_it_was_made_of",
        TOOLS,
    ) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    tree(&folder);
    for (index, (version, options)) in VARIANTS.iter().enumerate() {
        let image = scratch.path(&format!("{index}.img"));
        if options.contains("inline_data") {
            let _ = std::fs::remove_file(folder.join(common::ENDS_IN_A_HOLE));
        }
        let options: Vec<_> = options.split(' ').chain(["-L", "a label"]).collect();
        ext(&image, 128 << 20, &options, &folder);
        let files = opened(&image);
        assert_eq!(
            (files.format(), files.label()),
            (*version, "a label"),
            "{options:?}"
        );
        let count = compare(&files, &folder);
        assert!(count > 90, "{count}");
        println!("{options:?}: {count} files");
        std::fs::remove_file(&image).unwrap();
    }
}

#[test]
fn paths_and_links_stay_inside() {
    if !have("paths_and_links_stay_inside", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    tree(&folder);
    let image = scratch.path("img");
    ext(&image, 128 << 20, &["-t", "ext4"], &folder);
    let files = opened(&image);
    let len = |path: &str| files.open_file(path.as_bytes()).map(|file| file.len());
    for (path, expected) in [
        ("/of 5000 bytes", 5000),
        ("of 5000 bytes", 5000),
        ("//sub/./a//b/../b/file", 777),
        ("/../../of 5000 bytes", 5000),
        ("/relative", 777),
        ("/up", 5000),
        ("/absolute/b/file", 777),
        ("/through", 777),
        ("/long link", 777),
        ("/outside", 1),
    ] {
        assert_eq!(len(path).unwrap(), expected, "{path}");
    }
    let said = |path: &str| len(path).unwrap_err().to_string();
    assert_eq!(
        said("/absent"),
        "/absent: no such file or directory in the volume"
    );
    assert_eq!(
        said("/dangling"),
        "/dangling: no such file or directory in the volume"
    );
    assert_eq!(said("/loop"), "/loop: more than 40 symbolic links");
    assert_eq!(said("/sub"), "/sub: is a directory");
    assert_eq!(said("/pipe"), "/pipe: not a regular file");
    assert_eq!(said("/of 1 bytes/x"), "/of 1 bytes/x: not a directory");
    assert_eq!(said("/of 1 bytes/"), "/of 1 bytes/: not a directory");
    assert_eq!(
        said("/pipe\u{1b}[0m"),
        "/pipe\\u{1b}[0m: no such file or directory in the volume"
    );
    assert!(matches!(
        files.list(b"/of 1 bytes"),
        Err(Error::NotADirectory { .. })
    ));
    assert_eq!(files.link_node(b"/loop").unwrap().kind, Kind::Link);
    assert_eq!(
        files.link_node(b"/absolute/").unwrap().kind,
        Kind::Directory
    );
}

#[test]
fn a_large_file_with_holes_is_read_where_it_has_bytes() {
    if !have("a_large_file_with_holes_is_read_where_it_has_bytes", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    std::fs::create_dir(&folder).unwrap();
    let places = [0, 5 << 20, (299 << 20) + 17];
    common::sparse(&folder.join("sparse"), 300 << 20, &places);
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]] {
        let image = scratch.path("img");
        ext(&image, 32 << 20, options, &folder);
        assert_eq!(compare(&opened(&image), &folder), 1);
    }
}

#[test]
fn thousands_of_names_in_a_hash_tree() {
    if !have("thousands_of_names_in_a_hash_tree", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    std::fs::create_dir_all(folder.join("many")).unwrap();
    // More blocks of 1 KiB than a root has entries, so that the tree has two levels. mke2fs takes quadratic time.
    const COUNT: usize = 3000;
    for index in 0..COUNT {
        let name = format!("a name that takes {:60} {index}", "some room");
        std::fs::write(folder.join("many").join(name), index.to_string()).unwrap();
    }
    for options in [&["-t", "ext4"][..], &["-t", "ext3", "-b", "1024"]] {
        let image = scratch.path("img");
        ext(
            &image,
            128 << 20,
            &[options, &["-N", "6000"]].concat(),
            &folder,
        );
        // mke2fs writes names in order; this makes the tree of them.
        let checked = lucarne_testkit::process::run(
            std::process::Command::new(lucarne_testkit::peers::locate("e2fsck").unwrap())
                .args(["-fyD", image.to_str().unwrap()]),
            b"",
        );
        assert!(
            checked.code.is_some_and(|code| code <= 1),
            "{}",
            checked.text()
        );
        let shown = tool(
            "debugfs",
            [
                OsStr::new("-R"),
                OsStr::new("htree_dump /many"),
                image.as_os_str(),
            ],
            b"",
        );
        assert!(String::from_utf8_lossy(&shown).contains("Root node dump"));
        let files = opened(&image);
        assert_eq!(files.list(b"/many").unwrap().len(), COUNT);
        assert_eq!(compare(&files, &folder), COUNT + 1);
    }
}

/// Runs commands of debugfs on an image that they may change.
fn debugfs(image: &Path, commands: &[String]) -> String {
    let script = commands.join("\n");
    let stdout = tool(
        "debugfs",
        [
            OsStr::new("-w"),
            OsStr::new("-f"),
            OsStr::new("/dev/stdin"),
            image.as_os_str(),
        ],
        script.as_bytes(),
    );
    String::from_utf8(stdout).unwrap()
}

/// The blocks of a file, by debugfs.
fn blocks(image: &Path, path: &str) -> Vec<u64> {
    let said = debugfs(image, &[format!("blocks \"{path}\"")]);
    let last = said.lines().last().unwrap().to_owned();
    last.split_whitespace()
        .map(|block| block.parse().unwrap())
        .collect()
}

#[test]
fn what_waits_in_the_journal_is_read_as_e2fsck_would_write_it() {
    if !have(
        "what_waits_in_the_journal_is_read_as_e2fsck_would_write_it",
        TOOLS,
    ) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    std::fs::create_dir(&folder).unwrap();
    file(&folder.join("first"), 200_000);
    file(&folder.join("second"), 50_000);
    for (options, checksums) in [
        (&["-t", "ext3"][..], ""),
        (&["-t", "ext3", "-b", "1024"], ""),
        (&["-t", "ext4"], " -c -v 3"),
        (&["-t", "ext4", "-O", "^64bit", "-b", "1024"], " -c -v 2"),
        (&["-t", "ext4", "-O", "^metadata_csum"], ""),
    ] {
        let image = scratch.path("img");
        ext(&image, 64 << 20, options, &folder);
        let plain = std::fs::read(&image).unwrap();
        let block_len = plain_block_len(&plain);
        let first = blocks(&image, "/first");
        // New content for blocks of the file; one of them begins as the journal's own blocks do. Three
        // transactions: one of the blocks comes twice, one is revoked after it came.
        let mut content = stream("in the journal", 4 * block_len);
        content[block_len..block_len + 4].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98]);
        let newest = scratch.file("newest", &content);
        let other = scratch.file("other", &stream("again", block_len));
        let commands = [
            format!("jo{checksums}"),
            format!(
                "jw -b {},{},{},{} {}",
                first[1],
                first[2],
                first[5],
                first[6],
                newest.display()
            ),
            format!("jw -b {} {}", first[5], other.display()),
            format!("jw -r {}", first[6]),
            "jc".to_owned(),
        ];
        let said = debugfs(&image, &commands);
        let recovered = scratch.copy(&image, "recovered");
        let files = opened(&image);
        let expected = {
            let code = lucarne_testkit::process::run(
                std::process::Command::new(lucarne_testkit::peers::locate("e2fsck").unwrap())
                    .args(["-fy", recovered.to_str().unwrap()]),
                b"",
            );
            assert!(code.code.is_some_and(|code| code <= 1), "{}", code.text());
            assert!(
                code.text().contains("recovering journal"),
                "{} {said}",
                code.text()
            );
            let to = scratch.path("dumped");
            debugfs(&recovered, &[format!("dump /first {}", to.display())]);
            std::fs::read(to).unwrap()
        };
        let at = |index: usize| index * block_len..(index + 1) * block_len;
        assert!(
            expected[at(1)] == content[at(0)] && expected[at(2)] == content[at(1)],
            "{options:?} {said}"
        );
        assert!(expected[at(5)] == stream("again", block_len));
        assert!(expected[at(6)] == stream("first", 200_000)[at(6)]);
        compare_bytes(&files, b"/first", &expected);
        compare_bytes(&opened(&recovered), b"/first", &expected);
        compare_bytes(&files, b"/second", &stream("second", 50_000));

        // The image itself is as it was.
        let damaged = scratch.copy(&image, "damaged");
        damage_journal(&damaged, &content[..block_len]);
        if !checksums.is_empty() {
            let error = FileSystem::open(storage(&damaged), None)
                .unwrap_err()
                .to_string();
            assert!(error.contains("of the journal"), "{error}");
        }
    }
}

fn plain_block_len(image: &[u8]) -> usize {
    1024 << image[1024 + 0x18]
}

/// Changes a byte of a block that the journal brings.
fn damage_journal(image: &Path, block: &[u8]) {
    use std::os::unix::fs::FileExt;
    let bytes = std::fs::read(image).unwrap();
    let at = bytes
        .chunks(block.len())
        .position(|chunk| chunk == block)
        .unwrap()
        * block.len();
    let file = std::fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(&[!block[9]], at as u64 + 9).unwrap();
}

#[test]
fn damage_is_said_and_what_is_not_read_is_named() {
    if !have("damage_is_said_and_what_is_not_read_is_named", TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tree");
    std::fs::create_dir(&folder).unwrap();
    file(&folder.join("file"), 5000);
    let image = scratch.path("img");
    ext(&image, 16 << 20, &["-t", "ext4"], &folder);
    let whole = std::fs::read(&image).unwrap();
    let open = |bytes: Vec<u8>| FileSystem::open(bytes, None).map_err(|error| error.to_string());
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        open(bytes)
    };
    assert_eq!(
        changed(1024 + 0x64, 0xff).unwrap_err(),
        "damaged file system: checksum of the ext4 superblock"
    );
    assert_eq!(
        changed(1024 + 0x63, 0xff).unwrap_err(),
        "not supported: an ext file system with features 0xff000000: mount it through lucarne serve (--nbd, --fuse)"
    );
    assert!(
        changed(1024 + 0x60, 0x43)
            .unwrap_err()
            .contains("with compression")
    );
    assert_eq!(
        open(whole[..8 << 20].to_vec()).unwrap_err(),
        "damaged file system: the ext file system has 16777216 bytes, its place 8388608"
    );
    // The inode of the file, by its checksum.
    let said = String::from_utf8(tool(
        "debugfs",
        [
            OsStr::new("-R"),
            OsStr::new("imap /file"),
            image.as_os_str(),
        ],
        b"",
    ))
    .unwrap();
    let place = said.lines().last().unwrap().to_owned();
    let number = |text: &str| {
        usize::from_str_radix(text.trim_start_matches("0x").trim_end_matches(','), 16).unwrap()
    };
    let words: Vec<_> = place.split_whitespace().collect();
    let block: usize = words
        .iter()
        .skip_while(|word| **word != "block")
        .nth(1)
        .unwrap()
        .trim_end_matches(',')
        .parse()
        .unwrap();
    let offset = number(words.last().unwrap());
    let mut bytes = whole.clone();
    bytes[block * plain_block_len(&whole) + offset + 4] ^= 1;
    let files = open(bytes).unwrap();
    let error = files.open_file(b"/file").unwrap_err().to_string();
    assert!(
        error.starts_with("damaged file system: checksum of inode "),
        "{error}"
    );
    assert!(
        files
            .list(b"/")
            .unwrap()
            .iter()
            .any(|entry| entry.name == b"file")
    );
}
