//! Options that many verbs share.

use std::{num::NonZero, path::PathBuf};

use clap::{Args, ValueEnum};
use lucarne::{CipherError, Kernel, Parallelism};

use crate::{keyfile::ExtentOptions, report::complain, size};

/// Options of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct CommonArgs {
    /// Ask no question and overwrite what the verb overwrites
    #[arg(short = 'q', long, global = true)]
    pub(crate) batch_mode: bool,

    /// Say which keyslot opened and how it ended
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,

    /// Show debug messages on standard error
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// The kind of volume
    #[arg(
        short = 'M',
        long = "type",
        value_name = "TYPE",
        global = true,
        default_value = "luks",
        ignore_case = true
    )]
    pub(crate) volume_type: VolumeType,

    /// Check the options and do nothing
    #[arg(long, global = true)]
    pub(crate) test_args: bool,

    /// Take no lock on an image that is served or written to; verbs that read once never take one
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) disable_locks: bool,

    /// How long the verbs that change a header wait for another process that is changing it
    #[arg(long, value_name = "SECONDS", global = true, default_value = "30", value_parser = size::number_u32, hide_short_help = true)]
    pub(crate) lock_timeout: u32,

    /// Accepted: no key ever enters the kernel's keyring
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) disable_keyring: bool,

    /// Accepted: no token plugin is ever loaded
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) disable_external_tokens: bool,
}

/// The kinds of volume that `--type` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VolumeType {
    /// any LUKS version
    Luks,
    /// LUKS version 1
    Luks1,
    /// LUKS version 2
    Luks2,
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Passphrase")]
pub(crate) struct KeyFileArgs {
    /// The passphrase is this file's bytes, newlines included; - reads standard input to its end
    #[arg(short = 'd', long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// Skip this many bytes of the key file
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number)]
    pub(crate) keyfile_offset: u64,

    /// Read this many bytes of the key file; all of them if 0
    #[arg(short = 'l', long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number_u32)]
    pub(crate) keyfile_size: u32,

    /// Give the prompt up after this many seconds; never if 0
    #[arg(short, long, value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = size::number_u32)]
    pub(crate) timeout: u32,

    /// Ask for the passphrase twice
    #[arg(short = 'y', long)]
    pub(crate) verify_passphrase: bool,

    /// Which options gave the offset and the size, for messages.
    #[arg(skip)]
    pub(crate) extent_options: ExtentOptions,
}

impl KeyFileArgs {
    /// With the key file that an operand names, unless --key-file names one.
    pub(crate) fn with_operand(&self, operand: Option<&PathBuf>) -> Self {
        let mut key = self.clone();
        match (&key.key_file, operand) {
            (Some(_), Some(_)) => {
                complain("--key-file takes precedence over the operand KEYFILE");
            }
            (None, operand) => key.key_file = operand.cloned(),
            (Some(_), None) => {}
        }
        key
    }
}

/// How sectors are encrypted and decrypted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Speed")]
pub(crate) struct KernelArgs {
    /// Use this AES kernel: vaes512, vaes256, aesni, armv8 or portable [default: LUCARNE_KERNEL of the
    /// environment, or this CPU's fastest]
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Option<Kernel>,
}

impl KernelArgs {
    /// Has it used by all that is opened from now on.
    pub(crate) fn apply(&self) -> Result<(), CipherError> {
        match self.kernel {
            Some(kernel) => kernel.prefer(),
            // What is wrong with it is said before anything is done.
            None => Kernel::from_environment().map(|_| ()),
        }
    }
}

/// How a long run reports.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Progress")]
pub(crate) struct ProgressArgs {
    /// Report progress as JSON lines
    #[arg(long)]
    pub(crate) progress_json: bool,

    /// Report progress as a line every so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = size::number_u32)]
    pub(crate) progress_frequency: u32,

    /// Use at most this many threads; all processors if 0
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = size::number_u32)]
    pub(crate) threads: u32,
}

impl ProgressArgs {
    /// As many threads as were asked for.
    pub(crate) fn parallelism(&self) -> Parallelism<'static> {
        Parallelism {
            threads: usize::try_from(self.threads).ok().and_then(NonZero::new),
            pool: None,
        }
    }
}
