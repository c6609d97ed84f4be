//! New volumes: options, keys, header.

mod any;
pub(crate) mod luks1;

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::{
    CryptSegment, Digest, Header, Luks2Keyslot, NewHeader, Segment, SegmentSize,
};
use lucarne_keyslot::{Hash, KdfRequest, SealRequest};
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

use crate::error::measuring;
use crate::header_io::{clear_before_data, random_failed, wipe_old_header, write_new};
use crate::layout::{Layout, LayoutRequest};
use crate::length_token::LengthToken;
use crate::sector_map::SectorMap;
use crate::{Error, LuksVersion};

pub(crate) use any::AnyNewVolume;

/// Keyslots of a LUKS2 header (specification 3.2).
const KEYSLOT_COUNT: u32 = 32;
/// cryptsetup formats no shorter file; others it lengthens.
const SMALLEST_DEVICE: u64 = 512;

/// What a new volume is like. The defaults are those of cryptsetup 2.8's `luksFormat`.
///
/// ```
/// let options = lucarne::FormatOptions {
///     label: "models".into(),
///     sector_size: Some(lucarne::SectorSize::B512),
///     ..Default::default()
/// };
/// assert_eq!(options.cipher.to_string(), "aes-xts-plain64");
/// assert_eq!(options.key_len, 64);
/// ```
#[derive(Debug)]
pub struct FormatOptions {
    /// LUKS2, unless asked for the old one. LUKS1 has PBKDF2, 512-byte sectors and keyslots 0 to 7 only, no
    /// label, no subsystem, no sizes of its parts and no cipher of the keyslot's own.
    pub version: LuksVersion,
    /// The cipher of the data.
    pub cipher: CipherSpec,
    /// Length of the volume key in bytes, both XTS halves together; ignored with `volume_key`.
    pub key_len: usize,
    /// `None`: 4096 bytes where the data's length is a multiple of that, else 512.
    pub sector_size: Option<DataUnit>,
    /// The hash of PBKDF2, of the anti-forensic splitter and of the digest.
    pub hash: Hash,
    /// The keyslot's key derivation and what it may cost.
    pub kdf: KdfRequest,
    /// At most 47 bytes.
    pub label: String,
    /// At most 47 bytes.
    pub subsystem: String,
    /// `None`: a random one.
    pub uuid: Option<uuid::Uuid>,
    /// Bytes of one header copy: 16 KiB (the default), 32 KiB, … 4 MiB.
    pub metadata_size: Option<u64>,
    /// Bytes of the keyslots area; the default fills the header up to 16 MiB.
    pub keyslots_size: Option<u64>,
    /// First byte of the data on the data device.
    pub data_offset: Option<u64>,
    /// The data begins at a multiple of so many bytes (1 MiB by default).
    pub data_alignment: Option<u64>,
    /// The number of the keyslot: 0 to 31.
    pub keyslot: u32,
    /// The cipher of the keyslot's area; `None`: that of the data.
    pub keyslot_cipher: Option<CipherSpec>,
    /// Length of the key of the keyslot's area in bytes; `None`: that of the volume key.
    pub keyslot_key_len: Option<usize>,
    /// The volume key; `None`: a random one.
    pub volume_key: Option<SecretBytes>,
}

impl Default for FormatOptions {
    fn default() -> Self {
        Self {
            version: LuksVersion::Luks2,
            cipher: default_cipher(),
            key_len: 64,
            sector_size: None,
            hash: Hash::Sha256,
            kdf: KdfRequest::default(),
            label: String::new(),
            subsystem: String::new(),
            uuid: None,
            metadata_size: None,
            keyslots_size: None,
            data_offset: None,
            data_alignment: None,
            keyslot: 0,
            keyslot_cipher: None,
            keyslot_key_len: None,
            volume_key: None,
        }
    }
}

fn default_cipher() -> CipherSpec {
    "aes-xts-plain64"
        .parse()
        .unwrap_or_else(|_| unreachable!("the name is this library's own"))
}

/// What [`format()`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Formatted {
    /// The volume's UUID.
    pub uuid: String,
    /// Bytes of plaintext on the data device; 0 when it ends before the data begins.
    pub volume_len: u64,
}

