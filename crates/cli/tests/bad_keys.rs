//! Mistakes with keys and key files: each is named by what the command line said, and changes nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::folder::{self, ours, read};
use common::{CHEAP, assert_refused, encrypted, lucarne_with_stdin};
use lucarne_testkit::scratch::Scratch;

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
