//! What the command line may say: one argument struct for each verb, shared groups flattened.

mod activation;
mod backup;
mod check;
mod common;
mod convert;
mod format;
mod header;
mod inside;
mod keys;
mod overhead;
mod pbkdf;
mod reencrypt;
mod rekey;
mod serve;
mod token;
mod unlock;
mod verb;
mod wipe;

use clap::{ArgAction, Parser, Subcommand};

pub(crate) use activation::ActivationArgs;
pub(crate) use backup::{LuksHeaderBackupArgs, LuksHeaderRestoreArgs};
pub(crate) use check::{CheckArgs, PolicyArgs};
pub(crate) use common::{CommonArgs, KernelArgs, KeyFileArgs, ProgressArgs, VolumeType};
pub(crate) use convert::ConvertArgs;
pub(crate) use format::{FormatArgs, NewVolumeArgs};
pub(crate) use header::{ConfigArgs, PriorityName, RepairArgs};
pub(crate) use inside::{CatArgs, CpArgs, InsideArgs, LsArgs, Target, TensorArgs, TensorsArgs};
pub(crate) use keys::{
    LuksAddKeyArgs, LuksChangeKeyArgs, LuksConvertKeyArgs, LuksEraseArgs, LuksKillSlotArgs,
    LuksRemoveKeyArgs,
};
pub(crate) use overhead::{ModelName, OverheadArgs, ThroughName};
pub(crate) use pbkdf::PbkdfArgs;
pub(crate) use reencrypt::{ReencryptArgs, ResilienceKind, UnprotectedSide};
pub(crate) use rekey::RekeyArgs;
pub(crate) use serve::{NbdAddress, ServeArgs, TlsArgs};
pub(crate) use token::{AddKeyTokenArgs, TokenAction, TokenArgs, TokenUnlockArgs};
pub(crate) use unlock::{LimitArgs, OpeningArgs, UnlockArgs};
pub(crate) use verb::{
    BenchmarkArgs, CloseArgs, CompletionsArgs, DecryptArgs, EncryptArgs, IsLuksArgs, LuksDumpArgs,
    LuksFormatArgs, LuksUuidArgs, ManArgs, OpenArgs, ReadArgs, RestArgs, StatusArgs, WriteArgs,
};
pub(crate) use wipe::WipeArgs;

/// LUKS2-compatible encrypted volumes without root, device-mapper or C
///
/// The verbs with cryptsetup's names take cryptsetup's options, before or after the verb, follow
/// its passphrase rules and end with its exit codes: 0 done, 1 wrong parameters, 2 no permission
/// or wrong passphrase, 3 out of memory, 4 wrong device, 5 exists or busy.
#[derive(Debug, Parser)]
#[command(
    name = "lucarne",
    version,
    max_term_width = 100,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_override_self = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    after_help = "\
Example:
  lucarne encrypt model.safetensors model.luks
  lucarne decrypt model.luks model.safetensors

A passphrase is asked for on the terminal. If standard input is not a terminal, its first line is
the passphrase; --key-file reads it from a file."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,

    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Print help
    #[arg(short = '?', long, global = true, action = ArgAction::HelpShort, help_heading = "Common options")]
    help: Option<bool>,

    /// Print the usage line
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        help_heading = "Common options"
    )]
    usage: bool,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Common options")]
    version: Option<bool>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a new volume that holds a file's bytes
    Encrypt(Box<EncryptArgs>),
    /// Write a volume's plaintext to a file
    Decrypt(DecryptArgs),
    /// Copy a volume into a new one under a new volume key
    Rekey(Box<RekeyArgs>),
    /// Give a volume a new key or cipher, encrypt or decrypt, where the data are
    Reencrypt(Box<ReencryptArgs>),
    /// Write a range of a volume's plaintext to standard output
    Read(ReadArgs),
    /// Overwrite a range of a volume's plaintext with standard input
    Write(WriteArgs),
    /// Give other programs a volume's plaintext as a block device or a file
    Serve(Box<ServeArgs>),
    /// List the files in a volume, without mounting it
    Ls(Box<LsArgs>),
    /// Write a file in a volume to standard output
    Cat(Box<CatArgs>),
    /// Copy a file or a directory out of a volume
    Cp(Box<CpArgs>),
    /// List the tensors of a safetensors file in a volume
    Tensors(Box<TensorsArgs>),
    /// Write the bytes of a tensor in a volume to a file
    Tensor(Box<TensorArgs>),
    /// Judge a volume's header by a policy
    Check(Box<CheckArgs>),
    /// Make a new, empty volume
    #[command(name = "luksFormat")]
    LuksFormat(Box<LuksFormatArgs>),
    /// Show a volume's header
    #[command(name = "luksDump")]
    LuksDump(LuksDumpArgs),
    /// Tell by the exit code whether a file is a LUKS volume
    #[command(name = "isLuks")]
    IsLuks(IsLuksArgs),
    /// Print or change a volume's UUID
    #[command(name = "luksUUID")]
    LuksUuid(LuksUuidArgs),
    /// Add a passphrase to a volume
    #[command(name = "luksAddKey")]
    LuksAddKey(Box<LuksAddKeyArgs>),
    /// Replace a passphrase by another
    #[command(name = "luksChangeKey")]
    LuksChangeKey(Box<LuksChangeKeyArgs>),
    /// Give a passphrase another key derivation
    #[command(name = "luksConvertKey")]
    LuksConvertKey(Box<LuksConvertKeyArgs>),
    /// Remove a passphrase, by itself
    #[command(name = "luksRemoveKey")]
    LuksRemoveKey(LuksRemoveKeyArgs),
    /// Remove a passphrase, by its keyslot's number
    #[command(name = "luksKillSlot")]
    LuksKillSlot(LuksKillSlotArgs),
    /// Remove all passphrases: the data can never be read again
    #[command(name = "luksErase", alias = "erase")]
    LuksErase(LuksEraseArgs),
    /// Overwrite what a file or block device holds
    Wipe(WipeArgs),
    /// Keep a copy of a volume's header
    #[command(name = "luksHeaderBackup")]
    LuksHeaderBackup(LuksHeaderBackupArgs),
    /// Put a kept copy in the place of a volume's header
    #[command(name = "luksHeaderRestore")]
    LuksHeaderRestore(LuksHeaderRestoreArgs),
    /// Write a damaged or stale copy of a header anew
    Repair(RepairArgs),
    /// Set a header's label and subsystem, and when a keyslot is tried
    #[command(alias = "luksConfig")]
    Config(ConfigArgs),
    /// Add, remove and show a header's tokens
    Token(TokenArgs),
    /// Make a LUKS1 header of a LUKS2 one, or the reverse
    Convert(ConvertArgs),
    /// Open a volume in the background, or only try its passphrase
    #[command(alias = "luksOpen")]
    Open(Box<OpenArgs>),
    /// Close what open has opened
    #[command(alias = "luksClose")]
    Close(CloseArgs),
    /// Tell whether a name is open, and as what
    Status(StatusArgs),
    /// Measure this machine's key derivations, ciphers and memory
    Benchmark(BenchmarkArgs),
    /// Measure what encryption costs a model-weight workload here, and say why
    Overhead(OverheadArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}
