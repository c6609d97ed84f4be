//! Plaintext in, volume out, and back: every source, destination and length that differs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;
use std::num::NonZeroUsize;

use lucarne::{
    Access, Control, DecryptOptions, Destination, EncryptOptions, Encrypted, Error, FileStorage,
    FormatOptions, KdfKind, KdfRequest, LengthToken, MemoryStorage, OpenOptions, Parallelism,
    Secret, SecretBytes, SectorSize, Source, Storage, UnlockOptions, Volume, decrypt, encrypt,
    luks2::SegmentSize, read_header, unlock,
};

const PASSPHRASE: &[u8] = b"an example";

fn options() -> EncryptOptions<'static> {
    EncryptOptions {
        format: FormatOptions {
            kdf: KdfRequest {
                kind: KdfKind::Pbkdf2,
                iterations: Some(1000),
                ..KdfRequest::default()
            },
            keyslots_size: Some(256 << 10),
            ..FormatOptions::default()
        },
        parallelism: Parallelism {
            threads: NonZeroUsize::new(2),
            pool: None,
        },
        ..EncryptOptions::default()
    }
}

fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 9)) as u8).collect()
}

fn encrypted(source: Source<'_>, output: &dyn Storage, options: &EncryptOptions<'_>) -> Encrypted {
    let control = Control::default();
    let made = encrypt(source, output, None, PASSPHRASE, options, &control).unwrap();
    assert_eq!(control.done_bytes(), made.volume_len);
    made
}

fn opened<S: Storage>(image: S) -> Volume<S> {
    Volume::open(image, Secret::Passphrase(PASSPHRASE)).unwrap()
}

fn volume_key(image: &dyn Storage) -> SecretBytes {
    let header = read_header(image).unwrap().header;
    let secret = Secret::Passphrase(PASSPHRASE);
    unlock(&header, image, secret, &UnlockOptions::default())
        .unwrap()
        .volume_key
}

fn decrypted<S: Storage>(volume: &Volume<S>, whole: bool) -> Vec<u8> {
    let options = DecryptOptions {
        whole,
        ..DecryptOptions::default()
    };
    let (file, mut stream) = (MemoryStorage::default(), Vec::new());
    let made = decrypt(
        volume,
        Destination::Storage(&file),
        &options,
        &Control::default(),
    )
    .unwrap();
    decrypt(
        volume,
        Destination::Stream(&mut stream),
        &options,
        &Control::default(),
    )
    .unwrap();
    let file = file.into_bytes();
    assert_eq!(made.plaintext_len, file.len() as u64);
    assert!(file == stream, "file and stream differ");
    file
}

#[test]
fn every_length_comes_back_exactly_from_files_and_streams() {
    let border = 4 << 20;
    for len in [
        0,
        1,
        511,
        512,
        513,
        4095,
        4096,
        5000,
        100_000,
        border - 1,
        border,
        border + 1,
        3 * border + 77,
    ] {
        let plain = plaintext(len);
        for from_stream in [false, true] {
            let image = MemoryStorage::default();
            let file = MemoryStorage::from(plain.clone());
            let mut stream = Cursor::new(&plain);
            let source = if from_stream {
                Source::Stream(&mut stream)
            } else {
                Source::Storage(&file)
            };
            let made = encrypted(source, &image, &options());
            assert_eq!(made.plaintext_len, len as u64);
            let volume = opened(image);
            assert_eq!(volume.len(), made.volume_len);
            assert!(
                decrypted(&volume, false) == plain,
                "{len} bytes, stream: {from_stream}"
            );
            let whole = decrypted(&volume, true);
            assert_eq!(whole.len() as u64, made.volume_len);
            assert!(whole[..len] == plain && whole[len..].iter().all(|&byte| byte == 0));
        }
    }
}

#[test]
fn the_sector_size_follows_the_source() {
    for (len, expected) in [
        (4096, 4096),
        (512, 512),
        (4608, 512),
        (1000, 4096),
        (0, 4096),
    ] {
        let image = MemoryStorage::default();
        encrypted(
            Source::Storage(&MemoryStorage::from(plaintext(len))),
            &image,
            &options(),
        );
        assert_eq!(opened(image).sector_len(), expected, "{len} bytes");
    }
}

#[test]
fn every_sector_and_key_size_works() {
    let plain = plaintext(300_001);
    for sector_size in SectorSize::ALL {
        for key_len in [32, 64] {
            let mut options = options();
            options.format.sector_size = Some(sector_size);
            options.format.key_len = key_len;
            let image = MemoryStorage::default();
            encrypted(
                Source::Storage(&MemoryStorage::from(plain.clone())),
                &image,
                &options,
            );
            let volume = opened(image);
            assert_eq!(volume_key(volume.storage()).len(), key_len);
            assert!(decrypted(&volume, false) == plain);
        }
    }
}

