//! Plaintext out of the sectors that it lies in.

use std::ops::Range;

use lucarne_storage::Storage;

use super::{IV_UNIT_LEN_BYTES, SECTOR_MAX_LEN_BYTES, SectorMap, regions_mut};
use crate::Error;
use crate::error::reading;

/// Read and decrypted in one go: short enough that the second pass over the
/// bytes finds them in the L2 cache, long enough that the system call costs nothing.
const STEP_LEN_BYTES: usize = 128 << 10;

/// A read so long is more than the caller will find in a cache afterwards. Where the same buffer was read into and looked
/// through again and again, reads past the caches lost up to here on an Intel Xeon (12 % at 8 MiB, nothing at 32, and
/// won 10 % at 64; by a mapping 28, 5 and 20 %).
const READ_TO_MEMORY_MIN_LEN_BYTES: usize = 32 << 20;
/// From how many bytes on [`Volume::load_at`](crate::Volume::load_at) puts plaintext past the CPU's caches: less hardly fills
/// one.
pub const LOAD_PAST_CACHES_MIN_LEN_BYTES: usize = 256 << 10;

/// Where plaintext is to be afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landing {
    /// In the cache.
    Cache,
    /// In memory, past the caches; and its ciphertext, where the storage cannot show it, comes into a buffer that stays in
    /// the cache. Both save memory traffic, which is what a long read costs most.
    Memory,
}

impl SectorMap {
    /// Decrypts whole sectors from one place into another.
    fn decrypt_from(
        &self,
        source: &[u8],
        sectors: &mut [u8],
        offset: u64,
        landing: Landing,
    ) -> Result<(), Error> {
        if self.zeros_are_holes {
            // To be looked at twice, and so where nobody changes them.
            sectors.copy_from_slice(source);
            return self.decrypt(sectors, offset);
        }
        let first_iv = offset / IV_UNIT_LEN_BYTES;
        match landing {
            Landing::Cache => self.cipher.decrypt_from(first_iv, source, sectors)?,
            Landing::Memory => self.cipher.decrypt_past_caches(first_iv, source, sectors)?,
        }
        Ok(())
    }

    /// Where a read into `buf` lands.
    pub(crate) fn landing_of_read(&self, buf: &[u8], offset: u64) -> Landing {
        self.landing(buf, offset, READ_TO_MEMORY_MIN_LEN_BYTES)
    }

    /// Where it lands if it is not looked at right away.
    pub(crate) fn landing_of_load(&self, buf: &[u8], offset: u64) -> Landing {
        self.landing(buf, offset, LOAD_PAST_CACHES_MIN_LEN_BYTES)
    }

    fn landing(&self, buf: &[u8], offset: u64, min_len: usize) -> Landing {
        // Sectors lie at multiples of any alignment that there is, so where one comes to lie, all do.
        let can_pass = self
            .cipher
            .past_caches_alignment()
            .is_some_and(|alignment| {
                let distance = (buf.as_ptr().addr() as u64).wrapping_sub(offset);
                distance.is_multiple_of(alignment as u64)
            });
        match can_pass && !self.zeros_are_holes && buf.len() >= min_len {
            true => Landing::Memory,
            false => Landing::Cache,
        }
    }

    /// Fills `buf` with plaintext.
    pub(crate) fn read_at(
        &self,
        storage: &dyn Storage,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), Error> {
        let landing = self.landing_of_read(buf, offset);
        self.read_landing_at(storage, buf, offset, landing)
    }

    /// As [`Self::read_at`], for what may be a part of a longer read.
    pub(crate) fn read_landing_at(
        &self,
        storage: &dyn Storage,
        buf: &mut [u8],
        offset: u64,
        landing: Landing,
    ) -> Result<(), Error> {
        self.check_range(buf.len(), offset)?;
        for (region, piece) in regions_mut(buf, offset) {
            let _lock = self.lock_shared(region);
            self.read_in_region(storage, piece, region, landing)?;
        }
        Ok(())
    }

    /// Fills `buf`, which ends in the region that it begins in, with plaintext: from where the ciphertext lies if the
    /// storage can show it, else in steps. Sectors of which only a part is wanted, at its ends, are read with the
    /// others in one go: small reads are mostly these.
    pub(super) fn read_in_region(
        &self,
        storage: &dyn Storage,
        buf: &mut [u8],
        offset: u64,
        landing: Landing,
    ) -> Result<(), Error> {
        let span = self.span_of(buf.len(), offset);
        let at = self.data_offset + span.start;
        let mut decrypted = Ok(());
        let is_shown = storage
            .visit(at..self.data_offset + span.end, &mut |source| {
                decrypted = self.decrypt_part(source, buf, offset, landing);
            })
            .map_err(reading(at))?;
        if is_shown {
            return decrypted;
        }
        let (mut rest, mut offset) = (buf, offset);
        while !rest.is_empty() {
            let step_len = STEP_LEN_BYTES - self.offset_in_sector(offset);
            let (step, after) = rest.split_at_mut(step_len.min(rest.len()));
            self.read_step(storage, step, offset, landing)?;
            offset += step.len() as u64;
            rest = after;
        }
        Ok(())
    }

