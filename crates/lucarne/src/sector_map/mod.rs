//! Where a volume's sectors lie on the data device, and the cipher that turns them.

mod reads;

pub use reads::LOAD_PAST_CACHES_MIN_LEN_BYTES;
pub(crate) use reads::Landing;

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lucarne_cipher::SectorCipher;
use lucarne_storage::Storage;

use crate::Error;
use crate::error::writing;
use crate::scratch::ScratchPool;

/// dm-crypt counts IVs in 512-byte units whatever the sector size.
const IV_UNIT_LEN_BYTES: u64 = 512;

/// Plaintext bytes that share a lock. A multiple of every sector size, so no sector has two. Also the most that is
/// written at once: what a file system is given at once it keeps in larger pieces.
pub(crate) const REGION_LEN_BYTES: u64 = 1 << 20;
const LOCK_COUNT: usize = 64;

const SECTOR_MAX_LEN_BYTES: usize = 4096;

/// The plaintext of one `crypt` segment, by position.
pub(crate) struct SectorMap {
    cipher: SectorCipher,
    sector_len: usize,
    /// First byte of the segment on the data device.
    data_offset: u64,
    /// Length of the plaintext; whole sectors.
    len: u64,
    /// All-zero ciphertext sectors stand for zeros ("sparse" volumes of our own making).
    zeros_are_holes: bool,
    scratch: ScratchPool,
    /// A region's lock keeps a sector whole: readers never see a half-written one, and the
    /// read-modify-write of a partial sector loses no neighbour's bytes.
    locks: [RwLock<()>; LOCK_COUNT],
}

impl SectorMap {
    pub(crate) fn new(cipher: SectorCipher, sector_len: usize, data_offset: u64, len: u64) -> Self {
        debug_assert!(sector_len.is_power_of_two() && sector_len <= SECTOR_MAX_LEN_BYTES);
        debug_assert!(len.is_multiple_of(sector_len as u64));
        Self {
            cipher,
            sector_len,
            data_offset,
            len,
            zeros_are_holes: false,
            scratch: ScratchPool::default(),
            locks: std::array::from_fn(|_| RwLock::new(())),
        }
    }

