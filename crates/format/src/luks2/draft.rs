//! A header being changed: may be invalid between two calls, is checked as a whole at the end.

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::area::{first_gap, longest_gap};
use super::binary_header::{BinaryFields, LABEL_LEN};
use super::keyslot::drop_leftover_kdf_members;
use super::member::ID_MAX;
use super::{
    Digest, Luks2Keyslot, Metadata, Priority, ReencryptKeyslot, Requirement, Segment, json_area,
};
use crate::Error;
use crate::error::RefusedKind;
use crate::text::{Text, text_field, uuid_field};

/// A header in the course of [`Header::edit`](super::Header::edit) or
/// [`Header::new`](super::Header::new).
///
/// Numbers are 0 to 31. What exists is never overwritten by an `insert`; removing or assigning what
/// does not exist is refused, so that a slip shows. Members that have no typed view stay as they are.
#[derive(Debug, Clone)]
pub struct Draft {
    fields: BinaryFields,
    json: Map<String, Value>,
    keyslots_area: Range<u64>,
}

impl Draft {
    pub(super) fn from_header(fields: BinaryFields, metadata: &Metadata) -> Self {
        Self {
            fields,
            json: metadata.json().clone(),
            keyslots_area: metadata.keyslots_area(),
        }
    }

    /// Nothing but sizes.
    pub(super) fn empty(fields: BinaryFields, json_size: u64, keyslots_area: Range<u64>) -> Self {
        let keyslots_size = keyslots_area.end.saturating_sub(keyslots_area.start);
        let mut json = Map::new();
        for section in ["keyslots", "tokens", "segments", "digests"] {
            json.insert(section.into(), json!({}));
        }
        json.insert(
            "config".into(),
            json!({
                "json_size": json_size.to_string(),
                "keyslots_size": keyslots_size.to_string(),
            }),
        );
        Self {
            fields,
            json,
            keyslots_area,
        }
    }

    /// The JSON as it stands.
    #[must_use]
    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// The first number that no keyslot has; `None` with all 32 taken.
    #[must_use]
    pub fn free_keyslot_id(&self) -> Option<u32> {
        self.free_id("keyslots")
    }

    /// The first number that no digest has.
    #[must_use]
    pub fn free_digest_id(&self) -> Option<u32> {
        self.free_id("digests")
    }

    /// The first number that no token has.
    #[must_use]
    pub fn free_token_id(&self) -> Option<u32> {
        self.free_id("tokens")
    }

    /// Where in the keyslots area an area of `len_bytes` fits first, on a multiple of 4096 bytes.
    #[must_use]
    pub fn free_area(&self, len_bytes: u64) -> Option<u64> {
        first_gap(self.keyslots_area.clone(), self.areas_in_use(), len_bytes)
    }

