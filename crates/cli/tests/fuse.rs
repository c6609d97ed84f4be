//! `serve --fuse`: file systems on the file, and what others do with it.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::file_server::{FileServed, Loop, can_mount, unmount};
use common::programs::{have, must_peer, peer};
use common::{
    CHEAP, assert_refused, decrypted, encrypted, key_file, lucarne, lucarne_with_stdin, must, words,
};
use lucarne_testkit::payload::stream;
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;
use rustix::process::Signal;

/// An empty sparse volume.
fn empty_volume(scratch: &Scratch, len: u64, options: &[&str]) -> PathBuf {
    let zeros = scratch.zeros("zeros", len);
    let image = scratch.path("image.luks");
    let key = key_file(scratch);
    let mut arguments = words!["encrypt", "--batch-mode", "--key-file", &key].to_vec();
    arguments.extend(CHEAP.iter().chain(options).map(OsString::from));
    arguments.extend(words![&zeros, &image]);
    must(arguments);
    image
}

#[test]
fn the_file_is_the_plaintext_to_its_last_byte_and_so_is_what_was_written() {
    if !can_mount("a served file", false) {
        return;
    }
    let scratch = Scratch::new();
    let mut plaintext = stream("a file", (5 << 20) + 1234);
    let image = encrypted(&scratch, "model.bin.luks", &plaintext, &[]);
    let served = FileServed::start(&scratch, &image, &[]);
    assert_eq!(served.path, served.directory.join("model.bin"));
    assert!(std::fs::read(&served.path).unwrap() == plaintext);
    let file = OpenOptions::new().write(true).open(&served.path).unwrap();
    for (number, at) in [0, 511, 4095, 1 << 20, (5 << 20) + 1000].iter().enumerate() {
        let bytes = stream(&format!("written {number}"), 234);
        file.write_all_at(&bytes, *at as u64).unwrap();
        plaintext[*at..*at + 234].copy_from_slice(&bytes);
    }
    drop(file);
    assert!(std::fs::read(&served.path).unwrap() == plaintext);
    assert_eq!(served.stop(), Some(0));
    assert!(decrypted(&scratch, &image, &[]) == plaintext);
}

/// Names and bytes that are put into a file system.
fn content() -> Vec<(String, Vec<u8>)> {
    (0..12)
        .map(|number| {
            let name = format!("file {number}");
            let len = 1 + number * number * 171_717;
            (name.clone(), stream(&name, len))
        })
        .collect()
}

fn assert_has(directory: &Path, content: &[(String, Vec<u8>)]) {
    for (name, bytes) in content {
        assert!(
            std::fs::read(directory.join(name)).unwrap() == *bytes,
            "{name}"
        );
    }
}

