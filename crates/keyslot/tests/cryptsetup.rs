//! Keyslots against cryptsetup: its keyslots opened here, ours opened by it, and vectors that it
//! agreed to.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use hex_literal::hex;
use lucarne_format::luks2::{
    AntiForensic, Area, Argon2Variant, CryptSegment, Digest, Header, HeaderCopy, Kdf, Keyslot,
    Luks2Keyslot, NewHeader, Priority, Segment, SegmentSize,
};
use lucarne_keyslot::{
    Error, Hash, KdfParams, SealRequest, create_digest, open_keyslot, seal_keyslot, verify_digest,
};
use lucarne_testkit::{cryptsetup::Cryptsetup, payload::stream, scratch::Scratch};

const PASSPHRASE: &[u8] = b"correct horse\nbattery staple";
const AREA_OFFSET: u64 = 0x8000;
const KEYSLOTS_SIZE: u64 = 512 << 10;
const DATA_OFFSET: u64 = 1 << 20;

/// What cryptsetup's keyslot 0 gives under `passphrase`, if its digest recognises it.
fn opened(image: &Path, passphrase: &[u8]) -> Option<Vec<u8>> {
    let bytes = fs::read(image).unwrap();
    let header = Header::load(|offset, buffer| {
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok::<_, std::convert::Infallible>(len)
    })
    .unwrap()
    .header;
    let Keyslot::Luks2(keyslot) = &header.metadata().keyslots()[&0] else {
        panic!("keyslot 0 of type luks2")
    };
    let area = &bytes[keyslot.area.offset as usize..][..keyslot.area.size as usize];
    let candidate = open_keyslot(keyslot, area, passphrase).unwrap();
    let (_, digest) = header.metadata().digest_of_keyslot(0).unwrap();
    let is_key = verify_digest(digest, &candidate).unwrap();
    is_key.then(|| candidate.to_vec())
}

#[test]
fn what_cryptsetup_makes_opens_here() {
    let Some(cryptsetup) = Cryptsetup::or_skip("opening cryptsetup's keyslots") else {
        return;
    };
    let mut cases: Vec<Vec<&str>> = [
        "--key-size 512 --pbkdf argon2id --pbkdf-memory 65536 --pbkdf-parallel 4 --pbkdf-force-iterations 4",
        "--key-size 256 --pbkdf argon2id --pbkdf-memory 33 --pbkdf-parallel 2 --pbkdf-force-iterations 7 --hash sha512",
        "--key-size 512 --pbkdf argon2i --pbkdf-memory 1000 --pbkdf-parallel 3 --pbkdf-force-iterations 4",
        "--key-size 256 --pbkdf argon2i --pbkdf-memory 32 --pbkdf-parallel 1 --pbkdf-force-iterations 5",
        "--key-size 512 --pbkdf argon2id --pbkdf-memory 64 --pbkdf-parallel 1 --pbkdf-force-iterations 4 --keyslot-cipher aes-xts-plain --keyslot-key-size 256",
        "--key-size 512 --pbkdf argon2id --pbkdf-memory 64 --pbkdf-parallel 1 --pbkdf-force-iterations 4 --keyslot-cipher aes-cbc-essiv:sha256 --keyslot-key-size 192",
    ]
    .into_iter()
    .map(|options| options.split(' ').collect())
    .collect();
    for &hash in Hash::ALL {
        if matches!(hash.name(), "stribog256" | "stribog512") {
            // cryptsetup has these with libgcrypt only.
            continue;
        }
        for key_size in ["256", "512"] {
            let options =
                format!("--key-size {key_size} --pbkdf pbkdf2 --pbkdf-force-iterations 1001");
            cases.push(
                [
                    options.leak().split(' ').collect(),
                    vec!["--hash", hash.name()],
                ]
                .concat(),
            );
        }
    }
    let scratch = Scratch::new();
    let key_file = scratch.file("passphrase", PASSPHRASE);
    for (number, case) in cases.iter().enumerate() {
        let key_len = if case[1] == "512" { 64 } else { 32 };
        let volume_key = stream(&format!("volume key {number}"), key_len);
        let volume_key_file = scratch.file("volume-key", &volume_key);
        let image = scratch.zeros(&format!("{number}.img"), 4 << 20);
        let mut arguments = vec!["luksFormat", "--batch-mode", "--type", "luks2"];
        arguments.extend([
            "--luks2-metadata-size",
            "16k",
            "--luks2-keyslots-size",
            "512k",
        ]);
        arguments.extend([
            "--offset",
            "2048",
            "--volume-key-file",
            volume_key_file.to_str().unwrap(),
        ]);
        arguments.extend([
            "--key-file",
            key_file.to_str().unwrap(),
            image.to_str().unwrap(),
        ]);
        arguments.extend(case);
        cryptsetup.must(arguments);
        assert_eq!(opened(&image, PASSPHRASE), Some(volume_key), "{case:?}");
        assert_eq!(opened(&image, b"wrong"), None, "{case:?}");
    }
}

