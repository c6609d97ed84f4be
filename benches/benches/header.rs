//! How many headers a second `check` reads, judges and identifies, on one thread.
//!
//! The goal is 2,000 headers of 16 KiB a second; one with 32 keyslots and one of 4 MiB are measured beside.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lucarne::policy::{self, DataDevice, Policy};
use lucarne::{
    Access, FileStorage, FormatOptions, KdfKind, KdfRequest, MemoryStorage, Storage, format,
    luks2::{Area, Header, HeaderCopy, Keyslot},
    read_header,
};

/// An image of a header of this size with so many keyslots, and no data.
fn image(header_size: u64, keyslots: u32) -> MemoryStorage {
    let storage = MemoryStorage::with_len(64 << 20);
    let options = FormatOptions {
        kdf: KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(1000),
            ..KdfRequest::default()
        },
        metadata_size: Some(header_size),
        ..FormatOptions::default()
    };
    format(&storage, None, b"not a secret", &options).expect("the options are sound");
    let header = read_header(&storage).expect("it was just written").header;
    let header = header
        .edit(|draft| {
            let metadata = header.metadata();
            let Some(Keyslot::Luks2(first)) = metadata.keyslots().get(&0) else {
                return Ok(());
            };
            for id in 1..keyslots {
                let mut keyslot = first.clone();
                let room = Area::size_for_key(keyslot.key_size);
                keyslot.area.offset = draft.free_area(room).expect("there is room");
                draft.insert_keyslot(id, &keyslot)?;
                draft.assign_keyslot(0, id)?;
            }
            Ok(())
        })
        .expect("the keyslots are sound");
    write(&storage, &header);
    storage
}

fn write(storage: &dyn Storage, header: &Header) {
    for copy in [HeaderCopy::Primary, HeaderCopy::Secondary] {
        let bytes = header.encode(copy, [7; 64]).expect("it fits");
        let offset = copy.offset(header.header_size());
        storage.write_at(&bytes, offset).expect("memory");
    }
}

/// All that `lucarne check --json` does with an image, but for the process around it.
fn check(path: &std::path::Path, policy: &Policy) -> usize {
    let storage = FileStorage::open(path, Access::ReadOnly).expect("it is there");
    let selected = read_header(&storage).expect("it is sound");
    let len_bytes = storage.len().expect("a file has a length");
    let judgement = policy.judge(&selected, DataDevice::WithHeader { len_bytes });
    black_box(policy::header_hash(&selected.header)).expect("it fits");
    black_box(policy::volume_key_digest(&selected.header));
    judgement.findings().len()
}

fn headers(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let policy = Policy::preset("strict-1").expect("a preset");
    let mut group = criterion.benchmark_group("check");
    group.measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(1));
    for (name, header_size, keyslots) in [
        ("16 KiB, 1 keyslot", 16 << 10, 1),
        ("32 KiB, 32 keyslots", 32 << 10, 32),
        ("4 MiB, 32 keyslots", 4 << 20, 32),
    ] {
        let path = dir.path().join(format!("{header_size}-{keyslots}"));
        let bytes = image(header_size, keyslots).into_bytes();
        std::fs::write(&path, bytes).expect("there is room");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| check(&path, &policy));
        });
    }
    group.finish();
}

criterion_group!(benches, headers);
criterion_main!(benches);
