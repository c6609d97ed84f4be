//! The whole header: made, changed, encoded.

use super::binary_header::{BinaryFields, HEADER_SALT_LEN, RawHeader};
use super::config::is_legal_header_size;
use super::draft::{json_size_bytes, label_field};
use super::{ChecksumAlgorithm, Draft, HeaderCopy, Metadata, json_area};
use crate::Error;
use crate::error::{CorruptKind, RefusedKind};
use crate::text::{UUID_LEN, uuid_field};

/// A header whose every check passed. It never changes: [`edit`](Self::edit) gives a new one.
///
/// See the [crate's example](crate) for loading one.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub(super) fields: BinaryFields,
    /// Of the primary and the secondary copy, as far as they were read.
    pub(super) salts: [Option<[u8; HEADER_SALT_LEN]>; 2],
    pub(super) metadata: Metadata,
}

/// What a new header needs.
///
/// The default is cryptsetup's: copies of 16 KiB, 16 MiB in all, sha256; `uuid` is empty and must be
/// set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHeader {
    /// Bytes of one copy: 16 KiB, 32 KiB, … 4 MiB.
    pub header_size: u64,
    /// Bytes of the keyslots area: a multiple of 4096, at most 128 MiB.
    pub keyslots_size: u64,
    /// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    pub uuid: String,
    /// At most 47 bytes; may be empty.
    pub label: String,
    /// At most 47 bytes; may be empty.
    pub subsystem: String,
    /// The header's own checksum.
    pub checksum: ChecksumAlgorithm,
}

impl Default for NewHeader {
    fn default() -> Self {
        Self {
            header_size: 0x4000,
            keyslots_size: 0x100_0000 - 2 * 0x4000,
            uuid: String::new(),
            label: String::new(),
            subsystem: String::new(),
            checksum: ChecksumAlgorithm::Sha256,
        }
    }
}

impl Header {
    /// Makes a header with seqid 1: `fill` adds at least a segment and, for an encrypted one, its
    /// digest.
    ///
    /// # Errors
    ///
    /// `Refused` names what would make the header invalid; else `fill`'s own error.
    ///
    /// ```
    /// use lucarne_format::luks2::{Header, NewHeader, Segment, SegmentSize};
    ///
    /// let new = NewHeader { uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(), ..NewHeader::default() };
    /// let segment = Segment::Linear { offset: 16 << 20, size: SegmentSize::Dynamic, flags: vec![] };
    /// let header = Header::new(&new, |draft| draft.insert_segment(0, &segment))?;
    /// assert_eq!((header.seqid(), header.header_size()), (1, 16384));
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    pub fn new(
        new: &NewHeader,
        fill: impl FnOnce(&mut Draft) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        if !is_legal_header_size(new.header_size) {
            let corrupt = CorruptKind::HeaderSizeNotLegal(new.header_size).into();
            return Err(RefusedKind::Invalid(corrupt).into());
        }
        let fields = BinaryFields {
            header_size: new.header_size,
            seqid: 1,
            label: label_field("label", &new.label)?,
            subsystem: label_field("subsystem", &new.subsystem)?,
            uuid: uuid_field(&new.uuid)?,
            checksum: new.checksum,
        };
        let start = new.header_size.saturating_mul(2);
        let keyslots_area = start..start.saturating_add(new.keyslots_size);
        let json_size = json_size_bytes(&fields);
        let mut draft = Draft::empty(fields, json_size, keyslots_area);
        fill(&mut draft)?;
        let (fields, metadata) = draft.finish()?;
        refuse_new_defects(&[], &metadata)?;
        Ok(Self {
            fields,
            salts: [None; 2],
            metadata,
        })
    }

    /// A changed header with the next seqid; this one stays as it is.
    ///
    /// The draft may be invalid while `change` works on it and is checked as a whole at the end.
    /// Digests that are assigned to nothing are dropped, and so are members that a change of a KDF's
    /// type left behind; all other members stay, known or not. Keyslots and digests that were unusable
    /// may stay so; none may become so.
    ///
    /// # Errors
    ///
    /// `Refused` names what would make the header invalid; else `change`'s own error.
    ///
    /// ```
    /// # use lucarne_format::luks2::{Header, NewHeader, Segment, SegmentSize};
    /// # let new = NewHeader { uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(), ..NewHeader::default() };
    /// # let segment = Segment::Linear { offset: 16 << 20, size: SegmentSize::Dynamic, flags: vec![] };
    /// # let header = Header::new(&new, |draft| draft.insert_segment(0, &segment))?;
    /// let labelled = header.edit(|draft| draft.set_label("models"))?;
    /// assert_eq!((labelled.label(), labelled.seqid()), ("models", header.seqid() + 1));
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    pub fn edit(
        &self,
        change: impl FnOnce(&mut Draft) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let seqid = self
            .fields
            .seqid
            .checked_add(1)
            .ok_or(RefusedKind::SeqidExhausted(self.fields.seqid))?;
        let mut draft = Draft::from_header(self.fields.clone(), &self.metadata);
        change(&mut draft)?;
        let (fields, metadata) = draft.finish()?;
        let known: Vec<_> = self.metadata.defects().collect();
        refuse_new_defects(&known, &metadata)?;
        Ok(Self {
            fields: BinaryFields { seqid, ..fields },
            salts: self.salts,
            metadata,
        })
    }