/// An image with this keyslot and digest, and an empty volume.
fn image_of(
    scratch: &Scratch,
    keyslot: &Luks2Keyslot,
    area: &[u8],
    digest: &Digest,
) -> std::path::PathBuf {
    let new = NewHeader {
        uuid: "8a3c1e52-7f0d-4b6a-9c1e-2d4f6a8b0c1d".to_owned(),
        keyslots_size: KEYSLOTS_SIZE,
        ..NewHeader::default()
    };
    let segment = Segment::Crypt(CryptSegment {
        offset: DATA_OFFSET,
        size: SegmentSize::Dynamic,
        iv_tweak: 0,
        encryption: "aes-xts-plain64".to_owned(),
        sector_size: 512,
        integrity: None,
        flags: Vec::new(),
    });
    let header = Header::new(&new, |draft| {
        draft.insert_segment(0, &segment)?;
        draft.insert_keyslot(0, keyslot)?;
        draft.insert_digest(0, digest)?;
        draft.assign_keyslot(0, 0)?;
        draft.assign_segment(0, 0)
    })
    .unwrap();
    let mut image = header.encode(HeaderCopy::Primary, [1; 64]).unwrap();
    image.extend(header.encode(HeaderCopy::Secondary, [2; 64]).unwrap());
    assert_eq!(image.len() as u64, AREA_OFFSET);
    image.extend(area);
    image.resize(DATA_OFFSET as usize + (1 << 20), 0);
    scratch.file("ours.img", &image)
}

/// The volume key as cryptsetup finds it with the passphrase.
fn volume_key_by_cryptsetup(cryptsetup: &Cryptsetup, scratch: &Scratch, image: &Path) -> Vec<u8> {
    let key_file = scratch.file("passphrase", PASSPHRASE);
    let dumped = scratch.path("dumped-key");
    let _ = fs::remove_file(&dumped);
    cryptsetup.must([
        "luksDump",
        "--batch-mode",
        "--dump-volume-key",
        "--key-file",
        key_file.to_str().unwrap(),
        "--volume-key-file",
        dumped.to_str().unwrap(),
        image.to_str().unwrap(),
    ]);
    fs::read(&dumped).unwrap()
}

