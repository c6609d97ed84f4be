//! The head of plaintext that is encrypted in place: out of the way of a header that takes its bytes.
//!
//! ```text
//! 0          shift                     data_len       data_len + shift    data_len + 2 shift
//! | head    | the rest of the plaintext | spare         | the head's copy | end of the device
//! | header  | …
//! ```
//! The user has given up what lies behind `data_len`. No header can be written without harm to the head, and no header
//! is written in one go. So what is going to be written lies in the spare room before, each bit inverted so that nobody
//! takes it for a header there, and is put together from it:
//!
//! | write | flushed before it | a crash after it leaves |
//! |---|---|---|
//! | the copy of the head | | the plaintext |
//! | the header's bytes into the spare room | the copy | the plaintext |
//! | key material into its area | the spare header | a head of which each 512 bytes are those of the copy or those of the spare header: [`Displaced::interrupted`] |
//! | the secondary header | the material | the same; cryptsetup can repair it, once it is whole |
//! | the primary header | the secondary | the same, or an encryption that has begun |
//! | noise over what is left of the head | the primary | an encryption that has begun; the noise is written again when it is taken up |
//!
//! The spare header is trusted with nothing: it must be whole, describe exactly this shift, and be vouched for by the
//! passphrase. A head of which any sector is neither the copy's nor the spare header's was written by somebody else
//! since, and is plaintext; so is one that is all the copy's. The spare room is where the first zone of the data goes;
//! what data shorter than the shift would leave of it is overwritten with noise, too.

use std::io;
use std::ops::Range;

use lucarne_format::luks2::{Header, HeaderCopy, Keyslot, ReencryptMode, Segment, Selected};
use lucarne_storage::Storage;

use crate::error::{flushing, reading, writing};
use crate::header_io::{fill_with_noise, new_salt, random_failed};
use crate::{Error, read_header};

const SECTOR_LEN_BYTES: usize = 512;
const PIECE_LEN_BYTES: usize = 1 << 20;
const BLOCK_LEN_BYTES: u64 = 4096;
/// Two copies of the longest header and the area of one key.
const IMAGE_LEN_MAX: u64 = 16 << 20;

/// Where the head and what takes its place lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Displaced {
    pub(super) head_len: u64,
    pub(super) data_len: u64,
    pub(super) shift: u64,
}

/// A header that was being written over the head.
pub(super) struct Interrupted {
    pub(super) selected: Selected,
    /// Its bytes, key material included.
    pub(super) bytes: Vec<u8>,
}

impl Displaced {
    /// As far behind its place as all data move, so that cryptsetup can read a whole shift of it.
    pub(super) fn moved_at(&self) -> u64 {
        self.data_len.saturating_add(self.shift)
    }

    /// Behind the plaintext and behind the header; the longer of two pieces where the copy of short data lies between.
    fn spare_room(&self) -> Range<u64> {
        let moved_end = self.moved_at().saturating_add(self.head_len);
        let before = self.data_len.max(self.shift)..self.moved_at();
        let behind = self.unused();
        match before.end - before.start >= behind.end.saturating_sub(behind.start) {
            true => before,
            false => moved_end..behind.end,
        }
    }

    /// What short data leave behind the copy of their head.
    fn unused(&self) -> Range<u64> {
        let moved_end = self.moved_at().saturating_add(self.head_len);
        moved_end..self.moved_at().saturating_add(self.shift)
    }

    /// The header before it is written, as if it lay where it belongs.
    pub(super) fn spare<'s>(&self, storage: &'s dyn Storage) -> Spare<'s> {
        Spare {
            storage,
            room: self.spare_room(),
            len: self.shift,
        }
    }

    /// Whether there is room for a header of so many bytes, here and before the data.
    pub(super) fn check_room(&self, len: u64) -> Result<(), Error> {
        let spare = self.spare_room();
        let room = (spare.end - spare.start).min(self.shift).min(IMAGE_LEN_MAX);
        match len <= room {
            true => Ok(()),
            false => Err(Error::refused(format!(
                "a header of {len} bytes with its first keyslot cannot be written safely: there is room for {room}"
            ))),
        }
    }

    pub(super) fn move_head(&self, storage: &dyn Storage) -> Result<(), Error> {
        copy(storage, 0, self.moved_at(), self.head_len)
    }

    pub(super) fn keep_spare(&self, storage: &dyn Storage, bytes: &[u8]) -> Result<(), Error> {
        let mut inverted = bytes.to_vec();
        invert(&mut inverted);
        write(storage, &inverted, self.spare_room().start)
    }

    /// Writes the header over the head, of which there is a copy.
    pub(super) fn install(
        &self,
        storage: &dyn Storage,
        header: &Header,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let copy_len = usize::try_from(header.header_size()).unwrap_or(usize::MAX);
        let (copies, material) = bytes.split_at((2 * copy_len).min(bytes.len()));
        let (primary, secondary) = copies.split_at(copy_len.min(copies.len()));
        write(storage, material, copies.len() as u64)?;
        write(storage, secondary, primary.len() as u64)?;
        write(storage, primary, 0)?;
        clear_displaced(storage, header, self.shift, self.unused())
    }

    /// The header that a crash kept from being written over the head, if it did.
    pub(super) fn interrupted(&self, storage: &dyn Storage) -> Result<Option<Interrupted>, Error> {
        let Ok(selected) = read_header(&self.spare(storage)) else {
            return Ok(None);
        };
        let len = image_len(&selected.header);
        if !self.is_described_by(&selected.header) || self.check_room(len).is_err() {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        read(&self.spare(storage), &mut bytes, 0)?;
        let mut is_displaced = false;
        let mut at = 0;
        while at < self.head_len {
            let piece_len = (self.head_len - at).min(PIECE_LEN_BYTES as u64);
            let mut piece = vec![0; usize::try_from(piece_len).unwrap_or(PIECE_LEN_BYTES)];
            let mut kept = piece.clone();
            read(storage, &mut piece, at)?;
            read(storage, &mut kept, self.moved_at().saturating_add(at))?;
            let new = bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..);
            let new = new.unwrap_or_default().chunks(SECTOR_LEN_BYTES);
            let mut new = new.map(Some).chain(std::iter::repeat(None));
            let sectors = piece.chunks(SECTOR_LEN_BYTES);
            for (now, old) in sectors.zip(kept.chunks(SECTOR_LEN_BYTES)) {
                let new = new.next().flatten();
                if now == old {
                    continue;
                }
                if new != Some(now) {
                    return Ok(None);
                }
                is_displaced = true;
            }
            at += piece_len;
        }
        Ok(is_displaced.then_some(Interrupted { selected, bytes }))
    }

    fn is_described_by(&self, header: &Header) -> bool {
        header.metadata().reencryption().is_some_and(|described| {
            let keyslot = described.keyslot;
            let moved = described.moved.map(Segment::offset);
            keyslot.mode == ReencryptMode::Encrypt
                && keyslot.resilience.shift_size() == Some(self.shift)
                && described.last.offset() == self.shift
                && moved == Some(self.moved_at())
        })
    }
}

