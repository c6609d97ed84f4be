//! AES-XTS on one thread: every kernel that this CPU can run, `xts-mode` (block by block), and what AES
//! does on registers alone, which no XTS can exceed.
//!
//! 256 KiB lie in the second-level cache; figures from memory belong to `benches/peers`. A data unit alone
//! shows what a call costs besides its bytes.
#![allow(missing_docs, clippy::unwrap_used)]

use aes::{Aes128, Aes256};
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use lucarne_cipher::{DataUnit, Kernel, SectorCipher};
use xts_mode::{Xts128, get_tweak_default};

const BULK_BYTES: usize = 256 << 10;
const UNITS: [DataUnit; 2] = [DataUnit::B512, DataUnit::B4096];
/// XTS keys: two of AES-256, two of AES-128.
const KEYS: [usize; 2] = [64, 32];

fn key(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| at as u8).collect()
}

/// `encrypt aes-256 512/262144`: direction, key, data unit, buffer.
fn id(direction: &str, key_bytes: usize, unit: DataUnit, buffer_bytes: usize) -> BenchmarkId {
    let name = format!("{direction} aes-{}", 4 * key_bytes);
    BenchmarkId::new(name, format!("{}/{buffer_bytes}", unit.bytes()))
}

fn kernels(criterion: &mut Criterion) {
    let spec = "aes-xts-plain64".parse().unwrap();
    for kernel in Kernel::available() {
        let mut group = criterion.benchmark_group(kernel.name());
        for key_bytes in KEYS {
            for unit in UNITS {
                let cipher =
                    SectorCipher::new_with_kernel(&spec, &key(key_bytes), unit, kernel).unwrap();
                for buffer_bytes in [BULK_BYTES, unit.bytes() as usize] {
                    let mut data = vec![0; buffer_bytes];
                    group.throughput(Throughput::Bytes(buffer_bytes as u64));
                    group.bench_function(id("encrypt", key_bytes, unit, buffer_bytes), |bencher| {
                        bencher.iter(|| cipher.encrypt(0, &mut data));
                    });
                    group.bench_function(id("decrypt", key_bytes, unit, buffer_bytes), |bencher| {
                        bencher.iter(|| cipher.decrypt(0, &mut data));
                    });
                }
            }
            group.throughput(Throughput::Bytes(BULK_BYTES as u64));
            if kernel.spin(key_bytes / 2, 0).is_some() {
                let name = format!("aes-{} on registers alone", 4 * key_bytes);
                group.bench_function(name, |bencher| {
                    bencher.iter(|| kernel.spin(key_bytes / 2, BULK_BYTES));
                });
            }
        }
        group.finish();
    }
}

fn xts_mode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("xts-mode");
    by_the_block::<Aes256>(&mut group, 64);
    by_the_block::<Aes128>(&mut group, 32);
    group.finish();
}

fn by_the_block<C>(group: &mut BenchmarkGroup<'_, WallTime>, key_bytes: usize)
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    let key = key(key_bytes);
    let (data_key, tweak_key) = key.split_at(key_bytes / 2);
    let xts = Xts128::new(
        C::new_from_slice(data_key).unwrap(),
        C::new_from_slice(tweak_key).unwrap(),
    );
    for unit in UNITS {
        let unit_bytes = unit.bytes() as usize;
        for buffer_bytes in [BULK_BYTES, unit_bytes] {
            let mut data = vec![0; buffer_bytes];
            group.throughput(Throughput::Bytes(buffer_bytes as u64));
            group.bench_function(id("encrypt", key_bytes, unit, buffer_bytes), |bencher| {
                bencher.iter(|| xts.encrypt_area(&mut data, unit_bytes, 0, get_tweak_default));
            });
            group.bench_function(id("decrypt", key_bytes, unit, buffer_bytes), |bencher| {
                bencher.iter(|| xts.decrypt_area(&mut data, unit_bytes, 0, get_tweak_default));
            });
        }
    }
}

criterion_group!(benches, kernels, xts_mode);
criterion_main!(benches);
