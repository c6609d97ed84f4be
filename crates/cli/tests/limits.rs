//! What a header may cost, over all keyslots together.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;

use common::{CHEAP, PASSPHRASE, key_file, lucarne, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;
use serde_json::json;

/// Keyslots that cost more together than the total are refused by the name of the option that raises it;
/// with that, or asked for by number, the last one opens.
#[test]
fn a_keyslot_past_the_total_is_still_within_reach() {
    let Some(cryptsetup) = Cryptsetup::or_skip("volumes of several keyslots") else {
        return;
    };
    let scratch = Scratch::new();
    let image = common::encrypted(&scratch, "image", b"plain", &[]);
    let key = key_file(&scratch);
    for passphrase in ["second", "third"] {
        let new = scratch.file(passphrase, passphrase.as_bytes());
        let add = words!["luksAddKey", "-q", "--key-file", &key, &image, new];
        cryptsetup.must(add.iter().chain(&CHEAP.map(OsString::from)));
    }
    let open = |passphrase: &str, options: &[&str]| {
        let mut words = words![
            "open",
            "--test-passphrase",
            "--key-file",
            scratch.path(passphrase)
        ]
        .to_vec();
        words.extend(options.iter().map(OsString::from));
        words.push((&image).into());
        lucarne(words)
    };
    // Each keyslot costs 1000 iterations of its own and 1000 of its digest.
    let total = ["--max-total-pbkdf-iterations", "4000"];
    assert_eq!(open("key", &total).code, Some(0));
    assert_eq!(open("second", &total).code, Some(0));
    let outcome = open("third", &total);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert_eq!(
        outcome.stderr,
        format!(
            "lucarne: {}: refused: keyslot 2: pbkdf2 iterations, counted as sha256's, over all \
             keyslots tried of 5000 exceeds the limit of 4000; --max-total-pbkdf-iterations raises it\n",
            image.display()
        ),
    );
    assert_eq!(
        open("third", &["--max-total-pbkdf-iterations", "6000"]).code,
        Some(0)
    );
    assert_eq!(
        open("third", &[total[0], total[1], "-S", "2"]).code,
        Some(0)
    );
    assert_eq!(open("third", &[]).code, Some(0));
}

/// 32 keyslots, each of which would take minutes: refused at once, and each by its option.
#[test]
fn a_hostile_header_costs_no_time() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let sound = std::fs::read(common::encrypted(&scratch, "image", b"plain", &[])).unwrap();
    let salt = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (kdf, option) in [
        (
            json!({"type": "argon2id", "time": 65, "memory": 1 << 20, "cpus": 4, "salt": salt}),
            "--max-pbkdf-work",
        ),
        (
            json!({"type": "argon2id", "time": u32::MAX, "memory": 32, "cpus": 1, "salt": salt}),
            "--max-pbkdf-work",
        ),
        (
            json!({"type": "argon2id", "time": 4, "memory": u32::MAX, "cpus": 4, "salt": salt}),
            "--max-pbkdf-memory",
        ),
        (
            json!({"type": "pbkdf2", "hash": "sha512", "iterations": 25_000_001, "salt": salt}),
            "--max-pbkdf-iterations",
        ),
    ] {
        let mut bytes = sound.clone();
        luks2::edit_json(&mut bytes, |json| {
            let keyslot = json["keyslots"]["0"].take();
            for id in 0..32_u64 {
                let mut keyslot = keyslot.clone();
                let size: u64 = keyslot["area"]["size"].as_str().unwrap().parse().unwrap();
                keyslot["area"]["offset"] = json!((32768 + id * size).to_string());
                keyslot["kdf"] = kdf.clone();
                json["keyslots"][id.to_string()] = keyslot;
            }
            let ids: Vec<_> = (0..32).map(|id| id.to_string()).collect();
            json["digests"]["0"]["keyslots"] = json!(ids);
        });
        let image = scratch.file("image", &bytes);
        let started = std::time::Instant::now();
        let outcome = lucarne(words![
            "open",
            "--test-passphrase",
            "--key-file",
            &key,
            &image
        ]);
        assert_eq!(outcome.code, Some(1), "{kdf}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(&format!("{option} raises it")),
            "{}",
            outcome.stderr
        );
        assert!(
            started.elapsed().as_secs() < 5,
            "{kdf}: {:?}",
            started.elapsed()
        );
    }
    assert_eq!(std::fs::read(&key).unwrap(), PASSPHRASE);
}

/// What is read and joined is bounded too, and the limit is exact.
#[test]
fn the_header_and_a_split_key_are_bounded() {
    let scratch = Scratch::new();
    let image = common::encrypted(&scratch, "image", b"plain", &[]);
    let key = key_file(&scratch);
    let open = words!["open", "--test-passphrase", "--key-file", &key, &image].to_vec();
    let dump = words!["luksDump", &image].to_vec();
    for (verb, option, least, message) in [
        (
            &open,
            "--max-split-key",
            256_000,
            "keyslot 0: split key bytes of 256000",
        ),
        (
            &open,
            "--max-header",
            32_768,
            "header bytes of both copies of 32768",
        ),
        (
            &dump,
            "--max-header",
            32_768,
            "header bytes of both copies of 32768",
        ),
    ] {
        let run = |limit: u32| {
            let mut words = verb.clone();
            words.extend([option.into(), limit.to_string().into()]);
            lucarne(words)
        };
        let outcome = run(least - 1);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert_eq!(
            outcome.stderr,
            format!(
                "lucarne: {}: refused: {message} exceeds the limit of {}; {option} raises it\n",
                image.display(),
                least - 1
            )
        );
        assert_eq!(run(least).code, Some(0));
    }
}
