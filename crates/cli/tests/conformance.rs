//! Every image of `testdata/images`, and every image made through dm-crypt that is at hand, has the outcome that its
//! description tells, and stays as it is to the byte.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::Path;

use common::{Findings, for_each, lucarne, words};
use lucarne_testkit::ground_truth::{self, Truth};
use lucarne_testkit::payload::{sha256_hex, sha256_hex_of_file};
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::vectors::{self, Expect, Unpacked, Vector};

#[test]
fn every_image_of_testdata_has_the_outcome_it_tells() {
    let vectors = vectors::all();
    // A folder that was lost in part must not pass: this grows with it.
    assert_eq!(vectors.len(), 75);
    for_each(&vectors, |vector, findings| {
        let scratch = Scratch::new();
        let unpacked = vector.unpack(&scratch);
        let before = hashes(&unpacked);
        match vector.expect() {
            Expect::Open => opens(vector, &unpacked, &scratch, findings),
            Expect::WrongKey | Expect::Refused => is_refused(vector, &unpacked, &scratch, findings),
        }
        takes_each_key(vector, &unpacked, &scratch, findings);
        findings.equal(
            &format!("{}: image after reading", vector.name),
            &hashes(&unpacked),
            &before,
        );
    });
}

/// The plaintext comes out by each way to it: whole, in part, by passphrase, by volume key.
fn opens(vector: &Vector, unpacked: &Unpacked, scratch: &Scratch, findings: &mut Findings) {
    let name = &vector.name;
    let payload = vector.payload();
    let plaintext = scratch.path("plaintext");
    let by_key = key_words(vector, unpacked);

    let outcome = run("decrypt", &by_key, unpacked, &[plaintext.clone().into()]);
    findings.check(outcome.code == Some(0), || {
        format!("{name}: decrypt: {outcome:?}")
    });
    compare_file(name, "decrypt", &plaintext, &payload, findings);

    let mut words = by_key.clone();
    words.extend(words!["--offset", "5", "--length", "1000"]);
    let outcome = run("read", &words, unpacked, &[]);
    findings.check(outcome.stdout == payload[5..1005], || {
        format!(
            "{name}: read --offset 5 --length 1000: {:?} {}",
            outcome.code, outcome.stderr
        )
    });

    // Between two keys neither of them is enough.
    let has_one_key = name != "refused-reencryption";
    if let Some(volume_key) = vector.volume_key().filter(|_| has_one_key) {
        let volume_key_file = scratch.file("volume-key", &volume_key);
        let words = words!["--volume-key-file", volume_key_file];
        let outcome = run("decrypt", &words, unpacked, &["-".into()]);
        findings.check(outcome.stdout == payload, || {
            format!(
                "{name}: decrypt by the volume key: {:?} {}",
                outcome.code, outcome.stderr
            )
        });
    }
}

/// Nothing comes out, and the error says what the description tells.
fn is_refused(vector: &Vector, unpacked: &Unpacked, scratch: &Scratch, findings: &mut Findings) {
    let name = &vector.name;
    let plaintext = scratch.path("plaintext");
    let words = key_words(vector, unpacked);
    let outcome = run("decrypt", &words, unpacked, &[plaintext.clone().into()]);
    findings.equal(
        &format!("{name}: decrypt's exit code ({})", outcome.stderr.trim()),
        &outcome.code,
        &Some(vector.exit()),
    );
    findings.check(!plaintext.exists(), || {
        format!("{name}: decrypt left an OUT")
    });
    one_line(name, &outcome, findings);
    let message = vector.field("message").unwrap_or_default();
    findings.check(outcome.stderr.contains(message), || {
        format!(
            "{name}: the error does not name {message}: {}",
            outcome.stderr.trim()
        )
    });
}

