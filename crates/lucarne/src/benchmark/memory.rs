//! The memory, which saturates before the AES units do when there are enough of them.

use std::{hint::black_box, time::Duration};

use super::rounds::{median, take_turns};
use crate::Error;

const BUDGET: Duration = Duration::from_millis(600);
/// Larger than any cache that a thread can fill, unless the machine has less to spare.
const BUFFER_BYTES: usize = 512 << 20;
const LEAST_BUFFER_BYTES: usize = 16 << 20;

/// How fast the memory is, over a buffer that no cache holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MemorySpeed {
    /// The threads that shared the work.
    pub threads: usize,
    /// Length of the buffer.
    pub buffer_bytes: usize,
    /// Read, combined with a constant and written back, as a cipher in place does with its data; bytes a
    /// second.
    pub xor: f64,
    /// One half copied onto the other; bytes copied a second.
    pub copy: f64,
}

pub(super) fn run(threads: usize) -> Result<MemorySpeed, Error> {
    let threads = threads.max(1);
    let mut buffer = buffer(threads)?;
    let buffer_bytes = size_of_val(&buffer[..]);
    let (source, target) = buffer.split_at_mut(buffer_bytes / 16);
    let piece = source.len() / threads;
    // The threads' start is paid by each turn, and is nothing beside it.
    let mut copy = || {
        std::thread::scope(|scope| {
            for (source, target) in source.chunks(piece).zip(target.chunks_mut(piece)) {
                scope.spawn(move || black_box(target).copy_from_slice(black_box(source)));
            }
        });
        buffer_bytes / 2
    };
    let copy = take_turns(BUDGET / 2, [&mut copy]);
    let mut xor = || {
        std::thread::scope(|scope| {
            for piece in buffer.chunks_mut(2 * piece) {
                scope.spawn(move || {
                    for word in black_box(piece) {
                        *word ^= 0x5555_5555_5555_5555;
                    }
                });
            }
        });
        buffer_bytes
    };
    let xor = take_turns(BUDGET / 2, [&mut xor]);
    let rate = |rounds: Vec<[f64; 1]>| median(rounds.into_iter().flatten());
    Ok(MemorySpeed {
        threads,
        buffer_bytes,
        xor: rate(xor),
        copy: rate(copy),
    })
}

/// Words enough for two equal halves of whole pieces for each thread; none of them zero, which is not
/// backed by memory until it is written.
fn buffer(threads: usize) -> Result<Vec<u64>, Error> {
    let spare = lucarne_keyslot::spare_memory_kib()
        .and_then(|kib| usize::try_from(kib.saturating_mul(1024)).ok())
        .unwrap_or(BUFFER_BYTES);
    let bytes = BUFFER_BYTES.min(spare).max(LEAST_BUFFER_BYTES);
    // Halves of whole pieces.
    let words = (bytes / 8).next_multiple_of(2 * threads);
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(words)
        .map_err(|_| Error::OutOfMemory {
            kib: u32::try_from(bytes / 1024).unwrap_or(u32::MAX),
        })?;
    buffer.resize(words, 1);
    Ok(buffer)
}
