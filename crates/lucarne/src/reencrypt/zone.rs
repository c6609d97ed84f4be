//! A hot zone's bytes: read as they were, hashed, turned, written; and told apart after a crash.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::Segment;
use lucarne_keyslot::Hash;
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

use crate::Error;
use crate::bulk::worker_count;
use crate::error::{reading, writing};

/// Read, turned and written at once. A multiple of every sector and every block of checksums.
pub(super) const PIECE_LEN_BYTES: usize = 1 << 20;
/// The longest block of a checksum that is taken: a piece must hold whole ones.
pub(super) const BLOCK_MAX_LEN_BYTES: usize = PIECE_LEN_BYTES;
/// What a disk writes whole.
const DISK_SECTOR_LEN_BYTES: usize = 512;

/// The cipher of the data before or after; `None` where they are plaintext.
pub(super) struct Side(Option<SectorCipher>);

impl Side {
    pub(super) fn new(segment: &Segment, key: Option<&SecretBytes>) -> Result<Self, Error> {
        let Segment::Crypt(crypt) = segment else {
            return Ok(Self(None));
        };
        let Some(key) = key else {
            return Err(Error::refused("an encrypted segment without a key"));
        };
        let spec: CipherSpec = crypt.encryption.parse()?;
        spec.check_supported()?;
        let sector_size = DataUnit::try_from(crypt.sector_size)?;
        let cipher = with_clean_stack(|| SectorCipher::new_for_existing(&spec, key, sector_size))?;
        Ok(Self(Some(cipher)))
    }

    /// `offset`: that of the plaintext.
    pub(super) fn decrypt(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        match &self.0 {
            Some(cipher) => Ok(cipher.decrypt(offset / 512, bytes)?),
            None => Ok(()),
        }
    }

    pub(super) fn encrypt(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        match &self.0 {
            Some(cipher) => Ok(cipher.encrypt(offset / 512, bytes)?),
            None => Ok(()),
        }
    }
}

/// One hash per block of old bytes, as they lay on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksums {
    pub(super) hash: Hash,
    pub(super) block_len: usize,
}

impl Checksums {
    /// How many bytes the checksums of so many bytes of data are.
    pub(super) fn len_for(self, data_len: u64) -> u64 {
        data_len.div_ceil(self.block_len as u64) * self.hash.output_len() as u64
    }

    fn of_piece(self, piece: &[u8], checksums: &mut [u8]) {
        let hashes = checksums.chunks_exact_mut(self.hash.output_len());
        for (block, hash) in piece.chunks(self.block_len).zip(hashes) {
            self.hash.hash_into(block, hash);
        }
    }

    fn matches(self, block: &[u8], checksum: &[u8]) -> bool {
        let mut hash = [0; 64];
        let hash = &mut hash[..self.hash.output_len()];
        self.hash.hash_into(block, hash);
        hash == checksum
    }
}

/// The data of a re-encryption: where they are, and what turns them.
pub(super) struct Turner<'s> {
    pub(super) data: &'s dyn Storage,
    pub(super) old: Side,
    pub(super) new: Side,
    pub(super) pool: rayon::ThreadPool,
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
        let hashes_len = PIECE_LEN_BYTES / kind.block_len * kind.hash.output_len();
        let pieces = pieces.zip(checksums.chunks_mut(hashes_len));
        self.for_each(pieces, |((piece, offset), checksums)| {
            let at = at + offset;
            self.data.read_at(piece, at).map_err(reading(at))?;
            self.pool.install(|| kind.of_piece(piece, checksums));
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
        self.old.decrypt(bytes, offset)?;
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
            let hashes = checksums.chunks_exact(kind.hash.output_len());
            let offsets = (piece.start..).step_by(kind.block_len);
            for ((block, checksum), offset) in
                bytes.chunks_mut(kind.block_len).zip(hashes).zip(offsets)
            {
                self.make_old(kind, block, checksum, offset)?;
            }
            self.turn(&mut bytes, piece.start)?;
            self.data
                .write_at(&bytes, at + start)
                .map_err(writing(at + start))
        })
    }

    /// Gives a block its old bytes back, whatever of it is new.
    fn make_old(
        &self,
        kind: Checksums,
        block: &mut [u8],
        checksum: &[u8],
        offset: u64,
    ) -> Result<(), Error> {
        if kind.matches(block, checksum) {
            return Ok(());
        }
        // The old bytes, if all that is there is new. Sector ciphers work from the front (CBC) or block by block
        // (XTS), so where only part of it is new, that part comes out right.
        let mut old = block.to_vec();
        self.new.decrypt(&mut old, offset)?;
        self.old.encrypt(&mut old, offset)?;
        let sectors = block.len().div_ceil(DISK_SECTOR_LEN_BYTES);
        let mut mixed = vec![0; block.len()];
        for is_new in new_sectors(sectors) {
            for sector in 0..sectors {
                let range = sector * DISK_SECTOR_LEN_BYTES
                    ..((sector + 1) * DISK_SECTOR_LEN_BYTES).min(block.len());
                let from = if is_new(sector) { &old } else { &*block };
                mixed[range.clone()].copy_from_slice(&from[range]);
            }
            if kind.matches(&mixed, checksum) {
                block.copy_from_slice(&mixed);
                return Ok(());
            }
        }
        Err(Error::device(format!(
            "the {} bytes of plaintext from byte {offset} on are neither the old nor the new data: the device lost a write, or somebody else wrote there",
            block.len()
        )))
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
            for _ in 0..worker_count(&self.pool) {
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

/// Which sectors of a block may be the new ones, likeliest first: all; the first so many, as a write from front
/// to back leaves them; any, of the few of a usual block.
fn new_sectors(sectors: usize) -> impl Iterator<Item = Box<dyn Fn(usize) -> bool>> {
    let first = (1..=sectors)
        .rev()
        .map(|count| Box::new(move |sector: usize| sector < count) as Box<dyn Fn(usize) -> bool>);
    let subsets = if sectors <= 8 { 1_u32 << sectors } else { 0 };
    let any = (0..subsets).map(|bits| {
        Box::new(move |sector: usize| (bits >> sector) & 1 == 1) as Box<dyn Fn(usize) -> bool>
    });
    first.chain(any)
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
