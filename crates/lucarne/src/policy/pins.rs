//! Pins: what must stand in a header.

use lucarne_format::luks2::Header;
use sha2::{Digest as _, Sha256};

use super::finding::quoted;
use super::{Finding, Judgement, Severity};
use crate::{Error, HeaderRef};

/// What one volume's header must be: an identity that is known from elsewhere.
///
/// ```
/// use lucarne::policy::Pins;
///
/// let pins = Pins::default()
///     .uuid("0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d")
///     // As luksDump prints it:
///     .volume_key_digest(
///         "d6 1b 0c 95 5f 62 5c 8e 25 0e 36 3c 3c 0f 7c 3e
///          68 9c 8e 32 24 4b 33 0b 43 b8 4f 62 66 bc e9 9d",
///     )?;
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    uuid: Option<String>,
    volume_key_digest: Option<Vec<u8>>,
    header_hash: Option<[u8; 32]>,
}

/// A digest that the format can hold, in bytes.
const DIGEST_LEN_BYTES: std::ops::RangeInclusive<usize> = 20..=64;

impl Pins {
    /// The header's UUID, in any case. It is a name and no proof: anyone can copy it.
    #[must_use]
    pub fn uuid(mut self, uuid: impl Into<String>) -> Self {
        self.uuid = Some(uuid.into());
        self
    }

    /// The digest of the volume key, in hexadecimal: the `Digest:` that luksDump prints for the digest of
    /// the data's segment. Spaces and colons between the digits are skipped.
    ///
    /// The digest is PBKDF2 of the volume key; opening always verifies the key by it. So a header that
    /// keeps the pinned bytes, whatever else in it was changed, its salt and iterations included, opens
    /// with the pinned volume's key or not at all: for another key one would have to find a second
    /// preimage. Every digest that names a segment must be the pinned one. Adding and removing
    /// keyslots keeps it; a re-encryption changes it.
    ///
    /// # Errors
    /// [`Error::Refused`] unless these are 20 to 64 bytes.
    pub fn volume_key_digest(mut self, hex: &str) -> Result<Self, Error> {
        let digest = from_hex(hex).filter(|bytes| DIGEST_LEN_BYTES.contains(&bytes.len()));
        self.volume_key_digest = Some(digest.ok_or_else(|| {
            Error::refused("a volume key's digest is 20 to 64 bytes in hexadecimal")
        })?);
        Ok(self)
    }

    /// The [hash of the header](header_hash), in hexadecimal. Every change of the header changes it.
    ///
    /// # Errors
    /// [`Error::Refused`] unless these are 32 bytes.
    pub fn header_hash(mut self, hex: &str) -> Result<Self, Error> {
        let hash = from_hex(hex).and_then(|bytes| bytes.try_into().ok());
        let refused = || Error::refused("a header's hash is 32 bytes in hexadecimal");
        self.header_hash = Some(hash.ok_or_else(refused)?);
        Ok(self)
    }

