//! `ls`, `cat`, `cp`, `tensors`, `tensor` on encrypted volumes: what is shown and copied is what was put in, and every
//! mistake is one line.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{CHEAP, assert_refused, command, encrypted, key_file, lucarne, must, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::{ground_truth, peers};

fn have(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| peers::locate(name).is_none());
    if let Some(missing) = missing {
        peers::skipped(test, missing);
    }
    missing.is_none()
}

fn tool(name: &str, arguments: &[OsString], stdin: &str) {
    let mut tool = Command::new(peers::locate(name).unwrap());
    tool.args(arguments)
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("TZ", "UTC");
    let outcome = run(&mut tool, stdin.as_bytes());
    assert_eq!(
        outcome.code,
        Some(0),
        "{name} {arguments:?}: {}",
        outcome.stderr
    );
}

/// A folder, and an ext4 file system of it.
fn folder(scratch: &Scratch) -> PathBuf {
    let root = scratch.path("tree");
    std::fs::create_dir_all(root.join("models/deep")).unwrap();
    let weights = lucarne_testkit::testdata().join("weights/tiny.safetensors");
    std::fs::copy(weights, root.join("models/tiny.safetensors")).unwrap();
    std::fs::write(root.join("models/deep/large"), stream("large", 9 << 20)).unwrap();
    std::fs::write(root.join("empty"), b"").unwrap();
    std::fs::write(root.join("text"), b"some text\n").unwrap();
    std::fs::set_permissions(root.join("text"), PermissionsExt::from_mode(0o6640)).unwrap();
    std::fs::set_permissions(root.join("models/deep"), PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::write(root.join("esc\x1b[2J"), b"x").unwrap();
    for (name, target) in [
        ("link", "models/deep/large"),
        ("away", "/etc/passwd"),
        ("models/up", "../text"),
        ("loop", "loop"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    root
}

fn ext4(scratch: &Scratch, name: &str, folder: &Path, options: &[&str]) -> PathBuf {
    let image = scratch.zeros(name, 32 << 20);
    let mut arguments = words!["-q", "-F", "-t", "ext4"].to_vec();
    arguments.extend(options.iter().map(OsString::from));
    arguments.extend(words!["-d", folder, &image]);
    tool("mke2fs", &arguments, "");
    image
}

/// A volume of a file's bytes.
fn volume(scratch: &Scratch, name: &str, plain: &Path) -> PathBuf {
    encrypted(scratch, name, &std::fs::read(plain).unwrap(), &[])
}

fn at(image: &Path, path: &str) -> OsString {
    let mut target = OsString::from(image);
    target.push(":");
    target.push(path);
    target
}

#[test]
fn files_come_out_as_they_went_in() {
    if !have("files_come_out_as_they_went_in", &["mke2fs"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = folder(&scratch);
    let image = volume(&scratch, "volume", &ext4(&scratch, "plain", &root, &[]));
    let key = key_file(&scratch);

    let listed = must(words!["ls", "-d", &key, at(&image, "/")]);
    assert_eq!(
        listed,
        b"away\nempty\nesc\x1b[2J\nlink\nloop\nlost+found\nmodels\ntext\n"
    );
    assert_eq!(must(words!["ls", "-d", &key, &image]), listed);
    let long = String::from_utf8(must(words!["ls", "-ld", &key, at(&image, "/")])).unwrap();
    let text = long.lines().find(|line| line.ends_with(" text")).unwrap();
    assert!(
        text.starts_with("-rwSr-S--- ") && text.contains(" 10 20"),
        "{text}"
    );
    assert!(long.contains(" link -> models/deep/large\n"), "{long}");
    let object: serde_json::Value = serde_json::from_slice(&must(words![
        "ls",
        "--json",
        "--key-file",
        &key,
        at(&image, "/models")
    ]))
    .unwrap();
    assert_eq!(
        (object["format"].as_str(), object["partition"].as_u64()),
        (Some("ext4"), None)
    );
    let up = object["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "up")
        .unwrap();
    assert_eq!(
        (up["kind"].as_str(), up["target"].as_str()),
        (Some("symbolic link"), Some("../text"))
    );

    for (path, file) in [
        ("/empty", "empty"),
        ("/text", "text"),
        ("/link", "models/deep/large"),
        ("/models/up", "text"),
    ] {
        let expected = std::fs::read(root.join(file)).unwrap();
        assert!(
            must(words!["cat", "-d", &key, at(&image, path)]) == expected,
            "{path}"
        );
        assert!(
            must(words!["cp", "-d", &key, at(&image, path), "-"]) == expected,
            "{path}"
        );
        let out = scratch.path("out");
        must(words!["cp", "-qd", &key, at(&image, path), &out]);
        assert!(std::fs::read(&out).unwrap() == expected, "{path}");
    }

    let out = scratch.path("copy");
    let outcome = lucarne(words!["cp", "-r", "-d", &key, at(&image, "/"), &out]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut said: Vec<_> = outcome.stderr.lines().collect();
    said.sort_unstable();
    assert_eq!(
        said,
        ["lucarne: /away: left out: it could lead out of OUT, to /etc/passwd"]
    );
    for file in [
        "empty",
        "text",
        "models/deep/large",
        "models/tiny.safetensors",
        "esc\x1b[2J",
    ] {
        let (copy, original) = (out.join(file), root.join(file));
        assert!(
            std::fs::read(&copy).unwrap() == std::fs::read(&original).unwrap(),
            "{file}"
        );
        let (copy, original) = (copy.metadata().unwrap(), original.metadata().unwrap());
        assert_eq!(copy.mode() & 0o7777, original.mode() & 0o777, "{file}");
        assert_eq!(copy.mtime(), original.mtime(), "{file}");
    }
    assert_eq!(
        out.join("models/deep").metadata().unwrap().mode() & 0o777,
        0o555
    );
    assert_eq!(
        std::fs::read_link(out.join("models/up")).unwrap(),
        Path::new("../text")
    );
    assert!(out.join("away").symlink_metadata().is_err());
    assert!(!scratch.names().iter().any(|name| name.contains("partial")));
    for read_only in [root.join("models/deep"), out.join("models/deep")] {
        std::fs::set_permissions(read_only, PermissionsExt::from_mode(0o755)).unwrap();
    }

    // Tensors of the file in it, and of the same file as a volume of its own.
    let weights = root.join("models/tiny.safetensors");
    let bare = volume(&scratch, "bare", &weights);
    let inside = at(&image, "/models/tiny.safetensors");
    let table = must(words!["tensors", "-d", &key, &inside]);
    assert_eq!(table, must(words!["tensors", "-d", &key, &bare]));
    let object: serde_json::Value =
        serde_json::from_slice(&must(words!["tensors", "--json", "-d", &key, &bare])).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    let tensors = object["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 5);
    for tensor in tensors {
        let name = tensor["name"].as_str().unwrap();
        let number = |field: &str| tensor[field].as_u64().unwrap() as usize;
        let expected = &bytes[number("offset")..number("offset") + number("bytes")];
        for source in [OsString::from(&bare), inside.clone()] {
            assert!(
                must(words!["tensor", "-d", &key, &source, name, "-"]) == expected,
                "{name}"
            );
        }
        let out = scratch.path("tensor");
        must(words!["tensor", "-qd", &key, &bare, name, &out]);
        assert!(std::fs::read(&out).unwrap() == expected, "{name}");
    }
    assert_eq!(object["trailing_bytes"], 0);
    // Whose length is not recorded, and so ends with the last sector.
    let unrecorded = encrypted(&scratch, "unrecorded", &bytes, &["--no-length"]);
    let object: serde_json::Value =
        serde_json::from_slice(&must(words!["tensors", "--json", "-d", &key, &unrecorded]))
            .unwrap();
    assert_eq!(
        object["trailing_bytes"].as_u64().unwrap() as usize,
        bytes.len().next_multiple_of(4096) - bytes.len()
    );
    let text = String::from_utf8(must(words!["tensors", "-d", &key, &unrecorded])).unwrap();
    assert!(
        text.contains("bytes behind them, to the volume's end"),
        "{text}"
    );
}

#[test]
fn mistakes_are_one_line_each() {
    if !have("mistakes_are_one_line_each", &["mke2fs"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = folder(&scratch);
    let plain = ext4(&scratch, "plain", &root, &[]);
    let image = volume(&scratch, "volume", &plain);
    let key = key_file(&scratch);
    let xfs = encrypted(&scratch, "xfs", b"XFSB and so on", &[]);
    let zeros = encrypted(&scratch, "zeros", &[0; 5000], &[]);
    let text = scratch.file("text", b"text");
    let there = scratch.file("there", b"there");
    let refused = |arguments: &[OsString], code: i32, message: &str| {
        let mut all = arguments.to_vec();
        all.extend(words!["-d", &key]);
        assert_refused(&format!("{arguments:?}"), &lucarne(&all), code, message);
    };
    refused(
        &words!["ls", at(&image, "/absent")],
        4,
        "volume: /absent: no such file or directory in the volume",
    );
    refused(
        &words!["cat", at(&image, "/models")],
        4,
        "/models: is a directory",
    );
    refused(
        &words!["cat", at(&image, "/text/more")],
        4,
        "/text/more: not a directory",
    );
    refused(
        &words!["cat", at(&image, "/loop")],
        4,
        "/loop: more than 40 symbolic links",
    );
    refused(&words!["cat", &image], 1, "volume: which file? Name it as");
    refused(
        &words!["cp", at(&image, "/models"), scratch.path("x")],
        4,
        "/models: is a directory; -r copies it",
    );
    refused(
        &words!["cp", "-r", at(&image, "/models"), "-"],
        4,
        "/models: is a directory",
    );
    refused(
        &words!["cp", at(&image, "/text"), &there],
        5,
        "there: exists already; --batch-mode replaces it",
    );
    refused(
        &words!["cp", "-r", at(&image, "/models"), &there],
        5,
        "there: exists already",
    );
    refused(
        &words!["cp", "-qr", at(&image, "/models"), scratch.dir()],
        5,
        "exists already",
    );
    refused(
        &words!["cp", "-q", at(&image, "/text"), scratch.dir()],
        4,
        "is a directory",
    );
    refused(
        &words!["cp", "-q", at(&image, "/text"), &image],
        5,
        "IN and OUT are the same file",
    );
    refused(
        &words!["cp", at(&image, "/text"), scratch.path("no/such/place")],
        4,
        "No such file or directory",
    );
    refused(
        &words![
            "cp",
            "-r",
            at(&image, "/models"),
            scratch.path("no/such/place")
        ],
        4,
        "No such file or directory",
    );
    refused(
        &words!["ls", &xfs],
        4,
        "the volume holds an XFS file system, which is not supported: mount it through lucarne serve",
    );
    refused(
        &words!["ls", &zeros],
        4,
        "the volume holds zeros where a file system begins",
    );
    refused(
        &words!["ls", "--partition", "2", &image],
        1,
        "no partition 2: the volume has no partitions",
    );
    refused(&words!["ls", &text], 1, "text: not a LUKS volume");
    refused(&words!["ls", scratch.path("absent")], 4, "No such file");
    refused(&words!["ls", &plain], 1, "not a LUKS volume");
    refused(
        &words!["tensors", &image],
        4,
        "the volume holds an ext2, ext3 or ext4 file system: name a safetensors file in it",
    );
    refused(
        &words!["tensors", &zeros],
        1,
        "zeros: not a valid safetensors file: the header does not begin with {",
    );
    refused(
        &words!["tensors", at(&image, "/text")],
        1,
        "volume:/text: not a valid safetensors file: a header of ",
    );
    refused(
        &words![
            "tensor",
            at(&image, "/models/tiny.safetensors"),
            "absent",
            scratch.path("x")
        ],
        4,
        "no tensor \"absent\"",
    );
    refused(
        &words!["ls", "--recursive", &image],
        1,
        "--recursive: not allowed with ls",
    );
    assert_refused(
        "wrong key",
        &lucarne(words!["ls", &image, "-d", &text]),
        2,
        "no keyslot accepts this key",
    );
    assert!(scratch.path("x").symlink_metadata().is_err());
    assert_eq!(std::fs::read(&there).unwrap(), b"there");
    assert!(!scratch.names().iter().any(|name| name.contains("partial")));
}

#[test]
fn hostile_names_and_rings_write_nothing_elsewhere() {
    if !have(
        "hostile_names_and_rings_write_nothing_elsewhere",
        &["mke2fs", "debugfs"],
    ) {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.path("tree");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    for name in ["AAAAAAAA", "BBBBBBBB", "CCCCCCCC", "sub/DDDDDDDD", "fine"] {
        std::fs::write(root.join(name), name).unwrap();
    }
    let plain = ext4(
        &scratch,
        "plain",
        &root,
        &["-O", "^metadata_csum,^dir_index"],
    );
    let mut bytes = std::fs::read(&plain).unwrap();
    for (from, to) in [
        (b"AAAAAAAA", b"../../ev"),
        (b"BBBBBBBB", b"/tmp/evi"),
        (b"CCCCCCCC", b"nul\0byte"),
        (b"DDDDDDDD", b"........"),
    ] {
        // In the directory's record, behind its length of 8.
        let mut count = 0;
        for at in 2..bytes.len() - 8 {
            if &bytes[at..at + 8] == from && bytes[at - 2] == 8 {
                bytes[at..at + 8].copy_from_slice(to);
                count += 1;
            }
        }
        assert_eq!(count, 1);
    }
    std::fs::write(&plain, &bytes).unwrap();
    let image = volume(&scratch, "volume", &plain);
    let key = key_file(&scratch);
    let before = scratch.names();
    let out = scratch.path("out");
    let outcome = lucarne(words!["cp", "-r", "-d", &key, at(&image, "/"), &out]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome
            .stderr
            .matches("no name that a file can have")
            .count(),
        3,
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains(r"/nul\u{0}byte"),
        "{}",
        outcome.stderr
    );
    let mut copied: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    copied.sort();
    assert_eq!(copied, ["fine", "lost+found", "sub"]);
    assert!(out.join("sub/........").exists());
    assert_eq!(scratch.names().len(), before.len() + 1);

    // A directory that contains the one that contains it.
    let ring = ext4(&scratch, "ring.plain", &root, &[]);
    tool(
        "debugfs",
        &words!["-w", "-f", "/dev/stdin", &ring],
        "ln sub sub/again\n",
    );
    let ring = volume(&scratch, "ring", &ring);
    let outcome = lucarne(words![
        "cp",
        "-r",
        "-d",
        &key,
        at(&ring, "/"),
        scratch.path("endless")
    ]);
    assert_refused("a ring", &outcome, 1, "/sub/again is there twice");
    assert!(scratch.path("endless").symlink_metadata().is_err());
    assert!(!scratch.names().iter().any(|name| name.contains("partial")));
}

#[test]
fn partitions_headers_elsewhere_and_fat() {
    if !have(
        "partitions_headers_elsewhere_and_fat",
        &["mke2fs", "sfdisk", "mkfs.vfat", "mcopy"],
    ) {
        return;
    }
    let scratch = Scratch::new();
    let root = folder(&scratch);
    std::fs::remove_file(root.join("esc\x1b[2J")).unwrap();
    let first = ext4(&scratch, "first", &root, &[]);
    let second = scratch.zeros("second", 32 << 20);
    tool("mkfs.vfat", &words![&second], "");
    tool(
        "mcopy",
        &words![
            "-i",
            &second,
            root.join("models/deep/large"),
            "::/A long name.bin"
        ],
        "",
    );
    let disk = scratch.zeros("disk.plain", 80 << 20);
    tool(
        "sfdisk",
        &words!["-q", &disk],
        "label: gpt\nstart=2048, size=65536, name=\"one\"\nstart=71680, size=65536\n",
    );
    let mut bytes = std::fs::read(&disk).unwrap();
    for (at, part) in [(2048, &first), (71680, &second)] {
        let part = std::fs::read(part).unwrap();
        bytes[at * 512..at * 512 + part.len()].copy_from_slice(&part);
    }
    std::fs::write(&disk, bytes).unwrap();
    let (image, header, key) = (
        scratch.path("disk"),
        scratch.path("header"),
        key_file(&scratch),
    );
    let mut arguments = words![
        "encrypt", "-q", "-d", &key, "--header", &header, &disk, &image
    ]
    .to_vec();
    arguments.extend(CHEAP.iter().map(OsString::from));
    must(arguments);
    let opened = |more: &[OsString]| {
        let mut arguments = more.to_vec();
        arguments.extend(words!["-d", &key, "--header", &header]);
        lucarne(arguments)
    };
    let which = opened(&words!["ls", &image]);
    assert_refused(
        "two partitions",
        &which,
        1,
        "disk: --partition chooses one: several partitions hold a file system",
    );
    assert!(which.stderr.contains("1 (one), 33554432 bytes at 1048576: an ext2, ext3 or ext4 file system; 2, 33554432 bytes"), "{}", which.stderr);
    assert_refused(
        "no such partition",
        &opened(&words!["ls", &image, "--partition", "9"]),
        1,
        "no partition 9: 1 (one)",
    );
    let expected = stream("large", 9 << 20);
    let one = opened(&words!["cat", at(&image, "/link"), "--partition", "1"]);
    assert!(one.stdout == expected, "{}", one.stderr);
    let two = opened(&words![
        "cat",
        at(&image, "/a LONG name.BIN"),
        "--partition",
        "2"
    ]);
    assert!(two.stdout == expected, "{}", two.stderr);
    let json = opened(&words!["ls", "--json", &image, "--partition", "2"]);
    let object: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (
            object["partition"].as_u64(),
            object["entries"][0]["name"].as_str()
        ),
        (Some(2), Some("A long name.bin"))
    );
}

#[test]
fn a_copy_that_is_interrupted_leaves_nothing() {
    if !have("a_copy_that_is_interrupted_leaves_nothing", &["mke2fs"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.path("tree");
    std::fs::create_dir_all(root.join("many")).unwrap();
    for index in 0..3000 {
        std::fs::write(root.join(format!("many/{index}")), [7; 5000]).unwrap();
    }
    let image = volume(
        &scratch,
        "volume",
        &ext4(&scratch, "plain", &root, &["-N", "8000"]),
    );
    let key = key_file(&scratch);
    let mut interrupted = 0;
    for delay_ms in [30, 60, 90, 120, 150, 200] {
        let out = scratch.path("out");
        let child = command()
            .args(words!["cp", "-r", "-d", &key, at(&image, "/many"), &out])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        let pid = rustix::process::Pid::from_child(&child);
        // It may have ended before.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3000);
            std::fs::remove_dir_all(&out).unwrap();
        } else {
            assert!(!out.exists(), "{stderr}");
            interrupted += usize::from(stderr.contains("interrupted"));
        }
        let left: Vec<_> = scratch
            .names()
            .into_iter()
            .filter(|name| name.contains("partial"))
            .collect();
        assert!(left.is_empty(), "{left:?} {stderr}");
    }
    println!("{interrupted} of 6 were interrupted");
}

#[test]
fn what_the_kernel_wrote_is_read() {
    let truths = ground_truth::all_or_skip("files that a kernel wrote");
    let Some(truth) = truths.iter().find(|truth| truth.name == "ext4-xts") else {
        return;
    };
    if !have("what_the_kernel_wrote_is_read", &["debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = truth.unpack(&scratch);
    let key = scratch.file("truth", truth.passphrase());
    let plain = scratch.path("plain");
    must(words!["decrypt", "-q", "-d", &key, &image, &plain]);
    let (ours, theirs) = (scratch.path("ours"), scratch.path("theirs"));
    must(words!["cp", "-r", "-d", &key, at(&image, "/"), &ours]);
    std::fs::create_dir(&theirs).unwrap();
    let rdump = format!("rdump / {}", theirs.display());
    tool("debugfs", &words!["-R", rdump, &plain], "");
    let (ours, theirs) = (tree(&ours), tree(&theirs));
    assert!(ours.len() > 1);
    assert_eq!(ours, theirs);
}

/// Paths with the hash of each file.
fn tree(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let what = match (kind.is_dir(), kind.is_symlink()) {
                (true, _) => "directory".into(),
                (_, true) => format!("{:?}", std::fs::read_link(&path).unwrap()),
                _ => lucarne_testkit::payload::sha256_hex_of_file(&path),
            };
            if kind.is_dir() {
                left.push(path.clone());
            }
            found.push((path.strip_prefix(root).unwrap().to_owned(), what));
        }
    }
    found.sort();
    found
}
