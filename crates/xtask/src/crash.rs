//! Power cuts at every write, all of them: what the ordinary tests do with a sample.

use anyhow::Result;

use crate::command::{cargo, run};

/// The tests that look at LUCARNE_TEST_CRASH.
const TESTS: [&str; 7] = [
    "editor_crash",
    "luks1_editor_crash",
    "restore_crash",
    "convert",
    "luks1_restore_crash",
    "rekey",
    "reencrypt_crash",
];

pub(crate) fn run_all() -> Result<()> {
    for test in TESTS {
        let words = [
            "test",
            "--profile",
            "suite",
            "-p",
            "lucarne",
            "--test",
            test,
            "--",
            "--nocapture",
        ];
        run(cargo(words).env("LUCARNE_TEST_CRASH", "all"))?;
    }
    Ok(())
}
