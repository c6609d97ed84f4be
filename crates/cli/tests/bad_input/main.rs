//! What is wrong with files, headers, keys and places: one line that names it, cryptsetup's exit code, and everything
//! left as it was.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod damages;
mod files;
mod headers;
mod keys;
mod options;
mod places;

use std::path::Path;

use common::Findings;
use lucarne_testkit::process::Outcome;

/// A header of the tests: 16 KiB copies, one keyslot, data at 1 MiB.
const LAYOUT: [&str; 6] = [
    "--luks2-keyslots-size",
    "512k",
    "--offset",
    "2048",
    "--key-size",
    "256",
];
const HEADER_LEN: usize = 16 << 10;
const DATA_OFFSET: usize = 1 << 20;

/// One line that names the file, lower case, no full stop at its end.
fn one_line(what: &str, outcome: &Outcome, file: &Path, findings: &mut Findings) {
    if outcome.code == Some(0) {
        return;
    }
    let text = &outcome.stderr;
    // isLuks answers by its exit code alone where the file is there and is no volume.
    if text.is_empty() && outcome.stdout.is_empty() && what.contains("isLuks") {
        return;
    }
    let name = file
        .file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy();
    findings.check(
        text.lines().count() == 1 && !text.trim_end().ends_with('.'),
        || format!("{what}: not one line without a full stop: {text:?}"),
    );
    findings.check(text.contains(&*name), || {
        format!("{what}: the error does not name {name}: {}", text.trim())
    });
}
