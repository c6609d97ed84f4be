//! The arguments of `wipe`.

use std::path::PathBuf;

use clap::Args;

use super::{KernelArgs, ProgressArgs, RestArgs};
use crate::size;

/// `wipe`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne wipe disk.img && lucarne luksFormat disk.img
  lucarne wipe --offset 16M --length 1G --zero disk.img

What is overwritten with random bytes cannot be told from a volume's data. Every byte of the
range is overwritten once; flash storage, snapshots and file systems that copy on write may
keep what was there. Interrupted, it says with which --offset it goes on.")]
pub(crate) struct WipeArgs {
    /// The file or block device
    pub(crate) device: PathBuf,

    /// Overwrite with zeros instead of random bytes
    #[arg(long)]
    pub(crate) zero: bool,

    /// The first byte to overwrite
    #[arg(long, value_name = "SIZE", default_value = "0", hide_default_value = true, value_parser = size::bytes)]
    pub(crate) offset: u64,

    /// How many bytes to overwrite [default: all to the end]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub(crate) length: Option<u64>,

    /// Overwrite a LUKS header too: the volume is lost then
    #[arg(long)]
    pub(crate) destroy_luks_header: bool,

    #[command(flatten)]
    pub(crate) progress: ProgressArgs,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}
