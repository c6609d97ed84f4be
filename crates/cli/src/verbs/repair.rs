//! `repair DEVICE`

use anyhow::Context;
use lucarne::{Access, HeaderEditor};

use crate::{
    args::{CommonArgs, RepairArgs},
    confirm, device,
    exit::shown,
    header,
    report::{Report, complain},
    signals::Graceful,
};

pub(crate) fn run(args: &RepairArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    args.rest.complain();
    let path = args.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadWrite)?;
    let mut editor = HeaderEditor::open_for_repair(&storage)
        .with_context(|| shown(path))?
        .with_patience(header::patience(common));
    let defects = editor.defects().clone();
    if !defects.is_needed() {
        report.say("No known problems detected for LUKS header.");
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
