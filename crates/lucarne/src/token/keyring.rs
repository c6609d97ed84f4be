//! Tokens of type `luks2-keyring`: the passphrase is a key of type `user` in the kernel's keyring.

use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier};
use lucarne_format::luks2::Token;
use lucarne_secret::SecretBytes;
use serde_json::{Map, Value, json};

use super::{TokenFault, Unlocker};
use crate::Error;

/// What a key of type `user` can hold.
const KEY_LEN_MAX: usize = 32_767;

/// A token of type `luks2-keyring`, as cryptsetup writes it.
///
/// ```
/// let token = lucarne::KeyringToken::new("backup:disk1")?;
/// assert_eq!(
///     serde_json::to_string(&token.to_json([0, 3]))?,
///     r#"{"type":"luks2-keyring","keyslots":["0","3"],"key_description":"backup:disk1"}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringToken {
    description: String,
}

impl KeyringToken {
    /// Its type.
    pub const KIND: &'static str = "luks2-keyring";

    /// Of the key with this description.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is empty or holds a zero byte.
    pub fn new(description: impl Into<String>) -> Result<Self, Error> {
        let description = description.into();
        if description.is_empty() || description.contains('\0') {
            return Err(Error::refused(
                "a key's description is not empty and holds no zero byte",
            ));
        }
        Ok(Self { description })
    }

    /// Of a token's JSON, which has just the members that belong there.
    ///
    /// # Errors
    /// [`Error::Refused`] names what is missing or too much.
    pub fn from_json(token: &Map<String, Value>) -> Result<Self, Error> {
        let Some(description) = token.get("key_description").and_then(Value::as_str) else {
            return Err(Error::refused(
                "a luks2-keyring token has a key_description",
            ));
        };
        let known = ["type", "keyslots", "key_description"];
        if let Some(name) = token.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Error::refused(format!(
                "a luks2-keyring token has no member {name:?}"
            )));
        }
        Self::new(description)
    }

    /// The key's description.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The JSON of a token that serves these keyslots.
    #[must_use]
    pub fn to_json(&self, keyslots: impl IntoIterator<Item = u32>) -> Map<String, Value> {
        let keyslots: Vec<_> = keyslots.into_iter().map(|id| id.to_string()).collect();
        let mut token = Map::new();
        token.insert("type".into(), json!(Self::KIND));
        token.insert("keyslots".into(), json!(keyslots));
        token.insert("key_description".into(), json!(self.description));
        token
    }
}

/// The kernel's keyrings of this process: thread, process, session and user.
///
/// ```
/// use lucarne::{KernelKeyring, Unlocker};
/// # let text = serde_json::json!({"type": "luks2-keyring", "keyslots": [], "key_description": "lucarne:none"});
/// # let token = lucarne::luks2::Token {
/// #     kind: "luks2-keyring".into(), keyslots: Default::default(), json: text.as_object().unwrap().clone(),
/// # };
/// assert!(KernelKeyring.takes(&token));
/// assert!(KernelKeyring.passphrase(0, &token).is_err());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelKeyring;

impl Unlocker for KernelKeyring {
    fn takes(&self, token: &Token) -> bool {
        token.kind == KeyringToken::KIND
    }

    fn passphrase(&self, _id: u32, token: &Token) -> Result<SecretBytes, TokenFault> {
        let token = KeyringToken::from_json(&token.json)
            .map_err(|error| TokenFault::new(error.to_string()))?;
        let description = token.description();
        // The kernel's own search goes through the session's keyrings; where a session has no link to the
        // user's, as in one that no login made, that one is asked by name.
        let mut error = KeyError::KeyDoesNotExist;
        for keyring in [
            KeyRingIdentifier::Thread,
            KeyRingIdentifier::Process,
            KeyRingIdentifier::Session,
            KeyRingIdentifier::User,
            KeyRingIdentifier::UserSession,
        ] {
            let found = KeyRing::from_special_id(keyring, false)
                .and_then(|keyring| keyring.search(description));
            match found {
                Ok(key) => {
                    let mut secret = SecretBytes::zeroed(KEY_LEN_MAX);
                    let len = key
                        .read(&mut secret.as_mut_slice())
                        .map_err(|error| fault(description, error))?;
                    if len > KEY_LEN_MAX {
                        return Err(TokenFault::new(format!(
                            "key {description:?} of the kernel's keyring has {len} bytes, more than {KEY_LEN_MAX}"
                        )));
                    }
                    secret.truncate(len);
                    return Ok(secret);
                }
                Err(KeyError::KeyDoesNotExist) => {}
                Err(other) => error = other,
            }
        }
        Err(fault(description, error))
    }
}

fn fault(description: &str, error: KeyError) -> TokenFault {
    TokenFault::new(match error {
        KeyError::KeyDoesNotExist => format!("the kernel's keyring has no key {description:?}"),
        error => format!("key {description:?} of the kernel's keyring: {error}"),
    })
}
