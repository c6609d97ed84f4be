//! `--kernel` and `LUCARNE_KERNEL`: every kernel gives the same bytes, and a name that cannot be had is
//! refused before anything is done.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;

use common::{CHEAP, command, decrypted, encrypted, key_file, lucarne, words};
use lucarne::{KERNEL_VARIABLE, Kernel};
use lucarne_testkit::{process::run, scratch::Scratch};

#[test]
fn what_one_kernel_encrypts_every_other_decrypts() {
    let scratch = Scratch::new();
    let plaintext: Vec<u8> = (0..300_000).map(|place: u32| (place / 7) as u8).collect();
    for writer in Kernel::available() {
        for sector_size in ["512", "4096"] {
            let options = ["--kernel", writer.name(), "--sector-size", sector_size];
            let image = encrypted(&scratch, "volume", &plaintext, &options);
            for reader in Kernel::available() {
                let read = decrypted(&scratch, &image, &["--kernel", reader.name()]);
                assert!(read == plaintext, "{writer} to {reader}, {sector_size}");
            }
        }
    }
}

#[test]
fn a_kernel_that_cannot_be_had_is_refused_by_name() {
    let scratch = Scratch::new();
    let plain = scratch.file("plain", b"text");
    let (key, volume) = (key_file(&scratch), scratch.path("volume"));
    let mut encrypt = words!["encrypt", "-q", "-d", key, plain, &volume].to_vec();
    encrypt.extend(CHEAP.map(Into::into));

    let outcome = lucarne(encrypt.iter().cloned().chain(words!["--kernel", "sse2"]));
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome
            .stderr
            .contains("kernel \"sse2\" is not known (known: vaes512, "),
        "{}",
        outcome.stderr
    );

    for name in Kernel::ALL.map(Kernel::name).iter().chain(&["", "sse2"]) {
        let may = name.parse().is_ok_and(Kernel::is_available);
        let outcome = run(command().args(&encrypt).env(KERNEL_VARIABLE, name), b"");
        assert_eq!(outcome.code, Some(if may { 0 } else { 1 }), "{name}");
        assert_eq!(volume.exists(), may, "{name}");
        if !may {
            assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
            assert!(outcome.stderr.contains("kernel"), "{}", outcome.stderr);
        } else {
            std::fs::remove_file(&volume).unwrap();
        }
    }

    // The option counts, whatever the environment says.
    let portable = words!["--kernel", "portable"];
    let arguments = encrypt.iter().chain(&portable).map(OsStr::new);
    let outcome = run(command().args(arguments).env(KERNEL_VARIABLE, "sse2"), b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}
