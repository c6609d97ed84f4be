//! The argument struct of each verb.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

use super::{ActivationArgs, FormatArgs, KernelArgs, OpeningArgs, ProgressArgs, UnlockArgs};
use crate::{report::complain, size};

/// Operands after those that a verb has.
#[derive(Debug, Args)]
pub(crate) struct RestArgs {
    #[arg(hide = true, value_name = "REST")]
    pub(crate) rest: Vec<OsString>,
}

impl RestArgs {
    /// Says that they are ignored, as cryptsetup ignores them.
    pub(crate) fn complain(&self) {
        for operand in &self.rest {
            complain(&format!(
                "{}: ignored: one operand too many",
                operand.display()
            ));
        }
    }
}

/// `encrypt`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne encrypt model.safetensors model.luks
  tar c weights | lucarne encrypt --key-file key - weights.luks")]
pub(crate) struct EncryptArgs {
    /// The file or block device to encrypt; - is standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,

    /// The volume to make; it appears complete or not at all, for its owner alone unless it replaces
    /// a file or its header lies elsewhere
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Leave IN's holes as holes in OUT: an onlooker sees where the plaintext is empty, and other
    /// tools than this one read noise there
    #[arg(long)]
    pub(crate) sparse: bool,

    /// Do not record IN's exact length: decrypt then gives whole sectors, the last one padded with
    /// zeros; LUKS1 cannot record it, so that it needs this for an IN that is not whole sectors
    #[arg(long)]
    pub(crate) no_length: bool,

    #[command(flatten)]
    pub(crate) progress: ProgressArgs,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// `decrypt`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne decrypt model.luks model.safetensors
  lucarne decrypt --key-file key weights.luks - | tar x")]
pub(crate) struct DecryptArgs {
    /// The volume
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,

    /// The file or block device to write; - is standard output
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Give whole sectors, whatever length is recorded
    #[arg(long)]
    pub(crate) whole: bool,

    #[command(flatten)]
    pub(crate) progress: ProgressArgs,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,
}

/// `read`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne read model.luks --offset 8 --length 4K | head -c 200")]
pub(crate) struct ReadArgs {
    /// The volume
    pub(crate) image: PathBuf,

    /// The first byte of the plaintext to read
    #[arg(long, value_name = "SIZE", default_value = "0", hide_default_value = true, value_parser = size::bytes)]
    pub(crate) offset: u64,

    /// How many bytes to read [default: all to the end]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub(crate) length: Option<u64>,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,
}

/// `write`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne write disk.luks --key-file key --offset 1M < part.bin

Standard input is the data, so the passphrase comes from the terminal or from --key-file.")]
pub(crate) struct WriteArgs {
    /// The volume
    pub(crate) image: PathBuf,

    /// The first byte of the plaintext to overwrite
    #[arg(long, value_name = "SIZE", default_value = "0", hide_default_value = true, value_parser = size::bytes)]
    pub(crate) offset: u64,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,
}

/// `luksFormat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  truncate -s 1G disk.luks && lucarne luksFormat disk.luks
  lucarne luksFormat --batch-mode --label backup disk.luks key")]
pub(crate) struct LuksFormatArgs {
    /// The file or block device to format; all that it holds is lost
    pub(crate) device: PathBuf,

