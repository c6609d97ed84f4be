//! The binary header (specification 2.1): 4096 bytes, big-endian, at the start of each copy.
//!
//! ```text
//!        0        1        2        3        4        5        6        7
//!   0  |                     magic                     |     version     |
//!   8  |                             hdr_size                            |
//!  16  |                               seqid                             |
//!  24  |                         label, 48 bytes                         |
//!  72  |                        csum_alg, 32 bytes                       |
//! 104  |                          salt, 64 bytes                         |
//! 168  |                          uuid, 40 bytes                         |
//! 208  |                        subsystem, 48 bytes                      |
//! 256  |                            hdr_offset                           |
//! 264  |                        zeros, 184 bytes                         |
//! 448  |                          csum, 64 bytes                         |
//! 512  |                        zeros, 3584 bytes                        |
//! 4096 |  JSON area, hdr_size - 4096 bytes                               |
//! ```

use std::fmt;
use std::mem::{offset_of, size_of};

use zerocopy::big_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::draft::json_size_bytes;
use super::{ChecksumAlgorithm, Metadata, json_area};
use crate::Error;
use crate::error::{CorruptKind, UnsupportedKind};
use crate::text::{Text, UUID_LEN, zero_terminated};

/// Bytes of the binary header.
pub(super) const BINARY_LEN_BYTES: u64 = 4096;
const BINARY_LEN: usize = 4096;
/// The smallest copy, binary header and JSON area together.
pub(super) const HEADER_SIZE_MIN: u64 = 0x4000;
/// The largest.
pub(super) const HEADER_SIZE_MAX: u64 = 0x40_0000;

const MAGIC_PRIMARY: [u8; 6] = *b"LUKS\xba\xbe";
const MAGIC_SECONDARY: [u8; 6] = *b"SKUL\xba\xbe";
const VERSION: u16 = 2;

pub(super) const LABEL_LEN: usize = 48;
/// Bytes of a copy's salt.
pub const HEADER_SALT_LEN: usize = 64;

/// Which of a header's two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderCopy {
    /// At byte 0.
    Primary,
    /// Right behind the primary.
    Secondary,
}

impl HeaderCopy {
    /// Where this copy lies, given one copy's size in bytes.
    #[must_use]
    pub fn offset(self, header_size: u64) -> u64 {
        match self {
            Self::Primary => 0,
            Self::Secondary => header_size,
        }
    }

    pub(super) fn magic(self) -> [u8; 6] {
        match self {
            Self::Primary => MAGIC_PRIMARY,
            Self::Secondary => MAGIC_SECONDARY,
        }
    }
}

impl fmt::Display for HeaderCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

/// The bytes under the specification's names; nothing is checked.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(super) struct RawHeader {
    magic: [u8; 6],
    version: U16,
    hdr_size: U64,
    seqid: U64,
    label: [u8; LABEL_LEN],
    csum_alg: [u8; 32],
    salt: [u8; HEADER_SALT_LEN],
    uuid: [u8; UUID_LEN],
    subsystem: [u8; LABEL_LEN],
    hdr_offset: U64,
    padding: [u8; 184],
    csum: [u8; 64],
    padding_4096: [u8; 3584],
}

const _: () = {
    assert!(size_of::<RawHeader>() == BINARY_LEN);
    assert!(offset_of!(RawHeader, hdr_size) == 8);
    assert!(offset_of!(RawHeader, seqid) == 16);
    assert!(offset_of!(RawHeader, label) == 24);
    assert!(offset_of!(RawHeader, csum_alg) == 72);
    assert!(offset_of!(RawHeader, salt) == 104);
    assert!(offset_of!(RawHeader, uuid) == 168);
    assert!(offset_of!(RawHeader, subsystem) == 208);
    assert!(offset_of!(RawHeader, hdr_offset) == 256);
    assert!(offset_of!(RawHeader, csum) == 448);
    assert!(offset_of!(RawHeader, padding_4096) == 512);
};

/// What the first bytes of a device say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    None,
    Luks { version: u16 },
}

impl Magic {
    pub(super) fn of(start: &[u8]) -> Self {
        match start.split_first_chunk::<6>() {
            Some((&MAGIC_PRIMARY, rest)) => match rest.first_chunk::<2>() {
                Some(&version) => Self::Luks {
                    version: u16::from_be_bytes(version),
                },
                None => Self::None,
            },
            _ => Self::None,
        }
    }
}

