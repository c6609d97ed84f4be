//! `luksAddKey DEVICE [KEYFILE]`

use anyhow::Context;
use lucarne::{AnyEditor, SecretBytes, UnlockOptions, Unlocked};

use super::{editing, editing::HeaderDevice, format_options};
use crate::{
    args::{CommonArgs, LuksAddKeyArgs},
    exit::Failure,
    keyfile,
    passphrase::{Source, StdinRole},
    report::{Report, complain},
};

pub(crate) fn run(
    args: &LuksAddKeyArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    args.rest.complain();
    let slots = Slots::of(args);
    let device = HeaderDevice::open(&args.device, args.unlock.header.as_deref(), common)?;
    let mut editor = device.any_editor(&args.unlock.limits)?;
    let options = format_options::keyslot(&args.pbkdf, slots.new, editor.header())?;
    // Before a passphrase is asked for, which would be for nothing.
    if let Some(slot) = slots.new
        && editor.header().has_keyslot(slot)
    {
        return Err(Failure::Parameters(format!(
            "{}: keyslot {slot} is in use already; choose another or kill it first",
            device.shown()
        ))
        .into());
    }

    let keyslot = match args.unbound {
        true => {
            let editor = editor.luks2().with_context(|| device.shown())?;
            let key = key_of_its_own(args)?;
            let passphrase = new_passphrase(args, common)?;
            editor.add_unbound_keyslot(&key, &passphrase, &options)
        }
        false => {
            let key = existing_key(args, slots.existing, &editor, report)?;
            let passphrase = new_passphrase(args, common)?;
            editor.add_keyslot(&key, &passphrase, &options)
        }
    }
    .with_context(|| device.shown())?;
    report.say(&format!("Key slot {keyslot} created."));
    Ok(())
}

/// What `--key-slot` means depends on whether there is a `--new-key-slot`, as in cryptsetup.
struct Slots {
    existing: Option<u32>,
    new: Option<u32>,
}

impl Slots {
    fn of(args: &LuksAddKeyArgs) -> Self {
        match (args.unlock.key_slot, args.new_key_slot) {
            (existing, new @ Some(_)) => Self { existing, new },
            (new @ Some(_), None) => {
                if !args.unbound {
                    complain(
                        "--key-slot is the new keyslot's number here; with --new-key-slot it is the one to unlock",
                    );
                }
                Self {
                    existing: None,
                    new,
                }
            }
            (None, None) => Self {
                existing: None,
                new: None,
            },
        }
    }
}

fn existing_key(
    args: &LuksAddKeyArgs,
    keyslot: Option<u32>,
    editor: &AnyEditor<'_>,
    report: &Report,
) -> anyhow::Result<Unlocked> {
    let mut unlocking = editing::unlocking(
        &args.device,
        &args.unlock,
        "Enter any existing passphrase: ",
    );
    unlocking.volume_key_file = args.volume_key_file.as_deref();
    unlocking.volume_key_len = args.key_size.map(|bytes| bytes as usize);
    let options = UnlockOptions {
        keyslot,
        ..args.unlock.to_options()
    };
    editing::unlock(editor, &unlocking, &options, report)
}

fn key_of_its_own(args: &LuksAddKeyArgs) -> anyhow::Result<SecretBytes> {
    let len = args.key_size.unwrap_or_default() as usize;
    match &args.volume_key_file {
        Some(path) => keyfile::read_volume_key(path, Some(len)),
        None => SecretBytes::random(len).context("cannot make a key"),
    }
}

fn new_passphrase(args: &LuksAddKeyArgs, common: &CommonArgs) -> anyhow::Result<SecretBytes> {
    let key = args.new_key();
    Source::new(&key, &args.device, StdinRole::Free)
        .with_prompt("Enter new passphrase for key slot: ")
        .new_one(common.batch_mode)
}
