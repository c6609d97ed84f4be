//! The verbs that keep, put back, mend and name a header, beside cryptsetup: the same exit code, the same bytes or the
//! same luksDump, and after a mistake an image unchanged to the byte.
#![allow(clippy::unwrap_used)]

mod backup;
#[path = "../common/mod.rs"]
mod common;
mod mistakes;
mod random;
mod repair;

use common::folder::{ours, words};
use common::{CHEAP, key_file};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::scratch::Scratch;

/// A volume of cryptsetup's with two keys, `image`, with its header in 640 KiB and data from 1 MiB on; the keys `key` and
/// `key2`.
fn with_volume(cryptsetup: &Cryptsetup) -> Scratch {
    let scratch = Scratch::new();
    key_file(&scratch);
    scratch.file("key2", b"a second passphrase");
    scratch.file("key3", b"a third passphrase");
    scratch.zeros("image", 2 << 20);
    let cheap = CHEAP.join(" ");
    cryptsetup.must(words(
        &scratch,
        &format!(
            "luksFormat -q {cheap} --key-size 256 --luks2-keyslots-size 608k --offset 2048 --sector-size 512 @image @key"
        ),
    ));
    add_key(cryptsetup, &scratch, "image", "key2");
    scratch
}

fn add_key(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str, key: &str) {
    let cheap = CHEAP.join(" ");
    let line = format!("luksAddKey -q {cheap} --key-file @key @{image} @{key}");
    cryptsetup.must(words(scratch, &line));
}

/// Which keys open an image, by cryptsetup on a copy and by us.
fn opening(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str) -> Vec<&'static str> {
    let mut opening = Vec::new();
    for key in ["key", "key2", "key3"] {
        let line = format!("open --test-passphrase --key-file @{key} @");
        let by_us = ours(scratch, &format!("{line}{image}")).code;
        scratch.copy(&scratch.path(image), "opened-copy");
        let by_them = cryptsetup
            .run(words(scratch, &format!("{line}opened-copy")))
            .code;
        assert_eq!(by_us, by_them, "{key}");
        if by_us == Some(0) {
            opening.push(key);
        }
    }
    opening
}

/// luksDump, by us; the same as cryptsetup's of a copy.
fn dump(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &str) -> String {
    let by_us = ours(scratch, &format!("luksDump @{image}")).text();
    scratch.copy(&scratch.path(image), "dumped-copy");
    let by_them = cryptsetup.must(words(scratch, "luksDump @dumped-copy"));
    assert_eq!(by_us, by_them);
    by_us
}

/// The epoch counts commits, and where cryptsetup makes two of a change we make one.
fn without_epoch(dump: &str) -> String {
    let lines = dump.lines().filter(|line| !line.starts_with("Epoch:"));
    lines.collect::<Vec<_>>().join("\n")
}