    pub(crate) fn with_zeros_as_holes(mut self, zeros_are_holes: bool) -> Self {
        self.zeros_are_holes = zeros_are_holes;
        self
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn sector_len(&self) -> usize {
        self.sector_len
    }

    pub(crate) fn data_offset(&self) -> u64 {
        self.data_offset
    }

    pub(crate) fn zeros_are_holes(&self) -> bool {
        self.zeros_are_holes
    }

    /// Encrypts whole sectors in place; `offset` is that of the plaintext.
    pub(crate) fn encrypt(&self, sectors: &mut [u8], offset: u64) -> Result<(), Error> {
        Ok(self.cipher.encrypt(offset / IV_UNIT_LEN_BYTES, sectors)?)
    }

    /// Decrypts whole sectors in place; `offset` is that of the plaintext.
    pub(crate) fn decrypt(&self, sectors: &mut [u8], offset: u64) -> Result<(), Error> {
        if !self.zeros_are_holes {
            return self.decrypt_all(sectors, offset);
        }
        // A run of sectors that hold something is decrypted at once; zeros stay zeros.
        let mut start = 0;
        while start < sectors.len() {
            let is_hole = |sector: &[u8]| sector.iter().all(|&byte| byte == 0);
            let holes = leading(&sectors[start..], self.sector_len, is_hole);
            let run_start = start + holes;
            let run = leading(&sectors[run_start..], self.sector_len, |sector| {
                !is_hole(sector)
            });
            let first_iv = (offset + run_start as u64) / IV_UNIT_LEN_BYTES;
            self.cipher
                .decrypt(first_iv, &mut sectors[run_start..run_start + run])?;
            start = run_start + run;
        }
        Ok(())
    }

    /// As [`Self::decrypt`], whatever zeros stand for.
    pub(crate) fn decrypt_all(&self, sectors: &mut [u8], offset: u64) -> Result<(), Error> {
        Ok(self.cipher.decrypt(offset / IV_UNIT_LEN_BYTES, sectors)?)
    }

    /// Replaces plaintext bytes.
    pub(crate) fn write_at(
        &self,
        storage: &dyn Storage,
        data: &[u8],
        offset: u64,
    ) -> Result<(), Error> {
        self.check_range(data.len(), offset)?;
        for (region, piece) in regions(data, offset) {
            self.write_in_region(storage, piece, region)?;
        }
        Ok(())
    }

    /// As [`Self::write_at`], encrypting the whole sectors where they are.
    pub(crate) fn write_at_in_place(
        &self,
        storage: &dyn Storage,
        data: &mut [u8],
        offset: u64,
    ) -> Result<(), Error> {
        self.check_range(data.len(), offset)?;
        for (offset, piece) in regions_mut(data, offset) {
            let to_border = offset.next_multiple_of(self.sector_len as u64) - offset;
            // Less than a sector's length, so it fits.
            let head_len = piece.len().min(to_border as usize);
            let (head, rest) = piece.split_at_mut(head_len);
            let (whole, tail) = rest.split_at_mut(rest.len() - rest.len() % self.sector_len);
            let (whole_at, tail_at) = (
                offset + head_len as u64,
                offset + (head_len + whole.len()) as u64,
            );
            self.write_in_region(storage, head, offset)?;
            if !whole.is_empty() {
                self.encrypt(whole, whole_at)?;
                self.write_sectors(storage, whole, whole_at)?;
            }
            self.write_in_region(storage, tail, tail_at)?;
        }
        Ok(())
    }

    /// Gives the space of the whole sectors in a range back. Returns that range; the partial sectors around it stay.
    pub(crate) fn discard(
        &self,
        storage: &dyn Storage,
        range: Range<u64>,
    ) -> Result<Range<u64>, Error> {
        let len = range.end.saturating_sub(range.start);
        self.check_range(usize::try_from(len).unwrap_or(usize::MAX), range.start)?;
        let sector_len = self.sector_len as u64;
        // The range is inside of the plaintext, which is whole sectors, so neither can overflow.
        let start = range.start.next_multiple_of(sector_len);
        let end = (range.end - range.end % sector_len).max(start);
        let mut at = start;
        while at < end {
            let region_end = (at - at % REGION_LEN_BYTES).saturating_add(REGION_LEN_BYTES);
            let piece = at..end.min(region_end);
            let _lock = self.lock_exclusive(at);
            let storage_at = self.data_offset + piece.start;
            storage
                .discard(storage_at..self.data_offset + piece.end)
                .map_err(writing(storage_at))?;
            at = piece.end;
        }
        Ok(start..end)
    }

    /// One write of whole sectors: partial ones at its ends are read, decrypted and overlaid first.
    fn write_in_region(
        &self,
        storage: &dyn Storage,
        data: &[u8],
        offset: u64,
    ) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let into_sector = self.offset_in_sector(offset);
        let span_start = offset - into_sector as u64;
        let span_len = (into_sector + data.len()).next_multiple_of(self.sector_len);
        let mut scratch = self.scratch.take(span_len);
        if data.len() == span_len {
            let first_iv = span_start / IV_UNIT_LEN_BYTES;
            self.cipher.encrypt_from(first_iv, data, &mut scratch)?;
            return self.write_sectors(storage, &scratch, span_start);
        }
        let _lock = self.lock_exclusive(span_start);
        self.overlay(storage, data, into_sector, span_start, &mut scratch)?;
        self.encrypt(&mut scratch, span_start)?;
        let at = self.data_offset + span_start;
        storage.write_at(&scratch, at).map_err(writing(at))
    }

    /// Writes whole sectors of one region, encrypted already: nobody has to wait for the cipher.
    fn write_sectors(
        &self,
        storage: &dyn Storage,
        sectors: &[u8],
        offset: u64,
    ) -> Result<(), Error> {
        let at = self.data_offset + offset;
        let _lock = self.lock_exclusive(offset);
        storage.write_at(sectors, at).map_err(writing(at))
    }

