//! The plaintext of a volume whose re-encryption is unfinished, without one byte written.
//!
//! The regular segments of such a header, in the order of their numbers, form the plaintext one after the
//! other. Each is still as before or already as it will be, but for one that a crash left in between: the hot
//! zone, `in-reencryption` (specification 3.4 and 3.2.4). Of that, the `reencrypt` keyslot's area tells what
//! the old bytes are:
//!
//! ```text
//! checksum           one hash for each of the zone's blocks: a block that has it is still old, one that had it
//!                    before it was turned is new, and one that was torn can be put together
//! journal            the old bytes of the whole zone
//! datashift          nothing: new bytes go elsewhere, the old ones are where they were
//! datashift-...      as datashift; as the other for the head of the data, which is converted in its place
//! none               nothing, and so nobody can tell old from new
//! ```
//! (cryptsetup marks no hot zone at all without resilience, and writes segments only when it is stopped in an
//! orderly way: after a crash they are out of date, and nothing in the header tells. It goes on from them too.)
//! In all of them the IV of a sector is its place in the plaintext, whichever key it is under.

mod layout;
mod unlocking;

use std::ops::Range;

use lucarne_storage::Storage;

pub(crate) use layout::check_supported;
pub(super) use unlocking::unlock_what_is_left;
pub(crate) use unlocking::{is_unfinished, keys_of_one, unlock_both};
pub use unlocking::{unlock_vouched, vouch};

use crate::Error;
use crate::error::reading;

use super::checksums::Checksums;
use super::side::Side;

/// Read and decrypted in one go, unless a block of checksums is longer.
const STEP_LEN_BYTES: usize = 128 << 10;

/// The plaintext of a half re-encrypted volume, by position.
pub(crate) struct HalfDone {
    /// As the data were; of the head that a data shift moved away too, for it has the same cipher.
    old: Side,
    /// As they will be.
    new: Side,
    /// In order, without a gap, from 0.
    pieces: Vec<Piece>,
    len: u64,
    data_offset: u64,
}

/// A part of the plaintext, and where to find it.
struct Piece {
    range: Range<u64>,
    state: State,
}

enum State {
    /// As before, at this byte of the data device.
    Old { at: u64 },
    /// As it will be, at this byte of the data device.
    New { at: u64 },
    /// Block by block the one or the other, at this byte of the data device; `hashes` tell which.
    Checksums {
        at: u64,
        checksums: Checksums,
        hashes: Vec<u8>,
    },
    /// As before, kept here.
    Journal(Vec<u8>),
    /// Nobody can tell.
    Unknown,
}

impl HalfDone {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The larger of both sides' sectors.
    pub(crate) fn sector_len(&self) -> usize {
        self.old.sector_len().max(self.new.sector_len()).max(512)
    }

    pub(crate) fn data_offset(&self) -> u64 {
        self.data_offset
    }

    pub(crate) fn with_zeros_as_holes(mut self) -> Self {
        self.old = self.old.with_zeros_as_holes();
        self.new = self.new.with_zeros_as_holes();
        self
    }

    /// The hot zone, if nobody can tell which of its bytes are old.
    pub(crate) fn unknown(&self) -> Option<Range<u64>> {
        let mut pieces = self.pieces.iter();
        let unknown = pieces.find(|piece| matches!(piece.state, State::Unknown))?;
        Some(unknown.range.clone())
    }

    /// Fills `buf` with plaintext, or with nothing if a part of it cannot be had.
    pub(crate) fn read_at(
        &self,
        storage: &dyn Storage,
        mut buf: &mut [u8],
        mut offset: u64,
    ) -> Result<(), Error> {
        self.check_range(buf.len(), offset)?;
        let first = self
            .pieces
            .partition_point(|piece| piece.range.end <= offset);
        for piece in &self.pieces[first..] {
            if buf.is_empty() {
                break;
            }
            let rest = usize::try_from(piece.range.end - offset).unwrap_or(usize::MAX);
            let (part, after) = buf.split_at_mut(rest.min(buf.len()));
            self.read_piece(storage, piece, part, offset)?;
            offset += part.len() as u64;
            buf = after;
        }
        Ok(())
    }

    pub(crate) fn check_range(&self, len: usize, offset: u64) -> Result<(), Error> {
        let end = offset
            .checked_add(len as u64)
            .filter(|&end| end <= self.len);
        let Some(end) = end else {
            return Err(Error::refused(format!(
                "{len} bytes at offset {offset} reach past the end of the plaintext at {}",
                self.len
            )));
        };
        match self.unknown() {
            Some(unknown) if unknown.start < end && offset < unknown.end => {
                Err(unknown_bytes(&unknown))
            }
            _ => Ok(()),
        }
    }

    fn read_piece(
        &self,
        storage: &dyn Storage,
        piece: &Piece,
        mut buf: &mut [u8],
        mut offset: u64,
    ) -> Result<(), Error> {
        let unit = match &piece.state {
            State::Old { .. } | State::Journal(_) => self.old.sector_len(),
            State::New { .. } => self.new.sector_len(),
            State::Checksums { checksums, .. } => checksums.block_len,
            State::Unknown => 1,
        };
        let mut partial = Vec::new();
        while !buf.is_empty() {
            // Less than a unit, so it fits.
            let into_unit = ((offset - piece.range.start) % unit as u64) as usize;
            let len = if into_unit == 0 && buf.len() >= unit {
                let whole = buf.len() - buf.len() % unit;
                let len = whole.min(STEP_LEN_BYTES.next_multiple_of(unit));
                self.read_units(storage, piece, &mut buf[..len], offset)?;
                len
            } else {
                partial.resize(unit, 0);
                self.read_units(storage, piece, &mut partial, offset - into_unit as u64)?;
                let len = buf.len().min(unit - into_unit);
                buf[..len].copy_from_slice(&partial[into_unit..into_unit + len]);
                len
            };
            buf = &mut buf[len..];
            offset += len as u64;
        }
        Ok(())
    }

    fn read_units(
        &self,
        storage: &dyn Storage,
        piece: &Piece,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), Error> {
        let into_piece = offset - piece.range.start;
        let read = |buf: &mut [u8], at: u64| {
            let at = at + into_piece;
            storage.read_at(buf, at).map_err(reading(at))
        };
        match &piece.state {
            State::Old { at } => {
                read(buf, *at)?;
                self.old.decrypt(buf, offset)
            }
            State::New { at } => {
                read(buf, *at)?;
                self.new.decrypt(buf, offset)
            }
            State::Checksums {
                at,
                checksums,
                hashes,
            } => {
                read(buf, *at)?;
                // The hashes are those of the whole zone, and in memory, so the number fits.
                let hashes = &hashes[checksums.len_for(into_piece) as usize..];
                checksums.restore(buf, hashes, offset, [&self.old, &self.new])?;
                self.old.decrypt(buf, offset)
            }
            State::Journal(kept) => {
                // As long as the zone, and so in memory.
                let start = into_piece as usize;
                buf.copy_from_slice(&kept[start..start + buf.len()]);
                self.old.decrypt(buf, offset)
            }
            State::Unknown => Err(unknown_bytes(&piece.range)),
        }
    }
}

pub(crate) fn unknown_bytes(range: &Range<u64>) -> Error {
    Error::refused(format!(
        "the re-encryption was interrupted in bytes {}..{} of the plaintext, and nothing tells which of them \
         are still under the old key: the rest can be read",
        range.start, range.end
    ))
}
