//! Unfinished re-encryptions: forged, interrupted, with others at work on the same image.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{CHEAP, assert_refused, command, decrypted, key_file, lucarne, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::half_reencrypted::{PASSPHRASE, state};
use lucarne_testkit::luks2;
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;
use serde_json::{Value, json};

const PAYLOAD_LEN: usize = 8 << 20;

fn payload() -> Vec<u8> {
    stream("recovery", PAYLOAD_LEN)
}

fn volume(scratch: &Scratch) -> PathBuf {
    common::encrypted(
        scratch,
        "image",
        &payload(),
        &["--luks2-keyslots-size", "4M"],
    )
}

fn with_key(verb: &str, scratch: &Scratch, options: &[&str], image: &Path) -> Vec<OsString> {
    let mut line = words![verb, "-q", "--key-file", key_file(scratch)].to_vec();
    line.extend(options.iter().map(OsString::from));
    line.push(image.into());
    line
}

fn reencrypt(scratch: &Scratch, options: &[&str], image: &Path) -> Vec<OsString> {
    with_key("reencrypt", scratch, &[&CHEAP, options].concat(), image)
}

/// The fixtures have their UUIDs in common, and a volume of one UUID is re-encrypted by one process at a time.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json_of(image: &Path) -> Value {
    luks2::json(&std::fs::read(image).unwrap(), 0)
}

#[test]
fn forged_metadata_is_refused_by_the_verbs_that_would_act_on_it() {
    let _one_at_a_time = one_at_a_time();
    let cases: [(&str, &str, Value, &str); 8] = [
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/mode",
            json!("decrypt"),
            "do not vouch",
        ),
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/area/hash",
            json!("sha512"),
            "do not vouch",
        ),
        (
            "reencrypt/checksum-torn",
            "/keyslots/2/area/sector_size",
            json!(8192),
            "do not vouch",
        ),
        (
            "reencrypt/checksum-torn",
            "/segments/4/offset",
            json!("1052672"),
            "do not vouch",
        ),
        (
            "reencrypt/checksum-torn",
            "/digests/2/iterations",
            json!(1001),
            "do not vouch",
        ),
        (
            "reencrypt/checksum-torn",
            "/segments/1/size",
            json!("8192"),
            "segment",
        ),
        (
            "reencrypt/checksum-torn",
            "/digests/1/segments",
            json!(["1", "0", "4", "2"]),
            "segment 2",
        ),
        (
            "reencrypt/journal-torn",
            "/segments/1/iv_tweak",
            json!("0"),
            "iv_tweak",
        ),
    ];
    for (name, member, value, message) in cases {
        let mut forged = state(name);
        luks2::edit_json(&mut forged.image, |json| {
            *json.pointer_mut(member).unwrap() = value.clone();
        });
        for verb in [vec!["reencrypt", "--resume-only"], vec!["repair"]] {
            let scratch = Scratch::new();
            let key = scratch.file("key", PASSPHRASE);
            let image = scratch.file("image", &forged.image);
            let mut line: Vec<OsString> = verb.iter().map(OsString::from).collect();
            line.extend(words!["-q", "--key-file", key, &image]);
            let what = format!("{verb:?} of {name}, {member} = {value}");
            // As for a passphrase that is none.
            let code = if message == "do not vouch" { 2 } else { 1 };
            assert_refused(&what, &lucarne(line), code, message);
            assert!(std::fs::read(image).unwrap() == forged.image, "{what}");
        }
    }
}

/// As cryptsetup's does: the interrupted zone and no more.
#[test]
fn repair_finishes_the_interrupted_zone() {
    let _one_at_a_time = one_at_a_time();
    for name in [
        "reencrypt/checksum-torn",
        "reencrypt/journal-torn",
        "encrypt-shift/zone-torn",
    ] {
        let torn = state(name);
        let scratch = Scratch::new();
        let key = scratch.file("key", PASSPHRASE);
        let image = scratch.file("image", &torn.image);
        let repair = || must(words!["repair", "-q", "-v", "--key-file", &key, &image]);
        let said = String::from_utf8(repair()).unwrap();
        assert!(said.contains("of the plaintext"), "{name}: {said}");
        let repaired = std::fs::read(&image).unwrap();
        let header = luks2::json(&repaired, 0);
        assert!(
            !header["segments"].to_string().contains("in-reencryption"),
            "{name}"
        );
        assert!(
            header["config"]["requirements"].is_object(),
            "{name}: it goes on later"
        );
        let read = |image: &Path| {
            let len = torn.payload.len().to_string();
            must(words!["read", "--key-file", &key, "--length", len, image])
        };
        assert!(read(&image) == torn.payload, "{name}");
        // Nothing is left to repair.
        repair();
        assert!(std::fs::read(&image).unwrap() == repaired, "{name}");
        if let Some(cryptsetup) = Cryptsetup::or_skip("a repaired re-encryption") {
            let theirs = scratch.copy(&image, "theirs");
            let mut line = words!["reencrypt", "-q", "--resume-only"].to_vec();
            line.extend(words![
                "--force-offline-reencrypt",
                "--key-file",
                &key,
                &theirs
            ]);
            cryptsetup.must(line);
            assert!(
                read(&theirs) == torn.payload,
                "{name}, finished by cryptsetup"
            );
        }
        must(words![
            "reencrypt",
            "-q",
            "--resume-only",
            "--key-file",
            &key,
            &image
        ]);
        assert!(read(&image) == torn.payload, "{name}, finished");
    }
}

