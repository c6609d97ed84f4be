//! `reencrypt DEVICE`
//!
//! | file | what |
//! |---|---|
//! | here | another key, or what was begun |
//! | `encrypt` | `--encrypt` |
//! | `decrypt` | `--decrypt` |
//! | `options` | from the command line to the library |

mod decrypt;
mod encrypt;
mod options;

use std::path::Path;

use anyhow::Context;
use lucarne::{
    Access, Control, Error, FileStorage, HeaderRef, ReencryptOptions, Reencryption, Secret,
    SecretBytes, Storage,
    luks2::{Header, ReencryptMode},
    read_header_within,
};

use super::editing;
use crate::{
    args::{CommonArgs, ReencryptArgs},
    device::{self, Opened},
    exit::{Failure, shown},
    passphrase::{Source, StdinRole},
    progress::{Lines, Watcher},
    report::{Report, complain},
    signals::Graceful,
    unlock::Unlocking,
};

pub(crate) fn run(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    options::refuse_what_has_no_effect(args)?;
    match (args.encrypt, args.decrypt) {
        (true, _) => encrypt::run(args, common, report),
        (_, true) => decrypt::run(args, common, report),
        _ => reencrypt(args, common, report),
    }
}

fn reencrypt(args: &ReencryptArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let opened = open(args)?;
    let limits = args.unlock.limits.to_limits();
    let selected = read_header_within(opened.header(), &limits)
        .map_err(of_luks1)
        .with_context(|| shown(&args.device))?;
    let header = &selected.header;
    if header.metadata().reencryption().is_some() {
        return resume(args, common, report, &opened, header);
    }
    if args.resume_only {
        return Err(nothing_to_resume(&args.device));
    }
    let mut options = options::translate(args, common, header)?;
    options.resilience = options::in_place(args)?;
    let _graceful = Graceful::begin()?;
    let begin = |passphrases: &[&[u8]], options: &ReencryptOptions| {
        Reencryption::begin(opened.header(), opened.detached(), passphrases, options)
    };
    let ids = keyslots(header);
    let begun = if ids.len() > 1 && args.unlock.key_slot.is_none() && !args.keep_key {
        let passphrases = passphrases_of_all(args, &opened, header, &ids)?;
        let passphrases: Vec<&[u8]> = passphrases.iter().map(|passphrase| &**passphrase).collect();
        options.keyslots = ids;
        begin(&passphrases, &options).with_context(|| shown(&args.device))?
    } else {
        unlocking(args).with_secret(HeaderRef::Luks2(header), |secret| {
            begin(&[passphrase_of(&secret)], &options)
        })?
    };
    go_on(args, common, report, begun)
}

/// Takes up what the header says that was begun.
fn resume(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
    opened: &Opened,
    header: &Header,
) -> anyhow::Result<()> {
    let device = shown(&args.device);
    if args.init_only {
        return Err(Failure::Exists(format!(
            "{device}: a re-encryption is begun already: --resume-only goes on with it"
        ))
        .into());
    }
    let described = header.metadata().reencryption();
    let mode = described.map(|described| described.keyslot.mode);
    let asked = match (args.encrypt, args.decrypt) {
        (true, _) => Some(ReencryptMode::Encrypt),
        (_, true) => Some(ReencryptMode::Decrypt),
        _ => None,
    };
    if let (Some(mode), Some(asked)) = (mode, asked)
        && mode != asked
    {
        return Err(Failure::Parameters(format!(
            "{device}: what was begun is mode {}, not {}: --resume-only without the option goes on with it",
            mode.as_str(),
            asked.as_str()
        ))
        .into());
    }
    let options = options::translate(args, common, header)?;
    let _graceful = Graceful::begin()?;
    let resumed = unlocking(args).with_secret(HeaderRef::Luks2(header), |secret| {
        let passphrase = passphrase_of(&secret);
        Reencryption::resume(opened.header(), opened.detached(), &[passphrase], &options)
    })?;
    go_on(args, common, report, resumed)
}

