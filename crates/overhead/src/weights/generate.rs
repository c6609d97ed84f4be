//! Numbers as trained weights have them, as fast as a disk takes them.

use std::sync::atomic::{AtomicU64, Ordering};

use lucarne_storage::{AlignedBuffer, Storage};

use super::Checkpoint;
use crate::random::Random;
use crate::{Control, Error};

/// Generated and written in one go; each has a seed of its own, so the bytes depend on no thread's luck.
const BLOCK_LEN_BYTES: u64 = 4 << 20;

/// Writes the checkpoint to `output` from byte 0 on, with `threads` threads, and flushes it. The same `seed` gives the
/// same bytes.
///
/// # Errors
/// [`Error::Io`] from the storage, [`Error::Interrupted`].
pub fn generate(
    checkpoint: &Checkpoint,
    seed: u64,
    output: &dyn Storage,
    threads: usize,
    control: &Control,
) -> Result<(), Error> {
    let writing = || Error::io("cannot write the generated weights");
    output.reserve(checkpoint.len_bytes).map_err(writing())?;
    let header_len = checkpoint.header.len() as u64;
    let next = AtomicU64::new(0);
    let worker = || -> Result<(), Error> {
        let mut block = AlignedBuffer::zeroed(BLOCK_LEN_BYTES as usize);
        loop {
            control.check()?;
            let index = next.fetch_add(1, Ordering::Relaxed);
            let start = index.saturating_mul(BLOCK_LEN_BYTES);
            if start >= checkpoint.len_bytes {
                return Ok(());
            }
            let len = (checkpoint.len_bytes - start).min(BLOCK_LEN_BYTES) as usize;
            let block = &mut block[..len];
            fill(
                block,
                Random::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(index)),
            );
            if start < header_len {
                let rest = &checkpoint.header[start as usize..];
                let shared = rest.len().min(len);
                block[..shared].copy_from_slice(&rest[..shared]);
            }
            output.write_at(block, start).map_err(writing())?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut result = Ok(());
        for worker in workers {
            result = result.and(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        result
    })?;
    output.flush().map_err(writing())
}

/// bf16 numbers round zero, of the size that trained weights have: sign and mantissa without a pattern, exponents
/// below 2^-5, each half as often as the one above it.
fn fill(block: &mut [u8], mut random: Random) {
    for eight in block.chunks_mut(8) {
        let bits = random.next();
        let exponents = random.next();
        let mut word = 0_u64;
        for lane in 0..4 {
            let sixteen = bits >> (16 * lane);
            let below = ((exponents >> (16 * lane)) & 0xffff | 0x8000).trailing_zeros();
            let exponent = 121 - u64::from(below);
            word |= ((sixteen & 0x807f) | exponent << 7) << (16 * lane);
        }
        eight.copy_from_slice(&word.to_le_bytes()[..eight.len()]);
    }
}

#[cfg(test)]
mod tests {
    use lucarne_storage::MemoryStorage;

    use super::*;
    use crate::weights::Model;

    #[test]
    fn numbers_are_finite_small_and_all_different_enough() {
        let mut block = vec![0; 1 << 16];
        fill(&mut block, Random::new(1));
        let numbers: Vec<f32> = block
            .chunks_exact(2)
            .map(|two| f32::from_bits(u32::from(u16::from_le_bytes([two[0], two[1]])) << 16))
            .collect();
        assert!(
            numbers
                .iter()
                .all(|number| number.is_finite() && number.abs() < 0.04)
        );
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        assert!(mean.abs() < 1e-3, "{mean}");
        let negative = numbers
            .iter()
            .filter(|number| number.is_sign_negative())
            .count();
        assert!(negative.abs_diff(numbers.len() / 2) < numbers.len() / 20);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_file_and_it_reads_back() {
        let checkpoint = Checkpoint::of_model(Model::Small, 9 << 20);
        let files: Vec<MemoryStorage> = [1, 3]
            .into_iter()
            .map(|threads| {
                let file = MemoryStorage::with_len(usize::try_from(checkpoint.len_bytes).unwrap());
                generate(&checkpoint, 5, &file, threads, &Control::default()).unwrap();
                file
            })
            .collect();
        let bytes = |file: &MemoryStorage| {
            let mut bytes = vec![0; usize::try_from(checkpoint.len_bytes).unwrap()];
            file.read_at(&mut bytes, 0).unwrap();
            bytes
        };
        assert!(bytes(&files[0]) == bytes(&files[1]));
        let header = lucarne_tensors::Header::read(&files[0], lucarne_tensors::Trailing::Refused);
        assert_eq!(header.unwrap().tensors(), checkpoint.tensors);
    }

    #[test]
    fn an_interrupted_generation_ends() {
        let control = Control::default();
        control.interrupt();
        let checkpoint = Checkpoint::of_model(Model::Small, 1 << 20);
        let result = generate(
            &checkpoint,
            5,
            &MemoryStorage::with_len(2 << 20),
            2,
            &control,
        );
        assert!(matches!(result, Err(Error::Interrupted)));
    }
}
