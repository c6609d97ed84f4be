//! Vectors of IEEE 1619 and of the kernel, and the comparison with an independent XTS.
#![allow(clippy::unwrap_used)]

use aes::{Aes128, Aes256};
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use hex_literal::hex;
use lucarne_cipher::{CipherError, DataUnit, Kernel, SectorCipher, XtsAes};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use xts_mode::Xts128;

fn cipher(spec: &str, key: &[u8], unit: DataUnit) -> SectorCipher {
    SectorCipher::new(&spec.parse().unwrap(), key, unit).unwrap()
}

/// The same on every kernel that this CPU can run.
fn ciphers(spec: &str, key: &[u8], unit: DataUnit) -> impl Iterator<Item = (Kernel, SectorCipher)> {
    let spec = spec.parse().unwrap();
    Kernel::available().map(move |kernel| {
        let cipher = SectorCipher::new_with_kernel(&spec, key, unit, kernel).unwrap();
        (kernel, cipher)
    })
}

/// IEEE 1619-2018, annex B, vectors 4 and 10: the plaintext counts from 0x00 to 0xff, twice.
#[test]
fn ieee_1619() {
    let plaintext: Vec<u8> = (0..=255).chain(0..=255).collect();
    let aes128_key = hex!("2718281828459045235360287471352631415926535897932384626433832795");
    let aes256_key = hex!(
        "2718281828459045235360287471352662497757247093699959574966967627"
        "3141592653589793238462643383279502884197169399375105820974944592"
    );
    let vector_4 = hex!(
        "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89cc78cf7f5e543445f"
        "8333d8fa7f56000005279fa5d8b5e4ad40e736ddb4d35412328063fd2aab53e5ea1e0a9f332500a5"
        "df9487d07a5c92cc512c8866c7e860ce93fdf166a24912b422976146ae20ce846bb7dc9ba94a767a"
        "aef20c0d61ad02655ea92dc4c4e41a8952c651d33174be51a10c421110e6d81588ede82103a252d8"
        "a750e8768defffed9122810aaeb99f9172af82b604dc4b8e51bcb08235a6f4341332e4ca60482a4b"
        "a1a03b3e65008fc5da76b70bf1690db4eae29c5f1badd03c5ccf2a55d705ddcd86d449511ceb7ec3"
        "0bf12b1fa35b913f9f747a8afd1b130e94bff94effd01a91735ca1726acd0b197c4e5b03393697e1"
        "26826fb6bbde8ecc1e08298516e2c9ed03ff3c1b7860f6de76d4cecd94c8119855ef5297ca67e9f3"
        "e7ff72b1e99785ca0a7e7720c5b36dc6d72cac9574c8cbbc2f801e23e56fd344b07f22154beba0f0"
        "8ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd74d20cc39881c213ee770b1010e4bea7"
        "18846977ae119f7a023ab58cca0ad752afe656bb3c17256a9f6e9bf19fdd5a38fc82bbe872c5539e"
        "db609ef4f79c203ebb140f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d6c017db738b18d"
        "eb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568"
    );
    let vector_10 = hex!(
        "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d"
        "66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd5776926c49a3095eb108fd1098baec70"
        "aaa66999a72a82f27d848b21d4a741b0c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf10"
        "00020887891429ca2a3e7a7d7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0"
        "b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e12ac3a0f93ec05c52e0493ef"
        "31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec583e9645e07b8d9670655ba5bbcfecc6"
        "dc3966380ad8fecb17b6ba02469a020a84e18e8f84252070c13e9f1f289be54fbc481457778f6160"
        "15e1327a02b140f1505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae"
        "9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29a9abc3d4d8939272"
        "84c58754cce294529f8614dcd2aba991925fedc4ae74ffac6e333b93eb4aff0479da9a410e4450e0"
        "dd7ae4c6e2910900575da401fc07059f645e8b7e9bfdef33943054ff84011493c27b3429eaedb4ed"
        "5376441a77ed43851ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa"
        "773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151"
    );
    for (key, iv, ciphertext) in [
        (&aes128_key[..], 0, vector_4),
        (&aes256_key[..], 0xff, vector_10),
    ] {
        for (kernel, cipher) in ciphers("aes-xts-plain64", key, DataUnit::B512) {
            let mut data = plaintext.clone();
            cipher.encrypt(iv, &mut data).unwrap();
            assert_eq!(data, ciphertext, "{kernel}");
            cipher.decrypt(iv, &mut data).unwrap();
            assert_eq!(data, plaintext, "{kernel}");
        }
    }
}

