//! `luksErase DEVICE`

use anyhow::Context;

use super::editing::HeaderDevice;
use crate::{
    args::{CommonArgs, LimitArgs, LuksEraseArgs},
    confirm,
    report::Report,
};

pub(crate) fn run(
    args: &LuksEraseArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let device = HeaderDevice::open(&args.device, args.header.as_deref(), common)?;
    let mut editor = device.any_editor(&LimitArgs::default())?;
    confirm::confirm(
        common.batch_mode,
        &format!(
            "This operation will erase all keyslots on device {}.\n\
             Device will become unusable after this operation.",
            device.shown()
        ),
    )?;
    let erased = editor.erase_keyslots().with_context(|| device.shown())?;
    device.warn_of_old_copies();
    for keyslot in erased {
        report.say(&format!("Key slot {keyslot} removed."));
    }
    Ok(())
}
