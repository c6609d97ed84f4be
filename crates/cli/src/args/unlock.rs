//! Options of the verbs that unlock a volume.

use std::path::PathBuf;

use clap::Args;
use lucarne::CostLimits;

use super::KeyFileArgs;
use crate::size;

/// How a volume is unlocked.
#[derive(Debug, Clone, Args)]
pub(crate) struct UnlockArgs {
    #[command(flatten)]
    pub(crate) key: KeyFileArgs,

    /// Ask this often on the terminal
    #[arg(short = 'T', long, value_name = "N", default_value = "3", value_parser = size::number_u32, help_heading = "Passphrase")]
    pub(crate) tries: u32,

    /// Try this keyslot only
    #[arg(short = 'S', long, value_name = "SLOT", value_parser = size::keyslot, help_heading = "Unlocking")]
    pub(crate) key_slot: Option<u32>,

    /// The header lies in this file
    #[arg(long, value_name = "FILE", help_heading = "Unlocking")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// What an untrusted header may cost.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits on the header's cost")]
pub(crate) struct LimitArgs {}

impl LimitArgs {
    /// The library's limits, with what was given instead of its defaults.
    pub(crate) fn to_limits(&self) -> CostLimits {
        CostLimits::default()
    }
}
