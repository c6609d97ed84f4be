//! What a header costs: checking, opening, and a key added to it.
//!
//! | group | what | goal |
//! |---|---|---|
//! | `check` | all that `lucarne check --json` does with a file, on one thread | 2,000 headers a second |
//! | `open` | from a file to a volume whose sectors can be read, but for the key derivation and the digest, which `unlock` shows at their cheapest (1000 iterations each) | 2 ms with 16 KiB, 20 ms with 4 MiB and 32 keyslots |
//! | `add key` | a keyslot more in a file, with the cheapest key derivation; on the disk of `TMPDIR`, flushes included | 50 ms |

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lucarne::policy::{self, DataDevice, Policy};
use lucarne::{
    Access, FileStorage, FormatOptions, HeaderEditor, KdfKind, KdfRequest, KeyslotOptions,
    MemoryStorage, OpenOptions, Secret, Storage, UnlockOptions, Unlocked, format,
    luks2::{Area, Header, HeaderCopy, Keyslot},
    read_any_header, read_header, unlock,
};

const PASSPHRASE: &[u8] = b"not a secret";

/// The least that a new keyslot may cost.
fn cheap() -> KdfRequest {
    KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    }
}

/// An image of a header of this size with so many keyslots, and no data.
fn image(header_size: u64, keyslots: u32) -> MemoryStorage {
    let storage = MemoryStorage::with_len(64 << 20);
    let options = FormatOptions {
        kdf: cheap(),
        metadata_size: Some(header_size),
        ..FormatOptions::default()
    };
    format(&storage, None, PASSPHRASE, &options).expect("the options are sound");
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
fn check(path: &Path, policy: &Policy) -> usize {
    let storage = FileStorage::open(path, Access::ReadOnly).expect("it is there");
    let selected = read_header(&storage).expect("it is sound");
    let len_bytes = storage.len().expect("a file has a length");
    let judgement = policy.judge(&selected, DataDevice::WithHeader { len_bytes });
    black_box(policy::header_hash(&selected.header)).expect("it fits");
    black_box(policy::volume_key_digest(&selected.header));
    judgement.findings().len()
}

const SHAPES: [(&str, u64, u32); 3] = [
    ("16 KiB, 1 keyslot", 16 << 10, 1),
    ("32 KiB, 32 keyslots", 32 << 10, 32),
    ("4 MiB, 32 keyslots", 4 << 20, 32),
];

fn checks(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let policy = Policy::preset("strict-1").expect("a preset");
    let mut group = criterion.benchmark_group("check");
    group.measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(1));
    for (name, header_size, keyslots) in SHAPES {
        let path = file(dir.path(), header_size, keyslots);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| check(&path, &policy));
        });
    }
    group.finish();
}

/// A file that [`image`] made.
fn file(dir: &Path, header_size: u64, keyslots: u32) -> PathBuf {
    let path = dir.join(format!("{header_size}-{keyslots}"));
    let bytes = image(header_size, keyslots).into_bytes();
    std::fs::write(&path, bytes).expect("there is room");
    path
}

fn unlocked(storage: &FileStorage) -> Unlocked {
    let header = read_header(storage).expect("it is sound").header;
    unlock(
        &header,
        storage,
        Secret::Passphrase(PASSPHRASE),
        &UnlockOptions::default(),
    )
    .expect("it is the passphrase")
}

fn openings(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, header_size, keyslots) in SHAPES {
        let path = file(dir.path(), header_size, keyslots);
        let open = || FileStorage::open(&path, Access::ReadOnly).expect("it is there");
        criterion.bench_function(&format!("open/{name}"), |bencher| {
            let key = || unlocked(&open());
            bencher.iter_batched(
                key,
                |key| {
                    let storage = open();
                    let header = read_any_header(&storage).expect("it is sound");
                    let volume = OpenOptions::default().open_unlocked(&header, storage, key);
                    volume.expect("it opens").len()
                },
                BatchSize::PerIteration,
            );
        });
        criterion.bench_function(&format!("unlock/{name}"), |bencher| {
            let storage = open();
            let header = read_header(&storage).expect("it is sound").header;
            let secret = Secret::Passphrase(PASSPHRASE);
            bencher.iter(|| unlock(&header, &storage, secret, &UnlockOptions::default()).is_ok());
        });
    }
}

fn added_keys(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = KeyslotOptions {
        kdf: cheap(),
        ..KeyslotOptions::default()
    };
    for (name, header_size, keyslots) in [SHAPES[0], ("4 MiB, 31 keyslots", 4 << 20, 31)] {
        let path = file(dir.path(), header_size, keyslots);
        let storage = FileStorage::open(&path, Access::ReadWrite).expect("it is there");
        storage.flush().expect("the disk is there");
        let key = unlocked(&storage);
        criterion.bench_function(&format!("add key/{name}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let started = Instant::now();
                    let mut editor = HeaderEditor::open(&storage).expect("it is sound");
                    let id = editor
                        .add_keyslot(&key, b"another", &options)
                        .expect("there is room");
                    spent += started.elapsed();
                    editor.remove_keyslot(id).expect("it is there");
                }
                spent
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3));
    targets = checks, openings, added_keys
}
criterion_main!(benches);
