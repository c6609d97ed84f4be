//! LUKS keyslots: from a passphrase to a candidate for the volume key, and back.
//!
//! A keyslot holds a key that was split into 4000 stripes ([`af`]) and encrypted under a key that a
//! [key derivation](KdfParams) makes of a passphrase. [`open_keyslot`] undoes that; whether what
//! comes out is the key, only a digest can tell ([`verify_digest`]).
//!
//! A header is untrusted, and names its own costs. **Spend them on a [`CostMeter`] first**: opening
//! and verifying pay whatever the header asks for.
//!
//! ```
//! use lucarne_keyslot::{
//!     CostLimits, CostMeter, Hash, KdfParams, SealRequest, create_digest, open_keyslot,
//!     seal_keyslot, verify_digest,
//! };
//! use lucarne_secret::SecretBytes;
//!
//! let volume_key = SecretBytes::random(64)?;
//! let request = SealRequest {
//!     area_offset: 32768,
//!     area_room: 1 << 20,
//!     area_cipher: &"aes-xts-plain64".parse()?,
//!     area_key_len: 64,
//!     af_hash: Hash::Sha256,
//!     kdf: KdfParams::Pbkdf2 { hash: Hash::Sha256, iterations: 1000 },
//! };
//! let (keyslot, area) = seal_keyslot(&request, &volume_key, b"correct horse")?;
//! let digest = create_digest(&volume_key, Hash::Sha256, 1000)?;
//!
//! let mut meter = CostMeter::new(&CostLimits::default());
//! meter.spend_kdf(&keyslot.kdf)?;
//! meter.spend_digest(&digest)?;
//! let candidate = open_keyslot(&keyslot, &area, b"correct horse")?;
//! assert!(verify_digest(&digest, &candidate)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod af;

mod calibrate;
mod cost;
mod digest;
mod error;
mod hash;
mod kdf;
mod keyslot;
mod luks1;
mod machine;
mod speed;

pub use calibrate::{KdfKind, KdfRequest};
pub use cost::{Cost, CostLimits, CostMeter, split_key_bytes};
pub use digest::{check_key_len, create_digest, verify_digest};
pub use error::Error;
pub use hash::Hash;
pub use kdf::KdfParams;
pub use keyslot::{SealRequest, open_keyslot, seal_keyslot};
pub use luks1::{create_luks1_digest, seal_luks1_keyslot};
pub use speed::{spare_memory_kib, time_derivation};
