//! `serve` while things go wrong around it: a full disk, a stopped process, a changed header, a load that checks itself.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::programs::{have, peer};
use common::served::{Served, at_socket, nbdsh};
use common::small_disk::SmallDisk;
use common::{CHEAP, decrypted, encrypted, key_file, lucarne, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::peers;
use lucarne_testkit::scratch::Scratch;
use rustix::process::Signal;

const LEN: usize = 16 << 20;

#[test]
fn fio_finds_what_it_wrote() {
    if !have("fio", &["fio"]) {
        return;
    }
    let engines = peer("fio", &words!["--enghelp"]).text();
    if !engines.split_whitespace().any(|engine| engine == "nbd") {
        return peers::not_run("fio's engine nbd", "this fio was built without it");
    }
    let scratch = Scratch::new();
    for sector_size in ["512", "4096"] {
        let name = format!("image-{sector_size}");
        let image = encrypted(
            &scratch,
            &name,
            &vec![0; LEN],
            &["--sector-size", sector_size],
        );
        let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
        let uri = format!("--uri={}", served.uri);
        let size = format!("--size={}", LEN / 2);
        let offset = format!("--offset={}", LEN / 2);
        // Two jobs on either half, in blocks that are no whole sectors, and in whole ones.
        let outcome = peer(
            "fio",
            &words![
                "--ioengine=nbd",
                &uri,
                &size,
                "--rw=randwrite",
                "--verify=crc32c",
                "--verify_fatal=1",
                "--verify_state_save=0",
                "--output-format=terse",
                "--end_fsync=1",
                "--name=odd",
                "--bs=1536",
                "--iodepth=32",
                "--name=even",
                "--bs=65536",
                "--iodepth=16",
                &offset
            ],
        );
        assert_eq!(
            outcome.code,
            Some(0),
            "{}{}",
            outcome.text(),
            outcome.stderr
        );
        assert_eq!(served.stop(), Some(0));
        // It was written, and through the cipher.
        assert!(
            decrypted(&scratch, &image, &[])
                .iter()
                .any(|&byte| byte != 0)
        );
    }
}

#[test]
fn a_full_disk_is_an_error_for_who_writes_and_no_more() {
    if !have("libnbd's shell", &["nbdsh"]) {
        return;
    }
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(&scratch, "6m") else {
        return;
    };
    let image = disk.path().join("image");
    let header = scratch.path("header");
    std::fs::File::create(&image)
        .unwrap()
        .set_len(LEN as u64)
        .unwrap();
    let key = key_file(&scratch);
    let made = lucarne(
        words!["luksFormat", "-q", "--header", &header, &image, &key]
            .iter()
            .cloned()
            .chain(CHEAP.map(Into::into)),
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let mut arguments = at_socket(&scratch, &image, &["--header"]);
    arguments.push(header.into());
    let served = Served::start(&scratch, &arguments);
    nbdsh(
        r#"
import errno, os
h.connect_uri(os.environ["URI"])
h.pwrite(b"before", 512)
room = 0
try:
    while True:
        h.pwrite(bytearray([room % 256] * (1 << 20)), room << 20)
        room += 1
except nbd.Error as error:
    assert error.errnum == errno.ENOSPC, error
assert 4 <= room <= 6, room
# Neither this client nor what it wrote has come to harm, and another is served too.
assert h.pread(1 << 20, (room - 1) << 20) == bytearray([room - 1] * (1 << 20))
h.pwrite(b"again", 4 << 10)
h.flush()
other = nbd.NBD()
other.connect_uri(os.environ["URI"])
assert other.pread(5, 4 << 10) == bytearray(b"again")
"#,
        &served,
    );
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn a_stopped_server_goes_on_where_it_was() {
    if !have("nbdcopy", &["nbdcopy"]) {
        return;
    }
    let scratch = Scratch::new();
    let before = stream("stopped", LEN);
    let image = encrypted(&scratch, "image", &before, &[]);
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    served.signal(Signal::STOP);
    let copy = scratch.path("copy");
    let mut client = Command::new(peers::locate("nbdcopy").unwrap())
        .arg(&served.uri)
        .arg(&copy)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(client.try_wait().unwrap().is_none(), "nobody answered it");
    served.signal(Signal::CONT);
    assert!(client.wait().unwrap().success());
    assert!(std::fs::read(&copy).unwrap() == before);
    assert_eq!(served.stop(), Some(0));
}

/// Keys come and go beside it; the one that it holds is not asked for again.
#[test]
fn the_header_may_change_underneath() {
    if !have("nbdcopy", &["nbdcopy"]) {
        return;
    }
    let scratch = Scratch::new();
    let before = stream("changed underneath", LEN);
    let image = encrypted(&scratch, "image", &before, &[]);
    let served = Served::start(&scratch, &at_socket(&scratch, &image, &[]));
    let new_key = scratch.file("new-key", b"another test passphrase");
    let key = key_file(&scratch);
    let start = Instant::now();
    let added = lucarne(
        words!["luksAddKey", "-q", "-d", &key, &image, &new_key]
            .iter()
            .cloned()
            .chain(CHEAP.map(Into::into)),
    );
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let killed = lucarne(words!["luksKillSlot", "-q", &image, "0"]);
    assert_eq!(killed.code, Some(0), "{}", killed.stderr);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "a server holds no header's lock"
    );
    let copy = scratch.path("copy");
    let copied = |served: &Served, copy: &Path| peer("nbdcopy", &words![&served.uri, copy]).code;
    assert_eq!(copied(&served, &copy), Some(0));
    assert!(std::fs::read(&copy).unwrap() == before);
    let erased = lucarne(words!["luksErase", "-q", &image]);
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(copied(&served, &copy), Some(0));
    assert!(std::fs::read(&copy).unwrap() == before);
    assert_eq!(served.stop(), Some(0));
}
