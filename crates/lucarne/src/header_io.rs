//! Headers on storage: read once, and the order in which a new one is written.

use std::ops::Range;

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::{Header, HeaderCopy, Selected};
use lucarne_format::{LoadError, luks1};
use lucarne_keyslot::{Cost, CostLimits};
use lucarne_secret::SecretBytes;
use lucarne_storage::Storage;

use crate::create::NewVolume;
use crate::error::{IoOp, flushing, measuring, reading, writing};
use crate::layout::{Layout, METADATA_SIZES};
use crate::{AnyHeader, Error};

/// The binary part of a header copy, which bears its magic.
const BINARY_HEADER_LEN: usize = 4096;

/// The most that the format allows for both copies.
const HEADER_BYTES_MAX: u64 = 8 << 20;

/// How much of a keyslots area is filled at once.
const FILL_STEP_LEN_BYTES: usize = 1 << 20;
/// And how much of it is encrypted at once.
const BLOCK_LEN_BYTES: usize = 4096;

/// Reads and judges a header; nothing is written, whatever its state.
///
/// # Errors
/// [`Error::NotLuks`], [`Error::Corrupt`], [`Error::Unsupported`] [`Error::Luks1`] (for which there is
/// [`read_any_header`]), [`Error::Io`].
///
/// ```
/// use lucarne::{Error, MemoryStorage};
/// let error = lucarne::read_header(&MemoryStorage::with_len(1 << 20)).unwrap_err();
/// assert!(matches!(error, Error::NotLuks));
/// ```
pub fn read_header(storage: &dyn Storage) -> Result<Selected, Error> {
    Header::load(reader(storage, HEADER_BYTES_MAX)?).map_err(of_load)
}

/// As [`read_header`], with a limit on how much is read: [`CostLimits::header_bytes`].
///
/// # Errors
/// As [`read_header`]; [`Error::TooCostly`].
///
/// ```
/// use lucarne::{CostLimits, Error, MemoryStorage, read_header_within};
/// # let image = MemoryStorage::with_len(4 << 20);
/// # lucarne::format(&image, None, b"an example", &lucarne::FormatOptions {
/// #     kdf: lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() },
/// #     keyslots_size: Some(1 << 20), ..Default::default() })?;
/// // Two copies of 16 KiB.
/// let limits = |header_bytes| CostLimits { header_bytes, ..CostLimits::default() };
/// read_header_within(&image, &limits(32768))?;
/// let error = read_header_within(&image, &limits(32767)).unwrap_err();
/// assert!(matches!(error, Error::TooCostly { value: 32768, limit: 32767, .. }));
/// # Ok::<(), Error>(())
/// ```
pub fn read_header_within(storage: &dyn Storage, limits: &CostLimits) -> Result<Selected, Error> {
    Header::load(reader(storage, limits.header_bytes)?).map_err(of_load)
}

/// As [`read_header`], from the secondary copy too where the device bears the signature of something else.
pub(crate) fn read_header_for_repair(storage: &dyn Storage) -> Result<Selected, Error> {
    Header::load_for_repair(reader(storage, HEADER_BYTES_MAX)?).map_err(of_load)
}

/// As [`read_header_within`], whichever version it is.
///
/// # Errors
/// [`Error::NotLuks`], [`Error::Corrupt`], [`Error::Unsupported`], [`Error::TooCostly`], [`Error::Io`].
pub fn read_any_header_within(
    storage: &dyn Storage,
    limits: &CostLimits,
) -> Result<AnyHeader, Error> {
    match read_header_within(storage, limits) {
        Err(Error::Luks1) => read_luks1_header(storage).map(AnyHeader::Luks1),
        selected => selected.map(AnyHeader::Luks2),
    }
}

/// As [`read_header`], whichever version it is.
///
/// # Errors
/// [`Error::NotLuks`], [`Error::Corrupt`], [`Error::Unsupported`], [`Error::Io`].
pub fn read_any_header(storage: &dyn Storage) -> Result<AnyHeader, Error> {
    match read_header(storage) {
        Err(Error::Luks1) => read_luks1_header(storage).map(AnyHeader::Luks1),
        selected => selected.map(AnyHeader::Luks2),
    }
}

pub(crate) fn read_luks1_header(storage: &dyn Storage) -> Result<luks1::Header, Error> {
    luks1::Header::load(reader(storage, HEADER_BYTES_MAX)?).map_err(of_load)
}

/// Reads up to the storage's end, and at most `limit` bytes in all.
fn reader(
    storage: &dyn Storage,
    limit: u64,
) -> Result<impl FnMut(u64, &mut [u8]) -> Result<usize, Error>, Error> {
    let device_len = storage.len().map_err(measuring)?;
    let mut bytes_read: u64 = 0;
    Ok(move |offset: u64, buf: &mut [u8]| {
        // A single byte is no part of the header: it shows whether the device reaches that far.
        if buf.len() > 1 {
            bytes_read = bytes_read.saturating_add(buf.len() as u64);
            if bytes_read > limit {
                return Err(Error::TooCostly {
                    keyslot: None,
                    cost: Cost::HeaderBytes,
                    value: bytes_read,
                    limit,
                });
            }
        }
        let rest = device_len.saturating_sub(offset);
        let len = buf.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        storage
            .read_at(&mut buf[..len], offset)
            .map_err(reading(offset))?;
        Ok(len)
    })
}

