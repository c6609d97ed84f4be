//! The `config` object (specification 3.4): sizes, flags, requirements.

use super::Requirement;
use super::binary_header::{BINARY_LEN_BYTES, HEADER_SIZE_MAX, HEADER_SIZE_MIN};
use super::member::Object;
use crate::error::CorruptKind;

/// The largest keyslots area: 128 MiB.
pub const KEYSLOTS_SIZE_MAX: u64 = 128 << 20;

/// The keyslots area's size is a multiple of this.
const KEYSLOTS_SIZE_UNIT: u64 = 4096;

/// The typed members of `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) json_size: u64,
    pub(super) keyslots_size: u64,
    pub(super) flags: Vec<String>,
    pub(super) requirements: Vec<Requirement>,
}

impl Config {
    pub(super) fn parse(config: &Object<'_>) -> Result<Self, CorruptKind> {
        let json_size = config.u64("json_size")?;
        if !json_size
            .checked_add(BINARY_LEN_BYTES)
            .is_some_and(is_legal_header_size)
        {
            return Err(CorruptKind::Value {
                path: config.path("json_size"),
                value: json_size.to_string(),
                expected: "a power of two from 16384 to 4194304, less 4096",
            });
        }
        let keyslots_size = config.u64("keyslots_size")?;
        if keyslots_size > KEYSLOTS_SIZE_MAX {
            return Err(CorruptKind::TooLarge {
                path: config.path("keyslots_size"),
                value: keyslots_size,
                limit: KEYSLOTS_SIZE_MAX,
            });
        }
        if !keyslots_size.is_multiple_of(KEYSLOTS_SIZE_UNIT) {
            return Err(CorruptKind::Misaligned {
                path: config.path("keyslots_size"),
                value: keyslots_size,
                unit: KEYSLOTS_SIZE_UNIT,
            });
        }
        let requirements = match config.optional_object("requirements")? {
            None => Vec::new(),
            Some(requirements) => requirements
                .optional_strings("mandatory")?
                .iter()
                .map(|name| Requirement::from(name.as_str()))
                .collect(),
        };
        Ok(Self {
            json_size,
            keyslots_size,
            flags: config.optional_strings("flags")?,
            requirements,
        })
    }
}

/// 16 KiB, 32 KiB, … 4 MiB.
pub(super) fn is_legal_header_size(size: u64) -> bool {
    size.is_power_of_two() && (HEADER_SIZE_MIN..=HEADER_SIZE_MAX).contains(&size)
}
