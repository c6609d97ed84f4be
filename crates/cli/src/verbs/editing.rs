//! What the verbs that change a header share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use lucarne::{Access, AnyEditor, Error, FileStorage, HeaderEditor, Unlocked};

use crate::{
    args::{CommonArgs, LimitArgs, UnlockArgs, VolumeType},
    device,
    exit::shown,
    header,
    passphrase::StdinRole,
    report::{Report, complain},
    unlock::{Unlocking, read_header, say_unlocked},
};

/// The last keyslot's removal, in cryptsetup's words.
pub(super) const LAST_KEYSLOT: &str =
    "This is the last keyslot. Device will become unusable after purging this key.";

/// The file or block device that a header lies on, open for change.
pub(super) struct HeaderDevice {
    path: PathBuf,
    storage: FileStorage,
    patience: Option<Duration>,
    volume_type: VolumeType,
}

impl HeaderDevice {
    pub(super) fn open(
        device: &Path,
        header: Option<&Path>,
        common: &CommonArgs,
    ) -> anyhow::Result<Self> {
        if header.is_some() {
            // It is not touched, but must be there, as in cryptsetup.
            device::open(device, Access::ReadOnly)?;
        }
        let path = header.unwrap_or(device);
        Ok(Self {
            path: path.to_owned(),
            storage: device::open(path, Access::ReadWrite)?,
            patience: header::patience(common),
            volume_type: common.volume_type,
        })
    }

    /// Reads the header, of either version.
    pub(super) fn any_editor(&self, limits: &LimitArgs) -> anyhow::Result<AnyEditor<'_>> {
        let header = read_header(&self.path, &self.storage, self.volume_type, limits)?;
        Ok(AnyEditor::of_judged(&self.storage, header).with_patience(self.patience))
    }

    /// Reads the header, for what LUKS2 alone has.
    pub(super) fn editor(&self, limits: &LimitArgs) -> anyhow::Result<HeaderEditor<'_>> {
        match self.any_editor(limits)? {
            AnyEditor::Luks1(_) => Err(Error::Luks1).with_context(|| self.shown()),
            AnyEditor::Luks2(editor) => Ok(editor),
        }
    }

    pub(super) fn storage(&self) -> &FileStorage {
        &self.storage
    }

    /// How long another process is waited for; `None` where no lock is wanted.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.patience
    }

    pub(super) fn shown(&self) -> String {
        shown(&self.path)
    }

    /// Says where what was overwritten may still lie, if it is known to.
    pub(super) fn warn_of_old_copies(&self) {
        if let Some(file_system) = self.storage.copy_on_write_file_system() {
            complain(&format!(
                "{}: {file_system} does not overwrite in place: the disk may keep the old key material for a while, and snapshots for good",
                self.shown()
            ));
        }
    }
}

/// The passphrases that a verb asks for, of a volume that exists.
pub(super) fn unlocking<'a>(device: &'a Path, args: &'a UnlockArgs, prompt: &str) -> Unlocking<'a> {
    Unlocking {
        device,
        args,
        // The editor has read the header, and seen to its version.
        volume_type: VolumeType::Luks,
        volume_key_file: None,
        volume_key_len: None,
        stdin: StdinRole::Free,
        prompt: Some(prompt.to_owned()),
        token: None,
        judging: None,
    }
}

/// Finds a key, and says which keyslot gave it.
pub(super) fn unlock(
    editor: &AnyEditor<'_>,
    unlocking: &Unlocking<'_>,
    options: &lucarne::UnlockOptions,
    report: &Report,
) -> anyhow::Result<Unlocked> {
    let unlocked =
        unlocking.with_secret(editor.header(), |secret| editor.unlock(secret, options))?;
    say_unlocked(unlocked.keyslot, report);
    Ok(unlocked)
}
