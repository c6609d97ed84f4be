//! A hot zone's bytes: read as they were, hashed, turned, written; and told apart after a crash.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use lucarne_storage::{AlignedBuffer, Storage};

use super::checksums::Checksums;
use super::side::Side;
use crate::bulk::worker_count;
use crate::error::{reading, writing};
use crate::{Control, Error};

/// Read, turned and written at once. A multiple of every sector and every block of checksums.
pub(super) const PIECE_LEN_BYTES: usize = 1 << 20;

/// The data of a re-encryption: where they are, and what turns them.
pub(super) struct Turner<'s> {
    pub(super) data: &'s dyn Storage,
    pub(super) old: Side,
    pub(super) new: Side,
    pub(super) pool: &'s rayon::ThreadPool,
    pub(super) control: &'s Control,
}

/// A zone that is hot, or will be next.
pub(super) struct Zone {
    /// Of the plaintext.
    pub(super) range: Range<u64>,
    /// Where its old bytes lie on the data device.
    old_at: u64,
    /// Where its new bytes belong.
    new_at: u64,
    buffers: Buffers,
}

/// What must be known of a zone before its first byte is overwritten.
#[derive(Default)]
pub(super) struct Buffers {
    /// All of its old bytes. Where they are not kept, each piece is read once more when it is turned: from the page
    /// cache, mostly, so that long zones take no memory.
    pub(super) bytes: Option<AlignedBuffer>,
    /// The hashes of its old bytes.
    pub(super) checksums: Option<(Checksums, AlignedBuffer)>,
}

impl Buffers {
    fn is_some(&self) -> bool {
        self.bytes.is_some() || self.checksums.is_some()
    }
}

/// A part of a zone, which is worked on at once.
struct Piece<'z> {
    /// Of the plaintext.
    range: Range<u64>,
    old_at: u64,
    new_at: u64,
    bytes: Option<&'z mut [u8]>,
    checksums: Option<(Checksums, &'z mut [u8])>,
}

enum Task<'z> {
    Protect(Piece<'z>),
    Turn(Piece<'z>),
}

impl Zone {
    /// `buffers` have room for the zone.
    pub(super) fn new(range: Range<u64>, [old_at, new_at]: [u64; 2], buffers: Buffers) -> Self {
        Self {
            range,
            old_at,
            new_at,
            buffers,
        }
    }

    fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Whether this zone's new bytes come to lie over old bytes of `other`.
    pub(super) fn overwrites(&self, other: &Self) -> bool {
        self.new_at < other.old_at.saturating_add(other.len())
            && other.old_at < self.new_at.saturating_add(self.len())
    }

    /// The hashes of its old bytes, if they are wanted.
    pub(super) fn checksums(&self) -> Option<&[u8]> {
        let (kind, checksums) = self.buffers.checksums.as_ref()?;
        checksums.get(..usize::try_from(kind.len_for(self.len())).ok()?)
    }

    /// Its old bytes, if they are kept.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.buffers.bytes.as_ref()?.get(..len_of(&self.range))
    }

    /// Its buffers, for another zone.
    pub(super) fn into_buffers(self) -> Buffers {
        self.buffers
    }

    fn pieces(&mut self) -> impl Iterator<Item = Piece<'_>> + Send {
        let (old_at, new_at) = (self.old_at, self.new_at);
        let len = len_of(&self.range);
        let mut bytes = self
            .buffers
            .bytes
            .as_deref_mut()
            .map(|bytes| bytes[..len].chunks_mut(PIECE_LEN_BYTES));
        let mut checksums = self.buffers.checksums.as_mut().map(|(kind, hashes)| {
            let hashes_len = PIECE_LEN_BYTES / kind.block_len * kind.hash_len();
            (*kind, hashes.chunks_mut(hashes_len))
        });
        let zone_start = self.range.start;
        pieces_of(&self.range).map(move |range| {
            let start = range.start - zone_start;
            Piece {
                old_at: old_at + start,
                new_at: new_at + start,
                bytes: bytes.as_mut().and_then(Iterator::next),
                checksums: checksums
                    .as_mut()
                    .and_then(|(kind, chunks)| Some((*kind, chunks.next()?))),
                range,
            }
        })
    }
}

