//! The hashes that tell the blocks of a hot zone apart: each kernel over 1 MiB, in blocks of both usual lengths.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lucarne_sha256::Kernel;

const LEN_BYTES: usize = 1 << 20;

fn blocks(criterion: &mut Criterion) {
    let bytes = vec![7; LEN_BYTES];
    let mut group = criterion.benchmark_group("SHA-256 of blocks");
    group.throughput(Throughput::Bytes(LEN_BYTES as u64));
    for block_len in [512, 4096] {
        let mut digests = vec![[0; 32]; LEN_BYTES / block_len];
        for kernel in Kernel::available() {
            group.bench_function(BenchmarkId::new(kernel.name(), block_len), |bencher| {
                bencher.iter(|| kernel.digest_blocks(&bytes, block_len, &mut digests));
            });
        }
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);
