//! Programs of others.

use std::ffi::OsString;
use std::process::Command;

use lucarne_testkit::peers;
use lucarne_testkit::process::{Outcome, run};

/// Whether these programs are there; says so if not.
pub(crate) fn have(what: &str, programs: &[&str]) -> bool {
    let missing = (programs.iter()).find(|program| peers::locate(program).is_none());
    if let Some(missing) = missing {
        peers::skipped(what, missing);
    }
    missing.is_none()
}

/// Runs one.
pub(crate) fn peer(program: &str, arguments: &[OsString]) -> Outcome {
    run(
        Command::new(peers::locate(program).unwrap()).args(arguments),
        b"",
    )
}

/// Runs one that must succeed; what it said.
pub(crate) fn must_peer(program: &str, arguments: &[OsString]) -> String {
    let outcome = peer(program, arguments);
    let (stdout, stderr) = (outcome.text(), outcome.stderr);
    assert_eq!(
        outcome.code,
        Some(0),
        "{program} {arguments:?}: {stdout} {stderr}"
    );
    stdout
}
