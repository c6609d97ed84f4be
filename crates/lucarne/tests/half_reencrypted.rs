//! Volumes in the midst of a re-encryption by cryptsetup: their plaintext is read, and not one byte written; forged
//! ones are refused.
#![allow(clippy::unwrap_used)]

use std::num::NonZero;

use lucarne::luks2::Reencryption;
use lucarne::{
    Control, DecryptOptions, Destination, Error, HeaderRef, MemoryStorage, OpenOptions,
    Parallelism, Secret, Storage, UnlockOptions, Unlocked, Volume, decrypt, read_header, unlock,
    unlock_vouched,
};
use lucarne_testkit::half_reencrypted::{PASSPHRASE, State, all, state};
use lucarne_testkit::luks2;
use serde_json::{Value, json};

type Half<'a> = Volume<&'a MemoryStorage>;

/// Opens a state, hands its volume on, and makes sure that nothing was written.
fn open<T>(state: &State, with: impl FnOnce(Result<Half<'_>, Error>) -> T) -> T {
    let image = MemoryStorage::from(state.image.clone());
    let header = state.header.clone().map(MemoryStorage::from);
    let options = match &header {
        Some(header) => OpenOptions::default().header(header),
        None => OpenOptions::default(),
    };
    let result = with(options.open(&image, Secret::Passphrase(PASSPHRASE)));
    let is_untouched =
        image.into_bytes() == state.image && header.map(MemoryStorage::into_bytes) == state.header;
    assert!(is_untouched, "{}: written to", state.name);
    result
}

fn error_of(state: &State) -> Error {
    open(state, |volume| match volume {
        Ok(_) => panic!("{}: opened", state.name),
        Err(error) => error,
    })
}

fn edited(name: &str, edit: impl FnOnce(&mut Value)) -> State {
    let mut state = state(name);
    luks2::edit_json(state.header_mut(), edit);
    state
}

#[test]
fn every_state_reads_as_its_plaintext() {
    let states = all();
    assert_eq!(states.len(), 27);
    for state in &states {
        let name = &state.name;
        open(state, |volume| {
            let volume = volume.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(volume.len(), state.payload.len() as u64, "{name}");
            let mut whole = vec![0; state.payload.len()];
            volume.read_at(&mut whole, 0).unwrap();
            assert!(whole == state.payload, "{name}");
            // Odd lengths at odd offsets, over every border.
            let mut random = 77_u64;
            for _ in 0..300 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let offset = (random >> 33) as usize % state.payload.len();
                let len = ((random >> 13) as usize % 20_000).min(state.payload.len() - offset);
                let mut part = vec![0; len];
                volume.read_at(&mut part, offset as u64).unwrap();
                assert!(
                    part == state.payload[offset..offset + len],
                    "{name}: {offset}+{len}"
                );
            }
            assert!(volume.read_at(&mut [0], volume.len()).is_err(), "{name}");
        });
    }
}

#[test]
fn every_state_is_decrypted_on_all_threads_and_cannot_be_written() {
    for state in &all() {
        open(state, |volume| {
            let volume = volume.unwrap();
            for threads in [1, 3] {
                let output = MemoryStorage::with_len(0);
                let options = DecryptOptions {
                    parallelism: Parallelism {
                        threads: NonZero::new(threads),
                        pool: None,
                    },
                    ..DecryptOptions::default()
                };
                let destination = Destination::Storage(&output);
                decrypt(&volume, destination, &options, &Control::default()).unwrap();
                assert!(output.into_bytes() == state.payload, "{}", state.name);
            }
            let error = volume.write_at(b"x", 0).unwrap_err().to_string();
            assert!(error.contains("reencrypt --resume-only"), "{error}");
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(2)
                .build()
                .unwrap();
            assert!(volume.write_at_on(&pool, &[0; 512], 0).is_err());
            let mut whole = vec![0; state.payload.len()];
            volume.read_at_on(&pool, &mut whole, 0).unwrap();
            assert!(whole == state.payload);
        });
    }
}

