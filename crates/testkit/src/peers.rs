//! Programs of others that tests compare with.

use std::path::PathBuf;

/// Set (to anything) where a missing peer must fail a test rather than skip it.
pub const REQUIRE_PEERS: &str = "LUCARNE_REQUIRE_PEERS";

/// The path of a program: in `PATH`, `/usr/sbin` or `/sbin`.
pub fn locate(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// Says on standard error that a test did not run, and why.
///
/// # Panics
/// If [`REQUIRE_PEERS`] is set and the reason is a missing program.
pub fn skipped(what: &str, missing: &str) {
    assert!(
        std::env::var_os(REQUIRE_PEERS).is_none(),
        "{what}: {missing} is not installed, and {REQUIRE_PEERS} is set"
    );
    eprintln!("skipped: {what}: {missing} is not installed");
}

/// Says on standard error that a test did not run, where something else is missing than a program: a right, a device.
pub fn not_run(what: &str, why: &str) {
    eprintln!("skipped: {what}: {why}");
}
