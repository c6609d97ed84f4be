//! Keyslots: adding, changing, removing, erasing.

use std::ops::Range;

use lucarne_cipher::CipherSpec;
use lucarne_format::luks2::{Area, Keyslot, Luks2Keyslot, Priority, Segment};
use lucarne_keyslot::{Hash, KdfRequest, SealRequest};
use lucarne_secret::with_clean_stack;

use super::{Change, HeaderEditor};
use crate::{Error, Unlocked};

/// What a new keyslot is like. The defaults are those of cryptsetup 2.8's `luksAddKey`.
///
/// ```
/// let options = lucarne::KeyslotOptions { keyslot: Some(7), ..Default::default() };
/// assert_eq!(options.hash.to_string(), "sha256");
/// ```
#[derive(Debug, Clone)]
pub struct KeyslotOptions {
    /// Its number, 0 to 31; `None`: the first that is free, or the one that is changed.
    pub keyslot: Option<u32>,
    /// Its key derivation.
    pub kdf: KdfRequest,
    /// The hash of PBKDF2 and of the anti-forensic splitter; of the digest too, for a key that gets one.
    pub hash: Hash,
    /// The area's cipher and the length of its key in bytes. `None`: the data's cipher and the volume
    /// key's length, or `aes-xts-plain64` with 64 bytes where key material cannot be encrypted so.
    pub area_cipher: Option<(CipherSpec, usize)>,
    /// A token that shall serve it too; LUKS1 has none.
    pub token: Option<u32>,
}

impl Default for KeyslotOptions {
    fn default() -> Self {
        Self {
            keyslot: None,
            kdf: KdfRequest::default(),
            hash: Hash::Sha256,
            area_cipher: None,
            token: None,
        }
    }
}

/// Which way of unlocking an area serves a new keyslot where the data's does not.
const FALLBACK_AREA_CIPHER: (&str, usize) = ("aes-xts-plain64", 64);

