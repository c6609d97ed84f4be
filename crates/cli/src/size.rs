//! Numbers as cryptsetup reads them.

use std::num::{IntErrorKind, ParseIntError};

/// A size in bytes with cryptsetup's suffixes: `s` for 512-byte sectors, `k m g t` and
/// `KiB MiB GiB TiB` for powers of 1024, `KB MB GB TB` for powers of 1000.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const SHAPE: &str = "a size is a number with one of s, K, M, G, T, KiB, KB and the like";
    let digits = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(SHAPE.into());
    }
    let number: u64 = number.parse().map_err(|_| too_large())?;
    let (letter, base) = match suffix.as_bytes() {
        [] => return Ok(number),
        [letter] | [letter, b'i', b'B'] => (letter, 1024_u64),
        [letter, b'B'] => (letter, 1000),
        _ => return Err(SHAPE.into()),
    };
    let unit = match letter.to_ascii_lowercase() {
        b's' => 512,
        b'k' => base,
        b'm' => base.pow(2),
        b'g' => base.pow(3),
        b't' => base.pow(4),
        _ => return Err(SHAPE.into()),
    };
    number.checked_mul(unit).ok_or_else(too_large)
}

fn too_large() -> String {
    format!("more than {} bytes", u64::MAX)
}

/// A plain number: decimal, whatever zeros it begins with.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    // `parse` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a number".into());
    }
    text.parse()
        .map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => format!("more than {}", u64::MAX),
            _ => "not a number".into(),
        })
}

/// A number of 32 bits.
pub(crate) fn number_u32(text: &str) -> Result<u32, String> {
    u32::try_from(number(text)?).map_err(|_| format!("more than {}", u32::MAX))
}

/// A key length: given in bits, returned in bytes. 0 stands for the default.
pub(crate) fn key_bits(text: &str) -> Result<u32, String> {
    match number_u32(text)? {
        bits if bits % 8 != 0 => Err("key size must be a multiple of 8 bits".into()),
        bits => Ok(bits / 8),
    }
}

/// A key length without a default.
pub(crate) fn some_key_bits(text: &str) -> Result<u32, String> {
    match key_bits(text)? {
        0 => Err("a key has at least 8 bits".into()),
        bytes => Ok(bytes),
    }
}

/// The memory that a key derivation may take, in KiB.
pub(crate) fn pbkdf_memory(text: &str) -> Result<u32, String> {
    const LIMIT: u32 = 4 << 20;
    match number_u32(text)? {
        kib if kib > LIMIT => Err(format!("more than {LIMIT} KiB")),
        kib => Ok(kib),
    }
}

/// 512-byte sectors, returned in bytes.
pub(crate) fn sectors(text: &str) -> Result<u64, String> {
    number(text)?
        .checked_mul(512)
        .ok_or_else(|| format!("more than {} sectors", u64::MAX / 512))
}

/// The number of a keyslot.
pub(crate) fn keyslot(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(slot) if slot < 32 => Ok(slot),
        _ => Err("a keyslot is a number from 0 to 31".into()),
    }
}

/// The number of a token.
pub(crate) fn token(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(token) if token < 32 => Ok(token),
        _ => Err("a token is a number from 0 to 31".into()),
    }
}

/// The size of an encryption sector in bytes.
pub(crate) fn sector_size(text: &str) -> Result<u32, String> {
    match number_u32(text)? {
        size @ (512 | 1024 | 2048 | 4096) => Ok(size),
        _ => Err("a sector has 512, 1024, 2048 or 4096 bytes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_every_suffix_of_cryptsetup() {
        for (text, value) in [
            ("0", 0),
            ("010", 10),
            ("3s", 1536),
            ("3S", 1536),
            ("1k", 1024),
            ("1K", 1024),
            ("1kB", 1000),
            ("1KiB", 1024),
            ("2m", 2 << 20),
            ("2MB", 2_000_000),
            ("2MiB", 2 << 20),
            ("1g", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1T", 1 << 40),
            ("1TB", 1_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn bytes_refuse_everything_else() {
        for text in [
            "",
            "k",
            "-1",
            "+1",
            "1 k",
            "1b",
            "1kiB2",
            "1kb",
            "1ki",
            "1Kib",
            "1P",
            "0x10",
            " 1",
            "18446744073709551616",
            "18446744073709551615k",
            "99999999999T",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_decimal_whatever_they_begin_with() {
        for (text, value) in [("0", 0), ("10", 10), ("010", 10), ("08", 8)] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
        for text in [
            "",
            "0x",
            "0x10",
            "-1",
            "+1",
            " 1",
            "1k",
            "18446744073709551616",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_named() {
        assert_eq!(key_bits("512"), Ok(64));
        assert!(key_bits("100").is_err());
        assert_eq!(key_bits("0"), Ok(0));
        assert!(some_key_bits("0").is_err());
        assert_eq!(pbkdf_memory("4194304"), Ok(4_194_304));
        assert!(pbkdf_memory("4194305").is_err());
        assert_eq!(sectors("8"), Ok(4096));
        assert!(sectors("36028797018963968").is_err());
        assert_eq!(keyslot("31"), Ok(31));
        assert!(keyslot("32").is_err());
        assert!(keyslot("-1").is_err());
        assert_eq!(sector_size("4096"), Ok(4096));
        assert!(sector_size("1536").is_err());
        assert!(number_u32("4294967296").is_err());
    }
}
