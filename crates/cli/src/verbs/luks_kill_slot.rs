//! `luksKillSlot DEVICE SLOT`

use std::io::{IsTerminal, stdin};

use anyhow::Context;
use lucarne::{AnyEditor, UnlockOptions};

use super::{
    editing,
    editing::{HeaderDevice, LAST_KEYSLOT},
};
use crate::{
    args::{CommonArgs, LuksKillSlotArgs},
    confirm,
    exit::Failure,
    keyfile::NothingToRead,
    report::Report,
};

pub(crate) fn run(
    args: &LuksKillSlotArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let device = HeaderDevice::open(&args.device, args.header.as_deref(), common)?;
    let mut editor = device.any_editor(&args.limits)?;
    if !editor.header().has_keyslot(args.slot) {
        return Err(Failure::Parameters(format!(
            "{}: keyslot {} is not in use",
            device.shown(),
            args.slot
        ))
        .into());
    }
    report.say(&format!("Keyslot {} is selected for deletion.", args.slot));
    let is_last = editor.header().is_last_keyslot(args.slot);
    if is_last {
        confirm::confirm(common.batch_mode, LAST_KEYSLOT)?;
    }
    let nobody_to_ask = common.batch_mode && args.key.key_file.is_none() && stdin().is_terminal();
    if !nobody_to_ask {
        match verify(args, is_last, &editor, report) {
            // A script that gives no passphrase and says that it means it.
            Err(error) if common.batch_mode && error.is::<NothingToRead>() => {}
            Err(error) if error.is::<NothingToRead>() => {
                return Err(Failure::Parameters(format!(
                    "{error}; another keyslot's passphrase is asked for, unless with --batch-mode"
                ))
                .into());
            }
            result => result?,
        }
    }
    editor
        .remove_keyslot(args.slot)
        .with_context(|| device.shown())?;
    device.warn_of_old_copies();
    report.say(&format!("Key slot {} removed.", args.slot));
    Ok(())
}

/// That whoever removes the keyslot can still open the volume, or could, if it is the last.
fn verify(
    args: &LuksKillSlotArgs,
    is_last: bool,
    editor: &AnyEditor<'_>,
    report: &Report,
) -> anyhow::Result<()> {
    let unlock = args.unlock();
    let unlocking = editing::unlocking(&args.device, &unlock, "Enter any remaining passphrase: ");
    let which = UnlockOptions {
        keyslot: is_last.then_some(args.slot),
        except: (!is_last).then_some(args.slot),
        ..unlock.to_options()
    };
    editing::unlock(editor, &unlocking, &which, report)?;
    Ok(())
}
