//! Segments: where the data lies and how it is encrypted (specification 3.3).

use serde_json::{Map, Value, json};

use super::member::Object;
use crate::error::CorruptKind;

/// Device-mapper's sector: offsets and sizes are multiples of it.
const SECTOR_BYTES: u64 = 512;

/// The flag of a hot zone.
pub const IN_REENCRYPTION: &str = "in-reencryption";

/// A segment of the data device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Segment {
    /// Type `crypt`.
    Crypt(CryptSegment),
    /// Type `linear`: plaintext, seen during re-encryption.
    Linear {
        /// First byte; a multiple of 512.
        offset: u64,
        /// Length.
        size: SegmentSize,
        /// Flags such as `in-reencryption`.
        flags: Vec<String>,
    },
    /// A type we do not know: survives, is never activated.
    Unknown {
        /// Its `type`.
        kind: String,
        /// First byte; a multiple of 512.
        offset: u64,
        /// Length.
        size: SegmentSize,
        /// Flags.
        flags: Vec<String>,
    },
}

/// A segment of type `crypt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptSegment {
    /// First byte on the data device; a multiple of 512.
    pub offset: u64,
    /// Length.
    pub size: SegmentSize,
    /// The first sector's IV, in 512-byte units. cryptsetup ignores it for a single segment.
    pub iv_tweak: u64,
    /// The cipher in dm-crypt's notation, `aes-xts-plain64`.
    pub encryption: String,
    /// A multiple of 512, not 0. What opens a segment must check for 512, 1024, 2048 or 4096: other
    /// values load in cryptsetup too, and fail only there.
    pub sector_size: u32,
    /// The `integrity` object's type, if there is one: authenticated encryption.
    pub integrity: Option<String>,
    /// Flags such as `in-reencryption` or `backup-final`.
    pub flags: Vec<String>,
}

/// The length of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentSize {
    /// To the end of the device.
    Dynamic,
    /// This many bytes; a multiple of 512, not 0.
    Bytes(u64),
}

impl Segment {
    /// First byte on the data device.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match self {
            Self::Crypt(CryptSegment { offset, .. })
            | Self::Linear { offset, .. }
            | Self::Unknown { offset, .. } => *offset,
        }
    }

    /// Length.
    #[must_use]
    pub fn size(&self) -> SegmentSize {
        match self {
            Self::Crypt(CryptSegment { size, .. })
            | Self::Linear { size, .. }
            | Self::Unknown { size, .. } => *size,
        }
    }

    /// Flags, in the order of the JSON.
    #[must_use]
    pub fn flags(&self) -> &[String] {
        match self {
            Self::Crypt(CryptSegment { flags, .. })
            | Self::Linear { flags, .. }
            | Self::Unknown { flags, .. } => flags,
        }
    }

    /// The `type` member.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Crypt(_) => "crypt",
            Self::Linear { .. } => "linear",
            Self::Unknown { kind, .. } => kind,
        }
    }

    /// Whether it is kept for an unfinished re-encryption only (`backup-previous`, `backup-final`,
    /// `backup-moved-segment`) and is no part of the data.
    #[must_use]
    pub fn is_backup(&self) -> bool {
        self.flags().iter().any(|flag| flag.starts_with("backup-"))
    }

    /// Whether it is the hot zone of an unfinished re-encryption: partly as it was, partly as it will be.
    #[must_use]
    pub fn is_in_reencryption(&self) -> bool {
        self.flags().iter().any(|flag| flag == IN_REENCRYPTION)
    }

    pub(super) fn parse(segment: &Object<'_>) -> Result<Self, CorruptKind> {
        let kind = segment.string("type")?;
        let offset = aligned(segment, "offset")?;
        let size = parse_size(segment, offset)?;
        let flags = segment.optional_strings("flags")?;
        if kind.starts_with("hw-opal") {
            check_opal(segment, size)?;
        }
        match kind {
            "crypt" => Ok(Self::Crypt(parse_crypt(segment, offset, size, flags)?)),
            "linear" => Ok(Self::Linear {
                offset,
                size,
                flags,
            }),
            unknown => {
                if unknown == "hw-opal-crypt" {
                    parse_crypt(segment, offset, size, flags.clone())?;
                }
                Ok(Self::Unknown {
                    kind: unknown.to_owned(),
                    offset,
                    size,
                    flags,
                })
            }
        }
    }

    /// `None` for a type whose members we do not know.
    pub(super) fn to_json(&self) -> Option<Map<String, Value>> {
        let mut segment = Map::new();
        segment.insert("type".into(), json!(self.kind()));
        segment.insert("offset".into(), json!(self.offset().to_string()));
        let size = match self.size() {
            SegmentSize::Dynamic => json!("dynamic"),
            SegmentSize::Bytes(bytes) => json!(bytes.to_string()),
        };
        segment.insert("size".into(), size);
        match self {
            Self::Crypt(crypt) => {
                segment.insert("iv_tweak".into(), json!(crypt.iv_tweak.to_string()));
                segment.insert("encryption".into(), json!(crypt.encryption));
                segment.insert("sector_size".into(), json!(crypt.sector_size));
                if let Some(kind) = &crypt.integrity {
                    segment.insert(
                        "integrity".into(),
                        json!({
                            "type": kind,
                            "journal_encryption": "none",
                            "journal_integrity": "none",
                        }),
                    );
                }
            }
            Self::Linear { .. } => {}
            Self::Unknown { .. } => return None,
        }
        if !self.flags().is_empty() {
            segment.insert("flags".into(), json!(self.flags()));
        }
        Some(segment)
    }
}

