//! `luksAddKey DEVICE [KEYFILE]`

use anyhow::Context;
use lucarne::{AnyEditor, Error, HeaderRef, SecretBytes, UnlockOptions, Unlocked};

use super::{editing, editing::HeaderDevice, format_options};
use crate::{
    args::{CommonArgs, LuksAddKeyArgs},
    exit::{Failure, shown},
    keyfile,
    passphrase::{Source, StdinRole},
    report::{Report, complain},
    unlock,
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
    let mut options = format_options::keyslot(&args.pbkdf, slots.new, editor.header())?;
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
            if args.token.existing().is_some() {
                complain("a key of its own needs no existing key: no token is asked for it");
            }
            let editor = editor.luks2().with_context(|| device.shown())?;
            let key = key_of_its_own(args)?;
            let passphrase = new_passphrase(args, common)?;
            editor.add_unbound_keyslot(&key, &passphrase, &options)
        }
        false => {
            let key = existing_key(args, slots.existing, &device, &editor, report)?;
            options.token = new_token(args);
            let passphrase = match options.token {
                Some(token) => passphrase_of_token(args, token, &editor)?,
                None => new_passphrase(args, common)?,
            };
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
    device: &HeaderDevice,
    editor: &AnyEditor<'_>,
    report: &Report,
) -> anyhow::Result<Unlocked> {
    let has_key_file = args.volume_key_file.is_some() || args.unlock.key.key_file.is_some();
    match args.token.existing() {
        None => {}
        Some(_) if has_key_file => {
            complain("a key file takes precedence: no token is asked for the existing key");
        }
        Some(tokens) => {
            if keyslot.is_some() {
                complain("--key-slot: a token opens whichever keyslot it serves");
            }
            let options = args.unlock.to_options();
            let options = UnlockOptions {
                keyslot: None,
                ..options
            };
            let header = editor.header();
            let key = unlock::unlock_by_token(&tokens, header, device.storage(), &options)
                .map_err(|error| unlock::refused(&args.device, error))?;
            unlock::say_unlocked(key.keyslot, report);
            return Ok(key);
        }
    }
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

/// The token that gives the new passphrase.
fn new_token(args: &LuksAddKeyArgs) -> Option<u32> {
    let token = args.token.new_token_id?;
    if args.new_key().key_file.is_some() {
        complain("the new key file takes precedence over --new-token-id");
        return None;
    }
    Some(token)
}

fn passphrase_of_token(
    args: &LuksAddKeyArgs,
    token: u32,
    editor: &AnyEditor<'_>,
) -> anyhow::Result<SecretBytes> {
    let passphrase = match editor.header() {
        // LUKS1 has no tokens.
        HeaderRef::Luks1(_) => Err(Error::NoUsableToken),
        HeaderRef::Luks2(header) => args
            .token
            .command
            .with_unlockers(|unlockers| lucarne::passphrase_of_token(header, unlockers, token)),
    };
    passphrase
        .with_context(|| format!("--new-token-id {token}"))
        .with_context(|| shown(&args.device))
}

fn new_passphrase(args: &LuksAddKeyArgs, common: &CommonArgs) -> anyhow::Result<SecretBytes> {
    let key = args.new_key();
    Source::new(&key, &args.device, StdinRole::Free)
        .with_prompt("Enter new passphrase for key slot: ")
        .new_one(common.batch_mode)
}