/// A file system is made, filled, trimmed, checked, and read once more from what `decrypt` gives.
fn file_system(kind: &str, check: &[&str], image_options: &[&str], serve_options: &[&str]) {
    let make = format!("mkfs.{kind}");
    if !can_mount(kind, true) || !have(kind, &[&make, check[0], "losetup", "fstrim"]) {
        return;
    }
    let supported = std::fs::read_to_string("/proc/filesystems").unwrap();
    if !supported
        .lines()
        .any(|line| line.trim_end().ends_with(kind))
    {
        // A module may bring it.
        let _ = Command::new("modprobe").arg(kind).output();
    }
    let scratch = Scratch::new();
    let image = empty_volume(&scratch, 400 << 20, image_options);
    let served = FileServed::start(&scratch, &image, serve_options);
    let mut looped = Loop::on(&served.path, &["--direct-io=on"]);
    must_peer(&make, &words!["-q", &looped.device]);
    let directory = scratch.path("files");
    let trims = serve_options.contains(&"--allow-discards");
    looped.mount(&directory, "rw");
    let mut content = content();
    for (name, bytes) in &content {
        std::fs::write(directory.join(name), bytes).unwrap();
    }
    // Freed again, and given back.
    let big = directory.join("big");
    std::fs::write(&big, stream("big", 40 << 20)).unwrap();
    must_peer("sync", &words!["-f", &big]);
    let full = image.metadata().unwrap().blocks();
    std::fs::remove_file(&big).unwrap();
    must_peer("sync", &words!["-f", &directory]);
    let trimmed = peer("fstrim", &words![&directory]);
    if trims {
        assert_eq!(trimmed.code, Some(0), "{}", trimmed.stderr);
        let is_smaller = || image.metadata().unwrap().blocks() + (30 << 20) / 512 < full;
        // Some free what a file had in the background.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_smaller() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            must_peer("fstrim", &words![&directory]);
        }
        assert!(is_smaller());
    }
    assert_has(&directory, &content);
    looped.unmount();
    let device = looped.device.clone();
    let mut arguments: Vec<OsString> = check[1..].iter().map(OsString::from).collect();
    arguments.push(device.into());
    must_peer(check[0], &arguments);
    // Once more, from the disk.
    looped.mount(&directory, "rw");
    assert_has(&directory, &content);
    content.push(("later".into(), stream("later", 3_000_000)));
    std::fs::write(directory.join("later"), &content.last().unwrap().1).unwrap();
    looped.detach();
    assert_eq!(served.stop(), Some(0));
    let plain = scratch.path("plain");
    let key = key_file(&scratch);
    must(words!["decrypt", "-q", "--key-file", &key, &image, &plain]);
    let mut looped = Loop::on(&plain, &["--read-only"]);
    looped.mount(&directory, "ro");
    assert_has(&directory, &content);
    looped.detach();
}

#[test]
fn ext4_with_discards() {
    file_system(
        "ext4",
        &["e2fsck", "-fn"],
        &["--sparse"],
        &["--allow-discards"],
    );
}

#[test]
fn ext4_on_a_volume_whose_holes_are_noise() {
    file_system("ext4", &["e2fsck", "-fn"], &[], &[]);
}

#[test]
fn xfs_on_the_uncached_file() {
    file_system(
        "xfs",
        &["xfs_repair", "-n"],
        &["--sparse"],
        &["--allow-discards", "--direct-io"],
    );
}

#[test]
fn btrfs_with_discards() {
    file_system(
        "btrfs",
        &["btrfs", "check", "--readonly"],
        &["--sparse"],
        &["--allow-discards"],
    );
}

