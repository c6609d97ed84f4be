//! `reencrypt --decrypt`

use std::path::Path;

use anyhow::Context;
use lucarne::{
    AnyHeaderBackup, DecryptedTo, Error, HeaderRef, Output, Reencryption, Replace, SecretBytes,
    Storage, UnlockOptions,
};

use super::{
    go_on, header_on, nothing_to_resume, of_luks1, open, open_with, options, passphrase_of, resume,
    unlocking,
};
use crate::{
    args::{CommonArgs, ReencryptArgs},
    exit::{Failure, shown},
    report::Report,
    signals::Graceful,
};

pub(super) fn run(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    // clap demands it.
    let Some(header) = args.unlock.header.as_deref() else {
        return Err(
            Failure::parameters("--decrypt: name a file for the header with --header").into(),
        );
    };
    match header.exists() {
        true => detached(args, common, report, header),
        false => attached(args, common, report, header),
    }
}

/// Under a header that was apart before: the data stay where they are.
fn detached(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
    path: &Path,
) -> anyhow::Result<()> {
    let opened = open(args)?;
    let header = header_on(opened.header(), args)
        .map_err(of_luks1)
        .with_context(|| shown(path))?;
    if header.metadata().reencryption().is_some() {
        return resume(args, common, report, &opened, &header);
    }
    if args.resume_only {
        return Err(nothing_to_resume(path));
    }
    // A copy of the device's own would leave that one behind, of data that are no longer encrypted.
    if header_on(&opened.data, args).is_ok_and(|own| own.uuid() == header.uuid()) {
        return Err(Failure::Parameters(format!(
            "{}: exists, and {} has a header of its own: name a file that is not there yet, it becomes a copy of that",
            shown(path),
            shown(&args.device)
        ))
        .into());
    }
    let mut options = options::translate(args, common, &header)?;
    options.resilience = options::in_place(args)?;
    let _graceful = Graceful::begin()?;
    let begun = unlocking(args).with_secret(HeaderRef::Luks2(&header), |secret| {
        Reencryption::begin_decryption(
            opened.header(),
            &opened.data,
            &[passphrase_of(&secret)],
            DecryptedTo::Place,
            &options,
        )
    })?;
    go_on(args, common, report, begun)
}

/// The device's own header goes into the file, and the data to the device's first byte.
fn attached(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
    path: &Path,
) -> anyhow::Result<()> {
    if args.resume_only {
        return Err(nothing_to_resume(path));
    }
    let device = || shown(&args.device);
    let opened = open_with(args, None)?;
    let header = header_on(&opened.data, args)
        .map_err(of_luks1)
        .with_context(device)?;
    if !header.metadata().requirements().is_empty() {
        return Err(Failure::Parameters(format!(
            "{}: the header has requirements: an unfinished re-encryption must be resumed first",
            device()
        ))
        .into());
    }
    let mut options = options::translate(args, common, &header)?;
    options.resilience = options::of_head(args)?;
    let unlock = UnlockOptions {
        keyslot: args.unlock.key_slot,
        ..args.unlock.to_options()
    };
    let passphrase = unlocking(args).with_secret(HeaderRef::Luks2(&header), |secret| {
        let passphrase = SecretBytes::from_slice(passphrase_of(&secret));
        lucarne::unlock(&header, &opened.data, secret, &unlock).map(|_| passphrase)
    })?;
    let _graceful = Graceful::begin()?;
    // Durable under its name before the device's own is written over.
    let not_made = |error: Error| Failure::Parameters(format!("{}: {error}", shown(path)));
    let output = Output::create_private(path, Replace::Never).map_err(not_made)?;
    let backup = AnyHeaderBackup::take(&opened.data, options.patience).with_context(device)?;
    output
        .storage()
        .write_at(backup.as_bytes(), 0)
        .with_context(|| shown(path))?;
    output.finish().map_err(not_made)?;
    let opened = open(args)?;
    let begun = Reencryption::begin_decryption(
        opened.header(),
        &opened.data,
        &[&*passphrase],
        DecryptedTo::Start,
        &options,
    );
    let begun = begun.inspect_err(|_| forget_copy(path, &opened.data, args));
    go_on(args, common, report, begun.with_context(device)?)
}

/// Nothing was begun: the file goes, as long as the device still has the header that it is a copy of.
fn forget_copy(path: &Path, device: &lucarne::FileStorage, args: &ReencryptArgs) {
    if header_on(device, args).is_ok() {
        // It can be removed by hand.
        let _ = std::fs::remove_file(path);
    }
}
