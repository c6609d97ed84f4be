//! `repair DEVICE`

use std::path::Path;

use anyhow::Context;
use lucarne::{Access, Error, HeaderEditor, Luks1Repair, LuksVersion, Storage};

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
    let path = args.header.as_deref().unwrap_or(&args.device);
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
    for (copy, defect) in [
        ("primary", &defects.primary),
        ("secondary", &defects.secondary),
    ] {
        if let Some(defect) = defect {
            report.say(&format!("The {copy} header copy was repaired ({defect})."));
        }
    }
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