/// A device that begins with the spare room and is as long as what is before the data. It is only read.
pub(super) struct Spare<'s> {
    storage: &'s dyn Storage,
    room: Range<u64>,
    len: u64,
}

impl Storage for Spare<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Nothing that is looked at lies past the room: noise.
        let room = self.room.end.saturating_sub(self.room.start);
        let there = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (there, past) = buf.split_at_mut(there.min(buf.len()));
        past.fill(0);
        match there.is_empty() {
            true => Ok(()),
            false => {
                let at = self.room.start.saturating_add(offset);
                self.storage.read_at(there, at)?;
                invert(there);
                Ok(())
            }
        }
    }

    fn write_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn discard(&self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// What is written over the head: both copies of the header, and the area of its keyslot.
pub(super) fn image(
    header: &Header,
    (material_at, material): (u64, &[u8]),
) -> Result<Vec<u8>, Error> {
    let len = image_len(header);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let copies_len = usize::try_from(2 * header.header_size()).unwrap_or(usize::MAX);
    getrandom::fill(bytes.get_mut(copies_len..).unwrap_or_default()).map_err(random_failed)?;
    let mut put = |at: u64, part: &[u8]| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let place = at
            .checked_add(part.len())
            .and_then(|end| bytes.get_mut(at..end));
        match place {
            Some(place) => {
                place.copy_from_slice(part);
                Ok(())
            }
            None => Err(Error::refused(
                "a keyslot's area lies outside of its header",
            )),
        }
    };
    put(material_at, material)?;
    for copy in [HeaderCopy::Primary, HeaderCopy::Secondary] {
        let encoded = header.encode(copy, new_salt()?)?;
        put(copy.offset(header.header_size()), &encoded)?;
    }
    Ok(bytes)
}

pub(super) fn image_len(header: &Header) -> u64 {
    key_areas_end(header).next_multiple_of(BLOCK_LEN_BYTES)
}

fn key_areas_end(header: &Header) -> u64 {
    let ends = keyslots_with_keys(header).map(|area| area.end);
    ends.fold(2 * header.header_size(), u64::max)
        .min(IMAGE_LEN_MAX + 1)
}

fn keyslots_with_keys(header: &Header) -> impl Iterator<Item = Range<u64>> {
    let keyslots = header.metadata().keyslots().values();
    keyslots
        .filter(|keyslot| !matches!(keyslot, Keyslot::Reencrypt(_)))
        .map(Keyslot::area_range)
}

/// Noise over what the header has not written before its data, the head's plaintext, and over `unused` room behind the
/// copy of the head.
pub(in crate::reencrypt) fn clear_displaced(
    storage: &dyn Storage,
    header: &Header,
    data_offset: u64,
    unused: Range<u64>,
) -> Result<(), Error> {
    let mut areas: Vec<_> = keyslots_with_keys(header).collect();
    areas.sort_by_key(|area| area.start);
    areas.push(data_offset..data_offset);
    let mut at = 2 * header.header_size();
    for area in areas {
        if area.start > at {
            fill_with_noise(storage, at, area.start - at)?;
        }
        at = at.max(area.end);
    }
    if !unused.is_empty() {
        fill_with_noise(storage, unused.start, unused.end - unused.start)?;
    }
    storage.flush().map_err(flushing)
}

/// As much as is there, and durable.
pub(super) fn copy(storage: &dyn Storage, from: u64, to: u64, len: u64) -> Result<(), Error> {
    let mut piece = Vec::new();
    let mut done = 0;
    while done < len {
        let piece_len = (len - done).min(PIECE_LEN_BYTES as u64);
        piece.resize(usize::try_from(piece_len).unwrap_or(PIECE_LEN_BYTES), 0);
        read(storage, &mut piece, from.saturating_add(done))?;
        let at = to.saturating_add(done);
        storage.write_at(&piece, at).map_err(writing(at))?;
        done += piece_len;
    }
    storage.flush().map_err(flushing)
}

fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

fn read(storage: &dyn Storage, bytes: &mut [u8], at: u64) -> Result<(), Error> {
    storage.read_at(bytes, at).map_err(reading(at))
}

fn write(storage: &dyn Storage, bytes: &[u8], at: u64) -> Result<(), Error> {
    storage.write_at(bytes, at).map_err(writing(at))?;
    storage.flush().map_err(flushing)
}
