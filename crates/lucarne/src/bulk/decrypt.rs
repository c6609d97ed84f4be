//! A volume's plaintext into a file, a device or a stream.

use std::sync::{Mutex, PoisonError};

use lucarne_storage::Storage;

use super::Destination;
use super::extents::{Extents, Holes};
use super::pipeline::{self, Control, Parallelism, Piece, Sink};
use crate::error::{IoOp, flushing, measuring};
use crate::{Error, Volume};

/// How a volume is decrypted.
#[derive(Debug, Default)]
pub struct DecryptOptions<'a> {
    /// Gives the whole plaintext, whatever length the `lucarne-length` token records.
    pub whole: bool,
    /// How many threads compute.
    pub parallelism: Parallelism<'a>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decrypted {
    /// Bytes of plaintext.
    pub plaintext_len: u64,
    /// The length that the `lucarne-length` token records, if it no longer holds: bytes past it have been
    /// written since, so all of the volume was given.
    pub outdated_len: Option<u64>,
}

/// Writes the plaintext of `volume` to `destination`.
///
/// The length that the `lucarne-length` token records is honoured while all bytes past it are zeros.
/// Sectors that were never written (sparse volumes) become holes where the destination can have them.
/// At most 64 MiB of memory are used.
///
/// # Errors
/// [`Error::Io`] from either side, [`Error::Device`] when a destination of fixed length is too short,
/// [`Error::Interrupted`]; [`Error::Refused`], before anything is written, when there is something
/// [unreadable](Volume::unreadable).
pub fn decrypt<S: Storage>(
    volume: &Volume<S>,
    destination: Destination<'_>,
    options: &DecryptOptions<'_>,
    control: &Control,
) -> Result<Decrypted, Error> {
    let decrypted = plaintext_len(volume, options.whole)?;
    let len = decrypted.plaintext_len;
    volume.check_readable(0..len)?;
    control.set_total_bytes(len);
    match destination {
        Destination::Stream(stream) => {
            let mut extents = Extents::all(len);
            let sink = Sink::Stream(Mutex::new(stream));
            pipeline::run(
                options.parallelism,
                control,
                |buffer: &mut [u8]| extents.next(buffer.len(), control),
                |piece: Piece, buffer: &mut [u8]| volume.read_at(buffer, piece.offset),
                &sink,
            )?;
            if let Sink::Stream(stream) = sink {
                // What a buffering writer still holds would be lost without a word.
                let stream = stream.into_inner().unwrap_or_else(PoisonError::into_inner);
                let failed = |source| Error::io(IoOp::Write, len, source);
                stream.flush().map_err(failed)?;
            }
        }
        Destination::Storage(storage) => {
            decrypt_to_storage(volume, storage, len, options.parallelism, control)?;
        }
    }
    Ok(decrypted)
}

fn decrypt_to_storage<S: Storage>(
    volume: &Volume<S>,
    storage: &dyn Storage,
    len: u64,
    parallelism: Parallelism<'_>,
    control: &Control,
) -> Result<(), Error> {
    let present = storage.len().map_err(measuring)?;
    // On a device that holds something, a hole would show what was there before.
    let leaves_holes = volume.reads_holes_as_zeros() && present == 0;
    prepare_length(storage, present, len, leaves_holes)?;
    let mut extents = if leaves_holes {
        Extents::with_data(
            len,
            Holes {
                storage: volume.storage(),
                offset: volume.data_offset(),
                granule: volume.sector_len() as u64,
            },
        )
    } else {
        Extents::all(len)
    };
    pipeline::run(
        parallelism,
        control,
        |buffer: &mut [u8]| extents.next(buffer.len(), control),
        |piece: Piece, buffer: &mut [u8]| volume.read_at(buffer, piece.offset),
        &Sink::Storage { storage, offset: 0 },
    )?;
    storage.flush().map_err(flushing)
}

/// A new file gets its length and its space; a device must be long enough.
fn prepare_length(
    storage: &dyn Storage,
    present: u64,
    len: u64,
    leaves_holes: bool,
) -> Result<(), Error> {
    if present >= len && present != 0 {
        return Ok(());
    }
    let prepared = if leaves_holes {
        storage.set_len(len)
    } else {
        storage.reserve(len)
    };
    prepared.map_err(|source| match present {
        0 => Error::io(IoOp::Reserve, len, source),
        // A device cannot be lengthened.
        _ => Error::device(format!(
            "{len} bytes of plaintext for {present} bytes of device"
        )),
    })
}

/// How many bytes [`decrypt`] gives, and whether those that were recorded are out of date.
///
/// # Errors
/// As [`Volume::read_at`]: what lies behind the recorded length is looked at.
pub fn plaintext_len<S: Storage>(volume: &Volume<S>, whole: bool) -> Result<Decrypted, Error> {
    let recorded = volume
        .length_token()
        .and_then(|token| token.length)
        .filter(|_| !whole);
    let holds = match recorded {
        Some(len) if len <= volume.len() => {
            volume.check_readable(len..volume.len())?;
            volume.is_zero_from(len)?
        }
        _ => false,
    };
    Ok(Decrypted {
        plaintext_len: recorded.filter(|_| holds).unwrap_or(volume.len()),
        outdated_len: recorded.filter(|_| !holds),
    })
}
