//! `reencrypt --encrypt`

use std::path::Path;

use anyhow::Context;
use lucarne::{Error, FormatOptions, LuksVersion, Output, Reencryption, Replace};

use super::{
    go_on, header_on, new_passphrase, nothing_to_resume, open, open_with, options, resume,
};
use crate::{
    args::{CommonArgs, NewVolumeArgs, ReencryptArgs, VolumeType},
    exit::{Failure, shown},
    report::Report,
    signals::Graceful,
    verbs::format_options::NewVolume,
};

pub(super) fn run(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    if common.volume_type == VolumeType::Luks1 {
        return Err(Failure::parameters(
            "LUKS1 has no metadata of a re-encryption: --encrypt makes LUKS2, which convert makes LUKS1",
        )
        .into());
    }
    match args.unlock.header.as_deref() {
        Some(header) if header.exists() => {
            let opened = open(args)?;
            match header_on(opened.header(), args) {
                Ok(found) if found.metadata().reencryption().is_some() => {
                    resume(args, common, report, &opened, &found)
                }
                _ => Err(Failure::Parameters(format!(
                    "{}: exists, and holds no encryption that was begun: name a file for the header that is not there yet",
                    shown(header)
                ))
                .into()),
            }
        }
        Some(header) => detached(args, common, report, header),
        None => attached(args, common, report),
    }
}

/// A header takes the place of the data, which move.
fn attached(args: &ReencryptArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let opened = open(args)?;
    match header_on(&opened.data, args) {
        Ok(header) if header.metadata().reencryption().is_some() => {
            return resume(args, common, report, &opened, &header);
        }
        Ok(_) | Err(Error::Luks1) => {
            return Err(Failure::Parameters(format!(
                "{}: it is a LUKS volume already",
                shown(&args.device)
            ))
            .into());
        }
        Err(_) => {}
    }
    let Some(reduced_by) = args.reduce_device_size else {
        return Err(Failure::parameters(
            "--encrypt: where does the header go? --reduce-device-size SIZE gives up the end of the device for it, --header FILE puts it elsewhere",
        )
        .into());
    };
    let offset = data_offset(reduced_by, args.volume.offset)?;
    let volume = NewVolumeArgs {
        offset: Some(offset),
        align_payload: None,
        ..args.volume.clone()
    };
    let volume = new_volume(args, &volume, false)?;
    let options = options::of_new(args, common);
    let passphrase = new_passphrase(args, common)?;
    let _graceful = Graceful::begin()?;
    let begun = Reencryption::begin_encryption(&opened.data, None, &passphrase, &volume, &options);
    go_on(
        args,
        common,
        report,
        begun.with_context(|| shown(&args.device))?,
    )
}

/// Half of what is given up at the end: the data move by it.
fn data_offset(reduced_by: u64, asked: Option<u64>) -> anyhow::Result<u64> {
    if !reduced_by.is_multiple_of(512) || reduced_by == 0 {
        return Err(Failure::Parameters(format!(
            "--reduce-device-size {reduced_by}: it must be a multiple of 512 bytes, and not 0"
        ))
        .into());
    }
    let most = reduced_by / 2;
    match asked.filter(|&offset| offset != 0) {
        Some(offset) if offset > most => Err(Failure::Parameters(format!(
            "--offset: the data cannot begin at byte {offset} with --reduce-device-size {reduced_by}: at most at half of that, {most}"
        ))
        .into()),
        Some(offset) => Ok(offset),
        None => Ok(most),
    }
}

/// The header is made beside its place and appears whole; only then is it gone on with.
fn detached(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
    path: &Path,
) -> anyhow::Result<()> {
    if args.resume_only {
        return Err(nothing_to_resume(path));
    }
    let opened = open_with(args, None)?;
    let volume = new_volume(args, &args.volume, true)?;
    let mut options = options::of_new(args, common);
    options.resilience = options::in_place(args)?;
    let passphrase = new_passphrase(args, common)?;
    let _graceful = Graceful::begin()?;
    // cryptsetup's code for a header that cannot be made is that of wrong parameters.
    let not_made = |error: Error| Failure::Parameters(format!("{}: {error}", shown(path)));
    let output = Output::create_private(path, Replace::Never).map_err(not_made)?;
    let begun = Reencryption::begin_encryption(
        output.storage(),
        Some(&opened.data),
        &passphrase,
        &volume,
        &options,
    );
    drop(begun.with_context(|| shown(&args.device))?);
    output.finish().map_err(not_made)?;
    let opened = open(args)?;
    let resumed = Reencryption::resume(
        opened.header(),
        opened.detached(),
        &[&*passphrase],
        &options,
    );
    go_on(args, common, report, resumed.with_context(|| shown(path))?)
}

fn new_volume(
    args: &ReencryptArgs,
    volume: &NewVolumeArgs,
    has_detached_header: bool,
) -> anyhow::Result<FormatOptions> {
    NewVolume {
        volume,
        pbkdf: &args.pbkdf,
        volume_key_file: args.volume_key_file.as_deref(),
        key_slot: args.unlock.key_slot,
        has_detached_header,
        version: LuksVersion::Luks2,
    }
    .translate()
}
