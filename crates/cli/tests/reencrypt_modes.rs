//! `reencrypt --encrypt` and `--decrypt`: against cryptsetup for the same request, killed, and mistakes.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::{
    CHEAP, assert_refused, command, encrypted, key_file, lucarne, lucarne_with_stdin, must, words,
};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;
use serde_json::Value;

/// Given up at the end of an image, unless a test says otherwise.
const ROOM: usize = 2 << 20;

fn plain(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = stream(name, len);
    bytes.resize(len + ROOM, 0);
    bytes
}

fn line(scratch: &Scratch, image: &Path, options: &[&str]) -> Vec<OsString> {
    let mut line = words!["reencrypt", "-q", "--key-file", key_file(scratch)].to_vec();
    line.extend(CHEAP.iter().chain(options).map(OsString::from));
    line.push(image.into());
    line
}

/// The same through cryptsetup, which wants to be told that a file is no active device.
fn theirs(scratch: &Scratch, image: &Path, options: &[&str]) -> Vec<OsString> {
    let mut line = line(scratch, image, options);
    line.insert(1, "--force-offline-reencrypt".into());
    line
}

/// What both tools' headers must agree on: all but salts, digests and costs.
fn comparable(path: &Path) -> Value {
    let mut json = luks2::json(&std::fs::read(path).unwrap(), 0);
    for keyslot in json["keyslots"].as_object_mut().unwrap().values_mut() {
        let keyslot = keyslot.as_object_mut().unwrap();
        keyslot.remove("kdf");
    }
    for digest in json["digests"].as_object_mut().unwrap().values_mut() {
        for member in ["salt", "digest", "iterations"] {
            digest.as_object_mut().unwrap().remove(member);
        }
    }
    // Their numbers follow from the order in which they were made.
    let mut segments: Vec<String> = json["segments"]
        .as_object()
        .unwrap()
        .values()
        .map(Value::to_string)
        .collect();
    segments.sort();
    json["segments"] = segments.into();
    for digest in json["digests"].as_object_mut().unwrap().values_mut() {
        let count = digest["segments"].as_array().unwrap().len();
        digest["segments"] = count.into();
    }
    json
}

fn read(scratch: &Scratch, image: &Path, options: &[&str], len: usize) -> Vec<u8> {
    let mut line = words!["read", "--key-file", key_file(scratch)].to_vec();
    line.extend(options.iter().map(OsString::from));
    line.extend(words!["--length", len.to_string(), image]);
    must(line)
}

#[test]
fn an_encryption_is_what_cryptsetup_makes_of_the_same_request() {
    let Some(cryptsetup) = Cryptsetup::or_skip("encryptions in place") else {
        return;
    };
    const LEN: usize = (3 << 20) + 4096;
    let content = plain("encrypt", LEN);
    for options in [
        "--reduce-device-size 2M",
        "--reduce-device-size 2M --resilience journal --hotzone-size 64K",
        "--reduce-device-size 2M --sector-size 4096 --key-size 256",
        "--reduce-device-size 2M --cipher aes-cbc-essiv:sha256 --key-size 256 --hash sha512",
        "--reduce-device-size 2M --key-slot 3 --label weights --subsystem models --uuid 01234567-89ab-4def-8123-456789abcdef",
        "--reduce-device-size 2M --luks2-metadata-size 64k --luks2-keyslots-size 512k",
        "--reduce-device-size 2M --offset 1536",
        "--header HEADER --luks2-keyslots-size 512k",
        "--header HEADER --luks2-keyslots-size 512k --resilience journal --sector-size 4096",
        "--header HEADER --luks2-keyslots-size 512k --resilience none --hotzone-size 256K",
        "--header HEADER --offset 2048 --resilience-hash sha1",
    ] {
        let scratch = Scratch::new();
        let headers = [scratch.path("our.header"), scratch.path("their.header")];
        let images = [
            scratch.file("ours", &content),
            scratch.file("theirs", &content),
        ];
        let of = |which: usize| {
            let header = headers[which].to_str().unwrap().to_owned();
            let mut words = vec!["--encrypt".to_owned()];
            words.extend(options.split(' ').map(|word| match word {
                "HEADER" => header.clone(),
                word => word.to_owned(),
            }));
            words
        };
        let with = |which: usize, more: &[&str]| {
            let options = of(which);
            let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
            options.extend(more);
            match which {
                0 => line(&scratch, &images[0], &options),
                _ => theirs(
                    &scratch,
                    &images[1],
                    &[&options[..], &["--type", "luks2"]].concat(),
                ),
            }
        };
        let header_of = |which: usize| match options.contains("HEADER") {
            true => headers[which].clone(),
            false => images[which].clone(),
        };
        must(with(0, &["--init-only"]));
        cryptsetup.must(with(1, &["--init-only"]));
        let begun = [0, 1].map(|which| comparable(&header_of(which)));
        assert_eq!(begun[0], begun[1], "{options}: begun");
        // Each is finished by the other tool, and both ends are alike.
        let end = |which: usize| {
            let mut options = vec!["--resume-only"];
            let path = headers[which].to_str().unwrap();
            if header_of(which) == headers[which] {
                options.extend(["--header", path]);
            }
            options
        };
        cryptsetup.must(theirs(&scratch, &images[0], &end(0)));
        must(line(&scratch, &images[1], &end(1)));
        let ended = [0, 1].map(|which| comparable(&header_of(which)));
        assert_eq!(ended[0], ended[1], "{options}: ended");
        for which in [0, 1] {
            let header = headers[which].to_str().unwrap();
            let (header, offset) = match options.contains("HEADER") {
                true => (
                    vec!["--header", header],
                    if options.contains("--offset") {
                        1 << 20
                    } else {
                        0
                    },
                ),
                false => (vec![], 0),
            };
            assert!(
                read(&scratch, &images[which], &header, LEN - offset) == content[offset..LEN],
                "{options}: {which}"
            );
        }
    }
}

