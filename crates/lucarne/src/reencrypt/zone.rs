//! A hot zone's bytes: read as they were, hashed, turned, written; and told apart after a crash.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use lucarne_storage::Storage;

use super::checksums::Checksums;
use super::side::Side;
use crate::Error;
use crate::bulk::worker_count;
use crate::error::{reading, writing};

/// Read, turned and written at once. A multiple of every sector and every block of checksums.
pub(super) const PIECE_LEN_BYTES: usize = 1 << 20;
/// The data of a re-encryption: where they are, and what turns them.
pub(super) struct Turner<'s> {
    pub(super) data: &'s dyn Storage,
    pub(super) old: Side,
    pub(super) new: Side,
    pub(super) pool: &'s rayon::ThreadPool,
}

impl Turner<'_> {
    /// Fills `buffer` with the old bytes of a zone from `at` on, and `checksums` with their hashes.
    pub(super) fn read_old(
        &self,
        buffer: &mut [u8],
        at: u64,
        checksums: Option<(Checksums, &mut [u8])>,
    ) -> Result<(), Error> {
        let offsets = (0_u64..).step_by(PIECE_LEN_BYTES);
        let pieces = buffer.chunks_mut(PIECE_LEN_BYTES).zip(offsets);
        let Some((kind, checksums)) = checksums else {
            return self.for_each(pieces, |(piece, offset)| {
                let at = at + offset;
                self.data.read_at(piece, at).map_err(reading(at))
            });
        };
        let hashes_len = PIECE_LEN_BYTES / kind.block_len * kind.hash_len();
        let pieces = pieces.zip(checksums.chunks_mut(hashes_len));
        self.for_each(pieces, |((piece, offset), checksums)| {
            let at = at + offset;
            self.data.read_at(piece, at).map_err(reading(at))?;
            self.pool.install(|| kind.of(piece, checksums));
            Ok(())
        })
    }

    /// Turns the old bytes in `buffer`, plaintext from byte `offset` on, into new ones, and writes them from
    /// `at` on.
    pub(super) fn write_new(&self, buffer: &mut [u8], offset: u64, at: u64) -> Result<(), Error> {
        let starts = (0_u64..).step_by(PIECE_LEN_BYTES);
        self.for_each(
            buffer.chunks_mut(PIECE_LEN_BYTES).zip(starts),
            |(piece, start)| {
                self.pool.install(|| self.turn(piece, offset + start))?;
                let at = at + start;
                self.data.write_at(piece, at).map_err(writing(at))
            },
        )
    }

    fn turn(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        self.old.decrypt_all(bytes, offset)?;
        self.new.encrypt(bytes, offset)
    }

    /// Finishes a zone of which `source` still has all old bytes from `from` on.
    pub(super) fn redo(
        &self,
        source: &dyn Storage,
        from: u64,
        zone: &Range<u64>,
        at: u64,
    ) -> Result<(), Error> {
        self.for_each(pieces_of(zone), |piece| {
            let mut bytes = vec![0; len_of(&piece)];
            let start = piece.start - zone.start;
            source
                .read_at(&mut bytes, from + start)
                .map_err(reading(from + start))?;
            self.turn(&mut bytes, piece.start)?;
            self.data
                .write_at(&bytes, at + start)
                .map_err(writing(at + start))
        })
    }

    /// Finishes a zone of which every block is old, new, or torn: part of its 512-byte sectors the one and part
    /// the other. The checksums, which lie on `area_storage` from `area` on, tell which. One that is none of
    /// that is an error, before anything of its piece is written.
    pub(super) fn redo_by_checksums(
        &self,
        kind: Checksums,
        area_storage: &dyn Storage,
        area: u64,
        zone: &Range<u64>,
        at: u64,
    ) -> Result<(), Error> {
        self.for_each(pieces_of(zone), |piece| {
            let start = piece.start - zone.start;
            let mut bytes = vec![0; len_of(&piece)];
            self.data
                .read_at(&mut bytes, at + start)
                .map_err(reading(at + start))?;
            let mut checksums =
                vec![0; usize::try_from(kind.len_for(bytes.len() as u64)).unwrap_or(0)];
            let checksums_at = area + kind.len_for(start);
            area_storage
                .read_at(&mut checksums, checksums_at)
                .map_err(reading(checksums_at))?;
            kind.restore(&mut bytes, &checksums, piece.start, [&self.old, &self.new])?;
            self.turn(&mut bytes, piece.start)?;
            self.data
                .write_at(&bytes, at + start)
                .map_err(writing(at + start))
        })
    }

    /// Has each item worked on by one of several threads; the first failure stops all and is returned.
    fn for_each<T: Send>(
        &self,
        items: impl Iterator<Item = T> + Send,
        work: impl Fn(T) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let items = Mutex::new(items.fuse());
        let failure = Mutex::new(None);
        let lock = |failure: &Mutex<Option<Error>>, error: Error| {
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(error);
        };
        std::thread::scope(|scope| {
            for _ in 0..worker_count(self.pool) {
                scope.spawn(|| {
                    loop {
                        if failure
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .is_some()
                        {
                            return;
                        }
                        let item = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                        match item.map(&work) {
                            Some(Ok(())) => {}
                            Some(Err(error)) => return lock(&failure, error),
                            None => return,
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn pieces_of(zone: &Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let end = zone.end;
    zone.clone()
        .step_by(PIECE_LEN_BYTES)
        .map(move |start| start..end.min(start.saturating_add(PIECE_LEN_BYTES as u64)))
}

fn len_of(piece: &Range<u64>) -> usize {
    // At most a piece's length.
    usize::try_from(piece.end.saturating_sub(piece.start)).unwrap_or(PIECE_LEN_BYTES)
}
