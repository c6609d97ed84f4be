//! The tests of the crates with unsafe code, under the checkers of memory that can be had.
//!
//! - Address sanitizer, with a nightly compiler: all of their tests, every kernel of this CPU.
//! - Miri, where the nightly toolchain has it: the ciphers' portable path, which is all that it can run.
//! - Valgrind's memcheck, which also knows what was never written: the unit tests of the ciphers, the vectors and the
//!   guard pages, on the kernels that it can run (portable and AES-NI).

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lucarne_testkit::workspace_root;

use crate::command::{cargo, command, output, run as run_command};
use crate::packages::{self, Program};

const VALGRIND: Program = Program {
    name: "valgrind",
    package: "valgrind",
};
/// What a crate says at the head of the one module that may be unsafe.
const MARK: &str = "allow(unsafe_code)]";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install nothing: what is missing is skipped
    #[arg(long)]
    no_install: bool,
    /// Leave out memcheck
    #[arg(long)]
    no_memcheck: bool,
}

/// Runs what can be run, and says what cannot be.
pub(crate) fn run(options: &Options) -> Result<()> {
    let crates = crates_with_unsafe_code()?;
    ensure!(
        crates.iter().any(|name| name == "lucarne-cipher"),
        "no unsafe code found in the ciphers: {crates:?}"
    );
    address_sanitizer(&crates)?;
    miri()?;
    if options.no_memcheck {
        println!("skipped: memcheck (--no-memcheck)");
        return Ok(());
    }
    let outcome = packages::require(&[VALGRIND], !options.no_install)?;
    if outcome.missing.is_empty() {
        memcheck()
    } else {
        println!("skipped: memcheck (valgrind is missing: {})", outcome.why);
        Ok(())
    }
}

fn address_sanitizer(crates: &[String]) -> Result<()> {
    let Ok(version) = output(nightly("rustc").arg("-vV")) else {
        println!("skipped: address sanitizer (it takes a nightly toolchain, and rustup has none)");
        return Ok(());
    };
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names its host")?;
    let mut tests = nightly("cargo");
    // Without a target of its own, build scripts and macros would get the sanitizer too. Documentation tests are
    // built by rustdoc, and run no unsafe code that the others do not.
    tests.args([
        "test",
        "--lib",
        "--tests",
        "--target",
        host,
        "--target-dir",
        "target/sanitize",
    ]);
    for name in crates {
        tests.args(["-p", name]);
    }
    tests.env("RUSTFLAGS", "-Zsanitizer=address");
    // A test touches a guard page to see that it dies of the signal.
    tests.env("ASAN_OPTIONS", "handle_segv=0");
    run_command(&mut tests)?;
    println!("address sanitizer found nothing in {}", crates.join(", "));
    Ok(())
}

fn miri() -> Result<()> {
    if output(nightly("cargo").args(["miri", "--version"])).is_err() {
        println!("skipped: Miri (rustup component add miri rust-src --toolchain nightly)");
        return Ok(());
    }
    let mut tests = nightly("cargo");
    // A big-endian machine without any kernel of ours: nothing that Miri could not run is asked for.
    tests.args([
        "miri",
        "test",
        "-p",
        "lucarne-cipher",
        "--target-dir",
        "target/miri",
    ]);
    tests.args(["--target", "s390x-unknown-linux-gnu"]);
    tests.args(["--lib", "--test", "ieee_1619", "--test", "kernels", "--"]);
    // A chain of 256 data units takes minutes there.
    tests.args(["--skip", "vectors_5_to_9"]);
    // Proptest looks for its files of failures.
    tests.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    tests.env("PROPTEST_CASES", "4");
    tests.env("LUCARNE_EXPECT_KERNELS", "portable");
    run_command(&mut tests)?;
    println!("Miri found nothing in the portable path of lucarne-cipher");
    Ok(())
}

fn memcheck() -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: memcheck (its kernels are those of Linux on x86-64)");
        return Ok(());
    }
    let mut tests = cargo(["test", "-p", "lucarne-cipher", "--lib"]);
    for name in ["guard_pages", "ieee_1619", "kernels"] {
        tests.args(["--test", name]);
    }
    tests.env(
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
        "valgrind --quiet --error-exitcode=9",
    );
    tests.env("LUCARNE_EXPECT_KERNELS", "aesni,portable");
    run_command(&mut tests)?;
    println!("memcheck found nothing in lucarne-cipher");
    Ok(())
}

/// A program of the nightly toolchain.
fn nightly(program: &str) -> Command {
    command("rustup", ["run", "nightly", program])
}

/// The packages of `crates/` that allow unsafe code anywhere.
fn crates_with_unsafe_code() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(workspace_root().join("crates"))? {
        let folder = entry?.path();
        let manifest = folder.join("Cargo.toml");
        if manifest.exists() && has_mark(&folder.join("src"))? {
            let text = std::fs::read_to_string(&manifest)?;
            let name = text
                .lines()
                .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
                .with_context(|| format!("{}: no name", manifest.display()))?;
            names.push(name.to_owned());
        }
    }
    names.sort();
    // This file has the mark as well, and no unsafe code.
    names.retain(|name| name != env!("CARGO_PKG_NAME"));
    Ok(names)
}

fn has_mark(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has_mark(&path)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && std::fs::read_to_string(&path)?.contains(MARK)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_that_allow_unsafe_code_are_found_and_others_are_not() {
        let found = crates_with_unsafe_code().expect("the sources can be read");
        for name in ["lucarne-cipher", "lucarne-secret"] {
            assert!(found.iter().any(|found| found == name), "{name}: {found:?}");
        }
        for name in ["lucarne-format", "lucarne-cli"] {
            assert!(found.iter().all(|found| found != name), "{name}: {found:?}");
        }
    }
}
