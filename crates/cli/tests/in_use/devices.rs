//! The same of block devices, which may have several nodes.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lucarne_testkit::payload::{sha256_hex_of_file, stream};
use lucarne_testkit::peers;
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::Served;
use crate::common::file_server::{Loop, can_loop};
use crate::common::opened::until;
use crate::common::programs::have;
use crate::common::{CHEAP, assert_refused, encrypted, key_file, lucarne, lucarne_with_stdin};
use crate::common::{decrypted, words};

/// A loop device with a volume on it, and two nodes of it.
struct Device {
    scratch: Scratch,
    looped: Loop,
    key: PathBuf,
    nodes: [PathBuf; 2],
}

impl Device {
    /// `None` where this process cannot have one.
    fn new(what: &str) -> Option<Self> {
        if !can_loop(what) || !have(what, &["losetup"]) {
            return None;
        }
        let scratch = Scratch::new();
        let image = encrypted(&scratch, "image", &plaintext(), &[]);
        let looped = Loop::on(&image, &[]);
        let number = std::fs::metadata(&looped.device).unwrap().rdev();
        let other = scratch.path("node");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &other, FileType::BlockDevice, mode, number).unwrap();
        if let Err(error) = std::fs::File::open(&other) {
            peers::not_run(what, &format!("a device's node of one's own: {error}"));
            return None;
        }
        Some(Self {
            key: key_file(&scratch),
            nodes: [PathBuf::from(&looped.device), other],
            looped,
            scratch,
        })
    }

    /// All that writes over what is on a device, each ready to be run on `node`.
    fn overwriting(&self, node: &Path) -> Vec<(&'static str, Vec<OsString>)> {
        let (key, image) = (&self.key, self.scratch.path("image"));
        let plain = self.scratch.file("plain", &stream("over it", 1 << 20));
        let header = self.scratch.path("header");
        let mut lines = vec![
            (
                "encrypt",
                words!["encrypt", "-q", "-d", key, &plain, node].to_vec(),
            ),
            (
                "encrypt's header",
                words![
                    "encrypt", "-q", "-d", key, "--header", node, &plain, &header
                ]
                .to_vec(),
            ),
            (
                "rekey",
                words!["rekey", "-q", "-d", key, &image, node].to_vec(),
            ),
            (
                "decrypt",
                words!["decrypt", "-q", "-d", key, &image, node].to_vec(),
            ),
            ("luksFormat", words!["luksFormat", "-q", node, key].to_vec()),
            (
                "reencrypt",
                words!["reencrypt", "-q", "-d", key, node].to_vec(),
            ),
        ];
        for (verb, line) in &mut lines {
            if *verb != "decrypt" {
                line.extend(CHEAP.map(OsString::from));
            }
        }
        let wipe = words!["wipe", "-q", "--destroy-luks-header", node];
        lines.push(("wipe", wipe.to_vec()));
        lines
    }

    fn write(&self, node: &Path) -> Outcome {
        lucarne_with_stdin(words!["write", node, "-d", &self.key], b"x")
    }

    fn cryptsetup(&self, arguments: &[OsString]) -> Outcome {
        run(
            Command::new("timeout")
                .args(["60", "cryptsetup", "-q"])
                .args(arguments)
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"),
            b"",
        )
    }

    /// What cryptsetup does without the device to itself: it must not wait for us.
    fn cryptsetup_is_not_hindered(&self, node: &Path) {
        let key = &self.key;
        let new_key = self.scratch.file("new key", b"not a secret");
        let mut add = words!["luksAddKey", "-d", key, node, &new_key].to_vec();
        add.extend(CHEAP.map(OsString::from));
        for line in [
            words!["luksDump", node].to_vec(),
            words!["open", "--test-passphrase", "-d", key, node].to_vec(),
            add,
            words!["luksRemoveKey", node, &new_key].to_vec(),
        ] {
            let outcome = self.cryptsetup(&line);
            assert_eq!(outcome.code, Some(0), "{line:?}: {}", outcome.stderr);
        }
    }

    /// Whether nothing of ours is left in cryptsetup's directory.
    fn is_let_go(&self) -> bool {
        let number = std::fs::metadata(&self.nodes[0]).unwrap().rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        !Path::new(&format!("/run/cryptsetup/lucarne_use_{major}:{minor}")).exists()
    }
}

fn plaintext() -> Vec<u8> {
    stream("on a device", 4 << 20)
}

