//! Where the two copies lie, and which one is the header (specification 2.2).
//!
//! The primary copy lies at byte 0. If its binary header and checksum are good, the secondary lies
//! right behind it; else it is looked for at 0x4000, 0x8000, … 0x400000. A copy is usable if its
//! checksum holds and its JSON passes every check; of two usable copies the one with the higher seqid
//! is the header, of equals the primary. A primary that something else was written over takes the
//! secondary with it. Nothing is repaired here: a read never writes.

use super::binary_header::{
    BINARY_LEN_BYTES, BinaryFields, HEADER_SIZE_MAX, HEADER_SIZE_MIN, Magic, RawHeader,
    UncheckedCopy,
};
use super::{Header, HeaderCopy, Metadata, foreign};
use crate::error::{CorruptKind, UnsupportedKind};
use crate::{Error, LoadError};

/// A loaded header, and what is wrong with the copies it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// The header.
    pub header: Header,
    /// Which copies need to be written again.
    pub repair: Repair,
}

/// Which copies need to be written again; at most one, as the header came from the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repair {
    /// What is wrong with the primary copy.
    pub primary: Option<Defect>,
    /// What is wrong with the secondary copy.
    pub secondary: Option<Defect>,
}

/// What is wrong with a copy that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// Valid, but the other one is newer.
    #[error("stale: seqid is {seqid}, the other copy's is {newest}")]
    Stale {
        /// Its seqid.
        seqid: u64,
        /// The chosen copy's.
        newest: u64,
    },
    /// Valid and of the same seqid, but not the same.
    #[error("differs from the primary copy of the same seqid {seqid}")]
    Differs {
        /// The seqid of both.
        seqid: u64,
    },
    /// Not usable.
    #[error("{error}")]
    Unusable {
        /// Its seqid, if its checksum holds. A higher one than the chosen copy's means that the
        /// chosen one is older than what was written last: look before overwriting it.
        seqid: Option<u64>,
        /// What is wrong with it.
        error: Error,
    },
}

impl Repair {
    /// Whether a copy needs to be written again.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.primary.is_some() || self.secondary.is_some()
    }
}

/// A copy with its JSON checked.
struct UsableCopy {
    copy: UncheckedCopy,
    metadata: Metadata,
}

/// A copy with a good checksum, or why there is none.
type Readable = Result<UncheckedCopy, Error>;

