//! Tokens: how a keyslot's passphrase is obtained elsewhere (specification 3.6).

use std::collections::BTreeSet;

use super::member::Object;
use crate::error::CorruptKind;

/// A token: its type, the keyslots it serves, and all of its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// `type`.
    pub kind: String,
    /// The keyslots it serves.
    pub keyslots: BTreeSet<u32>,
    /// The whole object, members we do not know included.
    pub json: serde_json::Map<String, serde_json::Value>,
}

impl Token {
    pub(super) fn parse(token: &Object<'_>) -> Result<Self, CorruptKind> {
        Ok(Self {
            kind: token.string("type")?.to_owned(),
            keyslots: token.ids("keyslots")?,
            json: token.map().clone(),
        })
    }
}
