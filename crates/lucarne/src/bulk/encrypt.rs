//! A file, a device or a stream into a new volume.

use std::io::Read;

use lucarne_cipher::DataUnit;
use lucarne_format::luks2::SegmentSize;
use lucarne_storage::Storage;

use super::Source;
use super::extents::{Extents, Holes};
use super::pipeline::{self, Control, Parallelism, Piece, Sink};
use crate::any_header::LUKS1_SECTOR_LEN;
use crate::create::{AnyNewVolume, FormatOptions};
use crate::error::{IoOp, measuring, reading};
use crate::header_io::wipe_old_header;
use crate::length_token::LengthToken;
use crate::sector_map::SectorMap;
use crate::{Error, LuksVersion};

/// How much is read and encrypted before more is read: it is still in the L2 cache then.
pub(crate) const STEP_LEN_BYTES: usize = 128 << 10;

/// How a new volume is made from plaintext.
#[derive(Debug, Default)]
pub struct EncryptOptions<'a> {
    /// The volume's cipher, key derivation, sizes and names.
    pub format: FormatOptions,
    /// Leaves a hole in the ciphertext where the source has one. Our own readers give zeros there, others
    /// read noise; and an onlooker sees which parts hold data. Not for streams and devices, which have no
    /// holes.
    pub sparse: bool,
    /// Does not record the exact length: `decrypt` will give whole sectors. LUKS1 has no place for it, so that
    /// it must be left out there where plaintext and volume are not of one length.
    pub omit_length: bool,
    /// How many threads compute.
    pub parallelism: Parallelism<'a>,
}