    /// The passphrase is this file's bytes; --key-file takes precedence
    #[arg(value_name = "KEYFILE")]
    pub(crate) positional_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) format: FormatArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

const LUKS_DUMP_EXAMPLES: &str = "\
Examples:
  lucarne luksDump model.luks
  lucarne luksDump --json model.luks | jq .segments";

/// The members of [`crate::dump::header_json`], which keep their names and meanings.
const LUKS_DUMP_JSON: &str = "

The object that --json prints:
  version            2
  epoch              how often the header was written
  uuid               text
  label, subsystem   text, or null
  metadata_bytes     size of one header copy
  keyslots_bytes     size of the keyslots area
  flags              list of texts
  requirements       list of texts: what a reader must know
  segments           list of: id, type, offset_bytes, size_bytes (null: to the device's end), flags,
                     cipher, sector_bytes, integrity (null where there is none)
  keyslots           list of: id, type, key_bits, priority (ignored, normal, preferred), bound (its key
                     decrypts a segment), digest, area_offset_bytes, area_size_bytes; of type luks2 also
                     cipher, cipher_key_bits, af_hash, af_stripes, pbkdf: type with hash, iterations, or
                     with time_cost, memory_kib, threads
  tokens             list of: id, type, keyslots
  digests            list of: id, type, hash, iterations, keyslots, segments
A keyslot or digest that makes no sense has, instead of its costs, unusable: a text that says why.";

/// `luksDump`
#[derive(Debug, Args)]
#[command(after_help = LUKS_DUMP_EXAMPLES, after_long_help = [LUKS_DUMP_EXAMPLES, LUKS_DUMP_JSON].concat())]
pub(crate) struct LuksDumpArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// Print the header as one JSON object whose members keep their meaning
    #[arg(long, conflicts_with_all = ["dump_json_metadata", "dump_volume_key", "unbound"])]
    pub(crate) json: bool,

    /// Print the JSON that the header holds
    #[arg(long, conflicts_with_all = ["dump_volume_key", "unbound"])]
    pub(crate) dump_json_metadata: bool,

    /// Print the volume key, or write it to --volume-key-file; every keyslot of it is tried, whatever
    /// --key-slot says
    #[arg(long, alias = "dump-master-key")]
    pub(crate) dump_volume_key: bool,

    /// Print the key of --key-slot, which belongs to no segment
    #[arg(long, requires = "key_slot")]
    pub(crate) unbound: bool,

    /// Write the key to this new file instead of printing it
    #[arg(long, alias = "master-key-file", value_name = "FILE")]
    pub(crate) volume_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `isLuks`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne isLuks disk.img && echo \"a LUKS volume\"")]
pub(crate) struct IsLuksArgs {
    /// The file or block device
    pub(crate) device: PathBuf,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `luksUUID`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne luksUUID disk.luks
  lucarne luksUUID --uuid \"$(uuidgen)\" disk.luks")]
pub(crate) struct LuksUuidArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// Change it to this one
    #[arg(long, value_name = "UUID")]
    pub(crate) uuid: Option<String>,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `open`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne open model.luks model && ls -l \"$XDG_RUNTIME_DIR\"/lucarne/model
  lucarne open --test-passphrase --key-slot 0 disk.luks

The file's path is printed, and for root the line that mounts a file system in it: the file is found
in a directory below /run/lucarne, for others than root below $XDG_RUNTIME_DIR/lucarne, which only
its owner can look into. A server of this program's stays in the background until close.")]
pub(crate) struct OpenArgs {
    /// The volume
    pub(crate) device: PathBuf,

    /// The file's name, which --test-passphrase does not need
    pub(crate) name: Option<String>,

    /// Only try the passphrase
    #[arg(long)]
    pub(crate) test_passphrase: bool,

    /// Let a keyslot whose key belongs to no segment count
    #[arg(long, requires = "test_passphrase")]
    pub(crate) unbound: bool,

    // What this program is told by itself: see `verbs::open`.
    #[arg(long, hide = true)]
    pub(crate) in_background: bool,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,

    #[command(flatten)]
    pub(crate) activation: ActivationArgs,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// `close`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  umount /mnt/files && lucarne close disk")]
pub(crate) struct CloseArgs {
    /// The name that open was given
    pub(crate) name: String,

    /// Where it is in use, take it out of sight and close it when its last user has gone
    #[arg(long)]
    pub(crate) deferred: bool,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// The members of [`crate::running::State`].
const STATUS_JSON: &str = "

The object that --json prints; a member keeps its name and meaning:
  version            1
  path               where the plaintext is
  image, header      the volume's file or device, and that of a detached header, or null
  uuid               text
  type               LUKS1 or LUKS2
  cipher, key_bits   of the data
  sector_bytes, offset_bytes, size_bytes
  read_only, discards
  pid                the server's process
  failure            null";

/// `status`
#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLE, after_long_help = [STATUS_EXAMPLE, STATUS_JSON].concat())]
pub(crate) struct StatusArgs {
    /// The name that open was given
    pub(crate) name: String,