impl Turner<'_> {
    /// Turns the hot zone, whose protection is durable, and protects the next one meanwhile: reading and hashing cost
    /// no time while the disk writes.
    pub(super) fn advance(
        &self,
        hot: Option<&mut Zone>,
        next: Option<&mut Zone>,
    ) -> Result<(), Error> {
        let next = next.filter(|next| next.buffers.is_some());
        let turns = hot.into_iter().flat_map(Zone::pieces).map(Task::Turn);
        let protections = next.into_iter().flat_map(Zone::pieces).map(Task::Protect);
        self.for_each(
            interleaved(turns, protections),
            |task, scratch| match task {
                Task::Protect(piece) => self.protect(piece, scratch),
                Task::Turn(piece) => self.turn_piece(piece, scratch),
            },
        )
    }

    fn protect(&self, piece: Piece<'_>, scratch: &mut [u8]) -> Result<(), Error> {
        let bytes = match piece.bytes {
            Some(bytes) => bytes,
            None => &mut scratch[..len_of(&piece.range)],
        };
        self.data
            .read_at(bytes, piece.old_at)
            .map_err(reading(piece.old_at))?;
        if let Some((kind, checksums)) = piece.checksums {
            self.pool.install(|| kind.of(bytes, checksums));
        }
        Ok(())
    }

    fn turn_piece(&self, piece: Piece<'_>, scratch: &mut [u8]) -> Result<(), Error> {
        let len = len_of(&piece.range);
        let bytes = match piece.bytes {
            Some(bytes) => bytes,
            None => {
                let bytes = &mut scratch[..len];
                self.data
                    .read_at(bytes, piece.old_at)
                    .map_err(reading(piece.old_at))?;
                bytes
            }
        };
        self.pool.install(|| self.turn(bytes, piece.range.start))?;
        self.data
            .write_at(bytes, piece.new_at)
            .map_err(writing(piece.new_at))?;
        self.control.add_done_bytes(len as u64);
        Ok(())
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
        self.for_each(pieces_of(zone), |piece, scratch| {
            let bytes = &mut scratch[..len_of(&piece)];
            let start = piece.start - zone.start;
            source
                .read_at(bytes, from + start)
                .map_err(reading(from + start))?;
            self.turn(bytes, piece.start)?;
            self.data
                .write_at(bytes, at + start)
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
        self.for_each(pieces_of(zone), |piece, scratch| {
            let start = piece.start - zone.start;
            let bytes = &mut scratch[..len_of(&piece)];
            self.data
                .read_at(bytes, at + start)
                .map_err(reading(at + start))?;
            let mut checksums =
                vec![0; usize::try_from(kind.len_for(bytes.len() as u64)).unwrap_or(0)];
            let checksums_at = area + kind.len_for(start);
            area_storage
                .read_at(&mut checksums, checksums_at)
                .map_err(reading(checksums_at))?;
            kind.restore(bytes, &checksums, piece.start, [&self.old, &self.new])?;
            self.turn(bytes, piece.start)?;
            self.data
                .write_at(bytes, at + start)
                .map_err(writing(at + start))
        })
    }

    /// Has each item worked on by one of several threads, each with room for a piece; the first failure stops all
    /// and is returned.
    fn for_each<T: Send>(
        &self,
        items: impl Iterator<Item = T> + Send,
        work: impl Fn(T, &mut [u8]) -> Result<(), Error> + Sync,
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
                    let mut scratch = AlignedBuffer::zeroed(PIECE_LEN_BYTES);
                    loop {
                        if failure
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .is_some()
                        {
                            return;
                        }
                        let item = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                        match item.map(|item| work(item, &mut scratch)) {
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

/// One of each in turn, as long as there are both.
fn interleaved<T>(
    first: impl Iterator<Item = T>,
    second: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    let (mut first, mut second) = (first.fuse(), second.fuse());
    let mut is_first = false;
    std::iter::from_fn(move || {
        is_first = !is_first;
        if is_first {
            first.next().or_else(|| second.next())
        } else {
            second.next().or_else(|| first.next())
        }
    })
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