impl Header {
    /// Loads the header of a device from its bytes.
    ///
    /// Where the primary copy is unreadable and another format's signature stands on the device, the
    /// secondary is not taken: [`Self::load_for_repair`] does.
    ///
    /// `read(offset, buffer)` fills `buffer` from byte `offset` of the device and returns how many
    /// bytes it got: fewer than `buffer.len()` only at the device's end. No byte is asked for twice,
    /// so that what is checked is what is used; at most 8 MiB and one byte are read.
    ///
    /// # Errors
    ///
    /// `NotLuks` without a magic, `Luks1`, `Unsupported` for another version or a checksum unknown
    /// here, `Corrupt` with what is wrong with each copy; `Read` with `read`'s own error.
    pub fn load<E>(
        read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<Selected, LoadError<E>> {
        Self::load_where(read, foreign::foreign_signature)
    }

    /// As [`Self::load`], whatever else the device seems to hold: for an explicit repair.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_for_repair<E>(
        read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<Selected, LoadError<E>> {
        Self::load_where(read, |_| None)
    }

    /// `foreign` names the other format that a device's start shows.
    fn load_where<E>(
        read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
        foreign: impl Fn(&[u8]) -> Option<&'static str>,
    ) -> Result<Selected, LoadError<E>> {
        let mut prefix = Prefix::new(read);
        let start = prefix.get(0..BINARY_LEN_BYTES).map_err(LoadError::Read)?;
        match Magic::of(start) {
            Magic::Luks { version: 1 } => return Err(Error::Luks1.into()),
            Magic::Luks {
                version: version @ 3..,
            } => return Err(Error::from(UnsupportedKind::Version(version)).into()),
            _ => {}
        }
        let primary = prefix
            .copy(HeaderCopy::Primary, 0)
            .map_err(LoadError::Read)?;
        let secondary = match &primary {
            Ok(primary) => prefix.copy(HeaderCopy::Secondary, primary.fields.header_size),
            Err(_) => prefix.search_secondary(),
        }
        .map_err(LoadError::Read)?;
        if primary.is_err() && secondary.is_ok() {
            let start = prefix
                .get(0..foreign::FOREIGN_SEARCH_LEN_BYTES)
                .map_err(LoadError::Read)?;
            if let Some(name) = foreign(start) {
                return Err(Error::from(CorruptKind::Foreign(name)).into());
            }
        }
        let selected = Self::select(primary, secondary)?;
        let end = selected.header.metadata.keyslots_area().end;
        if !prefix.reaches(end).map_err(LoadError::Read)? {
            return Err(Error::from(CorruptKind::KeyslotsAreaTruncated(end)).into());
        }
        Ok(selected)
    }

    fn select(primary: Readable, secondary: Readable) -> Result<Selected, Error> {
        let salts = [
            primary.as_ref().ok().map(|copy| copy.salt),
            secondary.as_ref().ok().map(|copy| copy.salt),
        ];
        let seqids =
            [&primary, &secondary].map(|copy| copy.as_ref().ok().map(|copy| copy.fields.seqid));
        let (chosen, repair) = match both_usable(primary, secondary)? {
            Both::Same {
                primary,
                secondary,
                metadata,
            } => {
                let (newest, repair) = newest(&primary.fields, &secondary.fields, true);
                let copy = match newest {
                    HeaderCopy::Primary => primary,
                    HeaderCopy::Secondary => secondary,
                };
                (UsableCopy { copy, metadata }, repair)
            }
            Both::Apart(Ok(primary), Ok(secondary)) => {
                let (newest, repair) = newest(&primary.copy.fields, &secondary.copy.fields, false);
                match newest {
                    HeaderCopy::Primary => (primary, repair),
                    HeaderCopy::Secondary => (secondary, repair),
                }
            }
            Both::Apart(Ok(primary), Err(error)) => {
                let [_, seqid] = seqids;
                let unusable = Defect::Unusable { seqid, error };
                (primary, Repair::of_secondary(unusable))
            }
            Both::Apart(Err(error), Ok(secondary)) => {
                let [seqid, _] = seqids;
                let unusable = Defect::Unusable { seqid, error };
                (secondary, Repair::of_primary(unusable))
            }
            Both::Apart(Err(primary), Err(secondary)) => {
                return Err(both_bad(primary, secondary));
            }
        };
        Ok(Selected {
            header: Self {
                fields: chosen.copy.fields,
                salts,
                metadata: chosen.metadata,
            },
            repair,
        })
    }
}

impl Repair {
    fn of_primary(defect: Defect) -> Self {
        Self {
            primary: Some(defect),
            secondary: None,
        }
    }

    fn of_secondary(defect: Defect) -> Self {
        Self {
            primary: None,
            secondary: Some(defect),
        }
    }
}

/// Both copies, as far as their JSON is good.
#[expect(clippy::large_enum_variant, reason = "there is one a volume")]
enum Both {
    /// With the same JSON.
    Same {
        primary: UncheckedCopy,
        secondary: UncheckedCopy,
        metadata: Metadata,
    },
    Apart(Result<UsableCopy, Error>, Result<UsableCopy, Error>),
}

/// Checks the JSON of both copies, once where it is the same: as a rule it is.
fn both_usable(primary: Readable, secondary: Readable) -> Result<Both, Error> {
    match (primary, secondary) {
        (Ok(primary), Ok(secondary)) if primary.json_area == secondary.json_area => {
            let metadata = primary
                .metadata()
                .map_err(|error| both_bad(error.clone(), error))?;
            Ok(Both::Same {
                primary,
                secondary,
                metadata,
            })
        }
        (primary, secondary) => Ok(Both::Apart(usable(primary), usable(secondary))),
    }
}

/// Of two good copies the one to use, the primary where they are equally new, and what is wrong with the other.
fn newest(
    primary: &BinaryFields,
    secondary: &BinaryFields,
    has_same_json: bool,
) -> (HeaderCopy, Repair) {
    let (p, s) = (primary.seqid, secondary.seqid);
    let stale = |seqid, newest| Defect::Stale { seqid, newest };
    if s > p {
        (HeaderCopy::Secondary, Repair::of_primary(stale(p, s)))
    } else if p > s {
        (HeaderCopy::Primary, Repair::of_secondary(stale(s, p)))
    } else if primary != secondary || !has_same_json {
        let differs = Defect::Differs { seqid: p };
        (HeaderCopy::Primary, Repair::of_secondary(differs))
    } else {
        (HeaderCopy::Primary, Repair::default())
    }
}

fn usable(copy: Readable) -> Result<UsableCopy, Error> {
    let copy = copy?;
    let metadata = copy.metadata()?;
    Ok(UsableCopy { copy, metadata })
}

fn both_bad(primary: Error, secondary: Error) -> Error {
    let no_magic = |error: &Error| {
        *error == CorruptKind::NoMagic(0).into() || *error == CorruptKind::NoSecondary.into()
    };
    if no_magic(&primary) && no_magic(&secondary) {
        return Error::NotLuks;
    }
    let unsupported = |error: &Error| matches!(error, Error::Unsupported(_));
    let (primary, secondary) = (Box::new(primary), Box::new(secondary));
    if unsupported(&primary) || unsupported(&secondary) {
        UnsupportedKind::BothCopies { primary, secondary }.into()
    } else {
        CorruptKind::BothCopies { primary, secondary }.into()
    }
}

/// The device's first bytes, read once, as far as they were needed.
struct Prefix<R> {
    read: R,
    bytes: Vec<u8>,
    /// The device ends where `bytes` does.
    ended: bool,
}

impl<E, R: FnMut(u64, &mut [u8]) -> Result<usize, E>> Prefix<R> {
    fn new(read: R) -> Self {
        Self {
            read,
            bytes: Vec::new(),
            ended: false,
        }
    }

