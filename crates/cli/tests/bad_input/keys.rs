//! Keys that open nothing, and key files that are too short.

use lucarne_testkit::payload::{sha256_hex_of_file, stream};
use lucarne_testkit::scratch::Scratch;

use crate::common::folder::{self, ours, read};
use crate::common::{self, CHEAP, Findings, assert_refused, encrypted, lucarne_with_stdin, words};

#[test]
fn wrong_keys_change_nothing() {
    let scratch = Scratch::new();
    let image = common::encrypted(&scratch, "image", &stream("keys", 10_000), &[]);
    let before = sha256_hex_of_file(&image);
    let wrong = scratch.file("wrong", b"wrong");
    let short_volume_key = scratch.file("short-volume-key", &[7; 32]);
    let wrong_volume_key = scratch.file("wrong-volume-key", &[7; 64]);
    let mut findings = Findings::default();
    for (options, code) in [
        (words!["--key-file", &wrong].to_vec(), 2),
        (words!["--key-file", scratch.path("missing")].to_vec(), 1),
        (words!["--volume-key-file", &wrong_volume_key].to_vec(), 2),
        (words!["--volume-key-file", &short_volume_key].to_vec(), 1),
        (
            words!["--volume-key-file", scratch.path("missing")].to_vec(),
            1,
        ),
    ] {
        for (verb, further) in [
            ("decrypt", words![scratch.path("out")].to_vec()),
            ("read", vec![]),
            ("write", vec![]),
        ] {
            findings.case();
            let mut arguments = words![verb].to_vec();
            arguments.extend(options.iter().cloned());
            arguments.push((&image).into());
            arguments.extend(further);
            let outcome = lucarne_with_stdin(&arguments, b"data");
            findings.equal(
                &format!("{verb} {options:?} ({})", outcome.stderr.trim()),
                &outcome.code,
                &Some(code),
            );
            findings.check(outcome.stdout.is_empty(), || {
                format!("{verb} {options:?} printed")
            });
            findings.check(outcome.stderr.lines().count() == 1, || {
                format!("{verb} {options:?}: {:?}", outcome.stderr)
            });
        }
    }
    findings.equal("image", &sha256_hex_of_file(&image), &before);
    findings.check(!scratch.path("out").exists(), || {
        "an OUT was left".to_owned()
    });
    findings.finish();
}

/// Offset and size of the old key file and of the new one are options of their own, and so are their errors.
#[test]
fn the_option_that_was_given_is_named() {
    let scratch = Scratch::new();
    encrypted(&scratch, "image", b"with one key", &["--no-length"]);
    scratch.file("short", b"0123456789");
    let before = read(&scratch, "image");
    let cheap = CHEAP.join(" ");
    for verb in ["luksAddKey", "luksChangeKey"] {
        for (options, says) in [
            (
                "--key-file @key --new-keyfile-size 11 @image @short",
                "short: has 10 bytes to read, --new-keyfile-size wants 11",
            ),
            (
                "--key-file @key --new-keyfile-offset 11 @image @short",
                "short: has 10 bytes, --new-keyfile-offset skips 11",
            ),
            (
                "--key-file @key --new-keyfile-offset 8 --new-keyfile-size 3 @image @short",
                "has 2 bytes to read, --new-keyfile-size wants 3",
            ),
            (
                "--key-file @short --keyfile-size 11 @image @key",
                "short: has 10 bytes to read, --keyfile-size wants 11",
            ),
            (
                "--key-file @short --keyfile-offset 11 @image @key",
                "short: has 10 bytes, --keyfile-offset skips 11",
            ),
        ] {
            let line = format!("{verb} -q {cheap} {options}");
            assert_refused(&line, &ours(&scratch, &line), 1, says);
            assert!(read(&scratch, "image") == before, "{line}");
        }
        // From a pipe nothing can be known before it is read.
        for (options, says) in [
            (
                "--new-keyfile-size 7",
                "has 3 bytes to read, --new-keyfile-size wants 7",
            ),
            (
                "--new-keyfile-offset 9",
                "has 3 bytes, --new-keyfile-offset skips 9",
            ),
        ] {
            let line = format!("{verb} -q {cheap} --key-file @key {options} @image -");
            let outcome = lucarne_with_stdin(folder::words(&scratch, &line), b"new");
            assert_refused(&line, &outcome, 1, says);
            assert!(read(&scratch, "image") == before, "{line}");
        }
    }
    let line = format!(
        "rekey -q {cheap} --key-file @key --new-keyfile @short --new-keyfile-size 11 @image @out"
    );
    assert_refused(
        &line,
        &ours(&scratch, &line),
        1,
        "--new-keyfile-size wants 11",
    );
    assert!(!scratch.path("out").exists());
}
