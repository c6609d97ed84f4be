//! Options whose values make no volume.

use std::ffi::OsString;

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;

use crate::common::{CHEAP, for_each, key_file, lucarne, words};

/// Options that luksFormat refuses, with cryptsetup's exit code, before it has touched the file.
#[test]
fn options_that_make_no_volume() {
    let cryptsetup = Cryptsetup::or_skip("exit codes of luksFormat");
    let cases: Vec<Vec<&str>> = [
        "--sector-size 1000",
        "--sector-size 8192",
        "--sector-size 0",
        "--key-size 100",
        "--key-size 1024",
        "--cipher nonsense",
        "--cipher aes-nonsense-plain64",
        "--hash nonsense",
        "--pbkdf nonsense",
        "--pbkdf-memory 0",
        "--pbkdf-memory 31 --pbkdf-force-iterations 4",
        "--pbkdf-memory 4194305",
        "--pbkdf-parallel 0",
        "--pbkdf-parallel 5",
        "--pbkdf argon2id --pbkdf-force-iterations 3 --pbkdf-memory 32",
        "--pbkdf pbkdf2 --pbkdf-force-iterations 999",
        "--luks2-metadata-size 17k",
        "--luks2-metadata-size 8k",
        "--luks2-metadata-size 8m",
        "--luks2-keyslots-size 1",
        "--luks2-keyslots-size 256m",
        "--offset 7",
        "--offset 1",
        "--offset 8",
        "--offset 99999999",
        "--offset -1",
        "--align-payload 7 --offset 8",
        "--uuid nonsense",
        "--key-slot 32",
        "--key-slot -2",
        "--key-slot x",
        "--keyslot-cipher nonsense --keyslot-key-size 256",
        "--keyslot-key-size 100",
        "--type luks9",
        "--type plain",
        "--iter-time x",
        "--no-such-option",
        "--keyfile-size 4",
        "--keyfile-offset 100",
        "--keyfile-size 9m",
    ]
    .iter()
    .map(|words| words.split(' ').collect())
    .collect();
    for_each(&cases, |options, findings| {
        let scratch = Scratch::new();
        let key = scratch.file("key", b"key");
        let bytes = stream("precious", 32 << 20);
        let mut arguments = words!["luksFormat", "--batch-mode", "--key-file", &key].to_vec();
        if !options.contains(&"--pbkdf")
            && !options
                .iter()
                .any(|word| word.starts_with("--pbkdf-") || word.starts_with("--iter"))
        {
            arguments.extend(CHEAP.iter().map(OsString::from));
        } else if !options.contains(&"--pbkdf-force-iterations")
            && !options.contains(&"--iter-time")
        {
            arguments.extend(words!["--iter-time", "20"]);
        }
        arguments.extend(options.iter().map(OsString::from));
        let with = |name: &str| {
            let mut arguments = arguments.clone();
            arguments.push(scratch.file(name, &bytes).into());
            arguments
        };
        let ours = lucarne(with("ours"));
        if let Some(cryptsetup) = &cryptsetup {
            let theirs = cryptsetup.run(with("theirs"));
            findings.check(ours.code == theirs.code, || {
                format!(
                    "luksFormat {options:?}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                    ours.code,
                    ours.stderr.trim(),
                    theirs.code,
                    theirs.stderr.trim()
                )
            });
        }
        if ours.code != Some(0) {
            findings.check(
                std::fs::read(scratch.path("ours")).unwrap() == bytes,
                || format!("luksFormat {options:?} failed and changed the file"),
            );
            findings.check(!ours.stderr.trim().is_empty(), || {
                format!("luksFormat {options:?} says nothing")
            });
        }
    });
}

/// Labels that do not fit: cryptsetup cuts them short without a word.
#[test]
fn labels_too_long() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let device = scratch.zeros("device", 32 << 20);
    let long = "x".repeat(48);
    for option in ["--label", "--subsystem"] {
        let outcome = lucarne(words![
            "luksFormat",
            "--batch-mode",
            "--key-file",
            &key,
            option,
            &long,
            &device
        ]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("48") && outcome.stderr.contains("47"),
            "{}",
            outcome.stderr
        );
        assert!(
            std::fs::read(&device)
                .unwrap()
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}
