//! What `cargo xtask speed` runs: a fixed amount of work, for a counter of instructions, and each kernel's share of
//! its limit.
//!
//! ```text
//! cipher_gate work KERNEL KEY_BITS encrypt|decrypt UNIT_BYTES CALL_BYTES CALLS
//! cipher_gate shares ENOUGH
//! ```
//! `shares` prints one line for each fused kernel of this CPU, key size, direction and data unit. Kernel and limit
//! take turns in rounds of a few microseconds, and the best round of each counts: a busy machine spoils rounds, not
//! all of them. What is below ENOUGH is measured again before it is believed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lucarne_cipher::{Kernel, XtsAes};

/// Told from other failures: this CPU does not have the kernel.
const UNAVAILABLE: u8 = 3;

/// So little that it stays in the nearest cache.
const SHARE_CALL_BYTES: usize = 16 << 10;
const SHARE_CALLS: usize = 16;
const SHARE_ROUNDS: usize = 60;
const SHARE_ATTEMPTS: usize = 6;

type Process = fn(&XtsAes, usize, u64, &mut [u8]) -> Result<(), lucarne_cipher::CipherError>;
const DIRECTIONS: [(&str, Process); 2] =
    [("encrypt", XtsAes::encrypt), ("decrypt", XtsAes::decrypt)];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [
            "work",
            kernel,
            key_bits,
            direction,
            unit_bytes,
            call_bytes,
            calls,
        ] => (|| {
            Some(work(
                kernel.parse().ok()?,
                key_bits.parse().ok()?,
                DIRECTIONS.iter().find(|(name, _)| *name == direction)?.1,
                [unit_bytes, call_bytes, calls].map(|number| number.parse().unwrap_or(0)),
            ))
        })(),
        ["shares", enough] => enough.parse().ok().map(shares),
        _ => None,
    };
    outcome.unwrap_or_else(|| {
        eprintln!("cipher_gate: {words:?}: see the head of its source");
        ExitCode::FAILURE
    })
}

/// Any key will do, if its halves differ.
fn key(bits: usize) -> Vec<u8> {
    (0..bits / 8).map(|place| place as u8).collect()
}

fn work(
    kernel: Kernel,
    key_bits: usize,
    process: Process,
    [unit_bytes, call_bytes, calls]: [usize; 3],
) -> ExitCode {
    let xts = match XtsAes::new(&key(key_bits), kernel) {
        Ok(xts) => xts,
        Err(error) => {
            eprintln!("cipher_gate: {error}");
            return ExitCode::from(UNAVAILABLE);
        }
    };
    let mut data = vec![0; call_bytes];
    for _ in 0..calls {
        if let Err(error) = process(&xts, unit_bytes, 0, black_box(&mut data)) {
            eprintln!("cipher_gate: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn shares(enough: f64) -> ExitCode {
    for kernel in Kernel::available().filter(|&kernel| kernel != Kernel::Portable) {
        for key_bits in [256, 512] {
            for (direction, process) in DIRECTIONS {
                for unit_bytes in [512, 4096] {
                    let mut best = 0.0;
                    for attempt in 0..SHARE_ATTEMPTS {
                        if attempt > 0 {
                            sleep(Duration::from_millis(500));
                        }
                        best = share(kernel, key_bits, process, unit_bytes).max(best);
                        if best >= enough {
                            break;
                        }
                    }
                    println!("{kernel}\t{key_bits}\t{direction}\t{unit_bytes}\t{best:.3}");
                }
            }
        }
    }
    ExitCode::SUCCESS
}

/// The kernel's speed over its limit's, both at their best.
fn share(kernel: Kernel, key_bits: usize, process: Process, unit_bytes: usize) -> f64 {
    let xts = XtsAes::new(&key(key_bits), kernel).expect("the kernel is available");
    let mut data = vec![0; SHARE_CALL_BYTES];
    let [mut kernel_best, mut limit_best] = [f64::INFINITY; 2];
    for _ in 0..SHARE_ROUNDS {
        let start = Instant::now();
        let spun = kernel
            .spin(key_bits / 16, SHARE_CALLS * SHARE_CALL_BYTES)
            .expect("a fused kernel has a limit");
        limit_best = limit_best.min(start.elapsed().as_secs_f64() / spun as f64);

        let start = Instant::now();
        for _ in 0..SHARE_CALLS {
            process(&xts, unit_bytes, 0, black_box(&mut data)).expect("whole data units");
        }
        let bytes = SHARE_CALLS * SHARE_CALL_BYTES;
        kernel_best = kernel_best.min(start.elapsed().as_secs_f64() / bytes as f64);
    }
    limit_best / kernel_best
}
