//! From one version of LUKS to the other, the payload staying where it is.
//!
//! # What overlaps
//!
//! ```text
//!             0        512            4096             16384            32768
//! LUKS1       | header: two sectors   | keyslots' areas, to the payload ...
//! LUKS2       | primary: binary part  | and its JSON   | secondary copy  | keyslots' areas, to the payload ...
//!             |        | zeros        |
//! ```
//!
//! Key material is the same in both versions, wherever it lies. So only a LUKS1 keyslot with an area that
//! begins before byte 32768 must move, in cryptsetup's layout keyslot 0; the others become LUKS2's where
//! they are. (cryptsetup moves all by 28 KiB, over one another, and a crash meanwhile loses them.)
//!
//! # What a crash leaves
//!
//! | to LUKS2 | a crash after it leaves |
//! |---|---|
//! | what must move is *copied* to a free keyslot, by the [editor's protocol](super::editor::luks1) | LUKS1, where a key may be in two keyslots |
//! | secondary copy; flush | LUKS1; a keyslot that was copied opens by its copy |
//! | the primary copy's JSON area; flush | the same: LUKS1's header lies in the first two sectors |
//! | the first sector, which bears magic and version; flush | LUKS2 by its secondary copy: the primary's checksum fails |
//! | the rest of the binary part; flush | LUKS2 |
//! | noise over what is left of moved areas; flush | LUKS2 |
//!
//! | to LUKS1 | a crash after it leaves |
//! |---|---|
//! | the second sector, which LUKS2 leaves empty; flush | LUKS2 by its secondary copy |
//! | the first sector; flush | LUKS1, and a secondary copy of LUKS2 that nobody looks at |
//! | zeros over the secondary copy's magic; flush | LUKS1 |
//! | zeros and noise over what is left of LUKS2's copies; flush | LUKS1 |
//!
//! Before that and after it areas move, one at a time by the editors' protocols, to where cryptsetup would have put
//! them: it takes a volume back only with its own places. Where that needs more room than there is they stay
//! where they are, and both read them there.
//!
//! The first sector decides, and a disk writes it whole or not at all. At every moment all keys open the
//! volume. Where a key must move and no keyslot is free for its copy the conversion is refused.

mod to_luks1;
mod to_luks2;

use std::time::Duration;

use lucarne_storage::Storage;

use crate::error::{flushing, writing};
use crate::{AnyHeader, Error, LuksVersion, read_any_header};

/// What a disk writes whole.
const SECTOR_LEN: usize = 512;
/// LUKS2's areas begin on multiples of this, as do those of LUKS1 that cryptsetup makes.
const AREA_ALIGNMENT: u64 = 4096;

/// Makes the header on `storage` one of the other version; keys, UUID and data stay as they are. A crash at
/// any write leaves the one or the other, and every key usable.
///
/// To LUKS1 that is possible for a volume that has nothing which LUKS1 has not: one data segment of
/// 512-byte sectors, keyslots 0 to 7 of PBKDF2 with the data's cipher and one hash for all, no token, no
/// requirement. A label, a subsystem and priorities are lost. To LUKS2 it takes room for the header copies before the
/// payload, and a free keyslot if one lies where they go.
///
/// `patience`: how long another process that changes the header is waited for; `None` takes no lock.
///
/// # Errors
/// [`Error::Refused`] when it is that version already or cannot be converted, nothing being written then;
/// [`Error::Busy`], [`Error::Io`], and those of [`read_any_header`].
///
/// ```
/// use lucarne::{FormatOptions, LuksVersion, MemoryStorage, Secret, Volume, convert, read_any_header};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// let options = FormatOptions { version: LuksVersion::Luks1, kdf, ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(4 << 20);
/// lucarne::format(&image, None, b"an example", &options)?;
/// convert(&image, LuksVersion::Luks2, None)?;
/// assert_eq!(read_any_header(&image)?.version(), LuksVersion::Luks2);
/// Volume::open(image, Secret::Passphrase(b"an example"))?;
/// # Ok::<(), lucarne::Error>(())
/// ```
pub fn convert(
    storage: &dyn Storage,
    to: LuksVersion,
    patience: Option<Duration>,
) -> Result<(), Error> {
    match (read_any_header(storage)?, to) {
        (AnyHeader::Luks1(header), LuksVersion::Luks2) => {
            to_luks2::convert(storage, header, patience)
        }
        (AnyHeader::Luks2(selected), LuksVersion::Luks1) => {
            to_luks1::convert(storage, &selected, patience)
        }
        (AnyHeader::Luks1(_), LuksVersion::Luks1) => {
            Err(Error::refused("the header is LUKS1 already"))
        }
        (AnyHeader::Luks2(_), LuksVersion::Luks2) => {
            Err(Error::refused("the header is LUKS2 already"))
        }
    }
}

fn write_durably(storage: &dyn Storage, bytes: &[u8], offset: u64) -> Result<(), Error> {
    storage.write_at(bytes, offset).map_err(writing(offset))?;
    storage.flush().map_err(flushing)
}
