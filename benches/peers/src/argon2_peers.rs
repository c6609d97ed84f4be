//! Argon2id, in fresh memory each time, as a keyslot's opening pays it, and in memory that is kept.
//!
//! Fresh memory costs a fault for each page, and in a virtual machine the host may have to find the page first.
//! Whoever can be given its memory takes turns a second time, in the same memory again and again. Ours cannot: it maps
//! its own, and wipes and unmaps it at the end.

use std::cell::RefCell;

use anyhow::{Context as _, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
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
const ROUNDS: usize = 5;

type Key = [u8; KEY_BYTES];
/// The key, unless it failed.
type Derivation<'a> = Box<dyn Fn() -> Option<Key> + 'a>;

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
        let costs = Costs {
            memory_kib: mib << 10,
            lanes,
            threads,
        };
        rows.extend(compare_at(&case, costs, libargon2.as_ref())?);
    }
    Ok(rows)
}

#[derive(Clone, Copy)]
struct Costs {
    memory_kib: u32,
    lanes: u32,
    threads: usize,
}

fn compare_at(
    case: &Case,
    costs: Costs,
    libargon2: Option<&Libargon2>,
) -> anyhow::Result<Vec<Row>> {
    let Costs {
        memory_kib,
        lanes,
        threads,
    } = costs;
    let work_bytes = PASSES as usize * ((memory_kib as usize) << 10);
    // Whoever runs on rayon takes the pool that it is called on.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let ours = KdfParams::Argon2 {
        variant: Argon2Variant::Id,
        time: PASSES,
        memory_kib,
        lanes,
    };
    pool.install(|| time_derivation(&ours, KEY_BYTES))?;

    let params = Params::new(memory_kib, PASSES, lanes, Some(KEY_BYTES)).context("argon2")?;
    // Written here, so that every page of it is there. Its users take turns.
    let kept = RefCell::new(vec![Block::new(); params.block_count()]);
    for block in kept.borrow_mut().iter_mut() {
        block.as_mut().fill(1);
    }
    let rust = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut peers: Vec<(&str, Derivation<'_>)> = vec![
        (
            "argon2 (RustCrypto), fresh memory",
            Box::new(|| {
                let mut key = [0; KEY_BYTES];
                let done = pool.install(|| rust.hash_password_into(&PASSWORD, &SALT, &mut key));
                done.ok().map(|()| key)
            }),
        ),
        (
            "argon2 (RustCrypto), kept memory",
            Box::new(|| {
                let mut key = [0; KEY_BYTES];
                let mut kept = kept.borrow_mut();
                let kept = kept.as_mut_slice();
                let done = pool.install(|| {
                    rust.hash_password_into_with_memory(&PASSWORD, &SALT, &mut key, kept)
                });
                done.ok().map(|()| key)
            }),
        ),
    ];
    if let Some(libargon2) = libargon2 {
        peers.push((
            "libargon2 (system), fresh memory",
            Box::new(move || libargon2.derive(memory_kib, lanes, threads, None)),
        ));
        peers.push((
            "libargon2 (system), kept memory",
            Box::new(|| libargon2.derive(memory_kib, lanes, threads, Some(&mut kept.borrow_mut()))),
        ));
    }
    let mut entries = vec![Entry {
        variant: "lucarne-keyslot, fresh memory".into(),
        role: Role::Ours,
        work: Box::new(|_| {
            let taken = pool.install(|| time_derivation(&ours, KEY_BYTES));
            taken.map_or(0, |_| work_bytes)
        }),
    }];
    let expected = peers[0].1();
    for (variant, derive) in peers {
        ensure!(
            expected.is_some() && derive() == expected,
            "{variant} derives another key, or none"
        );
        entries.push(Entry {
            variant: variant.into(),
            role: Role::Other,
            work: Box::new(move |_| derive().map_or(0, |_| work_bytes)),
        });
    }
    // Each has one more turn before the first that counts.
    Ok(compare(case, entries, ROUNDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_be_given_memory_takes_turns_in_it_as_well() {
        let case = Case {
            section: "argon2",
            what: "argon2id, 1 MiB, 4 passes, 2 lanes".into(),
            key_bits: 8 * KEY_BYTES,
            unit_bytes: 0,
            threads: 1,
        };
        let costs = Costs {
            memory_kib: 1024,
            lanes: 2,
            threads: 1,
        };
        let libargon2 = Libargon2::open();
        let rows = compare_at(&case, costs, libargon2.as_ref()).unwrap();
        let count = |memory: &str| {
            rows.iter()
                .filter(|row| row.variant.ends_with(memory))
                .count()
        };
        let peers = 1 + usize::from(libargon2.is_some());
        assert_eq!(count(", fresh memory"), 1 + peers);
        assert_eq!(count(", kept memory"), peers);
        assert!(rows.iter().all(|row| row.median_gb_s > 0.0));
    }
}