impl RawHeader {
    /// What must hold before the size in the header can be believed. Gives that size.
    pub(super) fn check(&self, copy: HeaderCopy, offset: u64) -> Result<u64, Error> {
        if self.magic != copy.magic() {
            return Err(CorruptKind::NoMagic(offset).into());
        }
        if self.version.get() != VERSION {
            return Err(UnsupportedKind::Version(self.version.get()).into());
        }
        if self.hdr_offset.get() != offset {
            return Err(CorruptKind::HeaderOffset {
                value: self.hdr_offset.get(),
                offset,
            }
            .into());
        }
        let size = self.hdr_size.get();
        // Sizes within the range that are no power of two are left to the JSON's check: cryptsetup
        // looks for the secondary copy behind such a primary, and finds none that it accepts.
        if !(HEADER_SIZE_MIN..=HEADER_SIZE_MAX).contains(&size) {
            return Err(CorruptKind::HeaderSize(size).into());
        }
        if copy == HeaderCopy::Secondary && size != offset {
            return Err(CorruptKind::SecondarySize {
                value: size,
                offset,
            }
            .into());
        }
        Ok(size)
    }

    pub(super) fn has_magic(&self, copy: HeaderCopy) -> bool {
        self.magic == copy.magic()
    }
}

/// A copy whose checksum holds; its JSON has not been looked at.
#[derive(Debug, Clone)]
pub(super) struct UncheckedCopy {
    pub(super) fields: BinaryFields,
    pub(super) salt: [u8; HEADER_SALT_LEN],
    /// [`json_area::without_zeros`]: of two copies of one size it is the same where the areas are.
    pub(super) json_area: Vec<u8>,
}

/// What both copies of a binary header share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BinaryFields {
    pub(super) header_size: u64,
    pub(super) seqid: u64,
    pub(super) label: Text<LABEL_LEN>,
    pub(super) subsystem: Text<LABEL_LEN>,
    pub(super) uuid: Text<UUID_LEN>,
    pub(super) checksum: ChecksumAlgorithm,
}

impl UncheckedCopy {
    /// `bytes` is the whole copy, at `offset` of the device.
    pub(super) fn from_bytes(bytes: &[u8], copy: HeaderCopy, offset: u64) -> Result<Self, Error> {
        let truncated = |size: u64| {
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            Error::from(CorruptKind::Truncated {
                copy,
                offset,
                end: offset.saturating_add(size),
                device_len: offset.saturating_add(len),
            })
        };
        let (raw, area) =
            RawHeader::ref_from_prefix(bytes).map_err(|_| truncated(BINARY_LEN_BYTES))?;
        let header_size = raw.check(copy, offset)?;
        if u64::try_from(bytes.len()) != Ok(header_size) {
            return Err(truncated(header_size));
        }
        let checksum: ChecksumAlgorithm = zero_terminated(&raw.csum_alg).parse()?;
        let mut zeroed = raw.clone();
        zeroed.csum = [0; 64];
        let expected = checksum.digest([zeroed.as_bytes(), area]);
        if raw.csum.get(..expected.len()) != Some(expected.as_slice()) {
            return Err(CorruptKind::Checksum {
                algorithm: checksum.as_str(),
                offset,
            }
            .into());
        }
        Ok(Self {
            fields: BinaryFields {
                header_size,
                seqid: raw.seqid.get(),
                label: Text::from_raw(raw.label),
                subsystem: Text::from_raw(raw.subsystem),
                uuid: Text::from_raw(raw.uuid),
                checksum,
            },
            salt: raw.salt,
            json_area: json_area::without_zeros(area).to_vec(),
        })
    }

    /// Reads and checks the JSON.
    pub(super) fn metadata(&self) -> Result<Metadata, Error> {
        let json = json_area::parse(&self.json_area)?;
        Metadata::from_json(json, json_size_bytes(&self.fields))
    }
}

impl BinaryFields {
    /// The binary header of `copy` with its checksum over itself and `json_area`.
    pub(super) fn to_raw(
        &self,
        copy: HeaderCopy,
        salt: [u8; HEADER_SALT_LEN],
        json_area: &[u8],
    ) -> RawHeader {
        let mut raw = self.to_raw_without_checksum(copy, salt);
        let digest = self.checksum.digest([raw.as_bytes(), json_area]);
        for (to, from) in raw.csum.iter_mut().zip(digest) {
            *to = from;
        }
        raw
    }

