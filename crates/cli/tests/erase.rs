//! `luksErase --evidence` and `wipe`: what is left, what the record says, and mistakes.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{
    CHEAP, assert_refused, encrypted, key_file, lucarne, lucarne_with_stdin, must, words,
};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload::{sha256_hex, stream};
use lucarne_testkit::scratch::Scratch;
use serde_json::Value;

/// A LUKS1 or LUKS2 volume with two keyslots.
fn volume(scratch: &Scratch, version: &str) -> PathBuf {
    let key = key_file(scratch);
    let image = scratch.zeros(version, 20 << 20);
    let mut line = words!["luksFormat", "-q", "--type", version].to_vec();
    line.extend(CHEAP.iter().map(OsString::from));
    line.extend(words![&image, &key]);
    must(line);
    let second = scratch.file("second", b"a second one");
    let mut line = words!["luksAddKey", "-q", "--key-file", &key].to_vec();
    line.extend(CHEAP.iter().map(OsString::from));
    line.extend(words![&image, second]);
    must(line);
    image
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every hash of the record is that of the bytes before and after.
fn check_areas(record: &Value, before: &[u8], after: &[u8]) -> usize {
    let mut areas = vec![&record["keyslots_area"]];
    areas.extend(record["header"].as_array().unwrap());
    areas.extend(record["keyslots"].as_array().unwrap());
    for area in &areas {
        let number = |name: &str| area[name].as_u64().unwrap() as usize;
        let start = number("offset_bytes");
        let range = start..start + number("size_bytes");
        assert_eq!(area["sha256_before"], sha256_hex(&before[range.clone()]));
        assert_eq!(area["sha256_after"], sha256_hex(&after[range]));
        assert_ne!(area["sha256_before"], area["sha256_after"], "{area}");
    }
    areas.len()
}

#[test]
fn the_record_says_what_was_there_and_what_is_there() {
    for (version, number, areas) in [("luks1", 1, 10), ("luks2", 2, 5)] {
        let scratch = Scratch::new();
        let image = volume(&scratch, version);
        let (key, record) = (key_file(&scratch), scratch.path("record"));
        let uuid = String::from_utf8(must(words!["luksUUID", &image])).unwrap();
        let before = std::fs::read(&image).unwrap();
        must(words![
            "luksErase",
            "-q",
            "--evidence",
            &record,
            "--key-file",
            &key,
            &image
        ]);
        let after = std::fs::read(&image).unwrap();
        let json = json(&record);
        assert_eq!(check_areas(&json, &before, &after), areas, "{json:#}");
        assert_eq!(json["version"], 1);
        assert_eq!(json["kind"], "lucarne-erase");
        assert_eq!(json["luks_version"], number);
        assert_eq!(json["uuid"], uuid.trim());
        assert_eq!(json["removed_keyslots"], serde_json::json!([0, 1]));
        assert_eq!(json["device"], image.to_str().unwrap());
        let passphrase =
            serde_json::json!({"tried": true, "opened_before": true, "opens_after": false});
        assert_eq!(json["passphrase"], passphrase);
        assert!(json["tool"].as_str().unwrap().starts_with("lucarne "));
        assert!(json["not_promised"].as_array().unwrap().len() >= 4);
        let time = json["time"].as_str().unwrap();
        assert!(
            time.len() == 20 && time.ends_with('Z') && time.contains('T'),
            "{time}"
        );

        // Nothing opens any more, by either tool; the data are as they were.
        let opened = lucarne(words![
            "open",
            "--test-passphrase",
            "--key-file",
            &key,
            &image
        ]);
        assert_ne!(opened.code, Some(0));
        if let Some(cryptsetup) = Cryptsetup::or_skip("an erased volume") {
            let opened = cryptsetup.run(words![
                "open",
                "--test-passphrase",
                "--key-file",
                &key,
                &image
            ]);
            assert_ne!(opened.code, Some(0));
            let luks = cryptsetup.run(words!["isLuks", &image]);
            assert_eq!(luks.code, Some(0));
        }
        assert!(before[17 << 20..] == after[17 << 20..]);

        // What is erased already has nothing to try.
        let again = lucarne(words![
            "luksErase",
            "-q",
            "--evidence",
            scratch.path("second record"),
            "--key-file",
            &key,
            &image
        ]);
        assert_ne!(again.code, Some(0));
        assert!(!scratch.path("second record").exists());
        must(words![
            "luksErase",
            "-q",
            "--evidence",
            scratch.path("second record"),
            &image
        ]);
    }
}

#[test]
fn a_passphrase_is_optional_and_may_be_asked_for() {
    let scratch = Scratch::new();
    let header = scratch.path("header");
    let image = encrypted(
        &scratch,
        "image",
        &stream("erased", 10_000),
        &["--header", header.to_str().unwrap()],
    );
    let untouched = std::fs::read(&image).unwrap();
    let kept = scratch.copy(&header, "kept");
    let record = scratch.path("record");

    // A wrong one leaves all as it was.
    let mut line = words![
        "luksErase",
        "-q",
        "--header",
        &header,
        "--evidence",
        &record,
        "--try-passphrase",
        &image
    ]
    .to_vec();
    let wrong = lucarne_with_stdin(&line, b"wrong\n");
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(!record.exists());
    assert!(std::fs::read(&header).unwrap() == std::fs::read(&kept).unwrap());

    let piped = lucarne_with_stdin(&line, b"test passphrase\n");
    assert_eq!(piped.code, Some(0), "{}", piped.stderr);
    assert_eq!(json(&record)["passphrase"]["tried"], true);
    assert_eq!(json(&record)["header_device"], header.to_str().unwrap());
    assert!(std::fs::read(&image).unwrap() == untouched);

    // Without one the record says so. It replaces the old one, since --batch-mode allows that.
    std::fs::copy(&kept, &header).unwrap();
    line.retain(|word| word != "--try-passphrase");
    must(&line);
    assert_eq!(
        json(&record)["passphrase"],
        serde_json::json!({"tried": false, "opened_before": null, "opens_after": null})
    );
}

#[test]
fn mistakes_about_evidence_erase_nothing() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("erased", 10_000), &[]);
    scratch.file("there", b"an old record");
    scratch.file("wrong", b"wrong");
    std::fs::create_dir(scratch.path("folder")).unwrap();
    let before = std::fs::read(&image).unwrap();
    let names = scratch.names();
    for (words, code, line) in [
        (
            "luksErase --evidence @there @image",
            5,
            "--batch-mode replaces it",
        ),
        (
            "luksErase -q --evidence @image @image",
            5,
            "is the volume itself",
        ),
        (
            "luksErase -q --evidence @folder @image",
            4,
            "is a directory",
        ),
        (
            "luksErase -q --evidence @no/record @image",
            4,
            "No such file",
        ),
        ("luksErase -q --key-file @key @image", 1, "--evidence"),
        ("luksErase -q --keyfile-size 3 @image", 1, "--evidence"),
        ("luksErase -q --try-passphrase @image", 1, "--evidence"),
        (
            "luksErase -q --evidence @new --key-file @none @image",
            1,
            "key file",
        ),
        (
            "luksErase -q --evidence @new --key-file @wrong @image",
            2,
            "no keyslot accepts this key",
        ),
        (
            "luksErase -q --evidence @new @there",
            1,
            "not a LUKS volume",
        ),
        ("luksErase -q --evidence @new @none", 4, "No such file"),
    ] {
        let outcome = lucarne(common::header::in_folder(words, &scratch, &image));
        assert_refused(words, &outcome, code, line);
        assert_eq!(scratch.names(), names, "{words}");
    }
    assert!(std::fs::read(&image).unwrap() == before);
    assert_eq!(
        std::fs::read(scratch.path("there")).unwrap(),
        b"an old record"
    );
}