#[test]
fn the_recorded_length_holds_only_while_the_rest_is_zeros() {
    let image = MemoryStorage::default();
    encrypted(
        Source::Storage(&MemoryStorage::from(plaintext(5000))),
        &image,
        &options(),
    );
    let volume = opened(image);
    assert_eq!(
        volume.length_token().and_then(|token| token.length),
        Some(5000)
    );
    volume.write_at(&[1], 8191).unwrap();
    assert_eq!(decrypted(&volume, false).len(), 8192);
    let made = decrypt(
        &volume,
        Destination::Stream(&mut Vec::new()),
        &DecryptOptions::default(),
        &Control::default(),
    );
    assert_eq!(made.unwrap().outdated_len, Some(5000));
    volume.write_at(&[0], 8191).unwrap();
    assert_eq!(decrypted(&volume, false).len(), 5000);
}

#[test]
fn no_length_is_recorded_where_none_is_wanted_or_needed() {
    for (len, omit_length) in [(5000, true), (8192, false)] {
        let image = MemoryStorage::default();
        let options = EncryptOptions {
            omit_length,
            ..options()
        };
        encrypted(
            Source::Storage(&MemoryStorage::from(plaintext(len))),
            &image,
            &options,
        );
        let header = read_header(&image).unwrap().header;
        assert_eq!(LengthToken::find(header.metadata()), None);
        assert_eq!(decrypted(&opened(image), false).len(), 8192);
    }
}

#[test]
fn holes_survive_sparsely_and_cost_no_space() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let source = std::fs::File::create(path("source")).unwrap();
    source.set_len(64 << 20).unwrap();
    let source = FileStorage::open(path("source"), Access::ReadWrite).unwrap();
    let data = plaintext(100_000);
    source.write_at(&data, 20 << 20).unwrap();
    source.write_at(&data, 40_000_123).unwrap();

    let create = |name: &str| {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path(name))
            .unwrap();
        FileStorage::from_file(file).unwrap()
    };
    let image = create("image");
    let options = EncryptOptions {
        sparse: true,
        ..options()
    };
    encrypted(Source::Storage(&source), &image, &options);
    let blocks = |name: &str| std::fs::metadata(path(name)).unwrap().blocks() * 512;
    if blocks("source") < 32 << 20 {
        assert!(
            blocks("image") < 8 << 20,
            "{} bytes on disk",
            blocks("image")
        );
    }

    let volume = opened(image);
    let back = create("back");
    decrypt(
        &volume,
        Destination::Storage(&back),
        &DecryptOptions::default(),
        &Control::default(),
    )
    .unwrap();
    assert!(std::fs::read(path("back")).unwrap() == std::fs::read(path("source")).unwrap());
    if blocks("source") < 32 << 20 {
        assert!(blocks("back") < 8 << 20, "{} bytes on disk", blocks("back"));
    }

    // A copy that filled the holes with zeros reads the same.
    let filled = MemoryStorage::from(std::fs::read(path("image")).unwrap());
    assert!(decrypted(&opened(filled), false) == std::fs::read(path("source")).unwrap());
}

#[test]
fn sparse_volumes_written_over_a_device_show_nothing_of_its_past() {
    let image = MemoryStorage::default();
    let options = EncryptOptions {
        sparse: true,
        ..options()
    };
    encrypted(
        Source::Storage(&MemoryStorage::from(vec![0; 1 << 20])),
        &image,
        &options,
    );
    let volume = opened(image);
    let device = MemoryStorage::from(vec![0xee; 1 << 20]);
    decrypt(
        &volume,
        Destination::Storage(&device),
        &DecryptOptions::default(),
        &Control::default(),
    )
    .unwrap();
    assert!(device.into_bytes() == vec![0; 1 << 20]);
}

#[test]
fn a_device_has_no_holes_and_is_left_alone() {
    let device = MemoryStorage::from(vec![0xaa; 4 << 20]);
    let source = MemoryStorage::from(plaintext(4096));
    let options = EncryptOptions {
        sparse: true,
        ..options()
    };
    let result = encrypt(
        Source::Storage(&source),
        &device,
        None,
        PASSPHRASE,
        &options,
        &Control::default(),
    );
    assert!(matches!(result, Err(Error::Refused(_))), "{result:?}");
    assert!(device.into_bytes() == vec![0xaa; 4 << 20]);
}

#[test]
fn a_longer_device_gets_a_segment_of_fixed_size() {
    let device = MemoryStorage::from(vec![0xaa; 4 << 20]);
    encrypted(
        Source::Storage(&MemoryStorage::from(plaintext(1 << 20))),
        &device,
        &options(),
    );
    let header = read_header(&device).unwrap().header;
    let lucarne::luks2::Segment::Crypt(segment) = &header.metadata().segments()[&0] else {
        panic!("not a crypt segment");
    };
    assert_eq!(segment.size, SegmentSize::Bytes(1 << 20));
    assert!(decrypted(&opened(device), false) == plaintext(1 << 20));
}

#[test]
fn nothing_of_a_devices_past_stays_before_the_data() {
    let device = MemoryStorage::from(vec![0xaa; 4 << 20]);
    let mut options = options();
    options.format.data_offset = Some(2 << 20);
    let source = MemoryStorage::from(plaintext(4096));
    encrypted(Source::Storage(&source), &device, &options);
    let header_end = (32 << 10) + (256 << 10);
    let bytes = device.into_bytes();
    assert!(bytes[header_end..2 << 20].iter().all(|&byte| byte == 0));
}

