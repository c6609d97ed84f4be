//! [`DataUnit`].

use crate::CipherError;

/// The size of a data unit, which is what one IV covers (IEEE 1619); a volume's sector size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataUnit {
    /// 512 bytes.
    B512,
    /// 1024 bytes.
    B1024,
    /// 2048 bytes.
    B2048,
    /// 4096 bytes.
    B4096,
}

impl DataUnit {
    /// Every size, ascending.
    pub const ALL: [Self; 4] = [Self::B512, Self::B1024, Self::B2048, Self::B4096];

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::B512 => 512,
            Self::B1024 => 1024,
            Self::B2048 => 2048,
            Self::B4096 => 4096,
        }
    }

    /// By how much the IV, which counts 512-byte units, grows from one data unit to the next.
    #[must_use]
    pub const fn iv_step(self) -> u32 {
        self.bytes() / 512
    }
}

impl TryFrom<u32> for DataUnit {
    type Error = CipherError;

    /// From a size in bytes.
    fn try_from(bytes: u32) -> Result<Self, CipherError> {
        Self::ALL
            .into_iter()
            .find(|unit| unit.bytes() == bytes)
            .ok_or(CipherError::DataUnitSize { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_convert_both_ways_and_others_are_refused() {
        for unit in DataUnit::ALL {
            assert_eq!(DataUnit::try_from(unit.bytes()), Ok(unit));
            assert_eq!(unit.iv_step() * 512, unit.bytes());
        }
        for bytes in [0, 1, 511, 513, 1536, 8192, u32::MAX] {
            let error = DataUnit::try_from(bytes).unwrap_err();
            assert!(error.to_string().contains(&bytes.to_string()), "{error}");
        }
    }
}
