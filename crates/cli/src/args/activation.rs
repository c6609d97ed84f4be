//! Options of an activation.

use clap::Args;

use crate::size;

/// How a volume is opened, and what cryptsetup would tell device-mapper: taken so that a script may give the options
/// that it has, also with `--test-passphrase`, which activates nothing.
#[derive(Debug, Clone, Args)]
pub(crate) struct ActivationArgs {
    /// Refuse to write
    #[arg(short = 'r', long)]
    pub(crate) readonly: bool,

    /// Give the space of holes that are punched into the file back to the file system, in volumes made by
    /// encrypt --sparse: who sees the image can then tell which sectors are in use
    #[arg(long)]
    pub(crate) allow_discards: bool,

    #[command(flatten)]
    kernel: KernelActivationArgs,
}

impl ActivationArgs {
    /// Refuses what would change the result, and is only accepted where there is none.
    pub(crate) fn refuse_what_has_no_effect(&self) -> Result<(), String> {
        match self.kernel.size {
            Some(_) => Err(
                "--size: the file has the volume's length; read --length gives a part".to_owned(),
            ),
            None => Ok(()),
        }
    }
}

/// What only the kernel's device-mapper knows.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Accepted, without effect")]
struct KernelActivationArgs {
    /// How long the mapping would be; only with --test-passphrase
    #[arg(short = 'b', long, value_name = "SECTORS", value_parser = size::sectors, hide_short_help = true)]
    size: Option<u64>,

    /// The kernel would work on one processor
    #[arg(long = "perf-same_cpu_crypt", hide_short_help = true)]
    perf_same_cpu_crypt: bool,

    /// The kernel would write from its own threads
    #[arg(long = "perf-submit_from_crypt_cpus", hide_short_help = true)]
    perf_submit_from_crypt_cpus: bool,

    /// The kernel would read without a queue
    #[arg(long = "perf-no_read_workqueue", hide_short_help = true)]
    perf_no_read_workqueue: bool,

    /// The kernel would write without a queue
    #[arg(long = "perf-no_write_workqueue", hide_short_help = true)]
    perf_no_write_workqueue: bool,

    /// The kernel would give its threads a high priority
    #[arg(long = "perf-high_priority", hide_short_help = true)]
    perf_high_priority: bool,

    /// The kernel would keep no journal of integrity tags
    #[arg(long, hide_short_help = true)]
    integrity_no_journal: bool,

    /// The header says it
    #[arg(short, long, value_name = "CIPHER", hide_short_help = true)]
    cipher: Option<String>,

    /// The header says it
    #[arg(short = 's', long, value_name = "BITS", value_parser = size::key_bits, hide_short_help = true)]
    key_size: Option<u32>,

    /// The header says it
    #[arg(short = 'h', long, value_name = "HASH", hide_short_help = true)]
    hash: Option<String>,
}
