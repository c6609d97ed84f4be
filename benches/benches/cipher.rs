//! AES-XTS on one thread: the sector cipher, `xts-mode` (block by block), and what the same AES
//! does to the same bytes without any mode, which no XTS over it can exceed.
//!
//! 256 KiB lie in the second-level cache; figures from memory belong to the pipelines' benches.
#![allow(missing_docs, clippy::unwrap_used)]

use aes::{Aes128, Aes256};
use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use lucarne_cipher::{DataUnit, SectorCipher};
use xts_mode::{Xts128, get_tweak_default};

const BUFFER_LEN: usize = 256 << 10;

fn xts(criterion: &mut Criterion) {
    for key_len in [64, 32] {
        let key: Vec<u8> = (0..key_len).collect();
        let mut group = criterion.benchmark_group(format!("aes-xts-{}", u32::from(key_len) * 4));
        group.throughput(Throughput::Bytes(BUFFER_LEN as u64));
        for unit in DataUnit::ALL {
            sector_cipher(&mut group, &key, unit);
        }
        match key_len {
            32 => by_the_block::<Aes128>(&mut group, &key),
            _ => by_the_block::<Aes256>(&mut group, &key),
        }
        group.finish();
    }
}

fn sector_cipher(group: &mut BenchmarkGroup<'_, WallTime>, key: &[u8], unit: DataUnit) {
    let spec = "aes-xts-plain64".parse().unwrap();
    let cipher = SectorCipher::new(&spec, key, unit).unwrap();
    let mut data = vec![0; BUFFER_LEN];
    group.bench_function(BenchmarkId::new("encrypt", unit.bytes()), |bencher| {
        bencher.iter(|| cipher.encrypt(0, &mut data));
    });
    group.bench_function(BenchmarkId::new("decrypt", unit.bytes()), |bencher| {
        bencher.iter(|| cipher.decrypt(0, &mut data));
    });
}

fn by_the_block<C>(group: &mut BenchmarkGroup<'_, WallTime>, key: &[u8])
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    let (data_key, tweak_key) = key.split_at(key.len() / 2);
    let data_cipher = C::new_from_slice(data_key).unwrap();

    // 8 KiB, over and over: from the first-level cache.
    let mut blocks = vec![Block::<C>::default(); 512];
    group.bench_function("aes alone, encrypt", |bencher| {
        bencher.iter(|| {
            for _ in 0..BUFFER_LEN / 8192 {
                data_cipher.encrypt_blocks(&mut blocks);
            }
        });
    });
    group.bench_function("aes alone, decrypt", |bencher| {
        bencher.iter(|| {
            for _ in 0..BUFFER_LEN / 8192 {
                data_cipher.decrypt_blocks(&mut blocks);
            }
        });
    });

    let xts = Xts128::new(data_cipher, C::new_from_slice(tweak_key).unwrap());
    let mut data = vec![0; BUFFER_LEN];
    for unit in [512, 4096] {
        group.bench_function(BenchmarkId::new("xts-mode encrypt", unit), |bencher| {
            bencher.iter(|| xts.encrypt_area(&mut data, unit, 0, get_tweak_default));
        });
        group.bench_function(BenchmarkId::new("xts-mode decrypt", unit), |bencher| {
            bencher.iter(|| xts.decrypt_area(&mut data, unit, 0, get_tweak_default));
        });
    }
}

criterion_group!(benches, xts);
criterion_main!(benches);
