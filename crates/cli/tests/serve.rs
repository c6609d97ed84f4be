//! `serve`: the plaintext through programs that are not ours.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::file_server::{Loop, can_loop};
use common::programs::{have, must_peer, peer};
use common::served::{Served, at_socket, nbdsh};
use common::small_disk::SmallDisk;
use common::{assert_refused, decrypted, encrypted, key_file, lucarne, lucarne_with_stdin, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

/// Not whole sectors of 4096 bytes, nor whole pieces of anything.
const LEN: usize = (24 << 20) + 3 * 512;

#[test]
fn nbdcopy_takes_the_plaintext_out_and_puts_another_in() {
    if !have("nbdcopy and nbdinfo", &["nbdcopy", "nbdinfo"]) {
        return;
    }
    let scratch = Scratch::new();
    let before = stream("served", LEN);
    let image = encrypted(&scratch, "image", &before, &["--sector-size", "512"]);
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    let size = must_peer("nbdinfo", &words!["--size", &served.uri]);
    assert_eq!(size.trim(), LEN.to_string());
    let copy = scratch.path("copy");
    must_peer("nbdcopy", &words!["--connections=4", &served.uri, &copy]);
    assert!(std::fs::read(&copy).unwrap() == before);
    let after = stream("served anew", LEN);
    let source = scratch.file("source", &after);
    must_peer(
        "nbdcopy",
        &words!["--connections=4", "--flush", &source, &served.uri],
    );
    must_peer("nbdcopy", &words![&served.uri, &copy]);
    assert!(std::fs::read(&copy).unwrap() == after);
    assert_eq!(served.stop(), Some(0));
    assert!(!scratch.path("socket").exists());
    assert!(decrypted(&scratch, &image, &[]) == after);
}

#[test]
fn every_command_and_flag_by_libnbd() {
    if !have("libnbd's shell", &["nbdsh"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &vec![7; 4 << 20], &["--sparse"]);
    let served = Served::start(
        &scratch,
        &at_socket(&scratch, &image, &["--allow-discards"]),
    );
    let script = r#"
import errno, os
h.add_meta_context("base:allocation")
h.connect_uri(os.environ["URI"])
size = h.get_size()
assert size == 4 << 20, size
assert h.get_structured_replies_negotiated()
for can in (h.can_flush, h.can_fua, h.can_trim, h.can_zero, h.can_fast_zero, h.can_multi_conn, h.can_df, h.can_cache):
    assert can(), can
assert not h.is_read_only()
assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 << 20
assert h.pread(3, 5) == bytearray([7] * 3)
h.pwrite(b"abc", 510, nbd.CMD_FLAG_FUA)
assert h.pread(5, 509) == bytearray(b"\x07abc\x07")
h.zero(1 << 20, 1 << 20, nbd.CMD_FLAG_NO_HOLE)
h.trim(1 << 20, 2 << 20, nbd.CMD_FLAG_FUA)
h.zero(8192, 3 << 20, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(2 << 20, 1 << 20) == bytearray(2 << 20)
assert h.pread(8193, 3 << 20) == bytearray(8192) + bytearray([7])
extents = []
h.block_status(size, 0, lambda name, offset, entries, error: extents.extend(entries))
assert extents == [1 << 20, 0, 1 << 20, 0, 1 << 20, 3, 8192, 3, (1 << 20) - 8192, 0] or \
    extents == [2 << 20, 0, (1 << 20) + 8192, 3, (1 << 20) - 8192, 0], extents
chunks = []
h.pread_structured(65536, 1 << 20, lambda data, offset, status, error: chunks.append((offset, status)), nbd.CMD_FLAG_DF)
assert chunks == [(1 << 20, nbd.READ_DATA)], chunks
h.cache(65536, 0)
h.flush()
# What is wrong is refused, also when the client does not look first, and the connection lives on.
h.set_strict_mode(0)
def refused(error, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as failure:
        assert failure.errnum == error, (call, failure.errno, failure)
    else:
        raise AssertionError(call)
refused(errno.EINVAL, h.pread, 2, size - 1)
refused(errno.ENOSPC, h.pwrite, b"xx", size - 1)
refused(errno.EINVAL, h.trim, 2, size - 1)
refused(errno.EINVAL, h.flush, 1 << 9)
assert h.pread(1, size - 1) == bytearray([7])
# Many at once, answered as they come.
buffers = [nbd.Buffer(4096) for _ in range(64)]
cookies = [h.aio_pread(buffer, 4096 * number) for number, buffer in enumerate(buffers)]
while cookies:
    cookies = [cookie for cookie in cookies if not h.aio_command_completed(cookie)]
    if cookies:
        h.poll(-1)
assert all(bytes(buffer.to_bytearray()) for buffer in buffers)
h.shutdown()
"#;
    nbdsh(script, &served);
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn qemu_reads_compares_and_writes() {
    if !have("qemu-img and qemu-io", &["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let before = stream("served to qemu", LEN);
    let image = encrypted(&scratch, "image", &before, &[]);
    let plain = scratch.file("plain", &before);
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    let uri = &served.uri;
    must_peer(
        "qemu-img",
        &words!["compare", "-f", "raw", "-F", "raw", uri, &plain],
    );
    let copy = scratch.path("copy");
    must_peer(
        "qemu-img",
        &words!["convert", "-n", "-f", "raw", "-O", "raw", &plain, uri],
    );
    must_peer(
        "qemu-img",
        &words!["convert", "-f", "raw", "-O", "raw", uri, &copy],
    );
    assert!(std::fs::read(&copy).unwrap() == before);
    let map = must_peer(
        "qemu-img",
        &words!["map", "--output=json", "-f", "raw", uri],
    );
    assert!(
        map.contains("\"data\": true") && !map.contains("\"zero\": true"),
        "{map}"
    );
    let mut commands = words!["-f", "raw", uri].to_vec();
    for command in [
        "write -P 0x5a 1000k 3M",
        "write -z 2M 1M",
        "write -f -P 0x33 5M 512",
        "read -P 0x5a 1000k 1M",
        "read -P 0 2M 1M",
        "read -P 0x33 5M 512",
        "flush",
    ] {
        commands.extend(words!["-c", command]);
    }
    let said = must_peer("qemu-io", &commands);
    assert!(!said.contains("verification failed"), "{said}");
    assert_eq!(served.stop(), Some(0));
    let after = decrypted(&scratch, &image, &[]);
    assert!(after[(2 << 20)..(3 << 20)].iter().all(|&byte| byte == 0));
    assert!(after[(5 << 20) + 512..] == before[(5 << 20) + 512..]);
}

#[test]
fn several_images_are_exports_by_their_names() {
    if !have("nbdinfo", &["nbdinfo", "nbdcopy"]) {
        return;
    }
    let scratch = Scratch::new();
    let plaintexts = ["one", "two"].map(|name| stream(name, 1 << 20));
    let images = ["one", "two"].map(|name| encrypted(&scratch, name, &stream(name, 1 << 20), &[]));
    let mut arguments = words!["--nbd", "tcp:127.0.0.1:0", "--read-only"].to_vec();
    arguments.extend(images.iter().map(OsString::from));
    let served = Served::start(&scratch, &arguments);
    for (name, plaintext) in ["one", "two"].iter().zip(&plaintexts) {
        let uri = format!("{}/{name}", served.uri);
        let copy = scratch.path("copy");
        must_peer("nbdcopy", &words![&uri, &copy]);
        assert!(std::fs::read(&copy).unwrap() == *plaintext);
        assert_eq!(
            peer("nbdinfo", &words!["--is", "read-only", &uri]).code,
            Some(0)
        );
    }
    let listed = must_peer("nbdinfo", &words!["--list", &served.uri]);
    assert!(
        listed.contains("export=\"one\"") && listed.contains("export=\"two\""),
        "{listed}"
    );
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_killed_server_leaves_what_was_flushed_and_no_stuck_socket() {
    if !have("libnbd's shell", &["nbdsh"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("killed", LEN), &[]);
    let mut served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    let script = r#"
import os, signal
h.connect_uri(os.environ["URI"])
h.pwrite(bytearray([0x42] * 100000), 1000)
h.flush()
for number in range(64):
    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1 << 20)), 2 << 20)
os.kill(int(os.environ["SERVER"]), signal.SIGKILL)
"#;
    nbdsh(script, &served);
    served.child.wait().unwrap();
    assert!(scratch.path("socket").exists());
    assert!(
        decrypted(&scratch, &image, &[])[1000..101_000]
            .iter()
            .all(|&byte| byte == 0x42)
    );
    // The next one takes its place.
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &["--read-only"]));
    assert_eq!(served.stop(), Some(0));
    assert!(!scratch.path("socket").exists());
}

#[test]
fn a_client_that_hangs_does_not_keep_the_server() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("hangs", 1 << 20), &[]);
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    let silent = std::os::unix::net::UnixStream::connect(scratch.path("socket")).unwrap();
    let started = Instant::now();
    assert_eq!(served.stop(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
    drop(silent);
}

#[test]
fn what_cannot_be_served_is_said_before_a_door_opens() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("refused", 1 << 20), &[]);
    let before = std::fs::read(&image).unwrap();
    let key = key_file(&scratch);
    let socket = scratch.path("socket");
    let serve = |options: &[OsString]| {
        let mut arguments = words!["serve", "--key-file", &key].to_vec();
        arguments.extend(options.iter().cloned());
        lucarne(arguments)
    };
    let at = |path: &Path| {
        let mut address = OsString::from("unix:");
        address.push(path);
        address
    };
    let file = scratch.file("file", b"mine");
    assert_refused(
        "a file in the way",
        &serve(&words!["--nbd", at(&file), &image]),
        5,
        "no socket",
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let long: PathBuf = scratch.path(&"x".repeat(120));
    assert_refused(
        "a long path",
        &serve(&words!["--nbd", at(&long), &image]),
        1,
        "path",
    );
    let nowhere = scratch.path("nowhere").join("socket");
    assert_refused(
        "no folder",
        &serve(&words!["--nbd", at(&nowhere), &image]),
        4,
        "nowhere",
    );
    for (address, message) in [
        ("unix:", "without a path"),
        ("disk.sock", "unix:PATH"),
        ("tcp:0.0.0.0:10809", "in the clear"),
        ("tcp:127.0.0.1:99999", "no port"),
    ] {
        assert_refused(
            address,
            &serve(&words!["--nbd", address, &image]),
            1,
            message,
        );
    }
    let wrong = lucarne_with_stdin(
        words!["serve", "--nbd", at(&socket), &image],
        b"another passphrase",
    );
    assert_refused("a wrong passphrase", &wrong, 2, "");
    assert!(!socket.exists());
    assert_refused(
        "no image",
        &serve(&words!["--nbd", at(&socket), scratch.path("missing")]),
        4,
        "missing",
    );
    let two = serve(&words!["--nbd", at(&socket), &image, &image]);
    assert_refused("one name twice", &two, 1, "same file name");
    let taken = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_refused(
        "a socket in use",
        &serve(&words!["--nbd", at(&socket), &image]),
        5,
        "listens",
    );
    drop(taken);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("tcp:127.0.0.1:{port}");
    assert_refused(
        "a port in use",
        &serve(&words!["--nbd", address, &image]),
        5,
        "in use",
    );
    assert!(std::fs::read(&image).unwrap() == before);
}

#[test]
fn the_socket_of_another_user_stays() {
    let what = "a socket of another user";
    if !rustix::process::geteuid().is_root() || !have(what, &["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("refused", 1 << 20), &[]);
    let key = key_file(&scratch);
    let program = scratch.copy(Path::new(env!("CARGO_BIN_EXE_lucarne")), "lucarne");
    let (everyones, ours) = (scratch.path("everyone's"), scratch.path("ours"));
    let mode = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    for folder in [&everyones, &ours] {
        std::fs::create_dir(folder).unwrap();
    }
    mode(scratch.dir(), 0o755);
    mode(&everyones, 0o777);
    mode(&ours, 0o755);
    mode(&program, 0o755);
    for path in [&image, &key] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    // Nobody listens to it any more, which the other user cannot know.
    let socket = everyones.join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    mode(&socket, 0o600);
    let serve = |socket: &Path| {
        let mut address = OsString::from("unix:");
        address.push(socket);
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"].map(OsString::from);
        let line = words![&program, "serve", "--nbd", address, "-d", &key, &image];
        peer("setpriv", &user.into_iter().chain(line).collect::<Vec<_>>())
    };
    assert_refused("a socket", &serve(&socket), 5, "another user's");
    assert!(socket.exists());
    let refused = serve(&ours.join("socket"));
    assert_refused("a folder", &refused, 2, "Permission denied");
}

#[test]
fn what_cannot_be_written_is_served_for_reading_alone() {
    let what = "an image that cannot be written";
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "40m") else {
        return;
    };
    let key = key_file(&scratch);
    let plaintext = stream("read only", 1 << 20);
    let file = disk.path().join("image");
    std::fs::copy(encrypted(&scratch, "image", &plaintext, &[]), &file).unwrap();
    disk.make_read_only();
    let looped = (can_loop(what) && have(what, &["losetup"]))
        .then(|| Loop::on(&scratch.path("image"), &["--read-only"]));
    let device = looped.as_ref().map(|looped| PathBuf::from(&looped.device));
    let directory = scratch.path("directory");
    std::fs::create_dir(&directory).unwrap();
    for image in std::iter::once(file).chain(device) {
        let refused = |door: &[OsString]| {
            let mut arguments = door.to_vec();
            arguments.extend(words!["-d", &key]);
            let outcome = lucarne(&arguments);
            assert_refused("read only", &outcome, 4, "--readonly");
        };
        let mut address = OsString::from("unix:");
        address.push(scratch.path("socket"));
        refused(&words!["serve", "--nbd", address, &image]);
        refused(&words!["serve", "--fuse", &directory, &image]);
        refused(&words!["open", &image, "lucarne-test-read-only"]);
        let served = Served::start(&scratch, &at_socket(&scratch, &image, &["--readonly"]));
        assert_eq!(served.stop(), Some(0));
    }
    assert!(!scratch.path("socket").exists());
    if let Some(looped) = looped {
        looped.detach();
    }
}

#[test]
fn what_is_served_for_writing_is_neither_reencrypted_nor_served_twice() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("held", 4 << 20), &[]);
    let before = std::fs::read(&image).unwrap();
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    let key = key_file(&scratch);
    let mut reencrypt = words!["reencrypt", "-q", "--key-file", &key].to_vec();
    reencrypt.extend(common::CHEAP.map(OsString::from));
    reencrypt.push(image.clone().into());
    assert_refused("reencrypt", &lucarne(&reencrypt), 5, "busy");
    let mut address = OsString::from("unix:");
    address.push(scratch.path("second"));
    let second = lucarne(words![
        "serve",
        "--key-file",
        &key,
        "--nbd",
        address,
        &image
    ]);
    assert_refused(
        "a second server",
        &second,
        5,
        "another process, which serves",
    );
    assert!(std::fs::read(&image).unwrap() == before);
    assert_eq!(served.stop(), Some(0));
    assert_eq!(lucarne(&reencrypt).code, Some(0));
}
