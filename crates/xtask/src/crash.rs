//! Power cuts at every write, all of them, and kills: what the ordinary tests do with a sample.

use anyhow::Result;

use crate::command::{cargo, run};

/// The tests that look at one of these.
const ALL: [(&str, &str); 3] = [
    ("LUCARNE_TEST_CRASH", "all"),
    ("LUCARNE_TEST_FORGED", "all"),
    ("LUCARNE_TEST_CASES", "500"),
];
const TESTS: [&str; 10] = [
    "editor_crash",
    "luks1_editor_crash",
    "restore_crash",
    "convert",
    "luks1_restore_crash",
    "rekey",
    "reencrypt_crash",
    "reencrypt_modes_crash",
    "reencrypt_forged",
    "reencrypt_model",
];

/// Kills, and not power cuts.
const ROUNDS: &str = "200";

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
        run(cargo(words).envs(ALL))?;
    }
    let words = [
        "test",
        "--profile",
        "suite",
        "-p",
        "lucarne-cli",
        "--test",
        "reencrypt_kills",
        "--",
        "--nocapture",
    ];
    run(cargo(words).env("LUCARNE_TEST_KILLS", ROUNDS))
}
