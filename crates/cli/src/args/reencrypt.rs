//! The arguments of `reencrypt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{KernelArgs, NewVolumeArgs, PbkdfArgs, ProgressArgs, UnlockArgs};
use crate::size;

/// `reencrypt`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne reencrypt model.luks
  lucarne reencrypt --key-file key --sector-size 4096 --resilience journal model.luks
  lucarne reencrypt --resume-only model.luks
  lucarne reencrypt --encrypt --reduce-device-size 32M disk.img
  lucarne reencrypt --encrypt --header disk.header disk.img
  lucarne reencrypt --decrypt --header disk.header disk.img

The volume gets a new volume key, and with it what the options ask for, where it is; what they do
not ask for stays as it is. A run that was stopped in any way goes on with --resume-only, here or
with cryptsetup, and one of cryptsetup's goes on here, as it was begun: the options that say what
the volume becomes have no effect then. The passphrase opens it before and after. Where several
keyslots are in use, the passphrase of each is asked for, unless --key-slot names the one that
stays; the others are gone in the end (luksAddKey adds them again).

--encrypt makes a volume of plaintext. The last bytes of DEVICE, as many as
--reduce-device-size says, must be free (shrink the file system first) and are lost; half of them
make room for the header. If it is interrupted before DEVICE is a volume, the same command goes on.
With --header the header goes into a new file, and the data stay where they are.

--decrypt makes plaintext of a volume, and --header names the file that keeps account of it. Where
it is not there yet, it becomes a copy of DEVICE's header, and the plaintext starts at DEVICE's
first byte; where it is the volume's header, the data stay where they are. DEVICE keeps its
length.")]
pub(crate) struct ReencryptArgs {
    /// The volume, LUKS2, or with --encrypt what becomes one
    pub(crate) device: PathBuf,

    /// Encrypt plaintext
    #[arg(long, alias = "new", conflicts_with_all = ["decrypt", "keep_key"])]
    pub(crate) encrypt: bool,

    /// Decrypt the volume
    #[arg(long, requires = "header", conflicts_with = "keep_key")]
    pub(crate) decrypt: bool,

    /// With --encrypt: give up so many bytes at the end of the device, at least twice what the header takes
    #[arg(long, value_name = "SIZE", value_parser = size::bytes, requires = "encrypt", conflicts_with = "header")]
    pub(crate) reduce_device_size: Option<u64>,

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

    #[command(flatten)]
    pub(crate) volume: NewVolumeArgs,

    /// With --encrypt: take the volume key from this file
    #[arg(
        long,
        alias = "master-key-file",
        value_name = "FILE",
        requires = "encrypt",
        help_heading = "Volume"
    )]
    pub(crate) volume_key_file: Option<PathBuf>,

    /// How the bytes that are being re-encrypted survive a power cut [default: checksum; what moves is
    /// protected by that]
    #[arg(long, value_name = "KIND")]
    pub(crate) resilience: Option<ResilienceKind>,

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
    /// The old bytes stay where they are
    Datashift,
    /// As datashift, and checksum for what does not move
    DatashiftChecksum,
    /// As datashift, and journal for what does not move
    DatashiftJournal,
}

/// `--unprotected-zone`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnprotectedSide {
    /// All of them are re-encrypted
    Old,
    /// They stay as they are
    New,
}
