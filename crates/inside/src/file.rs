//! An open file.

use std::io;
use std::ops::Range;

use lucarne_storage::ReadAt;

use crate::layout::{Layout, Place};

/// What a journal writes over the first four bytes of a block that begins with them.
const JOURNAL_MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

/// How the source is read: [`ReadAt::read_exact_at`] or [`ReadAt::load_exact_at`].
type Reading = fn(&dyn ReadAt, &mut [u8], u64) -> io::Result<()>;

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

    fn read(&self, buf: &mut [u8], offset: u64, reading: Reading) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the file ends at byte {}", self.len()),
            ));
        }
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
            reading(self.source, piece, place + into)?;
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
        self.read(buf, offset, |source, piece, place| {
            source.read_exact_at(piece, place)
        })
    }

    fn load_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read(buf, offset, |source, piece, place| {
            source.load_exact_at(piece, place)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::layout::Extent;

    /// Counts how it is read.
    #[derive(Default)]
    struct Counted {
        bytes: Vec<u8>,
        reads: AtomicUsize,
        loads: AtomicUsize,
    }

    impl ReadAt for Counted {
        fn len_bytes(&self) -> io::Result<u64> {
            self.bytes.len_bytes()
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.bytes.read_exact_at(buf, offset)
        }

        fn load_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.loads.fetch_add(1, Ordering::Relaxed);
            self.bytes.load_exact_at(buf, offset)
        }
    }

    #[test]
    fn what_is_loaded_is_loaded_from_the_source_too() {
        let source = Counted {
            bytes: (0..100).collect(),
            ..Counted::default()
        };
        let extents = [(0, 10, 40), (10, 10, 80)].map(|(start, len, at)| Extent {
            start,
            len,
            place: Place::At(at),
        });
        let layout = Layout::Extents {
            extents: extents.into(),
            len: 25,
        };
        let file = File::new(&source, layout);
        let mut buf = [1; 25];
        let expected: Vec<u8> = (40..50).chain(80..90).chain([0; 5]).collect();
        file.load_exact_at(&mut buf, 0).unwrap();
        assert_eq!(
            (source.loads.load(Ordering::Relaxed), &buf[..]),
            (2, &expected[..])
        );
        buf.fill(1);
        file.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(
            (source.reads.load(Ordering::Relaxed), &buf[..]),
            (2, &expected[..])
        );
        let past = file.load_exact_at(&mut buf, 1).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
    }
}
