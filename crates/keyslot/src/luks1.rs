//! LUKS1's keyslots and digest (specification 4): made here, opened as LUKS2's.
//!
//! One hash serves PBKDF2, the anti-forensic splitter and the digest, and one cipher the payload and the
//! key material. [`Header::to_luks2_keyslot`] and [`Header::to_luks2_digest`] give what
//! [`open_keyslot`](crate::open_keyslot), [`verify_digest`](crate::verify_digest) and a
//! [`CostMeter`](crate::CostMeter) take.

use lucarne_format::luks1::{DIGEST_LEN, Header, SALT_LEN, VolumeKeyDigest};
use lucarne_format::luks2::Kdf;

use crate::{Error, Hash, KdfParams, SealRequest, check_key_len, create_digest, seal_keyslot};

/// A digest that recognises `key`, with a random salt.
///
/// # Errors
/// As for [`create_digest`].
pub fn create_luks1_digest(
    key: &[u8],
    hash: Hash,
    iterations: u32,
) -> Result<VolumeKeyDigest, Error> {
    let whole = create_digest(key, hash, iterations)?;
    // The first bytes of PBKDF2's result are those of a shorter one.
    let mut digest = [0; DIGEST_LEN];
    digest.copy_from_slice(&whole.digest[..DIGEST_LEN]);
    Ok(VolumeKeyDigest {
        digest,
        salt: salt(&whole.salt),
        iterations,
    })
}

/// `header` with `key` in its keyslot `id` under `passphrase`, and the bytes of that keyslot's area:
/// they must be on the device before the header is.
///
/// That `key` is the header's, the caller has seen by its [digest](Header::digest).
///
/// # Errors
/// [`Error::Format`] for a keyslot that is not free, [`Error::KeyLen`], [`Error::UnsupportedHash`],
/// [`Error::AreaCipher`], [`Error::Parameter`] for fewer than 1000 iterations; then [`Error::Random`].
///
/// ```
/// use lucarne_format::luks1::{Header, NewHeader, PayloadOffset};
/// use lucarne_keyslot::{Hash, create_luks1_digest, open_keyslot, seal_luks1_keyslot, verify_digest};
///
/// let key: Vec<u8> = (0..32).collect();
/// let header = Header::new(&NewHeader {
///     encryption: "aes-cbc-essiv:sha256".into(),
///     hash: "sha1".into(),
///     key_bytes: 32,
///     digest: create_luks1_digest(&key, Hash::Sha1, 1000)?,
///     uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
///     payload_offset: PayloadOffset::Detached,
///     key_material_offsets: None,
/// })?;
/// let (header, area) = seal_luks1_keyslot(&header, 0, &key, b"correct horse", 1000)?;
///
/// let candidate = open_keyslot(&header.to_luks2_keyslot(0)?, &area, b"correct horse")?;
/// assert!(verify_digest(&header.to_luks2_digest()?, &candidate)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal_luks1_keyslot(
    header: &Header,
    id: u32,
    key: &[u8],
    passphrase: &[u8],
    iterations: u32,
) -> Result<(Header, Vec<u8>), Error> {
    // Refuses a keyslot that is not free before anything is derived.
    let planned = header.with_keyslot(id, iterations, [0; SALT_LEN])?;
    let area = planned.to_luks2_keyslot(id)?.area;
    // A key of 2^32 bytes is no cipher's.
    let key_len = usize::try_from(header.key_bytes()).unwrap_or(usize::MAX);
    check_key_len(key, key_len)?;
    let hash: Hash = header.hash().parse()?;
    let request = SealRequest {
        area_offset: area.offset,
        // LUKS2's areas are rounded up to more; what LUKS1's has not is random, and cut off below.
        area_room: u64::MAX,
        area_cipher: &area.encryption.parse()?,
        area_key_len: key_len,
        af_hash: hash,
        kdf: KdfParams::Pbkdf2 { hash, iterations },
    };
    let (sealed, mut bytes) = seal_keyslot(&request, key, passphrase)?;
    bytes.truncate(area.size as usize);
    // OK to panic: the key derivation is the one that was asked for.
    let Kdf::Pbkdf2 { salt: made, .. } = &sealed.kdf else {
        unreachable!("a keyslot of PBKDF2")
    };
    Ok((header.with_keyslot(id, iterations, salt(made))?, bytes))
}

/// New salts have this length in LUKS2 too.
fn salt(made: &[u8]) -> [u8; SALT_LEN] {
    let mut salt = [0; SALT_LEN];
    salt.copy_from_slice(made);
    salt
}
