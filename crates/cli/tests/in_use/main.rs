//! An image in use: who may do what beside whom.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod devices;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::programs::have;
use common::{
    CHEAP, assert_refused, encrypted, key_file, lucarne, lucarne_with_stdin, must, words,
};
use lucarne_testkit::payload::stream;
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};

/// An NBD server; killed when it goes.
struct Served(Child);

impl Served {
    fn try_start(scratch: &Scratch, image: &Path, options: &[&str]) -> Result<Self, Outcome> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut address = OsString::from("unix:");
        address.push(scratch.path(&format!("socket{number}")));
        let mut child = common::command()
            .args(["serve", "--nbd"])
            .arg(address)
            .args(options)
            .arg("--key-file")
            .arg(key_file(scratch))
            .arg(image)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut uri = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut uri)
            .unwrap();
        if uri.starts_with("nbd") {
            return Ok(Self(child));
        }
        let output = child.wait_with_output().unwrap();
        Err(Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        })
    }

    fn start(scratch: &Scratch, image: &Path, options: &[&str]) -> Self {
        Self::try_start(scratch, image, options).unwrap_or_else(|outcome| panic!("{outcome:?}"))
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Volume {
    scratch: Scratch,
    image: PathBuf,
    key: PathBuf,
}

impl Volume {
    fn new() -> Self {
        let scratch = Scratch::new();
        let image = encrypted(&scratch, "image", &stream("in use", 4 << 20), &[]);
        let key = key_file(&scratch);
        Self {
            scratch,
            image,
            key,
        }
    }

    /// A verb with the key and the image.
    fn verb(&self, before: &[&str], after: &[&str]) -> Outcome {
        let mut arguments: Vec<OsString> = before.iter().map(OsString::from).collect();
        arguments.extend(words!["--key-file", &self.key, &self.image]);
        arguments.extend(after.iter().map(OsString::from));
        lucarne(arguments)
    }

    fn reencrypt(&self, options: &[&str]) -> Outcome {
        let mut arguments = vec!["reencrypt", "-q"];
        arguments.extend(CHEAP);
        arguments.extend(options);
        self.verb(&arguments, &[])
    }
}

const IN_USE: &str = "another process";

#[test]
fn readers_share_and_a_writer_is_alone() {
    let volume = Volume::new();
    let (scratch, image) = (&volume.scratch, &volume.image);
    let try_start = |options: &[&str]| match Served::try_start(scratch, image, options) {
        Ok(_) => panic!("{options:?} was let in"),
        Err(outcome) => outcome,
    };
    let readers = [(); 2].map(|()| Served::start(scratch, image, &["--readonly"]));
    assert_refused("a writer beside readers", &try_start(&[]), 5, IN_USE);
    let write = || lucarne_with_stdin(words!["write", image, "--key-file", &volume.key], b"x");
    assert_refused("write beside readers", &write(), 5, IN_USE);
    readers.into_iter().for_each(Served::stop);
    let writer = Served::start(scratch, image, &[]);
    assert_refused("a second writer", &try_start(&[]), 5, IN_USE);
    assert_refused(
        "a reader beside a writer",
        &try_start(&["--readonly"]),
        5,
        IN_USE,
    );
    assert_refused("write beside a writer", &write(), 5, IN_USE);
    // At one's own risk.
    Served::start(scratch, image, &["--readonly", "--disable-locks"]).stop();
    writer.stop();
    assert_eq!(write().code, Some(0));
}

#[test]
fn nobody_moves_the_data_of_what_is_served() {
    let volume = Volume::new();
    let (scratch, image, key) = (&volume.scratch, &volume.image, &volume.key);
    let backup = scratch.path("backup");
    must(words![
        "luksHeaderBackup",
        "--header-backup-file",
        &backup,
        image
    ]);
    let before = std::fs::read(image).unwrap();
    for options in [&[][..], &["--readonly"]] {
        let served = Served::start(scratch, image, options);
        assert_refused("reencrypt", &volume.reencrypt(&[]), 5, IN_USE);
        let format = {
            let mut arguments = words!["luksFormat", "-q"].to_vec();
            arguments.extend(CHEAP.map(OsString::from));
            arguments.extend(words![image, key]);
            lucarne(arguments)
        };
        assert_refused("luksFormat", &format, 5, IN_USE);
        let wipe = lucarne(words!["wipe", "-q", "--destroy-luks-header", image]);
        assert_refused("wipe", &wipe, 5, IN_USE);
        let restore = lucarne(words![
            "luksHeaderRestore",
            "-q",
            "--header-backup-file",
            &backup,
            image
        ]);
        assert_refused("luksHeaderRestore", &restore, 5, IN_USE);
        served.stop();
        assert!(std::fs::read(image).unwrap() == before);
    }
    // A re-encryption that was begun, and what goes on with it or puts it right.
    assert_eq!(volume.reencrypt(&["--init-only"]).code, Some(0));
    let served = Served::start(scratch, image, &["--readonly"]);
    assert_refused("resuming", &volume.reencrypt(&["--resume-only"]), 5, IN_USE);
    served.stop();
    assert_eq!(volume.reencrypt(&["--resume-only"]).code, Some(0));
}

#[test]
fn what_is_being_reencrypted_is_not_served() {
    let volume = Volume::new();
    // Held as a re-encryption holds it.
    let held = lucarne::FileStorage::open(&volume.image, lucarne::Access::ReadWrite).unwrap();
    held.try_use(lucarne::LockKind::Exclusive).unwrap();
    for options in [&[][..], &["--readonly"]] {
        let refused = Served::try_start(&volume.scratch, &volume.image, options);
        assert_refused("serve", &refused.err().unwrap(), 5, IN_USE);
    }
    drop(held);
    let uuid = volume.verb(&["luksUUID"], &[]);
    assert_eq!(uuid.code, Some(1), "no key file there");
    let uuid = lucarne(words!["luksUUID", &volume.image]).text();
    // cryptsetup's lock.
    let held = lucarne::FileStorage::open(&volume.image, lucarne::Access::ReadWrite).unwrap();
    let lock = lucarne::Storage::lock_reencryption(&held, uuid.trim()).unwrap();
    match Served::try_start(&volume.scratch, &volume.image, &["--readonly"]) {
        Err(outcome) => assert_refused("serve", &outcome, 5, "same UUID"),
        Ok(_) if rustix::process::geteuid().is_root() => panic!("it was let in"),
        // Who may not lock in cryptsetup's directory keeps its own processes apart by the file.
        Ok(_) => {}
    }
    drop(lock);
}

#[test]
fn copies_with_one_uuid_are_two_images() {
    let volume = Volume::new();
    let scratch = &volume.scratch;
    let copy = scratch.copy(&volume.image, "copy");
    let first = Served::start(scratch, &volume.image, &[]);
    let second = Served::start(scratch, &copy, &[]);
    second.stop();
    first.stop();
}

#[test]
fn one_data_file_under_two_headers_is_one_image() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plain = scratch.file("plain", &stream("detached", 1 << 20));
    let (data, header) = (scratch.path("data"), scratch.path("header"));
    let mut arguments = words!["encrypt", "-q", "--key-file", &key, "--header", &header].to_vec();
    arguments.extend(CHEAP.map(OsString::from));
    arguments.extend(words![&plain, &data]);
    must(arguments);
    let other = scratch.copy(&header, "other");
    let served = Served::start(&scratch, &data, &["--header", header.to_str().unwrap()]);
    let refused = Served::try_start(&scratch, &data, &["--header", other.to_str().unwrap()]);
    assert_refused(
        "under a copy of the header",
        &refused.err().unwrap(),
        5,
        IN_USE,
    );
    served.stop();
}

