//! What the tests of power cuts share.
#![allow(dead_code)] // each test file uses a part

pub(crate) mod modes;

use lucarne::{
    FormatOptions, KdfKind, KdfRequest, KeyslotOptions, MemoryStorage, OpenOptions, Secret,
    SectorSize, Storage,
};
use lucarne_storage::fault::RecordingStorage;

pub(crate) const FIRST: &[u8] = b"a first example";
pub(crate) const SECOND: &[u8] = b"a second example";
pub(crate) const THIRD: &[u8] = b"a third example";

/// A key derivation that costs nothing.
pub(crate) fn cheap() -> KdfRequest {
    KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    }
}

/// Cheap keyslots of LUKS2 with small keys.
pub(crate) fn keyslot_options() -> KeyslotOptions {
    KeyslotOptions {
        kdf: cheap(),
        area_cipher: Some(("aes-xts-plain64".parse().expect("a known cipher"), 32)),
        ..KeyslotOptions::default()
    }
}

/// The states to try: with LUCARNE_TEST_CRASH (`cargo xtask crash`) all that
/// [`RecordingStorage::all_crash_states`] gives.
pub(crate) fn states(recorder: &RecordingStorage) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
    match std::env::var_os("LUCARNE_TEST_CRASH") {
        Some(_) => Box::new(recorder.all_crash_states()),
        None => Box::new(recorder.crash_states()),
    }
}

/// All bytes of a storage.
pub(crate) fn bytes(storage: &dyn Storage) -> Vec<u8> {
    let mut bytes = vec![0; storage.len().expect("a length") as usize];
    storage.read_at(&mut bytes, 0).expect("it is read");
    bytes
}

/// A volume that is going to be re-encrypted: its header with 768 KiB of keyslots, then what [`Payload`] says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    pub(crate) len: usize,
}

impl Payload {
    const KEYSLOTS_LEN: u64 = 768 << 10;
    /// Where its data begin.
    pub(crate) const OFFSET: u64 = (32 << 10) + Self::KEYSLOTS_LEN;

    pub(crate) fn bytes(&self) -> Vec<u8> {
        (0..self.len).map(|at| (at / 512 * 7 + at) as u8).collect()
    }

    /// The image of a new volume that holds it, with [`FIRST`].
    pub(crate) fn volume(&self, sector_size: SectorSize) -> Vec<u8> {
        let image = MemoryStorage::with_len(Self::OFFSET as usize + self.len);
        let options = FormatOptions {
            kdf: cheap(),
            key_len: 32,
            keyslots_size: Some(Self::KEYSLOTS_LEN),
            data_offset: Some(Self::OFFSET),
            sector_size: Some(sector_size),
            ..FormatOptions::default()
        };
        lucarne::format(&image, None, FIRST, &options).expect("a volume");
        let volume = OpenOptions::default()
            .open(&image, Secret::Passphrase(FIRST))
            .expect("it opens");
        volume.write_at(&self.bytes(), 0).expect("it is written");
        image.into_bytes()
    }

    /// That [`FIRST`] opens the image, and that this is in it.
    pub(crate) fn is_in(&self, image: &dyn Storage) -> bool {
        let volume = OpenOptions::default()
            .open(image, Secret::Passphrase(FIRST))
            .expect("it opens");
        let mut bytes = vec![0; self.len];
        volume.read_at(&mut bytes, 0).expect("it is read");
        bytes == self.bytes()
    }
}
