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
    report::{Report, complain},
};

pub(crate) fn run(
    args: &LuksRemoveKeyArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let unlock = with_positional_key_file(args);
    let device = HeaderDevice::open(&args.device, unlock.header.as_deref(), common)?;
    let mut editor = device.any_editor()?;
    let unlocking = editing::unlocking(&args.device, &unlock, "Enter passphrase to be deleted: ");
    let which = UnlockOptions {
        keyslot: unlock.key_slot,
        allow_unbound: true,
        limits: unlock.limits.to_limits(),
        ..UnlockOptions::default()
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

fn with_positional_key_file(args: &LuksRemoveKeyArgs) -> UnlockArgs {
    let mut unlock = args.unlock.clone();
    if args.positional_key_file.is_some() {
        if unlock.key.key_file.is_some() {
            complain("--key-file takes precedence over the operand KEYFILE");
        } else {
            unlock.key.key_file = args.positional_key_file.clone();
        }
    }
    unlock
}
