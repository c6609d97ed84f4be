//! `ls`, `cat`, `cp`, `tensors` and `tensor`: what lies in a volume.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use clap::{Args, builder::OsStringValueParser, builder::TypedValueParser};

use super::{KernelArgs, OpeningArgs};
use crate::size;

/// A volume, and a path in the file system that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) image: PathBuf,
    /// From the slash on; `None` where only the volume is named.
    pub(crate) path: Option<Vec<u8>>,
}

impl Target {
    /// Splits at the last `:/`: what is before it is the image, whatever colons it has.
    fn parse(text: &OsStr) -> Self {
        let bytes = text.as_bytes();
        let at = bytes.windows(2).rposition(|pair| pair == b":/");
        let (image, path) = match at {
            Some(at) => (&bytes[..at], Some(bytes[at + 1..].to_vec())),
            None => (bytes, None),
        };
        let image = OsStr::from_bytes(image).into();
        Self { image, path }
    }
}

fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().map(|text: OsString| Target::parse(&text))
}

/// How a volume is opened and looked into.
#[derive(Debug, Args)]
pub(crate) struct InsideArgs {
    /// Look into this partition, where the volume has a partition table [default: the only one with a file system
    /// that is read]
    #[arg(long, value_name = "NUMBER", value_parser = size::number_u32)]
    pub(crate) partition: Option<u32>,

    #[command(flatten)]
    pub(crate) kernel: KernelArgs,

    #[command(flatten)]
    pub(crate) opening: OpeningArgs,
}

const LS_HELP: &str = "\
Examples:
  lucarne ls models.luks
  lucarne ls -l models.luks:/llama
  lucarne ls --json disk.luks:/etc --partition 2

The volume holds ext2, ext3, ext4 or FAT, or a GPT or MBR with such file systems; it is only read, and
changes that wait in the journal are seen. The path begins at the last :/ of the operand. On a terminal,
names are shown with what a terminal would act on escaped; elsewhere as they are, a line each. Other file
systems: mount them through serve.";

const LS_JSON: &str = "

The object that --json prints, one line:
  format             ext2, ext3, ext4, fat12, fat16 or fat32
  label              text
  partition          its number, or null where there is no partition table
  path               as it was given
  entries            list of: name, kind (file, directory, symbolic link, named pipe, character device, block
                     device, socket), bytes, mode (octal, as text), user, group, modified (seconds from 1970
                     on, or null), target (of a symbolic link, else null)
A name or target that is not UTF-8 is an object with its hexadecimal bytes: {\"hex\": ...}. An entry that
cannot be read has, instead of all but its name, error: a text.";

/// `ls`
#[derive(Debug, Args)]
#[command(after_help = LS_HELP, after_long_help = [LS_HELP, LS_JSON].concat())]
#[command(mut_arg("keyfile_size", |arg| arg.short(None)))]
pub(crate) struct LsArgs {
    /// The volume, and a path in it [default path: /]
    #[arg(value_name = "IMAGE[:/PATH]", value_parser = target())]
    pub(crate) target: Target,

    /// Show kind and permissions, owner, group, length, and when it was modified (UTC); --keyfile-size has no
    /// letter here
    #[arg(short = 'l', long)]
    pub(crate) long: bool,

    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) inside: InsideArgs,
}

/// `cat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne cat models.luks:/config.json
  lucarne cat --key-file key disk.luks:/etc/fstab --partition 2

What can be in the volume, and where the path begins: see lucarne ls --help.")]
pub(crate) struct CatArgs {
    /// The volume, and the path of a file in it
    #[arg(value_name = "IMAGE:/PATH", value_parser = target())]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) inside: InsideArgs,
}

/// `cp`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne cp models.luks:/llama/weights.safetensors weights.safetensors
  lucarne cp models.luks:/llama/weights.safetensors - | sha256sum
  lucarne cp -r models.luks:/llama llama

OUT appears complete or not at all, and is OUT itself: never put into a directory of that name. With -r,
permissions (without set-user-ID) and times are kept; devices, pipes, sockets, and symbolic links that
could lead out of OUT, are left out and named. What can be in the volume, and where the path begins: see
lucarne ls --help.")]
pub(crate) struct CpArgs {
    /// The volume, and a path in it
    #[arg(value_name = "IMAGE:/PATH", value_parser = target())]
    pub(crate) target: Target,

    /// The file to write, or with -r the directory to make; - is standard output
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Copy a directory with all that lies in it
    #[arg(short = 'r', long)]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) inside: InsideArgs,
}

const TENSORS_HELP: &str = "\
Examples:
  lucarne tensors model.luks
  lucarne tensors models.luks:/llama/model-00001.safetensors --json

The safetensors file is the volume's plaintext itself, or lies in a file system in it (see lucarne ls
--help). Its header is checked as strictly as the format's reference implementation checks it.";

const TENSORS_JSON: &str = "

The object that --json prints, one line:
  tensors            list in the order of their bytes: name, dtype, shape (list), bytes, offset (from the
                     file's start)
  metadata           object of texts
  bytes              of all tensors
  offset             of the first, from the file's start
  trailing_bytes     behind the last, up to the volume's end";

/// `tensors`
#[derive(Debug, Args)]
#[command(after_help = TENSORS_HELP, after_long_help = [TENSORS_HELP, TENSORS_JSON].concat())]
pub(crate) struct TensorsArgs {
    /// The volume, and the path of a safetensors file in it
    #[arg(value_name = "IMAGE[:/PATH]", value_parser = target())]
    pub(crate) target: Target,

    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) inside: InsideArgs,
}

/// `tensor`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne tensor model.luks model.embed_tokens.weight embeddings.bin
  lucarne tensor models.luks:/llama/model.safetensors lm_head.weight - | sha256sum

OUT has the tensor's bytes as they are in the file: little endian, the last dimension fastest. It appears
complete or not at all. lucarne tensors lists names, types and shapes.")]
pub(crate) struct TensorArgs {
    /// The volume, and the path of a safetensors file in it
    #[arg(value_name = "IMAGE[:/PATH]", value_parser = target())]
    pub(crate) target: Target,

    /// The tensor's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// The file to write; - is standard output
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) inside: InsideArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_begins_at_the_last_colon_before_a_slash() {
        for (text, image, path) in [
            ("disk.img", "disk.img", None),
            ("disk.img:/", "disk.img", Some("/")),
            ("disk.img:/a/b", "disk.img", Some("/a/b")),
            ("a:b.img:/c:d", "a:b.img", Some("/c:d")),
            ("dir:/disk.img:/a", "dir:/disk.img", Some("/a")),
            ("disk.img:a", "disk.img:a", None),
            (":/a", "", Some("/a")),
        ] {
            let target = Target::parse(OsStr::new(text));
            assert_eq!(target.image.to_str(), Some(image), "{text}");
            assert_eq!(target.path.as_deref(), path.map(str::as_bytes), "{text}");
        }
    }
}
