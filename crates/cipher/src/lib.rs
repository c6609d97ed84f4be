//! Sector ciphers as dm-crypt defines them: no I/O, no knowledge of any header.
//!
//! A [`CipherSpec`] names a cipher in dm-crypt's notation, a [`SectorCipher`] is that cipher under a
//! key and for one [`DataUnit`] size. Data units are numbered the way dm-crypt numbers them for
//! LUKS2: the IV counts **512-byte units** whatever the data unit's size is.
//!
//! ```
//! use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
//!
//! let spec: CipherSpec = "aes-xts-plain64".parse()?;
//! let key: Vec<u8> = (0..64).collect();
//! let cipher = SectorCipher::new(&spec, &key, DataUnit::B4096)?;
//!
//! let mut data = vec![0; 8192];
//! cipher.encrypt(16, &mut data)?; // two data units, from byte 16 × 512 of the volume on
//! assert_ne!(data, vec![0; 8192]);
//! cipher.decrypt(24, &mut data[4096..])?; // the second data unit alone
//! assert_eq!(data[4096..], [0; 4096]);
//! # Ok::<(), lucarne_cipher::CipherError>(())
//! ```
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cbc;
mod copy;
mod data_unit;
mod error;
mod iv;
mod kernel;
mod run;
mod sector_cipher;
mod spec;
mod xts;
mod xts_aes;

pub use copy::copy_past_caches;
pub use data_unit::DataUnit;
pub use error::CipherError;
pub use kernel::{KERNEL_VARIABLE, Kernel};
pub use sector_cipher::SectorCipher;
pub use spec::CipherSpec;
pub use xts_aes::XtsAes;
