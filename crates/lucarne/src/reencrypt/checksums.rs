//! Checksum resilience: hashes of the old bytes of a hot zone, which tell old from new.

use lucarne_format::luks2::ChecksumResilience;
use lucarne_keyslot::Hash;

use super::side::Side;
use crate::Error;

/// What a disk writes whole.
const DISK_SECTOR_LEN_BYTES: usize = 512;
/// The longest block that is taken; cryptsetup's are sectors, or blocks of the device.
const BLOCK_LEN_MAX: u32 = 1 << 20;
/// Of a block of so many disk sectors each subset of them is tried.
const ALL_SUBSETS_MAX: usize = 8;

/// One hash per block of old bytes, as they lay on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksums {
    hash: Hash,
    pub(super) block_len: usize,
}

impl Checksums {
    /// # Errors
    /// [`Error::Unsupported`] for the hash; [`Error::Refused`] unless a block is whole sectors of `sector_len` bytes,
    /// the larger of both sides', and at most 1 MiB.
    pub(super) fn new(parameters: &ChecksumResilience, sector_len: u64) -> Result<Self, Error> {
        let hash: Hash = parameters.hash.parse()?;
        let block_len = parameters.sector_size;
        if block_len == 0
            || block_len > BLOCK_LEN_MAX
            || !u64::from(block_len).is_multiple_of(sector_len)
        {
            return Err(Error::refused(format!(
                "checksums of {block_len} bytes each: they must be whole sectors of {sector_len} bytes, and at most {BLOCK_LEN_MAX} bytes"
            )));
        }
        Ok(Self {
            hash,
            block_len: block_len as usize,
        })
    }

    /// How many bytes the checksums of so many bytes of data are.
    pub(super) fn len_for(self, data_len: u64) -> u64 {
        data_len
            .div_ceil(self.block_len as u64)
            .saturating_mul(self.hash_len() as u64)
    }

    pub(super) fn hash_len(self) -> usize {
        self.hash.output_len()
    }

    /// Fills `checksums` with those of the blocks in `bytes`.
    pub(super) fn of(self, bytes: &[u8], checksums: &mut [u8]) {
        if self.hash == Hash::Sha256 {
            let (checksums, _) = checksums.as_chunks_mut();
            lucarne_sha256::Kernel::best().digest_blocks(bytes, self.block_len, checksums);
            return;
        }
        let hashes = checksums.chunks_exact_mut(self.hash_len());
        for (block, hash) in bytes.chunks(self.block_len).zip(hashes) {
            self.hash.hash_into(block, hash);
        }
    }

    /// Gives the blocks in `bytes`, the plaintext's from byte `offset` on, their old bytes back, whatever of them is
    /// old, new, or torn: part of a block's disk sectors the one and part the other.
    ///
    /// # Errors
    /// [`Error::Device`] for a block that is nothing of that.
    pub(super) fn restore(
        self,
        bytes: &mut [u8],
        checksums: &[u8],
        offset: u64,
        [old, new]: [&Side; 2],
    ) -> Result<(), Error> {
        let hashes = checksums.chunks_exact(self.hash_len());
        let offsets = (offset..).step_by(self.block_len);
        for ((block, checksum), offset) in bytes.chunks_mut(self.block_len).zip(hashes).zip(offsets)
        {
            self.restore_block(block, checksum, offset, old, new)?;
        }
        Ok(())
    }

    fn restore_block(
        self,
        block: &mut [u8],
        checksum: &[u8],
        offset: u64,
        old: &Side,
        new: &Side,
    ) -> Result<(), Error> {
        if self.matches(block, checksum) {
            return Ok(());
        }
        // The old bytes, if all that is there is new. Sector ciphers work from the front (CBC) or block by block
        // (XTS), so where only part of it is new, that part comes out right.
        let mut turned_back = block.to_vec();
        new.decrypt_all(&mut turned_back, offset)?;
        old.encrypt(&mut turned_back, offset)?;
        for is_new in likely_new(block.len().div_ceil(DISK_SECTOR_LEN_BYTES)) {
            let mut mixed = block.to_vec();
            let sectors = mixed
                .chunks_mut(DISK_SECTOR_LEN_BYTES)
                .zip(turned_back.chunks(DISK_SECTOR_LEN_BYTES));
            for ((sector, turned_back), _) in sectors.zip(&is_new).filter(|(_, is_new)| **is_new) {
                sector.copy_from_slice(turned_back);
            }
            if self.matches(&mixed, checksum) {
                block.copy_from_slice(&mixed);
                return Ok(());
            }
        }
        Err(Error::device(format!(
            "the {} bytes of plaintext from byte {offset} on are neither the old nor the new data: the device lost a write, or somebody else wrote there",
            block.len()
        )))
    }

    fn matches(self, block: &[u8], checksum: &[u8]) -> bool {
        let mut hash = [0; 64];
        let hash = &mut hash[..self.hash_len()];
        self.hash.hash_into(block, hash);
        hash == checksum
    }
}

/// Which disk sectors of a block may be the new ones, likeliest first: all; the first so many, as a write from front
/// to back leaves them; any, where they are few.
fn likely_new(sectors: usize) -> impl Iterator<Item = Vec<bool>> {
    let first = move |count| (0..sectors).map(|sector| sector < count).collect();
    let subsets = if sectors <= ALL_SUBSETS_MAX {
        1_u32 << sectors
    } else {
        0
    };
    let any = move |bits: u32| (0..sectors).map(|sector| bits >> sector & 1 == 1).collect();
    (1..=sectors).rev().map(first).chain((0..subsets).map(any))
}
