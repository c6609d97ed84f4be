//! Every way to read and write a volume gives the same bytes: on one thread, on a pool, from a mapped file.
#![allow(clippy::unwrap_used)]

use lucarne::{
    Access, Error, FileStorage, FormatOptions, KdfKind, KdfRequest, MemoryStorage, Secret,
    SectorSize, Storage, Volume, format,
};

const PASSPHRASE: &[u8] = b"test passphrase";

fn volume<S: Storage>(image: S, sector_size: SectorSize) -> Volume<S> {
    let options = FormatOptions {
        kdf: KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(1000),
            ..KdfRequest::default()
        },
        keyslots_size: Some(512 << 10),
        sector_size: Some(sector_size),
        ..FormatOptions::default()
    };
    format(&image, None, PASSPHRASE, &options).unwrap();
    Volume::open(image, Secret::Passphrase(PASSPHRASE)).unwrap()
}

fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32)
        .map(|place| (place.wrapping_mul(seed) >> 5) as u8)
        .collect()
}

#[test]
fn a_pool_reads_and_writes_what_one_thread_does() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(5)
        .build()
        .unwrap();
    let volume = volume(MemoryStorage::with_len(24 << 20), SectorSize::B4096);
    let len = volume.len() as usize;
    let mut model = pattern(len, 77);
    volume.write_at_on(&pool, &model, 0).unwrap();
    for (offset, len) in [
        (0, 100),
        (5000, 1 << 20),
        (4096, 3 << 20),
        ((1 << 20) - 1, 2 << 20),
        ((1 << 20) + 1, (9 << 20) + 4097),
        (len - (5 << 20), 5 << 20),
    ] {
        let data = pattern(len, offset as u32 + 3);
        volume.write_at_on(&pool, &data, offset as u64).unwrap();
        model[offset..offset + len].copy_from_slice(&data);
        let mut back = vec![0; len];
        volume.read_at_on(&pool, &mut back, offset as u64).unwrap();
        assert!(back == data, "{len} bytes at {offset}");
    }
    let mut whole = vec![0; len];
    volume.read_at(&mut whole, 0).unwrap();
    assert!(whole == model);
    whole.fill(0);
    volume.read_at_on(&pool, &mut whole, 0).unwrap();
    assert!(whole == model);

    let error = volume.read_at_on(&pool, &mut whole, 1).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    let error = volume.write_at_on(&pool, &whole, u64::MAX).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

#[test]
fn a_mapped_file_reads_like_any_other_and_its_end_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(6 << 20).unwrap();
    for sector_size in SectorSize::ALL {
        let storage = FileStorage::open(file.path(), Access::ReadWrite).unwrap();
        let volume = volume(storage, sector_size);
        let len = volume.len() as usize;
        let model = pattern(len, 91);
        volume.write_at(&model, 0).unwrap();

        let mapped = FileStorage::open(file.path(), Access::ReadOnly)
            .unwrap()
            .with_mapped_reads();
        let mapped = Volume::open(mapped, Secret::Passphrase(PASSPHRASE)).unwrap();
        for (offset, len) in [
            (0, len),
            (1, 1),
            (511, 4098),
            (4096, 65536),
            (len - 700, 700),
        ] {
            let mut back = vec![0; len];
            mapped.read_at(&mut back, offset as u64).unwrap();
            assert!(
                back == model[offset..offset + len],
                "{len} bytes at {offset}"
            );
        }
        // Written after the file was mapped, and seen all the same.
        volume.write_at(b"later", 10_000).unwrap();
        let mut back = [0; 5];
        mapped.read_at(&mut back, 10_000).unwrap();
        assert_eq!(&back, b"later");

        // Cut behind the mapping's back: what is left is read, what is gone is an error and no signal.
        let cut = mapped.data_offset() + 2 * 4096;
        file.as_file().set_len(cut).unwrap();
        let mut back = vec![0; len];
        let error = mapped.read_at(&mut back, 0).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        mapped.read_at(&mut back[..2 * 4096], 0).unwrap();
        assert!(back[..2 * 4096] == model[..2 * 4096]);
        assert!(mapped.read_at(&mut back[..512], 2 * 4096).is_err());
        file.as_file().set_len(6 << 20).unwrap();
    }
}

/// Long reads, whose plaintext goes past the CPU's caches: into buffers wherever they lie, whole sectors or not.
#[test]
fn long_reads_give_what_short_ones_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(34 << 20).unwrap();
    let mut volume = volume(
        FileStorage::open(file.path(), Access::ReadWrite).unwrap(),
        SectorSize::B4096,
    );
    let len = volume.len() as usize;
    let model = pattern(len, 45);
    volume.write_at(&model, 0).unwrap();
    for is_mapped in [false, true] {
        if is_mapped {
            let mapped = FileStorage::open(file.path(), Access::ReadOnly)
                .unwrap()
                .with_mapped_reads();
            volume = Volume::open(mapped, Secret::Passphrase(PASSPHRASE)).unwrap();
        }
        let mut room = vec![0; len + 128];
        let aligned = room.as_ptr().align_offset(64);
        for start in [aligned, aligned + 1, aligned + 16, aligned + 40] {
            for (offset, len) in [
                (0, 32 << 20),
                (4095, (32 << 20) + 2),
                (100, 1 << 20),
                (1000, 300_000),
            ] {
                let back = &mut room[start..][..len];
                back.fill(0xaa);
                volume.read_at(back, offset as u64).unwrap();
                assert!(back == &model[offset..offset + len], "{start} {offset}");
                back.fill(0xaa);
                volume.load_at(back, offset as u64).unwrap();
                assert!(
                    back == &model[offset..offset + len],
                    "{is_mapped} {start} {offset} {len}"
                );
            }
        }
    }
}
