//! LUKS1 headers beside cryptsetup: the same bytes are made, loaded, refused and mended.
#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use lucarne_format::luks1::{Header, KeyslotState, NewHeader, PayloadOffset};
use lucarne_testkit::{cryptsetup::Cryptsetup, scratch::Scratch};

const UUID: &str = "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d";
const IMAGE_LEN: u64 = 4 << 20;

fn keyslot(id: usize) -> usize {
    208 + 48 * id
}

/// A volume that cryptsetup makes with these options: the device with its header.
fn made(cryptsetup: &Cryptsetup, scratch: &Scratch, options: &[&str]) -> PathBuf {
    let key_file = scratch.file("key", b"any");
    let image = scratch.zeros("image", IMAGE_LEN);
    let header = scratch.zeros("header", IMAGE_LEN);
    let mut arguments = vec!["luksFormat", "--batch-mode", "--type", "luks1"];
    arguments.extend(["--pbkdf-force-iterations", "1000", "--uuid", UUID]);
    arguments.extend(["--key-file", key_file.to_str().unwrap()]);
    arguments.extend(options);
    // An option that ends the list and wants a file gets one.
    let is_detached = options.last() == Some(&"--header");
    if is_detached {
        arguments.push(header.to_str().unwrap());
    }
    arguments.push(image.to_str().unwrap());
    cryptsetup.must(arguments);
    if is_detached { header } else { image }
}

