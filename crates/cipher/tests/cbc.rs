//! AES-CBC: vectors from OpenSSL, the comparison with a CBC that takes block after block, and cryptsetup.
#![allow(clippy::unwrap_used)]

use aes::{Aes128, Aes192, Aes256};
use cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use hex_literal::hex;
use lucarne_cipher::{CipherError, DataUnit, Kernel, SectorCipher};
use lucarne_testkit::{cryptsetup::Cryptsetup, payload::stream};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const SPECS: [&str; 3] = ["aes-cbc-essiv:sha256", "aes-cbc-plain64", "aes-cbc-plain"];
const KEY_LENS: [usize; 3] = [16, 24, 32];

fn cipher(spec: &str, key: &[u8], unit: DataUnit) -> SectorCipher {
    SectorCipher::new(&spec.parse().unwrap(), key, unit).unwrap()
}

/// The key counts from 0, the plaintext counts modulo 251: the first and the last block of a sector,
/// as OpenSSL's `enc -aes-…-cbc` encrypts it with the IV that dm-crypt's documentation describes.
#[test]
fn openssl() {
    const PAST_32_BITS: u64 = (1 << 32) + 5;
    let vectors = [
        (
            "aes-cbc-essiv:sha256",
            16,
            0,
            hex!("5210b96528206c1bdf0d02d4d575b40a"),
            hex!("09ae6a414f7dea88cdff3da1f1da5d38"),
        ),
        (
            "aes-cbc-essiv:sha256",
            16,
            PAST_32_BITS,
            hex!("c6e0eede20185be81eab9afb10c14c48"),
            hex!("0aac02d00d1883f02cd53b7e14d7f201"),
        ),
        (
            "aes-cbc-essiv:sha256",
            24,
            0,
            hex!("934002183eaa2c2bef5d6215628d01da"),
            hex!("ed6519e044c6b46fd1e7fdd1dc033d10"),
        ),
        (
            "aes-cbc-essiv:sha256",
            24,
            PAST_32_BITS,
            hex!("bae392b3b72946cbedbac35bea56db13"),
            hex!("1e06a7fcbe05a3bfac55d7d56cec54c5"),
        ),
        (
            "aes-cbc-essiv:sha256",
            32,
            0,
            hex!("06c5a8be287fd6971791889950eccfb2"),
            hex!("59b0d57e75512477b30a8a9570bfe474"),
        ),
        (
            "aes-cbc-essiv:sha256",
            32,
            PAST_32_BITS,
            hex!("788e4c586ad8ce57941dcf4850b5e973"),
            hex!("dffad81a5759815559c67bf984248d6d"),
        ),
        (
            "aes-cbc-plain",
            32,
            PAST_32_BITS,
            hex!("c3717b69935f0067735f7c4273f2650b"),
            hex!("c0ffbdec0e2be59dd4a621dc18a564fa"),
        ),
        (
            "aes-cbc-plain64",
            32,
            PAST_32_BITS,
            hex!("dc0ff65940f3a7a7f8cb05b65e27122b"),
            hex!("b803492c3215ec99be9828bd6555aa85"),
        ),
    ];
    let plaintext: Vec<u8> = (0..512).map(|at| (at % 251) as u8).collect();
    for (spec, key_len, number, first, last) in vectors {
        let key: Vec<u8> = (0..key_len).collect();
        let cipher = cipher(spec, &key, DataUnit::B512);
        let mut data = plaintext.clone();
        cipher.encrypt(number, &mut data).unwrap();
        assert_eq!(data[..16], first, "{spec} {key_len} {number}");
        assert_eq!(data[496..], last, "{spec} {key_len} {number}");
        cipher.decrypt(number, &mut data).unwrap();
        assert_eq!(data, plaintext, "{spec} {key_len} {number}");
    }
}

/// By the definition: a block after the other, the IV of each data unit made afresh.
fn naive<C>(spec: &str, key: &[u8], unit: DataUnit, first_iv: u64, data: &mut [u8])
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    let aes = C::new_from_slice(key).unwrap();
    let numbers = (0..).map(|index| first_iv + index * u64::from(unit.iv_step()));
    for (number, data) in numbers.zip(data.chunks_mut(unit.bytes() as usize)) {
        let mut state = [0; 16];
        match spec {
            "aes-cbc-plain" => state[..4].copy_from_slice(&(number as u32).to_le_bytes()),
            _ => state[..8].copy_from_slice(&number.to_le_bytes()),
        }
        if spec == "aes-cbc-essiv:sha256" {
            let salt = Sha256::digest(key);
            Aes256::new_from_slice(&salt)
                .unwrap()
                .encrypt_block((&mut state).into());
        }
        for block in data.chunks_mut(16) {
            for (state, byte) in state.iter_mut().zip(&*block) {
                *state ^= byte;
            }
            aes.encrypt_block((&mut state).into());
            block.copy_from_slice(&state);
        }
    }
}