    /// The bytes of `range`, fewer if the device ends first. Ranges end within 8 MiB.
    fn get(&mut self, range: std::ops::Range<u64>) -> Result<&[u8], E> {
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (start, end) = (index(range.start), index(range.end));
        let have = self.bytes.len();
        if have < end && !self.ended {
            self.bytes.resize(end, 0);
            let wanted = self.bytes.get_mut(have..).unwrap_or_default();
            let len = wanted.len();
            let offset = u64::try_from(have).unwrap_or(u64::MAX);
            let got = (self.read)(offset, wanted)?.min(len);
            self.bytes.truncate(have.saturating_add(got));
            self.ended = got < len;
        }
        let end = end.min(self.bytes.len());
        Ok(self.bytes.get(start.min(end)..end).unwrap_or_default())
    }

    /// Whether the device has at least `len` bytes.
    fn reaches(&mut self, len: u64) -> Result<bool, E> {
        let have = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        if self.ended || len <= have {
            return Ok(len <= have);
        }
        Ok((self.read)(len.saturating_sub(1), &mut [0])? == 1)
    }

    /// The copy at `offset`.
    fn copy(&mut self, copy: HeaderCopy, offset: u64) -> Result<Readable, E> {
        let binary_end = offset.saturating_add(BINARY_LEN_BYTES);
        let start = self.get(offset..binary_end)?;
        let Ok(raw) = <RawHeader as zerocopy::FromBytes>::ref_from_bytes(start) else {
            let error = if copy == HeaderCopy::Primary && Magic::of(start) == Magic::None {
                CorruptKind::NoMagic(offset)
            } else {
                self.truncated(copy, offset, binary_end)
            };
            return Ok(Err(error.into()));
        };
        let size = match raw.check(copy, offset) {
            Ok(size) => size,
            Err(error) => return Ok(Err(error)),
        };
        let end = offset.saturating_add(size);
        let bytes = self.get(offset..end)?;
        if u64::try_from(bytes.len()) != Ok(size) {
            return Ok(Err(self.truncated(copy, offset, end).into()));
        }
        Ok(UncheckedCopy::from_bytes(bytes, copy, offset))
    }

    /// The first secondary copy with a good checksum at any place where one may lie.
    fn search_secondary(&mut self) -> Result<Readable, E> {
        let mut reason = Error::from(CorruptKind::NoSecondary);
        let mut offset = HEADER_SIZE_MIN;
        while offset <= HEADER_SIZE_MAX {
            let binary_end = offset.saturating_add(BINARY_LEN_BYTES);
            let start = self.get(offset..binary_end)?;
            let candidate = <RawHeader as zerocopy::FromBytes>::ref_from_bytes(start)
                .is_ok_and(|raw| raw.has_magic(HeaderCopy::Secondary));
            if candidate {
                match self.copy(HeaderCopy::Secondary, offset)? {
                    Ok(copy) => return Ok(Ok(copy)),
                    Err(error) if reason == CorruptKind::NoSecondary.into() => reason = error,
                    Err(_) => {}
                }
            }
            offset = offset.saturating_mul(2);
        }
        Ok(Err(reason))
    }

    fn truncated(&self, copy: HeaderCopy, offset: u64, end: u64) -> CorruptKind {
        CorruptKind::Truncated {
            copy,
            offset,
            end,
            device_len: u64::try_from(self.bytes.len()).unwrap_or(u64::MAX),
        }
    }
}
