//! Where a file's bytes lie.

use crate::Error;

/// The most pieces that one file may be in: each takes 24 bytes of memory.
const MAX_EXTENTS: usize = 1 << 20;

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte in the file.
    pub(crate) start: u64,
    /// Bytes, at least one.
    pub(crate) len: u64,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// From this byte of the file system on.
    At(u64),
    /// As [`Self::At`], but the first four bytes are others (a block of a journal).
    Escaped(u64),
}

/// All pieces of a file, in order; what lies between them, and behind the last, is zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    Extents {
        extents: Vec<Extent>,
        len: u64,
    },
    /// The bytes lie in the metadata.
    Inline(Vec<u8>),
}

impl Layout {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Extents { len, .. } => *len,
            Self::Inline(bytes) => bytes.len() as u64,
        }
    }
}

/// Collects pieces in the order of the file, joins those that meet, and cuts at the file's end.
#[derive(Debug)]
pub(crate) struct Collector {
    extents: Vec<Extent>,
    len: u64,
}

impl Collector {
    pub(crate) fn new(len: u64) -> Self {
        Self {
            extents: Vec::new(),
            len,
        }
    }

    /// Where the last piece ends.
    pub(crate) fn end(&self) -> u64 {
        self.extents.last().map_or(0, |last| last.start + last.len)
    }

    /// The pieces must come in order; the caller has checked that none overlaps.
    pub(crate) fn push(&mut self, start: u64, len: u64, place: Place) -> Result<(), Error> {
        let len = len.min(self.len.saturating_sub(start));
        if len == 0 {
            return Ok(());
        }
        if let (Some(last), Place::At(at)) = (self.extents.last_mut(), place)
            && last.start + last.len == start
            && last.place == Place::At(at.wrapping_sub(last.len))
        {
            last.len += len;
            return Ok(());
        }
        if self.extents.len() == MAX_EXTENTS {
            return Err(Error::unsupported(format!(
                "a file in more than {MAX_EXTENTS} pieces"
            )));
        }
        self.extents.push(Extent { start, len, place });
        Ok(())
    }

    pub(crate) fn finish(self) -> Layout {
        Layout::Extents {
            extents: self.extents,
            len: self.len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_meet_are_one_and_the_end_is_the_files() {
        let mut collector = Collector::new(10_000);
        for (start, len, at) in [
            (0, 4096, 8192),
            (4096, 4096, 12288),
            (8192, 4096, 40960),
            (20_000, 5, 0),
        ] {
            collector.push(start, len, Place::At(at)).unwrap();
        }
        assert_eq!(collector.end(), 10_000);
        let extent = |start, len, at| Extent {
            start,
            len,
            place: Place::At(at),
        };
        assert_eq!(
            collector.finish(),
            Layout::Extents {
                extents: vec![extent(0, 8192, 8192), extent(8192, 1808, 40960)],
                len: 10_000
            }
        );
    }
}