#[test]
fn keys_change_beside_a_server() {
    let volume = Volume::new();
    let (scratch, image) = (&volume.scratch, &volume.image);
    let new_key = scratch.file("new key", b"not a secret");
    let new_key = new_key.to_str().unwrap();
    for options in [&[][..], &["--readonly"]] {
        let served = Served::start(scratch, image, options);
        let mut add = vec!["luksAddKey", "-q"];
        add.extend(CHEAP);
        assert_eq!(volume.verb(&add, &[new_key]).code, Some(0));
        let remove = lucarne(words!["luksRemoveKey", "-q", image, new_key]);
        assert_eq!(remove.code, Some(0), "{}", remove.stderr);
        served.stop();
    }
}

#[test]
fn cryptsetup_does_not_wait_for_a_server() {
    if !have("cryptsetup beside a server", &["cryptsetup", "timeout"]) {
        return;
    }
    let cryptsetup = |arguments: &[OsString]| {
        run(
            Command::new("timeout")
                .args(["60", "cryptsetup", "-q"])
                .args(arguments)
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"),
            b"",
        )
    };
    for options in [&[][..], &["--readonly"]] {
        let volume = Volume::new();
        let (scratch, image, key) = (&volume.scratch, &volume.image, &volume.key);
        let new_key = scratch.file("new key", b"not a secret");
        let served = Served::start(scratch, image, options);
        let dump = cryptsetup(&words!["luksDump", image]);
        assert_eq!(dump.code, Some(0), "{}", dump.stderr);
        let mut add = words!["luksAddKey", "--key-file", key, image, &new_key].to_vec();
        add.extend(CHEAP.map(OsString::from));
        let added = cryptsetup(&add);
        assert_eq!(added.code, Some(0), "{}", added.stderr);
        let removed = cryptsetup(&words!["luksRemoveKey", image, &new_key]);
        assert_eq!(removed.code, Some(0), "{}", removed.stderr);
        let mut reencrypt = words!["reencrypt", "--force-offline-reencrypt", "--key-file"].to_vec();
        reencrypt.extend(words![key, image]);
        reencrypt.extend(CHEAP.map(OsString::from));
        let data = || std::fs::read(image).unwrap().split_off(16 << 20);
        let before = data();
        let refused = cryptsetup(&reencrypt);
        if rustix::process::geteuid().is_root() {
            // It writes into the header that it will begin, before it takes the lock; it does not begin.
            assert!(![Some(0), Some(124)].contains(&refused.code), "{refused:?}");
            assert!(data() == before);
        }
        served.stop();
        if refused.code != Some(0) {
            assert_eq!(volume.reencrypt(&["--resume-only"]).code, Some(0));
            assert!(common::decrypted(scratch, image, &[]) == stream("in use", 4 << 20));
        }
    }
}
