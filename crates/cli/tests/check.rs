//! `check`, and the verbs that judge a header before they open it.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use common::{CHEAP, assert_refused, key_file, lucarne, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;
use serde_json::{Value, json};

const PLAINTEXT: &[u8] = b"what the volume holds";

fn volume(scratch: &Scratch) -> PathBuf {
    common::encrypted(scratch, "image", PLAINTEXT, &["--no-length"])
}

/// Runs `check` and shows that the image stays as it is.
fn check(image: &Path, options: &[&str]) -> Outcome {
    let before = std::fs::read(image).unwrap();
    let mut arguments = words!["check", image].to_vec();
    arguments.extend(options.iter().map(OsString::from));
    let outcome = lucarne(arguments);
    assert!(
        std::fs::read(image).unwrap() == before,
        "check wrote to the image"
    );
    outcome
}

fn check_json(image: &Path, options: &[&str]) -> (Option<i32>, Value) {
    let outcome = check(image, &[options, &["--json"]].concat());
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text} {}", outcome.stderr);
    (outcome.code, serde_json::from_str(&text).unwrap())
}

#[test]
fn the_exit_code_is_the_verdict() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    let outcome = check(&image, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "");
    let text = String::from_utf8(outcome.stdout).unwrap();
    let expected = "\
severity  rule                          field                      value  allowed
warning   passphrase-pbkdf2-iterations  keyslots.0.kdf.iterations  1000   at least 100000

policy             default-1 holds
uuid               ";
    assert!(text.starts_with(expected), "{text}");

    let outcome = check(&image, &["--policy", "strict-1"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stderr,
        format!(
            "lucarne: {}: 1 violation of policy strict-1\n",
            image.display()
        )
    );
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(
        text.contains("\nviolation  passphrase-pbkdf2-iterations"),
        "{text}"
    );
    assert!(
        text.contains("\npolicy             strict-1 broken: 1 violation\n"),
        "{text}"
    );

    let outcome = check(&image, &["--policy", "legacy"]);
    assert_eq!(outcome.code, Some(0));
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(
        text.starts_with("policy             legacy-1 holds\n"),
        "{text}"
    );
}

#[test]
fn the_json_is_what_the_manual_says() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    let (code, json) = check_json(&image, &["--policy", "strict-1"]);
    assert_eq!(code, Some(1));
    let members: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "version",
            "policy",
            "holds",
            "violations",
            "findings",
            "findings_left_out",
            "uuid",
            "volume_key_digest",
            "header_hash"
        ]
    );
    assert_eq!(json["version"], 1);
    assert_eq!(json["policy"], "strict-1");
    assert_eq!(json["holds"], false);
    assert_eq!(json["violations"], 1);
    assert_eq!(
        json["findings"],
        json!([{
            "rule": "passphrase-pbkdf2-iterations",
            "severity": "violation",
            "field": "keyslots.0.kdf.iterations",
            "value": "1000",
            "limit": "at least 100000",
        }])
    );
    let pages = scratch.path("man");
    std::fs::create_dir(&pages).unwrap();
    must(words!["man", &pages]);
    let page = std::fs::read_to_string(pages.join("lucarne-check.1")).unwrap();
    for member in members {
        assert!(page.contains(member.as_str()), "{member} is not in it");
    }
    let (code, json) = check_json(&image, &[]);
    assert_eq!(code, Some(0));
    assert_eq!(json["holds"], true);
    assert_eq!(json["findings"][0]["severity"], "warning");
}