#[test]
fn wipe_overwrites_the_range_alone() {
    let scratch = Scratch::new();
    let old = vec![b'o'; 9_000_001];
    let disk = scratch.file("disk", &old);
    must(words![
        "wipe", "-q", "--offset", "1m", "--length", "5000001", &disk
    ]);
    let wiped = std::fs::read(&disk).unwrap();
    let (start, end) = (1 << 20, (1 << 20) + 5_000_001);
    assert!(wiped[..start] == old[..start] && wiped[end..] == old[end..]);
    assert_eq!(wiped.len(), old.len());
    let blocks: std::collections::HashSet<_> = wiped[start..end - 1].chunks_exact(16).collect();
    assert_eq!(blocks.len(), 5_000_000 / 16);

    must(words![
        "wipe",
        "-q",
        "--zero",
        "--offset",
        "7",
        "--threads",
        "1",
        &disk
    ]);
    let wiped = std::fs::read(&disk).unwrap();
    assert!(wiped[..7] == old[..7] && wiped[7..].iter().all(|&byte| byte == 0));
    assert_eq!(wiped.len(), old.len());

    let text = must(words!["wipe", "-q", "--progress-json", &disk]);
    let text = String::from_utf8(text).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["device_bytes"], "9000001");
}

#[test]
fn wipe_goes_on_where_it_was_interrupted() {
    use rustix::process::{Pid, Signal, kill_process};
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &vec![b'o'; 256 << 20]);
    let mut interrupted = 0;
    for delay in [5, 10, 20, 40, 80, 120] {
        let file = std::fs::OpenOptions::new().write(true).open(&disk).unwrap();
        for at in (0..256).step_by(8) {
            file.write_all_at(&[b'o'; 4096], at << 20).unwrap();
        }
        let mut child = common::command()
            .args(words!["wipe", "-q", "--zero", "--length", "256m", &disk])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
        if child.wait().unwrap().code() != Some(1) {
            continue;
        }
        // "...: interrupted; N bytes are overwritten, --offset N --length M goes on"
        let words: Vec<&str> = stderr.split(' ').collect();
        let of = |option: &str| words[words.iter().position(|word| *word == option).unwrap() + 1];
        let offset: usize = of("--offset").parse().unwrap();
        let done = std::fs::read(&disk).unwrap();
        assert!(done[..offset].iter().all(|&byte| byte == 0), "{stderr}");
        interrupted += usize::from(offset > 0);
        must(words![
            "wipe",
            "-q",
            "--zero",
            "--offset",
            of("--offset"),
            "--length",
            of("--length"),
            &disk
        ]);
        assert!(
            std::fs::read(&disk).unwrap().iter().all(|&byte| byte == 0),
            "{stderr}"
        );
    }
    assert!(interrupted > 0, "no run was interrupted on its way");
}

