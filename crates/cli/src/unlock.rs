//! From the options to an open volume: asks for the passphrase, and again if a person mistyped it.

use std::path::Path;

use anyhow::Context;
use lucarne::{
    AnyHeader, Error, FileStorage, HeaderRef, LuksVersion, OpenOptions, Secret, SecretBytes,
    Storage, UnlockOptions, Unlocked, Volume, luks2,
};

use crate::{
    args::{CommonArgs, LimitArgs, OpeningArgs, UnlockArgs, VolumeType},
    device::Opened,
    exit::{Failure, shown},
    keyfile,
    passphrase::{Source, StdinRole},
    report::Report,
};

/// What unlocks, and where it comes from.
pub(crate) struct Unlocking<'a> {
    /// The volume's name in prompts and messages.
    pub(crate) device: &'a Path,
    pub(crate) args: &'a UnlockArgs,
    /// Which version it may be.
    pub(crate) volume_type: VolumeType,
    pub(crate) volume_key_file: Option<&'a Path>,
    pub(crate) stdin: StdinRole,
    /// What is asked for, where it is not the volume's passphrase in cryptsetup's usual words.
    pub(crate) prompt: Option<String>,
}

impl<'a> Unlocking<'a> {
    pub(crate) fn new(
        device: &'a Path,
        args: &'a OpeningArgs,
        stdin: StdinRole,
        common: &CommonArgs,
    ) -> Self {
        Self {
            device,
            args: &args.unlock,
            volume_type: common.volume_type,
            volume_key_file: args.volume_key_file.as_deref(),
            stdin,
            prompt: None,
        }
    }

    /// Opens the volume.
    pub(crate) fn volume<'o>(
        &self,
        opened: &'o Opened,
        report: &Report,
    ) -> anyhow::Result<Volume<&'o FileStorage>> {
        // What is no volume is said before a passphrase is asked for.
        let header = self.read_header(opened.header())?;
        let options = || {
            let options = OpenOptions::default().limits(self.args.limits.to_limits());
            match &opened.detached_header {
                Some(header) => options.header(header),
                None => options,
            }
        };
        let volume = self.with_secret(&header, |secret| {
            let options = match (secret, self.args.key_slot) {
                (Secret::Passphrase(_), Some(keyslot)) => options().keyslot(keyslot),
                _ => options(),
            };
            options.open_judged(&header, &opened.data, secret)
        })?;
        say_unlocked(volume.keyslot(), report);
        Ok(volume)
    }

    /// Finds a key without using it, in one keyslot or in any.
    pub(crate) fn key(
        &self,
        header: &AnyHeader,
        storage: &dyn Storage,
        keyslot: Option<u32>,
        allow_unbound: bool,
        report: &Report,
    ) -> anyhow::Result<Unlocked> {
        let options = UnlockOptions {
            keyslot,
            allow_unbound,
            except: None,
            limits: self.args.limits.to_limits(),
        };
        let unlocked = self.with_secret(header, |secret| {
            lucarne::unlock(header, storage, secret, &options)
        })?;
        say_unlocked(unlocked.keyslot, report);
        Ok(unlocked)
    }

    pub(crate) fn read_header(&self, storage: &FileStorage) -> anyhow::Result<AnyHeader> {
        let header = self.args.header.as_deref().unwrap_or(self.device);
        read_header(header, storage, self.volume_type)
    }

    pub(crate) fn with_secret<'h, T>(
        &self,
        header: impl Into<HeaderRef<'h>>,
        try_it: impl Fn(Secret<'_>) -> Result<T, Error>,
    ) -> anyhow::Result<T> {
        if let Some(path) = self.volume_key_file {
            let key = keyfile::read_volume_key(path, header.into().volume_key_len())?;
            return try_it(Secret::VolumeKey(&key)).map_err(|error| self.refused(error));
        }
        let mut source = Source::new(&self.args.key, self.device, self.stdin);
        if let Some(prompt) = &self.prompt {
            source = source.with_prompt(prompt);
        }
        let tries = match source.is_interactive() {
            true => self.args.tries.max(1),
            false => 1,
        };
        for left in (0..tries).rev() {
            let passphrase: SecretBytes = source.existing()?;
            match try_it(Secret::Passphrase(&passphrase)) {
                Err(Error::WrongKey) if left > 0 => {
                    crate::report::complain("no keyslot accepts this passphrase; try again");
                }
                result => return result.map_err(|error| self.refused(error)),
            }
        }
        Err(anyhow::Error::new(Error::WrongKey).context(shown(self.device)))
    }
}

impl Unlocking<'_> {
    /// The error with the volume's name, and with the option that helps, where one does.
    fn refused(&self, error: Error) -> anyhow::Error {
        match error {
            Error::TooCostly { cost, .. } => Failure::Parameters(format!(
                "{}: {error}; {} raises it",
                shown(self.device),
                LimitArgs::option_of(cost)
            ))
            .into(),
            error => anyhow::Error::new(error).context(shown(self.device)),
        }
    }
}

pub(crate) fn say_unlocked(keyslot: Option<u32>, report: &Report) {
    if let Some(keyslot) = keyslot {
        report.say(&format!("Key slot {keyslot} unlocked."));
    }
}

/// Reads and judges a header of the version that is wanted.
pub(crate) fn read_header(
    path: &Path,
    storage: &dyn Storage,
    wanted: VolumeType,
) -> anyhow::Result<AnyHeader> {
    let header = lucarne::read_any_header(storage).with_context(|| shown(path))?;
    expect_version(path, header.version(), wanted)?;
    match &header {
        AnyHeader::Luks2(selected) => describe_luks2(selected),
        AnyHeader::Luks1(_) => tracing::debug!("LUKS1 header read"),
    }
    Ok(header)
}

/// Refuses a volume of another version than `--type` names.
pub(crate) fn expect_version(
    path: &Path,
    found: LuksVersion,
    wanted: VolumeType,
) -> anyhow::Result<()> {
    let (other, is) = match (wanted, found) {
        (VolumeType::Luks1, LuksVersion::Luks2) => ("luks1", "LUKS2"),
        (VolumeType::Luks2, LuksVersion::Luks1) => ("luks2", "LUKS1"),
        _ => return Ok(()),
    };
    Err(Failure::Parameters(format!(
        "{}: --type {other}: the volume is {is}",
        shown(path)
    ))
    .into())
}

fn describe_luks2(selected: &luks2::Selected) {
    for (copy, defect) in [
        ("primary", &selected.repair.primary),
        ("secondary", &selected.repair.secondary),
    ] {
        if let Some(defect) = defect {
            tracing::debug!(copy, %defect, "the other header copy is used");
        }
    }
    let header = &selected.header;
    tracing::debug!(
        seqid = header.seqid(),
        header_bytes = header.header_size(),
        keyslots = header.metadata().keyslots().len(),
        "header read"
    );
    for defect in header.metadata().defects() {
        tracing::debug!(%defect, "a part of the header is unusable");
    }
}
