//! `repair DEVICE`

use std::path::Path;

use anyhow::Context;
use lucarne::{
    Access, Error, FileStorage, HeaderEditor, HeaderRef, Luks1Repair, LuksVersion, Parallelism,
    ReencryptOptions, Reencryption, Secret, Storage,
    luks2::{Header, Repair, Segment},
};

use super::editing;

use crate::{
    args::{CommonArgs, RepairArgs},
    confirm, device,
    exit::shown,
    header,
    report::{Report, complain},
    signals::Graceful,
    unlock::expect_version,
};

const NOTHING_TO_DO: &str = "No known problems detected for LUKS header.";

pub(crate) fn run(args: &RepairArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.unlock.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadWrite)?;
    let mut editor = match HeaderEditor::open_for_repair(&storage) {
        Err(Error::Luks1) => {
            return repair_luks1(&storage, path, common, report);
        }
        editor => editor
            .with_context(|| shown(path))?
            .with_patience(header::patience(common)),
    };
    expect_version(path, LuksVersion::Luks2, common.volume_type)?;
    let defects = editor.defects().clone();
    if editor.header().metadata().reencryption().is_some() {
        let header = editor.header().clone();
        return repair_reencryption(args, common, report, &storage, &header, &defects);
    }
    if !defects.is_needed() {
        report.say(NOTHING_TO_DO);
        return Ok(());
    }
    if defects.primary.is_some()
        && let Some(what) = lucarne::foreign_signature(&storage).with_context(|| shown(path))?
    {
        if !common.batch_mode {
            complain(&format!("{}: looks like {what} too", shown(path)));
        }
        confirm::confirm(
            common.batch_mode,
            "Really try to repair LUKS device header?",
        )?;
    }
    let _graceful = Graceful::begin()?;
    editor.repair().with_context(|| shown(path))?;
    say_repaired(&defects, report);
    Ok(())
}

fn say_repaired(defects: &Repair, report: &Report) {
    for (copy, defect) in [
        ("primary", &defects.primary),
        ("secondary", &defects.secondary),
    ] {
        if let Some(defect) = defect {
            report.say(&format!("The {copy} header copy was repaired ({defect})."));
        }
    }
}

/// Nothing is written, not even a copy of the header, before both keys vouch for it.
fn repair_reencryption(
    args: &RepairArgs,
    common: &CommonArgs,
    report: &Report,
    header_storage: &FileStorage,
    header: &Header,
    defects: &Repair,
) -> anyhow::Result<()> {
    let device = shown(&args.device);
    let mut segments = header.metadata().segments().values();
    if !defects.is_needed() && !segments.any(Segment::is_in_reencryption) {
        report.say(NOTHING_TO_DO);
        report.say("A re-encryption is unfinished: reencrypt --resume-only goes on with it.");
        return Ok(());
    }
    let data = match &args.unlock.header {
        Some(_) => Some(device::open(&args.device, Access::ReadWrite)?),
        None => None,
    };
    let options = ReencryptOptions {
        limits: args.unlock.limits.to_limits(),
        patience: header::patience(common),
        ..ReencryptOptions::default()
    };
    let _graceful = Graceful::begin()?;
    let unlocking = editing::unlocking(&args.device, &args.unlock, "Enter passphrase: ");
    let reencryption = unlocking.with_secret(HeaderRef::Luks2(header), |secret| {
        let (Secret::Passphrase(passphrase) | Secret::VolumeKey(passphrase)) = secret;
        let data = data.as_ref().map(|data| data as &dyn Storage);
        Reencryption::resume(header_storage, data, &[passphrase], &options)
    })?;
    let zone = reencryption.hot_zone();
    reencryption
        .recover(Parallelism::default())
        .with_context(|| device)?;
    say_repaired(defects, report);
    if let Some(zone) = zone {
        report.say(&format!(
            "Bytes {}..{} of the plaintext, in which a re-encryption was interrupted, are re-encrypted.",
            zone.start, zone.end
        ));
    }
    report.say("reencrypt --resume-only goes on with what is left, if anything is.");
    Ok(())
}

/// There is one copy, with no checksum: what is mended is what cryptsetup mends.
fn repair_luks1(
    storage: &dyn Storage,
    path: &Path,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    expect_version(path, LuksVersion::Luks1, common.volume_type)?;
    let repair = Luks1Repair::of(storage).with_context(|| shown(path))?;
    if repair.changes().is_empty() {
        report.say(NOTHING_TO_DO);
        return Ok(());
    }
    // Whatever wrote over it may have left its signature.
    if let Some(what) = lucarne::foreign_signature(storage).with_context(|| shown(path))?
        && !common.batch_mode
    {
        complain(&format!("{}: looks like {what} too", shown(path)));
    }
    confirm::confirm(
        common.batch_mode,
        "Really try to repair LUKS device header?",
    )?;
    let changes = repair.changes().to_vec();
    let _graceful = Graceful::begin()?;
    repair
        .run(header::patience(common))
        .with_context(|| shown(path))?;
    for change in changes {
        report.say(&format!("Repaired: {change}."));
    }
    Ok(())
}