/// `len` bytes of the concatenation of SHA-256("luks-truth-v1:" name ":" i) for the 64-bit
/// little-endian i = 0, 1, …
fn stream(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0_u64.. {
        if bytes.len() >= len {
            break;
        }
        let prefix = format!("luks-truth-v1:{name}:");
        bytes.extend(
            Sha256::new()
                .chain_update(prefix)
                .chain_update(i.to_le_bytes())
                .finalize(),
        );
    }
    bytes.truncate(len);
    bytes
}

/// Written by Linux 6.1's dm-crypt through the table
/// `0 32 crypt CIPHER KEY IV_OFFSET DEVICE 0 [1 sector_size:N]`, from 16 KiB of the stream
/// `rawplain` under the first 64 bytes of the stream `rawkey`.
#[test]
fn what_dm_crypt_writes() {
    let key = stream("rawkey", 64);
    let plaintext = stream("rawplain", 16384);
    let vectors = [
        // The IVs cross 2^32.
        (
            DataUnit::B512,
            4_294_967_290,
            hex!("0cffbad743aa34084015c2d8cc3e5c3447035691f97d6f720bec6df21b1466f9"),
        ),
        (
            DataUnit::B1024,
            0,
            hex!("69decd02601b905990e862b67fbb311419abc8c9caaea4deef71bb38a05e88ce"),
        ),
        (
            DataUnit::B4096,
            0,
            hex!("dd007a600f1840cfc21197bf34f50292dc30cccc07631d1c83d375aed1a9eda1"),
        ),
    ];
    for (unit, first_iv, sha256) in vectors {
        for (kernel, cipher) in ciphers("aes-xts-plain64", &key, unit) {
            let mut data = plaintext.clone();
            cipher.encrypt(first_iv, &mut data).unwrap();
            assert_eq!(Sha256::digest(&data)[..], sha256, "{kernel}, {unit:?}");
            cipher.decrypt(first_iv, &mut data).unwrap();
            assert_eq!(data, plaintext, "{kernel}, {unit:?}");
        }
    }
}

/// The oracle: `xts-mode`, which goes block by block.
fn reference(
    encrypt: bool,
    key: &[u8],
    unit_bytes: usize,
    data: &mut [u8],
    iv: impl Fn(u64) -> u64,
) {
    fn apply<C>(encrypt: bool, key: &[u8], data: &mut [u8], iv: [u8; 16])
    where
        C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
    {
        let (data_key, tweak_key) = key.split_at(key.len() / 2);
        let xts = Xts128::new(
            C::new_from_slice(data_key).unwrap(),
            C::new_from_slice(tweak_key).unwrap(),
        );
        if encrypt {
            xts.encrypt_sector(data, iv.into());
        } else {
            xts.decrypt_sector(data, iv.into());
        }
    }
    for (index, data) in (0..).zip(data.chunks_mut(unit_bytes)) {
        let iv = u128::from(iv(index)).to_le_bytes();
        match key.len() {
            32 => apply::<Aes128>(encrypt, key, data, iv),
            _ => apply::<Aes256>(encrypt, key, data, iv),
        }
    }
}

/// Bytes that tell blocks and places in them apart.
fn pattern(material: &[u8], len: usize) -> Vec<u8> {
    material
        .iter()
        .cycle()
        .zip(0_u32..)
        .map(|(byte, i)| byte ^ (i / 64) as u8 ^ (i >> 14) as u8)
        .take(len)
        .collect()
}

