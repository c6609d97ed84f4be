//! XTS in safe Rust, as fast as the `aes` crate's widest backend allows.
//!
//! That crate chooses a backend at run time and hands it to a closure; the closure is compiled with
//! the backend's CPU features, so that a loop inside of it (and the tweaks' arithmetic with it) is
//! vectorised alike. Three things make the speed:
//! - the backend is entered once for many data units, not once per block or data unit;
//! - batches run across the borders of data units: a batch is 64 blocks under AVX-512, and a data
//!   unit of 512 bytes has 32;
//! - the IVs of many data units are encrypted together, ahead of the data.

use aes::Block;
use cipher::{
    BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
    BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit, ParBlocksSizeUser,
    array::{Array, ArraySize},
    consts::U16,
    inout::InOutBuf,
    typenum::Unsigned,
};

use super::{
    Run,
    tweaks::{STRIPE, Tweaks},
};

/// How many IVs are encrypted ahead: one batch of the widest backend.
const UNITS_AHEAD: usize = 64;

/// Room for tweaks, in stripes: 7.5 KiB, a whole number of batches for the 30 blocks of AVX2.
const MAX_CHUNK_STRIPES: usize = 15;

/// How many blocks of a batch take the time of one block alone, about: the latter runs on the
/// narrow unit.
const SINGLE_BLOCK_COST: usize = 4;

/// XTS over a block cipher `C`; `T` is the same cipher, able to encrypt only.
pub(super) struct Portable<C, T> {
    data: C,
    tweak: T,
}

impl<C, T> Portable<C, T>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
    T: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    /// `None` if the key does not have the length of two keys of the cipher.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let (data_key, tweak_key) = key.split_at(key.len() / 2);
        Some(Self {
            data: C::new_from_slice(data_key).ok()?,
            tweak: T::new_from_slice(tweak_key).ok()?,
        })
    }

    pub(super) fn encrypt(&self, run: Run<'_, '_>) {
        self.for_each_part(run, |part| self.data.encrypt_with_backend(part));
    }

    pub(super) fn decrypt(&self, run: Run<'_, '_>) {
        self.for_each_part(run, |part| self.data.decrypt_with_backend(part));
    }

    /// Cuts the data into parts of at most [`UNITS_AHEAD`] data units, with their tweaks.
    #[inline(always)]
    fn for_each_part(&self, run: Run<'_, '_>, mut process: impl FnMut(Part<'_, '_, '_>)) {
        let Run {
            unit_bytes,
            mut numbers,
            data,
        } = run;
        let blocks_per_unit = unit_bytes / 16;
        // Tweaks come in whole stripes: what is left of a data unit's last one must not go to the next.
        let units_per_part = match blocks_per_unit.is_multiple_of(STRIPE) {
            true => UNITS_AHEAD,
            false => 1,
        };
        let (mut blocks, rest) = data.into_chunks::<U16>();
        debug_assert!(rest.is_empty() && blocks.len().is_multiple_of(blocks_per_unit));

        let mut ivs = [Block::default(); UNITS_AHEAD];
        while !blocks.is_empty() {
            let units = units_per_part.min(blocks.len() / blocks_per_unit);
            let (part, after) = blocks.split_at(units * blocks_per_unit);
            blocks = after;
            for block in &mut ivs[..units] {
                block.0 = numbers.next_iv();
            }
            self.tweak.encrypt_with_backend(Ivs(&mut ivs[..units]));
            process(Part {
                tweaks: Tweaks::new(&ivs[..units], blocks_per_unit),
                blocks: part,
            });
        }
    }
}

/// One direction of a backend.
trait Direction {
    /// The number of blocks in a full batch.
    type Width: ArraySize;

    fn batch(&self, blocks: &mut Array<Block, Self::Width>);
    fn single(&self, block: &mut Block);

    /// Applies the cipher to at least the first `used` blocks of a batch: to the whole batch unless
    /// block by block is faster.
    #[inline(always)]
    fn part_of_batch(&self, blocks: &mut Array<Block, Self::Width>, used: usize) {
        if used * SINGLE_BLOCK_COST < Self::Width::USIZE {
            for block in &mut blocks[..used] {
                self.single(block);
            }
        } else {
            self.batch(blocks);
        }
    }
}

struct Encrypting<'a, B>(&'a B);

