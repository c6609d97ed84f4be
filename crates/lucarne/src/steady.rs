//! Writing to a volume while others may change its header.

use std::time::Duration;

use lucarne_storage::Storage;

use crate::editor::commit::alone;
use crate::error::{Busy, measuring, reading};
use crate::{AnyHeader, CostLimits, Error, HeaderRef, read_any_header, read_any_header_within};

/// The binary part of the first copy: with its checksum it changes whenever the header does.
const WATCHED_LEN_BYTES: u64 = 4096;

/// A header that says for each write that the data are still where they were, and under the key that they were under.
///
/// Whoever opens a volume for long writes by what its header said then. If somebody begins to re-encrypt it meanwhile,
/// such a write would destroy data. Under the header's lock, which is held for one write at a time, nobody begins;
/// and what was begun before it is seen. That holds against cryptsetup, too.
///
/// ```
/// use lucarne::{Error, MemoryStorage, OpenOptions, ReencryptOptions, Reencryption, Secret, SteadyHeader};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let format = lucarne::FormatOptions { kdf: kdf.clone(), keyslots_size: Some(1 << 20), ..Default::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// lucarne::format(&image, None, b"an example", &format)?;
/// let mut header = SteadyHeader::watch(&image, &Default::default(), None)?;
/// let volume = OpenOptions::default().open(&image, Secret::Passphrase(b"an example"))?;
/// header.during(|| volume.write_at(b"weights", 0))?;
///
/// # let options = ReencryptOptions { kdf, ..ReencryptOptions::default() };
/// drop(Reencryption::begin(&image, None, &[b"an example"], &options)?);
/// assert!(matches!(header.during(|| volume.write_at(b"weights", 0)), Err(Error::Busy(_))));
/// # Ok::<(), Error>(())
/// ```
pub struct SteadyHeader<'s> {
    storage: &'s dyn Storage,
    patience: Option<Duration>,
    header: AnyHeader,
    watched: Vec<u8>,
}

impl std::fmt::Debug for SteadyHeader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteadyHeader").finish_non_exhaustive()
    }
}

impl<'s> SteadyHeader<'s> {
    /// Reads the header that lies on `storage`: before the volume is opened, so that nothing is missed. `patience`:
    /// how long a process that changes the header is waited for; `None`: no lock is taken.
    ///
    /// # Errors
    /// As [`read_any_header_within`]; [`Error::Busy`].
    pub fn watch(
        storage: &'s dyn Storage,
        limits: &CostLimits,
        patience: Option<Duration>,
    ) -> Result<Self, Error> {
        let _alone = alone(storage, patience)?;
        Ok(Self {
            storage,
            patience,
            header: read_any_header_within(storage, limits)?,
            watched: watched(storage)?,
        })
    }

    /// Does `write`, while nobody changes the header.
    ///
    /// # Errors
    /// [`Error::Busy`] when the data are no longer as they were, or another process holds the header's lock; that of
    /// `write`.
    pub fn during<T>(&mut self, write: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _alone = alone(self.storage, self.patience)?;
        let now = watched(self.storage)?;
        if now != self.watched {
            let header = read_any_header(self.storage)?;
            if !has_same_data((&self.header).into(), (&header).into()) {
                return Err(Error::Busy(Busy::new(
                    "somebody else has changed where the data lie or their key since the volume was opened, by reencrypt perhaps; nothing more is written",
                )));
            }
            self.watched = now;
        }
        write()
    }
}

fn watched(storage: &dyn Storage) -> Result<Vec<u8>, Error> {
    let len = storage.len().map_err(measuring)?.min(WATCHED_LEN_BYTES);
    // At most WATCHED_LEN_BYTES.
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    storage.read_at(&mut bytes, 0).map_err(reading(0))?;
    Ok(bytes)
}

/// Keyslots, tokens and names may be others.
fn has_same_data(before: HeaderRef<'_>, now: HeaderRef<'_>) -> bool {
    match (before, now) {
        (HeaderRef::Luks1(before), HeaderRef::Luks1(now)) => {
            let place = |header: HeaderRef<'_>| header.activatable_segment().ok();
            before.uuid() == now.uuid() && place(before.into()) == place(now.into())
        }
        (HeaderRef::Luks2(before), HeaderRef::Luks2(now)) => {
            let key = |header: &lucarne_format::luks2::Header| {
                let digest = header.metadata().digest_of_segment(0);
                digest.map(|(_, digest)| digest.clone())
            };
            let bytes = |digest: Option<lucarne_format::luks2::Digest>| {
                digest.map(|digest| (digest.salt, digest.digest))
            };
            let (old, new) = (before.metadata(), now.metadata());
            old.segments() == new.segments()
                && old.requirements() == new.requirements()
                && bytes(key(before)) == bytes(key(now))
        }
        _ => false,
    }
}
