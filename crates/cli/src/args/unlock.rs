//! Options of the verbs that unlock a volume.

use std::path::PathBuf;

use clap::Args;
use lucarne::{Cost, CostLimits, UnlockOptions};

use super::{KeyFileArgs, PolicyArgs, TokenUnlockArgs};
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

impl UnlockArgs {
    /// The library's options.
    pub(crate) fn to_options(&self) -> UnlockOptions {
        UnlockOptions {
            keyslot: self.key_slot,
            limits: self.limits.to_limits(),
            ..UnlockOptions::default()
        }
    }
}

/// How a volume is opened: unlocked, by a token, or by its key.
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
    pub(crate) token: TokenUnlockArgs,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    pub(crate) judging: PolicyArgs,
}

/// What an untrusted header may cost. What is not given is the library's default.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits on what the header may cost")]
pub(crate) struct LimitArgs {
    /// Memory of an Argon2 keyslot [default: 4194304, or what the machine has]
    #[arg(long, value_name = "KIB", value_parser = size::number_u32)]
    pub(crate) max_pbkdf_memory: Option<u32>,

    /// Memory times passes of an Argon2 keyslot [default: 67108864]
    #[arg(long, value_name = "KIB", value_parser = size::number)]
    pub(crate) max_pbkdf_work: Option<u64>,

    /// Lanes of an Argon2 keyslot [default: 64]
    #[arg(long, value_name = "LANES", value_parser = size::number_u32)]
    pub(crate) max_pbkdf_parallel: Option<u32>,

    /// Iterations of a PBKDF2 keyslot or a digest; those of slower hashes than sha256 count more [default: 50000000]
    #[arg(long, value_name = "N", value_parser = size::number_u32)]
    pub(crate) max_pbkdf_iterations: Option<u32>,

    /// Memory times passes over all keyslots tried [default: 134217728]
    #[arg(long, value_name = "KIB", value_parser = size::number)]
    pub(crate) max_total_pbkdf_work: Option<u64>,

    /// Iterations over all keyslots and digests tried [default: 200000000]
    #[arg(long, value_name = "N", value_parser = size::number)]
    pub(crate) max_total_pbkdf_iterations: Option<u64>,

    /// Bytes of a keyslot's split key: its key's length times 4000 AF stripes [default: 16777216]
    #[arg(long, value_name = "BYTES", value_parser = size::number)]
    pub(crate) max_split_key: Option<u64>,

    /// Bytes of the header with its JSON, both copies together [default: 8388608]
    #[arg(long, value_name = "BYTES", value_parser = size::number)]
    pub(crate) max_header: Option<u64>,
}

impl LimitArgs {
    /// The option that raises the limit on a cost.
    pub(crate) fn option_of(cost: Cost) -> &'static str {
        match cost {
            Cost::Argon2MemoryKib => "--max-pbkdf-memory",
            Cost::Argon2WorkKib => "--max-pbkdf-work",
            Cost::Argon2Lanes => "--max-pbkdf-parallel",
            Cost::Pbkdf2Iterations | Cost::DigestIterations => "--max-pbkdf-iterations",
            Cost::TotalArgon2WorkKib => "--max-total-pbkdf-work",
            Cost::TotalPbkdf2Iterations => "--max-total-pbkdf-iterations",
            Cost::SplitKeyBytes => "--max-split-key",
            Cost::HeaderBytes => "--max-header",
            _ => "a --max-pbkdf option",
        }
    }

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
        replace(&mut limits.split_key_bytes, self.max_split_key);
        replace(&mut limits.header_bytes, self.max_header);
        limits
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    /// The help tells the library's defaults, and each limit has an option.
    #[test]
    fn limits_have_options_that_tell_their_defaults() {
        let limits = CostLimits::default();
        let command = Cli::command();
        let open = command.find_subcommand("open").unwrap();
        for (cost, default) in [
            (Cost::Argon2MemoryKib, None),
            (Cost::Argon2WorkKib, Some(limits.argon2_work_kib)),
            (Cost::Argon2Lanes, Some(limits.argon2_lanes.into())),
            (
                Cost::Pbkdf2Iterations,
                Some(limits.pbkdf2_iterations.into()),
            ),
            (
                Cost::DigestIterations,
                Some(limits.pbkdf2_iterations.into()),
            ),
            (Cost::TotalArgon2WorkKib, Some(limits.total_argon2_work_kib)),
            (
                Cost::TotalPbkdf2Iterations,
                Some(limits.total_pbkdf2_iterations),
            ),
            (Cost::SplitKeyBytes, Some(limits.split_key_bytes)),
            (Cost::HeaderBytes, Some(limits.header_bytes)),
        ] {
            let name = LimitArgs::option_of(cost).strip_prefix("--").unwrap();
            let option = open
                .get_arguments()
                .find(|option| option.get_long() == Some(name));
            let help = option.unwrap().get_help().unwrap().to_string();
            if let Some(default) = default {
                assert!(
                    help.ends_with(&format!("[default: {default}]")),
                    "{name}: {help}"
                );
            }
        }
    }
}
