//! A process of its own: an undumpable one may not read its `/proc/self`, which other tests do.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use rustix::process::{DumpableBehavior, dumpable_behavior};

#[test]
fn the_kernel_reports_the_process_as_undumpable() {
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
    lucarne_secret::make_process_undumpable().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}
