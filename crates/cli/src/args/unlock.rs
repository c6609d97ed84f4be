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

/// How a volume is opened: unlocked, or by its key.
#[derive(Debug, Clone, Args)]
pub(crate) struct OpeningArgs {
    /// Unlock with the volume key in this file
    #[arg(
        long,
        alias = "master-key-file",
        value_name = "FILE",
        help_heading = "Unlocking"
    )]
    pub(crate) volume_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

/// What an untrusted header may cost. What is not given is the library's default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits on what the header may cost")]
pub(crate) struct LimitArgs {
    /// Memory of an Argon2 keyslot [default: 4194304, or what the machine has]
    #[arg(long, value_name = "KIB", value_parser = size::number_u32)]
    pub(crate) max_pbkdf_memory: Option<u32>,

    /// Memory times passes of an Argon2 keyslot [default: 134217728]
    #[arg(long, value_name = "KIB", value_parser = size::number)]
    pub(crate) max_pbkdf_work: Option<u64>,

    /// Lanes of an Argon2 keyslot [default: 64]
    #[arg(long, value_name = "LANES", value_parser = size::number_u32)]
    pub(crate) max_pbkdf_parallel: Option<u32>,

    /// Iterations of a PBKDF2 keyslot or a digest [default: 200000000]
    #[arg(long, value_name = "N", value_parser = size::number_u32)]
    pub(crate) max_pbkdf_iterations: Option<u32>,

    /// Memory times passes over all keyslots tried [default: 536870912]
    #[arg(long, value_name = "KIB", value_parser = size::number)]
    pub(crate) max_total_pbkdf_work: Option<u64>,

    /// Iterations over all keyslots and digests tried [default: 1000000000]
    #[arg(long, value_name = "N", value_parser = size::number)]
    pub(crate) max_total_pbkdf_iterations: Option<u64>,
}

impl LimitArgs {
    pub(crate) fn to_limits(&self) -> CostLimits {
        let mut limits = CostLimits::default();
        let replace = |limit: &mut u64, given: Option<u64>| *limit = given.unwrap_or(*limit);
        let replace_u32 = |limit: &mut u32, given: Option<u32>| *limit = given.unwrap_or(*limit);
        replace_u32(&mut limits.argon2_memory_kib, self.max_pbkdf_memory);
        replace(&mut limits.argon2_work_kib, self.max_pbkdf_work);
        replace_u32(&mut limits.argon2_lanes, self.max_pbkdf_parallel);
        replace_u32(&mut limits.pbkdf2_iterations, self.max_pbkdf_iterations);
        replace(&mut limits.total_argon2_work_kib, self.max_total_pbkdf_work);
        replace(
            &mut limits.total_pbkdf2_iterations,
            self.max_total_pbkdf_iterations,
        );
        limits
    }
}