    /// Fills `span`, the plaintext of whole sectors from `span_start` on, with `data` from byte `into_sector`
    /// of it on, and with what is there already before and after.
    fn overlay(
        &self,
        storage: &dyn Storage,
        data: &[u8],
        into_sector: usize,
        span_start: u64,
        span: &mut [u8],
    ) -> Result<(), Error> {
        let last_sector = span.len() - self.sector_len;
        if into_sector != 0 {
            self.read_in_region(
                storage,
                &mut span[..self.sector_len],
                span_start,
                Landing::Cache,
            )?;
        }
        let last_is_partial = into_sector + data.len() < span.len();
        if last_is_partial && (last_sector != 0 || into_sector == 0) {
            self.read_in_region(
                storage,
                &mut span[last_sector..],
                span_start + last_sector as u64,
                Landing::Cache,
            )?;
        }
        span[into_sector..into_sector + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn offset_in_sector(&self, offset: u64) -> usize {
        // Less than a sector's length, so it fits.
        (offset % self.sector_len as u64) as usize
    }

    pub(crate) fn check_range(&self, len: usize, offset: u64) -> Result<(), Error> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(Error::refused(format!(
                "{len} bytes at offset {offset} reach past the end of the plaintext at {}",
                self.len
            ))),
        }
    }

    fn lock_of(&self, offset: u64) -> &RwLock<()> {
        // Reduced below the number of locks, so it fits.
        &self.locks[(offset / REGION_LEN_BYTES % LOCK_COUNT as u64) as usize]
    }

    fn lock_shared(&self, offset: u64) -> RwLockReadGuard<'_, ()> {
        // The lock guards no memory, so a panic elsewhere leaves nothing half-made.
        self.lock_of(offset)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_exclusive(&self, offset: u64) -> RwLockWriteGuard<'_, ()> {
        self.lock_of(offset)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes at the front are sectors for which `is_so` holds.
fn leading(sectors: &[u8], sector_len: usize, is_so: impl Fn(&[u8]) -> bool) -> usize {
    sectors
        .chunks_exact(sector_len)
        .take_while(|sector| is_so(sector))
        .count()
        * sector_len
}

fn first_region_len(len: usize, offset: u64) -> usize {
    let to_border = REGION_LEN_BYTES - offset % REGION_LEN_BYTES;
    len.min(usize::try_from(to_border).unwrap_or(usize::MAX))
}

fn regions(mut data: &[u8], mut offset: u64) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let (piece, rest) = data.split_at(first_region_len(data.len(), offset));
        let at = offset;
        data = rest;
        offset += piece.len() as u64;
        Some((at, piece))
    })
}

fn regions_mut(mut data: &mut [u8], mut offset: u64) -> impl Iterator<Item = (u64, &mut [u8])> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let len = first_region_len(data.len(), offset);
        let (piece, rest) = std::mem::take(&mut data).split_at_mut(len);
        let at = offset;
        data = rest;
        offset += piece.len() as u64;
        Some((at, piece))
    })
}

#[cfg(test)]
mod tests {
    use lucarne_cipher::{CipherSpec, DataUnit};
    use lucarne_storage::MemoryStorage;
    use proptest::prelude::*;

    use super::*;

    const DATA_OFFSET: u64 = 4096;

    fn map(sector_size: DataUnit, len: u64) -> SectorMap {
        let spec: CipherSpec = "aes-xts-plain64".parse().unwrap();
        let key: Vec<u8> = (0..64).collect();
        let cipher = SectorCipher::new(&spec, &key, sector_size).unwrap();
        SectorMap::new(cipher, sector_size.bytes() as usize, DATA_OFFSET, len)
    }