    /// Print one JSON object; nothing if the name is not active
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

const STATUS_EXAMPLE: &str = "\
Example:
  lucarne status disk

The exit code is 0 for a name that is active, and 4 for others.";

const BENCHMARK_EXAMPLES: &str = "\
Examples:
  lucarne benchmark
  lucarne benchmark --cipher aes-xts --key-size 512
  lucarne benchmark --json | jq .kernels

First cryptsetup's table as it prints it: what the key derivations do or cost, and the ciphers on
one thread with sectors of 4096 bytes, N/A for those that are not done yet. Then every kernel that
this CPU can run beside what AES does on registers alone, and the memory's bandwidth. Each of
--cipher, --hash and --pbkdf asks for one row instead of all that.";

/// What `verbs::benchmark` prints for `--json`; a member keeps its name and meaning within a version.
const BENCHMARK_JSON: &str = "

The object that --json prints; rates are in MiB per second, null where something is not done:
  version            1
  cpus               processors that this process may use
  key_derivations    list of: pbkdf, key_bits, and for pbkdf2 hash, iterations_per_second; for the others
                     iterations, memory_kib, lanes, requested_ms
  ciphers            list of: cipher, key_bits, kernel, sector_bytes, encryption, decryption
  kernels            list of: kernel, preferred (used unless another is asked for), key_bits,
                     sector_bytes, encryption, decryption, limit (AES on registers alone),
                     encryption_share, decryption_share (of the limit, 1 being all)
  memory             list of: threads, buffer_bytes, xor (read, changed, written back), copy";

/// `benchmark`
#[derive(Debug, Args)]
#[command(after_help = BENCHMARK_EXAMPLES, after_long_help = [BENCHMARK_EXAMPLES, BENCHMARK_JSON].concat())]
pub(crate) struct BenchmarkArgs {
    /// Measure this cipher only: aes-xts, say
    #[arg(short, long, value_name = "CIPHER")]
    pub(crate) cipher: Option<String>,

    /// The key's length in bits, which is two keys' for XTS [default: 256]
    #[arg(short = 's', long, value_name = "BITS", value_parser = size::key_bits, requires = "cipher")]
    pub(crate) key_size: Option<u32>,

    /// Measure PBKDF2 with this hash only
    #[arg(short = 'h', long, value_name = "HASH")]
    pub(crate) hash: Option<String>,

    /// Measure this key derivation only: argon2id, argon2i, or pbkdf2 with sha256 or --hash
    #[arg(long, value_name = "PBKDF", value_parser = ["argon2id", "argon2i", "pbkdf2"], hide_possible_values = true)]
    pub(crate) pbkdf: Option<String>,

    /// The time that Argon2 may take, in milliseconds [default: 2000]
    #[arg(short, long, value_name = "MS", value_parser = size::number_u32)]
    pub(crate) iter_time: Option<u32>,

    /// The most memory that Argon2 may take [default: 1048576, or half of what there is]
    #[arg(long, value_name = "KIB", value_parser = size::pbkdf_memory)]
    pub(crate) pbkdf_memory: Option<u32>,

    /// The most lanes that Argon2 may have [default: 4, or the number of processors]
    #[arg(long, value_name = "LANES", value_parser = size::number_u32)]
    pub(crate) pbkdf_parallel: Option<u32>,

    /// Print one JSON object when all is measured, instead of the table
    #[arg(long)]
    pub(crate) json: bool,

    // Restricts the measurement to the one that it names.
    #[command(flatten)]
    pub(crate) kernel: KernelArgs,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne completions bash > ~/.local/share/bash-completion/completions/lucarne")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  lucarne man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The directory for one page a verb [default: the main page to standard output]
    pub(crate) dir: Option<PathBuf>,
}