/// cryptsetup marks no hot zone where it has no resilience, so this one is put into its header.
#[test]
fn without_resilience_all_but_the_hot_zone_is_read() {
    let state = edited("reencrypt/no-resilience", |json| {
        let old = json["segments"]["0"].clone();
        let (previous, last) = (json["segments"]["1"].clone(), json["segments"]["2"].clone());
        let at = |mut segment: Value, offset: u64, size: Value| {
            segment["offset"] = json!((1_048_576 + offset).to_string());
            segment["iv_tweak"] = json!((offset / 512).to_string());
            segment["size"] = size;
            segment
        };
        let mut hot = at(last.clone(), 0, json!("16384"));
        hot["flags"] = json!(["in-reencryption"]);
        json["segments"] = json!({
            "0": hot,
            "1": at(old, 16_384, json!("dynamic")),
            "2": previous,
            "3": last,
        });
        for digest in json["digests"].as_object_mut().unwrap().values_mut() {
            let segments = digest["segments"].as_array().unwrap();
            let is_old = segments.contains(&json!("0"));
            let is_new = segments.contains(&json!("2"));
            digest["segments"] = match (is_old, is_new) {
                (true, _) => json!(["0", "1", "2"]),
                (_, true) => json!(["0", "3"]),
                _ => json!([]),
            };
        }
    });
    open(&state, |volume| {
        let volume = volume.unwrap();
        assert_eq!(volume.unreadable(), Some(0..16_384));
        let mut tail = vec![0; state.payload.len() - 16_384];
        volume.read_at(&mut tail, 16_384).unwrap();
        assert!(tail == state.payload[16_384..]);
        for (offset, len) in [(0, 1), (0, 16_385), (5_000, 10), (16_383, 2)] {
            let mut part = vec![0; len];
            let error = volume.read_at(&mut part, offset).unwrap_err().to_string();
            assert!(error.contains("bytes 0..16384"), "{error}");
            assert!(part.iter().all(|&byte| byte == 0));
        }
        let mut output = Vec::new();
        let destination = Destination::Stream(&mut output);
        let decrypted = decrypt(
            &volume,
            destination,
            &DecryptOptions::default(),
            &Control::default(),
        );
        assert!(decrypted.unwrap_err().to_string().contains("0..16384"));
        assert!(output.is_empty());
    });
}

/// Every leaf of what the keys vouch for, and of the regular segments, changed once.
#[test]
fn no_changed_member_is_believed() {
    let mut count = 0;
    for name in [
        "reencrypt/checksum-torn",
        "reencrypt/journal-torn",
        "encrypt-shift/zone-torn",
        "encrypt-shift/head-torn",
        "encrypt-detached/torn",
        "decrypt-shift/head-checksum-torn",
        "decrypt-shift/zone-torn",
    ] {
        let sound = state(name);
        let header = sound.header.as_ref().unwrap_or(&sound.image);
        let json = luks2::json(header, 0);
        for leaf in leaves_to_change(&json) {
            for value in others(json.pointer(&leaf).unwrap()) {
                let forged = edited(name, |json| {
                    *json.pointer_mut(&leaf).unwrap() = value.clone();
                });
                count += 1;
                open(&forged, |volume| {
                    assert!(volume.is_err(), "{name}: {leaf} = {value} opens");
                });
            }
        }
    }
    assert!(count > 300, "{count}");
}

/// Members of the re-encryption's keyslot, of its digest, and of all segments; not the last size, by which the plaintext
/// may end earlier, nor flags.
fn leaves_to_change(json: &Value) -> Vec<String> {
    let mut leaves = Vec::new();
    let keyslots = json["keyslots"].as_object().unwrap();
    let (id, keyslot) = (keyslots.iter())
        .find(|(_, keyslot)| keyslot["type"] == "reencrypt")
        .unwrap();
    let mut add = |folder: String, object: &Value, but: &[&str]| {
        for (name, value) in object.as_object().unwrap() {
            let is_leaf = !value.is_object() && !value.is_array();
            if is_leaf && !but.contains(&name.as_str()) {
                leaves.push(format!("{folder}/{name}"));
            }
        }
    };
    // Nobody reads the priority, and the key size is always 1.
    add(
        format!("/keyslots/{id}"),
        keyslot,
        &["priority", "key_size"],
    );
    add(format!("/keyslots/{id}/area"), &keyslot["area"], &[]);
    for (number, digest) in json["digests"].as_object().unwrap() {
        let keyslots = digest["keyslots"].as_array().unwrap();
        if keyslots.contains(&json!(id)) {
            add(format!("/digests/{number}"), digest, &[]);
        }
    }
    let is_regular = |segment: &Value| {
        let flags = segment["flags"].as_array();
        !flags.is_some_and(|flags| {
            flags
                .iter()
                .any(|flag| flag.as_str().unwrap().starts_with("backup"))
        })
    };
    let segments = json["segments"].as_object().unwrap();
    let last_regular = segments
        .values()
        .filter(|segment| is_regular(segment))
        .count()
        - 1;
    for (number, segment) in segments {
        let is_last = *number == last_regular.to_string();
        let but: &[&str] = if is_last { &["size"] } else { &[] };
        add(format!("/segments/{number}"), segment, but);
    }
    leaves
}

