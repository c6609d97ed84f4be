//! File systems made by the distribution's tools from folders, and compared with them.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lucarne::{Access, FileStorage};
use lucarne_inside::{FileSystem, Kind, ReadAt};
use lucarne_testkit::payload::{sha256_hex, stream};
use lucarne_testkit::peers;
use lucarne_testkit::process::run;

/// Whether all of these are installed; says so where not.
pub(crate) fn have(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| peers::locate(name).is_none());
    if let Some(missing) = missing {
        peers::skipped(test, missing);
    }
    missing.is_none()
}

/// Runs a program to success.
pub(crate) fn tool<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A>,
    stdin: &[u8],
) -> Vec<u8> {
    let mut command = Command::new(peers::locate(name).unwrap());
    command
        .args(arguments)
        .env("TZ", "UTC")
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("LC_ALL", "C.UTF-8");
    let shown = format!("{command:?}");
    let outcome = run(&mut command, stdin);
    assert_eq!(
        outcome.code,
        Some(0),
        "{shown}: {}{}",
        outcome.text(),
        outcome.stderr
    );
    outcome.stdout
}

/// Makes a file system of a folder in a file of this length.
pub(crate) fn ext(image: &Path, len: u64, options: &[&str], tree: &Path) {
    std::fs::File::create(image).unwrap().set_len(len).unwrap();
    let mut words: Vec<&OsStr> = ["-q", "-F", "-E", "root_owner=0:0"]
        .iter()
        .map(OsStr::new)
        .collect();
    words.extend(options.iter().map(OsStr::new));
    words.extend([OsStr::new("-d"), tree.as_os_str(), image.as_os_str()]);
    tool("mke2fs", words, b"");
}

pub(crate) fn storage(image: &Path) -> FileStorage {
    FileStorage::open(image, Access::ReadOnly).unwrap()
}

pub(crate) fn opened(image: &Path) -> FileSystem<FileStorage> {
    FileSystem::open(storage(image), None)
        .unwrap_or_else(|error| panic!("{}: {error}", image.display()))
}

/// A file of so many bytes that no other has.
pub(crate) fn file(path: &Path, len: usize) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    std::fs::write(path, stream(&name, len)).unwrap();
}

/// A file that e2fsprogs 1.47.0 cuts short where it makes a file system with inline data.
pub(crate) const ENDS_IN_A_HOLE: &str = "ends in a hole";

