//! New LUKS1 volumes.

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks1::{Header, NewHeader, PayloadOffset, VolumeKeyDigest};
use lucarne_keyslot::{KdfKind, KdfParams};
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

use super::{FormatOptions, Formatted};
use crate::Error;
use crate::any_header::LUKS1_SECTOR_LEN;
use crate::error::{flushing, measuring, writing};
use crate::header_io::{clear, fill_with_noise, wipe_old_header};
use crate::sector_map::SectorMap;

const SECTOR_LEN: u64 = LUKS1_SECTOR_LEN as u64;
/// Areas begin at multiples of this, and so does what is behind the last.
const AREA_ALIGNMENT: u64 = 4096;
const DATA_ALIGNMENT_DEFAULT: u64 = 1 << 20;

/// In the place of one that is not known yet.
const NO_DIGEST: VolumeKeyDigest = VolumeKeyDigest {
    digest: [0; 20],
    salt: [0; 32],
    iterations: 1,
};

/// Finds what would be refused without a passphrase.
pub(super) fn check(options: &FormatOptions, detached: bool) -> Result<(), Error> {
    plan(options, detached, NO_DIGEST).map(drop)
}

pub(super) fn format(
    device: &dyn Storage,
    detached_data: Option<&dyn Storage>,
    data_len: u64,
    passphrase: &[u8],
    options: &FormatOptions,
) -> Result<Formatted, Error> {
    let new = NewVolume::derive(options, passphrase, detached_data.is_some())?;
    wipe_old_header(device)?;
    new.write(device)?;
    let room = data_len.saturating_sub(new.header.payload_offset());
    Ok(Formatted {
        uuid: new.uuid().to_owned(),
        volume_len: room - room % SECTOR_LEN,
    })
}

/// Where the data will begin on their device.
pub(super) fn data_offset(options: &FormatOptions, detached: bool) -> Result<u64, Error> {
    plan(options, detached, NO_DIGEST).map(|header| header.payload_offset())
}

/// A new volume's header and keys, before anything is written.
pub(crate) struct NewVolume {
    header: Header,
    keyslot: u32,
    key_material: Vec<u8>,
    cipher: CipherSpec,
    volume_key: SecretBytes,
}

impl NewVolume {
    /// Checks the options, draws the keys and pays for the key derivation.
    pub(super) fn derive(
        options: &FormatOptions,
        passphrase: &[u8],
        detached: bool,
    ) -> Result<Self, Error> {
        with_clean_stack(|| Self::derive_now(options, passphrase, detached))
    }

    fn derive_now(
        options: &FormatOptions,
        passphrase: &[u8],
        detached: bool,
    ) -> Result<Self, Error> {
        check(options, detached)?;
        let volume_key = options.new_volume_key()?;
        SectorCipher::new(&options.cipher, &volume_key, DataUnit::B512)?;
        let KdfParams::Pbkdf2 { iterations, .. } =
            options.kdf.resolve(options.hash, volume_key.len())?
        else {
            return Err(not_pbkdf2());
        };
        let digest_iterations = options.kdf.digest_iterations(options.hash);
        let digest =
            lucarne_keyslot::create_luks1_digest(&volume_key, options.hash, digest_iterations)?;
        let empty = plan(options, detached, digest)?;
        let (header, key_material) = lucarne_keyslot::seal_luks1_keyslot(
            &empty,
            options.keyslot,
            &volume_key,
            passphrase,
            iterations,
        )?;
        Ok(Self {
            header,
            keyslot: options.keyslot,
            key_material,
            cipher: options.cipher.clone(),
            volume_key,
        })
    }

    pub(super) fn uuid(&self) -> &str {
        self.header.uuid()
    }

    /// The way to the new volume's sectors, for `len` bytes of plaintext at most.
    pub(super) fn sector_map(&self, len: u64) -> Result<SectorMap, Error> {
        let cipher =
            with_clean_stack(|| SectorCipher::new(&self.cipher, &self.volume_key, DataUnit::B512))?;
        Ok(SectorMap::new(
            cipher,
            LUKS1_SECTOR_LEN as usize,
            self.header.payload_offset(),
            len - len % SECTOR_LEN,
        ))
    }