impl HeaderEditor<'_> {
    /// Adds a keyslot for a key that was found by [`Self::unlock`]; its number.
    ///
    /// # Errors
    /// [`Error::Refused`] if the number is taken or above 31, all are taken, the keyslots area has no room, the
    /// token is not there, the header has requirements, or the costs are outside of what a new keyslot may have;
    /// [`Error::Unsupported`] from the cipher, [`Error::OutOfMemory`], [`Error::Busy`], [`Error::Io`].
    pub fn add_keyslot(
        &mut self,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        self.refuse_requirements("adding a key")?;
        let id = self.free_number(options.keyslot)?;
        let (keyslot, material) = self.seal(&key.volume_key, passphrase, options)?;
        let header = self.header().edit(|draft| {
            draft.insert_keyslot(id, &keyslot)?;
            draft.assign_keyslot(key.digest, id)?;
            options
                .token
                .map_or(Ok(()), |token| draft.assign_token(token, id))
        })?;
        self.commit(Change {
            material: Some((keyslot.area.offset, material)),
            ..header.into()
        })?;
        Ok(id)
    }

    /// Adds a keyslot for a key of its own, which belongs to no data; its number. `key`: that key's bytes.
    ///
    /// # Errors
    /// As [`Self::add_keyslot`].
    pub fn add_unbound_keyslot(
        &mut self,
        key: &[u8],
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        self.refuse_requirements("adding a key")?;
        let id = self.free_number(options.keyslot)?;
        let Some(digest_id) = (0..DIGESTS).find(|&id| !self.has_digest(id)) else {
            return Err(Error::refused(format!(
                "all {DIGESTS} digests are in use: a volume holds no more keys than that"
            )));
        };
        let (keyslot, material) = self.seal(key, passphrase, options)?;
        let iterations = options.kdf.digest_iterations(options.hash);
        let digest =
            with_clean_stack(|| lucarne_keyslot::create_digest(key, options.hash, iterations))?;
        let header = self.header().edit(|draft| {
            draft.insert_keyslot(id, &keyslot)?;
            draft.insert_digest(digest_id, &digest)?;
            draft.assign_keyslot(digest_id, id)?;
            options
                .token
                .map_or(Ok(()), |token| draft.assign_token(token, id))
        })?;
        self.commit(Change {
            material: Some((keyslot.area.offset, material)),
            ..header.into()
        })?;
        Ok(id)
    }

    /// Puts a new passphrase, or a new key derivation, in the place of the keyslot that gave `key`. Number,
    /// priority and tokens stay; with another number in the options the keyslot moves there, and its tokens
    /// with it.
    ///
    /// The new key material lies in another area, so that the old keyslot works until the new header is
    /// durable.
    ///
    /// # Errors
    /// As [`Self::add_keyslot`]; [`Error::Refused`] too if `key` came from no keyslot.
    pub fn change_keyslot(
        &mut self,
        key: &Unlocked,
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<u32, Error> {
        self.refuse_requirements("changing a key")?;
        let Some((old_id, old)) = key
            .keyslot
            .and_then(|id| Some((id, luks2_keyslot(self.header(), id)?)))
        else {
            return Err(Error::refused("the key did not come from a keyslot"));
        };
        let (old_area, priority) = (range(&old.area), old.priority);
        let id = match options.keyslot {
            Some(id) if id != old_id => self.free_number(Some(id))?,
            _ => old_id,
        };
        let (mut keyslot, material) = self.seal(&key.volume_key, passphrase, options)?;
        keyslot.priority = priority;
        let mut tokens = self.tokens_of(old_id);
        tokens.extend(options.token);
        let header = self.header().edit(|draft| {
            if id == old_id {
                draft.update_keyslot(id, &keyslot)?;
            } else {
                draft.insert_keyslot(id, &keyslot)?;
                draft.assign_keyslot(key.digest, id)?;
            }
            for token in tokens {
                draft.assign_token(token, id)?;
            }
            match id == old_id {
                true => Ok(()),
                false => draft.remove_keyslot(old_id),
            }
        })?;
        self.commit(Change {
            material: Some((keyslot.area.offset, material)),
            forgotten: vec![old_area],
            ..header.into()
        })?;
        Ok(id)
    }

    /// Removes a keyslot and overwrites its key material. Tokens and digests forget it; a digest that
    /// nothing uses any more goes too. Whether it is the last one is for the caller to ask.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none with this number or it is a re-encryption's journal;
    /// [`Error::Busy`], [`Error::Io`].
    pub fn remove_keyslot(&mut self, id: u32) -> Result<(), Error> {
        let area = match self.header().metadata().keyslots().get(&id) {
            None => return Err(Error::refused(format!("keyslot {id} is not in use"))),
            Some(Keyslot::Reencrypt(_)) => {
                return Err(Error::refused(format!(
                    "keyslot {id} is the journal of an unfinished re-encryption"
                )));
            }
            Some(keyslot) => keyslot.area_range(),
        };
        self.edit_and_wipe(vec![area], |draft| draft.remove_keyslot(id))
    }

    /// Removes all keyslots and overwrites the whole keyslots area: afterwards no passphrase opens the
    /// volume, and only a copy of the header or the volume key itself could. What they were.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Io`].
    pub fn erase_keyslots(&mut self) -> Result<Vec<u32>, Error> {
        let metadata = self.header().metadata();
        let ids: Vec<u32> = metadata.keyslots().keys().copied().collect();
        let area = metadata.keyslots_area();
        let draft_ids = ids.clone();
        self.edit_and_wipe(vec![area], |draft| {
            draft_ids
                .into_iter()
                .try_for_each(|id| draft.remove_keyslot(id))
        })?;
        Ok(ids)
    }

    /// Sets when a keyslot is tried.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none with this number or the header has requirements;
    /// [`Error::Busy`], [`Error::Io`].
    pub fn set_keyslot_priority(&mut self, id: u32, priority: Priority) -> Result<(), Error> {
        self.refuse_requirements("changing a priority")?;
        self.edit(|draft| draft.set_keyslot_priority(id, priority))
    }

    fn seal(
        &self,
        key: &[u8],
        passphrase: &[u8],
        options: &KeyslotOptions,
    ) -> Result<(Luks2Keyslot, Vec<u8>), Error> {
        let key_len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let area_len = Area::size_for_key(key_len);
        let Some(area_offset) = self.header().metadata().free_area(area_len) else {
            return Err(Error::refused(format!(
                "the keyslots area has no room for another {area_len} bytes of key material"
            )));
        };
        let (area_cipher, area_key_len) = match &options.area_cipher {
            Some(chosen) => chosen.clone(),
            None => self.default_area_cipher()?,
        };
        let request = SealRequest {
            area_offset,
            area_room: area_len,
            area_cipher: &area_cipher,
            area_key_len,
            af_hash: options.hash,
            kdf: options.kdf.resolve(options.hash, area_key_len)?,
        };
        Ok(with_clean_stack(|| {
            lucarne_keyslot::seal_keyslot(&request, key, passphrase)
        })?)
    }

    fn default_area_cipher(&self) -> Result<(CipherSpec, usize), Error> {
        let metadata = self.header().metadata();
        let of_data = metadata.segments().iter().find_map(|(&id, segment)| {
            let Segment::Crypt(segment) = segment else {
                return None;
            };
            let (_, digest) = metadata.digest_of_segment(id)?;
            let keyslot = digest
                .keyslots
                .iter()
                .find_map(|&id| luks2_keyslot(self.header(), id))?;
            let spec: CipherSpec = segment.encryption.parse().ok()?;
            let key_len = usize::try_from(keyslot.key_size).ok()?;
            spec.check_key_len(key_len).ok()?;
            Some((spec, key_len))
        });
        match of_data {
            Some(cipher) => Ok(cipher),
            None => Ok((FALLBACK_AREA_CIPHER.0.parse()?, FALLBACK_AREA_CIPHER.1)),
        }
    }

    fn free_number(&self, chosen: Option<u32>) -> Result<u32, Error> {
        let keyslots = self.header().metadata().keyslots();
        match chosen {
            Some(id) if id > MAX_ID => Err(Error::refused(format!(
                "keyslot {id} (they are numbered 0 to {MAX_ID})"
            ))),
            Some(id) if keyslots.contains_key(&id) => {
                Err(Error::refused(format!("keyslot {id} is in use already")))
            }
            Some(id) => Ok(id),
            None => (0..=MAX_ID)
                .find(|id| !keyslots.contains_key(id))
                .ok_or_else(|| Error::refused("all 32 keyslots are in use")),
        }
    }

    fn has_digest(&self, id: u32) -> bool {
        self.header()
            .metadata()
            .digest_links()
            .any(|digest| digest.id == id)
    }

    fn tokens_of(&self, keyslot: u32) -> Vec<u32> {
        let tokens = self.header().metadata().tokens().iter();
        tokens
            .filter(|(_, token)| token.keyslots.contains(&keyslot))
            .map(|(&id, _)| id)
            .collect()
    }
}

/// The highest number of a keyslot.
const MAX_ID: u32 = 31;
/// cryptsetup makes no digest with a number above 7.
const DIGESTS: u32 = 8;

fn luks2_keyslot(header: &lucarne_format::luks2::Header, id: u32) -> Option<&Luks2Keyslot> {
    match header.metadata().keyslots().get(&id)? {
        Keyslot::Luks2(keyslot) => Some(keyslot),
        _ => None,
    }
}

fn range(area: &Area) -> Range<u64> {
    area.offset..area.offset.saturating_add(area.size)
}
