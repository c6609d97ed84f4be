//! `reencrypt`: killed and taken up again, here and by cryptsetup, and mistakes.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::{
    CHEAP, assert_refused, command, decrypted, encrypted, key_file, lucarne, must, words,
};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

const PAYLOAD_LEN: usize = 24 << 20;

fn payload() -> Vec<u8> {
    stream("reencrypt", PAYLOAD_LEN)
}

fn volume(scratch: &Scratch, options: &[&str]) -> PathBuf {
    let (input, image) = (scratch.file("in", &payload()), scratch.path("image"));
    let mut line = words!["encrypt", "-q", "--key-file", key_file(scratch)].to_vec();
    line.extend(CHEAP.iter().chain(options).map(OsString::from));
    line.extend(words![input, &image]);
    must(line);
    image
}

fn line(scratch: &Scratch, image: &Path, options: &[&str]) -> Vec<OsString> {
    let mut line = words!["reencrypt", "-q", "--key-file", key_file(scratch)].to_vec();
    line.extend(CHEAP.iter().chain(options).map(OsString::from));
    line.push(image.into());
    line
}

fn is_unfinished(image: &Path) -> bool {
    let dump = must(words!["luksDump", image]);
    String::from_utf8(dump)
        .unwrap()
        .contains("online-reencrypt")
}

#[test]
fn what_the_options_ask_for_is_what_the_volume_becomes() {
    for (options, expected) in [
        (vec!["--sector-size", "512"], "sector: 512"),
        (
            vec!["--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"],
            "cipher: aes-cbc-essiv:sha256",
        ),
        (
            vec!["--key-size", "256", "--resilience", "journal"],
            "Key:        256 bits",
        ),
        (
            vec!["--keep-key", "--sector-size", "512", "--resilience", "none"],
            "sector: 512",
        ),
    ] {
        let scratch = Scratch::new();
        let image = volume(&scratch, &[]);
        must(line(&scratch, &image, &options));
        let dump = String::from_utf8(must(words!["luksDump", &image])).unwrap();
        assert!(dump.contains(expected), "{options:?}: {dump}");
        assert!(!is_unfinished(&image));
        assert!(decrypted(&scratch, &image, &[]) == payload(), "{options:?}");
        // cryptsetup reads it as we do, or what it makes of it is something else.
        if let Some(cryptsetup) = Cryptsetup::or_skip("a re-encrypted volume") {
            let key = key_file(&scratch);
            let mut again = words!["reencrypt", "-q", "--force-offline-reencrypt"].to_vec();
            again.extend(CHEAP.iter().map(OsString::from));
            again.extend(words!["--key-file", key, &image]);
            cryptsetup.must(again);
            assert!(
                decrypted(&scratch, &image, &[]) == payload(),
                "{options:?}, and again by cryptsetup"
            );
        }
    }
}

#[test]
fn a_killed_run_is_finished_by_either_tool() {
    let cryptsetup = Cryptsetup::or_skip("finishing a re-encryption");
    let scratch = Scratch::new();
    let image = volume(&scratch, &[]);
    for round in 0..12_u64 {
        let resilience = ["checksum", "journal"][usize::from(round % 2 == 1)];
        let mut child = command()
            .args(line(
                &scratch,
                &image,
                &["--resilience", resilience, "--hotzone-size", "1M"],
            ))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + 17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        if is_unfinished(&image) {
            match &cryptsetup {
                Some(cryptsetup) if round % 3 == 2 => {
                    let key = key_file(&scratch);
                    cryptsetup.must(words!["repair", "-q", "--key-file", &key, &image]);
                    if is_unfinished(&image) {
                        let resume = words![
                            "reencrypt",
                            "-q",
                            "--resume-only",
                            "--force-offline-reencrypt",
                            "--key-file",
                            &key,
                            &image
                        ];
                        cryptsetup.must(resume);
                    }
                }
                _ => {
                    must(line(&scratch, &image, &["--resume-only"]));
                }
            }
        }
        assert!(
            decrypted(&scratch, &image, &[]) == payload(),
            "round {round}"
        );
    }
}

#[test]
fn a_detached_header_is_changed_and_its_data_with_it() {
    let scratch = Scratch::new();
    let header = scratch.path("header");
    let header_option = ["--header", header.to_str().unwrap()];
    let image = volume(&scratch, &header_option);
    let begin = [&header_option[..], &["--init-only"]].concat();
    must(line(&scratch, &image, &begin));
    assert!(is_unfinished(&header));
    assert!(decrypted(&scratch, &image, &header_option) == payload());
    must(line(&scratch, &image, &header_option));
    assert!(!is_unfinished(&header));
    assert!(decrypted(&scratch, &image, &header_option) == payload());
    // The header alone is no volume.
    let before = std::fs::read(&header).unwrap();
    let outcome = lucarne(line(&scratch, &header, &[]));
    assert_refused("the header alone", &outcome, 1, "lie over the header");
    assert!(std::fs::read(&header).unwrap() == before);
}