    fn filled(map: &SectorMap) -> MemoryStorage {
        let storage = MemoryStorage::with_len((DATA_OFFSET + map.len()) as usize);
        map.write_at(&storage, &vec![0; map.len() as usize], 0)
            .unwrap();
        storage
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Any writes at any positions leave what the same writes leave in plain memory.
        #[test]
        fn random_writes_equal_plain_memory(
            unit in 0..4usize,
            writes in prop::collection::vec((0..3_000_000u64, 0..400_000usize, any::<u8>()), 1..12),
        ) {
            let len = 3 << 20;
            let map = map(DataUnit::ALL[unit], len);
            let storage = filled(&map);
            let mut model = vec![0; len as usize];
            for (offset, write_len, byte) in writes {
                let offset = if byte & 2 == 0 { offset } else { offset & !4095 };
                let write_len = write_len.min((len - offset) as usize);
                let data: Vec<u8> = (0..write_len).map(|i| byte.wrapping_add(i as u8)).collect();
                if byte & 1 == 0 {
                    map.write_at(&storage, &data, offset).unwrap();
                } else {
                    map.write_at_in_place(&storage, &mut data.clone(), offset)
                        .unwrap();
                }
                model[offset as usize..offset as usize + write_len].copy_from_slice(&data);
                let mut back = vec![0; write_len];
                map.read_at(&storage, &mut back, offset).unwrap();
                prop_assert_eq!(&back, &data);
            }
            let mut back = vec![0; len as usize];
            map.read_at(&storage, &mut back, 0).unwrap();
            prop_assert!(back == model);
        }

        #[test]
        fn random_reads_equal_slices(
            unit in 0..4usize,
            reads in prop::collection::vec((0..2_500_000u64, 0..300_000usize), 1..12),
        ) {
            let len = 5 << 19;
            let map = map(DataUnit::ALL[unit], len);
            let storage = filled(&map);
            let content: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            map.write_at(&storage, &content, 0).unwrap();
            for (offset, read_len) in reads {
                let read_len = read_len.min((len - offset) as usize);
                let mut back = vec![0; read_len];
                map.read_at(&storage, &mut back, offset).unwrap();
                prop_assert!(back == content[offset as usize..offset as usize + read_len]);
            }
        }
    }

    #[test]
    fn ranges_past_the_end_are_refused_whole() {
        let map = map(DataUnit::B512, 4096);
        let storage = filled(&map);
        for (len, offset) in [(1, 4096), (4097, 0), (1, u64::MAX), (usize::MAX >> 8, 1)] {
            let error = map.check_range(len, offset).unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
        }
        assert!(map.write_at(&storage, &[1; 2], 4095).is_err());
        let mut byte = [9];
        map.read_at(&storage, &mut byte, 4095).unwrap();
        assert_eq!(byte, [0]);
    }

    #[test]
    fn zero_sectors_are_holes_only_where_said() {
        let plain = map(DataUnit::B512, 8192);
        let storage = MemoryStorage::with_len((DATA_OFFSET + 8192) as usize);
        plain.write_at(&storage, &[7; 1024], 2048).unwrap();
        let mut noise = [0; 512];
        plain.read_at(&storage, &mut noise, 0).unwrap();
        assert_ne!(noise, [0; 512]);

        let sparse = map(DataUnit::B512, 8192).with_zeros_as_holes(true);
        let mut back = [1; 8192];
        sparse.read_at(&storage, &mut back, 0).unwrap();
        assert_eq!(back[..2048], [0; 2048]);
        assert_eq!(back[2048..3072], [7; 1024]);
        assert_eq!(back[3072..], [0; 5120]);
        // A partial write into a hole keeps the rest of its sector zero.
        sparse.write_at(&storage, &[5], 5000).unwrap();
        sparse.read_at(&storage, &mut back, 0).unwrap();
        assert_eq!(back[4999..5002], [0, 5, 0]);
    }

    /// Bytes of one sector written by many threads: each keeps its own.
    #[test]
    fn neighbours_in_a_sector_lose_nothing() {
        let map = map(DataUnit::B4096, 1 << 20);
        let storage = filled(&map);
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let (map, storage) = (&map, &storage);
                scope.spawn(move || {
                    for round in 0..200u64 {
                        let offset = round * 128 + u64::from(thread) * 16;
                        map.write_at(storage, &[thread + 1; 16], offset).unwrap();
                    }
                });
            }
        });
        let mut back = vec![0; 200 * 128];
        map.read_at(&storage, &mut back, 0).unwrap();
        for (index, bytes) in back.chunks(16).enumerate() {
            assert_eq!(bytes, [(index % 8) as u8 + 1; 16], "at {}", index * 16);
        }
    }
}
