//! The arguments of `rekey`.

use std::path::PathBuf;

use clap::Args;

use super::{KernelArgs, KeyFileArgs, NewVolumeArgs, OpeningArgs, PbkdfArgs, ProgressArgs};
use crate::{keyfile::ExtentOptions, size};

/// `rekey`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne rekey old.luks new.luks
  lucarne rekey --key-file key --new-keyfile new.key --sector-size 4096 --verify old.luks new.luks
  lucarne rekey --resume old.luks new.luks

IN, LUKS2 or LUKS1, is only read. OUT gets a new volume key and one keyslot, for the
passphrase that opened IN unless --new-keyfile names another (- asks for it on the terminal).
IN's other passphrases cannot be carried over, since nothing in a header tells what they are:
add them with luksAddKey. Tokens, label and subsystem are not carried over either; the exact
length that encrypt records is.

Until it is complete OUT lies beside its place as .OUT.lucarne-partial; a block device is
written where it is. Neither opens before. What is done is recorded as it goes, so that a run
which was stopped in any way, by a signal, by kill -9 or by a power cut, goes on with
--resume, which asks for the passphrases again. It goes on only with the same IN: same UUID,
volume key, header and, of a file, time of the last write. OUT is then what it was begun as;
an option that says otherwise is refused, and those of its keyslot have no effect.

With --sparse IN's holes stay holes. That is right where a hole stands for zeros, in volumes
that encrypt --sparse made, and it is refused for others: their holes decrypt to noise, which
a copy keeps. Who knows that nobody ever wrote there, or that it was discarded, says
--holes-are-unwritten: then the noise becomes zeros, and an image of 100 GiB that holds 1 GiB
takes the time of 1 GiB.")]
pub(crate) struct RekeyArgs {
    /// The volume to copy
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,

    /// The volume to make: a new file, or a block device that is overwritten
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Go on with a run that was interrupted
    #[arg(long, conflicts_with = "start_over")]
    pub(crate) resume: bool,

    /// Throw away what an interrupted run has made of OUT
    #[arg(long)]
    pub(crate) start_over: bool,

    /// Read OUT back from the disk and compare it with IN before it appears
    #[arg(long)]
    pub(crate) verify: bool,

    /// Leave IN's holes as holes in OUT: an onlooker sees where the plaintext is empty, and other
    /// tools than this one read noise there
    #[arg(long)]
    pub(crate) sparse: bool,

    /// With --sparse: whatever IN is, nobody ever wrote to its holes
    #[arg(long, requires = "sparse")]
    pub(crate) holes_are_unwritten: bool,

    /// Record what is done after so many bytes: so much is copied twice at most after an interruption
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size::bytes)]
    pub(crate) checkpoint: u64,

    #[command(flatten)]
    pub(crate) progress: ProgressArgs,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    /// OUT's passphrase is this file's bytes; - reads standard input to its end
    #[arg(long, value_name = "FILE", help_heading = "New passphrase")]
    pub(crate) new_keyfile: Option<PathBuf>,

    /// Skip this many bytes of the new key file
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number, requires = "new_keyfile", help_heading = "New passphrase")]
    pub(crate) new_keyfile_offset: u64,

    /// Read this many bytes of the new key file; all of them if 0
    #[arg(long, value_name = "BYTES", default_value = "0", hide_default_value = true, value_parser = size::number_u32, requires = "new_keyfile", help_heading = "New passphrase")]
    pub(crate) new_keyfile_size: u32,

    /// Let OUT's passphrase be empty
    #[arg(long, help_heading = "New passphrase")]
    pub(crate) force_password: bool,

    #[command(flatten)]
    pub(crate) volume: NewVolumeArgs,

    /// The number of OUT's keyslot; --key-slot is the one of IN that is unlocked
    #[arg(long, value_name = "SLOT", value_parser = size::keyslot, help_heading = "Keyslot")]
    pub(crate) new_key_slot: Option<u32>,

    #[command(flatten)]
    pub(crate) pbkdf: PbkdfArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,
}

impl RekeyArgs {
    /// Where OUT's passphrase comes from, if not from IN.
    pub(crate) fn new_key(&self) -> KeyFileArgs {
        KeyFileArgs {
            key_file: self.new_keyfile.clone(),
            keyfile_offset: self.new_keyfile_offset,
            keyfile_size: self.new_keyfile_size,
            extent_options: ExtentOptions::New,
            ..self.opening.unlock.key.clone()
        }
    }
}
