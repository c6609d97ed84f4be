//! The key expansion of AES (FIPS 197, 5.2), which the `aes` crate does not give away.

use zeroize::Zeroize;

use super::arch::{Block, Enter, Isa};

/// The round keys of an XTS key: 11 blocks each for AES-128, 15 for AES-256. Wiped on drop.
pub(super) struct Schedule<const N: usize> {
    encrypt: [Block; N],
    decrypt: [Block; N],
    tweak: [Block; N],
}

impl<const N: usize> Schedule<N> {
    /// Of the data key, then the tweak key. Written where it stays: nothing is left behind by moving.
    ///
    /// `None` if the key does not have the length of two keys.
    pub(super) fn new(isa: impl Enter, key: &[u8]) -> Option<Box<Self>> {
        if key.len() != 2 * key_len::<N>() {
            return None;
        }
        let (data_key, tweak_key) = key.split_at(key.len() / 2);
        let mut schedule = Box::new(Self {
            encrypt: [Block::default(); N],
            decrypt: [Block::default(); N],
            tweak: [Block::default(); N],
        });
        let Self {
            encrypt,
            decrypt,
            tweak,
        } = &mut *schedule;
        // The tweak key only ever encrypts; what is made for decrypting with it is overwritten.
        isa.expand(tweak_key, tweak, decrypt);
        isa.expand(data_key, encrypt, decrypt);
        Some(schedule)
    }

    pub(super) fn encrypt(&self) -> &[Block; N] {
        &self.encrypt
    }

    pub(super) fn decrypt(&self) -> &[Block; N] {
        &self.decrypt
    }

    pub(super) fn tweak(&self) -> &[Block; N] {
        &self.tweak
    }
}

impl<const N: usize> Drop for Schedule<N> {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.decrypt.zeroize();
        self.tweak.zeroize();
        #[cfg(test)]
        tests::observe_after_wipe([&self.encrypt, &self.decrypt, &self.tweak]);
    }
}

/// Length in bytes of the AES key with so many round keys: 4·(rounds - 6) words of 4 bytes.
const fn key_len<const N: usize>() -> usize {
    4 * (N - 7)
}

/// Fills in the round keys for the cipher, and those for the equivalent inverse cipher (5.3.5) in the
/// order of their use.
#[inline(always)]
pub(super) fn expand<I: Isa, const N: usize>(
    isa: I,
    key: &[u8],
    encrypt: &mut [Block; N],
    decrypt: &mut [Block; N],
) {
    let key_words = key.len() / 4;
    encrypt.as_flattened_mut()[..key.len()].copy_from_slice(key);
    let mut round_constant = 1;
    for index in key_words..4 * N {
        let (words, _) = encrypt.as_flattened_mut().as_chunks_mut::<4>();
        let mut word = u32::from_le_bytes(words[index - 1]);
        if index.is_multiple_of(key_words) {
            // The first byte becomes the last (RotWord), words being little-endian.
            word = isa.sub_word(word.rotate_right(8)) ^ round_constant;
            // Ten at most, the last two of them reduced modulo x^8 + x^4 + x^3 + x + 1.
            round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x11b);
        } else if key_words > 6 && index % key_words == 4 {
            word = isa.sub_word(word);
        }
        word ^= u32::from_le_bytes(words[index - key_words]);
        words[index] = word.to_le_bytes();
    }
    for (round, key) in decrypt.iter_mut().enumerate() {
        let from = &encrypt[N - 1 - round];
        *key = if round == 0 || round == N - 1 {
            *from
        } else {
            isa.inv_mix_columns(from)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use hex_literal::hex;

    use super::*;
    use crate::xts::dispatch::{Xts, for_every_unit, on_unit};

    thread_local! {
        static LAST_DROPPED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }

    pub(super) fn observe_after_wipe<const N: usize>(keys: [&[Block; N]; 3]) {
        let bytes = keys.map(|keys| keys.as_flattened()).concat();
        LAST_DROPPED.with_borrow_mut(|last| *last = Some(bytes));
    }

    /// All there is in the memory that is given back: three times 11 or 15 round keys.
    #[test]
    fn a_dropped_key_leaves_zeros() {
        let key: Vec<u8> = (1..=64).collect();
        for_every_unit(|unit| {
            for (key, rounds) in [(&key[..32], 11), (&key, 15)] {
                LAST_DROPPED.take();
                let xts = Xts::new(Some(unit), key).unwrap();
                assert_eq!(LAST_DROPPED.take(), None);
                drop(xts);
                assert_eq!(LAST_DROPPED.take(), Some(vec![0; 3 * rounds * 16]));
            }
        });
        assert_eq!(size_of::<Schedule<11>>(), 3 * 11 * 16);
        assert_eq!(size_of::<Schedule<15>>(), 3 * 15 * 16);
    }

    /// The portable kernel's round keys are the `aes` crate's to wipe; a feature of it does.
    #[test]
    fn the_portable_kernels_ciphers_wipe_themselves() {
        fn wipes_itself<C: zeroize::ZeroizeOnDrop>() {}
        wipes_itself::<aes::Aes128>();
        wipes_itself::<aes::Aes128Enc>();
        wipes_itself::<aes::Aes256>();
        wipes_itself::<aes::Aes256Enc>();
    }

    /// FIPS 197, appendices A.1 and A.3: the key, and the last round key.
    #[test]
    fn the_round_keys_are_those_of_fips_197() {
        let key_128 = hex!("2b7e151628aed2a6abf7158809cf4f3c");
        let key_256 = hex!("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        for_every_unit(|unit| {
            let [mut encrypt, mut decrypt] = [[Block::default(); 11]; 2];
            on_unit!(unit, isa => isa.expand(&key_128, &mut encrypt, &mut decrypt));
            assert_eq!(encrypt[0], key_128);
            assert_eq!(encrypt[10], hex!("d014f9a8c9ee2589e13f0cc8b6630ca6"));
            assert_eq!([decrypt[0], decrypt[10]], [encrypt[10], encrypt[0]]);

            let [mut encrypt, mut decrypt] = [[Block::default(); 15]; 2];
            on_unit!(unit, isa => isa.expand(&key_256, &mut encrypt, &mut decrypt));
            assert_eq!(encrypt[..2].as_flattened(), key_256);
            assert_eq!(encrypt[14], hex!("fe4890d1e6188d0b046df344706c631e"));
            assert_eq!([decrypt[0], decrypt[14]], [encrypt[14], encrypt[0]]);
        });
    }

    #[test]
    fn only_keys_of_the_right_length_are_taken() {
        for_every_unit(|unit| {
            for len in 0..=80 {
                let key = vec![1; len];
                let schedule: Option<Box<Schedule<11>>> =
                    on_unit!(unit, isa => Schedule::new(isa, &key));
                assert_eq!(schedule.is_some(), len == 32);
                let schedule: Option<Box<Schedule<15>>> =
                    on_unit!(unit, isa => Schedule::new(isa, &key));
                assert_eq!(schedule.is_some(), len == 64);
            }
        });
    }
}
