//! The metadata: the JSON's typed views, checked as a whole (specification 3).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::area::first_gap;
use super::binary_header::BINARY_LEN_BYTES;
use super::config::Config;
use super::member::Object;
use super::{
    Digest, Keyslot, Luks2Keyslot, Priority, Requirement, Segment, Token, UnusableDigest,
    json_area, validate,
};
use crate::Error;
use crate::error::CorruptKind;

/// The JSON of a header, every check passed. Members that have no typed view are kept as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    json: Map<String, Value>,
    keyslots: BTreeMap<u32, Keyslot>,
    digests: BTreeMap<u32, Digest>,
    unusable_digests: BTreeMap<u32, UnusableDigest>,
    segments: BTreeMap<u32, Segment>,
    tokens: BTreeMap<u32, Token>,
    config: Config,
}

/// What a digest belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestLinks<'a> {
    /// Its number.
    pub id: u32,
    /// The keyslots whose key it is for.
    pub keyslots: &'a BTreeSet<u32>,
    /// The segments which that key decrypts; none for an unbound keyslot.
    pub segments: &'a BTreeSet<u32>,
}

impl Metadata {
    /// Reads and checks a whole JSON area: `hdr_size` − 4096 bytes, text, a zero byte, zeros.
    ///
    /// # Errors
    ///
    /// `Corrupt` names the member, its value and the limit.
    pub fn from_json_area(area: &[u8]) -> Result<Self, Error> {
        let json = json_area::parse(area)?;
        let json_size = u64::try_from(area.len()).unwrap_or(u64::MAX);
        Self::from_json(json, json_size)
    }

    pub(super) fn from_json(json: Map<String, Value>, json_size: u64) -> Result<Self, Error> {
        let root = Object::root(&json);
        let mut digests = BTreeMap::new();
        let mut unusable_digests = BTreeMap::new();
        for (id, digest) in numbered(&root, "digests", |_, digest| Digest::parse(digest))? {
            match digest {
                Ok(digest) => drop(digests.insert(id, digest)),
                Err(unusable) => drop(unusable_digests.insert(id, unusable)),
            }
        }
        let metadata = Self {
            keyslots: numbered(&root, "keyslots", Keyslot::parse)?,
            digests,
            unusable_digests,
            segments: numbered(&root, "segments", |_, segment| Segment::parse(segment))?,
            tokens: numbered(&root, "tokens", |_, token| Token::parse(token))?,
            config: Config::parse(&root.object("config")?)?,
            json,
        };
        validate::check(&metadata, json_size)?;
        Ok(metadata)
    }

    /// The keyslots by number, 0 to 31.
    #[must_use]
    pub fn keyslots(&self) -> &BTreeMap<u32, Keyslot> {
        &self.keyslots
    }

    /// The digests by number, but for those of [`Self::unusable_digests`].
    #[must_use]
    pub fn digests(&self) -> &BTreeMap<u32, Digest> {
        &self.digests
    }

    /// The digests that recognise no key, by number, and why.
    #[must_use]
    pub fn unusable_digests(&self) -> &BTreeMap<u32, UnusableDigest> {
        &self.unusable_digests
    }

