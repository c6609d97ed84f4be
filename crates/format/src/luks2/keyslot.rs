//! Keyslots (specification 3.2).

use std::ops::Range;

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value, json};

use super::area::{STRIPES, parse_range, split_len_bytes};
use super::digest::SALT_LEN_BYTES;
use super::member::Object;
use super::reencrypt::ReencryptKeyslot;
use super::{Area, UnusableKeyslot};
use crate::error::{CorruptKind, Quoted};

/// A keyslot: one way to the key that a digest recognises.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keyslot {
    /// Type `luks2`: a passphrase opens it.
    Luks2(Luks2Keyslot),
    /// Type `reencrypt`: holds the journal of a re-encryption, opens nothing.
    Reencrypt(ReencryptKeyslot),
    /// Type `luks2`, with members that make no sense: survives, opens nothing.
    Unusable(UnusableKeyslot),
    /// A type we do not know: survives, opens nothing.
    Unknown(UnknownKeyslot),
}

/// A keyslot of type `luks2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luks2Keyslot {
    /// Length in bytes of the key that it holds; not 0.
    pub key_size: u32,
    /// When it is tried.
    pub priority: Priority,
    /// How the key is spread over the area.
    pub af: AntiForensic,
    /// How a passphrase becomes the area's key.
    pub kdf: Kdf,
    /// Where the key material lies.
    pub area: Area,
}

/// What every keyslot has, of one whose type we do not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKeyslot {
    /// Its `type`.
    pub kind: String,
    /// Length in bytes of the key that it holds.
    pub key_size: u32,
    /// When it is tried.
    pub priority: Priority,
    /// The bytes it owns.
    pub area: Range<u64>,
}

/// When a keyslot is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// 0: only when asked for by number.
    Ignore,
    /// 1 or absent.
    #[default]
    Normal,
    /// 2: before the others.
    Prefer,
}

/// The anti-forensic splitter's parameters (type `luks1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AntiForensic {
    /// Always 4000.
    pub stripes: u32,
    /// The diffusion's hash, `sha256`.
    pub hash: String,
}

/// A key derivation and its costs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kdf {
    /// RFC 8018 over HMAC.
    Pbkdf2 {
        /// The HMAC's hash, `sha256`.
        hash: String,
        /// Iterations; not 0.
        iterations: u32,
        /// Salt, 32 bytes.
        salt: Vec<u8>,
    },
    /// RFC 9106.
    Argon2 {
        /// i or id.
        variant: Argon2Variant,
        /// Passes; not 0.
        time: u32,
        /// Memory in KiB; not 0.
        memory_kib: u32,
        /// Parallel lanes; not 0.
        lanes: u32,
        /// Salt, 32 bytes.
        salt: Vec<u8>,
    },
    /// A type we do not know: the keyslot survives and opens nothing.
    Unknown {
        /// Its `type`.
        kind: String,
    },
}

/// Which Argon2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argon2Variant {
    /// argon2i: memory is addressed independently of the secret.
    I,
    /// argon2id.
    Id,
}