    /// Whether nothing is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What in a header is not as pinned.
    #[must_use]
    pub fn judge<'h>(&self, header: impl Into<HeaderRef<'h>>) -> Judgement {
        let mut judgement = Judgement::new("pins");
        self.judge_into(header.into(), &mut judgement);
        judgement
    }

    pub(super) fn judge_into(&self, header: HeaderRef<'_>, judgement: &mut Judgement) {
        let header = match header {
            HeaderRef::Luks2(header) => header,
            HeaderRef::Luks1(_) if self.is_empty() => return,
            HeaderRef::Luks1(_) => return judgement.push(Finding::not_luks2()),
        };
        let mut differs = |rule, field: &str, value: String, limit: String| {
            judgement.push(Finding {
                rule,
                severity: Severity::Violation,
                field: field.to_owned(),
                value,
                limit,
            });
        };
        if let Some(uuid) = &self.uuid
            && !uuid.eq_ignore_ascii_case(header.uuid())
        {
            differs("expect-uuid", "uuid", quoted(header.uuid()), quoted(uuid));
        }
        if let Some(pinned) = &self.volume_key_digest {
            let limit = || to_hex(pinned);
            let mut any = false;
            for links in header.metadata().digest_links() {
                if links.segments.is_empty() {
                    continue;
                }
                any = true;
                let digest = header.metadata().digests().get(&links.id);
                // Nothing secret: the digest stands in the header.
                if digest.is_none_or(|digest| digest.digest != *pinned) {
                    let value = match digest {
                        Some(digest) => to_hex(&digest.digest),
                        None => "unusable".to_owned(),
                    };
                    let field = format!("digests.{}.digest", links.id);
                    differs("expect-volume-key-digest", &field, value, limit());
                }
            }
            if !any {
                let field = "digest of the segments";
                differs("expect-volume-key-digest", field, "none".into(), limit());
            }
        }
        if let Some(pinned) = &self.header_hash {
            let value = match header_hash(header) {
                Ok(hash) if hash == *pinned => return,
                Ok(hash) => to_hex(&hash),
                Err(error) => error.to_string(),
            };
            differs("expect-header-hash", "the header", value, to_hex(pinned));
        }
    }
}

/// SHA-256 of the header as its primary copy is written, with the salt (bytes 104 to 167) and the
/// checksum (bytes 448 to 511) taken as zeros.
///
/// Both copies of one state of a header have the same hash, and so have the copies that cryptsetup's
/// repair writes, whose salts are new. Two headers with one hash mean the same: what does not enter
/// it, which is spaces between JSON members and spellings of escapes, has no meaning to any reader.
/// For a header that cryptsetup or this library wrote it is, where `hdr_size` is 16 KiB:
///
/// ```sh
/// head -c 16384 IMAGE | python3 -c 'import sys, hashlib
/// h = bytearray(sys.stdin.buffer.read()); h[104:168] = bytes(64); h[448:512] = bytes(64)
/// print(hashlib.sha256(h).hexdigest())'
/// ```
///
/// # Errors
/// [`Error::Refused`] if the JSON no longer fits its area; no header of a known tool is such.
pub fn header_hash(header: &Header) -> Result<[u8; 32], Error> {
    Ok(Sha256::digest(header.encode_without_checksum()?).into())
}

/// The digest that [`Pins::volume_key_digest`] pins, in hexadecimal; `None` unless exactly one digest
/// names segments.
#[must_use]
pub fn volume_key_digest(header: &Header) -> Option<String> {
    let metadata = header.metadata();
    let mut of_segments = metadata
        .digest_links()
        .filter(|links| !links.segments.is_empty());
    match (of_segments.next(), of_segments.next()) {
        (Some(links), None) => Some(to_hex(&metadata.digests().get(&links.id)?.digest)),
        _ => None,
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b':')
        .map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_as_people_copy_it() {
        assert_eq!(from_hex("00 fF:1\n2\t"), Some(vec![0, 0xff, 0x12]));
        assert_eq!(from_hex(""), Some(vec![]));
        assert_eq!(from_hex("123"), None);
        assert_eq!(from_hex("0x12"), None);
        assert_eq!(to_hex(&[0, 0xff, 0x12]), "00ff12");
    }

    #[test]
    fn what_cannot_be_a_pin_is_refused() {
        for hex in ["", "00", &"00".repeat(19), &"00".repeat(65), "zz"] {
            Pins::default().volume_key_digest(hex).unwrap_err();
        }
        for len in [20, 64] {
            Pins::default()
                .volume_key_digest(&"00".repeat(len))
                .unwrap();
        }
        for hex in [&"00".repeat(31), &"00".repeat(33)] {
            Pins::default().header_hash(hex).unwrap_err();
        }
        assert!(Pins::default().is_empty());
        assert!(!Pins::default().uuid("").is_empty());
    }
}