/// Plaintext becomes a volume where it lies, moved out of the header's way: cryptsetup begins it, we go on, killed on
/// the way, and the end is cryptsetup's.
#[test]
fn an_encryption_with_data_shift_is_finished_as_cryptsetup_finishes_it() {
    let Some(cryptsetup) = Cryptsetup::or_skip("an encryption with data shift") else {
        return;
    };
    const ROOM: u64 = 32 << 20;
    // Shorter than the shift of 16 MiB, as long, longer by a part of it, and by some.
    for len in [8 << 20, 16 << 20, 24 << 20, (50 << 20) + 4096] {
        let scratch = Scratch::new();
        let key = key_file(&scratch);
        let content = stream("shift", len);
        let image = scratch.file("image", &content);
        let file = std::fs::File::options().write(true).open(&image).unwrap();
        file.set_len(len as u64 + ROOM).unwrap();
        let cheap = CHEAP.iter().map(OsString::from);
        let mut begin = words!["reencrypt", "--encrypt", "--init-only", "-q"].to_vec();
        begin.extend(words!["--reduce-device-size", "32M", "--key-file", &key]);
        begin.extend(cheap);
        begin.push(image.clone().into());
        cryptsetup.must(begin);
        let theirs = scratch.path("theirs");
        std::fs::copy(&image, &theirs).unwrap();
        cryptsetup.must(words![
            "reencrypt",
            "-q",
            "--resume-only",
            "--force-offline-reencrypt",
            "--key-file",
            &key,
            &theirs
        ]);

        let plaintext = || {
            must(words![
                "read",
                "--key-file",
                &key,
                "--length",
                len.to_string(),
                &image
            ])
        };
        assert!(plaintext() == content, "{len}: as it was begun");
        let resume = || line(&scratch, &image, &["--resume-only"]);
        let mut child = command()
            .args(resume())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(plaintext() == content, "{len}: killed");
        if is_unfinished(&image) {
            must(resume());
        }
        assert!(plaintext() == content, "{len}: finished");
        let json = |path: &Path| luks2::json(&std::fs::read(path).unwrap(), 0);
        let (ours, theirs) = (json(&image), json(&theirs));
        for member in ["segments", "config"] {
            assert_eq!(ours[member], theirs[member], "{len}: {member}");
        }
        // What was moved out of the way lies nowhere any more.
        let bytes = std::fs::read(&image).unwrap();
        let head = &content[..4096];
        assert!(
            !bytes.chunks(4096).any(|block| block == head),
            "{len}: plaintext is left"
        );
    }
}

#[test]
fn an_image_that_was_cut_is_left_alone() {
    let scratch = Scratch::new();
    let content = stream("cut", (4 << 20) + 123);
    let image = encrypted(&scratch, "image", &content, &[]);
    must(line(&scratch, &image, &["--init-only"]));
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.set_len(file.metadata().unwrap().len() - (1 << 20))
        .unwrap();
    let before = std::fs::read(&image).unwrap();
    let outcome = lucarne(line(&scratch, &image, &["--resume-only"]));
    assert_refused("a cut image", &outcome, 4, "it was cut");
    assert!(std::fs::read(&image).unwrap() == before);
}

#[test]
fn a_second_process_is_kept_out() {
    let scratch = Scratch::new();
    let image = volume(&scratch, &[]);
    must(line(&scratch, &image, &["--init-only"]));
    let header = || std::fs::read(&image).unwrap()[..4096].to_vec();
    let begun = header();
    // While it is at work, and stopped, nobody else is.
    let mut child = command()
        .args(line(
            &scratch,
            &image,
            &["--resume-only", "--hotzone-size", "64K"],
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It has the locks before it writes anything.
    while header() == begun && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    if is_unfinished(&image) {
        let outcome = lucarne(line(&scratch, &image, &["--resume-only"]));
        assert_refused("a second one", &outcome, 5, "another process");
    }
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(decrypted(&scratch, &image, &[]) == payload());
}

#[test]
fn an_interrupted_run_says_how_it_goes_on() {
    let scratch = Scratch::new();
    let image = volume(&scratch, &[]);
    let mut child = command()
        .args(line(&scratch, &image, &["--hotzone-size", "64K"]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it has begun it listens to signals.
    for _ in 0..500 {
        if is_unfinished(&image) || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("--resume-only goes on"), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
        must(line(&scratch, &image, &["--resume-only"]));
    }
    assert!(decrypted(&scratch, &image, &[]) == payload());
}

#[test]
fn mistakes_leave_the_image_as_it_was() {
    let scratch = Scratch::new();
    let image = volume(&scratch, &[]);
    let before = std::fs::read(&image).unwrap();
    let wrong = scratch.file("wrong", b"not that one");
    let with_key = |options: &[&str]| line(&scratch, &image, options);
    let mut with_wrong_key = words!["reencrypt", "-q", "--key-file", wrong].to_vec();
    with_wrong_key.push(image.clone().into());
    let cases = [
        (with_wrong_key, 2, "no keyslot accepts"),
        (with_key(&["--resume-only"]), 1, "no re-encryption"),
        (with_key(&["--key-slot", "5"]), 1, "keyslot 5 is not in use"),
        (with_key(&["--cipher", "serpent-xts-plain64"]), 1, "serpent"),
        (with_key(&["--key-size", "384"]), 1, "48 bytes"),
        (
            with_key(&["--resilience-hash", "md5"]),
            1,
            "--resilience-hash",
        ),
        (with_key(&["--hotzone-size", "100"]), 1, "hot zone"),
        (
            with_key(&["--keep-key", "--key-size", "256"]),
            1,
            "a key that stays",
        ),
    ];
    for (arguments, code, message) in cases {
        let outcome = lucarne(&arguments);
        assert_refused(&format!("{arguments:?}"), &outcome, code, message);
        assert!(
            std::fs::read(&image).unwrap() == before,
            "{arguments:?} changed the image"
        );
    }
}