/// Makes an empty volume on `device`, or with its header on `device` and its data on
/// `detached_data`, whose bytes stay as they are.
///
/// Whatever header was there is wiped first; a crash at any later write leaves no volume, or the new
/// one. A device that is shorter than the header is lengthened, if it can be.
///
/// # Errors
/// [`Error::Refused`] and [`Error::Unsupported`] from the options, [`Error::Refused`] when the data is not
/// whole sectors of the size asked for, or the device is shorter than 512 bytes, [`Error::OutOfMemory`] from the key derivation, [`Error::Io`] from the storage.
pub fn format(
    device: &dyn Storage,
    detached_data: Option<&dyn Storage>,
    passphrase: &[u8],
    options: &FormatOptions,
) -> Result<Formatted, Error> {
    let data_len = detached_data.unwrap_or(device).len().map_err(measuring)?;
    if detached_data.is_none() && data_len < SMALLEST_DEVICE {
        return Err(Error::refused(format!(
            "a device of {data_len} bytes has no room for a header: the least is {SMALLEST_DEVICE}"
        )));
    }
    if options.version == LuksVersion::Luks1 {
        return luks1::format(device, detached_data, data_len, passphrase, options);
    }
    let layout = options.layout(detached_data.is_some())?;
    // Below zero where the device ends before its data begins; what is left of a sector is the same.
    let room = data_len.wrapping_sub(layout.data_offset);
    let whole_sectors = |size: DataUnit| room.is_multiple_of(u64::from(size.bytes()));
    let sector_size = match options.sector_size {
        // Part of a 512-byte sector at a file's end is no sector to any device: nobody misses it.
        Some(size) if size != DataUnit::B512 && !whole_sectors(size) => {
            return Err(Error::refused(format!(
                "the {data_len} bytes of the device, with data from byte {}, do not end with a whole sector of {} bytes",
                layout.data_offset,
                size.bytes()
            )));
        }
        Some(size) => size,
        None if whole_sectors(DataUnit::B4096) => DataUnit::B4096,
        None => DataUnit::B512,
    };
    let room = data_len.saturating_sub(layout.data_offset);
    let new = NewVolume::derive(options, passphrase, sector_size, detached_data.is_some())?;
    let header = new.header(SegmentSize::Dynamic, LengthToken::default())?;
    wipe_old_header(device)?;
    if detached_data.is_none() {
        if data_len < layout.data_offset {
            // A device cannot be lengthened; whether the header fits shows when it is written.
            let _ = device.set_len(layout.data_offset);
        }
        clear_before_data(device, new.layout())?;
    }
    write_new(device, &header, &new)?;
    Ok(Formatted {
        uuid: header.uuid().to_owned(),
        volume_len: room - room % u64::from(sector_size.bytes()),
    })
}

impl FormatOptions {
    /// Finds what would be refused, without a passphrase and before anything is paid for or written.
    /// `detached`: the header will lie apart from the data.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Unsupported`], as [`format()`] and [`encrypt`](fn@crate::encrypt) give them.
    ///
    /// ```
    /// use lucarne::{Error, FormatOptions};
    /// let options = FormatOptions { key_len: 48, ..Default::default() };
    /// assert!(matches!(options.check(false), Err(Error::Refused(_))));
    /// ```
    pub fn check(&self, detached: bool) -> Result<(), Error> {
        match self.version {
            LuksVersion::Luks1 => luks1::check(self, detached),
            LuksVersion::Luks2 => self.checked(detached).map(|_| ()),
        }
    }

    /// The layout, and the header's names.
    fn checked(&self, detached: bool) -> Result<(Layout, NewHeader), Error> {
        let layout = self.layout(detached)?;
        let names = NewHeader {
            header_size: layout.metadata_size,
            keyslots_size: layout.keyslots_size,
            uuid: self.uuid.unwrap_or_else(uuid::Uuid::new_v4).to_string(),
            label: self.label.clone(),
            subsystem: self.subsystem.clone(),
            ..NewHeader::default()
        };
        // The least header with these names: what the format refuses of them shows here.
        Header::new(&names, |draft| {
            let segment = Segment::Linear {
                offset: layout.data_offset,
                size: SegmentSize::Dynamic,
                flags: Vec::new(),
            };
            draft.insert_segment(0, &segment)
        })?;
        if self.keyslot >= KEYSLOT_COUNT {
            return Err(Error::refused(format!(
                "keyslot {} (they are numbered 0 to {})",
                self.keyslot,
                KEYSLOT_COUNT - 1
            )));
        }
        self.kdf.check()?;
        let key_len = self
            .volume_key
            .as_ref()
            .map_or(self.key_len, |key| key.len());
        self.cipher.check_key_len(key_len)?;
        if let Some(cipher) = &self.keyslot_cipher {
            cipher.check_key_len(self.keyslot_key_len.unwrap_or(key_len))?;
        }
        Ok((layout, names))
    }

    /// Where the data will begin on their device.
    pub(crate) fn first_data_byte(&self, detached: bool) -> Result<u64, Error> {
        match self.version {
            LuksVersion::Luks1 => luks1::data_offset(self, detached),
            LuksVersion::Luks2 => Ok(self.layout(detached)?.data_offset),
        }
    }

