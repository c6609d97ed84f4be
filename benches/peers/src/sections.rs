//! The comparisons.

use std::str::FromStr;

use lucarne_cipher::Kernel;

use crate::{
    argon2_peers, limits,
    measure::{Case, Entry, Role, Row, compare},
    xts::{Contender, contenders, key},
};

const CACHED_BYTES: usize = 256 << 10;
const MEMORY_BYTES: usize = 1 << 30;
/// A turn over the memory takes another quarter each time: no cache holds one, and the slow do not take
/// all of the time.
const MEMORY_TURN_BYTES: usize = MEMORY_BYTES / 4;
const UNITS: [usize; 2] = [512, 4096];
const XTS_KEYS: [usize; 2] = [64, 32];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Section {
    Cache,
    Memory,
    Argon2,
}

impl Section {
    pub(crate) const ALL: [Self; 3] = [Self::Cache, Self::Memory, Self::Argon2];

    pub(crate) fn run(self) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Cache => cache(),
            Self::Memory => memory(),
            Self::Argon2 => argon2_peers::run(),
        }
    }
}

impl FromStr for Section {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "cache" => Ok(Self::Cache),
            "memory" => Ok(Self::Memory),
            "argon2" => Ok(Self::Argon2),
            _ => Err(()),
        }
    }
}

/// The first contender is the one that the others are compared with.
fn role(at: usize) -> Role {
    match at {
        0 => Role::Ours,
        _ => Role::Other,
    }
}

/// 256 KiB on one thread, beside AES on registers alone.
fn cache() -> anyhow::Result<Vec<Row>> {
    let contenders = contenders()?;
    let mut rows = Vec::new();
    for key_bytes in XTS_KEYS {
        for unit_bytes in UNITS {
            for what in ["encrypt", "decrypt"] {
                let case = Case {
                    section: "cache",
                    what: what.into(),
                    key_bits: 4 * key_bytes,
                    unit_bytes,
                    threads: 1,
                };
                let mut entries = Vec::new();
                let takers = contenders
                    .iter()
                    .filter(|contender| contender.takes(key_bytes));
                for (at, contender) in takers.enumerate() {
                    let mut xts = contender.keyed(&key(key_bytes))?;
                    let mut data = vec![0; CACHED_BYTES];
                    entries.push(Entry {
                        variant: contender.name.clone(),
                        role: role(at),
                        work: Box::new(move |_| {
                            match what {
                                "encrypt" => xts.encrypt(unit_bytes, 0, &mut data),
                                _ => xts.decrypt(unit_bytes, 0, &mut data),
                            }
                            CACHED_BYTES
                        }),
                    });
                }
                // The portable kernel does not know its limit.
                if Kernel::preferred().spin(key_bytes / 2, 0).is_some() {
                    entries.push(Entry {
                        variant: "AES on registers alone".into(),
                        role: Role::Limit,
                        work: Box::new(move |_| {
                            Kernel::preferred()
                                .spin(key_bytes / 2, CACHED_BYTES)
                                .unwrap_or_default()
                        }),
                    });
                }
                rows.extend(compare(&case, entries, 40));
            }
        }
    }
    Ok(rows)
}

/// 1 GiB in place on one thread and two, beside what the memory does.
fn memory() -> anyhow::Result<Vec<Row>> {
    // Our other kernels are left out: they take turns in the cache, and the time is the machine's.
    let mut contenders = contenders()?;
    let mut at = 0;
    contenders.retain(|contender| {
        at += 1;
        at == 1 || !contender.is_ours
    });
    let mut buffer = vec![1; MEMORY_BYTES];
    let mut rows = Vec::new();
    for threads in [1, 2] {
        for key_bytes in XTS_KEYS {
            for unit_bytes in UNITS {
                let case = Case {
                    section: "memory",
                    what: "encrypt".into(),
                    key_bits: 4 * key_bytes,
                    unit_bytes,
                    threads,
                };
                rows.extend(one_memory_case(&case, &contenders, key_bytes, &mut buffer)?);
            }
        }
    }
    Ok(rows)
}

fn one_memory_case(
    case: &Case,
    contenders: &[Contender],
    key_bytes: usize,
    buffer: &mut [u8],
) -> anyhow::Result<Vec<Row>> {
    let (unit_bytes, threads) = (case.unit_bytes, case.threads);
    // Shared by the entries, which take turns.
    let buffer = &std::cell::RefCell::new(buffer);
    let mut entries = Vec::new();
    let takers = contenders
        .iter()
        .filter(|contender| contender.takes(key_bytes));
    for (at, contender) in takers.enumerate() {
        let mut keyed = Vec::new();
        for _ in 0..threads {
            keyed.push(contender.keyed(&key(key_bytes))?);
        }
        entries.push(Entry {
            variant: contender.name.clone(),
            role: role(at),
            work: Box::new(move |round| {
                on_threads(&mut buffer.borrow_mut(), round, &mut keyed, |xts, piece| {
                    xts.encrypt(unit_bytes, 0, piece);
                    piece.len()
                })
            }),
        });
    }
    let mut nothing = vec![(); threads];
    entries.push(Entry {
        variant: "read-xor-write".into(),
        role: Role::Limit,
        work: Box::new(move |round| {
            on_threads(
                &mut buffer.borrow_mut(),
                round,
                &mut nothing,
                |(), piece| {
                    limits::read_xor_write(piece);
                    piece.len()
                },
            )
        }),
    });
    let mut nothing = vec![(); threads];
    entries.push(Entry {
        variant: "memcpy".into(),
        role: Role::Other,
        work: Box::new(move |round| {
            on_threads(
                &mut buffer.borrow_mut(),
                round,
                &mut nothing,
                |(), piece| limits::copy_half(piece),
            )
        }),
    });
    Ok(compare(case, entries, 7))
}

/// Splits the round's quarter of the buffer over threads, one for each state.
fn on_threads<S: Send>(
    buffer: &mut [u8],
    round: usize,
    states: &mut [S],
    work: impl Fn(&mut S, &mut [u8]) -> usize + Sync,
) -> usize {
    let start = round * MEMORY_TURN_BYTES % MEMORY_BYTES;
    let quarter = &mut buffer[start..start + MEMORY_TURN_BYTES];
    let piece_bytes = quarter.len() / states.len();
    if let [state] = states {
        return work(state, quarter);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = states
            .iter_mut()
            .zip(quarter.chunks_mut(piece_bytes))
            .map(|(state, piece)| scope.spawn(move || work(state, piece)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no contender panics"))
            .sum()
    })
}
