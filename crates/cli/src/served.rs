//! What every door does first: opens the image, takes it into use, and unlocks it.

use std::{io, path::Path};

use anyhow::Context;
use lucarne::{Access, FileStorage, HeaderLock, HeaderRef, LockKind, read_any_header_within};
use lucarne_serve::VolumeExport;

use crate::{
    args::{CommonArgs, OpeningArgs},
    device::{self, Opened},
    exit::{Failure, shown},
    passphrase::StdinRole,
    report::{Report, complain},
    unlock::Unlocking,
};

/// What can be read, and not written.
fn only_readable(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(Failure::Device(message)) => {
            Failure::Device(format!("{message} (--readonly serves it)")).into()
        }
        Ok(other) => other.into(),
        Err(error) => error,
    }
}

/// How an image is served.
pub(crate) struct Served<'a> {
    pub(crate) opening: &'a OpeningArgs,
    pub(crate) is_read_only: bool,
    pub(crate) allows_discards: bool,
}

impl Served<'_> {
    pub(crate) fn open(&self, image: &Path) -> anyhow::Result<Opened> {
        let access = match self.is_read_only {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        let open = |access| Opened::open(image, self.opening.unlock.header.as_deref(), access);
        let opened = open(access).map_err(|error| match self.is_read_only {
            false if open(Access::ReadOnly).is_ok() => only_readable(error),
            _ => error,
        })?;
        let data = opened.data.with_mapped_reads();
        Ok(Opened { data, ..opened })
    }

    /// Until the image is closed nobody moves its data, and nobody writes beside a writer. The volume must be read
    /// after it.
    ///
    /// What it gives keeps cryptsetup from re-encrypting it: that locks the UUID, which copies share, so it is shared
    /// with those who serve them.
    pub(crate) fn lock(
        &self,
        image: &Path,
        opened: &Opened,
        common: &CommonArgs,
    ) -> anyhow::Result<HeaderLock<'static>> {
        if common.disable_locks {
            return Ok(HeaderLock::none());
        }
        let kind = match self.is_read_only {
            true => LockKind::Shared,
            false => LockKind::Exclusive,
        };
        device::take_into_use(image, &opened.data, kind)?;
        let limits = self.opening.unlock.limits.to_limits();
        let header =
            read_any_header_within(opened.header(), &limits).with_context(|| shown(image))?;
        let uuid = HeaderRef::from(&header).uuid();
        let locked = opened.data.keep_reencryption_out(uuid);
        locked.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Failure::Exists(format!(
                "{}: another process re-encrypts this volume, or a copy of it with the same UUID; --disable-locks serves a copy all the same",
                shown(image)
            ))
            .into(),
            _ => anyhow::Error::new(error).context(shown(image)),
        })
    }

    pub(crate) fn export<'o>(
        &self,
        image: &Path,
        opened: &'o Opened,
        common: &CommonArgs,
        report: &Report,
    ) -> anyhow::Result<VolumeExport<&'o FileStorage>> {
        let unlocking = Unlocking::new(image, self.opening, StdinRole::Free, common);
        let volume = unlocking.volume(opened, report)?;
        if !self.is_read_only {
            // An unfinished re-encryption is read, and not written.
            volume
                .write_at(&[], 0)
                .with_context(|| format!("{} (--readonly serves it)", shown(image)))?;
        }
        let export = VolumeExport::new(volume);
        let export = match self.is_read_only {
            true => export.read_only(),
            false => export,
        };
        Ok(match self.allows_discards {
            true => export.allow_discards(),
            false => export,
        })
    }

    /// As [`Self::export`], for a file: its length is exact, and holes can only be given back where they read as zeros.
    pub(crate) fn file_export<'o>(
        &self,
        image: &Path,
        opened: &'o Opened,
        common: &CommonArgs,
        report: &Report,
    ) -> anyhow::Result<VolumeExport<&'o FileStorage>> {
        let export = self.export(image, opened, common, report)?;
        let len = lucarne::plaintext_len(export.volume(), false).with_context(|| shown(image))?;
        if let Some(recorded) = len.outdated_len {
            complain(&format!(
                "{}: the recorded length of {recorded} bytes no longer holds, so the file has all {} bytes",
                shown(image),
                len.plaintext_len
            ));
        }
        let export = export.with_len(len.plaintext_len);
        if self.allows_discards && !self.is_read_only && !export.volume().reads_holes_as_zeros() {
            complain(&format!(
                "{}: --allow-discards has no effect: holes in a file must read as zeros, and in this volume they would be noise; of a volume made by encrypt --sparse, and through --nbd, space is given back",
                shown(image)
            ));
        }
        Ok(export)
    }
}