/// IVs where something could carry or wrap, as far below 2^64 as 200 data units need.
fn first_ivs() -> impl Strategy<Value = u64> {
    let last = u64::MAX - 200 * 8;
    prop_oneof![
        0..4096_u64,
        (1_u64 << 32) - 2000..(1 << 32) + 2000,
        last - 2000..last,
        0..last,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_kernel_and_way_in_agrees_with_xts_mode(
        seed in any::<[u8; 8]>(),
        key_bytes in proptest::sample::select(vec![32_usize, 64]),
        plain in any::<bool>(),
        unit in proptest::sample::select(DataUnit::ALL.to_vec()),
        units in prop_oneof![0..9_usize, 60..70_usize, 0..200_usize],
        first_iv in first_ivs(),
    ) {
        let material = stream(&format!("{seed:?}"), 64);
        let key = &material[..key_bytes];
        let spec = if plain { "aes-xts-plain" } else { "aes-xts-plain64" };
        let unit_bytes = unit.bytes() as usize;
        let source = pattern(&material, units * unit_bytes);
        let iv = |index: u64| {
            let number = first_iv + index * u64::from(unit.iv_step());
            if plain { u64::from(number as u32) } else { number }
        };
        let mut encrypted = source.clone();
        reference(true, key, unit_bytes, &mut encrypted, iv);
        let mut decrypted = source.clone();
        reference(false, key, unit_bytes, &mut decrypted, iv);

        for (kernel, cipher) in ciphers(spec, key, unit) {
            let mut actual = source.clone();
            cipher.encrypt(first_iv, &mut actual).unwrap();
            prop_assert!(actual == encrypted, "{kernel}: encrypt");
            let mut destination = vec![0xee; source.len()];
            cipher.encrypt_from(first_iv, &source, &mut destination).unwrap();
            prop_assert!(destination == encrypted, "{kernel}: encrypt_from");

            let mut actual = source.clone();
            cipher.decrypt(first_iv, &mut actual).unwrap();
            prop_assert!(actual == decrypted, "{kernel}: decrypt");
            cipher.decrypt_from(first_iv, &source, &mut destination).unwrap();
            prop_assert!(destination == decrypted, "{kernel}: decrypt_from");
        }
    }

    #[test]
    fn data_units_of_any_number_of_blocks_agree_with_xts_mode(
        seed in any::<[u8; 8]>(),
        key_bytes in proptest::sample::select(vec![32_usize, 64]),
        blocks in prop_oneof![1..70_usize, 1..=4096_usize],
        units in 1..14_usize,
        first_unit in first_ivs(),
    ) {
        let material = stream(&format!("{seed:?}"), 64);
        let key = &material[..key_bytes];
        let unit_bytes = blocks * 16;
        let source = pattern(&material, units * unit_bytes);
        let mut encrypted = source.clone();
        reference(true, key, unit_bytes, &mut encrypted, |index| first_unit + index);
        for kernel in Kernel::available() {
            let xts = XtsAes::new(key, kernel).unwrap();
            let mut data = source.clone();
            xts.encrypt(unit_bytes, first_unit, &mut data).unwrap();
            prop_assert!(data == encrypted, "{kernel}: encrypt");
            xts.decrypt(unit_bytes, first_unit, &mut data).unwrap();
            prop_assert!(data == source, "{kernel}: decrypt");
            xts.encrypt_from(unit_bytes, first_unit, &source, &mut data).unwrap();
            prop_assert!(data == encrypted, "{kernel}: encrypt_from");
            let mut back = vec![0; data.len()];
            xts.decrypt_from(unit_bytes, first_unit, &data, &mut back).unwrap();
            prop_assert!(back == source, "{kernel}: decrypt_from");
        }
    }

    #[test]
    fn cutting_the_data_in_two_changes_nothing(
        units in 1..150_usize,
        cut in 0..150_usize,
        first_iv in first_ivs(),
    ) {
        let cut = cut.min(units);
        for (kernel, cipher) in ciphers("aes-xts-plain64", &stream("key", 64), DataUnit::B512) {
            let mut whole = vec![0x5a; units * 512];
            let mut pieces = whole.clone();
            cipher.encrypt(first_iv, &mut whole).unwrap();
            let (head, tail) = pieces.split_at_mut(cut * 512);
            cipher.encrypt(first_iv + cut as u64, tail).unwrap();
            cipher.encrypt(first_iv, head).unwrap();
            prop_assert!(whole == pieces, "{kernel}");
        }
    }
}

#[test]
fn any_alignment_will_do() {
    for (kernel, cipher) in ciphers("aes-xts-plain64", &stream("key", 64), DataUnit::B512) {
        let mut expected = vec![7; 2048];
        cipher.encrypt(3, &mut expected).unwrap();
        for shift in 0..64 {
            let mut buffer = vec![7; 2048 + 64];
            cipher.encrypt(3, &mut buffer[shift..shift + 2048]).unwrap();
            assert_eq!(buffer[shift..shift + 2048], expected, "{kernel}");
            let (before, after) = (&buffer[..shift], &buffer[shift + 2048..]);
            assert!(
                before.iter().chain(after).all(|&byte| byte == 7),
                "{kernel}"
            );
        }
    }
}

#[test]
fn clones_and_threads_share_a_key() {
    let cipher = cipher("aes-xts-plain64", &stream("key", 32), DataUnit::B4096);
    let mut expected = vec![1; 8192];
    cipher.encrypt(0, &mut expected).unwrap();
    let clone = cipher.clone();
    drop(cipher);
    let (mut first, mut second) = (vec![1; 4096], vec![1; 4096]);
    std::thread::scope(|scope| {
        scope.spawn(|| clone.encrypt(0, &mut first).unwrap());
        scope.spawn(|| clone.encrypt(8, &mut second).unwrap());
    });
    assert_eq!([first, second].concat(), expected);
}

#[test]
fn the_last_iv_of_all_is_usable_and_the_one_after_is_refused() {
    let cipher = cipher("aes-xts-plain64", &stream("key", 64), DataUnit::B1024);
    let mut data = vec![0; 2048];
    cipher.encrypt(u64::MAX - 2, &mut data).unwrap();
    let mut untouched = vec![0; 2048];
    let error = cipher.encrypt(u64::MAX - 1, &mut untouched).unwrap_err();
    assert_eq!(
        error,
        CipherError::IvOverflow {
            first_iv: u64::MAX - 1,
            len_bytes: 2048
        }
    );
    assert_eq!(untouched, vec![0; 2048]);
    cipher.encrypt(u64::MAX, &mut untouched[..1024]).unwrap();
    cipher.encrypt(u64::MAX, &mut []).unwrap();
}

#[test]
fn part_of_a_data_unit_is_refused() {
    let cipher = cipher("aes-xts-plain64", &stream("key", 64), DataUnit::B4096);
    for len_bytes in [1, 16, 512, 4095, 4097, 6144] {
        let refused = Err(CipherError::PartialDataUnit {
            len_bytes,
            data_unit_bytes: 4096,
        });
        assert_eq!(cipher.encrypt(0, &mut vec![0; len_bytes]), refused);
        assert_eq!(cipher.decrypt(0, &mut vec![0; len_bytes]), refused);
    }
    let refused = cipher.encrypt_from(0, &[0; 4096], &mut [0; 8192]);
    assert_eq!(
        refused,
        Err(CipherError::LengthMismatch {
            source_bytes: 4096,
            destination_bytes: 8192
        }),
    );
}

#[test]
fn unsupported_ciphers_are_refused_by_name_with_what_is_supported() {
    for name in [
        "aes",
        "aes-xts",
        "cipher_null-ecb",
        "aes-cbc-essiv:sha1",
        "aes-xts-plain64be",
        "aes-xts-plain64:x",
        "aes-xts-null",
        "serpent-xts-plain64",
        "capi:xts(aes)-plain64",
    ] {
        let error =
            SectorCipher::new(&name.parse().unwrap(), &[0; 64], DataUnit::B512).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cipher {name} is not supported (supported: aes-xts-plain64, aes-xts-plain, \
                 aes-cbc-essiv:sha256, aes-cbc-plain64, aes-cbc-plain)"
            ),
        );
    }
}

