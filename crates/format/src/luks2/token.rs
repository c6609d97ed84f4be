//! Tokens: how a keyslot's passphrase is obtained elsewhere (specification 3.6).

use std::collections::BTreeSet;

use super::json_area;
use super::member::Object;
use crate::Error;
use crate::error::{CorruptKind, RefusedKind};

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
    /// The JSON object of a token that comes from outside: as strict as the header's own parser, and with
    /// `type` and `keyslots` as a token must have them.
    ///
    /// # Errors
    ///
    /// `Refused` says what is wrong with it.
    ///
    /// ```
    /// use lucarne_format::luks2::Token;
    /// let token = Token::parse_text(br#"{"type": "example", "keyslots": ["0"], "more": 1}"#)?;
    /// assert_eq!(token["more"], 1);
    /// assert!(Token::parse_text(br#"{"type": "example"}"#).is_err());
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    pub fn parse_text(text: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        let invalid = |kind: CorruptKind| RefusedKind::Invalid(kind.into());
        let json = json_area::parse_text(text).map_err(invalid)?;
        Self::parse(&Object::root(&json)).map_err(invalid)?;
        Ok(json)
    }

    pub(super) fn parse(token: &Object<'_>) -> Result<Self, CorruptKind> {
        Ok(Self {
            kind: token.string("type")?.to_owned(),
            keyslots: token.ids("keyslots")?,
            json: token.map().clone(),
        })
    }
}