    pub(crate) fn layout(&self, detached: bool) -> Result<Layout, Error> {
        LayoutRequest {
            metadata_size: self.metadata_size,
            keyslots_size: self.keyslots_size,
            data_offset: self.data_offset,
            data_alignment: self.data_alignment,
            detached,
        }
        .resolve()
    }

    fn new_volume_key(&self) -> Result<SecretBytes, Error> {
        match &self.volume_key {
            Some(key) => Ok(SecretBytes::from_slice(key)),
            None => SecretBytes::random(self.key_len).map_err(random_failed),
        }
    }
}

/// Everything that a new volume's header will say, with its keys, before anything is written.
pub(crate) struct NewVolume {
    layout: Layout,
    names: NewHeader,
    keyslot_id: u32,
    keyslot: Luks2Keyslot,
    key_material: Vec<u8>,
    digest: Digest,
    cipher: CipherSpec,
    sector_size: DataUnit,
    volume_key: SecretBytes,
}

impl NewVolume {
    /// Checks the options, draws the keys and pays for the key derivation.
    pub(crate) fn derive(
        options: &FormatOptions,
        passphrase: &[u8],
        sector_size: DataUnit,
        detached: bool,
    ) -> Result<Self, Error> {
        with_clean_stack(|| Self::derive_now(options, passphrase, sector_size, detached))
    }

    fn derive_now(
        options: &FormatOptions,
        passphrase: &[u8],
        sector_size: DataUnit,
        detached: bool,
    ) -> Result<Self, Error> {
        let (layout, names) = options.checked(detached)?;
        let volume_key = options.new_volume_key()?;
        // Refuses what the data's cipher cannot take before the key derivation is paid for.
        SectorCipher::new(&options.cipher, &volume_key, sector_size)?;
        let area_key_len = options.keyslot_key_len.unwrap_or(volume_key.len());
        let request = SealRequest {
            area_offset: layout.keyslots_offset(),
            area_room: layout.keyslots_size,
            area_cipher: options.keyslot_cipher.as_ref().unwrap_or(&options.cipher),
            area_key_len,
            af_hash: options.hash,
            kdf: options.kdf.resolve(options.hash, area_key_len)?,
        };
        tracing::debug!(
            kdf = ?request.kdf,
            cipher = %options.cipher,
            sector_bytes = sector_size.bytes(),
            offset_bytes = layout.data_offset,
            "making a header"
        );
        let (keyslot, key_material) =
            lucarne_keyslot::seal_keyslot(&request, &volume_key, passphrase)?;
        let iterations = options.kdf.digest_iterations(options.hash);
        let digest = lucarne_keyslot::create_digest(&volume_key, options.hash, iterations)?;
        Ok(Self {
            layout,
            names,
            keyslot_id: options.keyslot,
            keyslot,
            key_material,
            digest,
            cipher: options.cipher.clone(),
            sector_size,
            volume_key,
        })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn volume_key(&self) -> &SecretBytes {
        &self.volume_key
    }

    /// Where the keyslot's material belongs, and the material.
    pub(crate) fn key_material(&self) -> (u64, &[u8]) {
        (self.keyslot.area.offset, &self.key_material)
    }

    /// The way to the new volume's sectors, for `len` bytes of plaintext at most.
    pub(crate) fn sector_map(&self, len: u64) -> Result<SectorMap, Error> {
        let sector_len = u64::from(self.sector_size.bytes());
        let cipher = with_clean_stack(|| {
            SectorCipher::new(&self.cipher, &self.volume_key, self.sector_size)
        })?;
        Ok(SectorMap::new(
            cipher,
            self.sector_size.bytes() as usize,
            self.layout.data_offset,
            len - len % sector_len,
        ))
    }

    /// The header, once the length of the data is known.
    pub(crate) fn header(&self, size: SegmentSize, token: LengthToken) -> Result<Header, Error> {
        let segment = Segment::Crypt(CryptSegment {
            offset: self.layout.data_offset,
            size,
            iv_tweak: 0,
            encryption: self.cipher.to_string(),
            sector_size: self.sector_size.bytes(),
            integrity: None,
            flags: Vec::new(),
        });
        let header = Header::new(&self.names, |draft| {
            draft.insert_segment(0, &segment)?;
            draft.insert_keyslot(self.keyslot_id, &self.keyslot)?;
            draft.insert_digest(0, &self.digest)?;
            draft.assign_keyslot(0, self.keyslot_id)?;
            draft.assign_segment(0, 0)?;
            if token.is_needed() {
                draft.insert_token(0, token.to_json())?;
            }
            Ok(())
        })?;
        Ok(header)
    }
}
