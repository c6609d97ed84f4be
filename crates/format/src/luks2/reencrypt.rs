//! The keyslot of an unfinished re-encryption (specification 3.2.4): direction, and how a hot zone survives a
//! crash.

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::Priority;
use super::area::parse_range;
use super::member::Object;
use crate::error::{CorruptKind, Quoted};

/// A keyslot of type `reencrypt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReencryptKeyslot {
    /// Without meaning, always 1.
    pub key_size: u32,
    /// Without meaning: it opens nothing.
    pub priority: Priority,
    /// What is going on.
    pub mode: ReencryptMode,
    /// From which end.
    pub direction: ReencryptDirection,
    /// How the hot zone is protected.
    pub resilience: Resilience,
    /// The bytes of the resilience data, counted from the start of the header device.
    pub area: Range<u64>,
}

/// What a re-encryption does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReencryptMode {
    /// From one key to another.
    Reencrypt,
    /// From plaintext.
    Encrypt,
    /// To plaintext.
    Decrypt,
}

/// Where a re-encryption starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReencryptDirection {
    /// From the first sector upwards.
    Forward,
    /// From the last sector downwards.
    Backward,
}

/// How a re-encryption's hot zone survives a crash: the area's `type`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resilience {
    /// Not at all.
    None,
    /// Old sectors' hashes tell which were written.
    Checksum(ChecksumResilience),
    /// The old ciphertext is kept in the area.
    Journal,
    /// Data moves by at least a hot zone; the old ciphertext stays where it was.
    Datashift {
        /// Bytes; a multiple of 512, not 0.
        shift_size: u64,
    },
    /// Data moves by less than a hot zone, with a journal.
    DatashiftJournal {
        /// Bytes; a multiple of 512, not 0.
        shift_size: u64,
    },
    /// Data moves by less than a hot zone, with checksums.
    DatashiftChecksum {
        /// Bytes; a multiple of 512, not 0.
        shift_size: u64,
        /// The checksums.
        checksum: ChecksumResilience,
    },
    /// A type we do not know.
    Unknown {
        /// Its `type`.
        kind: String,
    },
}

/// Parameters of checksum resilience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumResilience {
    /// The hash, `sha256`.
    pub hash: String,
    /// Bytes per hash; a power of two, at least 512.
    pub sector_size: u32,
}

impl ReencryptKeyslot {
    pub(super) fn parse(
        keyslot: &Object<'_>,
        key_size: u32,
        priority: Priority,
        area: &Object<'_>,
    ) -> Result<Self, CorruptKind> {
        let unexpected = |name: &str, value: &str, expected| CorruptKind::Value {
            path: keyslot.path(name),
            value: Quoted::new(value).to_string(),
            expected,
        };
        let mode = match keyslot.string("mode")? {
            "reencrypt" => ReencryptMode::Reencrypt,
            "encrypt" => ReencryptMode::Encrypt,
            "decrypt" => ReencryptMode::Decrypt,
            other => {
                return Err(unexpected(
                    "mode",
                    other,
                    "\"reencrypt\", \"encrypt\" or \"decrypt\"",
                ));
            }
        };
        let direction = match keyslot.string("direction")? {
            "forward" => ReencryptDirection::Forward,
            "backward" => ReencryptDirection::Backward,
            other => {
                return Err(unexpected(
                    "direction",
                    other,
                    "\"forward\" or \"backward\"",
                ));
            }
        };
        if key_size != 1 {
            return Err(CorruptKind::Value {
                path: keyslot.path("key_size"),
                value: key_size.to_string(),
                expected: "1",
            });
        }
        Ok(Self {
            key_size,
            priority,
            mode,
            direction,
            resilience: Resilience::parse(area)?,
            area: parse_range(area)?,
        })
    }

