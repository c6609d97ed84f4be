//! AES-CBC (NIST SP 800-38A, 6.2) over whole data units, each with an IV of its own.
//!
//! Decrypting has every block at hand at once. Encrypting has not: a block waits for the one before it.
//! But data units do not wait for each other, so that many are encrypted side by side, a block of each
//! at a time.
//!
//! ESSIV ("encrypted salt-sector IV") keeps IVs from being predicted: the number of a data unit is
//! encrypted under a hash of the key.

use aes::{Aes128, Aes192, Aes256, Aes256Enc, Block};
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, consts::U16, inout::InOutBuf};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::run::Run;

/// How many data units are encrypted side by side: one batch of the `aes` crate's widest backend.
const LANES: usize = 64;

/// How many blocks are decrypted at a time: the largest data unit.
const CHUNK_BLOCKS: usize = 4096 / 16;

/// A key for AES-CBC.
pub(crate) struct Cbc {
    aes: Aes,
    /// AES-256 under the hash of the key, for IVs that are to be secret.
    essiv: Option<Aes256Enc>,
}

impl Cbc {
    /// `None` if the key does not have 16, 24 or 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let aes = Aes::new(key)?;
        Some(Self { aes, essiv: None })
    }

    /// With `essiv:sha256`: the IV that the caller gives is encrypted once more.
    ///
    /// `None` if the key does not have 16, 24 or 32 bytes.
    pub(crate) fn with_essiv_sha256(key: &[u8]) -> Option<Self> {
        let aes = Aes::new(key)?;
        let mut salt = Zeroizing::new([0; 32]);
        Sha256::new_with_prefix(key).finalize_into((&mut *salt).into());
        Some(Self {
            aes,
            essiv: Some(Aes256Enc::new((&*salt).into())),
        })
    }

    pub(crate) fn encrypt(&self, run: Run<'_, '_>) {
        self.for_each_part(run, LANES, |blocks, ivs| self.encrypt_part(blocks, ivs));
    }

    pub(crate) fn decrypt(&self, run: Run<'_, '_>) {
        let units_per_chunk = CHUNK_BLOCKS / (run.unit_bytes / 16);
        self.for_each_part(run, units_per_chunk, |blocks, ivs| {
            self.decrypt_part(blocks, ivs);
        });
    }

    /// Cuts the data into parts of at most `max_units` data units (themselves at most [`LANES`]), with
    /// their IVs.
    fn for_each_part(
        &self,
        run: Run<'_, '_>,
        max_units: usize,
        process: impl Fn(InOutBuf<'_, '_, Block>, &mut [Block]),
    ) {
        let Run {
            unit_bytes,
            mut numbers,
            data,
        } = run;
        let blocks_per_unit = unit_bytes / 16;
        let (mut blocks, rest) = data.into_chunks::<U16>();
        debug_assert!(rest.is_empty() && blocks.len().is_multiple_of(blocks_per_unit));

        let mut ivs = [Block::default(); LANES];
        while !blocks.is_empty() {
            let units = max_units.min(blocks.len() / blocks_per_unit);
            let (part, after) = blocks.split_at(units * blocks_per_unit);
            blocks = after;
            let ivs = &mut ivs[..units];
            for block in &mut *ivs {
                block.0 = numbers.next_iv();
            }
            if let Some(essiv) = &self.essiv {
                essiv.encrypt_blocks(ivs);
            }
            process(part, ivs);
        }
    }

    /// `states` are the data units' IVs, and from then on their latest ciphertext blocks.
    fn encrypt_part(&self, mut blocks: InOutBuf<'_, '_, Block>, states: &mut [Block]) {
        let blocks_per_unit = blocks.len() / states.len();
        for at in 0..blocks_per_unit {
            let units = blocks.get_in().chunks_exact(blocks_per_unit);
            for (unit, state) in units.zip(&mut *states) {
                xor(state, &unit[at]);
            }
            self.aes.encrypt_blocks(states);
            let units = blocks.get_out().chunks_exact_mut(blocks_per_unit);
            for (unit, state) in units.zip(&*states) {
                unit[at] = *state;
            }
        }
    }

    /// At most [`CHUNK_BLOCKS`] blocks.
    fn decrypt_part(&self, mut blocks: InOutBuf<'_, '_, Block>, ivs: &[Block]) {
        let blocks_per_unit = blocks.len() / ivs.len();
        let mut decrypted = [Block::default(); CHUNK_BLOCKS];
        let decrypted = &mut decrypted[..blocks.len()];
        let ciphertext = blocks.get_in();
        let in_out = InOutBuf::new(ciphertext, decrypted);
        // OK to expect: the buffer was cut to their number.
        self.aes.decrypt_blocks(in_out.expect("one length"));
        let units = decrypted
            .chunks_exact_mut(blocks_per_unit)
            .zip(ciphertext.chunks_exact(blocks_per_unit));
        for ((decrypted, ciphertext), iv) in units.zip(ivs) {
            let Some((first, others)) = decrypted.split_first_mut() else {
                continue;
            };
            xor(first, iv);
            for (block, before) in others.iter_mut().zip(ciphertext) {
                xor(block, before);
            }
        }
        // Only now: where data are decrypted in place, this overwrites the ciphertext.
        blocks.get_out().copy_from_slice(decrypted);
    }
}

fn xor(block: &mut Block, with: &Block) {
    let [a, b] = [block.0, with.0].map(u128::from_ne_bytes);
    block.0 = (a ^ b).to_ne_bytes();
}

/// AES with a key of any of its lengths.
enum Aes {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Self::Aes128),
            24 => Aes192::new_from_slice(key).ok().map(Self::Aes192),
            32 => Aes256::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    fn encrypt_blocks(&self, blocks: &mut [Block]) {
        match self {
            Self::Aes128(aes) => aes.encrypt_blocks(blocks),
            Self::Aes192(aes) => aes.encrypt_blocks(blocks),
            Self::Aes256(aes) => aes.encrypt_blocks(blocks),
        }
    }

    fn decrypt_blocks(&self, blocks: InOutBuf<'_, '_, Block>) {
        match self {
            Self::Aes128(aes) => aes.decrypt_blocks_inout(blocks),
            Self::Aes192(aes) => aes.decrypt_blocks_inout(blocks),
            Self::Aes256(aes) => aes.decrypt_blocks_inout(blocks),
        }
    }
}