fn load(image: &[u8]) -> Result<Header, String> {
    Header::load(|offset, buffer| {
        let rest = usize::try_from(offset).ok().and_then(|at| image.get(at..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok::<_, Infallible>(len)
    })
    .map_err(|error| error.to_string())
}

fn is_luks(cryptsetup: &Cryptsetup, image: &Path) -> bool {
    cryptsetup.run(["isLuks".as_ref(), image.as_os_str()]).code == Some(0)
}

#[test]
fn what_we_make_is_what_cryptsetup_makes() {
    let Some(cryptsetup) = Cryptsetup::or_skip("LUKS1 headers beside luksFormat") else {
        return;
    };
    let aligned = |sectors| PayloadOffset::Aligned { sectors };
    let cases: [(&str, &str, u32, PayloadOffset, &[&str]); 9] = [
        ("aes-xts-plain64", "sha256", 64, aligned(2048), &[]),
        ("aes-xts-plain64", "sha512", 32, aligned(2048), &[]),
        ("aes-cbc-essiv:sha256", "sha1", 32, aligned(2048), &[]),
        ("aes-cbc-essiv:sha256", "ripemd160", 16, aligned(2048), &[]),
        ("aes-cbc-plain64", "whirlpool", 24, aligned(2048), &[]),
        (
            "aes-xts-plain64",
            "SHA256",
            64,
            aligned(8),
            &["--align-payload", "8"],
        ),
        (
            "aes-xts-plain64",
            "sha256",
            64,
            aligned(3000),
            &["--align-payload", "3000"],
        ),
        (
            "aes-xts-plain64",
            "sha256",
            64,
            PayloadOffset::Sectors(4040),
            &["--offset", "4040"],
        ),
        (
            "aes-xts-plain64",
            "sha256",
            64,
            PayloadOffset::Detached,
            &["--header"],
        ),
    ];
    for (encryption, hash, key_bytes, payload_offset, options) in cases {
        let scratch = Scratch::new();
        let key_size = (key_bytes * 8).to_string();
        let mut all = vec![
            "--cipher",
            encryption,
            "--hash",
            hash,
            "--key-size",
            &key_size,
        ];
        all.extend(options);
        let theirs = std::fs::read(made(&cryptsetup, &scratch, &all)).unwrap();
        let loaded = load(&theirs).unwrap_or_else(|error| panic!("{all:?}: {error}"));
        assert_eq!(loaded.encode(), theirs[..592]);

        let KeyslotState::Active { iterations, salt } = loaded.keyslots()[0].state else {
            panic!("{:?}", loaded.keyslots()[0])
        };
        let ours = Header::new(&NewHeader {
            encryption: encryption.into(),
            hash: hash.into(),
            key_bytes,
            digest: loaded.digest().unwrap().clone(),
            uuid: UUID.into(),
            payload_offset,
            key_material_offsets: None,
        })
        .unwrap();
        let ours = ours.with_keyslot(0, iterations, salt).unwrap();
        assert_eq!(ours.encode(), theirs[..592], "{all:?}");
    }
}

/// A change to an image.
type Damage = Box<dyn Fn(&mut Vec<u8>)>;

fn number(at: usize, value: u32) -> Damage {
    Box::new(move |image| image[at..at + 4].copy_from_slice(&value.to_be_bytes()))
}

fn text(at: usize, text: &'static str) -> Damage {
    Box::new(move |image| {
        image[at..at + 32].fill(0);
        image[at..at + text.len()].copy_from_slice(text.as_bytes());
    })
}

/// Some of everything that a header can say, sense or not.
fn damages() -> Vec<(String, Damage)> {
    let mut all: Vec<(String, Damage)> = Vec::new();
    for version in [0, 2, 3] {
        let damage: Damage = Box::new(move |image| image[7] = version);
        // Version 2 behind a LUKS1 header is a LUKS2 header that is no such thing.
        all.push((format!("version {version}"), damage));
    }
    for hash in [
        "",
        "foo",
        "md5",
        "SHA256",
        "sha3-256",
        "blake2b-512",
        "blake2s-256",
        "rmd160",
        "sm3",
    ] {
        all.push((format!("hash {hash}"), text(72, hash)));
    }
    all.push((
        "hash to the end".into(),
        text(72, "sha256xxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ));
    for (at, name) in [(8, "cipherName"), (40, "cipherMode")] {
        for value in ["", "foo", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
            all.push((format!("{name} {value}"), text(at, value)));
        }
    }
    for value in [0, 1, 8, 4035, 4036, 4040, 5000, 1 << 23, u32::MAX] {
        all.push((format!("payloadOffset {value}"), number(104, value)));
    }
    for value in [0, 1, 15, 32, 63, 65, 128, 4096, 1 << 20, u32::MAX] {
        all.push((format!("keyBytes {value}"), number(108, value)));
    }
    for value in [0, 1] {
        all.push((format!("mkDigestIterations {value}"), number(164, value)));
    }
    for value in [0, 1, 3999, 4001, u32::MAX] {
        all.push((format!("stripes {value}"), number(keyslot(7) + 44, value)));
    }
    for value in [0, 1, 2, 7, 8, 9, 512, 4031, 4032, 1 << 23, u32::MAX] {
        all.push((format!("offset {value}"), number(keyslot(7) + 40, value)));
        let damage: Damage = Box::new(move |image| {
            number(keyslot(7) + 40, value)(image);
            number(104, 0)(image);
        });
        all.push((format!("offset {value}, detached"), damage));
    }
    let damage: Damage = Box::new(|image| {
        for id in 0..8 {
            number(keyslot(id) + 40, 2 + 500 * u32::try_from(id).unwrap())(image);
        }
    });
    all.push(("areas side by side from sector 2 on".into(), damage));
    let damage: Damage = Box::new(|image| {
        for id in 0..8 {
            number(keyslot(id) + 40, 8 + 504 * (7 - u32::try_from(id).unwrap()))(image);
        }
    });
    all.push(("areas in reverse".into(), damage));
    all.push(("active".into(), number(keyslot(7), 0x1234_5678)));
    all.push(("active keyslot's state".into(), number(keyslot(0), 0)));
    all.push((
        "active keyslot's iterations".into(),
        number(keyslot(0) + 4, 0),
    ));
    all.push(("uuid".into(), Box::new(|image| image[168..208].fill(0xff))));
    all.push((
        "padding".into(),
        Box::new(|image| image[592..4096].fill(0xff)),
    ));
    all.push(("magic".into(), Box::new(|image| image[0] = 0)));
    for len in [5, 591, 592, 1024, 4096, 4036 * 512 - 1, 4036 * 512] {
        all.push((
            format!("length {len}"),
            Box::new(move |image| image.truncate(len)),
        ));
    }
    all
}

#[test]
fn what_cryptsetup_refuses_is_refused_and_the_rest_is_loaded() {
    let Some(cryptsetup) = Cryptsetup::or_skip("damaged LUKS1 headers beside cryptsetup") else {
        return;
    };
    let scratch = Scratch::new();
    let image = made(&cryptsetup, &scratch, &["--key-size", "512"]);
    let whole = std::fs::read(&image).unwrap();
    let mut outcomes = [0, 0];
    for (name, damage) in damages() {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&image, &bytes).unwrap();
        let theirs = is_luks(&cryptsetup, &image);
        let ours = load(&bytes);
        assert_eq!(ours.is_ok(), theirs, "{name}: {ours:?}");
        outcomes[usize::from(theirs)] += 1;
    }
    // The damages are no use if all of them are of one kind.
    assert!(outcomes.iter().all(|&count| count > 20), "{outcomes:?}");
}

#[test]
fn repair_mends_what_cryptsetup_mends() {
    let Some(cryptsetup) = Cryptsetup::or_skip("LUKS1 repair beside cryptsetup") else {
        return;
    };
    let signature =
        || -> Damage { Box::new(|image| image[510..512].copy_from_slice(&[0x55, 0xaa])) };
    let table = || -> Damage {
        Box::new(|image| {
            image[446..510].fill(0);
            image[510..512].copy_from_slice(&[0x55, 0xaa]);
        })
    };
    let cases: Vec<(&str, Vec<Damage>)> = vec![
        ("nothing", vec![]),
        ("offset", vec![number(keyslot(7) + 40, 4000)]),
        ("stripes", vec![number(keyslot(3) + 44, 1)]),
        (
            "stripes of the active one",
            vec![number(keyslot(0) + 44, 1)],
        ),
        ("state only", vec![number(keyslot(6), 7)]),
        (
            "state and offset",
            vec![number(keyslot(6), 7), number(keyslot(6) + 40, 0)],
        ),
        (
            "state, another's offset",
            vec![number(keyslot(6), 7), number(keyslot(7) + 40, 0)],
        ),
        ("signature only", vec![signature()]),
        (
            "signature, another's offset",
            vec![signature(), number(keyslot(5) + 40, 0)],
        ),
        ("partition table", vec![table()]),
        (
            "no room before the payload",
            vec![number(104, 4036), number(keyslot(7) + 44, 1)],
        ),
        (
            "never aligned",
            vec![
                number(keyslot(0), 0xdead),
                number(keyslot(0) + 40, 2),
                number(keyslot(7) + 44, 1),
            ],
        ),
        ("odd key", vec![number(108, 24), number(keyslot(7) + 44, 1)]),
        (
            "unknown hash",
            vec![text(72, "foo"), number(keyslot(7) + 44, 1)],
        ),
        ("hash in upper case", vec![text(72, "SHA256\0JUNK")]),
        (
            "two in each other's place",
            vec![
                number(keyslot(6) + 40, 8 + 504 * 7),
                number(keyslot(7) + 40, 8 + 504 * 6),
                number(keyslot(5) + 44, 1),
            ],
        ),
    ];
    let scratch = Scratch::new();
    let image = made(&cryptsetup, &scratch, &["--key-size", "512"]);
    let whole = std::fs::read(&image).unwrap();
    for (name, damages) in cases {
        let mut bytes = whole.clone();
        for damage in damages {
            damage(&mut bytes);
        }
        std::fs::write(&image, &bytes).unwrap();
        let outcome = cryptsetup.run(["repair", "--batch-mode", image.to_str().unwrap()]);
        let ours = Header::repair(&bytes);
        assert_eq!(
            ours.is_ok(),
            outcome.code == Some(0),
            "{name}: {ours:?}, {}",
            outcome.stderr
        );
        if let Ok(repaired) = ours {
            let theirs = std::fs::read(&image).unwrap();
            assert_eq!(repaired.header.encode(), theirs[..592], "{name}");
            assert_eq!(
                repaired.changes.is_empty(),
                theirs[..592] == bytes[..592],
                "{name}"
            );
        }
    }
}