impl<B: BlockCipherEncBackend<BlockSize = U16>> Direction for Encrypting<'_, B> {
    type Width = <B as ParBlocksSizeUser>::ParBlocksSize;

    #[inline(always)]
    fn batch(&self, blocks: &mut Array<Block, Self::Width>) {
        self.0.encrypt_par_blocks_inplace(blocks);
    }

    #[inline(always)]
    fn single(&self, block: &mut Block) {
        self.0.encrypt_block_inplace(block);
    }
}

struct Decrypting<'a, B>(&'a B);

impl<B: BlockCipherDecBackend<BlockSize = U16>> Direction for Decrypting<'_, B> {
    type Width = <B as ParBlocksSizeUser>::ParBlocksSize;

    #[inline(always)]
    fn batch(&self, blocks: &mut Array<Block, Self::Width>) {
        self.0.decrypt_par_blocks_inplace(blocks);
    }

    #[inline(always)]
    fn single(&self, block: &mut Block) {
        self.0.decrypt_block_inplace(block);
    }
}

/// IVs to be encrypted, by the cipher alone.
struct Ivs<'a>(&'a mut [Block]);

impl BlockSizeUser for Ivs<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Ivs<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let direction = Encrypting(backend);
        let (batches, rest) = Array::<_, B::ParBlocksSize>::slice_as_chunks_mut(self.0);
        for batch in batches {
            direction.batch(batch);
        }
        let mut batch = Array::<Block, B::ParBlocksSize>::default();
        batch[..rest.len()].copy_from_slice(rest);
        direction.part_of_batch(&mut batch, rest.len());
        rest.copy_from_slice(&batch[..rest.len()]);
    }
}

/// Whole data units with their tweaks.
struct Part<'t, 'i, 'o> {
    tweaks: Tweaks<'t>,
    blocks: InOutBuf<'i, 'o, Block>,
}

impl BlockSizeUser for Part<'_, '_, '_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Part<'_, '_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        self.process(&Encrypting(backend));
    }
}

impl BlockCipherDecClosure for Part<'_, '_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = U16>>(self, backend: &B) {
        self.process(&Decrypting(backend));
    }
}

impl Part<'_, '_, '_> {
    #[inline(always)]
    fn process<D: Direction>(mut self, direction: &D) {
        let mut stripes = [[Block::default(); STRIPE]; MAX_CHUNK_STRIPES];
        let mut work = Array::<Block, D::Width>::default();
        let mut blocks = self.blocks;
        while !blocks.is_empty() {
            let chunk_stripes = chunk_stripes::<D::Width>().min(blocks.len().div_ceil(STRIPE));
            let chunk_blocks = blocks.len().min(chunk_stripes * STRIPE);
            let (chunk, after) = blocks.split_at(chunk_blocks);
            blocks = after;
            let stripes = &mut stripes[..chunk_stripes];
            self.tweaks.fill(stripes);

            let (batch_tweaks, rest_tweaks) =
                Array::<_, D::Width>::slice_as_chunks(&stripes.as_flattened()[..chunk_blocks]);
            let (batches, mut rest) = chunk.into_chunks::<D::Width>();
            for (mut batch, tweaks) in batches.into_iter().zip(batch_tweaks) {
                xor(&mut work, batch.get_in(), tweaks);
                direction.batch(&mut work);
                xor(batch.get_out(), &work, tweaks);
            }
            let used = rest.len();
            if used > 0 {
                xor(&mut work[..used], rest.get_in(), rest_tweaks);
                direction.part_of_batch(&mut work, used);
                xor(rest.get_out(), &work[..used], rest_tweaks);
            }
        }
    }
}

/// How many stripes of tweaks are made at a time: the most that fit and are whole batches, so that
/// there is a part of a batch at the end of a run only.
#[inline(always)]
fn chunk_stripes<W: Unsigned>() -> usize {
    (1..=MAX_CHUNK_STRIPES)
        .rev()
        .find(|stripes| (stripes * STRIPE).is_multiple_of(W::USIZE))
        .unwrap_or(MAX_CHUNK_STRIPES)
}

#[inline(always)]
fn xor(out: &mut [Block], blocks: &[Block], tweaks: &[Block]) {
    let out = Array::slice_as_flattened_mut(out);
    let blocks = Array::slice_as_flattened(blocks);
    let tweaks = Array::slice_as_flattened(tweaks);
    for ((out, byte), tweak) in out.iter_mut().zip(blocks).zip(tweaks) {
        *out = byte ^ tweak;
    }
}
