//! `rekey IN OUT`

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use anyhow::Context;
use lucarne::{
    Access, Control, Error, FileStorage, FormatOptions, LockKind, LuksVersion, Output, Rekey,
    RekeyOptions, RekeyRun, Replace, Secret, SecretBytes, UnfinishedRekey, luks2::Segment,
    unfinished_rekey,
};

use super::format_options::NewVolume;
use crate::{
    args::{CommonArgs, RekeyArgs},
    confirm,
    device::{self, Opened},
    exit::{Failure, shown},
    header,
    passphrase::{Source, StdinRole},
    progress::{Lines, Watcher},
    report::Report,
    signals::Graceful,
    unlock::Unlocking,
};

pub(crate) fn run(args: &RekeyArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    if args.output.as_os_str() == "-" {
        return Err(Failure::parameters(
            "OUT: a volume is written in any order, so it cannot be standard output; name a file",
        )
        .into());
    }
    let format = new_volume(args).translate()?;
    // All that can be refused is refused before a passphrase is asked for.
    let opened = Opened::open(
        &args.input,
        args.opening.unlock.header.as_deref(),
        Access::ReadOnly,
    )?;
    device::refuse_same_file(&opened.data, &args.output)?;
    device::refuse_same_file(opened.header(), &args.output)?;
    let unfinished = Unfinished::find(args)?;
    let replace = match &unfinished {
        // A device was asked about when the copy was begun.
        Unfinished::OnDevice(_) => Replace::Allowed,
        _ => confirm::replacement(common.batch_mode, &args.output)?,
    };
    unfinished.refuse(args, &format)?;

    let unlocking = Unlocking::new(&args.input, &args.opening, StdinRole::Free, common);
    let (volume, old_passphrase) = unlocking.volume_and_passphrase(&opened, report)?;
    let volume = match args.holes_are_unwritten {
        true => volume.with_zeros_as_holes(),
        false => volume,
    };
    let passphrase = passphrase(args, common, old_passphrase)?;
    let mut options = RekeyOptions {
        format,
        sparse: args.sparse,
        source_stamp: stamp(&opened.data)?,
        patience: header::patience(common),
    };

    let _graceful = Graceful::begin()?;
    let made = || format!("{} to {}", shown(&args.input), shown(&args.output));
    let control = Control::default();
    let resumes = args.resume && unfinished.state().is_some();
    let output = if resumes {
        Output::resume(&args.output, replace)
    } else {
        unfinished.discard()?;
        Output::create_resumable(&args.output, replace)
    }
    .with_context(|| shown(&args.output))?;
    device::claim_output(
        &args.output,
        &output,
        Some(&opened.data),
        common.disable_locks,
    )?;
    if !output.is_device() {
        // Held already, and until the file has its name.
        options.patience = None;
    }
    let rekey = if resumes {
        let secret = Secret::Passphrase(&passphrase);
        Rekey::resume(&volume, output.storage(), secret, &options).with_context(made)?
    } else {
        let begun = Rekey::begin(&volume, output.storage(), &passphrase, &options, &control)
            .map_err(|error| super::not_made(error, &args.input, &args.output))?;
        output.keep_partial();
        begun
    };
    let run = RekeyRun {
        parallelism: args.progress.parallelism(),
        checkpoint_bytes: args.checkpoint,
        verify: args.verify,
    };
    let watcher = Watcher::new(
        &args.progress,
        common.batch_mode,
        &args.input,
        Lines::Stdout,
    );
    if let Err(error) = watcher.watch(&control, || rekey.run(&run, &control)) {
        return Err(stopped(args, error, rekey.done_bytes(), rekey.volume_len()));
    }
    rekey.finish().with_context(made)?;
    output.finish().with_context(|| shown(&args.output))?;
    report.say(&format!("Key slot {} created.", options.format.keyslot));
    Ok(())
}

fn new_volume(args: &RekeyArgs) -> NewVolume<'_> {
    NewVolume {
        volume: &args.volume,
        pbkdf: &args.pbkdf,
        volume_key_file: None,
        key_slot: args.new_key_slot,
        has_detached_header: false,
        version: LuksVersion::Luks2,
    }
}

/// OUT's passphrase.
fn passphrase(
    args: &RekeyArgs,
    common: &CommonArgs,
    of_input: Option<SecretBytes>,
) -> anyhow::Result<SecretBytes> {
    let passphrase = match of_input {
        Some(passphrase) if args.new_keyfile.is_none() => passphrase,
        // A token or the volume key itself opened IN, or another passphrase is wanted.
        _ => {
            let key = args.new_key();
            let source = Source::new(&key, &args.output, StdinRole::Free).with_prompt(format!(
                "Enter new passphrase for {}: ",
                shown(&args.output)
            ));
            match args.resume {
                true => source.existing()?,
                false => source.new_one(common.batch_mode)?,
            }
        }
    };
    if passphrase.is_empty() && !args.force_password {
        return Err(Failure::Permission(
            "OUT's passphrase would be empty; --force-password allows that".into(),
        )
        .into());
    }
    Ok(passphrase)
}

/// The time of the last write, by which another state of IN is told; a device has none.
fn stamp(input: &FileStorage) -> anyhow::Result<Option<String>> {
    if input.is_block_device() {
        return Ok(None);
    }
    let metadata = input.file().metadata().context("IN")?;
    Ok(Some(format!(
        "{}.{:09}",
        metadata.mtime(),
        metadata.mtime_nsec()
    )))
}