#[test]
fn what_check_prints_is_what_can_be_expected() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    let (_, json) = check_json(&image, &[]);
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    let (uuid, digest, hash) = (text("uuid"), text("volume_key_digest"), text("header_hash"));
    let expected = [
        "--expect-uuid",
        &uuid,
        "--expect-volume-key-digest",
        &digest,
        "--expect-header-hash",
        &hash,
    ];
    let (code, json) = check_json(&image, &expected);
    assert_eq!((code, &json["violations"]), (Some(0), &json!(0)));

    // luksDump shows the same digest.
    let dump = String::from_utf8(must(words!["luksDump", &image])).unwrap();
    let (_, shown) = dump.split_once("\tDigest:").unwrap();
    let shown: String = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let (code, _) = check_json(&image, &["--expect-volume-key-digest", &shown]);
    assert_eq!(code, Some(0), "{shown}");

    // A label changes the header's hash and nothing else that can be expected.
    let mut bytes = std::fs::read(&image).unwrap();
    for copy in [0, luks2::header_len(&bytes, 0)] {
        bytes[copy + 24] = b'x';
        luks2::fix_checksum(&mut bytes, copy);
    }
    std::fs::write(&image, bytes).unwrap();
    let (code, json) = check_json(&image, &expected);
    assert_eq!(code, Some(1));
    assert_eq!(json["violations"], 1);
    let finding = &json["findings"][1];
    assert_eq!(finding["rule"], "expect-header-hash");
    assert_eq!(finding["limit"], json!(hash));
    assert_eq!(finding["value"], json["header_hash"]);

    // Another volume is none of it.
    let other = common::encrypted(&scratch, "other", PLAINTEXT, &[]);
    let (code, json) = check_json(&other, &expected);
    assert_eq!((code, &json["violations"]), (Some(1), &json!(3)));
}