#[test]
fn what_a_reader_has_open_is_not_written_over_by_any_node() {
    let Some(device) = Device::new("a device with two nodes") else {
        return;
    };
    let (scratch, [one, other]) = (&device.scratch, &device.nodes);
    let before = sha256_hex_of_file(one);
    let readers = [one, other].map(|node| Served::start(scratch, node, &["--readonly"]));
    for node in [one, other] {
        for (what, line) in device.overwriting(node) {
            assert_refused(what, &lucarne(line), 5, super::IN_USE);
        }
        assert_refused("write", &device.write(node), 5, super::IN_USE);
        let Err(writer) = Served::try_start(scratch, node, &[]) else {
            panic!("a writer was let in");
        };
        assert_refused("a writer", &writer, 5, super::IN_USE);
    }
    assert_eq!(sha256_hex_of_file(one), before);
    if have("cryptsetup beside a reader", &["cryptsetup", "timeout"]) {
        device.cryptsetup_is_not_hindered(other);
    }
    readers.into_iter().for_each(Served::stop);
    assert!(device.is_let_go());
    assert_eq!(device.write(other).code, Some(0));
    assert!(device.is_let_go());
    device.looped.detach();
}

#[test]
fn what_a_writer_has_open_is_its_own_by_any_node() {
    let Some(device) = Device::new("a device with two nodes") else {
        return;
    };
    let (scratch, [one, other]) = (&device.scratch, &device.nodes);
    let before = sha256_hex_of_file(one);
    let writer = Served::start(scratch, one, &[]);
    for node in [one, other] {
        for (what, line) in device.overwriting(node) {
            assert_refused(what, &lucarne(line), 5, "");
        }
        assert_refused("write", &device.write(node), 5, "in use");
        let Err(reader) = Served::try_start(scratch, node, &["--readonly"]) else {
            panic!("a reader was let in");
        };
        assert_refused("a reader", &reader, 5, super::IN_USE);
    }
    assert_eq!(sha256_hex_of_file(one), before);
    if have("cryptsetup beside a writer", &["cryptsetup", "timeout"]) {
        device.cryptsetup_is_not_hindered(other);
        let format = device.cryptsetup(&words!["luksFormat", other, &device.key]);
        assert!(
            ![Some(0), Some(124)].contains(&format.code),
            "{}",
            format.stderr
        );
        assert!(format.stderr.contains("in use"), "{}", format.stderr);
    }
    writer.stop();
    assert!(device.is_let_go());
    assert!(decrypted(scratch, one, &[]) == plaintext());
    device.looped.detach();
}

#[test]
fn what_is_being_written_over_is_not_read() {
    let Some(device) = Device::new("a device that is written over") else {
        return;
    };
    let (scratch, [one, other]) = (&device.scratch, &device.nodes);
    let mut encrypt = crate::common::command()
        .args(["encrypt", "-q", "-d"])
        .arg(&device.key)
        .args(CHEAP)
        .arg("-")
        .arg(one)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stream_in = encrypt.stdin.take().unwrap();
    stream_in.write_all(&plaintext()[..1 << 20]).unwrap();
    until(|| !device.is_let_go());
    let Err(refused) = Served::try_start(scratch, other, &["--readonly"]) else {
        panic!("a reader was let in");
    };
    assert_refused("a reader", &refused, 5, super::IN_USE);
    drop(stream_in);
    assert!(encrypt.wait().unwrap().success());
    assert!(device.is_let_go());
    assert!(decrypted(scratch, other, &[]) == plaintext()[..1 << 20]);
    device.looped.detach();
}

#[test]
fn two_nodes_of_one_device_are_not_in_and_out() {
    let Some(device) = Device::new("a device as IN and OUT") else {
        return;
    };
    let (key, [one, other]) = (&device.key, &device.nodes);
    let before = sha256_hex_of_file(one);
    for line in [
        words!["encrypt", "-q", "-d", key, one, other].to_vec(),
        words!["rekey", "-q", "-d", key, one, other].to_vec(),
        words!["decrypt", "-q", "-d", key, one, other].to_vec(),
    ] {
        assert_refused("IN and OUT", &lucarne(&line), 5, "are the same");
    }
    let plain = device.scratch.file("plain", b"bytes");
    let line = words!["encrypt", "-q", "-d", key, "--header", one, &plain, other];
    assert_refused("the header", &lucarne(&line), 1, "OUT itself");
    assert_eq!(sha256_hex_of_file(one), before);
    device.looped.detach();
}
