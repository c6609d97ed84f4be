//! An unfinished re-encryption as a whole (specification 3.2.4 and 3.4): its keyslot, its backup segments, the
//! digests of both keys, and the bytes by which the keys vouch for all of that.

use super::{CryptSegment, Keyslot, Metadata, ReencryptKeyslot, Requirement, Segment, SegmentSize};
use crate::Error;
use crate::error::UnsupportedKind;

/// Longer strings are no part of a re-encryption's digest: cryptsetup refuses them there.
const STRING_LEN_MAX: usize = 64;

/// What [`Metadata::reencryption`] found.
///
/// A header says that a re-encryption is unfinished by a requirement, a keyslot of type `reencrypt`, and backup
/// segments that describe the data before and after. Loading has checked that they are there; whether they are
/// true only the keys can tell: [`Self::verification_message`].
#[derive(Debug, Clone)]
pub struct Reencryption<'m> {
    /// The number of its keyslot.
    pub keyslot_id: u32,
    /// Its keyslot.
    pub keyslot: &'m ReencryptKeyslot,
    /// The requirement's version: 1 has no digest, 2 and 3 do.
    pub version: u8,
    /// The digest that recognises [`Self::verification_message`].
    pub digest: Option<u32>,
    /// The data as they were, `backup-previous`.
    pub previous: &'m Segment,
    /// The data as they will be, `backup-final`.
    pub last: &'m Segment,
    /// The head of the data, out of the way of a data shift: `backup-moved-segment`.
    pub moved: Option<&'m Segment>,
    /// The digest of the old key; `None` when plaintext is encrypted.
    pub old_digest: Option<u32>,
    /// The digest of the new key; `None` when plaintext is made.
    pub new_digest: Option<u32>,
}

impl Metadata {
    /// The unfinished re-encryption that this header describes, if there is one.
    ///
    /// ```
    /// # use lucarne_format::luks2::{Header, NewHeader, Segment, SegmentSize};
    /// # let new = NewHeader { uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(), ..NewHeader::default() };
    /// # let segment = Segment::Linear { offset: 16 << 20, size: SegmentSize::Dynamic, flags: vec![] };
    /// # let header = Header::new(&new, |draft| draft.insert_segment(0, &segment))?;
    /// assert!(header.metadata().reencryption().is_none());
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    #[must_use]
    pub fn reencryption(&self) -> Option<Reencryption<'_>> {
        let version = self.requirements().iter().find_map(|requirement| {
            if let Requirement::OnlineReencrypt { version } = requirement {
                Some(*version)
            } else {
                None
            }
        })?;
        let (keyslot_id, keyslot) = self.keyslots().iter().find_map(|(&id, keyslot)| {
            if let Keyslot::Reencrypt(keyslot) = keyslot {
                Some((id, keyslot))
            } else {
                None
            }
        })?;
        let flagged = |flag: &str, but_not: &str| {
            let has = |segment: &Segment, flag: &str| segment.flags().iter().any(|own| own == flag);
            let mut segments = self.segments().iter();
            segments.find(|(_, segment)| has(segment, flag) && !has(segment, but_not))
        };
        let (&last_id, last) = flagged("backup-final", "")?;
        let (&previous_id, previous) = flagged("backup-previous", "backup-final")?;
        let digest_of = |segment| self.digest_of_segment(segment).map(|(id, _)| id);
        Some(Reencryption {
            keyslot_id,
            keyslot,
            version,
            digest: self.digest_of_keyslot(keyslot_id).map(|(id, _)| id),
            previous,
            last,
            moved: flagged("backup-moved-segment", "").map(|(_, segment)| segment),
            old_digest: digest_of(previous_id),
            new_digest: digest_of(last_id),
        })
    }
}

impl Reencryption<'_> {
    /// What the digest of the `reencrypt` keyslot is made of, and must recognise before one byte is acted on:
    /// version, keys, keyslot, backup segments. It holds the keys: wipe it.
    ///
    /// `old` and `new` are the volume keys of [`Self::old_digest`] and [`Self::new_digest`]; one that is both
    /// (only the cipher changes) is passed as `old` alone.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a segment type that we do not know, or strings of more than 64 bytes.
    pub fn verification_message(
        &self,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Vec<u8>, Error> {
        // Never grown: what a reallocation leaves behind nobody wipes.
        let keys = [old, new].into_iter().flatten();
        let keys_len = keys.map(<[u8]>::len).fold(0, usize::saturating_add);
        let mut message = Message(Vec::with_capacity(keys_len.saturating_add(MEMBERS_LEN_MAX)));
        message.bytes(&[b'v', b'0'.saturating_add(self.version)]);
        for key in [old, new].into_iter().flatten() {
            message.bytes(key);
        }
        self.keyslot(&mut message)?;
        for segment in [Some(self.previous), Some(self.last), self.moved]
            .into_iter()
            .flatten()
        {
            message.segment(segment)?;
        }
        Ok(message.0)
    }

    fn keyslot(&self, message: &mut Message) -> Result<(), Error> {
        let keyslot = self.keyslot;
        message.string(keyslot.mode.as_str())?;
        message.string(keyslot.direction.as_str())?;
        message.string(keyslot.resilience.kind())?;
        message.number(keyslot.area.start);
        message.number(keyslot.area.end.saturating_sub(keyslot.area.start));
        if let Some(checksum) = keyslot.resilience.checksum() {
            message.string(&checksum.hash)?;
            message.bytes(&checksum.sector_size.to_be_bytes());
        }
        if let Some(shift_size) = keyslot.resilience.shift_size() {
            message.number(shift_size);
        }
        Ok(())
    }
}

/// Some twenty members of at most 64 bytes.
const MEMBERS_LEN_MAX: usize = 2048;

struct Message(Vec<u8>);

impl Message {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    fn string(&mut self, string: &str) -> Result<(), Error> {
        if string.len() > STRING_LEN_MAX {
            return Err(UnsupportedKind::ReencryptionMember.into());
        }
        self.bytes(string.as_bytes());
        Ok(())
    }

    fn segment(&mut self, segment: &Segment) -> Result<(), Error> {
        self.string(segment.kind())?;
        self.number(segment.offset());
        match segment.size() {
            SegmentSize::Dynamic => self.string("dynamic")?,
            SegmentSize::Bytes(size) => self.number(size),
        }
        match segment {
            Segment::Crypt(CryptSegment {
                iv_tweak,
                encryption,
                sector_size,
                ..
            }) => {
                self.number(*iv_tweak);
                self.string(encryption)?;
                self.bytes(&sector_size.to_be_bytes());
                Ok(())
            }
            Segment::Linear { .. } => Ok(()),
            Segment::Unknown { .. } => Err(UnsupportedKind::ReencryptionMember.into()),
        }
    }
}