impl Keyslot {
    /// The `type` member.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Luks2(_) | Self::Unusable(_) => "luks2",
            Self::Reencrypt(_) => "reencrypt",
            Self::Unknown(unknown) => &unknown.kind,
        }
    }

    /// The bytes it owns, counted from the start of the header device.
    #[must_use]
    pub fn area_range(&self) -> Range<u64> {
        match self {
            Self::Luks2(luks2) => {
                luks2.area.offset..luks2.area.offset.saturating_add(luks2.area.size)
            }
            Self::Reencrypt(reencrypt) => reencrypt.area.clone(),
            Self::Unusable(unusable) => unusable.area.clone(),
            Self::Unknown(unknown) => unknown.area.clone(),
        }
    }

    /// Length in bytes of the key that it holds; 1 for `reencrypt`, which holds none.
    #[must_use]
    pub fn key_size(&self) -> u32 {
        match self {
            Self::Luks2(luks2) => luks2.key_size,
            Self::Reencrypt(reencrypt) => reencrypt.key_size,
            Self::Unusable(unusable) => unusable.key_size,
            Self::Unknown(unknown) => unknown.key_size,
        }
    }

    /// When it is tried.
    #[must_use]
    pub fn priority(&self) -> Priority {
        match self {
            Self::Luks2(luks2) => luks2.priority,
            Self::Reencrypt(reencrypt) => reencrypt.priority,
            Self::Unusable(unusable) => unusable.priority,
            Self::Unknown(unknown) => unknown.priority,
        }
    }

    /// An error only for what cryptsetup refuses the header for.
    pub(super) fn parse(id: u32, keyslot: &Object<'_>) -> Result<Self, CorruptKind> {
        let kind = keyslot.string("type")?;
        let key_size = keyslot.u32("key_size")?;
        // cryptsetup looks for 1 and 2, and tries one that says something else only if it is named.
        let priority = Priority::parse(keyslot).unwrap_or(Priority::Ignore);
        let area = keyslot.object("area")?;
        area.string("type")?;
        match kind {
            "luks2" => {
                Luks2Keyslot::check_shape(keyslot, &area)?;
                let range = parse_range(&area)?;
                Ok(match Luks2Keyslot::parse(id, keyslot, &area) {
                    Ok(luks2) => Self::Luks2(luks2),
                    Err(defect) => Self::Unusable(UnusableKeyslot {
                        key_size,
                        priority,
                        area: range,
                        defect: defect.into(),
                    }),
                })
            }
            "reencrypt" => Ok(Self::Reencrypt(ReencryptKeyslot::parse(
                keyslot, key_size, priority, &area,
            )?)),
            unknown => Ok(Self::Unknown(UnknownKeyslot {
                kind: unknown.to_owned(),
                key_size,
                priority,
                area: parse_range(&area)?,
            })),
        }
    }
}

impl Luks2Keyslot {
    /// What cryptsetup asks of a keyslot when it loads the header: members of the right types.
    fn check_shape(keyslot: &Object<'_>, area: &Object<'_>) -> Result<(), CorruptKind> {
        let kdf = keyslot.object("kdf")?;
        match kdf.string("type")? {
            "pbkdf2" => {
                kdf.string("hash")?;
                kdf.check_integer("iterations")?;
                kdf.string("salt")?;
            }
            "argon2i" | "argon2id" => {
                for name in ["time", "memory", "cpus"] {
                    kdf.check_integer(name)?;
                }
                kdf.string("salt")?;
            }
            _ => {}
        }
        AntiForensic::check_shape(&keyslot.object("af")?)?;
        Area::check_shape(area)
    }

    fn parse(id: u32, keyslot: &Object<'_>, area: &Object<'_>) -> Result<Self, CorruptKind> {
        let luks2 = Self {
            key_size: keyslot.positive_u32("key_size")?,
            priority: Priority::parse(keyslot)?,
            af: AntiForensic::parse(&keyslot.object("af")?)?,
            kdf: Kdf::parse(&keyslot.object("kdf")?)?,
            area: Area::parse(area)?,
        };
        let needed = split_len_bytes(luks2.key_size);
        if luks2.area.size < needed {
            return Err(CorruptKind::AreaTooSmall {
                id,
                size: luks2.area.size,
                key_size: luks2.key_size,
                needed,
            });
        }
        Ok(luks2)
    }

    pub(super) fn to_json(&self) -> Option<Map<String, Value>> {
        let mut keyslot = Map::new();
        keyslot.insert("type".into(), json!("luks2"));
        keyslot.insert("key_size".into(), json!(self.key_size));
        keyslot.insert(
            "af".into(),
            json!({ "type": "luks1", "stripes": self.af.stripes, "hash": self.af.hash }),
        );
        keyslot.insert("area".into(), Value::Object(self.area.to_json()));
        keyslot.insert("kdf".into(), self.kdf.to_json()?);
        if self.priority != Priority::Normal {
            keyslot.insert("priority".into(), self.priority.to_json());
        }
        Some(keyslot)
    }
}