/// `open --test-passphrase` answers for every key of the description, and for a wrong one.
fn takes_each_key(
    vector: &Vector,
    unpacked: &Unpacked,
    scratch: &Scratch,
    findings: &mut Findings,
) {
    let name = &vector.name;
    let mut check = |what: &str, words: &[OsString], expected: i32| {
        let mut words = words.to_vec();
        words.push("--test-passphrase".into());
        let outcome = run("open", &words, unpacked, &[]);
        findings.check(outcome.code == Some(expected), || {
            format!(
                "{name}: {what}: expected {expected}, got {:?}: {}",
                outcome.code,
                outcome.stderr.trim()
            )
        });
    };
    let code = vector
        .number("test-passphrase")
        .map_or(vector.exit(), |code| code.try_into().unwrap());
    check("the key", &key_words(vector, unpacked), code);
    if let Some(keyslot) = vector.field("keyslot") {
        let mut words = key_words(vector, unpacked);
        // The description's own key opens keyslot 0; `keyslot` is that of `other-key` where one copy is stale.
        let keyslot = if vector
            .field("other-key")
            .is_some_and(|key| key.starts_with(keyslot))
        {
            "0"
        } else {
            keyslot
        };
        words.extend(words!["--key-slot", keyslot]);
        check("the key in its keyslot", &words, 0);
    }
    let key_file = |passphrase: &str| scratch.file("other-key", passphrase.as_bytes());
    for (keyslot, passphrase) in vector.keys("other-key") {
        check(
            "another key",
            &words!["--key-file", key_file(&passphrase)],
            0,
        );
        let keyslot = keyslot.to_string();
        check(
            "another key in its keyslot",
            &words!["--key-file", key_file(&passphrase), "--key-slot", keyslot],
            0,
        );
    }
    for (keyslot, passphrase) in vector.keys("ignored-key") {
        let words = words![
            "--key-file",
            key_file(&passphrase),
            "--key-slot",
            keyslot.to_string()
        ];
        check("an ignored keyslot's key, named", &words, 0);
        if vector.expect() == Expect::Open {
            check(
                "an ignored keyslot's key, not named",
                &words!["--key-file", key_file(&passphrase)],
                2,
            );
        }
    }
    for (keyslot, passphrase) in vector.keys("unbound-key") {
        let words = words![
            "--key-file",
            key_file(&passphrase),
            "--key-slot",
            keyslot.to_string()
        ];
        check("an unbound keyslot's key, named", &words, 0);
    }
    // Where the last keyslot tried is an unbound one cryptsetup says 1, "no usable keyslot", for a wrong key too.
    if vector.expect() == Expect::Open && vector.field("unbound-key").is_none() {
        check("a wrong key", &words!["--key-file", key_file("wrong")], 2);
    }
}

#[test]
fn every_image_made_through_dm_crypt_is_read_or_refused_by_name() {
    let truths = ground_truth::all_or_skip("images made through dm-crypt");
    if truths.is_empty() {
        return;
    }
    for_each(&truths, |truth, findings| {
        let scratch = Scratch::new();
        let image = truth.unpack(&scratch);
        let before = sha256_hex_of_file(&image);
        let key = scratch.file("key", truth.passphrase());
        let plaintext = scratch.path("plaintext");
        let outcome = lucarne(words!["decrypt", "--key-file", &key, &image, &plaintext]);
        match refused_by(truth) {
            None => {
                let matches = outcome.code == Some(0) && truth.check_plaintext(&plaintext).is_ok();
                findings.check(matches, || {
                    format!(
                        "{}: decrypt ended with {:?}: {}; {:?}",
                        truth.name,
                        outcome.code,
                        outcome.stderr.trim(),
                        truth.check_plaintext(&plaintext)
                    )
                });
            }
            Some(name) => {
                findings.equal(
                    &format!("{}: exit code", truth.name),
                    &outcome.code,
                    &Some(1),
                );
                findings.check(outcome.stderr.contains(&name), || {
                    format!(
                        "{}: the error does not name {name}: {}",
                        truth.name,
                        outcome.stderr.trim()
                    )
                });
                findings.check(!plaintext.exists(), || {
                    format!("{}: decrypt left an OUT", truth.name)
                });
                one_line(&truth.name, &outcome, findings);
            }
        }
        findings.equal(
            &format!("{}: image", truth.name),
            &sha256_hex_of_file(&image),
            &before,
        );
    });
}

