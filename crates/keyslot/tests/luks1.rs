//! LUKS1 keyslots against cryptsetup: its keyslots opened here, ours opened by it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fs, path::Path};

use lucarne_format::luks1::{Header, KeyslotState, NewHeader, PayloadOffset};
use lucarne_keyslot::{
    CostLimits, CostMeter, Error, Hash, create_luks1_digest, open_keyslot, seal_luks1_keyslot,
    verify_digest,
};
use lucarne_testkit::{cryptsetup::Cryptsetup, payload::stream, scratch::Scratch};

const PASSPHRASE: &[u8] = b"correct horse\nbattery staple";
const UUID: &str = "8a3c1e52-7f0d-4b6a-9c1e-2d4f6a8b0c1d";
const IMAGE_LEN: u64 = 4 << 20;

/// Ciphers with the lengths of their keys in bytes.
const CIPHERS: [(&str, usize); 7] = [
    ("aes-xts-plain64", 64),
    ("aes-xts-plain64", 32),
    ("aes-cbc-essiv:sha256", 16),
    ("aes-cbc-essiv:sha256", 24),
    ("aes-cbc-essiv:sha256", 32),
    ("aes-cbc-plain64", 32),
    ("aes-cbc-plain", 32),
];

/// Hashes that cryptsetup has whatever its backend.
fn hashes() -> impl Iterator<Item = Hash> {
    let all = Hash::ALL.iter().copied();
    all.filter(|hash| !hash.name().starts_with("stribog"))
}

fn header(image: &[u8]) -> Header {
    Header::from_bytes(image).unwrap()
}

/// What the keyslot `id` gives under `passphrase`, if the digest recognises it.
fn opened(image: &[u8], id: u32, passphrase: &[u8]) -> Option<Vec<u8>> {
    let header = header(image);
    let keyslot = header.to_luks2_keyslot(id).unwrap();
    let digest = header.to_luks2_digest().unwrap();
    let area = &image[keyslot.area.offset as usize..][..keyslot.area.size as usize];
    let candidate = open_keyslot(&keyslot, area, passphrase).unwrap();
    let is_key = verify_digest(&digest, &candidate).unwrap();
    is_key.then(|| candidate.to_vec())
}

fn cases() -> Vec<(&'static str, usize, Hash)> {
    let ciphers = CIPHERS.map(|(cipher, key_len)| (cipher, key_len, Hash::Sha256));
    let hashes = hashes().map(|hash| ("aes-cbc-essiv:sha256", 32, hash));
    ciphers.into_iter().chain(hashes).collect()
}

#[test]
fn what_cryptsetup_makes_opens_here() {
    let Some(cryptsetup) = Cryptsetup::or_skip("opening cryptsetup's LUKS1 keyslots") else {
        return;
    };
    let scratch = Scratch::new();
    let key_file = scratch.file("passphrase", PASSPHRASE);
    for (cipher, key_len, hash) in cases() {
        let volume_key = stream(&format!("volume key of {cipher} {hash}"), key_len);
        let volume_key_file = scratch.file("volume-key", &volume_key);
        let image = scratch.zeros("image", IMAGE_LEN);
        let key_size = (key_len * 8).to_string();
        let mut arguments = vec!["luksFormat", "--batch-mode", "--type", "luks1"];
        arguments.extend(["--cipher", cipher, "--key-size", &key_size]);
        arguments.extend(["--hash", hash.name(), "--pbkdf-force-iterations", "1001"]);
        arguments.extend(["--volume-key-file", volume_key_file.to_str().unwrap()]);
        arguments.extend(["--key-file", key_file.to_str().unwrap()]);
        arguments.extend(["--key-slot", "5", image.to_str().unwrap()]);
        cryptsetup.must(arguments);
        let image = fs::read(&image).unwrap();
        let what = format!("{cipher} {key_len} {hash}");
        assert_eq!(opened(&image, 5, PASSPHRASE), Some(volume_key), "{what}");
        assert_eq!(opened(&image, 5, b"wrong"), None, "{what}");
    }
}

/// An image with a keyslot of ours, `id`.
fn made(cipher: &str, key: &[u8], hash: Hash, id: u32) -> Vec<u8> {
    let header = Header::new(&NewHeader {
        encryption: cipher.to_owned(),
        hash: hash.to_string(),
        key_bytes: key.len() as u32,
        digest: create_luks1_digest(key, hash, 1000).unwrap(),
        uuid: UUID.to_owned(),
        payload_offset: PayloadOffset::Aligned { sectors: 2048 },
        key_material_offsets: None,
    })
    .unwrap();
    let mut image = vec![0; IMAGE_LEN as usize];
    add(&mut image, &header, id, key, PASSPHRASE);
    image
}

/// Writes a keyslot of ours into an image.
fn add(image: &mut [u8], header: &Header, id: u32, key: &[u8], passphrase: &[u8]) {
    let (header, area) = seal_luks1_keyslot(header, id, key, passphrase, 1234).unwrap();
    let range = header.keyslots()[id as usize].area.clone();
    image[range.start as usize..range.end as usize].copy_from_slice(&area);
    let bytes = header.encode();
    image[..bytes.len()].copy_from_slice(&bytes);
}

