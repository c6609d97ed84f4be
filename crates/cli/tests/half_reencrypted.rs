//! The command on volumes whose re-encryption is unfinished: it reads them and writes nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;

use common::{lucarne, lucarne_with_stdin, must, words};
use lucarne_testkit::half_reencrypted::{PASSPHRASE, all, state};
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;
use serde_json::json;

#[test]
fn they_are_tested_read_and_decrypted_and_stay_as_they_are() {
    for state in all() {
        let scratch = Scratch::new();
        let key = scratch.file("key", PASSPHRASE);
        let image = scratch.file("image", &state.image);
        let header = state
            .header
            .as_ref()
            .map(|bytes| scratch.file("header", bytes));
        let mut rest: Vec<OsString> = words!["--key-file", &key].to_vec();
        if let Some(header) = &header {
            rest.extend(words!["--header", header]);
        }
        rest.push(image.clone().into());
        let with = |verb: &[&str]| {
            let verb = verb.iter().map(OsString::from);
            verb.chain(rest.clone()).collect::<Vec<_>>()
        };
        must(with(&["open", "--test-passphrase"]));
        let read = must(with(&["read", "--offset", "1000", "--length", "20000"]));
        assert!(read == state.payload[1000..21_000], "{}", state.name);
        let out = scratch.path("out");
        let mut decrypt = with(&["decrypt", "--batch-mode"]);
        decrypt.push(out.clone().into());
        must(decrypt);
        assert!(
            std::fs::read(out).unwrap() == state.payload,
            "{}",
            state.name
        );
        let write = lucarne_with_stdin(with(&["write", "--offset", "0"]), b"x");
        assert_eq!(write.code, Some(1));
        assert!(
            write.stderr.contains("reencrypt --resume-only"),
            "{}",
            write.stderr
        );
        assert!(
            std::fs::read(image).unwrap() == state.image,
            "{}",
            state.name
        );
        if let Some(header) = header {
            assert!(std::fs::read(header).unwrap() == state.header.unwrap());
        }
    }
}

#[test]
fn forged_ones_open_nothing() {
    let mut forged = state("reencrypt/checksum-torn");
    luks2::edit_json(&mut forged.image, |json| {
        json["keyslots"]["2"]["area"]["sector_size"] = json!(512);
    });
    let scratch = Scratch::new();
    let key = scratch.file("key", PASSPHRASE);
    let image = scratch.file("image", &forged.image);
    for verb in [&["open", "--test-passphrase"][..], &["read"], &["decrypt"]] {
        let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
        arguments.extend(words!["--key-file", &key, &image]);
        if verb == ["decrypt"] {
            arguments.push("-".into());
        }
        let outcome = lucarne(&arguments);
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("do not vouch"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stdout.is_empty());
    }
    assert!(std::fs::read(image).unwrap() == forged.image);
}