/// All that a file system may hold.
pub(crate) fn tree(root: &Path) {
    std::fs::create_dir(root).unwrap();
    for len in [
        0,
        1,
        59,
        60,
        61,
        130,
        1023,
        1024,
        4096,
        5000,
        70_000,
        3 << 20,
    ] {
        file(&root.join(format!("of {len} bytes")), len);
    }
    let sub = root.join("sub");
    std::fs::create_dir_all(sub.join("a/b")).unwrap();
    file(&sub.join("a/b/file"), 777);
    std::fs::create_dir(sub.join("empty")).unwrap();
    let mut deep = root.join("deep");
    for level in 0..60 {
        deep.push(format!("level {level}"));
    }
    std::fs::create_dir_all(&deep).unwrap();
    file(&deep.join("bottom"), 100);
    for (name, target) in [
        ("relative", "sub/a/b/file"),
        ("up", "sub/../of 5000 bytes"),
        ("absolute", "/sub/a"),
        ("outside", "../../../../../of 1 bytes"),
        ("dangling", "nowhere"),
        ("loop", "pool"),
        ("pool", "loop"),
        ("through", "absolute/b/file"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    symlink(
        format!("{}sub/a/b/file", "./".repeat(100)),
        root.join("long link"),
    )
    .unwrap();
    std::fs::set_permissions(
        root.join("of 1 bytes"),
        std::fs::Permissions::from_mode(0o4750),
    )
    .unwrap();
    std::fs::set_permissions(&sub, std::fs::Permissions::from_mode(0o1777)).unwrap();
    for name in [
        &b"new\nline"[..],
        b"esc\x1b[31mape",
        b"not \xff text",
        "größe".as_bytes(),
        b"-rf",
    ] {
        file(&root.join(OsStr::from_bytes(name)), 10);
    }
    // Far enough for a third level of a block map of 1024-byte blocks.
    sparse(
        &root.join("sparse"),
        70 << 20,
        &[0, 5 << 20, (70 << 20) - 3000],
    );
    sparse(&root.join(ENDS_IN_A_HOLE), 9 << 20, &[0, (1 << 20) + 17]);
    // In more pieces than an inode has room for.
    let pieces: Vec<u64> = (0..900).map(|piece| piece * 16384).collect();
    sparse(&root.join("pieces"), 899 * 16384 + 3000, &pieces);
    tool("mkfifo", [root.join("pipe")], b"");
}

/// A file with a few bytes at these places, and holes elsewhere.
pub(crate) fn sparse(path: &Path, len: u64, places: &[u64]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(path).unwrap();
    file.set_len(len).unwrap();
    for &place in places {
        file.write_all_at(&stream(&place.to_string(), 3000), place)
            .unwrap();
    }
}

/// What is read through a file system and what lies in a folder, path by path.
pub(crate) fn compare<R: ReadAt>(files: &FileSystem<R>, root: &Path) -> usize {
    let mut count = 0;
    let mut left = vec![(PathBuf::from("/"), root.to_owned())];
    while let Some((inside, outside)) = left.pop() {
        let path = inside.as_os_str().as_bytes();
        let listed = files
            .list(path)
            .unwrap_or_else(|error| panic!("{}: {error}", inside.display()));
        let mut found = BTreeMap::new();
        for entry in listed {
            if path == b"/" && entry.name == b"lost+found" {
                continue;
            }
            assert!(entry.is_plain());
            let node = files.entry_node(&entry).unwrap();
            assert!(
                entry.kind.is_none_or(|kind| kind == node.kind),
                "{}",
                inside.display()
            );
            assert!(
                found.insert(entry.name.clone(), node).is_none(),
                "{}",
                inside.display()
            );
        }
        for entry in std::fs::read_dir(&outside).unwrap() {
            let entry = entry.unwrap();
            let (inside, outside) = (inside.join(entry.file_name()), entry.path());
            let node = found.remove(&entry.file_name().into_vec());
            let node = node.unwrap_or_else(|| panic!("{} is not listed", inside.display()));
            compare_node(files, &node, &inside, &outside);
            count += 1;
            if node.kind == Kind::Directory {
                left.push((inside, outside));
            }
        }
        assert!(found.is_empty(), "{}: {found:?}", inside.display());
    }
    assert!(count > 0);
    count
}

fn compare_node<R: ReadAt>(
    files: &FileSystem<R>,
    node: &lucarne_inside::Node,
    inside: &Path,
    outside: &Path,
) {
    let metadata = outside.symlink_metadata().unwrap();
    let (path, shown) = (inside.as_os_str().as_bytes(), inside.display());
    assert_eq!(&files.link_node(path).unwrap(), node, "{shown}");
    let is_fat = files.format().starts_with("fat");
    if !is_fat {
        assert_eq!(u32::from(node.mode), metadata.mode() & 0o7777, "{shown}");
        assert_eq!(
            (node.user, node.group),
            (metadata.uid(), metadata.gid()),
            "{shown}"
        );
    }
    // In steps of two seconds on a FAT, which rounds.
    let slack = if is_fat { 2 } else { 0 };
    if metadata.is_file() {
        let modified = node.modified.unwrap();
        assert!(
            (modified - metadata.mtime()).abs() <= slack,
            "{shown}: {modified} {}",
            metadata.mtime()
        );
    }
    let kind = metadata.file_type();
    match node.kind {
        Kind::File => {
            assert!(kind.is_file(), "{shown}");
            assert_eq!(node.len, metadata.len(), "{shown}");
            compare_bytes(files, path, &std::fs::read(outside).unwrap());
        }
        Kind::Directory => assert!(kind.is_dir(), "{shown}"),
        Kind::Link => {
            assert!(kind.is_symlink(), "{shown}");
            let target = std::fs::read_link(outside).unwrap();
            assert_eq!(
                files.link_target(node).unwrap(),
                target.as_os_str().as_bytes(),
                "{shown}"
            );
        }
        _ => assert!(
            !kind.is_file() && !kind.is_dir() && !kind.is_symlink(),
            "{shown}"
        ),
    }
}

/// The whole, and parts of it.
pub(crate) fn compare_bytes<R: ReadAt>(files: &FileSystem<R>, path: &[u8], expected: &[u8]) {
    let shown = lucarne_inside::shown(path);
    let file = files
        .open_file(path)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.len(), expected.len() as u64, "{shown}");
    let mut bytes = vec![0xaa; expected.len()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(sha256_hex(&bytes), sha256_hex(expected), "{shown}");
    for (numerator, len) in [(0, 1), (1, 511), (3, 4097), (5, 100_000), (7, 20_000)] {
        let start = expected.len() * numerator / 8;
        let len = len.min(expected.len() - start);
        bytes[..len].fill(0xaa);
        file.read_exact_at(&mut bytes[..len], start as u64).unwrap();
        assert!(
            bytes[..len] == expected[start..start + len],
            "{shown}: {len} bytes at {start}"
        );
    }
    assert!(
        file.read_exact_at(&mut [0; 2], (expected.len() as u64).saturating_sub(1))
            .is_err()
    );
    assert!(file.read_exact_at(&mut [0; 1], u64::MAX).is_err());
    // What is no hole, and nothing else, has bytes.
    let (mut at, mut covered) = (0, 0);
    while let Some(range) = file.next_data(at) {
        assert!(range.start >= at && range.start < range.end && range.end <= file.len());
        assert!(
            expected[at as usize..range.start as usize]
                .iter()
                .all(|&byte| byte == 0),
            "{shown}"
        );
        covered += range.end - range.start;
        at = range.end;
    }
    assert!(
        expected[at as usize..].iter().all(|&byte| byte == 0),
        "{shown}"
    );
    assert!(
        !shown.contains("sparse") || covered < 1 << 20 || files.format().starts_with("fat"),
        "{shown}"
    );
}
