//! Keyslots: opening and making them (LUKS2 specification 3.2).

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::{AntiForensic, Area, Luks2Keyslot, Priority};
use lucarne_secret::SecretBytes;

use crate::{Error, Hash, KdfParams, af, kdf};

/// Key material is numbered and encrypted in 512-byte units from the area's start.
const AREA_UNIT: DataUnit = DataUnit::B512;

/// What a new keyslot is like.
#[derive(Debug, Clone, Copy)]
pub struct SealRequest<'a> {
    /// Where the area is to begin, in bytes from the start of the header device.
    pub area_offset: u64,
    /// How many bytes are free from there on.
    pub area_room: u64,
    /// The area's cipher.
    pub area_cipher: &'a CipherSpec,
    /// Length of the area's key in bytes.
    pub area_key_len: usize,
    /// The hash of the anti-forensic splitter.
    pub af_hash: Hash,
    /// The key derivation.
    pub kdf: KdfParams,
}

/// What `keyslot` holds if `passphrase` is right, and something else of the same length if not: only
/// a digest can tell ([`crate::verify_digest`]).
///
/// `area` is the keyslot's area from its start on, at least as much of it as the split key takes.
/// The keyslot names its own cost: spend it on a [`crate::CostMeter`] first.
///
/// # Errors
/// [`Error::AreaTooShort`], [`Error::AreaCipher`], [`Error::UnsupportedHash`],
/// [`Error::UnsupportedKdf`], [`Error::Parameter`] before anything is derived; then
/// [`Error::OutOfMemory`].
pub fn open_keyslot(
    keyslot: &Luks2Keyslot,
    area: &[u8],
    passphrase: &[u8],
) -> Result<SecretBytes, Error> {
    let af_hash: Hash = keyslot.af.hash.parse()?;
    let spec: CipherSpec = keyslot.area.encryption.parse()?;
    let area_key_len = usize::try_from(keyslot.area.key_size).unwrap_or(usize::MAX);
    // Refuses the cipher and its key's length before the key derivation is paid for.
    spec.check_key_len(area_key_len)?;
    af::check_key_len(usize::try_from(keyslot.key_size).unwrap_or(usize::MAX))?;
    let material_len = material_len(u64::from(keyslot.key_size));
    let material = usize::try_from(material_len)
        .ok()
        .and_then(|len| area.get(..len))
        .ok_or(Error::AreaTooShort {
            needed_bytes: material_len,
            available_bytes: area.len() as u64,
        })?;

    let area_key = kdf::derive(&keyslot.kdf, passphrase, area_key_len)?;
    let cipher = SectorCipher::new_for_existing(&spec, &area_key, AREA_UNIT)?;
    let mut stripes = SecretBytes::zeroed(material.len());
    cipher.decrypt_from(0, material, &mut stripes)?;
    af::merge(af_hash, keyslot.key_size as usize, &stripes)
}

/// A keyslot that holds `key` under `passphrase`, and the bytes of its area.
///
/// The area's length is that of the split key rounded up to 4096 bytes; what the key does not fill
/// is random.
///
/// # Errors
/// [`Error::AreaTooShort`] if the area does not fit in `area_room`, [`Error::AreaCipher`],
/// [`Error::Parameter`] for costs that no new keyslot may have, [`Error::OutOfMemory`],
/// [`Error::Random`].
pub fn seal_keyslot(
    request: &SealRequest<'_>,
    key: &[u8],
    passphrase: &[u8],
) -> Result<(Luks2Keyslot, Vec<u8>), Error> {
    request.area_cipher.check_key_len(request.area_key_len)?;
    let stripes = af::split(request.af_hash, key)?;
    // A key that `split` accepts has fewer than 2^21 bytes.
    let key_size = key.len() as u32;
    let area = Area {
        offset: request.area_offset,
        size: Area::size_for_key(key_size),
        encryption: request.area_cipher.to_string(),
        key_size: request.area_key_len as u32,
    };
    if area.size > request.area_room {
        return Err(Error::AreaTooShort {
            needed_bytes: area.size,
            available_bytes: request.area_room,
        });
    }
    let kdf = request.kdf.salted()?;

    let area_key = kdf::derive(&kdf, passphrase, request.area_key_len)?;
    let cipher = SectorCipher::new(request.area_cipher, &area_key, AREA_UNIT)?;
    let mut bytes = vec![0; area.size as usize];
    getrandom::fill(&mut bytes)?;
    let material = &mut bytes[..material_len(u64::from(key_size)) as usize];
    let whole_units = stripes.len() - stripes.len() % AREA_UNIT.bytes() as usize;
    cipher.encrypt_from(0, &stripes[..whole_units], &mut material[..whole_units])?;
    // The last unit is part key material, part random.
    let mut last_unit = SecretBytes::from_slice(&material[whole_units..]);
    last_unit[..stripes.len() - whole_units].copy_from_slice(&stripes[whole_units..]);
    cipher.encrypt(whole_units as u64 / 512, &mut last_unit)?;
    material[whole_units..].copy_from_slice(&last_unit);

    let keyslot = Luks2Keyslot {
        key_size,
        priority: Priority::Normal,
        af: AntiForensic {
            stripes: af::STRIPES as u32,
            hash: request.af_hash.to_string(),
        },
        kdf,
        area,
    };
    Ok((keyslot, bytes))
}

/// Length of the split key in whole units of the area's encryption.
fn material_len(key_size: u64) -> u64 {
    (key_size * af::STRIPES as u64).next_multiple_of(u64::from(AREA_UNIT.bytes()))
}
