//! From a file in the page cache to the memory of a GPU, plain and out of a volume.
//!
//! ```text
//! cargo run --release --manifest-path benches/gpu/Cargo.toml -- [DIR] [GIB] [ROUNDS]
//! ```
//!
//! Pieces of 32 MiB are read into memory that the GPU copies from by itself, four of them in turn, so that the copy of
//! one goes on while the next is read, and decrypted right where it is copied from. Plain and encrypted take turns;
//! before anything is timed, what arrived is compared with what was sent. Printed are medians in GB/s, their spread,
//! and the median of each round's ratio to the plain file read in the same way.

mod cuda;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lucarne::{
    Access, FileStorage, FormatOptions, KdfKind, KdfRequest, Secret, SectorSize, Storage, Volume,
};
use rayon::prelude::*;

use cuda::{DeviceBuffer, Gpu, Staging};

const PIECE_LEN: usize = 32 << 20;
const STAGES: usize = 4;
/// What one thread reads at once of a plain file.
const PART_LEN: usize = 1 << 20;
const PASSPHRASE: &[u8] = b"not a secret, a benchmark";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "/tmp".into());
    let number = |text: Option<String>, ordinary: usize| -> Result<usize> {
        text.map_or(Ok(ordinary), |text| text.parse().context("not a number"))
    };
    let len = number(arguments.next(), 4)? << 30;
    let rounds = number(arguments.next(), 5)?;
    let Some(gpu) = Gpu::open()? else {
        println!("no GPU that CUDA's driver knows: nothing is measured");
        return Ok(());
    };
    let dir = Path::new(&dir).join(format!("lucarne-gpu-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let result = measure(&gpu, &dir, len, rounds);
    std::fs::remove_dir_all(&dir)?;
    result
}

/// Fills a buffer from byte `offset` on.
type Read<'r> = dyn Fn(&rayon::ThreadPool, &mut [u8], u64) -> Result<()> + 'r;

fn measure(gpu: &Gpu, dir: &Path, len: usize, rounds: usize) -> Result<()> {
    let (plain_path, volume_path) = (dir.join("plain"), dir.join("volume"));
    make(&plain_path, &volume_path, len)?;
    let plain = File::open(&plain_path)?;
    let plain_mapped = FileStorage::open(&plain_path, Access::ReadOnly)?.with_mapped_reads();
    let open = |storage| Volume::open(storage, Secret::Passphrase(PASSPHRASE));
    let volume = open(FileStorage::open(&volume_path, Access::ReadOnly)?)?;
    let mapped = open(FileStorage::open(&volume_path, Access::ReadOnly)?.with_mapped_reads())?;
    let in_parts = |pool: &rayon::ThreadPool,
                    bytes: &mut [u8],
                    offset: u64,
                    read: &(dyn Fn(&mut [u8], u64) -> Result<()> + Sync)| {
        pool.install(|| {
            bytes
                .par_chunks_mut(PART_LEN)
                .enumerate()
                .try_for_each(|(index, part)| read(part, offset + (index * PART_LEN) as u64))
        })
    };
    let ways: [(&str, Box<Read<'_>>); 4] = [
        (
            "plain, pread",
            Box::new(|pool, bytes, offset| {
                in_parts(pool, bytes, offset, &|part, at| {
                    Ok(plain.read_exact_at(part, at)?)
                })
            }),
        ),
        (
            "encrypted, pread",
            Box::new(|pool, bytes, offset| Ok(volume.read_at_on(pool, bytes, offset)?)),
        ),
        (
            "plain, mapped",
            Box::new(|pool, bytes, offset| {
                in_parts(pool, bytes, offset, &|part, at| {
                    let range = at..at + part.len() as u64;
                    let is_shown =
                        plain_mapped.visit(range, &mut |source| part.copy_from_slice(source))?;
                    ensure!(is_shown, "the file cannot be mapped");
                    Ok(())
                })
            }),
        ),
        (
            "encrypted, mapped",
            Box::new(|pool, bytes, offset| Ok(mapped.read_at_on(pool, bytes, offset)?)),
        ),
    ];
    let device = gpu.allocate(len)?;
    let mut stages = Vec::new();
    for _ in 0..STAGES {
        stages.push(gpu.staging(PIECE_LEN)?);
    }
    println!(
        "{}, {} GiB from the page cache, AES-256-XTS, 4096-byte sectors, {rounds} rounds",
        gpu.name,
        len >> 30
    );
    println!("| threads | way | median GB/s | least to most | to plain |\n|---|---|---|---|---|");
    let cpus = std::thread::available_parallelism()?.get();
    let mut threads = 1;
    while threads <= cpus {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        for (name, read) in &ways {
            load(&pool, read, &mut stages, &device, len)?;
            check(&plain, &device, len).with_context(|| name.to_string())?;
            device.fill(0)?;
        }
        let mut rates = vec![Vec::new(); ways.len()];
        for round in 0..rounds {
            for turn in 0..ways.len() {
                let index = (turn + round) % ways.len();
                let start = Instant::now();
                load(&pool, &ways[index].1, &mut stages, &device, len)?;
                rates[index].push(len as f64 / start.elapsed().as_secs_f64() / 1e9);
            }
        }
        for (index, (name, _)) in ways.iter().enumerate() {
            let plain = &rates[index / 2 * 2];
            let ratios: Vec<f64> = rates[index].iter().zip(plain).map(|(a, b)| a / b).collect();
            let (low, middle, high) = spread(&rates[index]);
            println!(
                "| {threads} | {name} | {middle:.2} | {low:.2} to {high:.2} | {:.2} |",
                spread(&ratios).1
            );
        }
        threads *= 2;
    }
    Ok(())
}

/// All of it, until the last byte has arrived.
fn load(
    pool: &rayon::ThreadPool,
    read: &Read<'_>,
    stages: &mut [Staging<'_>],
    device: &DeviceBuffer<'_>,
    len: usize,
) -> Result<()> {
    for (number, offset) in (0..len).step_by(PIECE_LEN).enumerate() {
        let piece_len = PIECE_LEN.min(len - offset);
        let stage = &mut stages[number % STAGES];
        read(pool, &mut stage.bytes()?[..piece_len], offset as u64)?;
        stage.send(device, offset, piece_len)?;
    }
    for stage in stages {
        stage.bytes()?;
    }
    Ok(())
}

/// What arrived is the plain file.
fn check(plain: &File, device: &DeviceBuffer<'_>, len: usize) -> Result<()> {
    let (mut sent, mut arrived) = (vec![0; PIECE_LEN], vec![0; PIECE_LEN]);
    for offset in (0..len).step_by(PIECE_LEN * 7) {
        let piece_len = PIECE_LEN.min(len - offset);
        plain.read_exact_at(&mut sent[..piece_len], offset as u64)?;
        device.read(offset, &mut arrived[..piece_len])?;
        ensure!(
            sent[..piece_len] == arrived[..piece_len],
            "other bytes arrived from byte {offset} on"
        );
    }
    Ok(())
}

/// The same random bytes in a file and in a volume.
fn make(plain_path: &Path, volume_path: &Path, len: usize) -> Result<()> {
    let kdf = KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    };
    let options = FormatOptions {
        kdf,
        sector_size: Some(SectorSize::B4096),
        keyslots_size: Some(512 << 10),
        ..FormatOptions::default()
    };
    File::create(volume_path)?.set_len((1 << 20) + len as u64)?;
    let storage = FileStorage::open(volume_path, Access::ReadWrite)?;
    lucarne::format(&storage, None, PASSPHRASE, &options)?;
    let volume = Volume::open(storage, Secret::Passphrase(PASSPHRASE))?;
    ensure!(
        volume.len() >= len as u64,
        "the volume holds {} bytes",
        volume.len()
    );
    let mut plain = File::create(plain_path)?;
    let mut bytes = vec![0_u64; PIECE_LEN / 8];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for offset in (0..len).step_by(PIECE_LEN) {
        for word in &mut bytes {
            // xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state;
        }
        let piece: Vec<u8> = bytes.iter().flat_map(|word| word.to_le_bytes()).collect();
        plain.write_all(&piece)?;
        volume.write_at(&piece, offset as u64)?;
    }
    plain.sync_all()?;
    volume.flush()?;
    Ok(())
}

/// The least, the middle one, and the most.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    (sorted[0], sorted[sorted.len() / 2], sorted[last])
}
