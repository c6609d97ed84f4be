//! Tokens (LUKS2 specification 3.6).

use serde_json::{Map, Value};

use super::HeaderEditor;
use crate::Error;

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
    /// [`Error::Refused`] if one of them does not exist or the header has requirements; [`Error::Busy`],
    /// [`Error::Io`].
    pub fn assign_token(&mut self, id: u32, keyslot: u32, serves: bool) -> Result<(), Error> {
        self.refuse_requirements("assigning a token")?;
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
