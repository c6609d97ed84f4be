//! `overhead`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::KernelArgs;
use crate::size;

const EXAMPLES: &str = "\
Examples:
  lucarne overhead
  lucarne overhead --dir /mnt/models --size 4G --report overhead.html
  lucarne overhead --weights model.safetensors --json

Makes safetensors files (or takes yours, which it only reads), encrypts them, and loads and writes
both in turns: from the disk, out of the page cache, by system calls, by a mapping, past the page
cache, tensor by tensor, with one thread and with all; then through NBD and FUSE, where those exist. The answer comes first, with its interval;
then which part saturates, what would change it, and every figure with its runs and its spread.
What disk, memory and time it takes is said before it begins, and refused if it is not there. The
files have no names: nothing stays behind, whatever ends the run.";

/// What `lucarne_overhead::report::json` makes.
const JSON: &str = "

The object that --json prints is described by crates/overhead/SCHEMA.md; its members keep their
names and meanings within a version, and the first is version.";

/// Whose tensors are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelName {
    /// Qwen2.5-0.5B
    Small,
    /// Llama-2-7B
    #[value(name = "7b")]
    SevenB,
    /// Llama-2-70B
    #[value(name = "70b")]
    SeventyB,
}

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThroughName {
    /// In process
    Library,
    /// A client of the NBD server
    Nbd,
    /// A file that FUSE shows
    Fuse,
}

/// `overhead`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = [EXAMPLES, JSON].concat())]
pub(crate) struct OverheadArgs {
    /// The storage to measure: a directory there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,

    /// How long the checkpoint is that is made
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size::bytes, conflicts_with = "weights")]
    pub(crate) size: u64,

    /// Whose tensors it has, scaled to --size: those of Qwen2.5-0.5B, Llama-2-7B or Llama-2-70B
    #[arg(
        long,
        value_name = "MODEL",
        value_enum,
        default_value = "small",
        conflicts_with = "weights"
    )]
    pub(crate) model: ModelName,

    /// Measure with this safetensors file, or all of this directory, and make none
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) weights: Option<PathBuf>,

    /// Use at most this many threads; all processors if 0
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = size::number_u32)]
    pub(crate) threads: u32,

    /// By which ways in: library (always), nbd, fuse; the last two take turns with the same server over
    /// the plain file [default: all, with --quick the library]
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',')]
    pub(crate) through: Option<Vec<ThroughName>>,

    /// The answer alone, with wider intervals
    #[arg(long, conflicts_with = "full")]
    pub(crate) quick: bool,

    /// Every kernel with every format and every number of threads
    #[arg(long)]
    pub(crate) full: bool,

    /// Write the report to this file too: one HTML page that needs no network; what is there is replaced
    #[arg(long, value_name = "OUT.html")]
    pub(crate) report: Option<PathBuf>,

    /// Print one JSON object instead of the text
    #[arg(long)]
    pub(crate) json: bool,

    // What this program is told by itself: see `verbs::overhead`.
    #[arg(long, hide = true)]
    pub(crate) serve_door: bool,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,
}
