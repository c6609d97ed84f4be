//! Erasing all keyslots, and a record of it.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use lucarne_format::luks2::HeaderCopy;
use lucarne_storage::Storage;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::AnyEditor;
use crate::error::reading;
use crate::policy::to_hex;
use crate::{Error, HeaderRef, LuksVersion, Secret, UnlockOptions};

/// The part of LUKS1's header before its keyslots' areas that says something (specification, figure 1).
const LUKS1_HEADER_LEN: u64 = 1024;
const READ_LEN_BYTES: usize = 1 << 20;

/// What an erasure cannot reach, for whoever relies on its record.
const NOT_PROMISED: [&str; 5] = [
    "copies of the volume or of its header made before the erasure, header backups among them, still open with their passphrases",
    "who has the volume key itself, from memory or from a dump of it, can still decrypt the data",
    "flash storage may keep the old contents of overwritten blocks where wear levelling put them",
    "file systems and volume managers that copy on write, and their snapshots, may keep the old blocks",
    "the storage below was asked to give what it holds; whether it answered from its medium or from a cache of its own cannot be seen from here",
];

/// The record of an erasure: [`AnyEditor::erase_keyslots_with_evidence`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EraseEvidence {
    /// When all was overwritten and read back.
    pub time: SystemTime,
    /// The volume's UUID.
    pub uuid: String,
    /// Its version.
    pub version: LuksVersion,
    /// The header: both copies in LUKS2.
    pub header: Vec<ErasedArea>,
    /// The area of each keyslot that was in use, and in LUKS1 of the others too.
    pub keyslots: Vec<ErasedArea>,
    /// The whole of the keyslots' areas.
    pub keyslots_area: ErasedArea,
    /// The keyslots that were removed.
    pub removed: Vec<u32>,
    /// Whether a passphrase that had opened the volume was tried again in vain; `false` where none was given.
    pub passphrase_tried: bool,
}

/// A range of the header's device, before the erasure and after.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasedArea {
    /// `primary`, `secondary`, `header`, `keyslots`, or the keyslot's number.
    pub name: String,
    /// In bytes on the header's device.
    pub range: Range<u64>,
    /// SHA-256 of what was there, and of what is there now.
    pub sha256: [[u8; 32]; 2],
}

impl AnyEditor<'_> {
    /// Erases all keyslots as [`Self::erase_keyslots`] does, reads everything back, and gives a record of it.
    ///
    /// With a `secret` it must open the volume before, and is tried again afterwards: on the very header
    /// that it opened by, over the overwritten areas.
    ///
    /// # Errors
    /// [`Error::WrongKey`] and the like when the secret does not open the volume: then nothing was written.
    /// [`Error::Device`] when an area reads back as before, or the secret still opens the volume;
    /// [`Error::Busy`], [`Error::Io`].
    ///
    /// ```
    /// use lucarne::{AnyEditor, FormatOptions, MemoryStorage, Secret};
    /// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
    /// # let format = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
    /// let image = MemoryStorage::with_len(2 << 20);
    /// lucarne::format(&image, None, b"an example", &format)?;
    /// let mut editor = AnyEditor::open(&image)?;
    /// let secret = Secret::Passphrase(b"an example");
    /// let evidence = editor.erase_keyslots_with_evidence(Some(secret), &Default::default())?;
    /// assert!(evidence.passphrase_tried);
    /// assert_eq!(evidence.removed, [0]);
    /// assert_eq!(evidence.to_json()["keyslots"][0]["name"], "0");
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    pub fn erase_keyslots_with_evidence(
        &mut self,
        secret: Option<Secret<'_>>,
        options: &UnlockOptions,
    ) -> Result<EraseEvidence, Error> {
        if let Some(secret) = secret {
            self.unlock(secret, options)?;
        }
        let old = self.header_before();
        let storage = self.storage();
        let places = Places::of((&old).into());
        let before = places.hash(storage)?;
        let uuid = self.header().uuid().to_owned();
        let version = self.version();
        let removed = self.erase_keyslots()?;

        let storage = self.storage();
        storage.drop_cached().map_err(reading(0))?;
        let after = places.hash(storage)?;
        let mut areas = places.areas(&before, &after);
        // A LUKS1 header that named no keyslot stays as it is.
        let unchanged = if removed.is_empty() {
            places.header.len()
        } else {
            0
        };
        let overwritten = areas.iter().skip(unchanged);
        if let Some(same) = overwritten.clone().find(|area| area.reads_as_before()) {
            return Err(Error::device(format!(
                "{}: bytes {} to {} read back as they were before they were overwritten",
                same.name, same.range.start, same.range.end
            )));
        }
        if let Some(secret) = secret {
            // By the old header, since the new one names no keyslot that could be tried.
            match crate::unlock(&old, storage, secret, options) {
                Ok(_) => {
                    return Err(Error::device(
                        "the passphrase still opens the volume by its old header",
                    ));
                }
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(_) => {}
            }
        }
        let keyslots_area = areas.remove(places.header.len());
        let keyslots = areas.split_off(places.header.len());
        Ok(EraseEvidence {
            time: SystemTime::now(),
            uuid,
            version,
            header: areas,
            keyslots,
            keyslots_area,
            removed,
            passphrase_tried: secret.is_some(),
        })
    }

    fn header_before(&self) -> crate::AnyHeader {
        match self {
            Self::Luks1(editor) => crate::AnyHeader::Luks1(editor.header().clone()),
            Self::Luks2(editor) => crate::AnyHeader::Luks2(editor.selected.clone()),
        }
    }

    fn storage(&self) -> &dyn Storage {
        match self {
            Self::Luks1(editor) => editor.storage(),
            Self::Luks2(editor) => editor.storage,
        }
    }
}