#[test]
fn what_we_make_opens_with_cryptsetup() {
    let Some(cryptsetup) = Cryptsetup::or_skip("cryptsetup opening our keyslots") else {
        return;
    };
    let scratch = Scratch::new();
    let argon2 = |variant, time, memory_kib, lanes| KdfParams::Argon2 {
        variant,
        time,
        memory_kib,
        lanes,
    };
    let pbkdf2 = |hash| KdfParams::Pbkdf2 {
        hash,
        iterations: 1234,
    };
    let cases = [
        (
            Hash::Sha256,
            64,
            64,
            "aes-xts-plain64",
            argon2(Argon2Variant::Id, 4, 65536, 4),
        ),
        (
            Hash::Sha512,
            32,
            64,
            "aes-xts-plain64",
            argon2(Argon2Variant::Id, 5, 100, 3),
        ),
        (
            Hash::Sha1,
            64,
            32,
            "aes-xts-plain64",
            argon2(Argon2Variant::I, 4, 32, 1),
        ),
        (Hash::Sha1, 32, 32, "aes-xts-plain", pbkdf2(Hash::Sha1)),
        (
            Hash::Sha256,
            64,
            16,
            "aes-cbc-essiv:sha256",
            pbkdf2(Hash::Sha256),
        ),
        (
            Hash::Sha224,
            64,
            64,
            "aes-xts-plain64",
            pbkdf2(Hash::Sha384),
        ),
        (
            Hash::Sha384,
            64,
            64,
            "aes-xts-plain64",
            pbkdf2(Hash::Sha224),
        ),
        (
            Hash::Sha256,
            64,
            64,
            "aes-xts-plain64",
            pbkdf2(Hash::Sha512),
        ),
    ];
    for (hash, key_len, area_key_len, area_cipher, kdf) in cases {
        let volume_key = stream("our volume key", key_len);
        let request = SealRequest {
            area_offset: AREA_OFFSET,
            area_room: KEYSLOTS_SIZE,
            area_cipher: &area_cipher.parse().unwrap(),
            area_key_len,
            af_hash: hash,
            kdf,
        };
        let (keyslot, area) = seal_keyslot(&request, &volume_key, PASSPHRASE).unwrap();
        let digest = create_digest(&volume_key, hash, 1000).unwrap();
        let image = image_of(&scratch, &keyslot, &area, &digest);
        assert_eq!(
            volume_key_by_cryptsetup(&cryptsetup, &scratch, &image),
            volume_key,
            "{request:?}"
        );
    }
}

/// A keyslot whose area is a stream, so that nothing but the key needs to be written down.
struct KnownKey {
    af_hash: &'static str,
    area_key_size: u32,
    kdf: Kdf,
    key: Vec<u8>,
}

/// Keys that cryptsetup 2.6.1 found too: the next test repeats that.
fn known_keys() -> [KnownKey; 4] {
    let salt = stream("salt", 32);
    [
        KnownKey {
            af_hash: "sha256",
            area_key_size: 64,
            kdf: Kdf::Argon2 {
                variant: Argon2Variant::Id,
                time: 4,
                memory_kib: 256,
                lanes: 2,
                salt: salt.clone(),
            },
            key: hex!(
            "52a1b0fdc2b279143099b734370f5831ae39795c0069f1169978518b4660abc9"
            "6b2a7e06606d6ed61a56bddef760de26ac4d93f5ca5a1d15ce1e76dbbc19eece"
            )
            .to_vec(),
        },
        // A hash longer than the key.
        KnownKey {
            af_hash: "sha512",
            area_key_size: 32,
            kdf: Kdf::Argon2 {
                variant: Argon2Variant::I,
                time: 4,
                memory_kib: 32,
                lanes: 1,
                salt: salt.clone(),
            },
            key: hex!("277ec7fb63da811eeaebe6de8c949758dbc225b88a3e41a6532b31e169fea21a").to_vec(),
        },
        // A key that is not whole hashes.
        KnownKey {
            af_hash: "sha1",
            area_key_size: 64,
            kdf: Kdf::Pbkdf2 {
                hash: "sha1".to_owned(),
                iterations: 1000,
                salt: salt.clone(),
            },
            key: hex!("c8b8c2ac89b7864472802d2f0686d4e21c87a3bf4e2a893c772307cd33072a12").to_vec(),
        },
        KnownKey {
            af_hash: "sha256",
            area_key_size: 64,
            kdf: Kdf::Pbkdf2 {
                hash: "sha512".to_owned(),
                iterations: 1000,
                salt,
            },
            key: hex!(
            "506b1b1ed19091061a12ec1b26d542437c546c46f5da40b81c33789cf7248f0f"
            "c413743efb3d92a88aaf32c3c72a3aff7db57d5fdad686289a895c8cfefef826"
            )
            .to_vec(),
        },
    ]
}

