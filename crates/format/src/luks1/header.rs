//! The whole header: loaded, looked at, encoded.

use zerocopy::{FromBytes, IntoBytes};

use super::raw::{DIGEST_LEN, HEADER_LEN, KEYSLOTS, MAGIC, RawHeader, SALT_LEN, SECTOR_BYTES};
use super::{Keyslot, validate};
use crate::error::CorruptKind;
use crate::text::{UUID_LEN, zero_terminated};
use crate::{Error, LoadError};

/// A header whose every check passed. It never changes:
/// [`with_keyslot`](Self::with_keyslot) and the like give a new one.
///
/// ```
/// use lucarne_format::luks1::{Header, NewHeader, PayloadOffset, VolumeKeyDigest};
///
/// let made = Header::new(&NewHeader {
///     encryption: "aes-xts-plain64".into(),
///     hash: "sha256".into(),
///     key_bytes: 64,
///     digest: VolumeKeyDigest { digest: [9; 20], salt: [7; 32], iterations: 1000 },
///     uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
///     payload_offset: PayloadOffset::Aligned { sectors: 2048 },
///     key_material_offsets: None,
/// })?;
/// let mut image = made.encode();
/// image.resize(2 << 20, 0);
/// // `image` holds the bytes of a volume.
/// let header = Header::load(|offset, buffer: &mut [u8]| {
///     let rest = usize::try_from(offset).ok().and_then(|at| image.get(at..)).unwrap_or_default();
///     let len = rest.len().min(buffer.len());
///     buffer[..len].copy_from_slice(&rest[..len]);
///     Ok::<_, std::convert::Infallible>(len)
/// })?;
/// assert_eq!(header.encryption(), "aes-xts-plain64");
/// assert_eq!(header.payload_offset(), 2 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The truth; what follows is read from it.
    raw: RawHeader,
    cipher_name: String,
    cipher_mode: String,
    hash: String,
    uuid: String,
    digest: Result<VolumeKeyDigest, Error>,
    keyslots: [Keyslot; KEYSLOTS],
}

/// What the volume key must hash to: PBKDF2 over the header's hash, cut to 20 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeKeyDigest {
    /// The result.
    pub digest: [u8; DIGEST_LEN],
    /// The salt.
    pub salt: [u8; SALT_LEN],
    /// Iterations; not 0.
    pub iterations: u32,
}

impl Header {
    /// Loads the header of a device from its bytes.
    ///
    /// `read(offset, buffer)` fills `buffer` from byte `offset` of the device and returns how many
    /// bytes it got: fewer than `buffer.len()` only at the device's end. The header's bytes are read once,
    /// then the last byte of the keyslots' areas, to see that it is there.
    ///
    /// # Errors
    ///
    /// `NotLuks` without a magic, `Unsupported` for another version or an unknown hash, `Corrupt` with
    /// the field, its value and the limit; `Read` with `read`'s own error.
    pub fn load<E>(
        mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<Self, LoadError<E>> {
        let mut start = [0; HEADER_LEN];
        let len = read(0, &mut start).map_err(LoadError::Read)?;
        let header = Self::from_bytes(start.get(..len).unwrap_or(&start))?;
        let end = header.keyslots_end();
        let last = end.saturating_sub(1);
        if read(last, &mut [0]).map_err(LoadError::Read)? != 1 {
            return Err(Error::from(CorruptKind::KeyslotsAreaTruncated(end)).into());
        }
        Ok(header)
    }

    /// From the first bytes of a device, at least [`HEADER_LEN`]. Whether the device holds the keyslots'
    /// areas is for the caller to see ([`keyslots_end`](Self::keyslots_end)).
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn from_bytes(start: &[u8]) -> Result<Self, Error> {
        Self::from_raw(raw_header(start)?)
    }

    pub(super) fn from_raw(raw: RawHeader) -> Result<Self, Error> {
        let areas = validate::check(&raw)?;
        let keyslots: Vec<_> = raw
            .numbered()
            .zip(areas)
            .map(|((id, keyslot), area)| Keyslot::parse(id, keyslot, area))
            .collect();
        // OK to expect: as many as there are in the raw header.
        let keyslots = keyslots.try_into().expect("eight keyslots");
        let text = |field: &[u8]| zero_terminated(field).into_owned();
        let digest = match raw.mk_digest_iterations.get() {
            0 => Err(CorruptKind::TooSmall {
                path: "mkDigestIterations".into(),
                value: 0,
                limit: 1,
            }
            .into()),
            iterations => Ok(VolumeKeyDigest {
                digest: raw.mk_digest,
                salt: raw.mk_digest_salt,
                iterations,
            }),
        };
        Ok(Self {
            cipher_name: text(&raw.cipher_name),
            cipher_mode: text(&raw.cipher_mode),
            hash: text(&raw.hash_spec),
            uuid: text(&raw.uuid),
            digest,
            keyslots,
            raw,
        })
    }

    /// The header's bytes, [`HEADER_LEN`] of them, to be written at the device's start. Those of a header
    /// that was loaded and not changed are the same to the byte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.raw.as_bytes().to_vec()
    }

