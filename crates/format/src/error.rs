//! Errors by who is at fault: small and stable outside, precise inside.

use std::fmt;

use crate::luks2::HeaderCopy;

/// Why bytes are not a usable LUKS header, or why one cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No magic where a header must start.
    #[error("not a LUKS volume")]
    NotLuks,
    /// A LUKS1 header.
    #[error("LUKS1 header: not supported yet")]
    Luks1,
    /// The bytes lie.
    #[error("corrupt header: {0}")]
    Corrupt(Corrupt),
    /// Valid, but not done here.
    #[error("not supported: {0}")]
    Unsupported(Unsupported),
    /// A change that the caller asked for and that would make the header invalid.
    #[error("refused: {0}")]
    Refused(Refused),
}

/// What is wrong with a header: the field, its value and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Corrupt(#[from] CorruptKind);

/// What a valid header asks for that is not done here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Unsupported(#[from] UnsupportedKind);

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Refused(#[from] RefusedKind);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CorruptKind {
    // The two copies.
    #[error("{}", both_copies(.primary, .secondary))]
    BothCopies {
        primary: Box<Error>,
        secondary: Box<Error>,
    },
    #[error("no magic at {0:#x}")]
    NoMagic(u64),
    #[error("no secondary header at any of 0x4000 to 0x400000")]
    NoSecondary,
    #[error(
        "the primary copy is lost and {0} stands on the device: the secondary is used only to repair it"
    )]
    Foreign(&'static str),
    #[error(
        "device ends at byte {device_len}, the {copy} header at {offset:#x} reaches to {end:#x}"
    )]
    Truncated {
        copy: HeaderCopy,
        offset: u64,
        end: u64,
        device_len: u64,
    },
    #[error("device ends before the keyslots area does, at {0:#x}")]
    KeyslotsAreaTruncated(u64),

    // The binary header.
    #[error("hdr_offset is {value:#x} at byte {offset:#x}")]
    HeaderOffset { value: u64, offset: u64 },
    #[error("hdr_size is {0:#x}, the limits are 0x4000 and 0x400000")]
    HeaderSize(u64),
    #[error("hdr_size is {0:#x}, must be a power of two from 0x4000 to 0x400000")]
    HeaderSizeNotLegal(u64),
    #[error("secondary header at {offset:#x} says hdr_size {value:#x}")]
    SecondarySize { value: u64, offset: u64 },
    #[error("{algorithm} checksum of the header at {offset:#x} does not match")]
    Checksum {
        algorithm: &'static str,
        offset: u64,
    },

    // The JSON area.
    #[error("JSON area starts with byte {0:#04x}, must be '{{'")]
    JsonStart(u8),
    #[error("JSON area of {0} bytes has no terminating zero byte")]
    JsonUnterminated(usize),
    #[error("JSON area has byte {byte:#04x} at {at}, after the JSON's end")]
    JsonTrailing { byte: u8, at: usize },
    #[error("JSON: {0}")]
    Json(String),

    // Members.
    #[error("{0} is missing")]
    Missing(String),
    #[error("{path} is {found}, must be {expected}")]
    Type {
        path: String,
        found: &'static str,
        expected: &'static str,
    },
    #[error("{path} is {value}, must be {expected}")]
    Value {
        path: String,
        value: String,
        expected: &'static str,
    },
    #[error("{path} is {value}, the least is {limit}")]
    TooSmall {
        path: String,
        value: u64,
        limit: u64,
    },
    #[error("{path} is {value}, the limit is {limit}")]
    TooLarge {
        path: String,
        value: u64,
        limit: u64,
    },
    #[error("{path} is {value}, must be a multiple of {unit}")]
    Misaligned { path: String, value: u64, unit: u64 },
    #[error("{path} is {offset:#x}+{size:#x}, past 64 bits")]
    Overflow {
        path: String,
        offset: u64,
        size: u64,
    },

    // Members against each other.
    #[error("config.json_size is {json_size}, the header's is {expected}")]
    JsonSize { json_size: u64, expected: u64 },
    #[error(
        "config.keyslots_size is {keyslots_size:#x}, the first segment at {data_offset:#x} leaves {room:#x} after the headers"
    )]
    KeyslotsSize {
        keyslots_size: u64,
        data_offset: u64,
        room: u64,
    },
    #[error(
        "keyslot {id} area {offset:#x}+{size:#x} lies outside the keyslots area {area_offset:#x}+{area_size:#x}"
    )]
    AreaOutside {
        id: u32,
        offset: u64,
        size: u64,
        area_offset: u64,
        area_size: u64,
    },
    #[error(
        "keyslot {id} area {offset:#x}+{size:#x} overlaps keyslot {other} area {other_offset:#x}+{other_size:#x}"
    )]
    AreaOverlap {
        id: u32,
        offset: u64,
        size: u64,
        other: u32,
        other_offset: u64,
        other_size: u64,
    },
    #[error("keyslot {id} area is {size} bytes, a key of {key_size} bytes needs {needed}")]
    AreaTooSmall {
        id: u32,
        size: u64,
        key_size: u32,
        needed: u64,
    },
    #[error("{path} names {kind} {id}, which does not exist")]
    Dangling {
        path: String,
        kind: &'static str,
        id: u32,
    },
    #[error("keyslot {id} belongs to {count} digests, must belong to exactly one")]
    KeyslotDigests { id: u32, count: usize },
    #[error("segment {0} belongs to no digest")]
    SegmentWithoutDigest(u32),
    #[error("keyslots {first} and {second} are both of type reencrypt, at most one may be")]
    TwoReencryptKeyslots { first: u32, second: u32 },
    #[error("segments is empty")]
    NoSegments,
    #[error("segment {0} is a backup, and no regular segment comes before it")]
    NoRegularSegment(u32),
    #[error("segment {0} is missing: segments are numbered without gaps")]
    SegmentGap(u32),
    #[error("segment {0} is no backup, but follows one")]
    RegularAfterBackup(u32),
    #[error("segment {id} is dynamic, only the last regular segment, {last}, may be")]
    DynamicNotLast { id: u32, last: u32 },
    #[error("segment {id} at {offset:#x} overlaps segment {other} at {other_offset:#x}")]
    SegmentOverlap {
        id: u32,
        offset: u64,
        other: u32,
        other_offset: u64,
    },
    #[error("config.requirements names online re-encryption {0} times, at most once is allowed")]
    ReencryptRequirements(usize),
    #[error("keyslot {0} is of type reencrypt, but config.requirements names no re-encryption")]
    ReencryptKeyslotUnannounced(u32),
    #[error("config.requirements names online re-encryption, but no keyslot is of type reencrypt")]
    ReencryptKeyslotMissing,
    #[error("config.requirements names online re-encryption, but no segment has the flag {0}")]
    BackupSegmentMissing(&'static str),
    #[error("segment {0} is like neither backup segment of the re-encryption")]
    SegmentUnlikeBackups(u32),

    // LUKS1.
    #[error("device ends at byte {device_len}, a LUKS1 header reaches to {end}")]
    Luks1Truncated { device_len: usize, end: usize },
    #[error(
        "keyslot {id} area {offset:#x}+{size:#x} reaches past payloadOffset, {payload_offset:#x} in bytes"
    )]
    AreaPastPayload {
        id: u32,
        offset: u64,
        size: u64,
        payload_offset: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsupportedKind {
    #[error("header version {0}")]
    Version(u16),
    #[error("header checksum {0}")]
    Checksum(Quoted),
    #[error("hash {0}")]
    Hash(Quoted),
    #[error("{path} type {kind}")]
    DigestType { path: String, kind: Quoted },
    #[error("a re-encryption whose segments or strings are not those of any known tool")]
    ReencryptionMember,
    #[error("{}", both_copies(.primary, .secondary))]
    BothCopies {
        primary: Box<Error>,
        secondary: Box<Error>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedKind {
    #[error("the header would be invalid: {0}")]
    Invalid(Corrupt),
    #[error("{kind} {id} exists already")]
    Exists { kind: &'static str, id: u32 },
    #[error("{kind} {id} does not exist")]
    Absent { kind: &'static str, id: u32 },
    #[error("{kind} number is {id}, the limit is {limit}")]
    Id {
        kind: &'static str,
        id: u32,
        limit: u32,
    },
    #[error("{field} is {len} bytes, the limit is {limit}")]
    TooLong {
        field: &'static str,
        len: usize,
        limit: usize,
    },
    #[error("{field} has a zero byte at {at}")]
    ZeroByte { field: &'static str, at: usize },
    #[error("{kind} {id} is not free")]
    NotFree { kind: &'static str, id: u32 },
    #[error("encryption {0} is not of the form cipher-mode-iv")]
    Encryption(Quoted),
    #[error(
        "payload offset of {sectors} sectors: the keyslots end at {needed}, 0 is for a detached header"
    )]
    PayloadOffset { sectors: u64, needed: u64 },
    #[error("{path} is {value}, can be repaired only if it is {expected}")]
    NoRepair {
        path: &'static str,
        value: u32,
        expected: &'static str,
    },
    #[error("uuid {0} is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
    Uuid(Quoted),
    #[error("the JSON needs {len} bytes, its area holds {limit}")]
    JsonTooLarge { len: usize, limit: usize },
    #[error("seqid is {0}, the largest")]
    SeqidExhausted(u64),
    #[error("{0} cannot be written: its members are not known")]
    UnknownType(&'static str),
}

fn both_copies(primary: &Error, secondary: &Error) -> String {
    format!("primary: {}; secondary: {}", Bare(primary), Bare(secondary))
}

/// An error without its family's name: "corrupt header" once is enough.
struct Bare<'a>(&'a Error);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::Corrupt(corrupt) => corrupt.fmt(f),
            Error::Unsupported(unsupported) => write!(f, "{unsupported} is not supported"),
            other => other.fmt(f),
        }
    }
}

/// A string from the header, made fit for an error line: quoted, escaped, at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quoted(String);

impl Quoted {
    const LIMIT: usize = 64;

    pub(crate) fn new(text: &str) -> Self {
        match text.char_indices().nth(Self::LIMIT) {
            None => Self(format!("{text:?}")),
            Some((at, _)) => Self(format!("{:?}...", text.get(..at).unwrap_or_default())),
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<CorruptKind> for Error {
    fn from(kind: CorruptKind) -> Self {
        Self::Corrupt(Corrupt(kind))
    }
}

impl From<UnsupportedKind> for Error {
    fn from(kind: UnsupportedKind) -> Self {
        Self::Unsupported(Unsupported(kind))
    }
}

impl From<RefusedKind> for Error {
    fn from(kind: RefusedKind) -> Self {
        Self::Refused(Refused(kind))
    }
}

/// Why a header could not be loaded: the bytes, or reading them.
#[derive(Debug, thiserror::Error)]
pub enum LoadError<E> {
    /// The bytes are not a usable header.
    #[error(transparent)]
    Format(#[from] Error),
    /// The reader failed; its own error.
    #[error("{0}")]
    Read(E),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(Quoted::new("a\u{1b}[2J").to_string(), r#""a\u{1b}[2J""#);
        let long = "é".repeat(65);
        assert_eq!(
            Quoted::new(&long).to_string(),
            format!("\"{}\"...", "é".repeat(64))
        );
    }

    #[test]
    fn both_copies_name_each_fault() {
        let error = Error::from(CorruptKind::BothCopies {
            primary: Box::new(CorruptKind::NoMagic(0).into()),
            secondary: Box::new(CorruptKind::NoSecondary.into()),
        });
        assert_eq!(
            error.to_string(),
            "corrupt header: primary: no magic at 0x0; secondary: no secondary header at any of 0x4000 to 0x400000"
        );
    }
}
