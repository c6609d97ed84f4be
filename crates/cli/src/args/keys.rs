//! Options of the verbs that change a volume's keys.

use std::path::PathBuf;

use clap::Args;

use super::{KeyFileArgs, LimitArgs, PbkdfArgs, RestArgs, UnlockArgs};
use crate::size;

/// Options that are accepted and change nothing here.
#[derive(Debug, Clone, Args)]
pub(crate) struct AcceptedArgs {
    /// Accepted: a passphrase's quality is never judged
    #[arg(long, hide_short_help = true, help_heading = "Passphrase")]
    force_password: bool,
}

/// `luksAddKey`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne luksAddKey model.luks
  lucarne luksAddKey --key-file old.key model.luks new.key

The first passphrase that is asked for, or the first line of standard input, is one that the volume
has; the second is the new one.")]
pub(crate) struct LuksAddKeyArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The new passphrase is this file's bytes; - reads standard input to its end
    #[arg(value_name = "KEYFILE")]
    pub(crate) positional_key_file: Option<PathBuf>,

    /// The new passphrase is this file's bytes; the operand KEYFILE takes precedence
    #[arg(long, value_name = "FILE", help_heading = "New passphrase")]
    pub(crate) new_keyfile: Option<PathBuf>,

    /// Skip this many bytes of the new key file
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number, help_heading = "New passphrase")]
    pub(crate) new_keyfile_offset: u64,

    /// Read this many bytes of the new key file; all of them if 0
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number_u32, help_heading = "New passphrase")]
    pub(crate) new_keyfile_size: u32,

    /// The number of the new keyslot; --key-slot is then the one that is unlocked [default: --key-slot,
    /// or the first that is free]
    #[arg(long, value_name = "SLOT", value_parser = size::keyslot, help_heading = "Keyslot")]
    pub(crate) new_key_slot: Option<u32>,

    /// Take the volume key from this file: no passphrase of the volume is needed
    #[arg(
        long,
        alias = "master-key-file",
        value_name = "FILE",
        help_heading = "Unlocking"
    )]
    pub(crate) volume_key_file: Option<PathBuf>,

    /// Make a keyslot for a key of its own, which belongs to no data: that of --volume-key-file, or a
    /// random one
    #[arg(long, requires = "key_size", help_heading = "Keyslot")]
    pub(crate) unbound: bool,

    /// The length in bits of the key of its own, or of that of --volume-key-file where no keyslot says it
    #[arg(short = 's', long, value_name = "BITS", value_parser = size::some_key_bits, help_heading = "Keyslot")]
    pub(crate) key_size: Option<u32>,

    #[command(flatten)]
    pub(crate) pbkdf: PbkdfArgs,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    accepted: AcceptedArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

impl LuksAddKeyArgs {
    /// Where the new passphrase comes from.
    pub(crate) fn new_key(&self) -> KeyFileArgs {
        KeyFileArgs {
            key_file: self
                .positional_key_file
                .clone()
                .or_else(|| self.new_keyfile.clone()),
            keyfile_offset: self.new_keyfile_offset,
            keyfile_size: self.new_keyfile_size,
            ..self.unlock.key.clone()
        }
    }
}

/// `luksChangeKey`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne luksChangeKey model.luks
  lucarne luksChangeKey --key-file old.key model.luks new.key

The keyslot keeps its number, its priority and its tokens. Until the new key is durable on the disk the
old one works.")]
pub(crate) struct LuksChangeKeyArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The new passphrase is this file's bytes; - reads standard input to its end
    #[arg(value_name = "KEYFILE")]
    pub(crate) positional_key_file: Option<PathBuf>,

    /// Skip this many bytes of the new key file
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number, help_heading = "New passphrase")]
    pub(crate) new_keyfile_offset: u64,

    /// Read this many bytes of the new key file; all of them if 0
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number_u32, help_heading = "New passphrase")]
    pub(crate) new_keyfile_size: u32,

    #[command(flatten)]
    pub(crate) pbkdf: PbkdfArgs,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    accepted: AcceptedArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

impl LuksChangeKeyArgs {
    /// Where the new passphrase comes from.
    pub(crate) fn new_key(&self) -> KeyFileArgs {
        KeyFileArgs {
            key_file: self.positional_key_file.clone(),
            keyfile_offset: self.new_keyfile_offset,
            keyfile_size: self.new_keyfile_size,
            ..self.unlock.key.clone()
        }
    }
}

/// `luksConvertKey`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne luksConvertKey --key-slot 0 --pbkdf argon2id --iter-time 3000 model.luks")]
pub(crate) struct LuksConvertKeyArgs {
    /// The volume
    pub(crate) device: PathBuf,

    #[command(flatten)]
    pub(crate) pbkdf: PbkdfArgs,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `luksRemoveKey`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne luksRemoveKey model.luks
  lucarne luksRemoveKey model.luks lost.key")]
pub(crate) struct LuksRemoveKeyArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The passphrase to remove is this file's bytes; --key-file takes precedence
    #[arg(value_name = "KEYFILE")]
    pub(crate) positional_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `luksKillSlot`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne luksKillSlot model.luks 3
  lucarne luksKillSlot --batch-mode model.luks 3

Another passphrase of the volume is asked for first; with --batch-mode only if there is one on standard
input or in --key-file.")]
pub(crate) struct LuksKillSlotArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The keyslot
    #[arg(value_name = "SLOT", value_parser = size::keyslot)]
    pub(crate) slot: u32,

    #[command(flatten)]
    pub(crate) key: KeyFileArgs,

    /// Ask this often on the terminal
    #[arg(short = 'T', long, value_name = "N", default_value = "3", value_parser = size::number_u32, help_heading = "Passphrase")]
    tries: u32,

    /// The header lies in this file
    #[arg(long, value_name = "FILE", help_heading = "Unlocking")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

impl LuksKillSlotArgs {
    /// How another keyslot is unlocked: by whichever passphrase opens one, so that none can be named.
    pub(crate) fn unlock(&self) -> UnlockArgs {
        UnlockArgs {
            key: self.key.clone(),
            tries: self.tries,
            key_slot: None,
            header: self.header.clone(),
            limits: self.limits.clone(),
        }
    }
}

/// `luksErase`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne luksErase model.luks

Who has a backup of the header, or the volume key, can still open the volume.")]
pub(crate) struct LuksEraseArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}
