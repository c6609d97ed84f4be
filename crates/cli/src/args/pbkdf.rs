//! Options of the verbs that make a keyslot.

use clap::Args;

use crate::size;

/// What a new keyslot is like.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keyslot")]
pub(crate) struct PbkdfArgs {
    /// The hash of the keyslot and of the volume key's digest
    #[arg(short = 'h', long, value_name = "HASH")]
    pub(crate) hash: Option<String>,

    /// The key derivation: argon2id, argon2i or pbkdf2
    #[arg(long, value_name = "PBKDF", value_parser = ["argon2id", "argon2i", "pbkdf2"], hide_possible_values = true)]
    pub(crate) pbkdf: Option<String>,

    /// The time that the key derivation may take, in milliseconds; Argon2 takes at least 4 passes over
    /// 64 MiB [default: 2000]
    #[arg(short, long, value_name = "MS", value_parser = size::number_u32, conflicts_with = "pbkdf_force_iterations")]
    pub(crate) iter_time: Option<u32>,

    /// The key derivation's iterations, without calibration
    #[arg(long, value_name = "N", value_parser = size::number_u32)]
    pub(crate) pbkdf_force_iterations: Option<u32>,

    /// The most memory that Argon2 may take [default: 1048576, or half of what there is]
    #[arg(long, value_name = "KIB", value_parser = size::pbkdf_memory)]
    pub(crate) pbkdf_memory: Option<u32>,

    /// The most lanes that Argon2 may have [default: 4, or the number of processors]
    #[arg(long, value_name = "LANES", value_parser = size::number_u32)]
    pub(crate) pbkdf_parallel: Option<u32>,

    /// The cipher of the keyslot's area
    #[arg(long, value_name = "CIPHER", requires = "keyslot_key_size")]
    pub(crate) keyslot_cipher: Option<String>,

    /// The key length of the keyslot's area in bits
    #[arg(long, value_name = "BITS", value_parser = size::some_key_bits, requires = "keyslot_cipher")]
    pub(crate) keyslot_key_size: Option<u32>,
}