    /// The binary header of `copy` with zeros for its checksum.
    pub(super) fn to_raw_without_checksum(
        &self,
        copy: HeaderCopy,
        salt: [u8; HEADER_SALT_LEN],
    ) -> RawHeader {
        let mut raw = RawHeader::new_zeroed();
        raw.magic = copy.magic();
        raw.version = U16::new(VERSION);
        raw.hdr_size = U64::new(self.header_size);
        raw.seqid = U64::new(self.seqid);
        raw.label = *self.label.raw();
        raw.salt = salt;
        raw.uuid = *self.uuid.raw();
        raw.subsystem = *self.subsystem.raw();
        raw.hdr_offset = U64::new(copy.offset(self.header_size));
        for (to, from) in raw.csum_alg.iter_mut().zip(self.checksum.as_str().bytes()) {
            *to = from;
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(checksum: ChecksumAlgorithm) -> BinaryFields {
        BinaryFields {
            header_size: 0x4000,
            seqid: 7,
            label: Text::new("models").unwrap(),
            subsystem: Text::new("").unwrap(),
            uuid: Text::new("0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d").unwrap(),
            checksum,
        }
    }

    fn copy_bytes(fields: &BinaryFields, copy: HeaderCopy) -> Vec<u8> {
        let mut json_area = b"{}".to_vec();
        json_area.resize(0x3000, 0);
        let mut bytes = fields.to_raw(copy, [9; 64], &json_area).as_bytes().to_vec();
        bytes.append(&mut json_area);
        bytes
    }

    #[test]
    fn fields_lie_where_the_specification_says() {
        let bytes = copy_bytes(&fields(ChecksumAlgorithm::Sha256), HeaderCopy::Secondary);
        assert_eq!(&bytes[..8], b"SKUL\xba\xbe\0\x02");
        assert_eq!(bytes[8..16], 0x4000_u64.to_be_bytes());
        assert_eq!(bytes[16..24], 7_u64.to_be_bytes());
        assert_eq!(&bytes[24..31], b"models\0");
        assert_eq!(&bytes[72..79], b"sha256\0");
        assert_eq!(bytes[104..168], [9; 64]);
        assert_eq!(&bytes[168..204], b"0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d");
        assert_eq!(bytes[256..264], 0x4000_u64.to_be_bytes());
        assert!(bytes[264..448].iter().all(|&byte| byte == 0));
        assert!(bytes[480..512].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn every_checksum_guards_every_byte_but_those_past_its_end() {
        for checksum in ChecksumAlgorithm::ALL {
            let bytes = copy_bytes(&fields(checksum), HeaderCopy::Primary);
            let unchecked = UncheckedCopy::from_bytes(&bytes, HeaderCopy::Primary, 0).unwrap();
            assert_eq!(unchecked.fields, fields(checksum));
            let digest_end = 448 + checksum.digest([b"", b""]).len();
            for at in (0..600).chain([4096, 0x3fff]) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                let result = UncheckedCopy::from_bytes(&flipped, HeaderCopy::Primary, 0);
                assert_eq!(
                    result.is_ok(),
                    (digest_end..512).contains(&at),
                    "{checksum} byte {at}"
                );
            }
        }
    }

    #[test]
    fn lengths_are_checked() {
        let bytes = copy_bytes(&fields(ChecksumAlgorithm::Sha256), HeaderCopy::Primary);
        for len in [0, 1, 4095, 4096, 0x3fff] {
            UncheckedCopy::from_bytes(&bytes[..len], HeaderCopy::Primary, 0).unwrap_err();
        }
    }

    #[test]
    fn sizes_and_offsets_are_checked_in_order() {
        let mut raw = fields(ChecksumAlgorithm::Sha256).to_raw(HeaderCopy::Secondary, [0; 64], b"");
        let check = |raw: &RawHeader, offset| {
            raw.check(HeaderCopy::Secondary, offset)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(&raw, 0x4000), Ok(0x4000));
        assert_eq!(
            check(&raw, 0x8000).unwrap_err(),
            "corrupt header: hdr_offset is 0x4000 at byte 0x8000"
        );
        raw.hdr_offset = U64::new(0x8000);
        assert_eq!(
            check(&raw, 0x8000).unwrap_err(),
            "corrupt header: secondary header at 0x8000 says hdr_size 0x4000"
        );
        raw.hdr_size = U64::new(0x400_001);
        assert_eq!(
            check(&raw, 0x8000).unwrap_err(),
            "corrupt header: hdr_size is 0x400001, the limits are 0x4000 and 0x400000"
        );
        raw.version = U16::new(3);
        assert_eq!(
            check(&raw, 0x8000).unwrap_err(),
            "not supported: header version 3"
        );
        raw.magic = MAGIC_PRIMARY;
        assert_eq!(
            check(&raw, 0x8000).unwrap_err(),
            "corrupt header: no magic at 0x8000"
        );
    }
}
