//! `luksConvertKey DEVICE`

use anyhow::Context;
use lucarne::{Secret, SecretBytes, UnlockOptions};

use super::{editing, editing::HeaderDevice, format_options};
use crate::{
    args::{CommonArgs, LuksConvertKeyArgs},
    report::Report,
    unlock::say_unlocked,
};

pub(crate) fn run(
    args: &LuksConvertKeyArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let device = HeaderDevice::open(&args.device, args.unlock.header.as_deref(), common)?;
    let mut editor = device.editor(&args.unlock.limits)?;
    let options = format_options::keyslot(&args.pbkdf, None, editor.header())?;
    let unlocking = editing::unlocking(
        &args.device,
        &args.unlock,
        "Enter passphrase for keyslot to be converted: ",
    );
    let which = UnlockOptions {
        allow_unbound: true,
        ..args.unlock.to_options()
    };
    let (key, passphrase) = unlocking.with_secret(editor.header(), |secret| {
        let unlocked = editor.unlock(secret, &which)?;
        let (Secret::Passphrase(bytes) | Secret::VolumeKey(bytes)) = secret;
        Ok((unlocked, SecretBytes::from_slice(bytes)))
    })?;
    say_unlocked(key.keyslot, report);
    let keyslot = editor
        .change_keyslot(&key, &passphrase, &options)
        .with_context(|| device.shown())?;
    device.warn_of_old_copies();
    report.say(&format!("Key slot {keyslot} created."));
    Ok(())
}
