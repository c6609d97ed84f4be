//! A header with its keyslots area, as bytes to keep elsewhere.

use std::time::Duration;

use lucarne_format::luks2::{Header, HeaderCopy, Selected};
use lucarne_storage::{MemoryStorage, Storage};

use super::commit::{alone, refuse_newer_copy};
use crate::error::reading;
use crate::header_io::random_failed;
use crate::{Error, read_header};

/// All of a volume's header: both copies and the keyslots area, as they lie at a device's start.
///
/// It is what `luksHeaderBackup` writes, and a detached header too. With it and a passphrase that was
/// valid when it was taken the data can be decrypted, whatever is done to the volume's own header later.
/// At most 136 MiB, which the format bounds, all of it in memory.
///
/// ```
/// # use lucarne::{FormatOptions, HeaderBackup, HeaderEditor, KdfKind, KdfRequest, MemoryStorage};
/// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
/// let image = MemoryStorage::with_len(17 << 20);
/// lucarne::format(&image, None, b"an example", &FormatOptions { kdf, ..FormatOptions::default() })?;
/// let backup = HeaderBackup::take(&image, None)?;
/// assert_eq!(backup.as_bytes().len(), 16 << 20);
///
/// HeaderEditor::open(&image)?.erase_keyslots()?;
/// let restore = backup.compare(&image)?;
/// assert!(restore.is_atomic() && !restore.warnings().other_uuid);
/// restore.run(None)?;
/// assert_eq!(lucarne::read_header(&image)?.header.metadata().keyslots().len(), 1);
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct HeaderBackup {
    bytes: Vec<u8>,
    header: Header,
}

impl std::fmt::Debug for HeaderBackup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderBackup")
            .field("len_bytes", &self.bytes.len())
            .field("uuid", &self.header.uuid())
            .finish_non_exhaustive()
    }
}

impl HeaderBackup {
    /// Takes it from a volume, with everybody else who changes the header kept out meanwhile; other processes
    /// are waited for for at most `patience`, and not kept out at all with `None`. The volume is only read:
    /// a damaged copy of its header is mended in the backup alone.
    ///
    /// # Errors
    /// As [`read_header`], and [`Error::Busy`].
    pub fn take(storage: &dyn Storage, patience: Option<Duration>) -> Result<Self, Error> {
        let _alone = alone(storage, patience)?;
        Self::read(storage)
    }

    /// Reads one that was taken before. What lies after it is not looked at.
    ///
    /// # Errors
    /// As [`read_header`].
    pub fn read(file: &dyn Storage) -> Result<Self, Error> {
        let end = read_header(file)?.header.metadata().keyslots_area().end;
        let mut bytes = vec![0; usize::try_from(end).unwrap_or(usize::MAX)];
        file.read_at(&mut bytes, 0).map_err(reading(0))?;
        // What was just read is what is judged and used, whatever the file says by now.
        let bytes = MemoryStorage::from(bytes);
        let selected = read_header(&bytes)?;
        let mut bytes = bytes.into_bytes();
        let end = selected.header.metadata().keyslots_area().end;
        bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        mend(&mut bytes, &selected)?;
        Ok(Self {
            bytes,
            header: selected.header,
        })
    }

    /// The header in it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What belongs at the start of a device.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As many bytes of a range as there are.
    pub(super) fn part(&self, range: &std::ops::Range<u64>) -> &[u8] {
        let index = |at: u64| {
            usize::try_from(at)
                .unwrap_or(usize::MAX)
                .min(self.bytes.len())
        };
        let (start, end) = (index(range.start), index(range.end));
        &self.bytes[start..end.max(start)]
    }
}

/// Writes a damaged or stale copy anew, so that the backup does not depend on the other one alone. A
/// newer copy that cannot be used here is left for who can.
fn mend(bytes: &mut [u8], selected: &Selected) -> Result<(), Error> {
    let Selected { header, repair } = selected;
    if refuse_newer_copy(repair, header).is_err() {
        return Ok(());
    }
    for (copy, defect) in [
        (HeaderCopy::Primary, &repair.primary),
        (HeaderCopy::Secondary, &repair.secondary),
    ] {
        if defect.is_none() {
            continue;
        }
        let mut salt = [0; 64];
        getrandom::fill(&mut salt).map_err(random_failed)?;
        let encoded = header.encode(copy, salt)?;
        let start = usize::try_from(copy.offset(header.header_size())).unwrap_or(usize::MAX);
        if let Some(place) = bytes.get_mut(start..start.saturating_add(encoded.len())) {
            place.copy_from_slice(&encoded);
        }
    }
    Ok(())
}