impl KnownKey {
    fn keyslot(&self) -> Luks2Keyslot {
        let key_size = self.key.len() as u32;
        Luks2Keyslot {
            key_size,
            priority: Priority::Normal,
            af: AntiForensic {
                stripes: 4000,
                hash: self.af_hash.to_owned(),
            },
            kdf: self.kdf.clone(),
            area: Area {
                offset: AREA_OFFSET,
                size: Area::size_for_key(key_size),
                encryption: "aes-xts-plain64".to_owned(),
                key_size: self.area_key_size,
            },
        }
    }

    fn area(&self) -> Vec<u8> {
        stream("area", Area::size_for_key(self.key.len() as u32) as usize)
    }
}

#[test]
fn known_keys_come_out() {
    for known in known_keys() {
        let key = open_keyslot(&known.keyslot(), &known.area(), PASSPHRASE).unwrap();
        assert_eq!(key.to_vec(), known.key, "{:?}", known.kdf);
    }
}

#[test]
fn cryptsetup_agrees_to_the_known_keys() {
    let Some(cryptsetup) = Cryptsetup::or_skip("known keys by cryptsetup") else {
        return;
    };
    let scratch = Scratch::new();
    for known in known_keys() {
        let digest = create_digest(&known.key, Hash::Sha256, 1000).unwrap();
        let image = image_of(&scratch, &known.keyslot(), &known.area(), &digest);
        assert_eq!(
            volume_key_by_cryptsetup(&cryptsetup, &scratch, &image),
            known.key
        );
    }
}

/// Written by cryptsetup 2.6.1 for a volume key of the 64 bytes 0, 1, … 63.
#[test]
fn a_digest_of_cryptsetup() {
    let digest = Digest {
        keyslots: BTreeSet::new(),
        segments: BTreeSet::new(),
        hash: "sha256".to_owned(),
        iterations: 1000,
        salt: hex!("8ff6ed3f51535eb4ce310fa01b9812686c17f49ce64fbea8749e1ba97bc01d44").to_vec(),
        digest: hex!("aa8a4d6fa5564b161e306a045a5959f7d08b6c15669a196a859d239d82107929").to_vec(),
    };
    let key: Vec<u8> = (0..64).collect();
    assert!(verify_digest(&digest, &key).unwrap());
    let mut other = key.clone();
    other[63] ^= 1;
    assert!(!verify_digest(&digest, &other).unwrap());
}

#[test]
fn nothing_is_derived_for_a_keyslot_that_cannot_open() {
    let known = &known_keys()[0];
    // A cost that would end the test if it were paid.
    let mut keyslot = known.keyslot();
    keyslot.kdf = Kdf::Pbkdf2 {
        hash: "sha256".to_owned(),
        iterations: u32::MAX,
        salt: vec![0; 32],
    };
    let area = known.area();
    let error =
        |keyslot: &Luks2Keyslot, area: &[u8]| open_keyslot(keyslot, area, PASSPHRASE).unwrap_err();

    assert!(matches!(
        error(&keyslot, &area[..255_999]),
        Error::AreaTooShort {
            needed_bytes: 256_000,
            available_bytes: 255_999
        },
    ));
    let mut huge = keyslot.clone();
    huge.key_size = u32::MAX;
    assert!(matches!(error(&huge, &area), Error::Parameter { .. }));
    let mut empty = keyslot.clone();
    empty.key_size = 0;
    assert!(matches!(error(&empty, &area), Error::Parameter { .. }));
    let mut cipher = keyslot.clone();
    cipher.area.encryption = "cipher_null-ecb".to_owned();
    assert!(
        error(&cipher, &area)
            .to_string()
            .contains("cipher_null-ecb is not supported")
    );
    let mut key_size = keyslot.clone();
    key_size.area.key_size = 48;
    assert!(error(&key_size, &area).to_string().contains("48 bytes"));
    let mut hash = keyslot.clone();
    hash.af.hash = "md5".to_owned();
    assert!(matches!(error(&hash, &area), Error::UnsupportedHash { .. }));
    let mut unknown = keyslot;
    unknown.kdf = Kdf::Unknown {
        kind: "scrypt".to_owned(),
    };
    assert!(matches!(
        error(&unknown, &area),
        Error::UnsupportedKdf { .. }
    ));
}

