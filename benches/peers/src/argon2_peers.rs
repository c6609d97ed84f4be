//! Argon2id, with fresh memory each time, as a keyslot's opening pays it.

use anyhow::Context as _;
use argon2::{Algorithm, Argon2, Params, Version};
use lucarne_format::luks2::Argon2Variant;
use lucarne_keyslot::{KdfParams, time_derivation};

use crate::{
    libargon2::Libargon2,
    measure::{Case, Entry, Role, Row, compare},
};

pub(crate) const PASSES: u32 = 4;
pub(crate) const KEY_BYTES: usize = 64;
pub(crate) const PASSWORD: [u8; 9] = *b"benchmark";
pub(crate) const SALT: [u8; 32] = [0; 32];

/// MiB, lanes, threads.
const COSTS: [(u32, u32, usize); 2] = [(256, 2, 1), (1024, 4, 2)];

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let libargon2 = Libargon2::open();
    let mut rows = Vec::new();
    for (mib, lanes, threads) in COSTS {
        let case = Case {
            section: "argon2",
            what: format!("argon2id, {mib} MiB, {PASSES} passes, {lanes} lanes"),
            key_bits: 8 * KEY_BYTES,
            unit_bytes: 0,
            threads,
        };
        let bytes = (mib as usize) << 20;
        let work_bytes = PASSES as usize * bytes;
        let memory_kib = mib << 10;
        // Whoever runs on rayon takes the pool that it is called on.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let pool = &pool;
        let ours = KdfParams::Argon2 {
            variant: Argon2Variant::Id,
            time: PASSES,
            memory_kib,
            lanes,
        };
        pool.install(|| time_derivation(&ours, KEY_BYTES))?;
        let params = Params::new(memory_kib, PASSES, lanes, Some(KEY_BYTES)).context("argon2")?;
        let theirs = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut entries = vec![
            Entry {
                variant: "lucarne-keyslot".into(),
                role: Role::Ours,
                work: Box::new(move |_| {
                    let taken = pool.install(|| time_derivation(&ours, KEY_BYTES));
                    taken.map_or(0, |_| work_bytes)
                }),
            },
            Entry {
                variant: "argon2 (RustCrypto)".into(),
                role: Role::Other,
                work: Box::new(move |_| {
                    let mut key = [0; KEY_BYTES];
                    let done =
                        pool.install(|| theirs.hash_password_into(&PASSWORD, &SALT, &mut key));
                    done.map_or(0, |()| work_bytes)
                }),
            },
        ];
        if let Some(libargon2) = &libargon2 {
            entries.push(Entry {
                variant: "libargon2 (system)".into(),
                role: Role::Other,
                work: Box::new(move |_| {
                    libargon2
                        .derive(memory_kib, lanes, threads)
                        .map_or(0, |_| work_bytes)
                }),
            });
        }
        rows.extend(compare(&case, entries, 3));
    }
    Ok(rows)
}
