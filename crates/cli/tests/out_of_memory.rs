//! Memory that Argon2 asks for and cannot have is an error with cryptsetup's exit code, not an abort.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{key_file, must, words};
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;

/// What the process may map, in KiB: enough for itself and its threads.
const ADDRESS_SPACE_KIB: &str = "600000";

/// A volume whose keyslot takes so much memory.
fn volume(scratch: &Scratch, memory_kib: &str) -> std::path::PathBuf {
    let image = scratch.file(memory_kib, &vec![0; 32 << 20]);
    must(words![
        "luksFormat",
        "--batch-mode",
        "--pbkdf",
        "argon2id",
        "--pbkdf-memory",
        memory_kib,
        "--pbkdf-force-iterations",
        "4",
        "--pbkdf-parallel",
        "2",
        "--key-file",
        key_file(scratch),
        &image,
    ]);
    image
}

fn open_within_limit(scratch: &Scratch, image: &Path) -> Outcome {
    let command = format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"");
    run(
        Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_lucarne")])
            .args(["open", "--test-passphrase", "--key-file"])
            .arg(key_file(scratch))
            .arg(image),
        b"",
    )
}

#[test]
fn a_keyslot_that_takes_more_memory_than_there_is_ends_with_3() {
    let scratch = Scratch::new();
    let outcome = open_within_limit(&scratch, &volume(&scratch, "32"));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);

    let outcome = open_within_limit(&scratch, &volume(&scratch, "614400"));
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(
        outcome
            .stderr
            .contains("out of memory: 614400 KiB for the key derivation cannot be had"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}