impl Priority {
    fn parse(keyslot: &Object<'_>) -> Result<Self, CorruptKind> {
        if !keyslot.contains("priority") {
            return Ok(Self::Normal);
        }
        match keyslot.u32("priority")? {
            0 => Ok(Self::Ignore),
            1 => Ok(Self::Normal),
            2 => Ok(Self::Prefer),
            other => Err(CorruptKind::TooLarge {
                path: keyslot.path("priority"),
                value: u64::from(other),
                limit: 2,
            }),
        }
    }

    pub(super) fn to_json(self) -> Value {
        match self {
            Self::Ignore => json!(0),
            Self::Normal => json!(1),
            Self::Prefer => json!(2),
        }
    }
}

impl AntiForensic {
    fn check_shape(af: &Object<'_>) -> Result<(), CorruptKind> {
        let kind = af.string("type")?;
        if kind != "luks1" {
            return Err(CorruptKind::Value {
                path: af.path("type"),
                value: Quoted::new(kind).to_string(),
                expected: "\"luks1\"",
            });
        }
        af.string("hash")?;
        af.check_integer("stripes")
    }

    fn parse(af: &Object<'_>) -> Result<Self, CorruptKind> {
        let stripes = af.u32("stripes")?;
        if stripes != STRIPES {
            return Err(CorruptKind::Value {
                path: af.path("stripes"),
                value: stripes.to_string(),
                expected: "4000",
            });
        }
        Ok(Self {
            stripes,
            hash: af.string("hash")?.to_owned(),
        })
    }
}

impl Kdf {
    fn parse(kdf: &Object<'_>) -> Result<Self, CorruptKind> {
        let salt = || kdf.bytes_within("salt", SALT_LEN_BYTES, SALT_LEN_BYTES);
        let argon2 = |variant| {
            Ok(Self::Argon2 {
                variant,
                time: kdf.positive_u32("time")?,
                memory_kib: kdf.positive_u32("memory")?,
                lanes: kdf.positive_u32("cpus")?,
                salt: salt()?,
            })
        };
        match kdf.string("type")? {
            "pbkdf2" => Ok(Self::Pbkdf2 {
                hash: kdf.string("hash")?.to_owned(),
                iterations: kdf.positive_u32("iterations")?,
                salt: salt()?,
            }),
            "argon2i" => argon2(Argon2Variant::I),
            "argon2id" => argon2(Argon2Variant::Id),
            unknown => Ok(Self::Unknown {
                kind: unknown.to_owned(),
            }),
        }
    }

    /// The `type` member: `pbkdf2`, `argon2i`, `argon2id` or one we do not know.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Pbkdf2 { .. } => "pbkdf2",
            Self::Argon2 {
                variant: Argon2Variant::I,
                ..
            } => "argon2i",
            Self::Argon2 {
                variant: Argon2Variant::Id,
                ..
            } => "argon2id",
            Self::Unknown { kind } => kind,
        }
    }

    /// `None` for a type whose members we do not know.
    fn to_json(&self) -> Option<Value> {
        match self {
            Self::Pbkdf2 {
                hash,
                iterations,
                salt,
            } => Some(json!({
                "type": self.kind(),
                "hash": hash,
                "iterations": iterations,
                "salt": Base64::encode_string(salt),
            })),
            Self::Argon2 {
                time,
                memory_kib,
                lanes,
                salt,
                ..
            } => Some(json!({
                "type": self.kind(),
                "time": time,
                "memory": memory_kib,
                "cpus": lanes,
                "salt": Base64::encode_string(salt),
            })),
            Self::Unknown { .. } => None,
        }
    }
}

/// Drops the members that a change of the KDF's type left behind: cryptsetup loads such a keyslot,
/// and cleans it when it writes.
pub(super) fn drop_leftover_kdf_members(keyslot: &mut Map<String, Value>) {
    if keyslot.get("type").and_then(Value::as_str) != Some("luks2") {
        return;
    }
    let Some(Value::Object(kdf)) = keyslot.get_mut("kdf") else {
        return;
    };
    let leftovers: &[&str] = match kdf.get("type").and_then(Value::as_str) {
        Some("pbkdf2") => &["time", "memory", "cpus"],
        Some("argon2i" | "argon2id") => &["hash", "iterations"],
        _ => return,
    };
    for name in leftovers {
        kdf.shift_remove(*name);
    }
}
