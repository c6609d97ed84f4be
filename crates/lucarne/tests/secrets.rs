//! After use, no secret is left anywhere in the process's memory: passphrases, derived keys, volume keys.
//!
//! The test runs itself as a child that knows its secrets in masked form only, uses them, drops all that it
//! made, and reads its own memory. While a volume is open the same search must find its key: else it could not
//! find anything.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use lucarne::{
    Control, FormatOptions, HeaderEditor, KdfKind, KdfRequest, KeyslotOptions, MemoryStorage,
    Parallelism, ReencryptOptions, Reencryption, Secret, SecretBytes, UnlockOptions, Volume,
    luks2::Kdf, luks2::Keyslot, read_header,
};
use sha2::Sha256;

const CHILD: &str = "LUCARNE_TEST_SECRETS";
/// What is masked with this is not found by a search for the thing itself.
const MASK: u8 = 0xa5;

const NAMES: [&str; 5] = [
    "passphrase of pbkdf2",
    "passphrase of argon2id",
    "volume key",
    "key derived by pbkdf2",
    "key derived by argon2id",
];

fn masked(secret: &[u8]) -> Vec<u8> {
    secret.iter().map(|byte| byte ^ MASK).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Cheap, and long enough ago known: 1000 iterations, or 4 passes over 64 KiB.
fn request(kind: KdfKind) -> KdfRequest {
    KdfRequest {
        kind,
        iterations: Some(match kind {
            KdfKind::Pbkdf2 => 1000,
            _ => 4,
        }),
        max_memory_kib: 64,
        max_lanes: 1,
        ..KdfRequest::default()
    }
}

fn unmasked(bytes: &[u8]) -> SecretBytes {
    let mut secret = SecretBytes::from_slice(bytes);
    secret.iter_mut().for_each(|byte| *byte ^= MASK);
    secret
}

/// Every place in this process's memory where the unmasked bytes begin.
fn places(masked: &[u8]) -> Vec<String> {
    // A key schedule begins with half of an XTS key.
    let masked = &masked[..16];
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        if !rights.starts_with('r') || line.contains("[v") {
            continue;
        }
        bytes.resize(usize::try_from(end - start).unwrap(), 0);
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        let here = bytes.windows(masked.len()).position(|window| {
            window[0] == masked[0] ^ MASK && window.iter().zip(masked).all(|(a, b)| *a == *b ^ MASK)
        });
        // What was read is a copy, which the search must not find in a later range.
        bytes.fill(0);
        if let Some(at) = here {
            found.push(format!("{:#x} in {line}", start + at as u64));
        }
    }
    found
}

#[test]
fn nothing_secret_is_left_in_memory() {
    if let Ok(child) = std::env::var(CHILD) {
        return use_and_search(&child);
    }
    // Made here: a literal would stand in the program itself, and so in the child's memory.
    let made = |factor: u8, len: u8| -> Vec<u8> {
        (0..len)
            .map(|at| std::hint::black_box(at).wrapping_mul(factor) ^ 0x5c)
            .collect()
    };
    let passphrases = [made(11, 40), made(23, 33)];
    let passphrases = passphrases.each_ref().map(Vec::as_slice);
    let volume_key = made(37, 64);
    let image = MemoryStorage::with_len(4 << 20);
    let options = FormatOptions {
        kdf: request(KdfKind::Pbkdf2),
        keyslots_size: Some(2 << 20),
        volume_key: Some(SecretBytes::from_slice(&volume_key)),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, passphrases[0], &options).unwrap();
    let mut editor = HeaderEditor::open(&image).unwrap();
    let key = editor
        .unlock(
            Secret::Passphrase(passphrases[0]),
            &UnlockOptions::default(),
        )
        .unwrap();
    let argon2id = KeyslotOptions {
        kdf: request(KdfKind::Argon2id),
        ..KeyslotOptions::default()
    };
    editor.add_keyslot(&key, passphrases[1], &argon2id).unwrap();
    let header = read_header(&image).unwrap().header;
    let derived =
        [0, 1].map(|id| derive(&header.metadata().keyslots()[&id], passphrases[id as usize]));

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("image");
    std::fs::write(&path, image.into_bytes()).unwrap();
    let secrets = [
        passphrases[0],
        passphrases[1],
        &volume_key,
        &derived[0],
        &derived[1],
    ];
    let mut child = vec![path.display().to_string()];
    child.extend(secrets.map(|secret| hex(&masked(secret))));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_secret_is_left_in_memory", "--nocapture"])
        .env(CHILD, child.join(" "))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn derive(keyslot: &Keyslot, passphrase: &[u8]) -> Vec<u8> {
    let Keyslot::Luks2(keyslot) = keyslot else {
        panic!("not a luks2 keyslot");
    };
    let mut key = vec![0; 64];
    match &keyslot.kdf {
        Kdf::Pbkdf2 {
            iterations, salt, ..
        } => pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, *iterations, &mut key),
        Kdf::Argon2 {
            time,
            memory_kib,
            lanes,
            salt,
            ..
        } => argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(*memory_kib, *time, *lanes, Some(64)).unwrap(),
        )
        .hash_password_into(passphrase, salt, &mut key)
        .unwrap(),
        other => panic!("{other:?}"),
    }
    key
}

/// The child's part.
fn use_and_search(child: &str) {
    let mut words = child.split(' ');
    let path = words.next().unwrap();
    let secrets: Vec<Vec<u8>> = words.map(from_hex).collect();

    let volume = Volume::open(
        MemoryStorage::from(std::fs::read(path).unwrap()),
        Secret::Passphrase(&unmasked(&secrets[1])),
    )
    .unwrap();
    volume.write_at(&[1; 10_000], 77).unwrap();
    assert!(
        !places(&secrets[2]).is_empty(),
        "an open volume has its key somewhere: the search is blind"
    );
    drop(volume);

    let image = MemoryStorage::from(std::fs::read(path).unwrap());
    let mut editor = HeaderEditor::open(&image).unwrap();
    for (index, kind) in [KdfKind::Pbkdf2, KdfKind::Argon2id].into_iter().enumerate() {
        let passphrase = unmasked(&secrets[index]);
        let key = editor
            .unlock(Secret::Passphrase(&passphrase), &UnlockOptions::default())
            .unwrap();
        let options = KeyslotOptions {
            kdf: request(kind),
            ..KeyslotOptions::default()
        };
        editor.add_keyslot(&key, b"a third", &options).unwrap();
        editor.change_keyslot(&key, &passphrase, &options).unwrap();
        let wrong = editor.unlock(Secret::Passphrase(b"wrong"), &UnlockOptions::default());
        assert!(wrong.is_err());
    }
    let key = unmasked(&secrets[2]);
    Volume::open(&image, Secret::VolumeKey(&key)).unwrap();
    drop(key);
    drop(editor);

    let passphrase = unmasked(&secrets[1]);
    let options = ReencryptOptions {
        kdf: request(KdfKind::Pbkdf2),
        ..ReencryptOptions::default()
    };
    drop(Reencryption::begin(&image, None, &[&passphrase], &options).unwrap());
    Volume::open(&image, Secret::Passphrase(&passphrase)).unwrap();
    Reencryption::resume(&image, None, &[&passphrase], &options)
        .unwrap()
        .run(Parallelism::default(), &Control::default())
        .unwrap();
    drop(passphrase);

    for (name, secret) in NAMES.into_iter().zip(&secrets) {
        let places = places(secret);
        assert!(places.is_empty(), "{name} is at {places:#?}");
    }
}
