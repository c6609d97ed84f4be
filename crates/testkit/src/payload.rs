//! Reproducible plaintext, and the hashes that stand for it.

use std::path::Path;

use sha2::{Digest, Sha256};

/// `len` bytes of the stream `name`: SHA-256 of `"luks-truth-v1:" ‖ name ‖ ":" ‖ i` (64-bit little endian),
/// for i = 0, 1, ….
///
/// No two blocks of it are equal, so a misplaced, repeated or swapped sector changes the hash.
///
/// ```
/// let payload = lucarne_testkit::payload::stream("example", 100);
/// assert_eq!(payload.len(), 100);
/// assert_eq!(payload[..50], lucarne_testkit::payload::stream("example", 50)[..]);
/// ```
pub fn stream(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.next_multiple_of(32));
    let mut index = 0_u64;
    while bytes.len() < len {
        let mut hash = Sha256::new();
        hash.update(b"luks-truth-v1:");
        hash.update(name.as_bytes());
        hash.update(b":");
        hash.update(index.to_le_bytes());
        bytes.extend_from_slice(&hash.finalize());
        index += 1;
    }
    bytes.truncate(len);
    bytes
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file's bytes, in lower-case hexadecimal.
pub fn sha256_hex_of_file(path: &Path) -> String {
    let mut file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut HashWriter(&mut hash))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that `text` spells in hexadecimal.
///
/// # Panics
/// If `text` is not an even number of hexadecimal digits.
pub fn from_hex(text: &str) -> Vec<u8> {
    assert!(
        text.len().is_multiple_of(2),
        "odd number of hexadecimal digits: {text}"
    );
    (0..text.len())
        .step_by(2)
        .map(|i| {
            u8::from_str_radix(&text[i..i + 2], 16)
                .unwrap_or_else(|_| panic!("not hexadecimal: {text}"))
        })
        .collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_and_hexadecimal() {
        // FIPS 180-4, the empty message
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(b""), empty);
        assert_eq!(hex(&from_hex(empty)), empty);
    }

    #[test]
    fn stream_is_the_hash_of_its_name_and_counter() {
        let payload = stream("x", 64);
        assert_eq!(
            sha256_hex(b"luks-truth-v1:x:\0\0\0\0\0\0\0\0"),
            hex(&payload[..32])
        );
        assert_eq!(
            sha256_hex(b"luks-truth-v1:x:\x01\0\0\0\0\0\0\0"),
            hex(&payload[32..])
        );
    }
}