/// What an error must name for an image that is not read here.
fn refused_by(truth: &Truth) -> Option<String> {
    if truth.has_integrity() {
        Some("integrity".to_owned())
    } else if !matches!(
        truth.cipher(),
        "aes-xts-plain64" | "aes-cbc-essiv:sha256" | "aes-cbc-plain64"
    ) {
        Some(truth.cipher().to_owned())
    } else {
        None
    }
}

/// Further keyslots of the image that has many: KDFs, priorities, a key file, an unbound one.
#[test]
fn every_keyslot_of_the_image_with_many_opens() {
    let truths = ground_truth::all_or_skip("the image with many keyslots");
    let Some(truth) = truths.iter().find(|truth| truth.name == "argon2id-multi") else {
        return;
    };
    let scratch = Scratch::new();
    let image = truth.unpack(&scratch);
    let first = scratch.file("first", truth.passphrase());
    let second = scratch.file("second", b"second");
    let third = scratch.file("third", &lucarne_testkit::payload::stream("keyfile", 4096));
    let mut findings = Findings::default();
    for (key, options, expected) in [
        (&first, &[][..], 0),
        (&first, &["--key-slot", "0"], 0),
        (&first, &["--key-slot", "5"], 2),
        (&second, &[], 0),
        (&second, &["--key-slot", "5"], 0),
        (&second, &["--key-slot", "0"], 2),
        (&third, &[], 0),
        (&third, &["--key-slot", "31"], 0),
        (&third, &["--keyfile-size", "4095"], 2),
        (&first, &["--key-slot", "1"], 1),
    ] {
        findings.case();
        let mut words = vec![
            OsString::from("open"),
            "--test-passphrase".into(),
            "--key-file".into(),
            key.into(),
        ];
        words.extend(options.iter().map(OsString::from));
        words.push((&image).into());
        let outcome = lucarne(&words);
        findings.equal(
            &format!("{key:?} {options:?} {}", outcome.stderr.trim()),
            &outcome.code,
            &Some(expected),
        );
    }
    findings.finish();
}

/// The words that give the key of a description.
fn key_words(vector: &Vector, unpacked: &Unpacked) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["--key-file".into(), unpacked.key_file.clone().into()];
    words.extend(vector.key_file_options().into_iter().map(OsString::from));
    words
}

/// A verb on an image: options, the image, further words.
fn run(verb: &str, options: &[OsString], unpacked: &Unpacked, further: &[OsString]) -> Outcome {
    let mut words: Vec<OsString> = vec![verb.into(), "--batch-mode".into()];
    words.extend_from_slice(options);
    if let Some(header) = &unpacked.header {
        words.extend(words!["--header", header]);
    }
    words.push(unpacked.image.clone().into());
    words.extend_from_slice(further);
    lucarne(words)
}

fn compare_file(name: &str, what: &str, file: &Path, expected: &[u8], findings: &mut Findings) {
    let bytes = std::fs::read(file).unwrap_or_default();
    findings.check(bytes == expected, || {
        format!(
            "{name}: {what}: {} bytes of SHA-256 {}, expected {} of {}",
            bytes.len(),
            sha256_hex(&bytes),
            expected.len(),
            sha256_hex(expected)
        )
    });
}

/// One line, lower case, no full stop.
fn one_line(name: &str, outcome: &Outcome, findings: &mut Findings) {
    let lines = outcome.stderr.lines().count();
    findings.check(
        lines == 1 && !outcome.stderr.trim_end().ends_with('.'),
        || {
            format!(
                "{name}: not one line without a full stop: {:?}",
                outcome.stderr
            )
        },
    );
}

fn hashes(unpacked: &Unpacked) -> Vec<String> {
    std::iter::once(&unpacked.image)
        .chain(&unpacked.header)
        .map(|path| sha256_hex_of_file(path))
        .collect()
}