fn naive_for_key(spec: &str, key: &[u8], unit: DataUnit, first_iv: u64, data: &mut [u8]) {
    match key.len() {
        16 => naive::<Aes128>(spec, key, unit, first_iv, data),
        24 => naive::<Aes192>(spec, key, unit, first_iv, data),
        _ => naive::<Aes256>(spec, key, unit, first_iv, data),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any number of data units, on both sides of a batch's width; in place, from one buffer to another,
    /// and in two parts; IVs on both sides of 2^32.
    #[test]
    fn any_run_is_the_naive_one(
        spec in prop::sample::select(SPECS.to_vec()),
        key_len in prop::sample::select(KEY_LENS.to_vec()),
        unit in prop::sample::select(DataUnit::ALL.to_vec()),
        units in prop_oneof![0_usize..4, 60_usize..70, 120_usize..140],
        first_iv in prop_oneof![any::<u32>().prop_map(u64::from), (1_u64 << 32) - 200..(1 << 32) + 10, 0..1_u64 << 60],
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let key = stream(&format!("key {seed}"), key_len);
        let plaintext = stream(&format!("plaintext {seed}"), units * unit.bytes() as usize);
        let mut expected = plaintext.clone();
        naive_for_key(spec, &key, unit, first_iv, &mut expected);

        let cipher = cipher(spec, &key, unit);
        let mut data = plaintext.clone();
        cipher.encrypt(first_iv, &mut data).unwrap();
        prop_assert!(data == expected);
        cipher.decrypt(first_iv, &mut data).unwrap();
        prop_assert!(data == plaintext);

        let mut copy = vec![0; data.len()];
        cipher.encrypt_from(first_iv, &plaintext, &mut copy).unwrap();
        prop_assert!(copy == expected);
        cipher.decrypt_from(first_iv, &expected, &mut copy).unwrap();
        prop_assert!(copy == plaintext);

        let before = cut.index(units + 1);
        let (head, tail) = data.split_at_mut(before * unit.bytes() as usize);
        cipher.encrypt(first_iv, head).unwrap();
        cipher.encrypt(first_iv + before as u64 * u64::from(unit.iv_step()), tail).unwrap();
        prop_assert!(data == expected);
    }
}

#[test]
fn cryptsetup_encrypts_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("AES-CBC beside cryptsetup") else {
        return;
    };
    let plaintext = stream("cbc", 64 << 10);
    let cases = [
        ("aes-cbc-essiv:sha256", 16, DataUnit::B512),
        ("aes-cbc-essiv:sha256", 24, DataUnit::B512),
        ("aes-cbc-essiv:sha256", 32, DataUnit::B512),
        ("aes-cbc-essiv:sha256", 32, DataUnit::B4096),
        ("aes-cbc-plain64", 32, DataUnit::B512),
        ("aes-cbc-plain64", 16, DataUnit::B2048),
        ("aes-cbc-plain", 32, DataUnit::B512),
    ];
    for (spec, key_len, unit) in cases {
        let key = stream(&format!("key of {spec}"), key_len);
        let theirs = cryptsetup.ciphertext(&plaintext, &key, spec, unit.bytes() as usize);
        let cipher = cipher(spec, &key, unit);
        let mut ours = plaintext.clone();
        cipher.encrypt(0, &mut ours).unwrap();
        assert!(theirs == ours, "{spec}, {key_len} bytes, {unit:?}");
    }
}

/// The policy is XTS's: its halves are one key, and of two.
#[test]
fn a_key_of_equal_halves_is_none_of_cbc_s_concern() {
    let cipher = cipher("aes-cbc-essiv:sha256", &[7; 32], DataUnit::B512);
    let mut data = [0; 512];
    cipher.encrypt(0, &mut data).unwrap();
    assert_ne!(data, [0; 512]);
}

#[test]
fn wrong_uses_are_errors_before_anything_changes() {
    for key_len in [0, 15, 31, 48, 64] {
        let spec = "aes-cbc-essiv:sha256".parse().unwrap();
        let error = SectorCipher::new(&spec, &vec![1; key_len], DataUnit::B512).unwrap_err();
        assert!(
            matches!(error, CipherError::KeySize { bytes, takes: [16, 24, 32], .. } if bytes == key_len)
        );
    }
    let cipher = cipher("aes-cbc-plain64", &[1; 16], DataUnit::B4096);
    let mut data = vec![0; 8192];
    let error = cipher.encrypt(0, &mut data[..4608]).unwrap_err();
    assert!(matches!(error, CipherError::PartialDataUnit { .. }));
    let error = cipher.decrypt(u64::MAX - 7, &mut data).unwrap_err();
    assert!(matches!(error, CipherError::IvOverflow { .. }));
    assert_eq!(data, vec![0; 8192]);
    // The last number that fits.
    cipher.encrypt(u64::MAX - 8, &mut data).unwrap();
    cipher.decrypt(u64::MAX - 8, &mut data).unwrap();
    assert_eq!(data, vec![0; 8192]);
}

/// The kernels are XTS's; for CBC each of them is as good as the next.
#[test]
fn every_kernel_gives_the_same() {
    let spec = "aes-cbc-essiv:sha256".parse().unwrap();
    let plaintext = stream("kernels", 8192);
    let mut results = Kernel::available().map(|kernel| {
        let cipher =
            SectorCipher::new_with_kernel(&spec, &[3; 32], DataUnit::B512, kernel).unwrap();
        let mut data = plaintext.clone();
        cipher.encrypt(9, &mut data).unwrap();
        data
    });
    let first = results.next().unwrap();
    assert!(results.all(|data| data == first));
}