/// cryptsetup destroys the old keyslots before it drops the metadata; killed there, it refuses to go on.
#[test]
fn what_cryptsetup_leaves_at_its_end_is_finished() {
    let _one_at_a_time = one_at_a_time();
    for name in ["all-new", "all-new-old-key-wiped", "all-new-old-key-gone"] {
        let left = state(&format!("reencrypt/{name}"));
        let scratch = Scratch::new();
        let key = scratch.file("key", PASSPHRASE);
        let image = scratch.file("image", &left.image);
        let outcome = lucarne(words![
            "reencrypt",
            "-q",
            "--resume-only",
            "--key-file",
            &key,
            &image
        ]);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
        let is_gone = name.ends_with("gone");
        assert_eq!(
            !outcome.stderr.contains("keyslot 0 of the old one"),
            is_gone,
            "{name}"
        );
        let len = left.payload.len().to_string();
        let read = must(words!["read", "--key-file", &key, "--length", len, &image]);
        assert!(read == left.payload, "{name}");
        if !is_gone {
            must(words!["luksKillSlot", "-q", &image, "0"]);
        }
        assert_eq!(
            json_of(&image)["keyslots"].as_object().unwrap().len(),
            1,
            "{name}"
        );
    }
}

#[test]
fn an_unprotected_zone_needs_a_word_to_go_on() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    must(reencrypt(
        &scratch,
        &["--init-only", "--resilience", "none"],
        &image,
    ));
    // As if it had been killed in its first zone, before a byte of it was written: no digest covers that.
    let mut bytes = std::fs::read(&image).unwrap();
    luks2::edit_json(&mut bytes, |json| {
        let segments = &json["segments"];
        let (old, previous, last) = (&segments["0"], &segments["1"], &segments["2"]);
        let (mut hot, mut old) = (last.clone(), old.clone());
        hot["size"] = json!("65536");
        hot["flags"] = json!(["in-reencryption"]);
        let offset: u64 = old["offset"].as_str().unwrap().parse().unwrap();
        old["offset"] = json!((offset + 65_536).to_string());
        old["iv_tweak"] = json!("128");
        json["segments"] = json!({"0": hot, "1": old, "2": previous, "3": last});
        json["digests"]["0"]["segments"] = json!(["0", "1", "2"]);
        json["digests"]["1"]["segments"] = json!(["0", "3"]);
    });
    std::fs::write(&image, &bytes).unwrap();
    for verb in [
        reencrypt(&scratch, &["--resume-only"], &image),
        with_key("repair", &scratch, &[], &image),
    ] {
        assert_refused(
            "an unprotected zone",
            &lucarne(verb),
            4,
            "--unprotected-zone old|new",
        );
    }
    assert!(std::fs::read(&image).unwrap() == bytes);
    let alone = lucarne(reencrypt(&scratch, &["--unprotected-zone", "old"], &image));
    assert_refused("without --resume-only", &alone, 1, "--resume-only");
    let resume = ["--resume-only", "--unprotected-zone", "old"];
    let outcome = lucarne(reencrypt(&scratch, &resume, &image));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("bytes 0..65536"),
        "{}",
        outcome.stderr
    );
    assert!(decrypted(&scratch, &image, &[]) == payload());
}

