//! `luksAddKey` with keys from tokens: the same words to cryptsetup and to us give the same exit code, the
//! same header, and keyslots for the same passphrases.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::folder::{self, done, ours, read};
use common::{CHEAP, Findings, PASSPHRASE, assert_refused, encrypted, header, lucarne_with_stdin};
use linux_keyutils::{Key, KeyRing, KeyRingIdentifier};
use lucarne::{Access, FileStorage, Secret, UnlockOptions};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::scratch::Scratch;

/// What is on standard input: an existing passphrase, which is the new one where none is asked for first.
const STDIN: &[u8] = b"test passphrase\nsecond line\n";
/// Passphrases that a new keyslot may have.
const NEW: [&[u8]; 4] = [
    PASSPHRASE,
    b"second line",
    b"new key file",
    b"of the keyring",
];

/// A key of the session's keyring, which the programs that are started inherit; removed in the end.
struct KeyringKey {
    session: KeyRing,
    key: Key,
    description: String,
}

impl KeyringKey {
    fn or_skip(name: &str) -> Option<Self> {
        let description = format!("lucarne:test:{name}:{}", std::process::id());
        let session = KeyRing::from_special_id(KeyRingIdentifier::Session, true);
        let made = session.and_then(|session| {
            let key = session.add_key(&description, PASSPHRASE)?;
            Ok((session, key))
        });
        let Ok((session, key)) = made else {
            eprintln!("skipped: the kernel's keyring is out of reach");
            return None;
        };
        Some(Self {
            session,
            key,
            description,
        })
    }
}

impl Drop for KeyringKey {
    fn drop(&mut self) {
        let _ = self.session.unlink_key(self.key);
    }
}

/// `image` with token 0, which serves keyslot 0, token 1, which serves none, and token 2 of a type that nobody
/// knows; `luks1` without any.
fn folder_with(description: &str) -> Scratch {
    let scratch = Scratch::new();
    encrypted(
        &scratch,
        "image",
        b"to which keys are added",
        &["--no-length"],
    );
    scratch.file("new", NEW[2]);
    scratch.file("token", br#"{"type":"example","keyslots":["0"]}"#);
    for more in ["", "--unbound"] {
        done(
            &scratch,
            &format!("token add --key-description {description} {more} @image"),
        );
    }
    done(&scratch, "token import --json-file @token @image");
    done(
        &scratch,
        "luksDump -q --key-file @key --dump-volume-key --volume-key-file @volume-key @image",
    );
    scratch.zeros("luks1", 4 << 20);
    done(
        &scratch,
        "luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file @key @luks1",
    );
    scratch
}

/// For each of [`NEW`], the keyslot that it opens, the first one apart: the header's first key opens by it.
fn opens(scratch: &Scratch, name: &str) -> Vec<Option<u32>> {
    let image = FileStorage::open(scratch.path(name), Access::ReadOnly).unwrap();
    let header = lucarne::read_any_header(&image).unwrap();
    let keyslots = (1..8).filter(|&id| header.as_ref().has_keyslot(id));
    let keyslots: Vec<_> = keyslots.collect();
    NEW.iter()
        .map(|passphrase| {
            keyslots.iter().copied().find(|&keyslot| {
                let options = UnlockOptions {
                    keyslot: Some(keyslot),
                    allow_unbound: true,
                    ..UnlockOptions::default()
                };
                lucarne::unlock(&header, &image, Secret::Passphrase(passphrase), &options).is_ok()
            })
        })
        .collect()
}

#[test]
fn keys_come_from_tokens_as_in_cryptsetup() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksAddKey by tokens") else {
        return;
    };
    let Some(mut keyring) = KeyringKey::or_skip("add-key") else {
        return;
    };
    let scratch = folder_with(&keyring.description);
    // The image that it is tried on, and the options with an operand for the new key.
    let cases = [
        ("image", "--token-id 0 @"),
        ("image", "--token-id 0 @ @new"),
        ("image", "--token-only @"),
        ("image", "--token-type luks2-keyring @"),
        (
            "image",
            "--token-type luks2-keyring --token-id 0 --token-only @ @new",
        ),
        ("image", "--token-type example @"),
        ("image", "--token-id 0 --token-type example @"),
        ("image", "--token-id 1 @"),
        ("image", "--token-id 2 @"),
        ("image", "--token-id 5 @"),
        ("image", "--token-only --token-id 5 @"),
        ("image", "--token-id 32 @"),
        ("image", "--token-id x @"),
        // A key file takes precedence.
        ("image", "--token-id 5 --key-file @key @"),
        ("image", "--token-only --key-file @key @ @new"),
        ("image", "--token-only --key-file @new @"),
        (
            "image",
            "--token-id 5 --key-size 512 --volume-key-file @volume-key @",
        ),
        ("image", "--token-id 0 --key-slot 5 @"),
        ("image", "--token-id 0 --key-slot 1 --new-key-slot 4 @"),
        ("image", "--token-id 0 --new-key-slot 0 @"),
        ("image", "--new-token-id 0 @"),
        ("image", "--new-token-id 1 @"),
        ("image", "--new-token-id 2 @"),
        ("image", "--new-token-id 5 @"),
        ("image", "--new-token-id 32 @"),
        (
            "image",
            "--new-token-id 1 --key-file @key --new-key-slot 3 @",
        ),
        (
            "image",
            "--new-token-id 1 --key-size 512 --volume-key-file @volume-key @",
        ),
        ("image", "--token-id 0 --new-token-id 1 @"),
        // So does a new key file.
        ("image", "--new-token-id 5 @ @new"),
        (
            "image",
            "--new-token-id 0 --new-keyfile @new --key-file @key @",
        ),
        ("image", "--unbound --key-size 256 --token-id 5 @"),
        ("luks1", "--token-only @"),
        ("luks1", "--token-id 0 @"),
        ("luks1", "--token-id 0 --key-file @key @"),
        ("luks1", "--new-token-id 0 @"),
        ("luks1", "--new-token-id 0 @ @new"),
    ];
    let mut findings = Findings::default();
    let mut answers = [0; 3];
    // What the tokens give: the volume's passphrase, another, and (the key being gone) nothing.
    for state in ["right", "other", "gone"] {
        match state {
            "right" => {}
            "other" => keyring.key.update(&NEW[3]).unwrap(),
            _ => keyring.session.unlink_key(keyring.key).unwrap(),
        }
        for (image, options) in cases {
            findings.case();
            let what = format!("{image}, keyring {state}: {options}");
            let line = format!("luksAddKey -q {} {options}", CHEAP.join(" "));
            let run = |name: &str| {
                scratch.copy(&scratch.path(image), name);
                header::in_folder(&line, &scratch, &scratch.path(name))
            };
            let outcome = lucarne_with_stdin(run("ours"), STDIN);
            let theirs = cryptsetup.run_with_stdin(run("theirs"), STDIN);
            let [our_code, their_code] = [outcome.code, theirs.code];
            findings.check(our_code == their_code, || {
                format!(
                    "{what}: {our_code:?} ({}), cryptsetup {their_code:?} ({})",
                    outcome.stderr, theirs.stderr
                )
            });
            answers[our_code.unwrap() as usize] += 1;
            if our_code != Some(0) {
                let unchanged = read(&scratch, "ours") == read(&scratch, image);
                findings.check(unchanged, || format!("{what}: refused, and written"));
                // A notice may stand before it.
                findings.check(outcome.stderr.lines().count() <= 2, || {
                    outcome.stderr.clone()
                });
                continue;
            }
            findings.equal(
                &what,
                &header::shape(&scratch.path("ours")),
                &header::shape(&scratch.path("theirs")),
            );
            let opened = opens(&scratch, "ours");
            findings.equal(&what, &opened, &opens(&scratch, "theirs"));
            findings.check(opened.iter().flatten().count() == 1, || {
                format!("{what}: a new keyslot opens by {opened:?}")
            });
        }
        if state == "gone" {
            keyring.key = keyring
                .session
                .add_key(&keyring.description, PASSPHRASE)
                .unwrap();
        }
    }
    findings.finish();
    assert!(answers.iter().all(|&count| count > 5), "{answers:?}");
}