#[test]
fn a_decryption_is_what_cryptsetup_makes_of_the_same_request() {
    let Some(cryptsetup) = Cryptsetup::or_skip("decryptions in place") else {
        return;
    };
    const LEN: usize = (3 << 20) + 4096;
    let content = plain("decrypt", LEN);
    for options in [
        "",
        "--resilience datashift-checksum --hotzone-size 256K",
        "--resilience journal --hotzone-size 128K",
        "DETACHED",
        "DETACHED --resilience journal --hotzone-size 256K",
        "DETACHED --resilience none",
    ] {
        let is_detached = options.contains("DETACHED");
        let more: Vec<&str> = options
            .split(' ')
            .filter(|word| !word.is_empty() && *word != "DETACHED")
            .collect();
        let scratch = Scratch::new();
        let image = scratch.file("image", &content);
        let header = scratch.path("header");
        let mut encrypt = vec!["--encrypt", "--hotzone-size", "1M"];
        match is_detached {
            true => encrypt.extend([
                "--luks2-keyslots-size",
                "512k",
                "--header",
                header.to_str().unwrap(),
            ]),
            false => encrypt.extend(["--reduce-device-size", "2M"]),
        }
        must(line(&scratch, &image, &encrypt));
        let images = [scratch.path("ours"), scratch.path("theirs")];
        let headers = [scratch.path("our.header"), scratch.path("their.header")];
        for which in [0, 1] {
            std::fs::copy(&image, &images[which]).unwrap();
            if is_detached {
                std::fs::copy(&header, &headers[which]).unwrap();
            }
        }
        let names = headers.each_ref().map(|path| path.to_str().unwrap());
        let ours = |words: &[&str]| {
            let options = [words, &["--header", names[0]]].concat();
            line(&scratch, &images[0], &options)
        };
        let cryptsetups = |words: &[&str]| {
            let options = [words, &["--header", names[1]]].concat();
            theirs(&scratch, &images[1], &options)
        };
        let begin = [&["--decrypt", "--init-only"], &more[..]].concat();
        must(ours(&begin));
        cryptsetup.must(cryptsetups(&begin));
        let begun = [0, 1].map(|which| comparable(&headers[which]));
        assert_eq!(begun[0], begun[1], "{options}: begun");
        let resume = |which: usize| ["--resume-only", "--header", names[which]];
        cryptsetup.must(theirs(&scratch, &images[0], &resume(0)));
        must(line(&scratch, &images[1], &resume(1)));
        let ended = [0, 1].map(|which| comparable(&headers[which]));
        assert_eq!(ended[0], ended[1], "{options}: ended");
        for image in &images {
            let bytes = std::fs::read(image).unwrap();
            assert_eq!(bytes.len(), content.len());
            assert!(bytes[..LEN] == content[..LEN], "{options}");
        }
    }
}