fn of_load(error: LoadError<Error>) -> Error {
    match error {
        LoadError::Format(error) => error.into(),
        LoadError::Read(error) => error,
    }
}

/// Makes whatever header is there unreadable, and flushes.
///
/// Only blocks that bear a LUKS magic are touched: the others may be data.
pub(crate) fn wipe_old_header(storage: &dyn Storage) -> Result<(), Error> {
    let device_len = storage.len().map_err(measuring)?;
    let mut wiped = false;
    // The secondary copy lies right behind the primary, whose length is one of these.
    for offset in std::iter::once(0).chain(METADATA_SIZES) {
        if offset + BINARY_HEADER_LEN as u64 > device_len {
            break;
        }
        let mut magic = [0; 6];
        storage
            .read_at(&mut magic, offset)
            .map_err(reading(offset))?;
        if is_magic(&magic) {
            storage
                .write_at(&[0; BINARY_HEADER_LEN], offset)
                .map_err(writing(offset))?;
            wiped = true;
        }
    }
    if wiped {
        storage.flush().map_err(flushing)?;
    }
    Ok(())
}

pub(crate) fn is_magic(bytes: &[u8; 6]) -> bool {
    bytes == b"LUKS\xba\xbe" || bytes == b"SKUL\xba\xbe"
}

/// Writes a new volume's header where none is valid any more.
///
/// First the keyslots area (random, with the key material in its place), flushed: a crash leaves no
/// magic, so no volume. Then the secondary copy, flushed, then the primary, flushed: a crash between
/// leaves one valid copy, which names only what is already durable.
pub(crate) fn write_new(
    storage: &dyn Storage,
    header: &Header,
    new: &NewVolume,
) -> Result<(), Error> {
    let layout = new.layout();
    fill_with_noise(storage, layout.keyslots_offset(), layout.keyslots_size)?;
    let (offset, material) = new.key_material();
    storage
        .write_at(material, offset)
        .map_err(writing(offset))?;
    storage.flush().map_err(flushing)?;
    for copy in [HeaderCopy::Secondary, HeaderCopy::Primary] {
        write_copy(storage, header, copy)?;
        storage.flush().map_err(flushing)?;
    }
    Ok(())
}

/// The salt of a header copy.
pub(crate) fn new_salt() -> Result<[u8; 64], Error> {
    let mut salt = [0; 64];
    getrandom::fill(&mut salt).map_err(random_failed)?;
    Ok(salt)
}

pub(crate) fn write_copy(
    storage: &dyn Storage,
    header: &Header,
    copy: HeaderCopy,
) -> Result<(), Error> {
    let offset = copy.offset(header.header_size());
    let bytes = header.encode(copy, new_salt()?)?;
    storage.write_at(&bytes, offset).map_err(writing(offset))
}

/// Zeros between the keyslots area and the data, so that nothing of the device's past shows there.
pub(crate) fn clear_before_data(storage: &dyn Storage, layout: &Layout) -> Result<(), Error> {
    let end = layout.data_offset.min(storage.len().map_err(measuring)?);
    clear(storage, layout.header_end()..end)
}

/// Writes zeros.
pub(crate) fn clear(storage: &dyn Storage, range: Range<u64>) -> Result<(), Error> {
    let zeros = vec![0; FILL_STEP_LEN_BYTES];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at)
            .unwrap_or(usize::MAX)
            .min(zeros.len());
        storage.write_at(&zeros[..len], at).map_err(writing(at))?;
        at += len as u64;
    }
    Ok(())
}

/// Bytes that look like key material: a keystream under a key that is forgotten at once. Drawing them
/// all from the system would take longer than writing them.
pub(crate) fn fill_with_noise(storage: &dyn Storage, offset: u64, len: u64) -> Result<(), Error> {
    let cipher = noise_cipher()?;
    let end = offset + len;
    let mut at = offset;
    let mut noise = vec![0; FILL_STEP_LEN_BYTES];
    while at < end {
        let step_len = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(noise.len());
        let step = &mut noise[..step_len.next_multiple_of(BLOCK_LEN_BYTES)];
        step.fill(0);
        cipher.encrypt((at - offset) / 512, step)?;
        storage
            .write_at(&step[..step_len], at)
            .map_err(writing(at))?;
        at += step_len as u64;
    }
    Ok(())
}

/// What makes noise of zeros: AES-XTS in units of 4096 bytes under a random key that goes with it.
pub(crate) fn noise_cipher() -> Result<SectorCipher, Error> {
    let spec: CipherSpec = "aes-xts-plain64".parse()?;
    let key = SecretBytes::random(64).map_err(random_failed)?;
    Ok(SectorCipher::new(&spec, &key, DataUnit::B4096)?)
}

pub(crate) fn random_failed(error: getrandom::Error) -> Error {
    Error::io(IoOp::Random, 0, std::io::Error::other(error))
}