    /// The cipher without its mode, `aes`.
    #[must_use]
    pub fn cipher_name(&self) -> &str {
        &self.cipher_name
    }

    /// The chaining mode and the IV, `xts-plain64`.
    #[must_use]
    pub fn cipher_mode(&self) -> &str {
        &self.cipher_mode
    }

    /// The cipher of the payload and of the key material in dm-crypt's notation, `aes-xts-plain64`. It may
    /// be anything: on load it is not looked at, as in cryptsetup.
    #[must_use]
    pub fn encryption(&self) -> String {
        format!("{}-{}", self.cipher_name, self.cipher_mode)
    }

    /// The hash of PBKDF2 and of the anti-forensic splitter, in the case in which it is written: one of
    /// sha1, sha224, sha256, sha384, sha512, sha3-224 to sha3-512, blake2b-512, blake2s-256, ripemd160
    /// (rmd160), whirlpool (wp512), stribog256, stribog512 and sm3.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Length of the volume key in bytes; not 0.
    #[must_use]
    pub fn key_bytes(&self) -> u32 {
        self.raw.key_bytes.get()
    }

    /// Where the payload starts, in bytes; 0 if it is on another device.
    #[must_use]
    pub fn payload_offset(&self) -> u64 {
        u64::from(self.raw.payload_offset.get()).saturating_mul(SECTOR_BYTES)
    }

    /// What the volume key must hash to.
    ///
    /// # Errors
    ///
    /// Why it recognises no key.
    pub fn digest(&self) -> Result<&VolumeKeyDigest, &Error> {
        self.digest.as_ref()
    }

    /// The UUID as text; bytes that are no UTF-8 are replaced here, not on disk.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The UUID field's bytes.
    #[must_use]
    pub fn uuid_bytes(&self) -> &[u8; UUID_LEN] {
        &self.raw.uuid
    }

    /// All keyslots, by their numbers.
    #[must_use]
    pub fn keyslots(&self) -> &[Keyslot; KEYSLOTS] {
        &self.keyslots
    }

    /// The keyslot of this number; `None` from 8 on.
    #[must_use]
    pub fn keyslot(&self, id: u32) -> Option<&Keyslot> {
        self.keyslots.get(usize::try_from(id).ok()?)
    }

    /// Where the last keyslot's area ends, in bytes: as much a device must have, and a backup holds.
    #[must_use]
    pub fn keyslots_end(&self) -> u64 {
        self.keyslots
            .iter()
            .map(|keyslot| keyslot.area.end)
            .max()
            .unwrap_or_default()
    }

    pub(super) fn raw(&self) -> &RawHeader {
        &self.raw
    }
}

/// The bytes under their names, if there are enough of them and they begin as a header does.
pub(super) fn raw_header(start: &[u8]) -> Result<RawHeader, Error> {
    if !start.starts_with(&MAGIC) {
        return Err(Error::NotLuks);
    }
    let (raw, _) = RawHeader::read_from_prefix(start).map_err(|_| CorruptKind::Luks1Truncated {
        device_len: start.len(),
        end: HEADER_LEN,
    })?;
    Ok(raw)
}
