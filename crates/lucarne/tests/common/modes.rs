//! What the tests of encryption and decryption in place share.

use lucarne::{
    Control, Error, FormatOptions, Hash, MemoryStorage, OpenOptions, Parallelism, ReencryptOptions,
    ReencryptResilience, Reencryption, Secret, SectorSize,
};

use super::{FIRST, Payload, cheap};

pub(crate) const CHECKSUM: ReencryptResilience = ReencryptResilience::Checksum(Hash::Sha256);
/// Room for a header with one short key.
pub(crate) const SHIFT: u64 = 192 << 10;
const ZONE_LEN: u64 = 64 << 10;

/// Every so many states of the ordinary run; all with LUCARNE_TEST_CRASH.
pub(crate) fn step(ordinary: usize) -> usize {
    match std::env::var_os("LUCARNE_TEST_CRASH") {
        Some(_) => 1,
        None => ordinary,
    }
}

pub(crate) fn options(resilience: ReencryptResilience) -> ReencryptOptions {
    ReencryptOptions {
        kdf: cheap(),
        resilience,
        hot_zone: Some(ZONE_LEN),
        ..ReencryptOptions::default()
    }
}

pub(crate) fn volume(sector_size: SectorSize, data_offset: Option<u64>) -> FormatOptions {
    FormatOptions {
        kdf: cheap(),
        key_len: 32,
        sector_size: Some(sector_size),
        data_offset,
        keyslots_size: Some(SHIFT - (32 << 10)),
        ..FormatOptions::default()
    }
}

pub(crate) fn run(begun: Reencryption<'_>) -> Result<(), Error> {
    begun.run(Parallelism::default(), &Control::default())
}

/// A detached header and its data, of which the first `offset` bytes are another's.
pub(crate) fn detached(payload: Payload, sector_size: SectorSize, offset: u64) -> [Vec<u8>; 2] {
    let volume = volume(sector_size, Some(offset).filter(|&offset| offset > 0));
    detached_volume(payload, &volume, offset)
}

/// As [`detached`], with room for a second key and a journal.
pub(crate) fn detached_with_room(payload: Payload, sector_size: SectorSize) -> [Vec<u8>; 2] {
    let volume = FormatOptions {
        keyslots_size: Some(512 << 10),
        ..volume(sector_size, None)
    };
    detached_volume(payload, &volume, 0)
}

fn detached_volume(payload: Payload, volume: &FormatOptions, offset: u64) -> [Vec<u8>; 2] {
    let data = MemoryStorage::with_len(payload.len + offset as usize);
    let header = MemoryStorage::default();
    lucarne::format(&header, Some(&data), FIRST, volume).expect("it works");
    let opened = OpenOptions::default()
        .header(&header)
        .open(&data, Secret::Passphrase(FIRST))
        .expect("it works");
    opened.write_at(&payload.bytes(), 0).expect("it works");
    drop(opened);
    [header.into_bytes(), data.into_bytes()]
}