/// Why OUT is not there yet, and what to do.
fn stopped(args: &RekeyArgs, error: Error, done: u64, len: u64) -> anyhow::Error {
    let (input, output) = (shown(&args.input), shown(&args.output));
    match error {
        Error::Interrupted => Failure::Parameters(format!(
            "{input} to {output}: interrupted; {done} of {len} bytes are done, the same command with --resume goes on"
        ))
        .into(),
        Error::Device(fault) => Failure::Device(format!(
            "{input} to {output}: {fault}; {output} is not made, --start-over makes it anew"
        ))
        .into(),
        error => anyhow::Error::new(error).context(format!(
            "{input} to {output}: {done} of {len} bytes are done, --resume goes on"
        )),
    }
}

/// What an interrupted run has left of OUT.
enum Unfinished {
    Nothing,
    /// The file; without a state it had not begun to copy.
    InFile(PathBuf, Option<UnfinishedRekey>),
    OnDevice(UnfinishedRekey),
}

impl Unfinished {
    fn find(args: &RekeyArgs) -> anyhow::Result<Self> {
        let is_device = std::fs::metadata(&args.output)
            .is_ok_and(|metadata| metadata.file_type().is_block_device());
        let path = match is_device {
            true => args.output.clone(),
            false => Output::partial_path(&args.output).with_context(|| shown(&args.output))?,
        };
        if path.symlink_metadata().is_err() {
            return Ok(Self::Nothing);
        }
        let storage = device::open(&path, Access::ReadOnly)?;
        let state = unfinished_rekey(&storage).with_context(|| shown(&path))?;
        Ok(match (is_device, state) {
            (false, state) => Self::InFile(path, state),
            (true, Some(state)) => Self::OnDevice(state),
            (true, None) => Self::Nothing,
        })
    }

    fn state(&self) -> Option<&UnfinishedRekey> {
        match self {
            Self::Nothing => None,
            Self::InFile(_, state) => state.as_ref(),
            Self::OnDevice(state) => Some(state),
        }
    }

    /// Refuses to go on without being told how, and with anything else than was begun.
    fn refuse(&self, args: &RekeyArgs, format: &FormatOptions) -> anyhow::Result<()> {
        let output = shown(&args.output);
        match (self, self.state()) {
            (Self::Nothing, _) if args.resume => Err(Failure::Device(format!(
                "{output}: there is no interrupted rekey to go on with"
            ))
            .into()),
            (_, Some(state)) if args.resume => Ok(refuse_other_options(args, format, state)?),
            (Self::Nothing, _) => Ok(()),
            _ if args.resume || args.start_over => Ok(()),
            (_, Some(state)) => Err(Failure::Exists(format!(
                "{output}: an interrupted rekey has done {} of {} bytes of it: --resume goes on, --start-over throws them away",
                state.done_bytes, state.volume_len
            ))
            .into()),
            (Self::InFile(path, _), None) => Err(Failure::Exists(format!(
                "{output}: an interrupted run has left {}: --start-over throws it away",
                shown(path)
            ))
            .into()),
            (Self::OnDevice(_), None) => Ok(()),
        }
    }

    /// Removes what lies in the way of a new beginning; a device is written over.
    fn discard(&self) -> anyhow::Result<()> {
        let Self::InFile(path, _) = self else {
            return Ok(());
        };
        let storage = device::open(path, Access::ReadWrite)?;
        if storage.try_lock(LockKind::Exclusive).is_err() {
            return Err(Failure::Exists(format!(
                "{}: another process is working on it",
                shown(path)
            ))
            .into());
        }
        std::fs::remove_file(path).with_context(|| shown(path))
    }
}

/// The options that were given again must be those that the copy was begun with.
fn refuse_other_options(
    args: &RekeyArgs,
    format: &FormatOptions,
    state: &UnfinishedRekey,
) -> Result<(), Failure> {
    let metadata = state.header.metadata();
    let Some(Segment::Crypt(segment)) = metadata.segments().get(&0) else {
        return Ok(());
    };
    let key_bits = metadata
        .keyslots()
        .values()
        .next()
        .map(|keyslot| u64::from(keyslot.key_size()) * 8);
    let given = &args.volume;
    let differs = |option: &str, given: Option<String>, begun: String| match given {
        Some(given) if given != begun => Err(Failure::Parameters(format!(
            "--{option} {given}: the interrupted run began with {begun}; --start-over begins anew"
        ))),
        _ => Ok(()),
    };
    differs(
        "cipher",
        given.cipher.as_ref().map(|_| format.cipher.to_string()),
        segment.encryption.clone(),
    )?;
    differs(
        "key-size",
        given
            .key_size
            .map(|bytes| (u64::from(bytes) * 8).to_string()),
        key_bits.unwrap_or_default().to_string(),
    )?;
    differs(
        "sector-size",
        given.sector_size.map(|bytes| bytes.to_string()),
        segment.sector_size.to_string(),
    )?;
    differs(
        "offset",
        given.offset.map(|bytes| (bytes / 512).to_string()),
        (segment.offset / 512).to_string(),
    )?;
    differs("label", given.label.clone(), state.header.label().into())?;
    differs(
        "subsystem",
        given.subsystem.clone(),
        state.header.subsystem().into(),
    )?;
    differs(
        "uuid",
        format.uuid.map(|uuid| uuid.to_string()),
        state.header.uuid().into(),
    )
}
