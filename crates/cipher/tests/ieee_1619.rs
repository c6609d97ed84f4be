//! The other vectors of whole blocks of IEEE 1619-2018, annex B (tests/xts.rs has 4 and 10), on every kernel.
#![allow(clippy::unwrap_used)]

use hex_literal::hex;
use lucarne_cipher::{DataUnit, Kernel, SectorCipher, XtsAes};

/// A data unit's number, and the first and the last block of its ciphertext.
type Vector = (u64, [u8; 16], [u8; 16]);

/// The vectors' plaintext: 0x00 to 0xff, twice.
fn counting() -> Vec<u8> {
    (0..=255).chain(0..=255).collect()
}

fn assert_ends(data: &[u8], (number, first, last): Vector, kernel: Kernel) {
    assert_eq!(data[..16], first, "{kernel}, data unit {number:#x}");
    assert_eq!(
        data[data.len() - 16..],
        last,
        "{kernel}, data unit {number:#x}"
    );
}

/// Vector 1: keys and plaintext of zeros. Halves that are equal are for data that exists only, and that has
/// sectors; the vector is the first two blocks of one.
#[test]
fn vector_1() {
    let spec = "aes-xts-plain64".parse().unwrap();
    let cipher = SectorCipher::new_for_existing(&spec, &[0; 32], DataUnit::B512).unwrap();
    let mut data = [0; 512];
    cipher.encrypt(0, &mut data).unwrap();
    assert_eq!(
        data[..32],
        hex!("917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e")
    );
}

/// Two blocks each.
#[test]
fn vectors_2_and_3() {
    let vectors = [
        (
            hex!("1111111111111111111111111111111122222222222222222222222222222222"),
            hex!("c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"),
        ),
        (
            hex!("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f022222222222222222222222222222222"),
            hex!("af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89"),
        ),
    ];
    for kernel in Kernel::available() {
        for (key, ciphertext) in vectors {
            let xts = XtsAes::new(&key, kernel).unwrap();
            let mut data = [0x44; 32];
            xts.encrypt(32, 0x33_3333_3333, &mut data).unwrap();
            assert_eq!(data, ciphertext, "{kernel}");
            xts.decrypt(32, 0x33_3333_3333, &mut data).unwrap();
            assert_eq!(data, [0x44; 32], "{kernel}");
        }
    }
}

/// The plaintext of each is the ciphertext of the one before it, from number 0 to 0xff; the standard prints the
/// first ones and the last.
#[test]
fn vectors_5_to_9() {
    let printed: [Vector; 6] = [
        (
            1,
            hex!("264d3ca8512194fec312c8c9891f279f"),
            hex!("fd2a89ccb45e001a03a867b187f225dd"),
        ),
        (
            2,
            hex!("fa762a3680b76007928ed4a4f49a9456"),
            hex!("4bcf518138dc3a25c5e236171a2d01d6"),
        ),
        // The plaintext of vector 7.
        (
            0xfc,
            hex!("8e41b78c390b5af9d758bb214a67e9f6"),
            hex!("d3e03555fd424eedd67e18a18094f888"),
        ),
        (
            0xfd,
            hex!("d55f684f81f4426e9fde92a5ff02df2a"),
            hex!("1d1c0a6783e011fc536d63d053260637"),
        ),
        (
            0xfe,
            hex!("72efc1ebfe1ee25975a6eb3aa8589dda"),
            hex!("883accdbe1104eef0cfdb54e12fb230a"),
        ),
        (
            0xff,
            hex!("3260ae8dad1f4a32c5cafe3ab0eb9554"),
            hex!("c8a8679ccb84c26555440ec7f10445cd"),
        ),
    ];
    let key = hex!("2718281828459045235360287471352631415926535897932384626433832795");
    for kernel in Kernel::available() {
        let xts = XtsAes::new(&key, kernel).unwrap();
        let mut data = counting();
        let mut seen = 0;
        for number in 0..=0xff {
            xts.encrypt(512, number, &mut data).unwrap();
            for &vector in printed.iter().filter(|vector| vector.0 == number) {
                assert_ends(&data, vector, kernel);
                seen += 1;
            }
        }
        assert_eq!(seen, printed.len());
        for number in (0..=0xff).rev() {
            xts.decrypt(512, number, &mut data).unwrap();
        }
        assert_eq!(data, counting(), "{kernel}");
    }
}

/// AES-256, and numbers of two to five bytes.
#[test]
fn vectors_11_to_14() {
    let vectors: [Vector; 4] = [
        (
            0xffff,
            hex!("77a31251618a15e6b92d1d66dffe7b50"),
            hex!("a4f9e27b42af8100cb9d59cef9645803"),
        ),
        (
            0xff_ffff,
            hex!("e387aaa58ba483afa7e8eb469778317e"),
            hex!("2263a1eef52dd6888c309f5a7d712826"),
        ),
        (
            0xffff_ffff,
            hex!("bf53d2dade78e822a4d949a9bc6766b0"),
            hex!("4c82f335abb152c4a93411373aaa8220"),
        ),
        (
            0xff_ffff_ffff,
            hex!("64497e5a831e4a932c09be3e5393376d"),
            hex!("d609d273ad5b0d59631c531f6a0a57b9"),
        ),
    ];
    let key = hex!(
        "2718281828459045235360287471352662497757247093699959574966967627"
        "3141592653589793238462643383279502884197169399375105820974944592"
    );
    for kernel in Kernel::available() {
        let xts = XtsAes::new(&key, kernel).unwrap();
        for vector in vectors {
            let mut data = counting();
            xts.encrypt(512, vector.0, &mut data).unwrap();
            assert_ends(&data, vector, kernel);
            xts.decrypt(512, vector.0, &mut data).unwrap();
            assert_eq!(data, counting(), "{kernel}");
        }
    }
}
