//! Tokens (LUKS2 specification 3.6).

use lucarne_format::luks2::Token;
use serde_json::{Map, Value};

use super::HeaderEditor;
use crate::{Error, KeyringToken};

impl HeaderEditor<'_> {
    /// Adds a token, `token` being its whole JSON object: `type` a string, `keyslots` an array of keyslot
    /// numbers as strings, and whatever else its type has. Its number: `id`, or the first that is free.
    ///
    /// # Errors
    /// [`Error::Refused`] if the number is taken or above 31, all are taken, the object is not that of a
    /// token or does not fit, or the header has requirements; [`Error::Busy`], [`Error::Io`].
    pub fn add_token(&mut self, id: Option<u32>, token: Map<String, Value>) -> Result<u32, Error> {
        self.refuse_requirements("adding a token")?;
        let id = self.token_number(id)?;
        self.edit(|draft| draft.insert_token(id, token))?;
        Ok(id)
    }

    /// Adds a token from its JSON text, or puts it in the place of the token with the number `id` if `replace`
    /// says so. With `keyslot` it serves that one too. Its number.
    ///
    /// Nothing may stand after the object. Types that begin with `luks2-` are cryptsetup's own; of these only
    /// `luks2-keyring` exists.
    ///
    /// # Errors
    /// As [`Self::add_token`].
    pub fn import_token(
        &mut self,
        id: Option<u32>,
        replace: bool,
        text: &[u8],
        keyslot: Option<u32>,
    ) -> Result<u32, Error> {
        let mut token = Token::parse_text(text)?;
        let kind = token.get("type").and_then(Value::as_str);
        match kind.unwrap_or_default() {
            KeyringToken::KIND => drop(KeyringToken::from_json(&token)?),
            kind if kind.starts_with("luks2-") => {
                return Err(Error::refused(format!(
                    "token type {kind:?}: those that begin with luks2- are reserved"
                )));
            }
            _ => {}
        }
        if let (Some(keyslot), Some(Value::Array(keyslots))) = (keyslot, token.get_mut("keyslots"))
        {
            self.refuse_absent_keyslot(keyslot)?;
            let keyslot = Value::String(keyslot.to_string());
            if !keyslots.contains(&keyslot) {
                keyslots.push(keyslot);
            }
        }
        self.put_token(id, replace, token)
    }

    /// Adds a token of type `luks2-keyring` that serves these keyslots, or puts it in the place of the token
    /// with the number `id` if `replace` says so. Its number.
    ///
    /// # Errors
    /// As [`Self::add_token`].
    pub fn add_keyring_token(
        &mut self,
        id: Option<u32>,
        replace: bool,
        token: &KeyringToken,
        keyslots: &[u32],
    ) -> Result<u32, Error> {
        for &keyslot in keyslots {
            self.refuse_absent_keyslot(keyslot)?;
        }
        self.put_token(id, replace, token.to_json(keyslots.iter().copied()))
    }

    fn put_token(
        &mut self,
        id: Option<u32>,
        replace: bool,
        token: Map<String, Value>,
    ) -> Result<u32, Error> {
        match id {
            Some(id) if replace => self.replace_token(id, token).map(|()| id),
            id => self.add_token(id, token),
        }
    }

    fn refuse_absent_keyslot(&self, id: u32) -> Result<(), Error> {
        if self.header().metadata().keyslots().contains_key(&id) {
            return Ok(());
        }
        Err(Error::refused(format!("keyslot {id} is not in use")))
    }

    /// Puts another token in a token's place, or adds it where there is none.
    ///
    /// # Errors
    /// As [`Self::add_token`].
    pub fn replace_token(&mut self, id: u32, token: Map<String, Value>) -> Result<(), Error> {
        self.refuse_requirements("replacing a token")?;
        let exists = self.header().metadata().tokens().contains_key(&id);
        self.edit(|draft| {
            if exists {
                draft.remove_token(id)?;
            }
            draft.insert_token(id, token)
        })
    }

    /// Removes a token; the keyslots that it served stay.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none with this number or the header has requirements;
    /// [`Error::Busy`], [`Error::Io`].
    pub fn remove_token(&mut self, id: u32) -> Result<(), Error> {
        self.refuse_requirements("removing a token")?;
        self.edit(|draft| draft.remove_token(id))
    }

    /// Says that a token serves a keyslot, or serves it no longer.
    ///
    /// # Errors
    /// [`Error::Refused`] if one of them does not exist, it did not serve it, or the header has requirements; [`Error::Busy`],
    /// [`Error::Io`].
    pub fn assign_token(&mut self, id: u32, keyslot: u32, serves: bool) -> Result<(), Error> {
        self.refuse_requirements("assigning a token")?;
        let token = self.header().metadata().tokens().get(&id);
        if !serves && token.is_some_and(|token| !token.keyslots.contains(&keyslot)) {
            return Err(Error::refused(format!(
                "token {id} is not assigned to keyslot {keyslot}"
            )));
        }
        self.edit(|draft| match serves {
            true => draft.assign_token(id, keyslot),
            false => draft.unassign_token(id, keyslot),
        })
    }

    fn token_number(&self, chosen: Option<u32>) -> Result<u32, Error> {
        let tokens = self.header().metadata().tokens();
        match chosen {
            Some(id) if tokens.contains_key(&id) => {
                Err(Error::refused(format!("token {id} is in use already")))
            }
            Some(id) => Ok(id),
            None => (0..=31)
                .find(|id| !tokens.contains_key(id))
                .ok_or_else(|| Error::refused("all 32 tokens are in use")),
        }
    }
}