    /// `None` for a resilience whose members we do not know.
    pub(super) fn to_json(&self) -> Option<Map<String, Value>> {
        let mut area = Map::new();
        area.insert("type".into(), json!(self.resilience.kind()));
        area.insert("offset".into(), json!(self.area.start.to_string()));
        let size = self.area.end.saturating_sub(self.area.start);
        area.insert("size".into(), json!(size.to_string()));
        if let Some(checksum) = self.resilience.checksum() {
            area.insert("hash".into(), json!(checksum.hash));
            area.insert("sector_size".into(), json!(checksum.sector_size));
        }
        if let Some(shift_size) = self.resilience.shift_size() {
            area.insert("shift_size".into(), json!(shift_size.to_string()));
        }
        let mut keyslot = Map::new();
        keyslot.insert("type".into(), json!("reencrypt"));
        keyslot.insert("key_size".into(), json!(self.key_size));
        keyslot.insert("mode".into(), json!(self.mode.as_str()));
        keyslot.insert("direction".into(), json!(self.direction.as_str()));
        keyslot.insert("area".into(), Value::Object(area));
        if self.priority != Priority::Normal {
            keyslot.insert("priority".into(), self.priority.to_json());
        }
        (!matches!(self.resilience, Resilience::Unknown { .. })).then_some(keyslot)
    }
}

impl ReencryptMode {
    /// The string in the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reencrypt => "reencrypt",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }
}

impl ReencryptDirection {
    /// The string in the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

impl Resilience {
    /// The area's `type` member.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Checksum(_) => "checksum",
            Self::Journal => "journal",
            Self::Datashift { .. } => "datashift",
            Self::DatashiftJournal { .. } => "datashift-journal",
            Self::DatashiftChecksum { .. } => "datashift-checksum",
            Self::Unknown { kind } => kind,
        }
    }

    /// The checksums' parameters, where there are checksums.
    #[must_use]
    pub fn checksum(&self) -> Option<&ChecksumResilience> {
        match self {
            Self::Checksum(checksum) | Self::DatashiftChecksum { checksum, .. } => Some(checksum),
            _ => None,
        }
    }

    /// How far data moves, in bytes, where they do.
    #[must_use]
    pub fn shift_size(&self) -> Option<u64> {
        match self {
            Self::Datashift { shift_size }
            | Self::DatashiftJournal { shift_size }
            | Self::DatashiftChecksum { shift_size, .. } => Some(*shift_size),
            _ => None,
        }
    }

    fn parse(area: &Object<'_>) -> Result<Self, CorruptKind> {
        match area.string("type")? {
            "none" => Ok(Self::None),
            "journal" => Ok(Self::Journal),
            "checksum" => Ok(Self::Checksum(ChecksumResilience::parse(area)?)),
            "datashift" => Ok(Self::Datashift {
                shift_size: parse_shift(area)?,
            }),
            "datashift-journal" => Ok(Self::DatashiftJournal {
                shift_size: parse_shift(area)?,
            }),
            "datashift-checksum" => Ok(Self::DatashiftChecksum {
                shift_size: parse_shift(area)?,
                checksum: ChecksumResilience::parse(area)?,
            }),
            unknown => Ok(Self::Unknown {
                kind: unknown.to_owned(),
            }),
        }
    }
}

impl ChecksumResilience {
    fn parse(area: &Object<'_>) -> Result<Self, CorruptKind> {
        let sector_size = area.u32("sector_size")?;
        if sector_size < 512 || !sector_size.is_power_of_two() {
            return Err(CorruptKind::Value {
                path: area.path("sector_size"),
                value: sector_size.to_string(),
                expected: "a power of two, at least 512",
            });
        }
        Ok(Self {
            hash: area.string("hash")?.to_owned(),
            sector_size,
        })
    }
}

fn parse_shift(area: &Object<'_>) -> Result<u64, CorruptKind> {
    let shift_size = area.u64("shift_size")?;
    if shift_size == 0 {
        return Err(CorruptKind::TooSmall {
            path: area.path("shift_size"),
            value: 0,
            limit: 512,
        });
    }
    if !shift_size.is_multiple_of(512) {
        return Err(CorruptKind::Misaligned {
            path: area.path("shift_size"),
            value: shift_size,
            unit: 512,
        });
    }
    Ok(shift_size)
}