    /// The bytes of one copy, [`header_size`](Self::header_size) of them, to be written at
    /// [`copy.offset(header_size)`](HeaderCopy::offset). `salt` should be random, and differ between
    /// the copies.
    ///
    /// # Errors
    ///
    /// `Refused` if the JSON does not fit its area: only numbers with a fraction take more room than
    /// they were read from, so this does not happen to headers of known tools.
    pub fn encode(&self, copy: HeaderCopy, salt: [u8; HEADER_SALT_LEN]) -> Result<Vec<u8>, Error> {
        self.encode_with(|json_area| self.fields.to_raw(copy, salt, json_area))
    }

    /// The bytes of the primary copy with zeros for salt and checksum: what is the same however often the same
    /// header is written.
    ///
    /// # Errors
    ///
    /// As [`Self::encode`].
    pub fn encode_without_checksum(&self) -> Result<Vec<u8>, Error> {
        let salt = [0; HEADER_SALT_LEN];
        self.encode_with(|_| {
            let copy = HeaderCopy::Primary;
            self.fields.to_raw_without_checksum(copy, salt)
        })
    }

    /// Whether [`Self::encode`] makes the same bytes of both, given the same salt.
    ///
    /// ```
    /// # use lucarne_format::luks2::{Header, NewHeader, Segment, SegmentSize};
    /// # let new = NewHeader { uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(), ..NewHeader::default() };
    /// # let segment = Segment::Linear { offset: 16 << 20, size: SegmentSize::Dynamic, flags: vec![] };
    /// # let header = Header::new(&new, |draft| draft.insert_segment(0, &segment))?;
    /// assert!(header.encodes_as(&header.clone()));
    /// assert!(!header.encodes_as(&header.edit(|_| Ok(()))?), "the seqid differs");
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    #[must_use]
    pub fn encodes_as(&self, other: &Self) -> bool {
        let text = |header: &Self| json_area::serialize(header.metadata.json());
        self.fields == other.fields && text(self) == text(other)
    }

    /// A whole copy: what `binary` makes of its JSON area, the JSON's text, and zeros.
    fn encode_with(&self, binary: impl FnOnce(&[u8]) -> RawHeader) -> Result<Vec<u8>, Error> {
        let text = json_area::serialize(self.metadata.json());
        let json_size = usize::try_from(json_size_bytes(&self.fields)).unwrap_or(usize::MAX);
        if text.len() >= json_size {
            return Err(RefusedKind::JsonTooLarge {
                len: text.len(),
                limit: json_size.saturating_sub(1),
            }
            .into());
        }
        // Zeros that nobody has touched: most of a large area stays so.
        let mut bytes = vec![0; size_of::<RawHeader>().saturating_add(json_size)];
        // OK to unwrap: as long as the first of the two.
        #[allow(clippy::unwrap_used)]
        let (head, json_area) = bytes.split_first_chunk_mut().unwrap();
        for (to, from) in json_area.iter_mut().zip(text) {
            *to = from;
        }
        let raw: [u8; size_of::<RawHeader>()] = zerocopy::transmute!(binary(json_area));
        *head = raw;
        Ok(bytes)
    }

    /// Bytes of one copy: binary header and JSON area.
    #[must_use]
    pub fn header_size(&self) -> u64 {
        self.fields.header_size
    }

    /// The sequence number: the copy with the higher one is newer.
    #[must_use]
    pub fn seqid(&self) -> u64 {
        self.fields.seqid
    }

    /// The label; bytes that are no UTF-8 are replaced here, not on disk.
    #[must_use]
    pub fn label(&self) -> &str {
        self.fields.label.as_str()
    }

    /// The subsystem, a second label; bytes that are no UTF-8 are replaced here, not on disk.
    #[must_use]
    pub fn subsystem(&self) -> &str {
        self.fields.subsystem.as_str()
    }

    /// The UUID as text. On load its form is not checked, as in cryptsetup.
    #[must_use]
    pub fn uuid(&self) -> &str {
        self.fields.uuid.as_str()
    }

    /// The UUID field's bytes: text and zeros.
    #[must_use]
    pub fn uuid_bytes(&self) -> &[u8; UUID_LEN] {
        self.fields.uuid.raw()
    }

    /// The hash that protects the header.
    #[must_use]
    pub fn checksum_algorithm(&self) -> ChecksumAlgorithm {
        self.fields.checksum
    }

    /// A copy's salt; `None` if that copy was not read or was bad.
    #[must_use]
    pub fn salt(&self, copy: HeaderCopy) -> Option<&[u8; HEADER_SALT_LEN]> {
        let [primary, secondary] = &self.salts;
        match copy {
            HeaderCopy::Primary => primary.as_ref(),
            HeaderCopy::Secondary => secondary.as_ref(),
        }
    }

    /// The JSON.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// What is loaded may hold unusable parts; what is made may not get more of them.
fn refuse_new_defects(known: &[&Error], metadata: &Metadata) -> Result<(), Error> {
    match metadata.defects().find(|defect| !known.contains(defect)) {
        Some(Error::Corrupt(corrupt)) => Err(RefusedKind::Invalid(corrupt.clone()).into()),
        Some(other) => Err(other.clone()),
        None => Ok(()),
    }
}