/// Other values of the kind.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            vec![json!(number * 2), json!(number / 2)]
        }
        Value::String(text) => match text.parse::<u64>() {
            Ok(number) => [
                number ^ 512,
                number ^ 4096,
                number ^ (1 << 40),
                u64::MAX - 511,
            ]
            .iter()
            .map(|number| json!(number.to_string()))
            .collect(),
            Err(_) => {
                let known: &[&str] = match text.as_str() {
                    "encrypt" | "decrypt" | "reencrypt" => &["encrypt", "decrypt", "reencrypt"],
                    "forward" | "backward" => &["forward", "backward"],
                    "crypt" | "linear" => &["crypt", "linear"],
                    "checksum" | "journal" | "datashift" => {
                        &["checksum", "journal", "datashift", "none"]
                    }
                    "sha256" => &["sha1", "sha512", "md5"],
                    "dynamic" => &["512", "1048576"],
                    _ => &[
                        "aes-xts-plain64",
                        "aes-cbc-plain64",
                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                    ],
                };
                let others = known.iter().filter(|other| *other != text);
                others.map(|other| json!(other)).collect()
            }
        },
        _ => Vec::new(),
    }
}

/// What only somebody with both keys can forge: vouched for, and impossible all the same.
#[test]
fn what_cannot_be_is_refused_even_if_the_keys_vouch_for_it() {
    let cases: [(&str, &str, Value, &str); 6] = [
        (
            "reencrypt/journal-torn",
            "/keyslots/2/area/size",
            json!("4096"),
            "its area has 4096",
        ),
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/area/hash",
            json!("later"),
            "\"later\"",
        ),
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/area/sector_size",
            json!(2_097_152),
            "2097152",
        ),
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/area/sector_size",
            json!(512),
            "whole sectors",
        ),
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/area/type",
            json!("later"),
            "later",
        ),
        (
            "decrypt-shift/zone-torn",
            "/segments/3/offset",
            json!("65536"),
            "segment",
        ),
    ];
    for (name, leaf, value, message) in cases {
        let mut forged = edited(name, |json| {
            *json.pointer_mut(leaf).unwrap() = value.clone()
        });
        vouch_for(&mut forged);
        let error = error_of(&forged);
        let is_typed = matches!(
            error,
            Error::Unsupported(_) | Error::Refused(_) | Error::Device(_) | Error::Corrupt(_)
        );
        assert!(
            is_typed && error.to_string().contains(message),
            "{leaf} = {value}: {error:?}"
        );
    }
    // The method works: a sound header that is vouched for anew is sound.
    let mut sound = state("reencrypt/checksum-torn");
    vouch_for(&mut sound);
    open(&sound, |volume| assert!(volume.is_ok()));
}

/// Makes the digest of the re-encryption anew, if its message can be made.
fn vouch_for(state: &mut State) {
    let storage = MemoryStorage::from(state.header_mut().clone());
    let header = read_header(&storage).unwrap().header;
    let reencryption = header.metadata().reencryption().unwrap();
    let Some(message) = message(&storage, HeaderRef::from(&header), &reencryption) else {
        return;
    };
    let id = reencryption.digest.unwrap();
    let digest = &header.metadata().digests()[&id];
    assert_eq!(digest.hash, "sha256");
    let mut out = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&message, &digest.salt, digest.iterations, &mut out);
    let text = base64(&out);
    luks2::edit_json(state.header_mut(), |json| {
        json["digests"][id.to_string()]["digest"] = json!(text);
    });
}

