//! `convert`

use std::path::PathBuf;

use clap::Args;

use super::RestArgs;

/// `convert`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne convert --type luks2 old.luks
  lucarne convert --type luks1 --header model.header model.luks

Keys, UUID and data stay as they are. What the other version has no place for stops the conversion,
but for label, subsystem and priorities, which LUKS1 forgets. If power fails meanwhile, the volume is
of the one version or the other, and every key opens it.")]
pub(crate) struct ConvertArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}
