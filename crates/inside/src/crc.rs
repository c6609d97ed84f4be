//! The two cyclic redundancy checks of these formats, a byte at a time: only metadata goes through them.

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 == 1 { polynomial } else { 0 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

static CASTAGNOLI: [u32; 256] = table(0x82f6_3b78);
static IEEE: [u32; 256] = table(0xedb8_8320);

fn continued(table: &[u32; 256], crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

/// CRC-32C without the inversion at its end, as ext4 and jbd2 use it: continues `crc` (`!0` to begin).
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    continued(&CASTAGNOLI, crc, bytes)
}

/// CRC-32 of GPT.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !continued(&IEEE, !0, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        // The catalogue's check values for "123456789".
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
