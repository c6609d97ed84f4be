//! A header of either version, for what is the same with both.

use lucarne_format::luks1;
use lucarne_format::luks2::{self, CryptSegment, Segment, SegmentSize, Selected};

use crate::{Error, Unlocked};

/// The length of LUKS1's sectors, in bytes: it knows no other.
pub(crate) const LUKS1_SECTOR_LEN: u32 = 512;

/// What [`read_any_header`](crate::read_any_header) found.
///
/// ```
/// use lucarne::{AnyHeader, FormatOptions, LuksVersion, MemoryStorage, read_any_header};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
///
/// let image = MemoryStorage::with_len(4 << 20);
/// let options = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
/// let formatted = lucarne::format(&image, None, b"an example", &options)?;
/// let header = read_any_header(&image)?;
/// assert!(matches!(header, AnyHeader::Luks1(_)));
/// assert_eq!(header.as_ref().uuid(), formatted.uuid);
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one a volume")]
pub enum AnyHeader {
    /// There is one copy.
    Luks1(luks1::Header),
    /// With what is wrong with its copies.
    Luks2(Selected),
}

impl AnyHeader {
    /// The header without its copies' state.
    #[must_use]
    pub fn as_ref(&self) -> HeaderRef<'_> {
        match self {
            Self::Luks1(header) => HeaderRef::Luks1(header),
            Self::Luks2(selected) => HeaderRef::Luks2(&selected.header),
        }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> LuksVersion {
        self.as_ref().version()
    }
}

/// The versions of LUKS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LuksVersion {
    /// One header copy, eight keyslots of PBKDF2, sectors of 512 bytes.
    Luks1,
    /// Two header copies, up to 32 keyslots, tokens.
    #[default]
    Luks2,
}

/// A header of either version by reference: what [`unlock()`](crate::unlock()) and
/// [`OpenOptions::open_judged`](crate::OpenOptions::open_judged) take.
///
/// ```
/// # use lucarne::{FormatOptions, MemoryStorage, read_header};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// # let image = MemoryStorage::with_len(2 << 20);
/// # lucarne::format(&image, None, b"an example", &options)?;
/// use lucarne::{HeaderRef, LuksVersion};
///
/// let header = read_header(&image)?.header;
/// assert_eq!(HeaderRef::from(&header).version(), LuksVersion::Luks2);
/// assert_eq!(HeaderRef::from(&header).volume_key_len(), Some(64));
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum HeaderRef<'h> {
    /// Of version 1.
    Luks1(&'h luks1::Header),
    /// Of version 2.
    Luks2(&'h luks2::Header),
}

impl<'h> From<&'h luks1::Header> for HeaderRef<'h> {
    fn from(header: &'h luks1::Header) -> Self {
        Self::Luks1(header)
    }
}

impl<'h> From<&'h luks2::Header> for HeaderRef<'h> {
    fn from(header: &'h luks2::Header) -> Self {
        Self::Luks2(header)
    }
}

impl<'h> From<&'h AnyHeader> for HeaderRef<'h> {
    fn from(header: &'h AnyHeader) -> Self {
        header.as_ref()
    }
}

impl<'h> HeaderRef<'h> {
    /// Its version.
    #[must_use]
    pub fn version(self) -> LuksVersion {
        match self {
            Self::Luks1(_) => LuksVersion::Luks1,
            Self::Luks2(_) => LuksVersion::Luks2,
        }
    }

