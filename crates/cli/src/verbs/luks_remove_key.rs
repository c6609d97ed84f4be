//! `luksRemoveKey DEVICE [KEYFILE]`

use anyhow::Context;
use lucarne::UnlockOptions;

use super::{
    editing,
    editing::{HeaderDevice, LAST_KEYSLOT},
};
use crate::{
    args::{CommonArgs, LuksRemoveKeyArgs, UnlockArgs},
    confirm,
    exit::Failure,
    report::Report,
};

pub(crate) fn run(
    args: &LuksRemoveKeyArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let unlock = UnlockArgs {
        key: args
            .unlock
            .key
            .with_operand(args.positional_key_file.as_ref()),
        ..args.unlock.clone()
    };
    let device = HeaderDevice::open(&args.device, unlock.header.as_deref(), common)?;
    let mut editor = device.any_editor(&unlock.limits)?;
    let unlocking = editing::unlocking(&args.device, &unlock, "Enter passphrase to be deleted: ");
    let which = UnlockOptions {
        allow_unbound: true,
        ..unlock.to_options()
    };
    let key = editing::unlock(&editor, &unlocking, &which, report)?;
    let Some(keyslot) = key.keyslot else {
        return Err(Failure::parameters("a volume key is in no keyslot").into());
    };
    report.say(&format!("Keyslot {keyslot} is selected for deletion."));
    if editor.header().is_last_keyslot(keyslot) {
        confirm::confirm(common.batch_mode, LAST_KEYSLOT)?;
    }
    editor
        .remove_keyslot(keyslot)
        .with_context(|| device.shown())?;
    device.warn_of_old_copies();
    report.say(&format!("Key slot {keyslot} removed."));
    Ok(())
}