/// The same command goes on, whatever it was killed at.
#[test]
fn killed_runs_go_on() {
    const LEN: usize = 24 << 20;
    let content = plain("killed", LEN);
    for round in 0..6_u64 {
        let scratch = Scratch::new();
        let image = scratch.file("image", &content);
        let header = scratch.path("header");
        let header = header.to_str().unwrap();
        let killed = |options: &[&str]| {
            let mut child = command()
                .args(line(&scratch, &image, options))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(15 + 23 * round));
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let encrypt = [
            "--encrypt",
            "--reduce-device-size",
            "2M",
            "--hotzone-size",
            "64K",
        ];
        killed(&encrypt);
        // It may have been done before it was killed.
        let outcome = lucarne(line(&scratch, &image, &encrypt));
        if outcome.code != Some(0) {
            assert!(outcome.stderr.contains("already"), "{}", outcome.stderr);
        }
        assert!(
            read(&scratch, &image, &[], LEN) == content[..LEN],
            "round {round}"
        );
        let decrypt = ["--decrypt", "--header", header, "--hotzone-size", "64K"];
        killed(&decrypt);
        let bytes = || std::fs::read(&image).unwrap();
        let outcome = lucarne(line(&scratch, &image, &decrypt));
        let start = match outcome.code {
            Some(0) => match bytes()[..4096] == content[..4096] {
                true => 0,
                // Killed between the header's copy and the decryption: the data stay where they were.
                false => ROOM / 2,
            },
            _ => {
                // The copy is there and nothing else has happened, or all has.
                if outcome.stderr.contains("a header of its own") {
                    std::fs::remove_file(header).unwrap();
                    must(line(&scratch, &image, &decrypt));
                }
                0
            }
        };
        assert!(
            bytes()[start..start + LEN] == content[..LEN],
            "round {round}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn each_keyslot_is_asked_for_and_stays() {
    let scratch = Scratch::new();
    let content = stream("several", 1 << 20);
    let image = encrypted(&scratch, "image", &content, &[]);
    let key = key_file(&scratch);
    let second = scratch.file("second", b"a second example");
    let mut add = words!["luksAddKey", "-q", "--key-file", &key].to_vec();
    add.extend(CHEAP.iter().map(OsString::from));
    add.extend(words![&image, &second]);
    must(add);
    let reencrypt = |options: &[&str]| {
        let mut line = words!["reencrypt", "-q"].to_vec();
        line.extend(CHEAP.iter().chain(options).map(OsString::from));
        line.push(image.clone().into());
        line
    };
    let before = std::fs::read(&image).unwrap();
    let key_option = ["--key-file", key.to_str().unwrap()];
    let refused = lucarne(reencrypt(&key_option));
    assert_refused("a key file", &refused, 1, "--key-slot");
    let first = std::fs::read(&key).unwrap();
    let lines = [&first[..], b"\nnot that one\n"].concat();
    let refused = lucarne_with_stdin(reencrypt(&[]), &lines);
    assert_refused("a wrong one", &refused, 2, "no keyslot accepts");
    assert!(std::fs::read(&image).unwrap() == before);
    let lines = [&first[..], b"\na second example\n"].concat();
    let outcome = lucarne_with_stdin(reencrypt(&[]), &lines);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for key in [&key, &second] {
        let back = must(words!["read", "--key-file", key, "--length", "1M", &image]);
        assert!(back == content);
    }
    let json = luks2::json(&std::fs::read(&image).unwrap(), 0);
    assert_eq!(json["keyslots"].as_object().unwrap().len(), 2);
    // With --key-slot one stays.
    let slots: Vec<&String> = json["keyslots"].as_object().unwrap().keys().collect();
    must(reencrypt(
        &[&key_option[..], &["--key-slot", slots[0]]].concat(),
    ));
    let json = luks2::json(&std::fs::read(&image).unwrap(), 0);
    assert_eq!(json["keyslots"].as_object().unwrap().len(), 1);
}

#[test]
fn mistakes_leave_everything_as_it_was() {
    let scratch = Scratch::new();
    let content = plain("mistakes", 4 << 20);
    let image = scratch.file("image", &content);
    let odd = scratch.file("odd", &content[..content.len() - 100]);
    let short = scratch.file("short", &content[..ROOM]);
    let volume = encrypted(&scratch, "volume", &content, &[]);
    let there = scratch.file("there", b"something else");
    let copy = scratch.path("copy");
    must(words![
        "luksHeaderBackup",
        &volume,
        "--header-backup-file",
        &copy
    ]);
    // A backup is read-only.
    let copy = scratch.file("writable", &std::fs::read(&copy).unwrap());
    let missing = scratch.path("missing");
    let wrong = scratch.file("wrong", b"not that one");
    let read_only = scratch.file("read-only", &content);
    let [there, copy, missing, wrong_key] =
        [&there, &copy, &missing, &wrong].map(|path| path.to_str().unwrap());
    let reduce = "--reduce-device-size";
    let cases: Vec<(&PathBuf, Vec<&str>, i32, &str)> = vec![
        (&image, vec!["--encrypt"], 1, "--reduce-device-size"),
        (
            &image,
            vec!["--encrypt", reduce, "1000"],
            1,
            "multiple of 512",
        ),
        (&image, vec!["--encrypt", reduce, "64K"], 1, "too short"),
        (&image, vec!["--encrypt", reduce, "128K"], 1, "too short"),
        (&image, vec!["--encrypt", reduce, "32M"], 4, "too small"),
        (&short, vec!["--encrypt", reduce, "2M"], 4, "too small"),
        (&odd, vec!["--encrypt", reduce, "2M"], 1, "whole sectors"),
        (
            &image,
            vec!["--encrypt", reduce, "2M", "--offset", "4096"],
            1,
            "--offset",
        ),
        (
            &image,
            vec!["--encrypt", reduce, "2M", "--type", "luks1"],
            1,
            "LUKS1",
        ),
        (
            &image,
            vec!["--encrypt", reduce, "2M", "--header", missing],
            1,
            "--header",
        ),
        (&image, vec!["--encrypt", "--header", there], 1, "exists"),
        (
            &image,
            vec![
                "--encrypt",
                "--header",
                missing,
                "--resilience",
                "datashift",
            ],
            1,
            "datashift",
        ),
        (
            &odd,
            vec!["--encrypt", "--header", missing],
            1,
            "whole sectors",
        ),
        (
            &image,
            vec!["--encrypt", "--decrypt", "--header", missing],
            1,
            "--decrypt",
        ),
        (
            &image,
            vec!["--encrypt", reduce, "2M", "--device-size", "1M"],
            1,
            "--device-size",
        ),
        (&volume, vec!["--encrypt", reduce, "2M"], 1, "already"),
        (&image, vec!["--label", "x"], 1, "only with --encrypt"),
        (&volume, vec!["--decrypt"], 1, "--header"),
        (
            &volume,
            vec!["--decrypt", "--header", there],
            1,
            "not a LUKS volume",
        ),
        (
            &volume,
            vec!["--decrypt", "--header", copy],
            1,
            "of its own",
        ),
        (
            &image,
            vec!["--decrypt", "--header", missing],
            1,
            "not a LUKS volume",
        ),
        (
            &volume,
            vec!["--decrypt", "--header", missing, "--resilience", "none"],
            1,
            "--resilience",
        ),
        (
            &volume,
            vec!["--decrypt", "--header", missing, "--sector-size", "512"],
            1,
            "not with --decrypt",
        ),
        (
            &volume,
            vec!["--decrypt", "--header", missing, "--hotzone-size", "100"],
            1,
            "hot zone",
        ),
        (
            &volume,
            vec!["--decrypt", "--header", missing, "--resume-only"],
            1,
            "no re-encryption",
        ),
        (
            &volume,
            vec!["--decrypt", "--header", missing, "--key-file", wrong_key],
            2,
            "no keyslot accepts",
        ),
    ];
    for (path, options, code, message) in cases {
        let before = std::fs::read(path).unwrap();
        let outcome = match options.contains(&"--key-file") {
            true => {
                let mut line = words!["reencrypt", "-q"].to_vec();
                line.extend(options.iter().map(OsString::from));
                line.push(path.into());
                lucarne(line)
            }
            false => lucarne(line(&scratch, path, &options)),
        };
        let what = format!("{options:?}");
        assert_refused(&what, &outcome, code, message);
        assert!(std::fs::read(path).unwrap() == before, "{what}: changed");
        assert!(!Path::new(missing).exists(), "{what}: a header was made");
    }
    // Whoever may write anyway is not kept from it by its mode.
    let mut permissions = std::fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&read_only, permissions).unwrap();
    if std::fs::File::options()
        .write(true)
        .open(&read_only)
        .is_err()
    {
        let outcome = lucarne(line(&scratch, &read_only, &["--encrypt", reduce, "2M"]));
        assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    }
}
