//! Options of the verbs that make a volume.

use std::path::PathBuf;

use clap::Args;

use super::{KeyFileArgs, PbkdfArgs};
use crate::size;

/// What a new volume is like.
#[derive(Debug, Clone, Args)]
pub(crate) struct FormatArgs {
    #[command(flatten)]
    pub(crate) key: KeyFileArgs,

    /// Take the passphrase as it is; encrypt refuses an empty one without this
    #[arg(long, help_heading = "Passphrase")]
    pub(crate) force_password: bool,

    /// Accepted: a new passphrase is asked for once, and once more to verify it
    #[arg(short = 'T', long, value_name = "N", value_parser = size::number_u32, hide_short_help = true, help_heading = "Passphrase")]
    tries: Option<u32>,

    /// Put the header into a file of its own
    #[arg(long, value_name = "FILE", help_heading = "Volume")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) volume: NewVolumeArgs,

    /// Take the volume key from this file
    #[arg(
        long,
        alias = "master-key-file",
        value_name = "FILE",
        help_heading = "Volume"
    )]
    pub(crate) volume_key_file: Option<PathBuf>,

    /// The keyslot to make
    #[arg(short = 'S', long, value_name = "SLOT", value_parser = size::keyslot, help_heading = "Keyslot")]
    pub(crate) key_slot: Option<u32>,

    #[command(flatten)]
    pub(crate) pbkdf: PbkdfArgs,
}

/// What any new volume is like, whatever its keys come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewVolumeArgs {
    /// The data's cipher
    #[arg(short, long, value_name = "CIPHER", help_heading = "Volume")]
    pub(crate) cipher: Option<String>,

    /// The volume key's length in bits [default: 512 for XTS, else 256]
    #[arg(short = 's', long, value_name = "BITS", value_parser = size::key_bits, help_heading = "Volume")]
    pub(crate) key_size: Option<u32>,

    /// 512, 1024, 2048 or 4096 bytes [default: 4096 where the size allows]
    #[arg(long, value_name = "BYTES", value_parser = size::sector_size, help_heading = "Volume")]
    pub(crate) sector_size: Option<u32>,

    /// Start the data at this 512-byte sector
    #[arg(short, long, value_name = "SECTORS", value_parser = size::sectors, conflicts_with = "align_payload", help_heading = "Volume")]
    pub(crate) offset: Option<u64>,

    /// Start the data at a multiple of this many 512-byte sectors
    #[arg(long, value_name = "SECTORS", value_parser = size::sectors, help_heading = "Volume")]
    pub(crate) align_payload: Option<u64>,

    /// The header's label, at most 47 bytes
    #[arg(long, value_name = "LABEL", help_heading = "Header")]
    pub(crate) label: Option<String>,

    /// The header's subsystem, at most 47 bytes
    #[arg(long, value_name = "SUBSYSTEM", help_heading = "Header")]
    pub(crate) subsystem: Option<String>,

    /// The header's UUID [default: random]
    #[arg(long, value_name = "UUID", help_heading = "Header")]
    pub(crate) uuid: Option<String>,

    /// The size of each header copy, 16K to 4M by powers of two
    #[arg(long, value_name = "SIZE", value_parser = size::bytes, help_heading = "Header")]
    pub(crate) luks2_metadata_size: Option<u64>,

    /// The size of the keyslots area
    #[arg(long, value_name = "SIZE", value_parser = size::bytes, help_heading = "Header")]
    pub(crate) luks2_keyslots_size: Option<u64>,

    /// Accepted: keys come from getrandom(2), the generator behind /dev/random and /dev/urandom
    #[arg(
        long,
        hide_short_help = true,
        conflicts_with = "use_urandom",
        help_heading = "Volume"
    )]
    pub(crate) use_random: bool,

    /// Accepted: keys come from getrandom(2), the generator behind /dev/random and /dev/urandom
    #[arg(long, hide_short_help = true, help_heading = "Volume")]
    pub(crate) use_urandom: bool,

    /// Accepted: no foreign signature is searched for
    #[arg(long, hide_short_help = true, help_heading = "Volume")]
    pub(crate) disable_blkid: bool,
}