fn aligned(segment: &Object<'_>, name: &str) -> Result<u64, CorruptKind> {
    let value = segment.u64(name)?;
    if value.is_multiple_of(SECTOR_BYTES) {
        Ok(value)
    } else {
        Err(CorruptKind::Misaligned {
            path: segment.path(name),
            value,
            unit: SECTOR_BYTES,
        })
    }
}

fn parse_size(segment: &Object<'_>, offset: u64) -> Result<SegmentSize, CorruptKind> {
    if segment.string("size")? == "dynamic" {
        return Ok(SegmentSize::Dynamic);
    }
    let size = aligned(segment, "size")?;
    if size == 0 {
        return Err(CorruptKind::TooSmall {
            path: segment.path("size"),
            value: 0,
            limit: SECTOR_BYTES,
        });
    }
    if offset.checked_add(size).is_none() {
        return Err(CorruptKind::Overflow {
            path: segment.own_path(),
            offset,
            size,
        });
    }
    Ok(SegmentSize::Bytes(size))
}

fn parse_crypt(
    segment: &Object<'_>,
    offset: u64,
    size: SegmentSize,
    flags: Vec<String>,
) -> Result<CryptSegment, CorruptKind> {
    let sector_size = segment.positive_u32("sector_size")?;
    if !u64::from(sector_size).is_multiple_of(SECTOR_BYTES) {
        return Err(CorruptKind::Misaligned {
            path: segment.path("sector_size"),
            value: u64::from(sector_size),
            unit: SECTOR_BYTES,
        });
    }
    if let SegmentSize::Bytes(bytes) = size
        && !bytes.is_multiple_of(u64::from(sector_size))
    {
        return Err(CorruptKind::Misaligned {
            path: segment.path("size"),
            value: bytes,
            unit: u64::from(sector_size),
        });
    }
    let integrity = match segment.optional_object("integrity")? {
        None => None,
        Some(integrity) => {
            integrity.string("journal_encryption")?;
            integrity.string("journal_integrity")?;
            Some(integrity.string("type")?.to_owned())
        }
    };
    Ok(CryptSegment {
        offset,
        size,
        iv_tweak: segment.u64("iv_tweak")?,
        encryption: segment.string("encryption")?.to_owned(),
        sector_size,
        integrity,
        flags,
    })
}

/// The members of a self-encrypting drive's segment: not used here, but cryptsetup refuses a header
/// without them.
fn check_opal(segment: &Object<'_>, size: SegmentSize) -> Result<(), CorruptKind> {
    segment.u32("opal_segment_number")?;
    segment.u32("opal_key_size")?;
    let range = segment.u64("opal_segment_size")?;
    match size {
        SegmentSize::Bytes(size) if size <= range => Ok(()),
        SegmentSize::Bytes(size) => Err(CorruptKind::TooLarge {
            path: segment.path("size"),
            value: size,
            limit: range,
        }),
        SegmentSize::Dynamic => Err(CorruptKind::Value {
            path: segment.path("size"),
            value: "\"dynamic\"".to_owned(),
            expected: "a number of bytes",
        }),
    }
}