impl EncryptOptions<'_> {
    /// Finds what would be refused, without a passphrase and before anything is paid for or written.
    /// `source_len`: bytes of plaintext, where they are known; `detached`: the header will lie apart from the data.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Unsupported`], as [`encrypt`] gives them.
    ///
    /// ```
    /// use lucarne::{EncryptOptions, FormatOptions, KdfKind, KdfRequest, LuksVersion};
    /// let kdf = KdfRequest { kind: KdfKind::Pbkdf2, ..KdfRequest::default() };
    /// let format = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
    /// let options = EncryptOptions { format, ..EncryptOptions::default() };
    /// assert!(options.check(Some(1024), false).is_ok());
    /// assert!(options.check(Some(1000), false).is_err());
    /// ```
    pub fn check(&self, source_len: Option<u64>, detached: bool) -> Result<(), Error> {
        if self.format.version == LuksVersion::Luks1 {
            if self.sparse {
                return Err(Error::refused(
                    "LUKS1 has no place to say that holes are holes (sparse); LUKS2 has",
                ));
            }
            if let Some(len) = source_len {
                self.check_luks1_len(len, padded(len, DataUnit::B512))?;
            }
        }
        self.format.check(detached)
    }

    /// That what `decrypt` will give, which is all that lies behind the header, is the plaintext.
    fn check_luks1_len(&self, plaintext_len: u64, volume_len: u64) -> Result<(), Error> {
        if self.omit_length || plaintext_len == volume_len {
            return Ok(());
        }
        Err(Error::refused(format!(
            "LUKS1 has no place for the plaintext's exact length: {plaintext_len} bytes would be read back as {volume_len}, as they may be if the length is left out"
        )))
    }

    /// The same of a volume that fills what is there, once the plaintext's length is known.
    fn check_end(
        &self,
        plaintext_len: u64,
        volume_len: u64,
        room: Option<u64>,
    ) -> Result<(), Error> {
        match self.format.version {
            LuksVersion::Luks2 => Ok(()),
            LuksVersion::Luks1 => {
                let whole =
                    room.map_or(volume_len, |room| room - room % u64::from(LUKS1_SECTOR_LEN));
                self.check_luks1_len(plaintext_len, whole)
            }
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encrypted {
    /// Bytes of plaintext taken from the source.
    pub plaintext_len: u64,
    /// Bytes of plaintext in the volume: whole sectors, at least one.
    pub volume_len: u64,
    /// The volume's UUID.
    pub uuid: String,
}

/// Makes a volume on `output` that holds the bytes of `source`, and flushes it.
///
/// `output` is an empty storage that grows, or one of fixed length (a device), whose old header is wiped
/// before anything else is written. With `detached_header` the header goes there and `output` holds
/// ciphertext only. The header is written last: a crash at any write leaves no volume that opens.
///
/// Plaintext that is not whole sectors is padded with zeros; its exact length is kept in a
/// `lucarne-length` token. Without a sector size in the options it is 4096 bytes, or 512 where the
/// source is whole 512-byte sectors only. On a longer device the segment has a fixed size. LUKS1 knows none of the
/// three: sectors of 512 bytes up to the device's end.
/// At most 64 MiB of memory are used besides the key derivation's.
///
/// # Errors
/// [`Error::Refused`] and [`Error::Unsupported`] from the options, [`Error::Device`] when a device is too
/// short, [`Error::Io`] from either side, [`Error::Interrupted`].
pub fn encrypt(
    source: Source<'_>,
    output: &dyn Storage,
    detached_header: Option<&dyn Storage>,
    passphrase: &[u8],
    options: &EncryptOptions<'_>,
    control: &Control,
) -> Result<Encrypted, Error> {
    let source_len = match &source {
        Source::Storage(storage) => Some(storage.len().map_err(measuring)?),
        Source::Stream(_) => None,
    };
    let detached = detached_header.is_some();
    options.check(source_len, detached)?;
    let sector_size = match options.format.version {
        LuksVersion::Luks1 => DataUnit::B512,
        LuksVersion::Luks2 => options
            .format
            .sector_size
            .unwrap_or_else(|| default_sector_size(source_len)),
    };
    let data_offset = options.format.first_data_byte(detached)?;
    let device_len = output.len().map_err(measuring)?;
    let room = match device_len {
        0 => None,
        _ => Some(device_len.saturating_sub(data_offset)),
    };
    if options.sparse && (source_len.is_none() || room.is_some()) {
        // What a device held before would be taken for ciphertext.
        return Err(Error::refused("streams and devices have no holes (sparse)"));
    }
    if let (Some(len), Some(room)) = (source_len, room) {
        check_room(padded(len, sector_size), room)?;
    }
    if let Some(len) = source_len {
        options.check_end(len, padded(len, sector_size), room)?;
    }

    let new = AnyNewVolume::derive(&options.format, passphrase, sector_size, detached)?;
    // The key derivation takes a while; who stopped it keeps the volume that was there.
    control.check()?;
    wipe_old_header(detached_header.unwrap_or(output))?;
    let plaintext_len = match source {
        Source::Storage(storage) => {
            let len = source_len.unwrap_or_default();
            let volume_len = padded(len, sector_size);
            control.set_total_bytes(volume_len);
            prepare_space(output, device_len, data_offset + volume_len, options.sparse)?;
            let map = new.sector_map(volume_len)?;
            encrypt_storage(storage, len, &map, output, options, control)?;
            len
        }
        Source::Stream(stream) => {
            let map = new.sector_map(room.unwrap_or(u64::MAX / 2))?;
            encrypt_stream(
                stream,
                sector_size,
                &map,
                output,
                options.parallelism,
                control,
            )?
        }
    };
    control.check()?;

    let volume_len = padded(plaintext_len, sector_size);
    let size = match room {
        Some(room) if room != volume_len => SegmentSize::Bytes(volume_len),
        _ => SegmentSize::Dynamic,
    };
    let token = LengthToken {
        length: (!options.omit_length && plaintext_len != volume_len).then_some(plaintext_len),
        sparse: options.sparse,
    };
    options.check_end(plaintext_len, volume_len, room)?;
    let uuid = new.write(output, room.is_some(), detached_header, (size, token))?;
    Ok(Encrypted {
        plaintext_len,
        volume_len,
        uuid,
    })
}

/// 4096 bytes, unless the source is a disk of 512-byte sectors, whose length padding would change.
pub(crate) fn default_sector_size(source_len: Option<u64>) -> DataUnit {
    match source_len {
        Some(len) if len.is_multiple_of(512) && !len.is_multiple_of(4096) => DataUnit::B512,
        _ => DataUnit::B4096,
    }
}

/// Whole sectors, at least one: a volume without any could not be opened.
pub(crate) fn padded(len: u64, sector_size: DataUnit) -> u64 {
    let sector_len = u64::from(sector_size.bytes());
    len.max(1).next_multiple_of(sector_len)
}

pub(crate) fn check_room(volume_len: u64, room: u64) -> Result<(), Error> {
    if volume_len > room {
        return Err(Error::device(format!(
            "{volume_len} bytes of data do not fit: the device has room for {room} after the header"
        )));
    }
    Ok(())
}

pub(crate) fn prepare_space(
    output: &dyn Storage,
    present: u64,
    len: u64,
    sparse: bool,
) -> Result<(), Error> {
    let prepared = match (present, sparse) {
        (0, false) => output.reserve(len),
        (0, true) => output.set_len(len),
        _ => Ok(()),
    };
    prepared.map_err(|source| Error::io(IoOp::Reserve, len, source))
}

fn encrypt_storage(
    source: &dyn Storage,
    source_len: u64,
    map: &SectorMap,
    output: &dyn Storage,
    options: &EncryptOptions<'_>,
    control: &Control,
) -> Result<(), Error> {
    let mut extents = if options.sparse {
        let holes = Holes {
            storage: source,
            offset: 0,
            granule: map.sector_len() as u64,
        };
        Extents::with_data(map.len(), holes)
    } else {
        Extents::all(map.len())
    };
    let read_and_encrypt = |piece: Piece, buffer: &mut [u8]| {
        let mut offset = piece.offset;
        for step in buffer.chunks_mut(STEP_LEN_BYTES) {
            // The last sector may reach past the source's end.
            let rest = source_len.saturating_sub(offset);
            let len = step.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            let (present, padding) = step.split_at_mut(len);
            source.read_at(present, offset).map_err(reading(offset))?;
            padding.fill(0);
            map.encrypt(step, offset)?;
            offset += step.len() as u64;
        }
        Ok(())
    };
    pipeline::run(
        options.parallelism,
        control,
        |buffer: &mut [u8]| extents.next(buffer.len(), control),
        read_and_encrypt,
        &Sink::Storage {
            storage: output,
            offset: map.data_offset(),
        },
    )
}

/// Gives the stream's length.
fn encrypt_stream(
    stream: &mut (dyn Read + Send),
    sector_size: DataUnit,
    map: &SectorMap,
    output: &dyn Storage,
    parallelism: Parallelism<'_>,
    control: &Control,
) -> Result<u64, Error> {
    let mut len: u64 = 0;
    let mut ended = false;
    let next_piece = |buffer: &mut [u8]| {
        if ended {
            return Ok(None);
        }
        let filled = fill(stream, buffer, len, control)?;
        ended = filled < buffer.len();
        let offset = len;
        len += filled as u64;
        if filled == 0 && offset != 0 {
            return Ok(None);
        }
        // At most the buffer's length, which is whole sectors.
        let piece_len = padded(filled as u64, sector_size) as usize;
        buffer[filled..piece_len].fill(0);
        match offset.checked_add(piece_len as u64) {
            Some(end) => check_room(end, map.len())?,
            None => return Err(Error::refused("the stream is longer than 2^64 bytes")),
        }
        Ok(Some(Piece {
            offset,
            len: piece_len,
        }))
    };
    pipeline::run(
        parallelism,
        control,
        next_piece,
        |piece: Piece, buffer: &mut [u8]| map.encrypt(buffer, piece.offset),
        &Sink::Storage {
            storage: output,
            offset: map.data_offset(),
        },
    )?;
    Ok(len)
}

/// Reads until the buffer is full or the stream ends.
fn fill(
    stream: &mut (dyn Read + Send),
    buffer: &mut [u8],
    offset: u64,
    control: &Control,
) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            // A signal: the caller may have asked to stop.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => control.check()?,
            Err(error) => return Err(Error::io(IoOp::Read, offset + filled as u64, error)),
        }
    }
    Ok(filled)
}
