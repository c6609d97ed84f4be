//! What the tests of power cuts share.
#![allow(dead_code)] // each test file uses a part

use lucarne::{KdfKind, KdfRequest, KeyslotOptions};
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