#[test]
fn fio_finds_what_it_wrote() {
    if !can_mount("fio", false) || !have("fio", &["fio"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = empty_volume(&scratch, 64 << 20, &[]);
    for serve_options in [&[][..], &["--direct-io"]] {
        let served = FileServed::start(&scratch, &image, serve_options);
        for (direct, engine, depth) in [("0", "psync", "1"), ("1", "libaio", "16")] {
            let mut arguments = words![
                "--name=verified",
                "--rw=randrw",
                "--bsrange=512-128k",
                "--bs_unaligned=0",
                "--size=32m",
                "--offset=8m",
                "--verify=crc32c",
                "--verify_fatal=1",
                "--randrepeat=1",
                "--end_fsync=1",
                "--fallocate=none",
                "--allow_file_create=0",
                "--verify_state_save=0",
            ]
            .to_vec();
            arguments.push(format!("--filename={}", served.path.display()).into());
            arguments.push(format!("--direct={direct}").into());
            arguments.push(format!("--ioengine={engine}").into());
            arguments.push(format!("--iodepth={depth}").into());
            let said = must_peer("fio", &arguments);
            assert!(said.contains("err= 0"), "{said}");
        }
        assert_eq!(served.stop(), Some(0));
    }
}

#[test]
fn a_killed_server_leaves_what_was_synced_and_nothing_hangs() {
    if !can_mount("a killed server", false) {
        return;
    }
    const RECORD_LEN: usize = 10_000;
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("killed", 8 << 20), &[]);
    let mut served = FileServed::start(&scratch, &image, &[]);
    let record = |number: usize| stream(&format!("record {number}"), RECORD_LEN);
    let path = served.path.clone();
    let synced = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let mut synced = 0;
            // Until the server is gone.
            for number in 0..800 {
                let at = (number * RECORD_LEN) as u64;
                let written = file
                    .write_all_at(&record(number), at)
                    .and_then(|()| file.sync_data());
                if written.is_err() {
                    break;
                }
                synced = number + 1;
            }
            synced
        });
        let others: Vec<_> = (0..3)
            .map(|number| {
                let path = served.path.clone();
                // The kernel has some of it; what it asks for fails, and does not wait.
                scope.spawn(move || {
                    (0..1000).try_for_each(|_| {
                        std::fs::read(&path).map(|bytes| assert!(bytes.len() > number))
                    })
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(400));
        served.signal(Signal::KILL);
        served.child.wait().unwrap();
        for other in others {
            let _ = other.join().unwrap();
        }
        writer.join().unwrap()
    });
    assert!(synced > 0);
    assert!(std::fs::read_dir(&served.directory).is_err());
    // Said, and not hung on.
    let key = key_file(&scratch);
    let again = lucarne(words![
        "serve",
        "--fuse",
        &served.directory,
        "--key-file",
        &key,
        &image
    ]);
    assert_refused("a dead mount", &again, 5, "umount");
    unmount(&served.directory);
    let plaintext = decrypted(&scratch, &image, &[]);
    for number in 0..synced {
        let at = number * RECORD_LEN;
        assert!(plaintext[at..at + RECORD_LEN] == record(number), "{number}");
    }
    assert_eq!(FileServed::start(&scratch, &image, &[]).stop(), Some(0));
}

#[test]
fn a_signal_waits_for_who_uses_the_file() {
    if !can_mount("a file in use", false) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("in use", 1 << 20), &[]);
    let mut served = FileServed::start(&scratch, &image, &[]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&served.path)
        .unwrap();
    served.signal(Signal::TERM);
    // Out of sight, and still served.
    let deadline = Instant::now() + Duration::from_secs(20);
    while served.path.exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    file.write_all_at(b"a last word", 100).unwrap();
    assert!(served.child.try_wait().unwrap().is_none());
    drop(file);
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    assert_eq!(&decrypted(&scratch, &image, &[])[100..111], b"a last word");
}

