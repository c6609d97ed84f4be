//! What encryption costs a model-weight workload: measured on this machine, with these weights, and explained.
//!
//! ```no_run
//! use lucarne_overhead::{Control, Depth, Model, Options, Run, Weights};
//!
//! let run = Run::new(Options {
//!     dir: ".".into(),
//!     weights: Weights::Generated { model: Model::Small, len_bytes: 1 << 30 },
//!     threads: 2,
//!     depth: Depth::Quick,
//!     doors: None,
//! })?;
//! println!("about {:?}, {} bytes of disk", run.plan().time, run.plan().disk_bytes);
//! let outcome = run.measure(&Control::default())?;
//! println!("{}", lucarne_overhead::verdict::answer(&outcome).headline);
//! # Ok::<(), lucarne_overhead::Error>(())
//! ```
//!
//! How it measures:
//!
//! - Real safetensors files, bare and in volumes made by the library, in files without a name: nothing is left behind
//!   whatever ends the process.
//! - What is compared takes turns, every round begun by another ([`measure`]); a ratio is of two turns of one round.
//! - Through NBD and FUSE the bare file is served by the same server as the volume ([`door`]).
//! - Ratios are medians with a distribution-free 95 % interval ([`stats`]); one that is wider than a tenth is called
//!   noisy.
//! - The bare file is held against itself too: how far that is from 1 is what the machine allows to be seen.
//! - The tool's own share of every figure (handing out requests, starting threads) is measured with nothing read.
//! - Before anything is timed, the volume's plaintext is compared with the file, every kernel's.
//! - Memory that is loaded into was touched before: what a loader pays for fresh memory is the same with and without
//!   encryption, and would only hide the difference.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod door;
pub mod measure;
pub mod plan;
pub mod report;
pub mod source;
pub mod stats;
pub mod verdict;
pub mod weights;

mod bench;
mod control;
mod error;
mod files;
mod machine;
mod outcome;
#[cfg(test)]
mod planted;
mod random;
mod requests;
mod run;
mod space;
#[cfg(test)]
mod synthetic;
mod unlock;
mod work;

pub use control::Control;
pub use door::{Door, Doors};
pub use error::Error;
pub use machine::Machine;
pub use outcome::{CaseResult, GIB, Measured, Outcome, Staging, Unlock};
pub use plan::Depth;
pub use run::{LEAST_LEN_BYTES, Options, Run, Weights};
pub use weights::Model;