#[test]
fn a_device_that_is_too_short_is_left_alone() {
    let device = MemoryStorage::from(vec![0xaa; 1 << 20]);
    let source = MemoryStorage::from(plaintext(1 << 20));
    let result = encrypt(
        Source::Storage(&source),
        &device,
        None,
        PASSPHRASE,
        &options(),
        &Control::default(),
    );
    assert!(matches!(result, Err(Error::Device(_))), "{result:?}");
    assert!(device.into_bytes() == vec![0xaa; 1 << 20]);
}

#[test]
fn a_stream_that_outgrows_the_device_fails_and_leaves_no_volume() {
    let device = MemoryStorage::from(vec![0; 2 << 20]);
    let mut stream = Cursor::new(plaintext(3 << 20));
    let result = encrypt(
        Source::Stream(&mut stream),
        &device,
        None,
        PASSPHRASE,
        &options(),
        &Control::default(),
    );
    assert!(matches!(result, Err(Error::Device(_))), "{result:?}");
    assert!(matches!(read_header(&device), Err(Error::NotLuks)));
}

#[test]
fn header_and_data_can_lie_apart() {
    let (header, data) = (MemoryStorage::default(), MemoryStorage::default());
    let plain = plaintext(70_000);
    let source = MemoryStorage::from(plain.clone());
    encrypt(
        Source::Storage(&source),
        &data,
        Some(&header),
        PASSPHRASE,
        &options(),
        &Control::default(),
    )
    .unwrap();
    assert_eq!(data.len().unwrap(), 73_728);
    assert!(matches!(read_header(&data), Err(Error::NotLuks)));
    let volume = OpenOptions::default()
        .header(&header)
        .open(data, Secret::Passphrase(PASSPHRASE))
        .unwrap();
    assert!(decrypted(&volume, false) == plain);
}

#[test]
fn a_stream_is_flushed_to_its_end() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            Ok(data.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
    }
    let image = MemoryStorage::default();
    let source = MemoryStorage::from(plaintext(100));
    encrypted(Source::Storage(&source), &image, &options());
    let result = decrypt(
        &opened(image),
        Destination::Stream(&mut Full),
        &DecryptOptions::default(),
        &Control::default(),
    );
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

#[test]
fn an_interrupted_encryption_leaves_the_volume_that_was_there() {
    let device = MemoryStorage::from(vec![0; 4 << 20]);
    let source = MemoryStorage::from(plaintext(4096));
    encrypted(Source::Storage(&source), &device, &options());
    let control = Control::default();
    control.interrupt();
    let again = Source::Storage(&source);
    let result = encrypt(again, &device, None, PASSPHRASE, &options(), &control);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    assert!(decrypted(&opened(device), false) == plaintext(4096));
}

#[test]
fn the_volume_key_opens_too_and_another_does_not() {
    let image = MemoryStorage::default();
    let plain = plaintext(4096);
    encrypted(
        Source::Storage(&MemoryStorage::from(plain.clone())),
        &image,
        &options(),
    );
    let key = volume_key(&image);
    let volume = Volume::open(&image, Secret::VolumeKey(&key)).unwrap();
    assert!(decrypted(&volume, false) == plain);

    let mut wrong = key.to_vec();
    wrong[63] ^= 1;
    for refused in [&wrong[..], &key[..32], &[&key[..], &[0]].concat(), &[]] {
        let error = Volume::open(&image, Secret::VolumeKey(refused)).unwrap_err();
        assert!(
            matches!(error, Error::WrongKey),
            "{} bytes: {error}",
            refused.len()
        );
    }
    let error = Volume::open(&image, Secret::Passphrase(b"another")).unwrap_err();
    assert!(matches!(error, Error::WrongKey));
}

#[test]
fn a_volume_cut_short_says_so() {
    let image = MemoryStorage::default();
    encrypted(
        Source::Storage(&MemoryStorage::from(plaintext(1 << 20))),
        &image,
        &options(),
    );
    let bytes = image.into_bytes();
    // Inside the data (no whole sector at the end), before the data, inside the keyslots area.
    for len in [(1 << 20) + 5000, 1 << 20, 100_000] {
        let error = Volume::open(
            MemoryStorage::from(bytes[..len].to_vec()),
            Secret::Passphrase(PASSPHRASE),
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, Error::Device(_) | Error::Corrupt(_)) && !message.contains('\n'),
            "{len}: {error:?}"
        );
    }
}

#[test]
fn opening_and_reading_change_nothing() {
    let image = MemoryStorage::default();
    encrypted(
        Source::Storage(&MemoryStorage::from(plaintext(100_000))),
        &image,
        &options(),
    );
    let mut bytes = image.into_bytes();
    // A torn primary copy would tempt a repair.
    bytes[5000] ^= 1;
    let image = MemoryStorage::from(bytes.clone());
    assert!(read_header(&image).unwrap().repair.is_needed());
    assert!(decrypted(&opened(&image), false) == plaintext(100_000));
    assert!(image.into_bytes() == bytes);
}
