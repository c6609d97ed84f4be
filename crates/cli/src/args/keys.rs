//! Options of the verbs that change a volume's keys.

use std::path::PathBuf;

use clap::Args;

use super::{AddKeyTokenArgs, KeyFileArgs, LimitArgs, PbkdfArgs, RestArgs, UnlockArgs};
use crate::{keyfile::ExtentOptions, size};

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
  lucarne luksAddKey --token-only model.luks

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
    pub(crate) token: AddKeyTokenArgs,

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
            extent_options: ExtentOptions::New,
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
            extent_options: ExtentOptions::New,
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

const LUKS_ERASE_EXAMPLES: &str = "\
Examples:
  lucarne luksErase model.luks
  lucarne luksErase --batch-mode --evidence erased.json --key-file key model.luks

Who has a backup of the header, or the volume key, can still open the volume.";

/// [`lucarne::EraseEvidence::to_json`]; a member keeps its name and meaning within a version.
const LUKS_ERASE_JSON: &str = "

The object that --evidence writes:
  version            1
  kind               lucarne-erase
  tool               lucarne and its version
  time               when all was read back, RFC 3339 in UTC
  uuid, luks_version the volume's
  device             what was named on the command line; header_device is where the header lies
  removed_keyslots   list of numbers
  overwritten_with   random
  header             list of areas: the header's copies, which are written without keyslots
  keyslots_area      the area that holds those of all keyslots
  keyslots           list of the keyslots' areas
  passphrase         tried; if so opened_before (true) and opens_after (false), else both null
  not_promised       list of texts: what an erasure cannot reach
An area has: name, offset_bytes, size_bytes, sha256_before, sha256_after. The record is written only when
every area reads back as something else than before, and the passphrase opens the volume no more.";

/// `luksErase`
#[derive(Debug, Args)]
#[command(after_help = LUKS_ERASE_EXAMPLES, after_long_help = [LUKS_ERASE_EXAMPLES, LUKS_ERASE_JSON].concat())]
pub(crate) struct LuksEraseArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    /// Read back what was overwritten, and write a record of it to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Option<PathBuf>,

    /// With --evidence: ask for a passphrase, which must open the volume before and is tried again
    /// afterwards; --key-file gives one without being asked
    #[arg(long, requires = "evidence")]
    pub(crate) try_passphrase: bool,

    #[command(flatten)]
    pub(crate) key: KeyFileArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}
