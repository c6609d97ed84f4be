//! Digests: what a volume key must hash to (specification 3.5).

use std::collections::BTreeSet;

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value, json};

use super::UnusableDigest;
use super::member::Object;
use crate::Error;
use crate::error::{CorruptKind, Quoted, UnsupportedKind};

/// The length of every salt in LUKS2.
pub const SALT_LEN_BYTES: usize = 32;

/// A digest is SHA-1's 20 bytes (converted LUKS1 volumes) to SHA-512's 64.
const DIGEST_LEN_BYTES: (usize, usize) = (20, 64);

/// A digest of type `pbkdf2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The keyslots whose key it recognises.
    pub keyslots: BTreeSet<u32>,
    /// The segments which that key decrypts; empty for an unbound keyslot.
    pub segments: BTreeSet<u32>,
    /// The HMAC's hash.
    pub hash: String,
    /// PBKDF2 iterations; not 0.
    pub iterations: u32,
    /// Salt, 32 bytes.
    pub salt: Vec<u8>,
    /// The expected value, 20 to 64 bytes.
    pub digest: Vec<u8>,
}

impl Digest {
    /// An error only for what cryptsetup refuses the header for.
    pub(super) fn parse(digest: &Object<'_>) -> Result<Result<Self, UnusableDigest>, CorruptKind> {
        let kind = digest.string("type")?;
        let keyslots = digest.ids("keyslots")?;
        let segments = digest.ids("segments")?;
        let parsed = Self::parse_members(digest, kind, keyslots.clone(), segments.clone());
        Ok(parsed.map_err(|defect| UnusableDigest {
            kind: kind.to_owned(),
            keyslots,
            segments,
            defect,
        }))
    }

    fn parse_members(
        digest: &Object<'_>,
        kind: &str,
        keyslots: BTreeSet<u32>,
        segments: BTreeSet<u32>,
    ) -> Result<Self, Error> {
        if kind != "pbkdf2" {
            return Err(UnsupportedKind::DigestType {
                path: digest.own_path(),
                kind: Quoted::new(kind),
            }
            .into());
        }
        Ok(Self {
            keyslots,
            segments,
            hash: digest.string("hash")?.to_owned(),
            iterations: digest.positive_u32("iterations")?,
            salt: digest.bytes_within("salt", SALT_LEN_BYTES, SALT_LEN_BYTES)?,
            digest: digest.bytes_within("digest", DIGEST_LEN_BYTES.0, DIGEST_LEN_BYTES.1)?,
        })
    }

    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut digest = Map::new();
        digest.insert("type".into(), json!("pbkdf2"));
        digest.insert("keyslots".into(), ids_to_json(&self.keyslots));
        digest.insert("segments".into(), ids_to_json(&self.segments));
        digest.insert("hash".into(), json!(self.hash));
        digest.insert("iterations".into(), json!(self.iterations));
        digest.insert("salt".into(), json!(Base64::encode_string(&self.salt)));
        digest.insert("digest".into(), json!(Base64::encode_string(&self.digest)));
        digest
    }
}

fn ids_to_json(ids: &BTreeSet<u32>) -> Value {
    ids.iter().map(u32::to_string).collect()
}