#[test]
fn keys_are_32_or_64_bytes_of_unequal_halves() {
    let spec = "aes-xts-plain64".parse().unwrap();
    for len in [0, 1, 16, 31, 33, 48, 63, 65, 128] {
        let error = SectorCipher::new(&spec, &vec![1; len], DataUnit::B512).unwrap_err();
        assert_eq!(
            error,
            CipherError::KeySize {
                spec: "aes-xts-plain64".to_owned(),
                bytes: len,
                takes: &[32, 64],
            }
        );
    }
    for len in [32, 64] {
        let mut key = vec![1; len];
        let error = SectorCipher::new(&spec, &key, DataUnit::B512).unwrap_err();
        assert_eq!(error, CipherError::EqualKeyHalves);
        SectorCipher::new_for_existing(&spec, &key, DataUnit::B512).unwrap();
        key[len - 1] ^= 0x80;
        SectorCipher::new(&spec, &key, DataUnit::B512).unwrap();
    }
}

#[test]
fn debug_shows_no_key() {
    let shown = format!(
        "{:?}",
        cipher("aes-xts-plain64", &stream("key", 64), DataUnit::B512)
    );
    assert_eq!(shown, "SectorCipher { iv: Plain64, data_unit: B512, .. }");
}

#[test]
fn kernels_that_this_cpu_lacks_are_refused() {
    let spec = "aes-xts-plain64".parse().unwrap();
    for kernel in Kernel::ALL
        .into_iter()
        .filter(|kernel| !kernel.is_available())
    {
        let error =
            SectorCipher::new_with_kernel(&spec, &stream("key", 64), DataUnit::B512, kernel)
                .unwrap_err();
        assert_eq!(error, CipherError::KernelUnavailable { kernel });
        let message = format!("this CPU cannot run the kernel {kernel} (it can: ");
        assert!(error.to_string().starts_with(&message), "{error}");
    }
}