#[test]
fn wipe_spares_a_header_unless_it_is_told_not_to() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("wiped", 2 << 20), &[]);
    let luks1 = volume(&scratch, "luks1");
    for image in [&image, &luks1] {
        let before = std::fs::read(image).unwrap();
        for range in [
            &["--offset", "0"][..],
            &["--offset", "300k", "--length", "1"],
            &[],
        ] {
            let mut line = words!["wipe", "-q"].to_vec();
            line.extend(range.iter().map(OsString::from));
            line.push(image.into());
            let outcome = lucarne(line);
            assert_eq!(outcome.code, Some(1), "{range:?}: {}", outcome.stderr);
            assert!(
                outcome.stderr.contains("--destroy-luks-header"),
                "{}",
                outcome.stderr
            );
        }
        assert!(std::fs::read(image).unwrap() == before);
        must(words!["wipe", "-q", "--destroy-luks-header", image]);
        assert_eq!(lucarne(words!["isLuks", image]).code, Some(1));
    }
    // Behind the header it is not spared: that is what the verb is for.
    let image = encrypted(&scratch, "second", &stream("wiped", 2 << 20), &[]);
    must(words!["wipe", "-q", "--offset", "16m", &image]);
    must(words![
        "open",
        "--test-passphrase",
        "--key-file",
        key_file(&scratch),
        &image
    ]);
}

#[test]
fn mistakes_about_wipe_overwrite_nothing() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", &[b'o'; 10_000]);
    std::fs::create_dir(scratch.path("folder")).unwrap();
    scratch.file("empty", b"");
    for (words, code, line) in [
        ("wipe -q --offset 10001 @disk", 1, "is empty"),
        ("wipe -q --offset 10000 @disk", 1, "is empty"),
        ("wipe -q --length 0 @disk", 1, "is empty"),
        ("wipe -q --length 10001 @disk", 1, "past the end"),
        (
            "wipe -q --offset 1 --length 18446744073709551615 @disk",
            1,
            "--length",
        ),
        ("wipe -q --offset 1q @disk", 1, "--offset"),
        ("wipe -q @none", 4, "No such file"),
        ("wipe -q @folder", 4, "not a regular file"),
        ("wipe -q @empty", 1, "is empty"),
        ("wipe -q", 1, "<DEVICE>"),
        ("wipe -q --random @disk", 1, "unknown option"),
        ("wipe -q --force @disk", 1, "unknown option"),
    ] {
        let outcome = lucarne(common::header::in_folder(words, &scratch, &disk));
        assert_refused(words, &outcome, code, line);
        assert_eq!(std::fs::read(&disk).unwrap(), [b'o'; 10_000], "{words}");
    }
    // While another process holds it.
    let held = std::fs::File::open(&disk).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let outcome = lucarne(words!["wipe", "-q", &disk]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
}