/// What is hashed: the header, then the keyslots' area, then that of each keyslot.
struct Places {
    header: Vec<(String, Range<u64>)>,
    keyslots_area: Range<u64>,
    keyslots: Vec<(String, Range<u64>)>,
}

impl Places {
    fn of(header: HeaderRef<'_>) -> Self {
        match header {
            HeaderRef::Luks1(header) => {
                let areas = (0..).zip(header.keyslots());
                let keyslots: Vec<_> = areas
                    .map(|(id, keyslot): (u32, _)| (id.to_string(), keyslot.area.clone()))
                    .collect();
                let starts = keyslots.iter().map(|(_, area)| area.start);
                Self {
                    header: vec![("header".into(), 0..LUKS1_HEADER_LEN)],
                    keyslots_area: starts.min().unwrap_or_default()..header.keyslots_end(),
                    keyslots,
                }
            }
            HeaderRef::Luks2(header) => {
                let size = header.header_size();
                let copies = [
                    ("primary", HeaderCopy::Primary),
                    ("secondary", HeaderCopy::Secondary),
                ];
                let keyslots = header.metadata().keyslots().iter();
                Self {
                    header: copies
                        .map(|(name, copy)| {
                            let start = copy.offset(size);
                            (name.into(), start..start.saturating_add(size))
                        })
                        .into(),
                    keyslots_area: header.metadata().keyslots_area(),
                    keyslots: keyslots
                        .map(|(id, keyslot)| (id.to_string(), keyslot.area_range()))
                        .collect(),
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Range<u64>)> {
        self.header
            .iter()
            .map(|(name, range)| (name.as_str(), range))
            .chain([("keyslots", &self.keyslots_area)])
            .chain(
                self.keyslots
                    .iter()
                    .map(|(name, range)| (name.as_str(), range)),
            )
    }

    fn hash(&self, storage: &dyn Storage) -> Result<Vec<[u8; 32]>, Error> {
        self.all()
            .map(|(_, range)| hash(storage, range.clone()))
            .collect()
    }

    fn areas(&self, before: &[[u8; 32]], after: &[[u8; 32]]) -> Vec<ErasedArea> {
        self.all()
            .zip(before.iter().zip(after))
            .map(|((name, range), (before, after))| ErasedArea {
                name: name.to_owned(),
                range: range.clone(),
                sha256: [*before, *after],
            })
            .collect()
    }
}

fn hash(storage: &dyn Storage, range: Range<u64>) -> Result<[u8; 32], Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_LEN_BYTES];
    let mut at = range.start;
    while at < range.end {
        let rest = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let step = &mut buffer[..rest.min(READ_LEN_BYTES)];
        storage.read_at(step, at).map_err(reading(at))?;
        hash.update(&*step);
        at += step.len() as u64;
    }
    Ok(hash.finalize().into())
}

impl ErasedArea {
    /// Whether what is there is what was there.
    #[must_use]
    pub fn reads_as_before(&self) -> bool {
        self.sha256[0] == self.sha256[1]
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "offset_bytes": self.range.start,
            "size_bytes": self.range.end - self.range.start,
            "sha256_before": to_hex(&self.sha256[0]),
            "sha256_after": to_hex(&self.sha256[1]),
        })
    }
}

impl EraseEvidence {
    /// The record as a JSON object, of version 1:
    ///
    /// | member | |
    /// |---|---|
    /// | `version` | 1; members keep their names and meanings within a version |
    /// | `kind` | `lucarne-erase` |
    /// | `tool` | this library's name and version |
    /// | `time` | when all was read back, RFC 3339 in UTC |
    /// | `uuid`, `luks_version` | the volume's |
    /// | `removed_keyslots` | their numbers |
    /// | `overwritten_with` | `random` |
    /// | `header`, `keyslots` | lists of areas; `header` is not overwritten but written without keyslots |
    /// | `keyslots_area` | the area that holds those of all keyslots |
    /// | `passphrase` | `tried`; if so `opened_before` (true) and `opens_after` (false), else both null |
    /// | `not_promised` | list of texts |
    ///
    /// An area is an object of `name`, `offset_bytes` and `size_bytes` on the header's device, and
    /// `sha256_before` and `sha256_after` in hexadecimal.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let list =
            |areas: &[ErasedArea]| -> Value { areas.iter().map(ErasedArea::to_json).collect() };
        let opened = |value: bool| self.passphrase_tried.then_some(value);
        json!({
            "version": 1,
            "kind": "lucarne-erase",
            "tool": concat!("lucarne ", env!("CARGO_PKG_VERSION")),
            "time": rfc3339(self.time),
            "uuid": self.uuid,
            "luks_version": match self.version { LuksVersion::Luks1 => 1, LuksVersion::Luks2 => 2 },
            "removed_keyslots": self.removed,
            "overwritten_with": "random",
            "header": list(&self.header),
            "keyslots_area": self.keyslots_area.to_json(),
            "keyslots": list(&self.keyslots),
            "passphrase": {
                "tried": self.passphrase_tried,
                "opened_before": opened(true),
                "opens_after": opened(false),
            },
            "not_promised": NOT_PROMISED,
        })
    }
}

/// In UTC, to the second.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The Gregorian calendar in eras of 400 years, whose years begin in March so that leap days come last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