    /// Which keyslots and segments each digest names, usable or not.
    pub fn digest_links(&self) -> impl Iterator<Item = DigestLinks<'_>> {
        let usable = self.digests.iter().map(|(&id, digest)| DigestLinks {
            id,
            keyslots: &digest.keyslots,
            segments: &digest.segments,
        });
        let unusable = self
            .unusable_digests
            .iter()
            .map(|(&id, digest)| DigestLinks {
                id,
                keyslots: &digest.keyslots,
                segments: &digest.segments,
            });
        usable.chain(unusable)
    }

    /// What is wrong with single keyslots and digests, which open nothing for that.
    pub fn defects(&self) -> impl Iterator<Item = &Error> {
        let keyslots = self.keyslots.values().filter_map(|keyslot| match keyslot {
            Keyslot::Unusable(unusable) => Some(&unusable.defect),
            _ => None,
        });
        keyslots.chain(self.unusable_digests.values().map(|digest| &digest.defect))
    }

    /// The segments by number, without gaps; backup segments come last. At least one is regular.
    #[must_use]
    pub fn segments(&self) -> &BTreeMap<u32, Segment> {
        &self.segments
    }

    /// The tokens by number, 0 to 31.
    #[must_use]
    pub fn tokens(&self) -> &BTreeMap<u32, Token> {
        &self.tokens
    }

    /// The whole JSON, in the order it has on disk.
    #[must_use]
    pub fn json(&self) -> &Map<String, Value> {
        &self.json
    }

    /// The JSON as it is written: compact, one line.
    #[must_use]
    pub fn to_json_text(&self) -> String {
        String::from_utf8_lossy(&json_area::serialize(&self.json)).into_owned()
    }

    /// Bytes of [`Self::to_json_text`].
    #[must_use]
    pub fn json_text_len(&self) -> usize {
        json_area::serialize(&self.json).len()
    }

    /// `config.flags`: persistent activation flags, `allow-discards`.
    #[must_use]
    pub fn flags(&self) -> &[String] {
        &self.config.flags
    }

    /// `config.requirements.mandatory`: what a reader must know to use the volume.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.config.requirements
    }

    /// Bytes of the keyslots area; a multiple of 4096, at most 128 MiB.
    #[must_use]
    pub fn keyslots_size(&self) -> u64 {
        self.config.keyslots_size
    }

    /// Bytes of one JSON area, a copy's size less 4096.
    #[must_use]
    pub fn json_size(&self) -> u64 {
        self.config.json_size
    }

    /// The bytes of the keyslots area, counted from the start of the header device.
    #[must_use]
    pub fn keyslots_area(&self) -> Range<u64> {
        let header_size = self.config.json_size.saturating_add(BINARY_LEN_BYTES);
        let start = header_size.saturating_mul(2);
        start..start.saturating_add(self.config.keyslots_size)
    }

    /// Where in the keyslots area an area of `len_bytes` fits first, on a multiple of 4096 bytes.
    /// [`Area::size_for_key`](super::Area::size_for_key) gives the length for a key.
    #[must_use]
    pub fn free_area(&self, len_bytes: u64) -> Option<u64> {
        let used = self.keyslots.values().map(Keyslot::area_range).collect();
        first_gap(self.keyslots_area(), used, len_bytes)
    }

    /// The digest that recognises a keyslot's key. Every `luks2` keyslot has exactly one; `None` also
    /// where that one is unusable.
    #[must_use]
    pub fn digest_of_keyslot(&self, keyslot: u32) -> Option<(u32, &Digest)> {
        self.digests
            .iter()
            .find(|(_, digest)| digest.keyslots.contains(&keyslot))
            .map(|(&id, digest)| (id, digest))
    }

    /// The digest that recognises a segment's key. Every `crypt` segment has one; `None` also where
    /// that one is unusable.
    #[must_use]
    pub fn digest_of_segment(&self, segment: u32) -> Option<(u32, &Digest)> {
        self.digests
            .iter()
            .find(|(_, digest)| digest.segments.contains(&segment))
            .map(|(&id, digest)| (id, digest))
    }

    /// The keyslots that open a segment, in the order to try them: preferred ones, then normal ones,
    /// each by number; ignored ones not at all.
    #[must_use]
    pub fn keyslots_by_priority(&self, segment: u32) -> Vec<(u32, &Luks2Keyslot)> {
        let ids: BTreeSet<u32> = self
            .digests
            .values()
            .filter(|digest| digest.segments.contains(&segment))
            .flat_map(|digest| digest.keyslots.iter().copied())
            .collect();
        [Priority::Prefer, Priority::Normal]
            .into_iter()
            .flat_map(|priority| {
                ids.iter()
                    .filter_map(|id| match self.keyslots.get(id) {
                        Some(Keyslot::Luks2(keyslot)) => Some((*id, keyslot)),
                        _ => None,
                    })
                    .filter(move |(_, keyslot)| keyslot.priority == priority)
            })
            .collect()
    }

    /// The first byte of the data on its device: the least offset of the regular segments; 0 with a
    /// detached header.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.segments
            .values()
            .filter(|segment| !segment.is_backup())
            .map(Segment::offset)
            .min()
            .unwrap_or_default()
    }
}

fn numbered<T>(
    root: &Object<'_>,
    name: &str,
    parse: impl Fn(u32, &Object<'_>) -> Result<T, CorruptKind>,
) -> Result<BTreeMap<u32, T>, CorruptKind> {
    root.object(name)?
        .numbered()
        .map(|entry| {
            let (id, object) = entry?;
            Ok((id, parse(id, &object)?))
        })
        .collect()
}
