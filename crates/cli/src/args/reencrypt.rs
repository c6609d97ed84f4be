//! The arguments of `reencrypt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{KernelArgs, PbkdfArgs, ProgressArgs, UnlockArgs};
use crate::size;

/// `reencrypt`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne reencrypt model.luks
  lucarne reencrypt --key-file key --sector-size 4096 --resilience journal model.luks
  lucarne reencrypt --resume-only model.luks

The volume gets a new volume key, and with it what the options ask for, where it is. A run that
was stopped in any way goes on with --resume-only, here or with cryptsetup, and one of cryptsetup's
goes on here, as it was begun: the options that say what the volume becomes have no effect then. The passphrase opens it before and after; other keyslots are gone in the end, so where
there are several, --key-slot names the one that stays (add the others again with luksAddKey).")]
pub(crate) struct ReencryptArgs {
    /// The volume, LUKS2
    pub(crate) device: PathBuf,

    /// Only write the metadata of the re-encryption
    #[arg(long, conflicts_with = "resume_only")]
    pub(crate) init_only: bool,

    /// Only go on with one that was begun
    #[arg(long)]
    pub(crate) resume_only: bool,

    /// What the bytes count as in which one with --resilience none was interrupted: those that are not
    /// will be lost
    #[arg(long, value_name = "SIDE", requires = "resume_only")]
    pub(crate) unprotected_zone: Option<UnprotectedSide>,

    /// Keep the volume key, and change the cipher or the sector size alone
    #[arg(long, help_heading = "Volume")]
    pub(crate) keep_key: bool,

    /// The data's new cipher [default: as it is]
    #[arg(short, long, value_name = "CIPHER", help_heading = "Volume")]
    pub(crate) cipher: Option<String>,

    /// The new volume key's length in bits [default: as it is]
    #[arg(short = 's', long, value_name = "BITS", value_parser = size::key_bits, help_heading = "Volume")]
    pub(crate) key_size: Option<u32>,

    /// 512, 1024, 2048 or 4096 bytes [default: as it is]
    #[arg(long, value_name = "BYTES", value_parser = size::sector_size, help_heading = "Volume")]
    pub(crate) sector_size: Option<u32>,

    /// How the bytes that are being re-encrypted survive a power cut
    #[arg(long, value_name = "KIND", default_value = "checksum")]
    pub(crate) resilience: ResilienceKind,

    /// The hash of checksum resilience
    #[arg(long, value_name = "HASH", default_value = "sha256")]
    pub(crate) resilience_hash: String,

    /// At most so many bytes are between old and new at once [default: 64M, or what the keyslots area
    /// allows]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub(crate) hotzone_size: Option<u64>,

    /// Accepted: all is done without device-mapper
    #[arg(long, hide_short_help = true)]
    force_offline_reencrypt: bool,

    #[command(flatten)]
    pub(crate) progress: ProgressArgs,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) pbkdf: PbkdfArgs,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

/// `--resilience`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResilienceKind {
    /// A hash of each block tells old from new
    Checksum,
    /// The old bytes are kept in the keyslots area
    Journal,
    /// Nothing: after a power cut what was at hand is lost
    None,
}

/// `--unprotected-zone`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnprotectedSide {
    /// All of them are re-encrypted
    Old,
    /// They stay as they are
    New,
}
