//! libnbd's own tests (`make check`), which start nbdkit and qemu-nbd.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::outcome::{Ended, Events, Exception, Findings, Ran};
use super::{Bench, stand_in};
use crate::command::{output, run as run_command};

/// The folders with tests that start a server.
const FOLDERS: [&str; 6] = ["tests", "interop", "info", "copy", "dump", "fuse"];
/// So long a test may take.
const LIMIT_S: &str = "120";
/// What must pass at least, of version 1.14 as of 1.22.
const PASSED_MIN: usize = 60;

/// Tests are compiled with the options of their server, and have it call its export what no file can be called.
const NAMES: [(&str, &str); 2] = [
    (r#""-x", "/""#, r#""-x", "disk""#),
    (r#"EXPORT_NAME='"/"'"#, r#"EXPORT_NAME='"disk"'"#),
];

/// Tests of what a server of ours does not have.
const EXCEPTIONS: [Exception; 7] = [
    Exception {
        test: "tests/errors-server-zerosize",
        says: "zero-size nbd_aio_pread did not fail at server",
        why: "expects nbdkit's error for a read of no bytes: the protocol leaves that open, and here it succeeds",
    },
    Exception {
        test: "tests/connect-tcp6",
        says: "::1",
        why: "nbdkit listens on IPv4 and IPv6 at once, ours on the one address that it is given",
    },
    Exception {
        test: "interop/structured-read.sh",
        says: "read_cb: Assertion `buf == rbuf + 512' failed",
        why: "expects a chunk of its own for a hole of 512 bytes, as qemu-nbd has it; ours sends its zeros",
    },
    Exception {
        test: "interop/interop-",
        says: "backing file was not updated after write + flush",
        why: "passes up to its last step, which looks for the plaintext in the image",
    },
    Exception {
        test: "info/info-null.sh",
        says: "grep 'export-size: 0$'",
        why: NO_BYTES,
    },
    Exception {
        test: "info/info-map-base-allocation-zero.sh",
        says: "",
        why: NO_BYTES,
    },
    Exception {
        test: "fuse/test-nbdkit-file-null.sh",
        says: "test '!' -s",
        why: NO_BYTES,
    },
];
const NO_BYTES: &str = "expects a disk of no bytes, which no volume is";

/// Unpacks and builds it.
pub(super) fn built(bench: &Bench) -> Result<PathBuf> {
    let source = (bench.sources).unpack_newest("libnbd", Some(&bench.newer), &bench.target)?;
    let stamp = source.join("built");
    if !stamp.exists() {
        let mut configure = Command::new("./configure");
        for language in ["ocaml", "python", "golang", "rust"] {
            configure.arg(format!("--disable-{language}"));
        }
        configure.args(["--disable-static", "--quiet"]);
        run_command(configure.current_dir(&source))?;
        let makefile = source.join("interop/Makefile");
        let mut text = std::fs::read_to_string(&makefile)?;
        for (name, other) in NAMES {
            text = text.replace(name, other);
        }
        std::fs::write(&makefile, text)?;
        run_command(make(&source).args(["-s", "-j2"]))?;
        std::fs::write(&stamp, "")?;
    }
    Ok(source)
}

pub(super) fn run(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let source = built(bench)?;
    let version = source.file_name().context("no folder")?.to_string_lossy();
    for folder in FOLDERS {
        let dir = source.join(folder);
        // What the tests are made of, without running any.
        run_command(make(&dir).args(["-s", "-j2", "check", "TESTS="]))?;
        let names = output(make(&dir).args(["-s", "--eval", "names: ; @echo $(TESTS)", "names"]))?;
        for name in names.split_whitespace() {
            let full_name = format!("{folder}/{name}");
            if bench.wants(&full_name) {
                let ran = test(bench, &dir, name)?;
                findings.add(&version, &full_name, ran, &EXCEPTIONS)?;
            }
        }
    }
    findings.expect(&version, PASSED_MIN);
    Ok(())
}

fn make(dir: &Path) -> Command {
    let mut make = Command::new("make");
    make.current_dir(dir);
    make
}

/// Runs one test as `make check` would.
fn test(bench: &Bench, dir: &Path, name: &str) -> Result<Ran> {
    let events = Events::begin(bench.scratch.path())?;
    let mut check = Command::new("timeout");
    check.args(["-k", "5", LIMIT_S, "make", "-s", "check-TESTS"]);
    check.arg(format!("TESTS={name}"));
    check.current_dir(dir).env("PATH", bench.search_path()?);
    check.env(stand_in::EVENTS, events.path());
    let result = dir.join(format!("{name}.trs"));
    // That of an earlier run says nothing.
    let _ = std::fs::remove_file(&result);
    events.watch(&mut check, &bench.scratch.path().join("make.log"))?;
    let result = std::fs::read_to_string(result).unwrap_or_default();
    let log = std::fs::read(dir.join(format!("{name}.log"))).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    let said = result
        .lines()
        .find_map(|line| line.strip_prefix(":test-result: "));
    let ended = match said {
        Some("PASS") => Ended::Passed,
        Some("SKIP") => Ended::Skipped(reason(&log, dir)),
        _ => Ended::Failed,
    };
    Ok(Ran { ended, events, log })
}

/// Why a test skips itself: the last thing that it says, before a shell's traces and automake's verdict.
fn reason(log: &str, dir: &Path) -> String {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('+') && !line.starts_with("SKIP "))
        .filter(|line| !line.contains("run cleanup hooks"))
        .collect();
    let said = &lines[lines.len().saturating_sub(2)..];
    let dir = format!("{}/", dir.display());
    said.join("; ").replace(&dir, "")
}
