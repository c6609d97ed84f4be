//! The arguments of the verbs that keep a header elsewhere and put it back.

use std::path::PathBuf;

use clap::Args;

use super::verb::RestArgs;

/// `luksHeaderBackup`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne luksHeaderBackup disk.luks --header-backup-file disk.header

The backup opens the data with a passphrase of today, whatever becomes of the volume's own
header: keep it as you keep a key.")]
pub(crate) struct LuksHeaderBackupArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The file to make, for its owner's eyes alone; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) header_backup_file: PathBuf,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `luksHeaderRestore`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne luksHeaderRestore disk.luks --header-backup-file disk.header

Afterwards the backup's passphrases open the volume, and no others. It is refused where the data
would not be found again: the backup's data start elsewhere, or its header has another size.
Interrupted at any moment, all old passphrases work or all of the backup's; where that cannot be,
it is said before, and the same command again completes it.")]
pub(crate) struct LuksHeaderRestoreArgs {
    /// The file or block device whose header is replaced
    pub(crate) device: PathBuf,

    /// The backup
    #[arg(long, value_name = "FILE")]
    pub(crate) header_backup_file: PathBuf,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}
