//! The verbs, one file each.

mod benchmark;
mod check;
mod close;
mod config;
mod convert;
mod decrypt;
mod editing;
mod encrypt;
mod format_options;
mod fuse;
mod generate;
mod inside;
mod is_luks;
mod luks_add_key;
mod luks_change_key;
mod luks_convert_key;
mod luks_dump;
mod luks_erase;
mod luks_format;
mod luks_header_backup;
mod luks_header_restore;
mod luks_kill_slot;
mod luks_remove_key;
mod luks_uuid;
mod open;
mod overhead;
mod read;
mod reencrypt;
mod rekey;
mod repair;
mod serve;
mod status;
mod tensors;
mod token;
mod wipe;
mod write;

use std::path::Path;

use lucarne::Error;

use crate::{
    args::{CommonArgs, KernelArgs, Verb, VolumeType},
    exit::{Failure, shown},
    report::Report,
};

/// Does what the command line asks for.
pub(crate) fn run(verb: &Verb, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    if common.volume_type == VolumeType::Luks1 && is_for_luks2_alone(verb) {
        return Err(Failure::Parameters("--type luks1: not done yet with this verb".into()).into());
    }
    if let Some(kernel) = kernel_args(verb) {
        kernel.apply().map_err(Failure::parameters)?;
    }
    match verb {
        Verb::Encrypt(args) => encrypt::run(args, common, report),
        Verb::Decrypt(args) => decrypt::run(args, common, report),
        Verb::Rekey(args) => rekey::run(args, common, report),
        Verb::Reencrypt(args) => reencrypt::run(args, common, report),
        Verb::Read(args) => read::run(args, common, report),
        Verb::Write(args) => write::run(args, common, report),
        Verb::Serve(args) => serve::run(args, common, report),
        Verb::Ls(args) => inside::ls::run(args, common, report),
        Verb::Cat(args) => inside::cat::run(args, common, report),
        Verb::Cp(args) => inside::cp::run(args, common, report),
        Verb::Tensors(args) => tensors::list(args, common, report),
        Verb::Tensor(args) => tensors::extract(args, common, report),
        Verb::Check(args) => check::run(args),
        Verb::LuksFormat(args) => luks_format::run(args, common, report),
        Verb::LuksDump(args) => luks_dump::run(args, common, report),
        Verb::IsLuks(args) => is_luks::run(args, common, report),
        Verb::LuksAddKey(args) => luks_add_key::run(args, common, report),
        Verb::LuksChangeKey(args) => luks_change_key::run(args, common, report),
        Verb::LuksConvertKey(args) => luks_convert_key::run(args, common, report),
        Verb::LuksRemoveKey(args) => luks_remove_key::run(args, common, report),
        Verb::LuksKillSlot(args) => luks_kill_slot::run(args, common, report),
        Verb::LuksErase(args) => luks_erase::run(args, common, report),
        Verb::Wipe(args) => wipe::run(args, common),
        Verb::LuksUuid(args) => luks_uuid::run(args, common),
        Verb::LuksHeaderBackup(args) => luks_header_backup::run(args, common),
        Verb::LuksHeaderRestore(args) => luks_header_restore::run(args, common),
        Verb::Repair(args) => repair::run(args, common, report),
        Verb::Config(args) => config::run(args, common),
        Verb::Token(args) => token::run(args, common, report),
        Verb::Convert(args) => convert::run(args, common),
        Verb::Open(args) => open::run(args, common, report),
        Verb::Close(args) => close::run(args, common),
        Verb::Status(args) => status::run(args),
        Verb::Benchmark(args) => benchmark::run(args),
        Verb::Overhead(args) => overhead::run(args, common),
        Verb::Completions(args) => generate::completions(args),
        Verb::Man(args) => generate::manual(args),
    }
}

/// The verbs that change nothing of LUKS1 yet.
fn is_for_luks2_alone(verb: &Verb) -> bool {
    matches!(verb, Verb::Config(_) | Verb::Token(_))
}

/// The choice of a kernel, of the verbs that offer it.
fn kernel_args(verb: &Verb) -> Option<&KernelArgs> {
    match verb {
        Verb::Encrypt(args) => Some(&args.kernel),
        Verb::Decrypt(args) => Some(&args.kernel),
        Verb::Rekey(args) => Some(&args.kernel),
        Verb::Reencrypt(args) => Some(&args.kernel),
        Verb::Read(args) => Some(&args.kernel),
        Verb::Write(args) => Some(&args.kernel),
        Verb::Serve(args) => Some(&args.kernel),
        Verb::Ls(args) => Some(&args.inside.kernel),
        Verb::Cat(args) => Some(&args.inside.kernel),
        Verb::Cp(args) => Some(&args.inside.kernel),
        Verb::Tensors(args) => Some(&args.inside.kernel),
        Verb::Tensor(args) => Some(&args.inside.kernel),
        Verb::Open(args) => Some(&args.kernel),
        Verb::Wipe(args) => Some(&args.kernel),
        Verb::Benchmark(args) => Some(&args.kernel),
        Verb::Overhead(args) => Some(&args.kernel),
        _ => None,
    }
}

/// Why there is no OUT, or no whole one.
fn not_made(error: Error, input: &Path, output: &Path) -> anyhow::Error {
    let (input, output) = (shown(input), shown(output));
    match error {
        Error::Interrupted => Failure::Parameters(format!(
            "{input} to {output}: interrupted; {output} is not made"
        ))
        .into(),
        error => anyhow::Error::new(error).context(format!("{input} to {output}")),
    }
}
