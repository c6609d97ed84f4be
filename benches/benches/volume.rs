//! `Volume` reads and writes beside the same calls on the bare file.
//!
//! The file is in the page cache. Compare the groups' `volume` with `file` in one run: the difference
//! is the cipher's, the ratio depends on how fast the machine copies.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lucarne::{
    Access, FileStorage, FormatOptions, KdfKind, KdfRequest, Secret, Storage, Volume, format,
};

const DATA_LEN: u64 = 512 << 20;
const DATA_OFFSET: u64 = 1 << 20;
const PASSPHRASE: &[u8] = b"not a secret, a benchmark";

/// One caller's requests: so many of a size, spread over threads.
struct Load {
    name: &'static str,
    request_len: u64,
    requests: u64,
    is_random: bool,
}

const LOADS: [Load; 2] = [
    Load {
        name: "1 MiB in sequence",
        request_len: 1 << 20,
        requests: 512,
        is_random: false,
    },
    Load {
        name: "4 KiB at random",
        request_len: 4096,
        requests: 20_000,
        is_random: true,
    },
];

impl Load {
    /// Calls `request` with every offset of this thread's share.
    fn run(&self, thread: u64, threads: u64, mut request: impl FnMut(u64)) {
        let places = DATA_LEN / self.request_len;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread + 1);
        for index in (thread..self.requests).step_by(threads as usize) {
            // xorshift64: cheap enough not to show beside a system call.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = if self.is_random {
                state % places
            } else {
                index
            };
            request(place * self.request_len);
        }
    }

    fn on_threads(&self, threads: u64, read: impl Fn(&mut [u8], u64) + Sync) {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let read = &read;
                scope.spawn(move || {
                    let mut buf = vec![0; self.request_len as usize];
                    self.run(thread, threads, |offset| {
                        read(&mut buf, offset);
                        black_box(&mut buf);
                    });
                });
            }
        });
    }
}

fn volume(path: &std::path::Path) -> Volume<FileStorage> {
    let file = std::fs::File::create(path).expect("a file for the volume");
    file.set_len(DATA_OFFSET + DATA_LEN)
        .expect("room for the volume");
    let storage = FileStorage::open(path, Access::ReadWrite).expect("the volume's file");
    let options = FormatOptions {
        kdf: KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(1000),
            ..KdfRequest::default()
        },
        keyslots_size: Some(256 << 10),
        ..FormatOptions::default()
    };
    format(&storage, None, PASSPHRASE, &options).expect("a volume");
    let volume = Volume::open(storage, Secret::Passphrase(PASSPHRASE)).expect("the volume opened");
    for offset in (0..DATA_LEN).step_by(1 << 20) {
        volume
            .write_at(&vec![offset as u8; 1 << 20], offset)
            .expect("the volume filled");
    }
    volume
}

fn reads(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder to work in");
    let path = dir.path().join("volume");
    let volume = volume(&path);
    let mapped = FileStorage::open(&path, Access::ReadOnly)
        .expect("the volume's file")
        .with_mapped_reads();
    let mapped = Volume::open(mapped, Secret::Passphrase(PASSPHRASE)).expect("the volume opened");
    for load in &LOADS {
        let mut group = criterion.benchmark_group(format!("read {}", load.name));
        group.throughput(Throughput::Bytes(load.request_len * load.requests));
        for threads in [1, 2] {
            group.bench_with_input(
                BenchmarkId::new("file", threads),
                &threads,
                |bencher, &threads| {
                    bencher.iter(|| {
                        load.on_threads(threads, |buf, offset| {
                            volume
                                .storage()
                                .read_at(buf, DATA_OFFSET + offset)
                                .expect("a read");
                        });
                    });
                },
            );
            group.bench_with_input(
                BenchmarkId::new("volume", threads),
                &threads,
                |bencher, &threads| {
                    bencher.iter(|| {
                        load.on_threads(threads, |buf, offset| {
                            volume.read_at(buf, offset).expect("a read");
                        });
                    });
                },
            );
            group.bench_with_input(
                BenchmarkId::new("mapped volume", threads),
                &threads,
                |bencher, &threads| {
                    bencher.iter(|| {
                        load.on_threads(threads, |buf, offset| {
                            mapped.read_at(buf, offset).expect("a read");
                        });
                    });
                },
            );
        }
        group.finish();
    }
}

fn writes(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder to work in");
    let volume = volume(&dir.path().join("volume"));
    for load in &LOADS {
        let mut group = criterion.benchmark_group(format!("write {}", load.name));
        group.throughput(Throughput::Bytes(load.request_len * load.requests));
        let data = vec![7; load.request_len as usize];
        group.bench_function("file", |bencher| {
            bencher.iter(|| {
                load.run(0, 1, |offset| {
                    volume
                        .storage()
                        .write_at(&data, DATA_OFFSET + offset)
                        .expect("a write");
                });
            });
        });
        group.bench_function("volume", |bencher| {
            bencher.iter(|| {
                load.run(0, 1, |offset| {
                    volume.write_at(&data, offset).expect("a write")
                })
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = reads, writes
}
criterion_main!(benches);
