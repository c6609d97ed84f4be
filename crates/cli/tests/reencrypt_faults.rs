//! `reencrypt` on a disk that is full, and on one that is in use: what was there stays, and it goes on later.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::small_disk::SmallDisk;
use common::{CHEAP, assert_refused, key_file, lucarne, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::peers;
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;

const LEN: u64 = 16 << 20;

fn reencrypt(options: &[OsString], key: &Path) -> Outcome {
    let mut line = words!["reencrypt", "-q", "-d", key, "--hotzone-size", "1M"].to_vec();
    line.extend(options.iter().cloned());
    lucarne(line)
}

/// A file of `LEN` bytes, most of them a hole, and what it holds.
fn sparse_file(path: &Path) -> Vec<u8> {
    let head = stream("the head of a sparse file", 1 << 20);
    std::fs::write(path, &head).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(LEN)
        .unwrap();
    let mut bytes = head;
    bytes.resize(LEN as usize, 0);
    bytes
}

fn cheap() -> Vec<OsString> {
    CHEAP.map(Into::into).to_vec()
}

#[test]
fn an_encryption_that_fills_the_disk_goes_on_when_there_is_room() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "6m") else {
        return;
    };
    let (key, header) = (key_file(&scratch), scratch.path("header"));
    let image = disk.path().join("image");
    for is_detached in [true, false] {
        let mut bytes = sparse_file(&image);
        let place = match is_detached {
            true => words!["--header", &header].to_vec(),
            false => {
                // What lies in the room for the header is given up.
                let room = 4 << 20;
                bytes.truncate(LEN as usize - room);
                words![
                    "--reduce-device-size",
                    "4M",
                    "--luks2-keyslots-size",
                    "512K"
                ]
                .to_vec()
            }
        };
        let begin = [
            words!["--encrypt", "--type", "luks2", &image].to_vec(),
            place,
            cheap(),
        ]
        .concat();
        let full = reencrypt(&begin, &key);
        assert_eq!(full.code, Some(1), "{}", full.stderr);
        assert!(
            full.stderr.contains("No space left on device"),
            "{}",
            full.stderr
        );
        disk.grow("64m");
        let header_of = match is_detached {
            true => words!["--header", &header].to_vec(),
            false => Vec::new(),
        };
        let resume = [words!["--resume-only", &image].to_vec(), header_of.clone()].concat();
        let resumed = reencrypt(&resume, &key);
        assert_eq!(
            resumed.code,
            Some(0),
            "detached {is_detached}: {}",
            resumed.stderr
        );
        let read = [
            words![
                "read",
                &image,
                "-d",
                &key,
                "--offset",
                "0",
                "--length",
                bytes.len().to_string()
            ]
            .to_vec(),
            header_of,
        ]
        .concat();
        let found = lucarne(read);
        assert_eq!(found.code, Some(0), "{}", found.stderr);
        assert!(found.stdout == bytes, "detached {is_detached}");
        std::fs::remove_file(&image).unwrap();
        disk.grow("6m");
    }
}

#[test]
fn a_decryption_that_fills_the_disk_goes_on_when_there_is_room() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "6m") else {
        return;
    };
    let (key, header) = (key_file(&scratch), scratch.path("header"));
    let image = disk.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(LEN).unwrap();
    let format = [
        words!["luksFormat", "-q", "--header", &header, &image, &key].to_vec(),
        cheap(),
    ]
    .concat();
    assert_eq!(lucarne(format).code, Some(0));
    let all = || {
        let line = words![
            "read",
            "-d",
            &key,
            "--header",
            &header,
            &image,
            "--offset",
            "0",
            "--length",
            LEN.to_string()
        ];
        lucarne(line).stdout
    };
    let before = all();
    assert_eq!(before.len() as u64, LEN);
    let decrypt = words!["--decrypt", "--header", &header, &image];
    let full = reencrypt(&decrypt, &key);
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(
        full.stderr.contains("No space left on device"),
        "{}",
        full.stderr
    );
    assert!(all() == before, "read as it stands");
    disk.grow("64m");
    let resumed = reencrypt(&decrypt, &key);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(std::fs::read(&image).unwrap() == before);
}

/// A loop device with a file system that is mounted.
struct Mounted {
    device: PathBuf,
    at: PathBuf,
}

impl Mounted {
    /// `None` where this process may not do that.
    fn new(scratch: &Scratch) -> Option<Self> {
        let what = "a mounted device";
        for program in ["losetup", "mkfs.ext4", "mount"] {
            if peers::locate(program).is_none() {
                peers::not_run(what, &format!("{program} is not there"));
                return None;
            }
        }
        let file = scratch.zeros("disk.img", LEN);
        let program = |name: &str, arguments: &[OsString]| {
            run(
                Command::new(peers::locate(name).unwrap()).args(arguments),
                b"",
            )
        };
        let attached = program("losetup", &words!["--find", "--show", &file]);
        if attached.code != Some(0) {
            peers::not_run(what, "this user may not attach a loop device");
            return None;
        }
        let device = PathBuf::from(attached.text().trim());
        let at = scratch.path("mounted");
        std::fs::create_dir(&at).unwrap();
        let made = Self { device, at };
        let formatted = program("mkfs.ext4", &words!["-q", &made.device]);
        assert_eq!(formatted.code, Some(0), "{}", formatted.stderr);
        let mounted = program("mount", &words![&made.device, &made.at]);
        if mounted.code != Some(0) {
            peers::not_run(what, "this user may not mount");
            return None;
        }
        Some(made)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not mounted, if that failed.
        run(Command::new("umount").arg(&self.at), b"");
        run(
            Command::new(peers::locate("losetup").unwrap())
                .arg("-d")
                .arg(&self.device),
            b"",
        );
    }
}

#[test]
fn a_mounted_device_is_not_touched() {
    let scratch = Scratch::new();
    let Some(mounted) = Mounted::new(&scratch) else {
        return;
    };
    let (key, header) = (key_file(&scratch), scratch.path("header"));
    let device = &mounted.device;
    for line in [
        words!["--encrypt", "--type", "luks2", "--header", &header, device].to_vec(),
        words![
            "--encrypt",
            "--type",
            "luks2",
            "--reduce-device-size",
            "4M",
            device
        ]
        .to_vec(),
        words!["--decrypt", "--header", &header, device].to_vec(),
        words![device].to_vec(),
    ] {
        let refused = reencrypt(&line, &key);
        assert_refused(&format!("{line:?}"), &refused, 5, "in use");
        assert!(!header.exists());
    }
    // What is mounted is as sound as it was.
    std::fs::write(mounted.at.join("file"), b"written").unwrap();
    assert_eq!(std::fs::read(mounted.at.join("file")).unwrap(), b"written");
}