#[test]
fn whoever_unmounts_it_ends_it() {
    if !can_mount("an unmounted file", true) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("unmounted", 1 << 20), &[]);
    let mut served = FileServed::start(&scratch, &image, &["--readonly"]);
    must_peer("umount", &words![&served.directory]);
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_mounted() {
    if !can_mount("a refused file", false) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("refused", 1 << 20), &[]);
    let before = std::fs::read(&image).unwrap();
    let key = key_file(&scratch);
    let empty = scratch.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let serve = |options: &[OsString]| {
        let mut arguments = words!["serve", "--key-file", &key].to_vec();
        arguments.extend(options.iter().cloned());
        lucarne(arguments)
    };
    let missing = scratch.path("missing");
    for (what, options, code, message) in [
        ("no door", words![&image].to_vec(), 1, "--fuse"),
        (
            "two doors",
            words![&image, "--fuse", &empty, "--nbd", "unix:x"].to_vec(),
            1,
            "cannot be used with",
        ),
        (
            "two images",
            words![&image, &image, "--fuse", &empty].to_vec(),
            1,
            "several images",
        ),
        (
            "an option of the other door",
            words![&image, "--fuse", &empty, "--allowed-uid", "5"].to_vec(),
            1,
            "--allowed-uid",
        ),
        (
            "an option of this door",
            words![&image, "--nbd", "unix:x", "--direct-io"].to_vec(),
            1,
            "--direct-io",
        ),
        (
            "no directory",
            words![&image, "--fuse", &missing].to_vec(),
            4,
            "mount point",
        ),
        (
            "a file as directory",
            words![&image, "--fuse", &image].to_vec(),
            4,
            "Not a directory",
        ),
        (
            "a directory with files",
            words![&image, "--fuse", scratch.dir()].to_vec(),
            5,
            "not empty",
        ),
        (
            "a mounted directory",
            words![&image, "--fuse", "/proc"].to_vec(),
            5,
            "mounted there",
        ),
        (
            "no image",
            words![&missing, "--fuse", &empty].to_vec(),
            4,
            "missing",
        ),
        (
            "no volume",
            words![&key, "--fuse", &empty].to_vec(),
            1,
            "LUKS",
        ),
    ] {
        assert_refused(what, &serve(&options), code, message);
    }
    let wrong = lucarne_with_stdin(
        words!["serve", &image, "--fuse", &empty],
        b"another passphrase",
    );
    assert_refused("a wrong passphrase", &wrong, 2, "");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    assert!(std::fs::read(&image).unwrap() == before);
    if have("a machine without FUSE", &["unshare"]) && rustix::process::geteuid().is_root() {
        let script = r#"mount -t tmpfs none /dev && exec "$@""#;
        let mut arguments = words!["--mount", "sh", "-c", script, "sh"].to_vec();
        arguments.push(env!("CARGO_BIN_EXE_lucarne").into());
        arguments.extend(words![
            "serve",
            &image,
            "--fuse",
            &empty,
            "--key-file",
            &key
        ]);
        let outcome = peer("unshare", &arguments);
        assert_refused("no /dev/fuse", &outcome, 4, "modprobe fuse");
        // There, and not for this user, whom fusermount3 cannot help.
        if !have("a user without FUSE", &["fusermount3", "setpriv"]) {
            return;
        }
        let script = r#"
mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 600 /dev/fuse c 10 229 && chown -R 65534 "$0"
exec setpriv --reuid=65534 --clear-groups --no-new-privs "$@""#;
        let program = scratch.copy(Path::new(env!("CARGO_BIN_EXE_lucarne")), "lucarne");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        arguments.splice(3..6, [script.into(), scratch.dir().into(), program.into()]);
        let outcome = peer("unshare", &arguments);
        assert_refused(
            "not allowed",
            &outcome,
            4,
            "open /dev/fuse: Permission denied",
        );
    }
}

#[test]
fn a_user_who_may_not_mount_is_helped_by_fusermount3() {
    let what = "a user other than root";
    if !can_mount(what, true) || !have(what, &["fusermount3", "setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let plaintext = stream("of a user", 1 << 20);
    let image = encrypted(&scratch, "image", &plaintext, &[]);
    let (program, directory, key) = (
        scratch.copy(Path::new(env!("CARGO_BIN_EXE_lucarne")), "lucarne"),
        scratch.path("mounted"),
        key_file(&scratch),
    );
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for path in [scratch.dir(), &image, &directory, &key] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let script = r#"
set -e
"$1" serve "$2" --fuse "$3" --key-file "$4" > path &
until test -s path; do sleep 0.05; kill -0 $!; done
cmp "$(cat path)" plain
printf word | dd of="$(cat path)" bs=1 seek=5000 conv=notrunc,fsync 2>&1
exec 3< "$(cat path)"
! fusermount3 -u "$3" 2> /dev/null
exec 3<&-
kill -INT $!
wait $!
test -z "$(ls "$3")"
"#;
    scratch.file("plain", &plaintext);
    std::fs::set_permissions(
        scratch.path("plain"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let outcome = run(
        Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .args([&program, &image, &directory, &key])
            .current_dir(scratch.dir()),
        b"",
    );
    unmount(&directory);
    if outcome.stderr.contains("mounting is not allowed") {
        eprintln!("skipped: {what}: {}", outcome.stderr);
        return;
    }
    assert_eq!(
        outcome.code,
        Some(0),
        "{} {}",
        outcome.text(),
        outcome.stderr
    );
    assert_eq!(&decrypted(&scratch, &image, &[])[5000..5004], b"word");
}
