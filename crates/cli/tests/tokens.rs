//! Tokens: `token` beside cryptsetup, its mistakes, and keyslots that a token opens.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::time::{Duration, Instant};

use common::folder::{self, done, ours, read};
use common::{CHEAP, Findings, PASSPHRASE, encrypted, lucarne, lucarne_with_stdin, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;
use serde_json::{Value, json};

/// A volume `image` of a few bytes with one key, and that key as `key`.
fn with_volume() -> Scratch {
    let scratch = Scratch::new();
    encrypted(&scratch, "image", b"what tokens open", &["--no-length"]);
    scratch
}

/// A token of a type that nobody knows, for the first keyslot.
const TOKEN: &[u8] = br#"{"type":"example","keyslots":["0"],"of":"here"}"#;

fn with_token() -> Scratch {
    let scratch = with_volume();
    scratch.file("token", TOKEN);
    done(&scratch, "token import --json-file @token @image");
    scratch
}

/// The verbs that open, with a token and a command that gives `answer` through the shell.
fn opened_by(scratch: &Scratch, command: &str, more: &str) -> Outcome {
    let mut words = folder::words(
        scratch,
        &format!("open --test-passphrase --token-only {more} @image"),
    );
    words.extend(words!["--token-command", command]);
    lucarne(words)
}

#[test]
fn token_json_is_taken_and_given_as_cryptsetup_does() {
    let Some(cryptsetup) = Cryptsetup::or_skip("token import and export") else {
        return;
    };
    // Text, our code, and cryptsetup's where it is not the same.
    let cases: &[(&str, i32, i32)] = &[
        (r#"{"type":"x","keyslots":[]}"#, 0, 0),
        (r#"{"type":"x","keyslots":["0"]}"#, 0, 0),
        (" {\"type\":\"x\",\n\"keyslots\":[\"0\"]}\n", 0, 0),
        (
            r#"{"keyslots":["0"],"n":{"a":[1,null,true,"s/lash","é"]},"type":"x"}"#,
            0,
            0,
        ),
        (
            r#"{"type":"luks2-keyring","keyslots":["0"],"key_description":"d"}"#,
            0,
            0,
        ),
        ("", 1, 1),
        ("{", 1, 1),
        ("[]", 1, 1),
        ("{}", 1, 1),
        ("null", 1, 1),
        (r#"{"type":"x"}"#, 1, 1),
        (r#"{"keyslots":[]}"#, 1, 1),
        (r#"{"type":1,"keyslots":[]}"#, 1, 1),
        (r#"{"type":"x","keyslots":{}}"#, 1, 1),
        (r#"{"type":"x","keyslots":[0]}"#, 1, 1),
        (r#"{"type":"x","keyslots":["9"]}"#, 1, 1),
        (r#"{"type":"x","keyslots":["-1"]}"#, 1, 1),
        (r#"{"type":"luks2-foo","keyslots":[]}"#, 1, 1),
        (r#"{"type":"luks2-keyring","keyslots":[]}"#, 1, 1),
        (
            r#"{"type":"luks2-keyring","keyslots":[],"key_description":7}"#,
            1,
            1,
        ),
        (
            r#"{"type":"luks2-keyring","keyslots":[],"key_description":"q","more":1}"#,
            1,
            1,
        ),
        // Two readers could see two documents.
        (r#"{"type":"x","keyslots":[]} trailing"#, 1, 0),
        (r#"{"type":"x","type":"y","keyslots":[]}"#, 1, 0),
    ];
    common::for_each(
        cases,
        |&(text, code, their_code), findings: &mut Findings| {
            let scratch = with_volume();
            let before = read(&scratch, "image");
            scratch.copy(&scratch.path("image"), "theirs");
            let import = "token import --json-file -";
            let outcome = lucarne_with_stdin(
                folder::words(&scratch, &format!("{import} @image")),
                text.as_bytes(),
            );
            let theirs = cryptsetup.run_with_stdin(
                folder::words(&scratch, &format!("{import} @theirs")),
                text.as_bytes(),
            );
            findings.check(outcome.code == Some(code), || {
                format!("{text}: {outcome:?}")
            });
            findings.check(theirs.code == Some(their_code), || {
                format!("{text}: {theirs:?}")
            });
            if code != 0 {
                findings.check(read(&scratch, "image") == before, || {
                    format!("{text}: changes the image")
                });
                findings.check(outcome.stderr.lines().count() == 1, || {
                    outcome.stderr.clone()
                });
                return;
            }
            let json = |name: &str| luks2::json(&read(&scratch, name), 0)["tokens"].take();
            findings.equal(text, &json("image"), &json("theirs"));
            let given = done(&scratch, "token export --token-id 0 @image");
            let their =
                cryptsetup.must(folder::words(&scratch, "token export --token-id 0 @theirs"));
            findings.equal(text, &given, &their);
            let given: Value = serde_json::from_str(&given).unwrap();
            findings.equal(text, &given, &serde_json::from_str(text).unwrap());
        },
    );
}

#[test]
fn hostile_token_files_are_bounded() {
    let scratch = with_volume();
    let before = read(&scratch, "image");
    let deep = [
        r#"{"type":"x","keyslots":[],"n":"#,
        &"[".repeat(40),
        &"]".repeat(40),
        "}",
    ]
    .concat();
    let wide = format!(
        r#"{{"type":"x","keyslots":[],"n":[{}0]}}"#,
        "0,".repeat(1 << 20)
    );
    let long = format!(
        r#"{{"type":"x","keyslots":[],"n":"{}"}}"#,
        "x".repeat(13 << 10)
    );
    let huge = format!(
        r#"{{"type":"x","keyslots":[],"n":"{}"}}"#,
        "x".repeat(5 << 20)
    );
    let zero = "{\"type\":\"x\",\"keyslots\":[],\"n\":\"\\u0000\"}";
    for (text, says) in [
        (deep.as_str(), "32 deep"),
        (&wide, "65536 values"),
        (&long, "12287"),
        (&huge, "more than 4194304 bytes"),
        (zero, "zero byte"),
        (
            "{\"type\":\"x\",\"keyslots\":[],\"n\":\"\u{0}\"}",
            "control character",
        ),
    ] {
        let outcome = lucarne_with_stdin(
            folder::words(&scratch, "token import @image"),
            text.as_bytes(),
        );
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
        assert!(outcome.stderr.len() < 400, "{}", outcome.stderr);
        assert!(read(&scratch, "image") == before);
    }
    let started = Instant::now();
    let endless = ours(&scratch, "token import --json-file /dev/zero @image");
    assert_eq!(endless.code, Some(1), "{}", endless.stderr);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_mistake_is_named_and_changes_nothing() {
    let Some(cryptsetup) = Cryptsetup::or_skip("mistakes with tokens") else {
        return;
    };
    let scratch = with_token();
    let names = scratch.names();
    let before: Vec<_> = names.iter().map(|name| read(&scratch, name)).collect();
    // Words, what is said, the exit code, and cryptsetup's.
    let cases: &[(&str, &str, i32, i32)] = &[
        ("token", "ACTION", 1, 1),
        ("token add", "DEVICE", 1, 1),
        ("token bogus @image", "bogus", 1, 1),
        ("token @image", "image", 1, 1),
        ("token add @image", "--key-description", 1, 1),
        (
            "token add --key-description= @image",
            "--key-description",
            1,
            1,
        ),
        (
            "token add --key-description d --token-id 0 @image",
            "token 0 is in use",
            1,
            1,
        ),
        (
            "token add --key-description d --token-id 32 @image",
            "0 to 31",
            1,
            1,
        ),
        (
            "token add --key-description d --key-slot 5 @image",
            "keyslot 5",
            1,
            1,
        ),
        (
            "token add --key-description d --key-slot 32 @image",
            "0 to 31",
            1,
            1,
        ),
        (
            "token add --key-description d --key-slot 0 --unbound @image",
            "--unbound",
            1,
            1,
        ),
        ("token add --key-description d @missing", "missing", 4, 4),
        (
            "token add --key-description d @key",
            "not a LUKS volume",
            1,
            1,
        ),
        (
            "token add --key-description d --header @missing @image",
            "missing",
            4,
            4,
        ),
        (
            "token add --key-description d --type luks1 @image",
            "luks1",
            1,
            0,
        ),
        ("token remove @image", "--token-id", 1, 1),
        ("token remove --token-id 7 @image", "token 7", 1, 1),
        ("token remove --token-id 32 @image", "0 to 31", 1, 1),
        ("token remove --token-id x @image", "--token-id", 1, 1),
        ("token export @image", "--token-id", 1, 1),
        ("token export --token-id 7 @image", "token 7", 1, 1),
        (
            "token export --token-id 0 --json-file @none/out @image",
            "none/out",
            1,
            1,
        ),
        ("token import --json-file @none @image", "none", 1, 1),
        (
            "token import --json-file @token --token-id 0 @image",
            "token 0 is in use",
            1,
            1,
        ),
        (
            "token import --json-file @token --key-slot 5 @image",
            "keyslot 5",
            1,
            1,
        ),
        ("token import --json-file @key @image", "", 1, 1),
        (
            "token import --json-file @token --unbound @image",
            "--unbound",
            1,
            1,
        ),
        ("token unassign @image", "--key-slot", 1, 1),
        ("token unassign --token-id 0 @image", "--key-slot", 1, 1),
        ("token unassign --key-slot 0 @image", "--token-id", 1, 1),
        (
            "token unassign --token-id 0 --key-slot 5 @image",
            "not assigned",
            1,
            1,
        ),
        (
            "token unassign --token-id 7 --key-slot 0 @image",
            "token 7",
            1,
            1,
        ),
        (
            "token assign --token-id 0 --key-slot 0 @image",
            "assign",
            1,
            1,
        ),
        (
            "token remove --token-id 0 --label x @image",
            "--label",
            1,
            1,
        ),
        (
            "open --test-passphrase --token-only --token-id 7 @image",
            "no usable token",
            1,
            1,
        ),
        (
            "open --test-passphrase --token-only --token-type x @image",
            "no usable token",
            1,
            1,
        ),
        (
            "open --test-passphrase --token-only @image",
            "no usable token",
            1,
            1,
        ),
        ("luksDump --token-only @image", "--token-only", 1, 0),
    ];
    let mut findings = Findings::default();
    for &(words, says, code, their_code) in cases {
        findings.case();
        let outcome = ours(&scratch, words);
        findings.check(outcome.code == Some(code), || {
            format!("{words}: code {:?}: {}", outcome.code, outcome.stderr)
        });
        let named = outcome.stderr.contains(says) && outcome.stderr.lines().count() == 1;
        findings.check(named, || format!("{words}: says {:?}", outcome.stderr));
        findings.check(scratch.names() == names, || {
            format!("{words}: leaves a file")
        });
        for (name, before) in names.iter().zip(&before) {
            findings.check(read(&scratch, name) == *before, || {
                format!("{words}: changes {name}")
            });
        }
        let theirs = Scratch::new();
        for name in &names {
            theirs.copy(&scratch.path(name), name);
        }
        let theirs = cryptsetup.run(folder::words(&theirs, words)).code;
        findings.check(theirs == Some(their_code), || {
            format!("{words}: cryptsetup's code is {theirs:?}")
        });
    }
    findings.finish();
}

#[test]
fn a_requirement_lets_a_token_be_seen_and_nothing_else() {
    let scratch = with_token();
    let mut image = read(&scratch, "image");
    luks2::edit_json(&mut image, |json| {
        json["config"]["requirements"] = json!({"mandatory": ["future-feature"]});
    });
    scratch.file("image", &image);
    assert_eq!(
        done(&scratch, "token export --token-id 0 @image").as_bytes(),
        TOKEN
    );
    for words in [
        "token add --key-description d @image",
        "token remove --token-id 0 @image",
        "token import --json-file @token @image",
        "token unassign --token-id 0 --key-slot 0 @image",
    ] {
        let outcome = ours(&scratch, words);
        assert_eq!(outcome.code, Some(1));
        assert!(
            outcome.stderr.contains("future-feature"),
            "{}",
            outcome.stderr
        );
        assert!(read(&scratch, "image") == image);
    }
}

#[test]
fn an_export_is_for_its_owner_and_replaces_a_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = with_token();
    for _ in 0..2 {
        done(
            &scratch,
            "token export --token-id 0 --json-file @out @image",
        );
        assert_eq!(read(&scratch, "out"), TOKEN);
    }
    let mode = std::fs::metadata(scratch.path("out"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        done(&scratch, "token export --token-id 0 --json-file - @image").as_bytes(),
        TOKEN
    );
    done(
        &scratch,
        "token export --token-id 0 --json-file /dev/null @image",
    );
    let talk = ours(&scratch, "-v token export --token-id 0 @image");
    assert_eq!(talk.stdout, TOKEN, "talk goes elsewhere");
}

#[test]
fn a_command_gives_a_tokens_passphrase() {
    let scratch = with_token();
    let before = read(&scratch, "image");
    let key = scratch.path("key");
    let cat = format!("cat {}", key.display());
    // It is asked with the token's JSON.
    let seen = scratch.path("seen");
    let tee = format!("cat > {}; {cat}", seen.display());
    let outcome = opened_by(&scratch, &tee, "-v");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.text().contains("Key slot 0 unlocked."));
    assert_eq!(read(&scratch, "seen"), TOKEN);

    for (command, more, code, says) in [
        (cat.as_str(), "--token-id 0", 0, ""),
        (&cat, "--token-type example", 0, ""),
        (
            &cat,
            "--token-id 0 --token-type example --key-slot 0",
            0,
            "",
        ),
        (&cat, "--token-id 1", 1, "no usable token"),
        (&cat, "--token-type other", 1, "no usable token"),
        (&cat, "--token-id 0 --key-slot 1", 1, "no usable token"),
        ("printf wrong", "", 2, "no keyslot accepts this key"),
        // Not as at a prompt: a newline belongs to a passphrase that a program gives.
        (
            &format!("{cat}; echo"),
            "",
            2,
            "no keyslot accepts this key",
        ),
        (
            "exit 3",
            "",
            2,
            "token 0: the token command: ended with exit status: 3",
        ),
        (&format!("{cat}; exit 3"), "", 2, "exit status: 3"),
        ("true", "", 2, "gave nothing"),
        ("cat /dev/zero", "", 2, "more than 65536 bytes"),
        ("exec sleep 60", "--token-timeout 1", 2, "took too long"),
    ] {
        let outcome = opened_by(&scratch, command, more);
        assert_eq!(
            outcome.code,
            Some(code),
            "{command} {more}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains(says),
            "{command} {more}: {}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains("passphrase\""),
            "{}",
            outcome.stderr
        );
        assert!(read(&scratch, "image") == before);
    }
}

#[test]
fn every_verb_that_opens_takes_a_token() {
    let scratch = with_token();
    let cat = format!("cat {}", scratch.path("key").display());
    let run = |words: &str, stdin: &[u8]| {
        let mut words = folder::words(&scratch, words);
        words.extend(words!["--token-only", "--token-command", &cat]);
        let outcome = lucarne_with_stdin(words, stdin);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stdout
    };
    let plaintext = b"what tokens open";
    assert!(run("decrypt @image -", b"").starts_with(plaintext));
    assert_eq!(run("read --length 16 @image", b""), plaintext);
    run("write @image", b"WHAT");
    assert_eq!(run("read --length 16 @image", b""), b"WHAT tokens open");
}

/// Without `--token-only` a passphrase is taken where no token opens, and said only to who asks.
#[test]
fn a_passphrase_follows_a_token_that_fails() {
    let scratch = with_token();
    for more in ["", "--token-id 0", "--token-type other", "--token-id 7"] {
        let words = format!("-v open --test-passphrase {more} @image");
        let mut words = folder::words(&scratch, &words);
        words.extend(words!["--token-command", "exit 1"]);
        let outcome = lucarne_with_stdin(words, PASSPHRASE);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(
            outcome.text().contains("No token unlocked a keyslot"),
            "{}",
            outcome.text()
        );
    }
    // Without a command there is nobody to ask, and no news.
    let words = folder::words(&scratch, "-v open --test-passphrase @image");
    let outcome = lucarne_with_stdin(words, PASSPHRASE);
    assert!(!outcome.text().contains("token"), "{}", outcome.text());
}

/// A header can name no command: what it says gets into none.
#[test]
fn nothing_of_a_token_is_executed() {
    let scratch = with_volume();
    let marker = scratch.path("marker");
    let shown = marker.display();
    let token = json!({
        "type": format!("$(touch {shown})"),
        "keyslots": ["0"],
        "command": format!("touch {shown}"),
        "token-command": format!("touch {shown}"),
    });
    scratch.file("token", token.to_string().as_bytes());
    done(&scratch, "token import --json-file @token @image");
    let outcome = opened_by(&scratch, "cat", "");
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert_eq!(
        ours(&scratch, "open --test-passphrase --token-only @image").code,
        Some(1)
    );
    assert!(!marker.exists());
}

/// What an untrusted header may cost holds for all tokens together.
#[test]
fn tokens_are_tried_within_the_limits() {
    let scratch = with_token();
    let outcome = opened_by(&scratch, "printf wrong", "--max-pbkdf-iterations 10");
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("--max-pbkdf-iterations"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_ignored_keyslot_opens_by_a_token_that_is_named() {
    let scratch = with_token();
    let cat = format!("cat {}", scratch.path("key").display());
    done(&scratch, "config --priority ignore --key-slot 0 @image");
    assert_eq!(opened_by(&scratch, &cat, "").code, Some(1));
    assert_eq!(opened_by(&scratch, &cat, "--token-id 0").code, Some(0));
}

/// A key of type `user` in the keyring of the session, which the programs that are started inherit.
#[test]
fn a_keyring_token_finds_its_key() {
    use linux_keyutils::{KeyRing, KeyRingIdentifier};
    let description = format!("lucarne:test:{}", std::process::id());
    let session = KeyRing::from_special_id(KeyRingIdentifier::Session, true).and_then(|session| {
        session
            .add_key(&description, PASSPHRASE)
            .map(|key| (session, key))
    });
    let Ok((session, key)) = session else {
        eprintln!("skipped: the kernel's keyring is out of reach");
        return;
    };
    let scratch = with_volume();
    let add = format!("token add --key-description {description} @image");
    let outcome = ours(&scratch, &format!("-v {add}"));
    assert!(
        outcome.text().contains("Token 0 created."),
        "{}",
        outcome.stderr
    );
    let open = "open --test-passphrase --token-only @image";
    let found = ours(&scratch, open);
    scratch.copy(&scratch.path("image"), "copy");
    let theirs = Cryptsetup::or_skip("a keyring token").map(|cryptsetup| {
        cryptsetup
            .run(folder::words(&scratch, &open.replace("@image", "@copy")))
            .code
    });
    // A wrong passphrase in the keyring, and none.
    key.update(b"wrong").unwrap();
    let wrong = ours(&scratch, open);
    session.unlink_key(key).unwrap();
    let gone = ours(&scratch, open);
    let gone_theirs = Cryptsetup::or_skip("a keyring token").map(|cryptsetup| {
        cryptsetup
            .run(folder::words(&scratch, &open.replace("@image", "@copy")))
            .code
    });

    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert!(theirs.is_none_or(|code| code == Some(0)), "{theirs:?}");
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("no keyslot accepts this key"),
        "{}",
        wrong.stderr
    );
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains("has no key"), "{}", gone.stderr);
    assert!(
        gone_theirs.is_none_or(|code| code == gone.code),
        "{gone_theirs:?}"
    );
}

/// A token that cryptsetup wrote, and one of ours, in one header.
#[test]
fn both_tools_read_each_others_tokens() {
    let Some(cryptsetup) = Cryptsetup::or_skip("tokens of both tools") else {
        return;
    };
    let scratch = with_volume();
    scratch.file("second", b"another");
    let cheap = CHEAP.join(" ");
    let add = format!("luksAddKey -q {cheap} --key-file @key @image @second");
    cryptsetup.must(folder::words(&scratch, &add));
    done(&scratch, "token add --key-description of:ours @image");
    cryptsetup.must(folder::words(
        &scratch,
        "token add --key-description of:theirs @image",
    ));
    let tokens = luks2::json(&read(&scratch, "image"), 0)["tokens"].take();
    let expected = |description: &str| json!({"type": "luks2-keyring", "keyslots": ["0", "1"], "key_description": description});
    assert_eq!(
        tokens,
        json!({"0": expected("of:ours"), "1": expected("of:theirs")})
    );
    let dump = done(&scratch, "luksDump @image");
    assert_eq!(
        dump,
        cryptsetup.must(folder::words(&scratch, "luksDump @image"))
    );
}