fn message(
    storage: &MemoryStorage,
    header: HeaderRef<'_>,
    reencryption: &Reencryption<'_>,
) -> Option<Vec<u8>> {
    let keys: Vec<Unlocked> = [0, 1]
        .into_iter()
        .filter_map(|keyslot| {
            let options = UnlockOptions {
                keyslot: Some(keyslot),
                ..UnlockOptions::default()
            };
            unlock(header, storage, Secret::Passphrase(PASSPHRASE), &options).ok()
        })
        .collect();
    let key_of = |digest: Option<u32>| {
        let key = keys.iter().find(|key| Some(key.digest) == digest)?;
        Some(&*key.volume_key)
    };
    let (old, new) = (
        key_of(reencryption.old_digest),
        key_of(reencryption.new_digest),
    );
    reencryption.verification_message(old, new).ok()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut bits = 0_u32;
        for place in 0..3 {
            bits = bits << 8 | u32::from(group.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    text
}

#[test]
fn a_truncated_device_is_named_and_nothing_is_read_past_its_end() {
    for name in [
        "encrypt-shift/zone-torn",
        "reencrypt/checksum-torn",
        "decrypt-shift/head-left",
    ] {
        for len in [0, 512, 60_000, 140_000, 300_000, 1_060_000] {
            let mut short = state(name);
            if len >= short.image.len() {
                continue;
            }
            short.image.truncate(len);
            // A shorter one of dynamic length is a shorter volume; what is opened is read to its end.
            open(&short, |volume| {
                if let Ok(volume) = volume {
                    let mut whole = vec![0; volume.len() as usize];
                    volume.read_at(&mut whole, 0).unwrap();
                }
            });
        }
    }
    let mut short = state("encrypt-shift/zone-torn");
    short.image.truncate(400_000);
    assert!(matches!(error_of(&short), Error::Device(_)));
    let mut header_too_short = state("decrypt-shift/head-journal-torn");
    header_too_short.header_mut().truncate(98_304 + 4096);
    assert!(matches!(
        error_of(&header_too_short),
        Error::Device(_) | Error::Corrupt(_)
    ));
}

#[test]
fn both_keys_must_vouch_and_one_is_not_enough() {
    let sound = state("reencrypt/checksum-torn");
    let storage = MemoryStorage::from(sound.image.clone());
    let header = read_header(&storage).unwrap().header;
    let options = UnlockOptions::default();
    let secret = Secret::Passphrase(PASSPHRASE);
    let unlocked = unlock_vouched(&header, &storage, secret, &options).unwrap();
    assert_eq!(unlocked.keyslot, Some(1));
    assert!(matches!(
        unlock_vouched(&header, &storage, Secret::Passphrase(b"no"), &options),
        Err(Error::WrongKey)
    ));
    for wrong in [
        OpenOptions::default().keyslot(0).open(&storage, secret),
        OpenOptions::default().open(&storage, Secret::VolumeKey(&unlocked.volume_key)),
        OpenOptions::default().open_unlocked(&header, &storage, unlocked),
    ] {
        assert!(matches!(wrong, Err(Error::Refused(_))), "{wrong:?}");
    }
    // With one key in all, that key is enough.
    let single = state("encrypt-shift/zone-torn");
    let storage = MemoryStorage::from(single.image.clone());
    let header = read_header(&storage).unwrap().header;
    let key = unlock(&header, &storage, secret, &options).unwrap();
    let volume = OpenOptions::default()
        .open(&storage, Secret::VolumeKey(&key.volume_key))
        .unwrap();
    let mut whole = vec![0; single.payload.len()];
    volume.read_at(&mut whole, 0).unwrap();
    assert!(whole == single.payload);
    OpenOptions::default()
        .open_unlocked(&header, &storage, key)
        .unwrap();
    assert_eq!(Storage::len(&storage).unwrap(), single.image.len() as u64);
}

#[test]
fn a_forged_digest_is_an_error_of_its_own() {
    let forged = edited("encrypt-shift/zone-torn", |json| {
        json["keyslots"]["1"]["direction"] = json!("forward");
    });
    assert!(matches!(error_of(&forged), Error::Unvouched { keyslot: 1 }));
}
