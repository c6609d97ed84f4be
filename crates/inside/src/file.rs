//! An open file.

use std::io;
use std::ops::Range;

use lucarne_storage::ReadAt;

use crate::layout::{Layout, Place};

/// What a journal writes over the first four bytes of a block that begins with them.
const JOURNAL_MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

/// A regular file in a file system: read by position, by any number of threads, straight from where its bytes lie.
///
/// [`crate::FileSystem`] has an example.
pub struct File<'f> {
    source: &'f dyn ReadAt,
    layout: Layout,
}

impl std::fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("len_bytes", &self.len())
            .finish_non_exhaustive()
    }
}

impl<'f> File<'f> {
    pub(crate) fn new(source: &'f dyn ReadAt, layout: Layout) -> Self {
        Self { source, layout }
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.layout.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next range at or after `from` that is not a hole; `None` past the last. Holes read as zeros.
    pub fn next_data(&self, from: u64) -> Option<Range<u64>> {
        let range = match &self.layout {
            Layout::Inline(bytes) => from..bytes.len() as u64,
            Layout::Extents { extents, .. } => {
                let index = extents.partition_point(|extent| extent.start + extent.len <= from);
                let extent = extents.get(index)?;
                extent.start.max(from)..extent.start + extent.len
            }
        };
        (range.start < range.end).then_some(range)
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let extents = match &self.layout {
            Layout::Inline(bytes) => return bytes.read_exact_at(buf, offset),
            Layout::Extents { extents, .. } => extents,
        };
        let mut index = extents.partition_point(|extent| extent.start + extent.len <= offset);
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let extent = extents.get(index);
            let until = extent.map_or(u64::MAX, |extent| extent.start);
            if at < until {
                let hole = usize::try_from(until - at).unwrap_or(usize::MAX);
                let (zeros, after) = rest.split_at_mut(hole.min(rest.len()));
                zeros.fill(0);
                at += zeros.len() as u64;
                rest = after;
                continue;
            }
            let Some(extent) = extent else {
                break;
            };
            let into = at - extent.start;
            let len = usize::try_from(extent.len - into).unwrap_or(usize::MAX);
            let (piece, after) = rest.split_at_mut(len.min(rest.len()));
            let (Place::At(place) | Place::Escaped(place)) = extent.place;
            self.source.read_exact_at(piece, place + into)?;
            if let (Place::Escaped(_), 0..4) = (extent.place, into) {
                let magic = &JOURNAL_MAGIC[into as usize..];
                let len = magic.len().min(piece.len());
                piece[..len].copy_from_slice(&magic[..len]);
            }
            at += piece.len() as u64;
            rest = after;
            index += 1;
        }
        Ok(())
    }
}

impl ReadAt for File<'_> {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the file ends at byte {}", self.len()),
            ));
        }
        self.read(buf, offset)
    }
}