/// The volume key as cryptsetup finds it with the passphrase.
fn volume_key_by_cryptsetup(
    cryptsetup: &Cryptsetup,
    scratch: &Scratch,
    image: &Path,
    passphrase: &[u8],
) -> Vec<u8> {
    let key_file = scratch.file("passphrase", passphrase);
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
    let Some(cryptsetup) = Cryptsetup::or_skip("cryptsetup opening our LUKS1 keyslots") else {
        return;
    };
    let scratch = Scratch::new();
    for (cipher, key_len, hash) in cases() {
        let key = stream(&format!("our key of {cipher} {hash}"), key_len);
        let bytes = made(cipher, &key, hash, 7);
        let image = scratch.file("ours", &bytes);
        let theirs = volume_key_by_cryptsetup(&cryptsetup, &scratch, &image, PASSPHRASE);
        assert_eq!(theirs, key, "{cipher} {key_len} {hash}");
    }
}

/// A keyslot of ours beside one of cryptsetup's, then one of its beside ours.
#[test]
fn keyslots_of_both_makers_share_a_volume() {
    let Some(cryptsetup) = Cryptsetup::or_skip("LUKS1 keyslots of both makers") else {
        return;
    };
    let scratch = Scratch::new();
    let key = stream("shared", 64);
    let image = scratch.file("shared", &made("aes-xts-plain64", &key, Hash::Sha256, 0));
    let key_file = scratch.file("first", PASSPHRASE);
    let second = scratch.file("second", b"second");
    cryptsetup.must([
        "luksAddKey",
        "--batch-mode",
        "--pbkdf-force-iterations",
        "1000",
        "--key-file",
        key_file.to_str().unwrap(),
        image.to_str().unwrap(),
        second.to_str().unwrap(),
    ]);
    let mut bytes = fs::read(&image).unwrap();
    assert_eq!(opened(&bytes, 1, b"second"), Some(key.clone()));
    let theirs = header(&bytes);
    let free = theirs.free_keyslot().unwrap();
    assert_eq!(free, 2);
    add(&mut bytes, &theirs, free, &key, b"third");
    let image = scratch.file("shared", &bytes);
    for passphrase in [PASSPHRASE, b"second", b"third"] {
        let theirs = volume_key_by_cryptsetup(&cryptsetup, &scratch, &image, passphrase);
        assert_eq!(theirs, key);
    }
}

#[test]
fn every_hash_and_cipher_opens_what_it_seals() {
    for (cipher, key_len, hash) in cases() {
        let key = stream("sealed", key_len);
        let image = made(cipher, &key, hash, 3);
        assert_eq!(opened(&image, 3, PASSPHRASE), Some(key), "{cipher} {hash}");
        assert_eq!(opened(&image, 3, b"wrong"), None, "{cipher} {hash}");
    }
}

#[test]
fn what_cannot_be_sealed_is_refused_before_anything_is_derived() {
    let key = stream("refused", 32);
    let image = made("aes-cbc-essiv:sha256", &key, Hash::Sha1, 0);
    let header = header(&image);
    let seal = |header: &Header, id, key: &[u8], iterations| {
        seal_luks1_keyslot(header, id, key, b"", iterations)
            .unwrap_err()
            .to_string()
    };
    // Iterations that would take an hour: these are refused for another reason.
    let many = u32::MAX;
    assert_eq!(
        seal(&header, 0, &key, many),
        "refused: keyslot 0 is not free"
    );
    assert_eq!(
        seal(&header, 8, &key, many),
        "refused: keyslot number is 8, the limit is 7"
    );
    assert_eq!(
        seal(&header, 1, &key[..16], many),
        "key of 16 bytes where 32 are expected"
    );
    assert_eq!(
        seal(&header, 1, &key, 999),
        "pbkdf2 iterations of 999 is outside of 1000 to 4294967295"
    );
    let mut serpent = image.clone();
    serpent[8..16].copy_from_slice(b"serpent\0");
    let serpent = Header::from_bytes(&serpent).unwrap();
    assert!(
        seal(&serpent, 1, &key, many).contains("cipher serpent-cbc-essiv:sha256 is not supported")
    );
}

/// What a header may cost is bounded as LUKS2's is.
#[test]
fn costs_are_limited() {
    let key = stream("costly", 32);
    let mut image = made("aes-cbc-essiv:sha256", &key, Hash::Sha1, 0);
    image[164..168].fill(0xff); // the digest's iterations
    image[212..216].fill(0xff); // keyslot 0's
    let header = header(&image);
    assert!(matches!(
        header.keyslots()[0].state,
        KeyslotState::Active {
            iterations: u32::MAX,
            ..
        }
    ));
    let mut meter = CostMeter::new(&CostLimits::default());
    let keyslot = header.to_luks2_keyslot(0).unwrap();
    let refused = meter.spend_kdf(&keyslot.kdf).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    let digest = header.to_luks2_digest().unwrap();
    let refused = meter.spend_digest(&digest).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
}
