//! NIST's vectors (CAVP, CAVS 11.0) whose tweak is a data unit's number: those of whole blocks, on every kernel.
//!
//! Of the 4000 that NIST publishes for XTS, the others are not this crate's: 800 are of a number of bits that takes
//! ciphertext stealing, and for 2000 the tweak is any 128 bits, where a volume's are at most 64.
#![allow(clippy::unwrap_used)]

use lucarne_cipher::{Kernel, XtsAes};

/// Vectors in each file.
const COUNT: usize = 600;
/// One more than the largest number of a data unit.
const NUMBERS: usize = 256;

struct Vector {
    /// Of the data unit.
    number: usize,
    key: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Vector {
    fn read(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let [number, key, plaintext, ciphertext] = fields[..] else {
            panic!("four fields: {line}");
        };
        Self {
            number: number.parse().unwrap(),
            key: bytes(key),
            plaintext: bytes(plaintext),
            ciphertext: bytes(ciphertext),
        }
    }

    /// The data unit alone, which is what the vector says.
    fn check_alone(&self, xts: &XtsAes, what: &str) {
        let (unit_bytes, number) = (self.plaintext.len(), self.number as u64);
        let mut data = self.plaintext.clone();
        xts.encrypt(unit_bytes, number, &mut data).unwrap();
        assert_eq!(data, self.ciphertext, "{what}");
        xts.decrypt(unit_bytes, number, &mut data).unwrap();
        assert_eq!(data, self.plaintext, "{what}");
    }

    /// The data unit in its place among all that have a number up to [`NUMBERS`]: so it is not in what is left
    /// over after the last whole batch of a kernel.
    fn check_in_bulk(&self, xts: &XtsAes, what: &str) {
        let unit_bytes = self.plaintext.len();
        let place = self.number * unit_bytes..(self.number + 1) * unit_bytes;
        let mut data = vec![0; NUMBERS * unit_bytes];
        data[place.clone()].copy_from_slice(&self.plaintext);
        xts.encrypt(unit_bytes, 0, &mut data).unwrap();
        assert_eq!(data[place.clone()], self.ciphertext, "{what}, in bulk");

        data.fill(0);
        data[place.clone()].copy_from_slice(&self.ciphertext);
        xts.decrypt(unit_bytes, 0, &mut data).unwrap();
        assert_eq!(data[place], self.plaintext, "{what}, in bulk");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        panic!("an odd number of digits: {hex}");
    };
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(|pair| byte(pair)).collect()
}

/// `unit_lens`: how many vectors have a data unit of that many bytes.
fn check_all(file: &str, key_bytes: usize, unit_lens: [(usize, usize); 2]) {
    let vectors: Vec<Vector> = file
        .lines()
        .filter(|line| !line.starts_with(['#', '[']))
        .map(Vector::read)
        .collect();
    assert_eq!(vectors.len(), COUNT);
    assert!(vectors.iter().all(|vector| vector.key.len() == key_bytes));
    for (unit_bytes, count) in unit_lens {
        let of_this_len = |vector: &&Vector| vector.plaintext.len() == unit_bytes;
        assert_eq!(vectors.iter().filter(of_this_len).count(), count);
    }
    for kernel in Kernel::available() {
        for (i, vector) in vectors.iter().enumerate() {
            let what = format!("{kernel}, vector {i}, data unit {}", vector.number);
            let xts = XtsAes::new(&vector.key, kernel).unwrap();
            vector.check_alone(&xts, &what);
            vector.check_in_bulk(&xts, &what);
        }
    }
}

#[test]
fn aes_128() {
    let file = include_str!("../../../testdata/nist-cavp/xts-aes-128.txt");
    check_all(file, 32, [(16, 200), (32, 400)]);
}

#[test]
fn aes_256() {
    let file = include_str!("../../../testdata/nist-cavp/xts-aes-256.txt");
    check_all(file, 64, [(32, 200), (48, 400)]);
}
