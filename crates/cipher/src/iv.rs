//! How the number of a data unit becomes its IV (dm-crypt's "ivmode").

/// An IV generator; numbers count 512-byte units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Iv {
    /// The number's low 32 bits, little-endian, zero-padded: wraps at 2^32 (2 TiB).
    Plain,
    /// The number's 64 bits, little-endian, zero-padded.
    Plain64,
}

impl Iv {
    /// The generator that dm-crypt calls `name`, if it is done here.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "plain" => Some(Self::Plain),
            "plain64" => Some(Self::Plain64),
            _ => None,
        }
    }

    /// The IV of the data unit that starts at 512-byte unit `number`.
    #[inline]
    pub(crate) fn block(self, number: u64) -> [u8; 16] {
        let number = match self {
            Self::Plain => number & u64::from(u32::MAX),
            Self::Plain64 => number,
        };
        u128::from(number).to_le_bytes()
    }
}

/// The IVs of successive data units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    iv: Iv,
    next: u64,
    step: u64,
}

impl Numbers {
    /// From number `first` on, each `step` more than the one before.
    pub(crate) fn new(iv: Iv, first: u64, step: u64) -> Self {
        Self {
            iv,
            next: first,
            step,
        }
    }

    /// The next IV. Those that are used are below 2^64, which the caller saw to; one that is made ahead
    /// and not used may wrap.
    #[inline(always)]
    pub(crate) fn next_iv(&mut self) -> [u8; 16] {
        let iv = self.iv.block(self.next);
        self.next = self.next.wrapping_add(self.step);
        iv
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::Iv;

    #[test]
    fn plain_wraps_at_32_bits_and_plain64_does_not() {
        let number = 0x0123_4567_89ab_cdef;
        assert_eq!(
            Iv::Plain.block(number),
            hex!("efcdab89000000000000000000000000")
        );
        assert_eq!(
            Iv::Plain64.block(number),
            hex!("efcdab89674523010000000000000000")
        );
        assert_eq!(Iv::Plain.block(1 << 32), [0; 16]);
    }
}
