//! One volume through every door: the library, NBD, FUSE, `open`, a loop device, `ls`, `cat` and `cp` all show what is
//! known to be in it, and none of them changes a byte of the image.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use common::file_server::{FileServed, Loop, can_mount};
use common::opened::{Name, can_open, open};
use common::programs::{have, must_peer};
use common::served::{Served, at_socket};
use common::{encrypted, key_file, must, words};
use lucarne::{Access, FileStorage, Secret, Volume};
use lucarne_inside::{FileSystem, ReadAt};
use lucarne_testkit::ground_truth;
use lucarne_testkit::payload::{sha256_hex, sha256_hex_of_file, stream};
use lucarne_testkit::scratch::Scratch;

/// A volume with an ext4 file system, and what is known of it.
struct Known {
    /// Of `open`; the tests run at the same time.
    name: &'static str,
    scratch: Scratch,
    image: PathBuf,
    key: PathBuf,
    plaintext_sha256: String,
    /// Paths from the root, `/folder/file`, with hashes.
    files: Vec<(String, String)>,
}

#[test]
fn what_the_kernel_wrote_is_behind_every_door() {
    let truths = ground_truth::all_or_skip("doors on what a kernel wrote");
    let Some(truth) = truths.iter().find(|truth| truth.name == "ext4-xts") else {
        return;
    };
    let scratch = Scratch::new();
    every_door(&Known {
        name: "doors-kernel",
        image: truth.unpack(&scratch),
        key: scratch.file("truth", truth.passphrase()),
        plaintext_sha256: truth.plaintext_sha256().to_owned(),
        files: truth.files(),
        scratch,
    });
}

#[test]
fn what_is_put_in_is_behind_every_door() {
    if !have("doors on an ext4 file system", &["mkfs.ext4"]) {
        return;
    }
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    let mut files = Vec::new();
    for (path, len) in [
        ("/empty", 0),
        ("/small", 17),
        ("/folder/page", 4096),
        ("/folder/deep/large", 3_000_001),
    ] {
        let file = tree.join(&path[1..]);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let bytes = stream(path, len);
        files.push((path.to_owned(), sha256_hex(&bytes)));
        std::fs::write(file, bytes).unwrap();
    }
    let plain = scratch.zeros("plain", 12 << 20);
    must_peer(
        "mkfs.ext4",
        &words!["-q", "-F", "-b", "4096", "-d", &tree, &plain],
    );
    let bytes = std::fs::read(&plain).unwrap();
    every_door(&Known {
        name: "doors-made",
        image: encrypted(&scratch, "image", &bytes, &["--sector-size", "4096"]),
        key: key_file(&scratch),
        plaintext_sha256: sha256_hex(&bytes),
        files,
        scratch,
    });
}

fn every_door(known: &Known) {
    assert!(!known.files.is_empty());
    let before = sha256_hex_of_file(&known.image);
    for door in [
        library,
        verbs_that_look_inside,
        nbd,
        file_and_loop_device,
        opened,
    ] {
        door(known);
        assert_eq!(sha256_hex_of_file(&known.image), before);
    }
}

fn library(known: &Known) {
    let passphrase = std::fs::read(&known.key).unwrap();
    let image = FileStorage::open(&known.image, Access::ReadOnly).unwrap();
    let volume = Volume::open(image, Secret::Passphrase(&passphrase)).unwrap();
    let mut plaintext = vec![0; volume.len().try_into().unwrap()];
    volume.read_at(&mut plaintext, 0).unwrap();
    assert_eq!(sha256_hex(&plaintext), known.plaintext_sha256);
    let files = FileSystem::open(&volume, None).unwrap();
    for (path, sha256) in &known.files {
        let file = files.open_file(path.as_bytes()).unwrap();
        let mut bytes = vec![0; file.len().try_into().unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(sha256_hex(&bytes), *sha256, "{path}");
    }
}

fn nbd(known: &Known) {
    if !have("NBD", &["nbdcopy"]) {
        return;
    }
    let at = at_socket(&known.scratch, &known.image, &["--readonly"]);
    let served = Served::start_with_key(&at, &known.key);
    let copy = known.scratch.path("by nbdcopy");
    must_peer("nbdcopy", &words![&served.uri, &copy]);
    assert_eq!(sha256_hex_of_file(&copy), known.plaintext_sha256);
    assert_eq!(served.stop(), Some(0));
}

fn file_and_loop_device(known: &Known) {
    if !can_mount("a served file", false) {
        return;
    }
    let (scratch, image) = (&known.scratch, &known.image);
    let served = FileServed::start_with_key(scratch, image, &["--readonly"], &known.key);
    assert_eq!(sha256_hex_of_file(&served.path), known.plaintext_sha256);
    if can_mount("a loop device on a served file", true) && have("a loop device", &["losetup"]) {
        let mut looped = Loop::on(&served.path, &["--direct-io=on", "--read-only"]);
        let directory = scratch.path("files");
        looped.mount(&directory, "ro");
        assert_files(&directory, known);
        looped.detach();
    }
    assert_eq!(served.stop(), Some(0));
}

fn opened(known: &Known) {
    if !can_open("open") {
        return;
    }
    let name = Name::new(known.name);
    let opened = open(&known.image, &name, &known.key, &["--readonly"]);
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    assert_eq!(sha256_hex_of_file(&name.path()), known.plaintext_sha256);
    assert_eq!(name.close(&[]).code, Some(0));
}

fn verbs_that_look_inside(known: &Known) {
    let verb = |words: &[&str], path: &str, out: &[OsString]| {
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut target = known.image.clone().into_os_string();
        target.push(format!(":{path}"));
        arguments.extend(words!["--key-file", &known.key, target]);
        arguments.extend(out.iter().cloned());
        must(arguments)
    };
    let mut directories = BTreeSet::from(["/".to_owned()]);
    for (path, sha256) in &known.files {
        assert_eq!(sha256_hex(&verb(&["cat"], path, &[])), *sha256, "{path}");
        let copy = known.scratch.path("by cp");
        verb(&["cp"], path, &words![&copy]);
        assert_eq!(sha256_hex_of_file(&copy), *sha256, "{path}");
        std::fs::remove_file(copy).unwrap();
        let above = Path::new(path).ancestors().skip(1);
        directories.extend(above.map(|path| path.to_str().unwrap().to_owned()));
    }
    for directory in &directories {
        let listed = OsString::from_vec(verb(&["ls"], directory, &[]));
        let listed: BTreeSet<_> = listed.to_str().unwrap().lines().collect();
        let is_here = |path: &&Path| path.parent() == Some(Path::new(directory));
        let mut expected: BTreeSet<_> = (known.files.iter().map(|(path, _)| Path::new(path)))
            .chain(directories.iter().map(Path::new))
            .filter(is_here)
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        if directory == "/" {
            expected.insert("lost+found");
        }
        assert_eq!(listed, expected, "{directory}");
    }
    let all = known.scratch.path("all by cp");
    verb(&["cp", "-r"], "/", &words![&all]);
    assert_files(&all, known);
}

fn assert_files(root: &Path, known: &Known) {
    for (path, sha256) in &known.files {
        let file = root.join(&path[1..]);
        assert_eq!(sha256_hex_of_file(&file), *sha256, "{path}");
    }
}
