//! `luksChangeKey DEVICE [KEYFILE]`

use anyhow::Context;
use lucarne::{AnyEditor, UnlockOptions};

use super::{editing, editing::HeaderDevice, format_options};
use crate::{
    args::{CommonArgs, LuksChangeKeyArgs},
    passphrase::{Source, StdinRole},
    report::{Report, complain},
};

pub(crate) fn run(
    args: &LuksChangeKeyArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let device = HeaderDevice::open(&args.device, args.unlock.header.as_deref(), common)?;
    let mut editor = device.any_editor(&args.unlock.limits)?;
    let options = format_options::keyslot(&args.pbkdf, args.unlock.key_slot, editor.header())?;
    let unlocking = editing::unlocking(
        &args.device,
        &args.unlock,
        "Enter passphrase to be changed: ",
    );
    let which = UnlockOptions {
        allow_unbound: true,
        ..args.unlock.to_options()
    };
    let key = editing::unlock(&editor, &unlocking, &which, report)?;
    let new_key = args.new_key();
    let passphrase = Source::new(&new_key, &args.device, StdinRole::Free)
        .with_prompt("Enter new passphrase: ")
        .new_one(common.batch_mode)?;
    if let AnyEditor::Luks1(editor) = &editor
        && !editor.can_change_safely()
    {
        complain(&format!(
            "{}: all keyslots are in use, so this one is changed where it is: if power fails now, its key is lost",
            device.shown()
        ));
    }
    let keyslot = editor
        .change_keyslot(&key, &passphrase, &options)
        .with_context(|| device.shown())?;
    device.warn_of_old_copies();
    report.say(&format!("Key slot {keyslot} created."));
    Ok(())
}
