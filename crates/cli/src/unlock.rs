//! From the options to an open volume: asks for the passphrase, and again if a person mistyped it.

use std::path::Path;

use lucarne::{
    AnyHeader, Error, FileStorage, HeaderRef, LuksVersion, OpenOptions, Secret, SecretBytes,
    Storage, TokenChoice, UnlockOptions, Unlocked, Volume, luks2,
};

use crate::{
    args::{
        CommonArgs, LimitArgs, OpeningArgs, PolicyArgs, TokenUnlockArgs, UnlockArgs, VolumeType,
    },
    device::Opened,
    exit::{Failure, shown},
    keyfile,
    passphrase::{Source, StdinRole},
    policy::{Judging, data_device},
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
    /// How many bytes of that file the key is, where no keyslot says it.
    pub(crate) volume_key_len: Option<usize>,
    /// The tokens that are tried before a passphrase; `None`: no token is.
    pub(crate) token: Option<&'a TokenUnlockArgs>,
    pub(crate) stdin: StdinRole,
    /// What is asked for, where it is not the volume's passphrase in cryptsetup's usual words.
    pub(crate) prompt: Option<String>,
    /// How the header is judged; `None`: not at all.
    pub(crate) judging: Option<&'a PolicyArgs>,
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
            volume_key_len: None,
            token: Some(&args.token),
            stdin,
            prompt: None,
            judging: Some(&args.judging),
        }
    }

    /// Opens the volume.
    pub(crate) fn volume<'o>(
        &self,
        opened: &'o Opened,
        report: &Report,
    ) -> anyhow::Result<Volume<&'o FileStorage>> {
        Ok(self.volume_and_passphrase(opened, report)?.0)
    }

    /// As [`Self::volume`], with the passphrase that opened it, if it was one.
    pub(crate) fn volume_and_passphrase<'o>(
        &self,
        opened: &'o Opened,
        report: &Report,
    ) -> anyhow::Result<(Volume<&'o FileStorage>, Option<SecretBytes>)> {
        // What is no volume is said before a passphrase is asked for.
        let header = self.read_judged(opened)?;
        let options = || {
            let options = OpenOptions::default().limits(self.args.limits.to_limits());
            match &opened.detached_header {
                Some(header) => options.header(header),
                None => options,
            }
        };
        let unlock = self.args.to_options();
        if let Some(unlocked) = self.by_token(&header, opened.header(), &unlock, report)? {
            let volume = options()
                .open_unlocked(&header, &opened.data, unlocked)
                .map_err(|error| self.refused(error))?;
            say_unlocked(volume.keyslot(), report);
            return Ok((volume, None));
        }
        let (volume, passphrase) = self.with_secret(&header, |secret| {
            let (options, passphrase) = match secret {
                Secret::Passphrase(passphrase) => {
                    let options = match self.args.key_slot {
                        Some(keyslot) => options().keyslot(keyslot),
                        None => options(),
                    };
                    (options, Some(SecretBytes::from_slice(passphrase)))
                }
                Secret::VolumeKey(_) => (options(), None),
            };
            let volume = options.open_judged(&header, &opened.data, secret)?;
            Ok((volume, passphrase))
        })?;
        say_unlocked(volume.keyslot(), report);
        Ok((volume, passphrase))
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
        self.find_key(header, storage, (keyslot, allow_unbound), report, false)
    }

    /// As [`Self::key`]; of an unfinished re-encryption both keys, which must vouch for it.
    pub(crate) fn vouched_key(
        &self,
        header: &AnyHeader,
        storage: &dyn Storage,
        keyslot: Option<u32>,
        allow_unbound: bool,
        report: &Report,
    ) -> anyhow::Result<Unlocked> {
        self.find_key(header, storage, (keyslot, allow_unbound), report, true)
    }

    fn find_key(
        &self,
        header: &AnyHeader,
        storage: &dyn Storage,
        (keyslot, allow_unbound): (Option<u32>, bool),
        report: &Report,
        is_vouched: bool,
    ) -> anyhow::Result<Unlocked> {
        let options = UnlockOptions {
            keyslot,
            allow_unbound,
            ..self.args.to_options()
        };
        let unlocked = match self.by_token(header, storage, &options, report)? {
            Some(unlocked) if is_vouched => {
                lucarne::vouch(header, unlocked, &options).map_err(|error| self.refused(error))?
            }
            Some(unlocked) => unlocked,
            None => self.with_secret(header, |secret| match is_vouched {
                true => lucarne::unlock_vouched(header, storage, secret, &options),
                false => lucarne::unlock(header, storage, secret, &options),
            })?,
        };
        say_unlocked(unlocked.keyslot, report);
        Ok(unlocked)
    }

    /// Reads the header once and judges it as the command line asks; it is what will be used.
    pub(crate) fn read_judged(&self, opened: &Opened) -> anyhow::Result<AnyHeader> {
        let judging = self.judging.map(Judging::new).transpose()?;
        let path = self.args.header.as_deref().unwrap_or(self.device);
        let header = read_header(path, opened.header(), self.volume_type, &self.args.limits)?;
        if let Some(judging) = judging {
            let device = data_device(&opened.data, opened.detached_header.is_some())?;
            judging
                .judge((&header).into(), device)
                .map_err(|error| self.refused(error))?;
        }
        Ok(header)
    }

    /// A key by a token, where one gives it; else it is an error only if a passphrase is not wanted.
    fn by_token(
        &self,
        header: &AnyHeader,
        storage: &dyn Storage,
        options: &UnlockOptions,
        report: &Report,
    ) -> anyhow::Result<Option<Unlocked>> {
        let Some(args) = self.token.filter(|_| self.volume_key_file.is_none()) else {
            return Ok(None);
        };
        let result = unlock_by_token(args, header.as_ref(), storage, options);
        match result {
            Ok(unlocked) => Ok(Some(unlocked)),
            Err(error) if args.token_only => Err(self.refused(error)),
            Err(error) => {
                // Whoever named tokens wants to know; a volume without any is no news.
                let asked = args.token_id.is_some()
                    || args.token_type.is_some()
                    || args.command.token_command.is_some();
                if asked || !matches!(error, Error::NoUsableToken) {
                    report.say(&format!("No token unlocked a keyslot: {error}."));
                }
                Ok(None)
            }
        }
    }

    pub(crate) fn with_secret<'h, T>(
        &self,
        header: impl Into<HeaderRef<'h>>,
        try_it: impl Fn(Secret<'_>) -> Result<T, Error>,
    ) -> anyhow::Result<T> {
        if let Some(path) = self.volume_key_file {
            let len = header.into().volume_key_len().or(self.volume_key_len);
            let key = keyfile::read_volume_key(path, len)?;
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

/// A key by the tokens that the options choose.
pub(crate) fn unlock_by_token(
    args: &TokenUnlockArgs,
    header: HeaderRef<'_>,
    storage: &dyn Storage,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let HeaderRef::Luks2(header) = header else {
        // LUKS1 has no tokens.
        return Err(Error::NoUsableToken);
    };
    let choice = TokenChoice {
        id: args.token_id,
        kind: args.token_type.clone(),
    };
    args.command.with_unlockers(|unlockers| {
        lucarne::unlock_by_token(header, storage, unlockers, &choice, options)
    })
}

impl Unlocking<'_> {
    fn refused(&self, error: Error) -> anyhow::Error {
        refused(self.device, error)
    }
}

/// The error with the volume's name, and with the option that helps, where one does.
pub(crate) fn refused(path: &Path, error: Error) -> anyhow::Error {
    match error {
        Error::TooCostly { cost, .. } => Failure::Parameters(format!(
            "{}: {error}; {} raises it",
            shown(path),
            LimitArgs::option_of(cost)
        ))
        .into(),
        error => anyhow::Error::new(error).context(shown(path)),
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
    limits: &LimitArgs,
) -> anyhow::Result<AnyHeader> {
    let header = lucarne::read_any_header_within(storage, &limits.to_limits())
        .map_err(|error| refused(path, error))?;
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