/// Runs it to its end, unless only its beginning was wanted.
fn go_on(
    args: &ReencryptArgs,
    common: &CommonArgs,
    report: &Report,
    begun: Reencryption<'_>,
) -> anyhow::Result<()> {
    let device = shown(&args.device);
    if args.init_only {
        report.say("Re-encryption begun; --resume-only goes on with it.");
        return Ok(());
    }
    let left: Vec<String> = (begun.unopened_keyslots().iter())
        .map(u32::to_string)
        .collect();
    let zone = begun.hot_zone().filter(|_| args.unprotected_zone.is_some());
    let control = Control::default();
    let watcher = Watcher::new(
        &args.progress,
        common.batch_mode,
        &args.device,
        Lines::Stdout,
    );
    let parallelism = args.progress.parallelism();
    watcher
        .watch(&control, || begun.run(parallelism, &control))
        .map_err(|error| match error {
            Error::Interrupted => Failure::Parameters(format!(
                "{device}: interrupted; {} of {} bytes are done, the same command with --resume-only goes on",
                control.done_bytes(),
                control.total_bytes().unwrap_or_default()
            ))
            .into(),
            error => anyhow::Error::new(error).context(format!(
                "{device}: {} bytes are done, --resume-only goes on",
                control.done_bytes()
            )),
        })?;
    if let Some(zone) = zone {
        complain(&format!(
            "{device}: bytes {}..{} of the plaintext were not protected: part of them may be lost",
            zone.start, zone.end
        ));
    }
    if !left.is_empty() {
        complain(&format!(
            "{device}: the data were under the new key already; keyslot {} of the old one does not open with this passphrase and stays unbound: luksKillSlot removes it",
            left.join(", ")
        ));
    }
    Ok(())
}

/// Both for writing, the data past the page cache.
fn open(args: &ReencryptArgs) -> anyhow::Result<Opened> {
    open_with(args, args.unlock.header.as_deref())
}

fn open_with(args: &ReencryptArgs, header: Option<&Path>) -> anyhow::Result<Opened> {
    Ok(Opened {
        data: device::open(&args.device, Access::ReadWrite)?.with_direct_writes(),
        detached_header: header
            .map(|header| device::open(header, Access::ReadWrite))
            .transpose()?,
    })
}

fn unlocking(args: &ReencryptArgs) -> Unlocking<'_> {
    editing::unlocking(&args.device, &args.unlock, "Enter passphrase: ")
}

fn passphrase_of<'a>(secret: &Secret<'a>) -> &'a [u8] {
    let (Secret::Passphrase(passphrase) | Secret::VolumeKey(passphrase)) = *secret;
    passphrase
}

fn of_luks1(error: Error) -> anyhow::Error {
    match error {
        Error::Luks1 => Failure::Parameters(
            "LUKS1 has no metadata of a re-encryption: convert --type luks2 first, or copy it with rekey".into(),
        )
        .into(),
        error => error.into(),
    }
}

fn nothing_to_resume(device: &Path) -> anyhow::Error {
    Failure::Parameters(format!(
        "{}: there is no re-encryption to go on with",
        shown(device)
    ))
    .into()
}

/// The keyslots of the data's key.
fn keyslots(header: &Header) -> Vec<u32> {
    let digest = header.metadata().digest_of_segment(0);
    digest.map_or(Vec::new(), |(_, digest)| {
        digest.keyslots.iter().copied().collect()
    })
}

/// Each keyslot that stays needs its passphrase: it gets a successor for the new key.
fn passphrases_of_all(
    args: &ReencryptArgs,
    opened: &Opened,
    header: &Header,
    keyslots: &[u32],
) -> anyhow::Result<Vec<SecretBytes>> {
    if args.unlock.key.key_file.is_some() {
        return Err(Failure::Parameters(format!(
            "{}: {} keyslots are in use, and a key file opens one: name the one that stays with --key-slot (the others are gone in the end), or give all passphrases on the terminal or standard input",
            shown(&args.device),
            keyslots.len()
        ))
        .into());
    }
    let mut passphrases = Vec::new();
    for &keyslot in keyslots {
        let prompt = format!("Enter passphrase for key slot {keyslot}: ");
        let unlocking = editing::unlocking(&args.device, &args.unlock, &prompt);
        let options = lucarne::UnlockOptions {
            keyslot: Some(keyslot),
            ..args.unlock.to_options()
        };
        passphrases.push(unlocking.with_secret(HeaderRef::Luks2(header), |secret| {
            let passphrase = SecretBytes::from_slice(passphrase_of(&secret));
            lucarne::unlock(header, opened.header(), secret, &options).map(|_| passphrase)
        })?);
    }
    Ok(passphrases)
}

/// A passphrase for what has none yet.
fn new_passphrase(args: &ReencryptArgs, common: &CommonArgs) -> anyhow::Result<SecretBytes> {
    Source::new(&args.unlock.key, &args.device, StdinRole::Free).new_one(common.batch_mode)
}

/// A header of LUKS2 on it, if there is any that can be read.
fn header_on(storage: &FileStorage, args: &ReencryptArgs) -> Result<Header, Error> {
    read_header_within(storage, &args.unlock.limits.to_limits()).map(|selected| selected.header)
}

impl Opened {
    /// The data, where the header is apart.
    fn detached(&self) -> Option<&dyn Storage> {
        let data: &dyn Storage = &self.data;
        self.detached_header.is_some().then_some(data)
    }
}
