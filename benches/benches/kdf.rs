//! Key derivation as a keyslot pays it: what a header's costs mean in time.
//!
//! Argon2's lanes run on the global rayon pool; the memory is allocated, used and wiped each time,
//! as it is when a volume is opened. The first touch of fresh memory is part of that.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lucarne_argon2::{Argon2, Inputs, Kernel, Params, Variant};
use lucarne_format::luks2::{Argon2Variant, Luks2Keyslot};
use lucarne_keyslot::{
    Hash, KdfParams, SealRequest, af, create_digest, open_keyslot, seal_keyslot, verify_digest,
};

const PBKDF2_ITERATIONS: u32 = 100_000;

/// A keyslot and its area.
fn keyslot(kdf: KdfParams) -> (Luks2Keyslot, Vec<u8>) {
    let request = SealRequest {
        area_offset: 32768,
        area_room: 1 << 20,
        area_cipher: &"aes-xts-plain64".parse().unwrap(),
        area_key_len: 64,
        af_hash: Hash::Sha256,
        kdf,
    };
    seal_keyslot(&request, &[7; 64], b"passphrase").unwrap()
}

/// Each kernel beside the `argon2` crate as it is, in memory of its own.
fn argon2_kernels(criterion: &mut Criterion) {
    const MEMORY_KIB: u32 = 256 << 10;
    const LANES: u32 = 2;
    let mut group = criterion.benchmark_group("argon2id, 256 MiB, 4 passes, 2 lanes");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(u64::from(MEMORY_KIB) << 12));
    let mut key = [0; 64];
    let inputs = Inputs {
        password: b"passphrase",
        salt: &[7; 32],
        ..Inputs::default()
    };
    let argon2 = Argon2::new(Params::new(Variant::Id, 4, MEMORY_KIB, LANES).unwrap());
    for kernel in Kernel::available() {
        group.bench_function(kernel.name(), |bencher| {
            bencher.iter(|| {
                argon2
                    .with_kernel(kernel)
                    .derive(&inputs, &mut key)
                    .unwrap()
            });
        });
    }
    let peer = argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(MEMORY_KIB, 4, LANES, Some(key.len())).unwrap(),
    );
    group.bench_function("argon2 crate", |bencher| {
        bencher.iter(|| {
            peer.hash_password_into(inputs.password, inputs.salt, &mut key)
                .unwrap();
        });
    });
    group.finish();
}

fn argon2(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open a keyslot, argon2id, 4 passes");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(20));
    for (memory_mib, lanes) in [(64, 1), (64, 4), (256, 1), (256, 2), (256, 4), (1024, 4)] {
        let (keyslot, area) = keyslot(KdfParams::Argon2 {
            variant: Argon2Variant::Id,
            time: 4,
            memory_kib: memory_mib << 10,
            lanes,
        });
        group.throughput(Throughput::Bytes(u64::from(memory_mib) << 22));
        group.bench_function(
            BenchmarkId::new(format!("{memory_mib} MiB"), lanes),
            |bencher| {
                bencher.iter(|| open_keyslot(&keyslot, &area, b"passphrase").unwrap());
            },
        );
    }
    group.finish();
}

/// The digest of a volume key, as every opening verifies it.
fn pbkdf2(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify a digest, pbkdf2");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(PBKDF2_ITERATIONS.into()));
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
        let digest = create_digest(&[7; 64], hash, PBKDF2_ITERATIONS).unwrap();
        group.bench_function(hash.name(), |bencher| {
            bencher.iter(|| verify_digest(&digest, &[7; 64]).unwrap());
        });
    }
    group.finish();
}

/// What opening a keyslot costs besides its key derivation.
fn splitter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("af merge, 64-byte key");
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
        let material = af::split(hash, &[7; 64]).unwrap();
        group.bench_function(hash.name(), |bencher| {
            bencher.iter(|| af::merge(hash, 64, &material).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, splitter, pbkdf2, argon2_kernels, argon2);
criterion_main!(benches);