    fn areas_in_use(&self) -> Vec<Range<u64>> {
        let number = |area: &Value, name: &str| area.get(name)?.as_str()?.parse::<u64>().ok();
        self.json
            .get("keyslots")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::values)
            .filter_map(|keyslot| {
                let area = keyslot.get("area")?;
                let offset = number(area, "offset")?;
                Some(offset..offset.saturating_add(number(area, "size")?))
            })
            .collect()
    }

    /// Adds a keyslot. It must be assigned to a digest before the end:
    /// [`assign_keyslot`](Self::assign_keyslot).
    ///
    /// # Errors
    ///
    /// `Refused` if the number is taken or above 31, or the KDF's type is unknown.
    pub fn insert_keyslot(&mut self, id: u32, keyslot: &Luks2Keyslot) -> Result<(), Error> {
        let json = keyslot
            .to_json()
            .ok_or(RefusedKind::UnknownType("keyslot"))?;
        self.insert("keyslots", "keyslot", id, json)
    }

    /// Adds the keyslot of a re-encryption; it may be assigned to a digest.
    ///
    /// # Errors
    ///
    /// `Refused` if the number is taken or above 31, or the resilience's type is unknown.
    pub fn insert_reencrypt_keyslot(
        &mut self,
        id: u32,
        keyslot: &ReencryptKeyslot,
    ) -> Result<(), Error> {
        let json = keyslot
            .to_json()
            .ok_or(RefusedKind::UnknownType("resilience"))?;
        self.insert("keyslots", "keyslot", id, json)
    }

    /// Where in the keyslots area the longest run of bytes is free, from a multiple of 4096 on.
    #[must_use]
    pub fn longest_free_area(&self) -> Range<u64> {
        longest_gap(self.keyslots_area.clone(), self.areas_in_use())
    }

    /// Changes a keyslot's members in place; its assignments stay, and so do members without a typed
    /// view.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not exist, or the KDF's type is unknown.
    pub fn update_keyslot(&mut self, id: u32, keyslot: &Luks2Keyslot) -> Result<(), Error> {
        let new = keyslot
            .to_json()
            .ok_or(RefusedKind::UnknownType("keyslot"))?;
        let old = self.entry("keyslots", "keyslot", id)?;
        if keyslot.priority == Priority::Normal {
            old.shift_remove("priority");
        }
        merge(old, new);
        Ok(())
    }

    /// Removes a keyslot, and its number from every digest and token.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not exist.
    pub fn remove_keyslot(&mut self, id: u32) -> Result<(), Error> {
        self.remove("keyslots", "keyslot", id)?;
        self.forget("digests", "keyslots", id);
        self.forget("tokens", "keyslots", id);
        Ok(())
    }

    /// Sets when a keyslot is tried.
    ///
    /// # Errors
    ///
    /// `Refused` if the keyslot does not exist.
    pub fn set_keyslot_priority(&mut self, id: u32, priority: Priority) -> Result<(), Error> {
        let keyslot = self.entry("keyslots", "keyslot", id)?;
        // Normal is what a keyslot without the member is; cryptsetup writes none either.
        if priority == Priority::Normal {
            keyslot.shift_remove("priority");
        } else {
            keyslot.insert("priority".into(), priority.to_json());
        }
        Ok(())
    }

    /// Adds a digest with its assignments. One that is assigned to nothing at the end is dropped.
    ///
    /// # Errors
    ///
    /// `Refused` if the number is taken or above 31.
    pub fn insert_digest(&mut self, id: u32, digest: &Digest) -> Result<(), Error> {
        self.insert("digests", "digest", id, digest.to_json())
    }

    /// Removes a digest.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not exist.
    pub fn remove_digest(&mut self, id: u32) -> Result<(), Error> {
        self.remove("digests", "digest", id)
    }

    /// Says that `digest` recognises the key in `keyslot`.
    ///
    /// # Errors
    ///
    /// `Refused` if either does not exist.
    pub fn assign_keyslot(&mut self, digest: u32, keyslot: u32) -> Result<(), Error> {
        self.entry("keyslots", "keyslot", keyslot)?;
        assign(
            self.entry("digests", "digest", digest)?,
            "keyslots",
            keyslot,
        );
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    ///
    /// `Refused` if the digest does not exist.
    pub fn unassign_keyslot(&mut self, digest: u32, keyslot: u32) -> Result<(), Error> {
        unassign(
            self.entry("digests", "digest", digest)?,
            "keyslots",
            keyslot,
        );
        Ok(())
    }

    /// Says that the key which `digest` recognises decrypts `segment`.
    ///
    /// # Errors
    ///
    /// `Refused` if either does not exist.
    pub fn assign_segment(&mut self, digest: u32, segment: u32) -> Result<(), Error> {
        self.entry("segments", "segment", segment)?;
        assign(
            self.entry("digests", "digest", digest)?,
            "segments",
            segment,
        );
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    ///
    /// `Refused` if the digest does not exist.
    pub fn unassign_segment(&mut self, digest: u32, segment: u32) -> Result<(), Error> {
        unassign(
            self.entry("digests", "digest", digest)?,
            "segments",
            segment,
        );
        Ok(())
    }

    /// Adds a segment.
    ///
    /// # Errors
    ///
    /// `Refused` if the number is taken or above 31, or the type is unknown.
    pub fn insert_segment(&mut self, id: u32, segment: &Segment) -> Result<(), Error> {
        let json = segment
            .to_json()
            .ok_or(RefusedKind::UnknownType("segment"))?;
        self.insert("segments", "segment", id, json)
    }

    /// Removes a segment, and its number from every digest.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not exist.
    pub fn remove_segment(&mut self, id: u32) -> Result<(), Error> {
        self.remove("segments", "segment", id)?;
        self.forget("digests", "segments", id);
        Ok(())
    }

    /// Replaces all segments; each with the digests whose keys it is made with. They are numbered in this order.
    ///
    /// # Errors
    ///
    /// `Refused` if a digest does not exist, a type is unknown, or there are more than 32.
    pub fn replace_segments<'s>(
        &mut self,
        segments: impl IntoIterator<Item = (&'s Segment, Vec<u32>)>,
    ) -> Result<(), Error> {
        self.section("segments").clear();
        for digest in self.section("digests").values_mut() {
            if let Value::Object(digest) = digest {
                digest.insert("segments".into(), json!([]));
            }
        }
        for ((segment, digests), id) in segments.into_iter().zip(0_u32..) {
            self.insert_segment(id, segment)?;
            for digest in digests {
                self.assign_segment(digest, id)?;
            }
        }
        Ok(())
    }

    /// Lets the keyslots area end where the data begin.
    pub fn set_keyslots_end(&mut self, end: u64) {
        self.keyslots_area.end = end;
        let size = end.saturating_sub(self.keyslots_area.start);
        self.section("config")
            .insert("keyslots_size".into(), json!(size.to_string()));
    }

    /// Adds a token. `token` must hold `type`, a string, and `keyslots`, an array of keyslot numbers
    /// as strings.
    ///
    /// # Errors
    ///
    /// `Refused` if the number is taken or above 31.
    pub fn insert_token(&mut self, id: u32, token: Map<String, Value>) -> Result<(), Error> {
        self.insert("tokens", "token", id, token)
    }

    /// Removes a token.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not exist.
    pub fn remove_token(&mut self, id: u32) -> Result<(), Error> {
        self.remove("tokens", "token", id)
    }

    /// Says that `token` serves `keyslot`.
    ///
    /// # Errors
    ///
    /// `Refused` if either does not exist.
    pub fn assign_token(&mut self, token: u32, keyslot: u32) -> Result<(), Error> {
        self.entry("keyslots", "keyslot", keyslot)?;
        assign(self.entry("tokens", "token", token)?, "keyslots", keyslot);
        Ok(())
    }

    /// Takes it back.
    ///
    /// # Errors
    ///
    /// `Refused` if the token does not exist.
    pub fn unassign_token(&mut self, token: u32, keyslot: u32) -> Result<(), Error> {
        unassign(self.entry("tokens", "token", token)?, "keyslots", keyslot);
        Ok(())
    }

    /// Replaces `config.flags`. Start from [`Metadata::flags`] to keep the unknown ones.
    pub fn set_flags<S: AsRef<str>>(&mut self, flags: &[S]) {
        let flags: Value = flags.iter().map(AsRef::as_ref).collect();
        set_or_drop(self.section("config"), "flags", flags);
    }

    /// Replaces `config.requirements.mandatory`.
    pub fn set_requirements(&mut self, requirements: &[Requirement]) {
        let mandatory: Value = requirements.iter().map(Requirement::as_str).collect();
        let config = self.section("config");
        let mut object = match config.get("requirements") {
            Some(Value::Object(object)) => object.clone(),
            _ => Map::new(),
        };
        set_or_drop(&mut object, "mandatory", mandatory);
        if object.is_empty() {
            config.shift_remove("requirements");
        } else {
            config.insert("requirements".into(), Value::Object(object));
        }
    }

    /// Sets the label: at most 47 bytes, no zero byte.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not fit.
    pub fn set_label(&mut self, label: &str) -> Result<(), Error> {
        self.fields.label = label_field("label", label)?;
        Ok(())
    }

    /// Sets the subsystem: at most 47 bytes, no zero byte.
    ///
    /// # Errors
    ///
    /// `Refused` if it does not fit.
    pub fn set_subsystem(&mut self, subsystem: &str) -> Result<(), Error> {
        self.fields.subsystem = label_field("subsystem", subsystem)?;
        Ok(())
    }

    /// Sets the UUID, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; kept in lower case.
    ///
    /// # Errors
    ///
    /// `Refused` if it has another form.
    pub fn set_uuid(&mut self, uuid: &str) -> Result<(), Error> {
        self.fields.uuid = uuid_field(uuid)?;
        Ok(())
    }

    /// Cleans up as cryptsetup does when it writes, and checks all of it.
    pub(super) fn finish(mut self) -> Result<(BinaryFields, Metadata), Error> {
        for keyslot in self.section("keyslots").values_mut() {
            if let Value::Object(keyslot) = keyslot {
                drop_leftover_kdf_members(keyslot);
            }
        }
        self.section("digests").retain(|_, digest| {
            ["keyslots", "segments"].into_iter().any(|name| {
                digest
                    .get(name)
                    .and_then(Value::as_array)
                    .is_none_or(|ids| !ids.is_empty())
            })
        });
        let text = json_area::serialize(&self.json);
        let json_size = json_size_bytes(&self.fields);
        let limit = usize::try_from(json_size)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        if text.len() > limit {
            return Err(RefusedKind::JsonTooLarge {
                len: text.len(),
                limit,
            }
            .into());
        }
        // Tokens come from outside: the text must pass the parser that will read it.
        let json =
            json_area::parse_text(&text).map_err(|error| RefusedKind::Invalid(error.into()))?;
        match Metadata::from_json(json, json_size) {
            Ok(metadata) => Ok((self.fields, metadata)),
            Err(Error::Corrupt(corrupt)) => Err(RefusedKind::Invalid(corrupt).into()),
            Err(other) => Err(other),
        }
    }

    fn section(&mut self, name: &str) -> &mut Map<String, Value> {
        let section = self.json.entry(name).or_insert_with(|| json!({}));
        // Sections come from checked metadata or from `empty`, and no method replaces one.
        let Value::Object(section) = section else {
            unreachable!("section {name} is an object")
        };
        section
    }

    fn free_id(&self, section: &str) -> Option<u32> {
        let taken = self.json.get(section)?.as_object()?;
        (0..=ID_MAX).find(|id| !taken.contains_key(&id.to_string()))
    }

    fn entry(
        &mut self,
        section: &str,
        kind: &'static str,
        id: u32,
    ) -> Result<&mut Map<String, Value>, Error> {
        self.section(section)
            .get_mut(&id.to_string())
            .and_then(Value::as_object_mut)
            .ok_or_else(|| RefusedKind::Absent { kind, id }.into())
    }

    fn insert(
        &mut self,
        section: &str,
        kind: &'static str,
        id: u32,
        value: Map<String, Value>,
    ) -> Result<(), Error> {
        if id > ID_MAX {
            return Err(RefusedKind::Id {
                kind,
                id,
                limit: ID_MAX,
            }
            .into());
        }
        let section = self.section(section);
        if section.contains_key(&id.to_string()) {
            return Err(RefusedKind::Exists { kind, id }.into());
        }
        section.insert(id.to_string(), Value::Object(value));
        Ok(())
    }

    fn remove(&mut self, section: &str, kind: &'static str, id: u32) -> Result<(), Error> {
        match self.section(section).shift_remove(&id.to_string()) {
            Some(_) => Ok(()),
            None => Err(RefusedKind::Absent { kind, id }.into()),
        }
    }

    /// Takes `id` out of the array `name` of every entry of `section`.
    fn forget(&mut self, section: &str, name: &str, id: u32) {
        for entry in self.section(section).values_mut() {
            if let Value::Object(entry) = entry {
                unassign(entry, name, id);
            }
        }
    }
}

pub(super) fn json_size_bytes(fields: &BinaryFields) -> u64 {
    fields
        .header_size
        .saturating_sub(super::binary_header::BINARY_LEN_BYTES)
}

pub(super) fn label_field(field: &'static str, text: &str) -> Result<Text<LABEL_LEN>, Error> {
    text_field(field, text)
}

fn set_or_drop(object: &mut Map<String, Value>, name: &str, array: Value) {
    if array.as_array().is_some_and(Vec::is_empty) {
        object.shift_remove(name);
    } else {
        object.insert(name.into(), array);
    }
}

fn assign(entry: &mut Map<String, Value>, name: &str, id: u32) {
    let id = Value::String(id.to_string());
    if let Value::Array(ids) = entry.entry(name).or_insert_with(|| json!([]))
        && !ids.contains(&id)
    {
        ids.push(id);
    }
}

fn unassign(entry: &mut Map<String, Value>, name: &str, id: u32) {
    let id = id.to_string();
    if let Some(Value::Array(ids)) = entry.get_mut(name) {
        ids.retain(|other| other.as_str() != Some(&id));
    }
}

/// Members of `new` over those of `old`, objects member by member.
fn merge(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (name, value) in new {
        match (old.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                old.insert(name, value);
            }
        }
    }
}