#[test]
fn tokens_serve_the_keyslot_that_takes_anothers_place_as_in_cryptsetup() {
    let Some(cryptsetup) = Cryptsetup::or_skip("tokens and a re-encryption") else {
        return;
    };
    let scratch = Scratch::new();
    let ours = volume(&scratch);
    let other = scratch.file("other", b"another");
    let mut add = with_key("luksAddKey", &scratch, &CHEAP, &ours);
    add.push(other.into());
    must(add);
    for keyslots in ["[\"0\"]", "[\"1\"]", "[\"0\",\"1\"]", "[]"] {
        let token = format!("{{\"type\":\"mine\",\"keyslots\":{keyslots}}}");
        let file = scratch.file("token", token.as_bytes());
        must(words!["token", "import", "--json-file", file, &ours]);
    }
    must(words![
        "config",
        "--priority",
        "prefer",
        "--key-slot",
        "0",
        &ours
    ]);
    let theirs = scratch.copy(&ours, "theirs");
    for (options, is_done) in [
        (["--key-slot", "0", "--init-only"].as_slice(), false),
        (&["--resume-only"], true),
    ] {
        must(reencrypt(&scratch, options, &ours));
        let mut line = reencrypt(&scratch, options, &theirs);
        line.push("--force-offline-reencrypt".into());
        cryptsetup.must(line);
        let (ours, theirs) = (json_of(&ours), json_of(&theirs));
        assert_eq!(ours["tokens"], theirs["tokens"], "{options:?}");
        for (id, keyslot) in theirs["keyslots"].as_object().unwrap() {
            assert_eq!(
                ours["keyslots"][id]["priority"], keyslot["priority"],
                "{options:?}, {id}"
            );
        }
        assert_eq!(ours["tokens"]["0"]["keyslots"] == json!(["2"]), is_done);
    }
}

/// Somebody writes to the volume, and meanwhile it is re-encrypted, here or by cryptsetup: the writer stops before it
/// writes under the old key.
#[test]
fn a_writer_stops_when_the_volume_is_reencrypted() {
    let by_cryptsetup = Cryptsetup::or_skip("a re-encryption under a writer");
    for cryptsetup in [None, by_cryptsetup] {
        let scratch = Scratch::new();
        let image = volume(&scratch);
        let mut writer = command()
            .args(with_key("write", &scratch, &["--offset", "1M"], &image))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        stdin.write_all(&[0x5a; 1 << 20]).unwrap();
        let mut expected = payload();
        expected[1 << 20..2 << 20].fill(0x5a);
        while decrypted(&scratch, &image, &[]) != expected {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // Others may change keys meanwhile.
        let mut add = with_key("luksAddKey", &scratch, &CHEAP, &image);
        add.push(scratch.file("other", b"another").into());
        must(add);
        stdin.write_all(&[0x5a; 1 << 20]).unwrap();
        expected[2 << 20..3 << 20].fill(0x5a);
        while decrypted(&scratch, &image, &[]) != expected {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let begin = reencrypt(&scratch, &["--key-slot", "0"], &image);
        match &cryptsetup {
            None => {
                // Ours knows of the writer, unless it is told not to look.
                assert_eq!(lucarne(&begin).code, Some(5));
                let unasked: Vec<_> = begin
                    .into_iter()
                    .chain(["--disable-locks".into()])
                    .collect();
                must(unasked);
            }
            Some(cryptsetup) => {
                cryptsetup.must(
                    begin
                        .into_iter()
                        .chain(["--force-offline-reencrypt".into()]),
                );
            }
        }
        // It may have gone before it reads this.
        let _ = stdin.write_all(&[0xa5; 1 << 20]);
        drop(stdin);
        let output = writer.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains("reencrypt"), "{stderr}");
        assert!(decrypted(&scratch, &image, &[]) == expected);
    }
}

/// While one is at work, stopped between two moments: the header is its own.
#[test]
fn nobody_changes_keys_or_data_while_a_reencryption_is_under_way() {
    let scratch = Scratch::new();
    let image = volume(&scratch);
    must(reencrypt(&scratch, &["--init-only"], &image));
    let other = scratch.file("other", b"another");
    let before = std::fs::read(&image).unwrap();
    let mut add = with_key("luksAddKey", &scratch, &CHEAP, &image);
    add.push(other.into());
    let cases = [
        (add.clone(), 1, "online-reencrypt"),
        (with_key("write", &scratch, &[], &image), 1, "--resume-only"),
        (
            words!["config", "--label", "x", &image].to_vec(),
            1,
            "online-reencrypt",
        ),
        (
            words!["convert", "-q", "--type", "luks1", &image].to_vec(),
            1,
            "",
        ),
    ];
    for (line, code, message) in cases {
        let outcome = common::lucarne_with_stdin(&line, b"x");
        assert_refused(&format!("{line:?}"), &outcome, code, message);
        assert!(std::fs::read(&image).unwrap() == before, "{line:?}");
    }
    if let Some(cryptsetup) = Cryptsetup::or_skip("luksAddKey during a re-encryption") {
        assert_ne!(cryptsetup.run(add).code, Some(0));
        assert!(std::fs::read(&image).unwrap() == before);
    }
    must(reencrypt(&scratch, &["--resume-only"], &image));
    assert!(decrypted(&scratch, &image, &[]) == payload());
}
