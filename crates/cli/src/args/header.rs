//! The arguments of the verbs that mend and name a header.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::UnlockArgs;
use super::verb::RestArgs;
use crate::size;

/// `repair`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne repair disk.luks

A header has two copies. The one that is damaged, or older, is written anew from the other; key
material and data are not touched. Every verb that changes the header does the same; those that
only read never do.

Of a re-encryption that was interrupted, the bytes that were at hand are finished too, with a
passphrase that opens both keys; reencrypt --resume-only does that and goes on.")]
pub(crate) struct RepairArgs {
    /// The volume
    pub(crate) device: PathBuf,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `config`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne config --label models --subsystem weights disk.luks
  lucarne config --priority prefer --key-slot 1 disk.luks

Of label and subsystem the one that is not given becomes empty, as in cryptsetup.")]
pub(crate) struct ConfigArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The header's label, at most 47 bytes
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<String>,

    /// The header's subsystem, at most 47 bytes
    #[arg(long, value_name = "SUBSYSTEM")]
    pub(crate) subsystem: Option<String>,

    /// When the keyslot of --key-slot is tried
    #[arg(long, value_name = "PRIORITY", requires = "key_slot")]
    pub(crate) priority: Option<PriorityName>,

    /// The keyslot
    #[arg(short = 'S', long, value_name = "SLOT", value_parser = size::keyslot)]
    pub(crate) key_slot: Option<u32>,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// The priorities of keyslots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityName {
    /// after the preferred ones
    Normal,
    /// before the others
    Prefer,
    /// only when named by --key-slot
    Ignore,
}
