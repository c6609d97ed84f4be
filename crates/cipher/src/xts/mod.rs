//! XTS-AES (IEEE 1619-2018, NIST SP 800-38E) over whole data units.

mod portable;
mod tweaks;

use aes::{Aes128, Aes128Enc, Aes256, Aes256Enc};
use cipher::inout::InOutBuf;

use self::portable::Portable;
use crate::{data_unit::DataUnit, iv::Iv};

/// XTS-AES under a key, with the kernel that was chosen for it.
pub(crate) struct Xts(Kernel);

/// The implementations; one is chosen per key, so that no call asks the CPU what it can do.
enum Kernel {
    PortableAes128(Portable<Aes128, Aes128Enc>),
    PortableAes256(Portable<Aes256, Aes256Enc>),
}

impl Xts {
    /// `None` if the key is neither 32 nor 64 bytes long: the data key, then the tweak key.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let kernel = match key.len() {
            32 => Kernel::PortableAes128(Portable::new(key)?),
            64 => Kernel::PortableAes256(Portable::new(key)?),
            _ => return None,
        };
        Some(Self(kernel))
    }

    /// Encrypts `data`, whole data units whose last IV does not overflow.
    pub(crate) fn encrypt(
        &self,
        iv: Iv,
        unit: DataUnit,
        first_iv: u64,
        data: InOutBuf<'_, '_, u8>,
    ) {
        match &self.0 {
            Kernel::PortableAes128(kernel) => kernel.encrypt(iv, unit, first_iv, data),
            Kernel::PortableAes256(kernel) => kernel.encrypt(iv, unit, first_iv, data),
        }
    }

    /// Decrypts `data`, whole data units whose last IV does not overflow.
    pub(crate) fn decrypt(
        &self,
        iv: Iv,
        unit: DataUnit,
        first_iv: u64,
        data: InOutBuf<'_, '_, u8>,
    ) {
        match &self.0 {
            Kernel::PortableAes128(kernel) => kernel.decrypt(iv, unit, first_iv, data),
            Kernel::PortableAes256(kernel) => kernel.decrypt(iv, unit, first_iv, data),
        }
    }
}