#[test]
fn data_units_that_are_not_whole_blocks_or_too_large_are_refused() {
    let xts = XtsAes::new(&stream("key", 64), Kernel::preferred()).unwrap();
    for bytes in [0, 1, 15, 17, 511, 65537, 65552, usize::MAX, usize::MAX - 15] {
        let refused = Err(CipherError::UnitSize { bytes });
        assert_eq!(xts.encrypt(bytes, 0, &mut [0; 32]), refused);
        assert_eq!(xts.decrypt(bytes, 0, &mut [0; 32]), refused);
    }
    let refused = Err(CipherError::PartialDataUnit {
        len_bytes: 32,
        data_unit_bytes: 48,
    });
    assert_eq!(xts.encrypt(48, 0, &mut [0; 32]), refused);
    let mut data = [0; 32];
    let refused = Err(CipherError::IvOverflow {
        first_iv: u64::MAX,
        len_bytes: 32,
    });
    assert_eq!(xts.encrypt(16, u64::MAX, &mut data), refused);
    assert_eq!(data, [0; 32]);
    xts.encrypt(32, u64::MAX, &mut data).unwrap();
    assert_eq!(
        XtsAes::new(&[1; 32], Kernel::Portable).unwrap_err(),
        CipherError::EqualKeyHalves
    );
    assert!(matches!(
        XtsAes::new(&[1; 48], Kernel::Portable).unwrap_err(),
        CipherError::KeySize { bytes: 48, .. }
    ));
}