#[test]
fn absurd_argon2_parameters_are_errors() {
    let known = &known_keys()[0];
    for (time, memory_kib, lanes, salt_len) in [
        (0, 1024, 1, 32),
        (4, 0, 1, 32),
        (4, 7, 1, 32),
        (4, 1024, 0, 32),
        (4, 1024, 129, 32),
        (4, u32::MAX, 1 << 24, 32),
        (4, u32::MAX, u32::MAX, 32),
        (4, 1024, 1, 7),
    ] {
        let mut keyslot = known.keyslot();
        keyslot.kdf = Kdf::Argon2 {
            variant: Argon2Variant::Id,
            time,
            memory_kib,
            lanes,
            salt: vec![0; salt_len],
        };
        let error = open_keyslot(&keyslot, &known.area(), PASSPHRASE).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{error}");
    }
}

#[test]
fn a_new_area_must_fit_and_be_of_a_supported_cipher() {
    let xts = "aes-xts-plain64".parse().unwrap();
    let request = SealRequest {
        area_offset: AREA_OFFSET,
        area_room: 258_047,
        area_cipher: &xts,
        area_key_len: 64,
        af_hash: Hash::Sha256,
        kdf: KdfParams::Pbkdf2 {
            hash: Hash::Sha256,
            iterations: 1000,
        },
    };
    let refused = |request: SealRequest<'_>| {
        seal_keyslot(&request, &[7; 64], b"")
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(request),
        "keyslot area of 258047 bytes is too short for a split key of 258048",
    );
    assert!(
        refused(SealRequest {
            area_key_len: 16,
            ..request
        })
        .contains("16 bytes")
    );
    let null = "cipher_null-ecb".parse().unwrap();
    assert!(
        refused(SealRequest {
            area_cipher: &null,
            ..request
        })
        .contains("not supported")
    );
    let cheap = KdfParams::Pbkdf2 {
        hash: Hash::Sha256,
        iterations: 999,
    };
    assert!(
        refused(SealRequest {
            area_room: 258_048,
            kdf: cheap,
            ..request
        })
        .contains("999")
    );
}

#[test]
fn short_digests_say_too_little() {
    let digest = create_digest(&[1; 64], Hash::Sha256, 1000).unwrap();
    assert!(verify_digest(&digest, &[1; 64]).unwrap());
    assert!(!verify_digest(&digest, &[2; 64]).unwrap());
    // A converted LUKS1 volume keeps its 20 bytes.
    let mut luks1 = digest.clone();
    luks1.digest.truncate(20);
    assert!(verify_digest(&luks1, &[1; 64]).unwrap());
    for len in [0, 1, 19, 65] {
        let mut other = digest.clone();
        other.digest.resize(len, 0);
        assert!(
            matches!(
                verify_digest(&other, &[1; 64]),
                Err(Error::Parameter { .. })
            ),
            "{len}"
        );
    }
    let mut none = digest;
    none.iterations = 0;
    assert!(matches!(
        verify_digest(&none, &[1; 64]),
        Err(Error::Parameter { .. })
    ));
}
