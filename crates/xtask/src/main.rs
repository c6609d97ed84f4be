//! Maker of fixtures, runner of tests: `cargo xtask --help`.
#![forbid(unsafe_code)]
// A program for a developer's terminal: it prints what it does, and stops where it cannot go on.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod aarch64;
mod command;
mod crash;
mod fixtures;
mod i686;
mod kernel_test;
mod nbd_interop;
mod no_c;
mod packages;
mod python;
mod sanitize;
mod speed;
mod suite;
mod weights;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "What is done to this repository besides building it"
)]
enum Task {
    /// Run every test: unit, property, conformance, differential, documentation, and the real kernel's
    Test(suite::Options),
    /// Boot a distribution kernel under emulation and have dm-crypt agree with us, both ways
    KernelTest(kernel_test::Options),
    /// Stop every change of a header at every write: torn at each 512 bytes, and with every subset of lost writes
    Crash,
    /// Boot the same kernel and see which headers of the corpus it activates, against the committed verdicts
    Validity(kernel_test::validity::Options),
    /// Run the sector ciphers' tests for aarch64 under emulation
    Aarch64Test(aarch64::Options),
    /// Check the library and run the format's tests for 32-bit x86
    I686Test,
    /// Run the tests of the crates with unsafe code under address sanitizer and memcheck
    Sanitize(sanitize::Options),
    /// Compare the sector ciphers' instructions with the record, and their speed with their limit
    Speed(speed::Options),
    /// Make the images of testdata/images with cryptsetup
    MakeFixtures(fixtures::Options),
    /// Make testdata/weights/tiny.safetensors
    MakeWeights,
    /// Run other projects' tests of NBD servers against ours
    NbdInterop(nbd_interop::Options),
    /// What those tests start in place of their server
    #[command(hide = true)]
    NbdStandIn(nbd_interop::stand_in::Options),
    /// Check that no crate of the default build compiles or links C
    NoC,
}

fn main() -> Result<ExitCode> {
    match Task::parse() {
        Task::Test(options) => suite::run(&options),
        Task::KernelTest(options) => kernel_test::run(&options),
        Task::Crash => crash::run_all(),
        Task::Validity(options) => kernel_test::validity::run(&options),
        Task::Aarch64Test(options) => aarch64::run(&options),
        Task::I686Test => i686::run(),
        Task::Sanitize(options) => sanitize::run(&options),
        Task::Speed(options) => speed::run(&options),
        Task::MakeFixtures(options) => fixtures::run(&options),
        Task::MakeWeights => weights::run(),
        Task::NbdInterop(options) => nbd_interop::run(&options),
        Task::NbdStandIn(options) => return nbd_interop::stand_in::run(&options),
        Task::NoC => no_c::run(),
    }?;
    Ok(ExitCode::SUCCESS)
}