/// What is printed as a file is the same policy, and a file changes what it says and no more.
#[test]
fn a_policy_can_be_ones_own() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    for preset in ["default", "strict-1", "legacy-1"] {
        let printed = must(["check", "--policy", preset, "--print-policy"]);
        let file = scratch.file("printed.json", &printed);
        let again = must(words!["check", "--policy", &file, "--print-policy"]);
        assert_eq!(printed, again);
        let (code, json) = check_json(&image, &["--policy", file.to_str().unwrap()]);
        let (of_preset, json_of_preset) = check_json(&image, &["--policy", preset]);
        assert_eq!((code, json), (of_preset, json_of_preset));
    }
    let own = json!({
        "name": "ours",
        "base": "strict-1",
        "rules": {"passphrase-pbkdf2-iterations": {"min": 1000}, "key-bits": [256]},
    });
    let file = scratch.file("ours.json", own.to_string().as_bytes());
    let (code, json) = check_json(&image, &["--policy", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert_eq!(json["policy"], "ours");
    assert_eq!(json["findings"].as_array().unwrap().len(), 1);
    assert_eq!(json["findings"][0]["rule"], "key-bits");
    assert_eq!(json["findings"][0]["value"], "512");
}

#[test]
fn mistakes_are_said_in_one_line() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    let no_volume = scratch.file("no-volume", &[7; 65536]);
    let luks1 = scratch.file(
        "luks1",
        &[b"LUKS\xba\xbe\0\x01".as_slice(), &[0; 65536]].concat(),
    );
    let file = |name: &str, text: &str| scratch.file(name, text.as_bytes());
    let no_json = file("no.json", "{");
    let no_base = file("base.json", r#"{"rules": {}}"#);
    let no_rule = file(
        "rule.json",
        r#"{"base": "default", "rules": {"ciphers": []}}"#,
    );
    let no_member = file("member.json", r#"{"base": "default", "limits": {}}"#);
    let long = file("long.json", &" ".repeat((1 << 20) + 1));
    let policy = |file: &Path| words!["check", &image, "--policy", file].to_vec();
    let missing = scratch.path("missing");
    for (arguments, code, message) in [
        (
            words!["check", &image, "--policy", "strict"].to_vec(),
            4,
            "--policy strict: neither a preset (default, strict-1, legacy) nor a file",
        ),
        (policy(&no_json), 1, "policy file: EOF"),
        (
            policy(&no_base),
            1,
            "policy file: base: missing; there are default-1",
        ),
        (policy(&no_rule), 1, "policy file: \"ciphers\" is no rule"),
        (
            policy(&no_member),
            1,
            "policy file: unknown member \"limits\"",
        ),
        (policy(&long), 1, "longer than 1048576 bytes"),
        (policy(scratch.dir()), 4, "Is a directory"),
        (
            words!["check", &image, "--expect-volume-key-digest", "00ff"].to_vec(),
            1,
            "--expect-volume-key-digest: a volume key's digest is 20 to 64 bytes in hexadecimal",
        ),
        (
            words!["check", &image, "--expect-header-hash", "xyz"].to_vec(),
            1,
            "--expect-header-hash: a header's hash is 32 bytes in hexadecimal",
        ),
        (words!["check"].to_vec(), 1, "were not provided: <IMAGE>"),
        (words!["check", &missing].to_vec(), 4, "No such file"),
        (
            words!["check", &image, "--header", &missing].to_vec(),
            4,
            "No such file",
        ),
        (words!["check", &no_volume].to_vec(), 1, "not a LUKS volume"),
        (words!["check", &luks1].to_vec(), 1, "not supported: hash"),
        (
            words!["check", "--print-policy", &image].to_vec(),
            1,
            "--print-policy",
        ),
        (
            words!["luksDump", "--policy", "strict-1", &image].to_vec(),
            1,
            "--policy: not allowed with luksDump",
        ),
    ] {
        let outcome = lucarne(&arguments);
        assert_refused(&format!("{arguments:?}"), &outcome, code, message);
        assert!(outcome.stdout.is_empty());
    }
}

/// The verbs that open refuse what `check` refuses, before a passphrase counts, and make nothing.
#[test]
fn the_verbs_that_open_judge_too() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    let key = key_file(&scratch);
    let wrong_key = scratch.file("wrong", b"wrong");
    let out = scratch.path("out");
    let (_, json) = check_json(&image, &[]);
    let digest = json["volume_key_digest"].as_str().unwrap();
    let other = "00".repeat(32);
    let verbs = |key: &Path| {
        [
            words!["decrypt", "--key-file", key, &image, &out].to_vec(),
            words!["read", "--key-file", key, &image].to_vec(),
            words!["write", "--key-file", key, &image].to_vec(),
            words!["open", "--test-passphrase", "--key-file", key, &image].to_vec(),
        ]
    };
    let before = std::fs::read(&image).unwrap();
    for verb in verbs(&wrong_key) {
        for options in [
            ["--policy", "strict-1"],
            ["--expect-volume-key-digest", &other],
            ["--expect-uuid", "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d"],
            ["--expect-header-hash", &other],
        ] {
            let outcome = lucarne(verb.iter().cloned().chain(options.map(OsString::from)));
            // The passphrase is wrong, and yet it is not what is complained of.
            assert_eq!(outcome.code, Some(1), "{verb:?} {}", outcome.stderr);
            let (_, message) = outcome.stderr.split_once(": refused: policy ").unwrap();
            let rule = options[0].strip_prefix("--").unwrap();
            assert!(message.contains(rule) || rule == "policy", "{message}");
            assert_eq!(outcome.stderr.lines().count(), 1);
            assert!(outcome.stdout.is_empty());
        }
    }
    assert!(!out.exists());
    assert!(std::fs::read(&image).unwrap() == before);
    for verb in verbs(&key) {
        let options = ["--policy", "default", "--expect-volume-key-digest", digest];
        let outcome = lucarne(verb.iter().cloned().chain(options.map(OsString::from)));
        assert_eq!(outcome.code, Some(0), "{verb:?} {}", outcome.stderr);
    }
    assert!(std::fs::read(&out).unwrap().starts_with(PLAINTEXT));
}

/// The data may begin anywhere on its own device, but nowhere else than behind a header on the same.
#[test]
fn a_detached_header_is_judged_with_its_device() {
    let scratch = Scratch::new();
    let plain = scratch.file("plain", &[1; 8192]);
    let (header, data) = (scratch.path("header"), scratch.path("data"));
    let key = key_file(&scratch);
    let mut arguments = words!["encrypt", "--batch-mode", "--header", &header].to_vec();
    arguments.extend(CHEAP.map(OsString::from));
    arguments.extend(words!["--key-file", &key, &plain, &data]);
    must(arguments);
    let option = ["--header", header.to_str().unwrap()];
    assert_eq!(check(&data, &option).code, Some(0));
    let (code, json) = check_json(&header, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(json["findings"][0]["rule"], "segment-bounds");
    assert_eq!(json["findings"][0]["field"], "segments.0.offset");
}

/// What cryptsetup makes unless told otherwise passes `default`, on whatever machine it was calibrated.
#[test]
fn cryptsetups_own_volumes_pass_the_default_policy() {
    let Some(cryptsetup) = Cryptsetup::or_skip("volumes of its defaults") else {
        return;
    };
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let small = ["--iter-time", "100"];
    let cases: [&[&str]; 11] = [
        &small,
        &["--iter-time", "100", "--pbkdf", "argon2i"],
        &["--iter-time", "500", "--pbkdf", "pbkdf2"],
        &["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"],
        // As a small machine calibrates, and the least that can be asked for.
        &["--pbkdf-memory", "65536", "--pbkdf-force-iterations", "4"],
        &["--pbkdf-memory", "32", "--pbkdf-force-iterations", "4"],
        // As a fast one.
        &[
            "--key-size",
            "256",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "20000000",
        ],
        &[
            "--hash",
            "sha512",
            "--iter-time",
            "100",
            "--sector-size",
            "512",
        ],
        &[
            "--luks2-metadata-size",
            "4m",
            "--luks2-keyslots-size",
            "128m",
            "--iter-time",
            "100",
        ],
        &[
            "--label",
            "root",
            "--subsystem",
            "disk",
            "--iter-time",
            "100",
        ],
        &["--offset", "65536", "--iter-time", "100"],
    ];
    for (index, options) in cases.iter().enumerate() {
        let image = scratch.zeros(&format!("image-{index}"), 160 << 20);
        let mut arguments =
            words!["luksFormat", "--type", "luks2", "-q", "--key-file", &key].to_vec();
        arguments.extend(options.iter().map(OsString::from));
        arguments.push((&image).into());
        cryptsetup.must(&arguments);
        let outcome = lucarne(words!["check", "--json", &image]);
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert_eq!(outcome.code, Some(0), "{options:?}: {text}");
        std::fs::remove_file(image).unwrap();
    }
    // And of the defaults, calibrated here, the strictest takes all but a short calibration.
    let image = scratch.zeros("strict", 64 << 20);
    let arguments = words![
        "luksFormat",
        "--type",
        "luks2",
        "-q",
        "--key-file",
        &key,
        &image
    ];
    cryptsetup.must(
        arguments
            .iter()
            .chain(&["--iter-time", "500"].map(OsString::from)),
    );
    let outcome = lucarne(words!["check", "--policy", "strict-1", &image]);
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(outcome.code, Some(0), "{text}");
    // It computes the header's hash as the manual tells.
    let bytes = std::fs::read(&image).unwrap();
    let mut copy = bytes[..luks2::header_len(&bytes, 0)].to_vec();
    copy[104..168].fill(0);
    copy[448..512].fill(0);
    let hash = lucarne_testkit::payload::sha256_hex(&copy);
    assert!(text.contains(&hash), "{text}");
}

/// The rules are LUKS2's: no LUKS1 header passes one, nor a pin.
#[test]
fn luks1_passes_no_policy() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let image = scratch.zeros("image", 4 << 20);
    let mut line = words!["luksFormat", "-q", "--type", "luks1", "--key-file", &key].to_vec();
    line.extend(words!["--pbkdf-force-iterations", "1000", &image]);
    must(line);
    let opened = words!["open", "--test-passphrase", "--key-file", &key, &image];
    must(&opened);
    let uuid = String::from_utf8(must(words!["luksUUID", &image])).unwrap();
    for arguments in [
        words!["check", &image].to_vec(),
        words!["check", &image, "--policy", "legacy"].to_vec(),
        [&opened[..], &words!["--policy", "default"]].concat(),
        [&opened[..], &words!["--expect-uuid", uuid.trim()]].concat(),
    ] {
        let outcome = lucarne(&arguments);
        assert_eq!(outcome.code, Some(1), "{arguments:?}: {}", outcome.stderr);
        let said = outcome.text() + &outcome.stderr;
        assert!(said.contains("version"), "{arguments:?}: {said}");
    }
}