    /// One read of at most a step's length.
    fn read_step(
        &self,
        storage: &dyn Storage,
        buf: &mut [u8],
        offset: u64,
        landing: Landing,
    ) -> Result<(), Error> {
        let span = self.span_of(buf.len(), offset);
        let at = self.data_offset + span.start;
        // At most a step's length.
        let span_len = (span.end - span.start) as usize;
        if span_len == buf.len() && landing == Landing::Cache {
            storage.read_at(buf, at).map_err(reading(at))?;
            return self.decrypt(buf, offset);
        }
        let mut source = self.scratch.take(span_len);
        storage.read_at(&mut source, at).map_err(reading(at))?;
        self.decrypt_part(&source, buf, offset, landing)
    }

    /// Fills `buf` from the ciphertext of all sectors that it has a part of.
    fn decrypt_part(
        &self,
        source: &[u8],
        buf: &mut [u8],
        offset: u64,
        landing: Landing,
    ) -> Result<(), Error> {
        let mut sector = [0; SECTOR_MAX_LEN_BYTES];
        let sector = &mut sector[..self.sector_len];
        let (mut source, mut rest, mut offset) = (source, buf, offset);
        while !rest.is_empty() {
            let into_sector = self.offset_in_sector(offset);
            let sector_at = offset - into_sector as u64;
            let whole_len = rest.len() - rest.len() % self.sector_len;
            let is_whole = into_sector == 0 && whole_len != 0;
            let (source_len, len) = match is_whole {
                true => (whole_len, whole_len),
                false => (
                    self.sector_len,
                    rest.len().min(self.sector_len - into_sector),
                ),
            };
            let (part, after) = rest.split_at_mut(len);
            let (from, source_after) = source.split_at(source_len);
            if is_whole {
                self.decrypt_from(from, part, sector_at, landing)?;
            } else {
                self.decrypt_from(from, sector, sector_at, Landing::Cache)?;
                part.copy_from_slice(&sector[into_sector..into_sector + len]);
            }
            (source, rest) = (source_after, after);
            offset += len as u64;
        }
        Ok(())
    }

    /// The whole sectors that so many bytes have a part in.
    fn span_of(&self, len: usize, offset: u64) -> Range<u64> {
        let sector_len = self.sector_len as u64;
        // Inside of the plaintext, which is whole sectors.
        offset - offset % sector_len..(offset + len as u64).next_multiple_of(sector_len)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
    use lucarne_storage::MemoryStorage;

    use super::*;

    /// Counts what is read; shows nothing.
    struct Counted {
        inner: MemoryStorage,
        reads: AtomicUsize,
    }

    impl Storage for Counted {
        fn len(&self) -> io::Result<u64> {
            self.inner.len()
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.inner.read_at(buf, offset)
        }

        fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
            self.inner.write_at(data, offset)
        }

        fn flush(&self) -> io::Result<()> {
            self.inner.flush()
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.inner.set_len(len)
        }

        fn discard(&self, range: Range<u64>) -> io::Result<()> {
            self.inner.discard(range)
        }
    }

    #[test]
    fn parts_of_sectors_are_read_with_the_sectors_between_them() {
        let spec: CipherSpec = "aes-xts-plain64".parse().unwrap();
        let cipher = SectorCipher::new(&spec, &[[3; 32], [4; 32]].concat(), DataUnit::B4096);
        let map = SectorMap::new(cipher.unwrap(), 4096, 4096, 1 << 20);
        let content: Vec<u8> = (0..1 << 20).map(|place: u32| (place / 9) as u8).collect();
        let storage = Counted {
            inner: MemoryStorage::with_len((1 << 20) + 4096),
            reads: AtomicUsize::new(0),
        };
        map.write_at(&storage, &content, 0).unwrap();
        for (offset, len, reads) in [
            (5, 100, 1),
            (4095, 2, 1),
            (4000, 5000, 1),
            (8199, 65_536, 1),
            (0, 131_072, 1),
            (100, 300_000, 3),
        ] {
            storage.reads.store(0, Ordering::Relaxed);
            let mut back = vec![0; len];
            map.read_at(&storage, &mut back, offset as u64).unwrap();
            assert!(back == content[offset..offset + len], "{len} at {offset}");
            assert_eq!(
                storage.reads.load(Ordering::Relaxed),
                reads,
                "{len} at {offset}"
            );
        }
    }
}