    /// Writes the header where none is valid any more.
    ///
    /// First zeros up to the payload, noise in the keyslots' areas and the key material, flushed; then what of the
    /// header lies behind its first sector, flushed: a crash up to here leaves no magic, so no volume. Then the first
    /// sector, which a disk writes whole, flushed.
    pub(super) fn write(&self, device: &dyn Storage) -> Result<(), Error> {
        let header = &self.header;
        let end = match header.payload_offset() {
            0 => header.keyslots_end().next_multiple_of(AREA_ALIGNMENT),
            payload_offset => payload_offset,
        };
        if device.len().map_err(measuring)? < end {
            // A device cannot be lengthened; whether the header fits shows when it is written.
            let _ = device.set_len(end);
        }
        clear(device, 0..end)?;
        for area in header.keyslots().iter().map(|keyslot| &keyslot.area) {
            fill_with_noise(device, area.start, area.end - area.start)?;
        }
        if let Some(keyslot) = header.keyslot(self.keyslot) {
            let offset = keyslot.area.start;
            device
                .write_at(&self.key_material, offset)
                .map_err(writing(offset))?;
        }
        device.flush().map_err(flushing)?;
        let bytes = header.encode();
        let (first, rest) = bytes.split_at(LUKS1_SECTOR_LEN as usize);
        for (offset, part) in [(SECTOR_LEN, rest), (0, first)] {
            device.write_at(part, offset).map_err(writing(offset))?;
            device.flush().map_err(flushing)?;
        }
        Ok(())
    }
}

/// The header without a keyslot; all that LUKS1 has not is refused.
fn plan(options: &FormatOptions, detached: bool, digest: VolumeKeyDigest) -> Result<Header, Error> {
    for (has_it, what) in [
        (!options.label.is_empty(), "a label"),
        (!options.subsystem.is_empty(), "a subsystem"),
        (
            options
                .sector_size
                .is_some_and(|size| size != DataUnit::B512),
            "sectors of other than 512 bytes",
        ),
        (
            options.metadata_size.is_some() || options.keyslots_size.is_some(),
            "a choice of its metadata's size",
        ),
        (
            options.keyslot_cipher.is_some() || options.keyslot_key_len.is_some(),
            "a cipher of the keyslot's own",
        ),
    ] {
        if has_it {
            return Err(Error::refused(format!(
                "LUKS1 does not have {what}; LUKS2 has"
            )));
        }
    }
    if options.kdf.kind != KdfKind::Pbkdf2 {
        return Err(not_pbkdf2());
    }
    options.kdf.check()?;
    let key_len = options
        .volume_key
        .as_ref()
        .map_or(options.key_len, |key| key.len());
    options.cipher.check_key_len(key_len)?;
    let header = Header::new(&NewHeader {
        encryption: options.cipher.to_string(),
        hash: options.hash.to_string(),
        key_bytes: u32::try_from(key_len).unwrap_or(u32::MAX),
        digest,
        uuid: options.uuid.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
        payload_offset: payload_offset(options, detached)?,
        key_material_offsets: None,
    })?;
    // Refuses a number that LUKS1 has not.
    header.with_keyslot(options.keyslot, 1, [0; 32])?;
    Ok(header)
}

pub(crate) fn not_pbkdf2() -> Error {
    Error::refused("a LUKS1 keyslot's key derivation is pbkdf2; LUKS2 has others")
}

fn payload_offset(options: &FormatOptions, detached: bool) -> Result<PayloadOffset, Error> {
    let in_sectors = |bytes: u64, unit: u64, what: &str| match u32::try_from(bytes / SECTOR_LEN) {
        Ok(sectors) if bytes.is_multiple_of(unit) => Ok(sectors),
        _ => Err(Error::refused(format!(
            "data {what} {bytes} is not a multiple of {unit} bytes below 2 TiB"
        ))),
    };
    let alignment = options.data_alignment.filter(|&bytes| bytes != 0);
    // Where the header lies apart, the alignment is the offset, as with LUKS2.
    let offset = match detached {
        true => options.data_offset.or(alignment),
        false => options.data_offset,
    };
    match offset.filter(|&bytes| bytes != 0) {
        Some(bytes) => Ok(PayloadOffset::Sectors(in_sectors(bytes, 4096, "offset")?)),
        None if detached => Ok(PayloadOffset::Detached),
        None => {
            let bytes = alignment.unwrap_or(DATA_ALIGNMENT_DEFAULT);
            Ok(PayloadOffset::Aligned {
                sectors: in_sectors(bytes, SECTOR_LEN, "alignment")?,
            })
        }
    }
}
