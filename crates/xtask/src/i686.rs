//! The format's tests on a target whose addresses have 32 bits, where sums and casts overflow that do not elsewhere.
//!
//! Rust's own linker and its musl make programs that an x86-64 Linux runs as they are: no package is installed, no
//! emulator needed.

use anyhow::Result;

use crate::command::{cargo, command, output, run as run_command};

const TARGET: &str = "i686-unknown-linux-musl";

/// Type-checks the library and runs the format's tests, or says why that cannot be.
pub(crate) fn run() -> Result<()> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: the tests for {TARGET} (they run on Linux on x86-64)");
        return Ok(());
    }
    if !has_target() {
        println!("skipped: the tests for {TARGET} (rustup target add {TARGET})");
        return Ok(());
    }
    let on_target = |words: &[&str]| {
        let mut cargo = cargo(words);
        cargo.args(["--target", TARGET, "--target-dir", "target/i686"]);
        cargo.env("CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
        cargo
    };
    run_command(&mut on_target(&["check", "-p", "lucarne"]))?;
    run_command(&mut on_target(&[
        "test",
        "-p",
        "lucarne-format",
        "--no-fail-fast",
    ]))
}

fn has_target() -> bool {
    let folder = output(&mut command(
        "rustc",
        ["--print", "target-libdir", "--target", TARGET],
    ));
    folder.is_ok_and(|folder| std::path::Path::new(folder.trim()).is_dir())
}
