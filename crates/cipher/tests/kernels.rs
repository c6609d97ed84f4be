//! That tests of "every kernel" run those that the machine should have.
#![allow(clippy::print_stderr)]

use lucarne_cipher::Kernel;

/// The names expected, `armv8,portable`; set where a run would mean nothing without them.
const EXPECTED: &str = "LUCARNE_EXPECT_KERNELS";

#[test]
fn the_kernels_are_those_expected() {
    let names: Vec<_> = Kernel::available().map(Kernel::name).collect();
    match std::env::var(EXPECTED) {
        Ok(expected) => assert_eq!(names.join(","), expected),
        Err(_) => eprintln!("skipped: {EXPECTED} is not set; the kernels are {names:?}"),
    }
}
