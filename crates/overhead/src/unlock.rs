//! Unlocking, by itself.

use std::time::Instant;

use lucarne::luks2::{Kdf, Keyslot};
use lucarne::{FormatOptions, Secret, Volume};
use lucarne_storage::MemoryStorage;

use crate::outcome::Unlock;
use crate::plan::Depth;
use crate::{Control, Error};

/// Nobody's: it guards an empty volume in memory.
const PASSPHRASE: &[u8] = b"timed, and not a secret";
/// A header's 16 MiB and some data.
const EMPTY_VOLUME_BYTES: usize = 17 << 20;

/// What unlocking costs by itself: opening a new volume with the key derivation that new volumes get.
pub(crate) fn unlock(depth: Depth, control: &Control) -> Result<Option<Unlock>, Error> {
    let failed = || Error::volume("cannot time unlocking");
    let image = MemoryStorage::with_len(EMPTY_VOLUME_BYTES);
    match lucarne::format(&image, None, PASSPHRASE, &FormatOptions::default()) {
        Ok(_) => {}
        Err(lucarne::Error::OutOfMemory { .. }) => return Ok(None),
        Err(error) => return Err(failed()(error)),
    }
    let header = lucarne::read_header(&image).map_err(failed())?.header;
    let keyslots = header.metadata().keyslots();
    let kdf = keyslots.values().find_map(|keyslot| match keyslot {
        Keyslot::Luks2(keyslot) => Some(kdf_text(&keyslot.kdf)),
        _ => None,
    });
    let mut seconds = Vec::new();
    for _ in 0..if depth == Depth::Quick { 1 } else { 3 } {
        control.check()?;
        let start = Instant::now();
        Volume::open(&image, Secret::Passphrase(PASSPHRASE)).map_err(failed())?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(Some(Unlock {
        kdf: kdf.unwrap_or_default(),
        seconds,
    }))
}

fn kdf_text(kdf: &Kdf) -> String {
    match kdf {
        Kdf::Pbkdf2 { iterations, .. } => format!("PBKDF2, {iterations} iterations"),
        Kdf::Argon2 {
            time,
            memory_kib,
            lanes,
            ..
        } => {
            format!(
                "Argon2, {time} passes over {} MiB, {lanes} lanes",
                memory_kib >> 10
            )
        }
        _ => "of a kind that is not known here".into(),
    }
}
