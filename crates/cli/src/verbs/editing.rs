//! What the verbs that change a header share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use lucarne::{Access, FileStorage, HeaderEditor, Unlocked, luks2::Header};

use crate::{
    args::{CommonArgs, UnlockArgs},
    device,
    exit::shown,
    header,
    passphrase::StdinRole,
    report::{Report, complain},
    unlock::{Unlocking, say_unlocked},
};

/// The last keyslot's removal, in cryptsetup's words.
pub(super) const LAST_KEYSLOT: &str =
    "This is the last keyslot. Device will become unusable after purging this key.";

/// The file or block device that a header lies on, open for change.
pub(super) struct HeaderDevice {
    path: PathBuf,
    storage: FileStorage,
    patience: Option<Duration>,
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
        })
    }

    /// Reads the header.
    pub(super) fn editor(&self) -> anyhow::Result<HeaderEditor<'_>> {
        let editor = HeaderEditor::open(&self.storage).with_context(|| shown(&self.path))?;
        Ok(editor.with_patience(self.patience))
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
        volume_key_file: None,
        stdin: StdinRole::Free,
        prompt: Some(prompt.to_owned()),
        token: None,
        judging: None,
    }
}

/// Finds a key, and says which keyslot gave it.
pub(super) fn unlock(
    editor: &HeaderEditor<'_>,
    unlocking: &Unlocking<'_>,
    options: &lucarne::UnlockOptions,
    report: &Report,
) -> anyhow::Result<Unlocked> {
    let unlocked =
        unlocking.with_secret(editor.header(), |secret| editor.unlock(secret, options))?;
    say_unlocked(unlocked.keyslot, report);
    Ok(unlocked)
}

/// Whether the keyslot is the only one that opens the data.
pub(super) fn is_last(header: &Header, keyslot: u32) -> bool {
    let digests = header.metadata().digest_links();
    let mut bound = digests
        .filter(|digest| !digest.segments.is_empty())
        .flat_map(|digest| digest.keyslots);
    bound.next() == Some(&keyslot) && bound.next().is_none()
}
