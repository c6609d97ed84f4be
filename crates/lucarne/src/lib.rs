//! LUKS2-compatible encrypted volumes in user space: no root, no device-mapper, no C.
//!
//! Open a volume that cryptsetup made (or make one that cryptsetup opens) and read and write its
//! plaintext at any position, from any number of threads:
//!
//! ```no_run
//! use lucarne::{Access, FileStorage, Secret, Volume};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let image = FileStorage::open("weights.luks", Access::ReadOnly)?;
//!     let volume = Volume::open(image, Secret::Passphrase(b"correct horse battery staple"))?;
//!     let mut head = [0; 16];
//!     volume.read_at(&mut head, 0)?;
//!     println!("{} bytes, beginning with {head:02x?}", volume.len());
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | open a volume | [`Volume::open`], [`OpenOptions`] (detached header, keyslot, cost limits) |
//! | look at a header without a key | [`read_header`], [`read_any_header`] (LUKS1 too) |
//! | judge a header before it is trusted | [`policy`], [`OpenOptions::policy`] |
//! | find a volume key | [`unlock()`], [`unlock_vouched`]; by a token [`unlock_by_token`], [`Unlocker`] |
//! | read a passphrase from a file or a pipe | [`KeyExtent`] |
//! | change keys, tokens and names | [`HeaderEditor`] |
//! | change keys of either version | [`AnyEditor`], [`Luks1Editor`] |
//! | keep a header elsewhere, and put it back | [`HeaderBackup`], [`Restore`] |
//! | make an empty volume | [`format`](fn@format), [`FormatOptions`] |
//! | make LUKS1 of LUKS2, and back | [`convert`](fn@convert) |
//! | make a volume from plaintext, and back | [`encrypt`](fn@encrypt), [`decrypt`](fn@decrypt), [`Output`] |
//! | copy a volume under a new key | [`Rekey`] |
//! | overwrite what a device holds | [`Wipe`] |
//! | know what this machine can do | [`benchmark`] |
//!
//! What is written follows the LUKS2 On-Disk Format Specification 1.1, or LUKS1's 1.2.3; where cryptsetup's behaviour
//! differs from it, cryptsetup's behaviour wins. Headers are read once, judged, and used from memory;
//! the cost of an untrusted header's key derivation is bounded by [`CostLimits`].
#![forbid(unsafe_code)]

pub mod benchmark;
pub mod policy;

mod any_header;
mod bulk;
mod convert;
mod create;
mod editor;
mod error;
mod header_io;
mod key_file;
mod layout;
mod length_token;
mod reencrypt;
mod rekey;
mod scratch;
mod sector_map;
mod steady;
mod token;
mod unlock;
mod volume;
mod watermark;
mod wipe;

pub use any_header::{AnyHeader, HeaderRef, LuksVersion};
pub use bulk::{
    Control, DecryptOptions, Decrypted, Destination, EncryptOptions, Encrypted, Output,
    Parallelism, Replace, Source, decrypt, encrypt, plaintext_len,
};
pub use convert::convert;
pub use create::{FormatOptions, Formatted, format};
pub use editor::{
    AnyEditor, AnyHeaderBackup, AnyRestore, EraseEvidence, ErasedArea, HeaderBackup, HeaderEditor,
    KeyslotOptions, Luks1Editor, Luks1HeaderBackup, Luks1Repair, Luks1Restore, Restore,
    RestoreWarnings, foreign_signature,
};
pub use error::{Busy, Corrupt, DeviceFault, Error, IoOp, Refused, Unsupported};
pub use header_io::{read_any_header, read_any_header_within, read_header, read_header_within};
pub use key_file::{KeyExtent, KeyInputError};
pub use length_token::LengthToken;
pub use reencrypt::reading::{unlock_vouched, vouch};
pub use reencrypt::{
    DecryptedTo, ReencryptOptions, ReencryptResilience, Reencryption, UnprotectedZone,
};
pub use rekey::{Rekey, RekeyOptions, RekeyRun, Rekeyed, UnfinishedRekey, unfinished_rekey};
pub use sector_map::LOAD_PAST_CACHES_MIN_LEN_BYTES;
pub use steady::SteadyHeader;
pub use token::{
    CommandUnlocker, KernelKeyring, KeyringToken, TokenChoice, TokenFault, Unlocker,
    passphrase_of_token, unlock_by_token,
};
pub use unlock::{Secret, UnlockOptions, Unlocked, unlock};
pub use volume::{OpenOptions, Volume, VolumeCursor, VolumeIdentity};
pub use wipe::{Wipe, WipeContent};

pub use lucarne_cipher::{
    CipherError, CipherSpec, DataUnit as SectorSize, KERNEL_VARIABLE, Kernel,
};
pub use lucarne_format::{luks1, luks2};
pub use lucarne_keyslot::{Cost, CostLimits, Hash, KdfKind, KdfRequest};
pub use lucarne_secret::{SecretBytes, make_process_undumpable};
pub use lucarne_storage::{
    Access, FileStorage, HeaderLock, LockKind, MemoryStorage, NewFile, OffsetStorage, ReadAt,
    ReadWindow, Storage,
};
