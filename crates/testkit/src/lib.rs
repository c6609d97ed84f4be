//! Test material shared by the crates of the workspace (unpublished).
//!
//! | module | what it holds |
//! |---|---|
//! | [`vectors`] | the images of `testdata/images`, each with the text file that describes it |
//! | [`ground_truth`] | larger images made through the kernel's dm-crypt, where a folder of them is at hand |
//! | [`half_reencrypted`] | volumes in the midst of a re-encryption, from `testdata/half-reencrypted` |
//! | [`raw_vectors`] | sectors written through dm-crypt with no header, from the same folder |
//! | [`cryptsetup`] | the installed cryptsetup, run on plain files |
//! | [`luks2`] | a second, deliberately naive reading of the LUKS2 header, to inspect and to damage it |
//! | [`luks1`] | the same of the LUKS1 header |
//! | [`payload`] | reproducible plaintext and its hashes |
//! | [`process`] | running a program and keeping all that it leaves behind |
//! | [`scratch`] | temporary files, sparse where they are zero |
//! | [`validity`] | LUKS2 headers with one rule of the format broken, or nearly broken |
//!
//! Nothing here uses the crates under test: an oracle that shares their code would share their faults.
#![forbid(unsafe_code)]
// A test's material has no caller that could recover: it fails the test at the line that asked.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

pub mod cryptsetup;
pub mod ground_truth;
pub mod half_reencrypted;
pub mod luks1;
pub mod luks2;
pub mod payload;
pub mod peers;
pub mod process;
pub mod raw_vectors;
pub mod scratch;
pub mod validity;
pub mod vectors;

use std::path::PathBuf;

/// The root of the checkout.
pub fn workspace_root() -> PathBuf {
    let manifest_dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest_dir
        .ancestors()
        .nth(2)
        .expect("the crate lies in crates/testkit")
        .to_path_buf()
}

/// The folder `testdata` of the checkout.
pub fn testdata() -> PathBuf {
    workspace_root().join("testdata")
}