    /// The UUID as text.
    #[must_use]
    pub fn uuid(self) -> &'h str {
        match self {
            Self::Luks1(header) => header.uuid(),
            Self::Luks2(header) => header.uuid(),
        }
    }

    /// How many bytes the key of the data has, as the keyslots say; `None` if there is none that says it.
    #[must_use]
    pub fn volume_key_len(self) -> Option<usize> {
        let len = match self {
            Self::Luks1(header) => header.key_bytes(),
            Self::Luks2(header) => {
                let metadata = header.metadata();
                let (_, digest) = metadata.digest_of_segment(0)?;
                metadata
                    .keyslots()
                    .get(digest.keyslots.first()?)?
                    .key_size()
            }
        };
        usize::try_from(len).ok()
    }

    /// The cipher of the data and its first byte, as far as the header tells: of the first segment that is
    /// encrypted, and empty if there is none.
    #[must_use]
    pub fn data_cipher(self) -> (String, u64) {
        match self {
            Self::Luks1(header) => (header.encryption(), header.payload_offset()),
            Self::Luks2(header) => {
                let metadata = header.metadata();
                let mut segments = metadata.segments().values();
                let cipher = segments.find_map(|segment| match segment {
                    Segment::Crypt(crypt) => Some(crypt.encryption.clone()),
                    _ => None,
                });
                (cipher.unwrap_or_default(), metadata.data_offset())
            }
        }
    }

    /// Where the header with its keyslots' areas ends on its device: data on the same device begin there or later.
    #[must_use]
    pub fn end(self) -> u64 {
        match self {
            Self::Luks1(header) => header.keyslots_end(),
            Self::Luks2(header) => header.metadata().keyslots_area().end,
        }
    }

    /// That data from byte `start` on do not lie over the header of the same device: a write would hit it.
    ///
    /// The format's own check leaves out offset 0, which a detached header has.
    pub(crate) fn check_data_behind(self, start: u64) -> Result<(), Error> {
        if start < self.end() {
            return Err(Error::refused(format!(
                "the data at {start} lie over the header, which ends at {}: a detached header belongs to another device",
                self.end()
            )));
        }
        Ok(())
    }

    /// Whether there is something in the keyslot of this number, be it usable or not.
    #[must_use]
    pub fn has_keyslot(self, id: u32) -> bool {
        match self {
            Self::Luks1(header) => header
                .keyslot(id)
                .is_some_and(|keyslot| keyslot.state != luks1::KeyslotState::Inactive),
            Self::Luks2(header) => header.metadata().keyslots().contains_key(&id),
        }
    }

    /// Whether the keyslot of this number is the only one that is there for the data.
    #[must_use]
    pub fn is_last_keyslot(self, id: u32) -> bool {
        let mut of_data: Box<dyn Iterator<Item = u32>> = match self {
            Self::Luks1(_) => Box::new((0..8).filter(|&id| self.has_keyslot(id))),
            Self::Luks2(header) => {
                let digests = header.metadata().digest_links();
                let of_data = digests.filter(|digest| !digest.segments.is_empty());
                Box::new(of_data.flat_map(|digest| digest.keyslots.iter().copied()))
            }
        };
        of_data.next() == Some(id) && of_data.next().is_none()
    }

    /// Whether the key is that of the data: that of an unbound keyslot is recognised too, but by a digest
    /// that names no segment.
    pub(crate) fn is_of_data(self, key: &Unlocked) -> bool {
        match self {
            Self::Luks1(_) => true,
            Self::Luks2(header) => {
                let digest = header.metadata().digests().get(&key.digest);
                digest.is_some_and(|digest| !digest.segments.is_empty())
            }
        }
    }

    /// The one segment that can be opened without regard to others, or why there is none.
    pub(crate) fn activatable_segment(self) -> Result<CryptSegment, Error> {
        match self {
            Self::Luks1(header) => Ok(luks1_segment(header)),
            Self::Luks2(header) => luks2_segment(header).cloned(),
        }
    }
}

/// LUKS1's payload as LUKS2 would have it.
fn luks1_segment(header: &luks1::Header) -> CryptSegment {
    CryptSegment {
        offset: header.payload_offset(),
        size: SegmentSize::Dynamic,
        iv_tweak: 0,
        encryption: header.encryption(),
        sector_size: LUKS1_SECTOR_LEN,
        integrity: None,
        flags: Vec::new(),
    }
}

fn luks2_segment(header: &luks2::Header) -> Result<&CryptSegment, Error> {
    let metadata = header.metadata();
    if let Some(requirement) = metadata.requirements().first() {
        return Err(Error::unsupported(format!(
            "the volume needs {:?} (config.requirements)",
            requirement.as_str()
        )));
    }
    let mut segments = metadata.segments().iter();
    let (Some((id, segment)), None) = (segments.next(), segments.next()) else {
        return Err(Error::unsupported(format!(
            "{} segments (opened is a volume with one)",
            metadata.segments().len()
        )));
    };
    match segment {
        Segment::Crypt(segment) if segment.integrity.is_some() => Err(Error::unsupported(format!(
            "segment {id} with integrity {:?}",
            segment.integrity.as_deref().unwrap_or_default()
        ))),
        Segment::Crypt(segment) => Ok(segment),
        Segment::Linear { .. } => Err(Error::unsupported(format!(
            "segment {id} of type \"linear\" outside a re-encryption"
        ))),
        Segment::Unknown { kind, .. } => {
            Err(Error::unsupported(format!("segment {id} of type {kind:?}")))
        }
        _ => Err(Error::unsupported(format!("the type of segment {id}"))),
    }
}
