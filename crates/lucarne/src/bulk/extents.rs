//! Which pieces of a long range must be dealt with.

use lucarne_storage::Storage;

use super::pipeline::{Control, Piece};
use crate::Error;
use crate::error::reading;

/// The pieces of `0..len`, in order: all of them, or only those over which a storage has data.
pub(crate) struct Extents<'s> {
    next: u64,
    /// End of the data around `next`.
    data_end: u64,
    len: u64,
    /// Looked at for holes; `None`: everything counts as data.
    holes: Option<Holes<'s>>,
}

/// The storage whose holes are left out.
pub(crate) struct Holes<'s> {
    pub(crate) storage: &'s dyn Storage,
    /// Where the range begins on it.
    pub(crate) offset: u64,
    /// Pieces begin and end at multiples of this, or at the range's end.
    pub(crate) granule: u64,
}

impl<'s> Extents<'s> {
    pub(crate) fn all(len: u64) -> Self {
        Self {
            next: 0,
            data_end: len,
            len,
            holes: None,
        }
    }

    pub(crate) fn with_data(len: u64, holes: Holes<'s>) -> Self {
        Self {
            next: 0,
            data_end: 0,
            len,
            holes: Some(holes),
        }
    }

    /// Leaves out what lies before `offset`.
    pub(crate) fn starting_at(mut self, offset: u64) -> Self {
        self.next = offset.min(self.len);
        self
    }

    /// The next piece of at most `len_max` bytes; holes that are passed over count as done.
    pub(crate) fn next(
        &mut self,
        len_max: usize,
        control: &Control,
    ) -> Result<Option<Piece>, Error> {
        if self.next >= self.data_end {
            let found = self.find_data()?;
            control.add_done_bytes(found - self.next);
            self.next = found;
        }
        if self.next >= self.len {
            return Ok(None);
        }
        // Pieces end at multiples of their greatest length, so that direct I/O stays aligned after a hole.
        let border = (self.next / len_max as u64 + 1) * len_max as u64;
        let end = border.min(self.data_end);
        let piece = Piece {
            offset: self.next,
            // At most `len_max`, so it fits.
            len: (end - self.next) as usize,
        };
        self.next = end;
        Ok(Some(piece))
    }

    /// Where the next data begins (the range's end if nowhere); sets `data_end`.
    fn find_data(&mut self) -> Result<u64, Error> {
        let Some(holes) = &self.holes else {
            return Ok(self.len);
        };
        if self.next >= self.len {
            return Ok(self.len);
        }
        let at = holes.offset + self.next;
        let Some(data) = holes.storage.next_data(at).map_err(reading(at))? else {
            self.data_end = self.len;
            return Ok(self.len);
        };
        let start = (data.start - holes.offset) / holes.granule * holes.granule;
        let end = (data.end - holes.offset).next_multiple_of(holes.granule);
        self.data_end = end.min(self.len);
        Ok(start.clamp(self.next, self.len))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::ops::Range;

    use super::*;

    /// Has data in the given ranges only.
    struct Holey(Vec<Range<u64>>, u64);

    impl Storage for Holey {
        fn len(&self) -> io::Result<u64> {
            Ok(self.1)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn discard(&self, _: Range<u64>) -> io::Result<()> {
            Ok(())
        }
        fn next_data(&self, from: u64) -> io::Result<Option<Range<u64>>> {
            Ok(self
                .0
                .iter()
                .find(|data| data.end > from)
                .map(|data| data.start.max(from)..data.end))
        }
    }

    fn pieces(extents: &mut Extents<'_>, len_max: usize, control: &Control) -> Vec<Range<u64>> {
        let mut pieces = Vec::new();
        while let Some(piece) = extents.next(len_max, control).unwrap() {
            pieces.push(piece.offset..piece.offset + piece.len as u64);
        }
        pieces
    }

    #[test]
    fn without_holes_every_byte_is_in_one_piece() {
        let control = Control::default();
        let found = pieces(&mut Extents::all(10_000), 4096, &control);
        assert_eq!(found, [0..4096, 4096..8192, 8192..10_000]);
        assert!(pieces(&mut Extents::all(0), 4096, &control).is_empty());
    }

    #[test]
    fn holes_are_passed_over_and_counted() {
        let storage = Holey(vec![1000..1700, 9000..9001, 20_000..30_000], 30_000);
        let control = Control::default();
        let holes = Holes {
            storage: &storage,
            offset: 500,
            granule: 512,
        };
        let found = pieces(&mut Extents::with_data(25_000, holes), 4096, &control);
        assert_eq!(
            found,
            [
                0..1536,
                8192..8704,
                19_456..20_480,
                20_480..24_576,
                24_576..25_000
            ]
        );
        let data: u64 = found.iter().map(|range| range.end - range.start).sum();
        assert_eq!(control.done_bytes(), 25_000 - data);
    }

    #[test]
    fn a_storage_of_holes_has_no_piece() {
        let storage = Holey(vec![], 1 << 20);
        let control = Control::default();
        let holes = Holes {
            storage: &storage,
            offset: 0,
            granule: 4096,
        };
        assert!(pieces(&mut Extents::with_data(1 << 20, holes), 4096, &control).is_empty());
        assert_eq!(control.done_bytes(), 1 << 20);
    }
}
