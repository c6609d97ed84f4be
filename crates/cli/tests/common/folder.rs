//! Command lines about files of a scratch folder.

use std::ffi::OsString;

use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;

use super::lucarne;

/// Words of a command line; `@name` stands for a file of the folder.
pub(crate) fn words(scratch: &Scratch, line: &str) -> Vec<OsString> {
    line.split_whitespace()
        .map(|word| match word.strip_prefix('@') {
            Some(name) => scratch.path(name).into(),
            None => word.into(),
        })
        .collect()
}

pub(crate) fn ours(scratch: &Scratch, line: &str) -> Outcome {
    lucarne(words(scratch, line))
}

/// Fails the test unless it succeeds; its standard output.
pub(crate) fn done(scratch: &Scratch, line: &str) -> String {
    let outcome = ours(scratch, line);
    assert_eq!(outcome.code, Some(0), "{line}: {}", outcome.stderr);
    outcome.text()
}

pub(crate) fn read(scratch: &Scratch, name: &str) -> Vec<u8> {
    std::fs::read(scratch.path(name)).expect("the file is there")
}
