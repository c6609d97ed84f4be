//! Mending a LUKS1 header, as `cryptsetup repair` does.
//!
//! What is mended lies in keyslots that hold nothing and in the names of cipher and hash: no active keyslot
//! is touched, nor any key material. The header's two sectors are written one after the other, each flushed:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | lock; read again, and compare with what was judged | the old header |
//! | the first sector, with the flags of keyslots 0 to 6 | a header that the same repair completes, and no less usable than before |
//! | the second, with the rest of keyslot 6, and 7 | the mended header |
//!
//! The order matters for keyslot 6, which lies in both: with its place mended first and its flag not, nothing
//! would tell any more that the flag is to be mended too.

use std::time::Duration;

use lucarne_cipher::CipherSpec;
use lucarne_format::luks1::{HEADER_LEN, Header, Repaired, RepairedField};
use lucarne_storage::Storage;

use super::HeaderEditor;
use super::commit::{alone, changed_meanwhile};
use crate::Error;
use crate::any_header::LUKS1_SECTOR_LEN;
use crate::error::{flushing, measuring, reading, writing};

/// A LUKS1 header and what can be mended in it: nothing is written yet.
///
/// ```
/// use lucarne::{FormatOptions, Luks1Repair, LuksVersion, MemoryStorage, Storage};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// let options = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
/// lucarne::format(&image, None, b"an example", &options)?;
/// // The number of stripes of keyslot 7.
/// image.write_at(&[0xff; 4], 588)?;
/// assert!(lucarne::read_any_header(&image).is_err());
///
/// let repair = Luks1Repair::of(&image)?;
/// assert_eq!(repair.changes().len(), 1);
/// repair.run(None)?;
/// lucarne::read_any_header(&image)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Luks1Repair<'s> {
    storage: &'s dyn Storage,
    found: [u8; HEADER_LEN],
    repaired: Repaired,
}

impl std::fmt::Debug for Luks1Repair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Luks1Repair")
            .field("changes", &self.repaired.changes)
            .finish_non_exhaustive()
    }
}

impl<'s> Luks1Repair<'s> {
    /// How long another process's change is waited for unless something else is asked for.
    pub const PATIENCE: Duration = HeaderEditor::PATIENCE;

    /// Reads the header and finds what is to be mended.
    ///
    /// # Errors
    /// [`Error::NotLuks`]; [`Error::Corrupt`], [`Error::Unsupported`] and [`Error::Refused`] for what cannot be
    /// mended: [`Header::repair`], and a cipher that is not done here or does not take
    /// keys of that length;
    /// [`Error::Io`].
    pub fn of(storage: &'s dyn Storage) -> Result<Self, Error> {
        let found = read_start(storage)?;
        let repaired = Header::repair(&found)?;
        if !repaired.changes.is_empty() {
            // A header whose cipher is nonsense is not the one that was damaged.
            let header = &repaired.header;
            let cipher: CipherSpec = header.encryption().parse()?;
            let key_len = usize::try_from(header.key_bytes()).unwrap_or(usize::MAX);
            cipher.check_key_len(key_len)?;
        }
        // The header's last area may be past the device's end: that is for who reads it next to find.
        Ok(Self {
            storage,
            found,
            repaired,
        })
    }

    /// What will be mended; nothing, if the header is sound.
    #[must_use]
    pub fn changes(&self) -> &[RepairedField] {
        &self.repaired.changes
    }

    /// Writes the mended header, if there is anything to mend.
    ///
    /// # Errors
    /// [`Error::Busy`] when the header has been changed since, or another process holds the lock for longer
    /// than `patience` (`None`: no lock is taken); [`Error::Io`].
    pub fn run(self, patience: Option<Duration>) -> Result<(), Error> {
        if self.changes().is_empty() {
            return Ok(());
        }
        let _alone = alone(self.storage, patience)?;
        if read_start(self.storage)? != self.found {
            return Err(changed_meanwhile());
        }
        let sector_len = LUKS1_SECTOR_LEN as usize;
        let mended = self.repaired.header.encode();
        let sectors = mended.chunks(sector_len).zip(self.found.chunks(sector_len));
        let mut offset = 0;
        for (mended, found) in sectors {
            if mended != found {
                self.storage
                    .write_at(mended, offset)
                    .map_err(writing(offset))?;
                self.storage.flush().map_err(flushing)?;
            }
            offset = offset.saturating_add(LUKS1_SECTOR_LEN.into());
        }
        tracing::debug!("LUKS1 header repaired");
        Ok(())
    }
}

fn read_start(storage: &dyn Storage) -> Result<[u8; HEADER_LEN], Error> {
    let mut start = [0; HEADER_LEN];
    if storage.len().map_err(measuring)? < HEADER_LEN as u64 {
        return Err(Error::NotLuks);
    }
    storage.read_at(&mut start, 0).map_err(reading(0))?;
    Ok(start)
}