/// cryptsetup takes the words and forgets the token: the key would have another passphrase than was meant.
#[test]
fn an_unbound_keyslot_takes_no_passphrase_from_a_token() {
    let scratch = folder_with("lucarne:none");
    let before = read(&scratch, "image");
    let line = "luksAddKey -q --unbound --key-size 256 --new-token-id 0 @image @new";
    assert_refused(line, &ours(&scratch, line), 1, "--new-token-id");
    assert!(read(&scratch, "image") == before);
}

#[test]
fn a_command_gives_both_passphrases() {
    let scratch = folder_with("lucarne:none");
    let add = |command: &str, options: &str| {
        scratch.copy(&scratch.path("image"), "copy");
        let line = format!("luksAddKey -q {} {options} @copy", CHEAP.join(" "));
        let mut words = folder::words(&scratch, &line);
        words.extend(common::words!["--token-command", command]);
        lucarne_with_stdin(words, b"second line\n")
    };
    let cat = format!("cat {}", scratch.path("key").display());
    let outcome = add(&cat, "--token-id 2");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(opens(&scratch, "copy"), [None, Some(1), None, None]);

    let outcome = add(
        "printf 'of the keyring'",
        "--new-token-id 2 --key-file @key",
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(opens(&scratch, "copy"), [None, None, None, Some(1)]);
    let served = &header::shape(&scratch.path("copy"))["tokens"]["2"]["keyslots"];
    assert_eq!(*served, serde_json::json!(["0", "1"]));

    for (command, options, code, says) in [
        ("exit 3", "--token-id 2", 2, "token 2: the token command"),
        (
            "printf wrong",
            "--token-id 2",
            2,
            "no keyslot accepts this key",
        ),
        (
            "exit 3",
            "--new-token-id 2 --key-file @key",
            2,
            "--new-token-id 2",
        ),
        (
            "true",
            "--new-token-id 2 --key-file @key",
            2,
            "gave nothing",
        ),
        (
            &cat,
            "--new-token-id 7 --key-file @key",
            1,
            "--new-token-id 7: no usable token",
        ),
    ] {
        let outcome = add(command, options);
        assert_refused(options, &outcome, code, says);
        assert!(read(&scratch, "copy") == read(&scratch, "image"));
    }
}
