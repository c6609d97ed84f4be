//! LUKS1 volumes: made, looked at, read and written as cryptsetup makes and reads them.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::Path;

use common::{Findings, PASSPHRASE, lucarne, lucarne_with_stdin, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload;
use lucarne_testkit::scratch::Scratch;
use serde_json::Value;

const CHEAP: &str = "--pbkdf-force-iterations 1000";
const CIPHERS: [(&str, usize); 8] = [
    ("aes-xts-plain64", 64),
    ("aes-xts-plain64", 32),
    ("aes-xts-plain", 64),
    ("aes-cbc-essiv:sha256", 32),
    ("aes-cbc-essiv:sha256", 16),
    ("aes-cbc-plain64", 32),
    ("aes-cbc-plain64", 24),
    ("aes-cbc-plain", 16),
];

fn split(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// `luksFormat --type luks1` with these options, of `image` with the key and the volume key in the folder.
fn format_words(scratch: &Scratch, options: &str, image: &Path) -> Vec<OsString> {
    let mut words = split("luksFormat -q --type luks1");
    words.extend(split(options).into_iter().map(|word| {
        match word.to_str().and_then(|word| word.strip_prefix('@')) {
            Some(name) => scratch.path(name).into(),
            None => word,
        }
    }));
    words.extend(words!["--key-file", scratch.path("key"), image]);
    words
}

/// The text without what is random, and without the line that names the image.
fn normalised(text: &str) -> String {
    let mut is_random = false;
    let mut lines = Vec::new();
    for line in text.lines().skip(1) {
        let label = line.trim().split(':').next().unwrap_or_default();
        let goes_on = line.starts_with("  ") || line.starts_with("\t  ");
        is_random = match label {
            "MK digest" | "MK salt" | "Salt" | "UUID" => true,
            _ => is_random && goes_on,
        };
        lines.push(if is_random {
            label.split(' ').next().unwrap_or_default()
        } else {
            line
        });
        if is_random && goes_on {
            lines.pop();
        }
    }
    lines.join("\n")
}

#[test]
fn luks_format_does_the_same() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksFormat --type luks1") else {
        return;
    };
    let cases = [
        "",
        "--pbkdf pbkdf2",
        "-S 7",
        "-S 8",
        "--hash sha512",
        "--hash ripemd160",
        "--hash whirlpool",
        "--hash SHA1",
        "--hash nonsense",
        "--sector-size 512",
        "--sector-size 4096",
        "--luks2-metadata-size 32k",
        "--luks2-keyslots-size 1M",
        "--luks2-metadata-size 0",
        "--keyslot-cipher aes-xts-plain64 --keyslot-key-size 512",
        "--offset 4096",
        "--offset 0",
        "--offset 8",
        "--offset 4097",
        "--align-payload 8192",
        "--align-payload 1",
        "--align-payload 7",
        "--uuid 0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d",
        "--uuid x",
        "-c aes-cbc-essiv:sha256",
        "-c aes-cbc-essiv:sha256 -s 512",
        "-c aes-cbc-plain64 -s 128",
        "-c aes-xts-plain -s 256",
        "-c aes-xts-plain64 -s 256",
        "--header @header",
        "--header @header --offset 0",
        "--header @header --offset 4096",
        "--header @header --offset 8",
        "--header @header --align-payload 4096",
        "--header @header --align-payload 8",
        "--pbkdf-memory 100000 --pbkdf-parallel 4",
        "--volume-key-file @volume-key",
    ];
    common::for_each(&cases, |options, findings| {
        let outcomes = [true, false].map(|is_ours| {
            let scratch = Scratch::new();
            scratch.file("key", PASSPHRASE);
            scratch.file("volume-key", &payload::stream("volume key", 64));
            let image = scratch.zeros("image", 6 << 20);
            let options = format!("{CHEAP} {options}");
            let words = format_words(&scratch, &options, &image);
            let outcome = match is_ours {
                true => lucarne(words),
                false => cryptsetup.run(words),
            };
            let header = match options.contains("--header") {
                true => scratch.path("header"),
                false => image.clone(),
            };
            let dump = |text: String| normalised(&text);
            let (text, lens, opens) = match outcome.code {
                Some(0) => (
                    // Either reads what the other wrote.
                    match is_ours {
                        true => dump(cryptsetup.run(words!["luksDump", &header]).text()),
                        false => dump(lucarne(words!["luksDump", &header]).text()),
                    },
                    [&image, &header].map(|path| std::fs::metadata(path).unwrap().len()),
                    {
                        let words = words![
                            "open",
                            "--test-passphrase",
                            "-d",
                            scratch.path("key"),
                            &header
                        ];
                        [cryptsetup.run(&words).code, lucarne(&words).code]
                    },
                ),
                _ => Default::default(),
            };
            (outcome.code, text, lens, opens, outcome.stderr)
        });
        let [ours, theirs] = outcomes;
        findings.check(ours.0 == theirs.0, || {
            format!(
                "{options}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                ours.0,
                ours.4.trim(),
                theirs.0,
                theirs.4.trim()
            )
        });
        if ours.0 == Some(0) {
            findings.equal(
                options,
                &(ours.1, ours.2, ours.3),
                &(theirs.1, theirs.2, theirs.3),
            );
            findings.equal(options, &ours.3, &[Some(0); 2]);
        }
    });
}

/// These cryptsetup 2.6 takes and ignores; here nobody is left to believe that they were heeded.
#[test]
fn options_of_luks2_are_refused() {
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE);
    for (options, word) in [
        ("--label models", "label"),
        ("--subsystem models", "subsystem"),
        ("--pbkdf argon2id", "pbkdf2"),
    ] {
        let image = scratch.zeros("image", 6 << 20);
        let outcome = lucarne(format_words(&scratch, options, &image));
        assert_eq!(outcome.code, Some(1), "{options}");
        assert!(
            outcome.stderr.contains(word),
            "{options}: {}",
            outcome.stderr
        );
        assert!(std::fs::read(&image).unwrap().iter().all(|&byte| byte == 0));
    }
}

/// Plaintext at the payload's place as dm-crypt encrypts it: cryptsetup encrypts it under the same key for
/// LUKS2, whose sectors of 512 bytes are LUKS1's.
#[test]
fn data_are_those_of_cryptsetup() {
    let Some(cryptsetup) = Cryptsetup::or_skip("data of LUKS1") else {
        return;
    };
    let cases: Vec<_> = CIPHERS
        .iter()
        .flat_map(|cipher| [(cipher, false), (cipher, true)])
        .collect();
    common::for_each(&cases, |((cipher, key_len), detached), findings| {
        let what = format!("{cipher} {key_len}");
        let scratch = Scratch::new();
        let key = scratch.file("key", PASSPHRASE);
        let volume_key = payload::stream("volume key", *key_len);
        scratch.file("volume-key", &volume_key);
        let image = scratch.zeros("image", 4 << 20);
        let mut options = format!(
            "{CHEAP} -c {cipher} -s {} --volume-key-file @volume-key",
            key_len * 8
        );
        if *detached {
            options.push_str(" --header @header");
        }
        cryptsetup.must(format_words(&scratch, &options, &image));
        let header = scratch.path(if *detached { "header" } else { "image" });
        let header_bytes = std::fs::read(&header).unwrap();
        let sectors: [u8; 4] = header_bytes[104..108].try_into().unwrap();
        let offset = u32::from_be_bytes(sectors) as usize * 512;
        assert_eq!(offset == 0, *detached);

        let plaintext = payload::stream("plaintext", 64 << 10);
        let ciphertext = cryptsetup.ciphertext(&plaintext, &volume_key, cipher, 512);
        let mut bytes = std::fs::read(&image).unwrap();
        bytes.truncate(offset);
        bytes.extend(&ciphertext);
        std::fs::write(&image, &bytes).unwrap();

        let with = |verb: &str, more: &[&str]| {
            let mut words = split(verb);
            words.extend(words!["--key-file", &key]);
            if *detached {
                words.extend(words!["--header", &header]);
            }
            words.push((&image).into());
            words.extend(more.iter().map(OsString::from));
            words
        };
        let decrypted = must(with("decrypt -q", &["-"]));
        findings.check(decrypted == plaintext, || format!("{what}: decrypt"));
        let part = must(with("read --offset 700 --length 5000", &[]));
        findings.check(part == plaintext[700..5700], || format!("{what}: read"));
        let by_key = must({
            let mut words = with("read --length 100", &[]);
            words.extend(words!["--volume-key-file", scratch.path("volume-key")]);
            words
        });
        findings.check(by_key == plaintext[..100], || format!("{what}: by its key"));

        // Written in two pieces that are no sectors: the same ciphertext as cryptsetup's.
        let other = payload::stream("other", 64 << 10);
        for (at, piece) in [(0, &other[..1000]), (1000, &other[1000..])] {
            let words = with(&format!("write --offset {at}"), &[]);
            let outcome = lucarne_with_stdin(words, piece);
            findings.check(outcome.code == Some(0), || {
                format!("{what}: {}", outcome.stderr)
            });
        }
        let written = std::fs::read(&image).unwrap();
        let expected = cryptsetup.ciphertext(&other, &volume_key, cipher, 512);
        findings.check(written[offset..] == expected, || format!("{what}: write"));
        findings.check(written[..offset] == bytes[..offset], || {
            format!("{what}: write changed the header")
        });
    });
}

#[test]
fn texts_are_cryptsetups() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksDump of LUKS1") else {
        return;
    };
    let mut findings = Findings::default();
    for (cipher, key_len) in CIPHERS {
        findings.case();
        let scratch = Scratch::new();
        let key = scratch.file("key", PASSPHRASE);
        let image = scratch.zeros("image", 4 << 20);
        let options = format!("{CHEAP} -c {cipher} -s {} --hash sha512 -S 6", key_len * 8);
        must(format_words(&scratch, &options, &image));
        let add = format!("luksAddKey {CHEAP} --key-slot 2 -d");
        let mut add = split(&add);
        add.extend(words![&key, &image, &key]);
        must(add);
        let file = scratch.path("dumped");
        for words in [
            words!["luksDump", &image].to_vec(),
            words!["luksUUID", &image].to_vec(),
            words!["luksUUID", "--type", "luks2", &image].to_vec(),
            words!["luksDump", "--type", "luks2", &image].to_vec(),
            words!["luksDump", "--dump-json-metadata", &image].to_vec(),
            words!["luksDump", "--unbound", "-S", "2", "-d", &key, &image].to_vec(),
            words!["luksDump", "-q", "--dump-volume-key", "-d", &key, &image].to_vec(),
            words![
                "luksDump",
                "-q",
                "--dump-volume-key",
                "--volume-key-file",
                &file,
                "-d",
                &key,
                &image
            ]
            .to_vec(),
            words!["open", "--test-passphrase", "-v", "-d", &key, &image].to_vec(),
            words![
                "open",
                "--test-passphrase",
                "-v",
                "-S",
                "6",
                "-d",
                &key,
                &image
            ]
            .to_vec(),
            words!["open", "--test-passphrase", "-S", "3", "-d", &key, &image].to_vec(),
            words!["open", "--test-passphrase", "-S", "8", "-d", &key, &image].to_vec(),
            words![
                "open",
                "--test-passphrase",
                "--type",
                "luks2",
                "-d",
                &key,
                &image
            ]
            .to_vec(),
            words![
                "open",
                "--test-passphrase",
                "--type",
                "luks1",
                "-d",
                &key,
                &image
            ]
            .to_vec(),
            words!["open", "--test-passphrase", "-d", &image, &image].to_vec(),
        ] {
            let theirs = cryptsetup.run(&words);
            let their_file = std::fs::read(&file).ok();
            let _ = std::fs::remove_file(&file);
            let ours = lucarne(&words);
            let our_file = std::fs::read(&file).ok();
            let _ = std::fs::remove_file(&file);
            let what = format!("{cipher}: {words:?}");
            findings.equal(&what, &ours.code, &theirs.code);
            findings.equal(&what, &our_file, &their_file);
            // With -v both say more, at different places.
            if !words.contains(&"-v".into()) {
                findings.equal(&what, &ours.text(), &theirs.text());
            }
        }
    }
    findings.finish();
}

#[test]
fn json_tells_what_the_text_tells() {
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE);
    let image = scratch.zeros("image", 4 << 20);
    must(format_words(
        &scratch,
        &format!("{CHEAP} -S 3 --uuid 0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d"),
        &image,
    ));
    let json: Value = serde_json::from_slice(&must(words!["luksDump", "--json", &image])).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["uuid"], "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d");
    assert_eq!(json["segments"][0]["cipher"], "aes-xts-plain64");
    assert_eq!(json["segments"][0]["offset_bytes"], 2 << 20);
    assert_eq!(json["keyslots"][0]["id"], 3);
    assert_eq!(json["keyslots"][0]["pbkdf"]["iterations"], 1000);
    assert_eq!(json["keyslots"].as_array().unwrap().len(), 1);
}

/// The limits are those of LUKS2's keyslots.
#[test]
fn costs_are_limited() {
    let scratch = Scratch::new();
    let key = scratch.file("key", PASSPHRASE);
    let image = scratch.zeros("image", 4 << 20);
    must(format_words(&scratch, CHEAP, &image));
    let mut bytes = std::fs::read(&image).unwrap();
    // The iterations of keyslot 0, then those of the digest.
    for at in [212, 164] {
        let was: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        std::fs::write(&image, &bytes).unwrap();
        let outcome = lucarne(words!["open", "--test-passphrase", "-d", &key, &image]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("--max-pbkdf-iterations"),
            "{}",
            outcome.stderr
        );
        bytes[at..at + 4].copy_from_slice(&was);
    }
}

/// What cryptsetup converts and what it refuses, on copies; and each reads what the other made, from which
/// either comes back.
#[test]
fn convert_does_the_same() {
    let Some(cryptsetup) = Cryptsetup::or_skip("convert") else {
        return;
    };
    // How the volume is made, what is done to it, and what it becomes.
    let luks2 = "--type luks2 --luks2-keyslots-size 3M --offset 7168 --sector-size 512";
    let cases: Vec<(&str, &str, &str)> = vec![
        ("--type luks1", "", "luks2"),
        ("--type luks1 -S 7", "", "luks2"),
        (
            "--type luks1 -S 3",
            "luksAddKey CHEAP -S 0 -d @key @ @other",
            "luks2",
        ),
        (
            "--type luks1 -c aes-cbc-essiv:sha256 --hash sha1",
            "",
            "luks2",
        ),
        (
            "--type luks1 -c aes-xts-plain64 -s 256",
            "luksAddKey CHEAP -d @key @ @other",
            "luks2",
        ),
        ("--type luks1 --offset 8192", "", "luks2"),
        ("--type luks1", "", "luks1"),
        ("--type luks1", "", "luks"),
        ("--type luks1", "luksErase -q @", "luks2"),
        (luks2, "", "luks1"),
        (luks2, "", "luks2"),
        (luks2, "", "luks"),
        (luks2, "luksAddKey CHEAP -d @key @ @other", "luks1"),
        (luks2, "luksAddKey CHEAP -S 7 -d @key @ @other", "luks1"),
        (luks2, "luksAddKey CHEAP -S 8 -d @key @ @other", "luks1"),
        (
            luks2,
            "luksAddKey CHEAP --unbound -s 256 -q @ @other",
            "luks1",
        ),
        (
            luks2,
            "luksAddKey CHEAP --hash sha512 -d @key @ @other",
            "luks1",
        ),
        (
            luks2,
            "luksAddKey CHEAP --keyslot-cipher aes-xts-plain64 --keyslot-key-size 256 -d @key @ @other",
            "luks1",
        ),
        (
            luks2,
            "luksAddKey --pbkdf argon2id --pbkdf-memory 32 --pbkdf-parallel 1 --pbkdf-force-iterations 4 -d @key @ @other",
            "luks1",
        ),
        (luks2, "token add --key-description x @", "luks1"),
        (luks2, "config --label x --subsystem y @", "luks1"),
        (luks2, "config --key-slot 0 --priority prefer @", "luks1"),
        (luks2, "luksErase -q @", "luks1"),
        ("--type luks2 --sector-size 4096 --offset 8192", "", "luks1"),
        (
            "--type luks2 --sector-size 512 --offset 8192 --luks2-metadata-size 64k",
            "",
            "luks1",
        ),
    ];
    common::for_each(&cases, |(format, change, to), findings| {
        let what = format!("{format}; {change}; to {to}");
        let scratch = Scratch::new();
        scratch.file("key", PASSPHRASE);
        scratch.file("other", b"another");
        let image = scratch.zeros("image", 6 << 20);
        let here = |text: &str, image: &Path| {
            let text = text.replace("CHEAP", "--pbkdf pbkdf2 --pbkdf-force-iterations 1000");
            let words = split(&text).into_iter();
            words
                .map(
                    |word| match word.to_str().and_then(|word| word.strip_prefix('@')) {
                        Some("") => image.into(),
                        Some(name) => scratch.path(name).into(),
                        None => word,
                    },
                )
                .collect::<Vec<OsString>>()
        };
        cryptsetup.must(here(
            &format!("luksFormat -q CHEAP {format} -d @key @"),
            &image,
        ));
        if !change.is_empty() {
            cryptsetup.must(here(change, &image));
        }
        let (ours, theirs) = (scratch.copy(&image, "ours"), scratch.copy(&image, "theirs"));
        let words = format!("convert -q --type {to} @");
        let our = lucarne(here(&words, &ours));
        let their = cryptsetup.run(here(&words, &theirs));
        findings.check(our.code == their.code, || {
            format!(
                "{what}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                our.code,
                our.stderr.trim(),
                their.code,
                their.stderr.trim()
            )
        });
        if our.code != Some(0) {
            let changed = std::fs::read(&ours).unwrap() != std::fs::read(&image).unwrap();
            findings.check(!changed, || {
                format!("{what}: refused, and changed the image")
            });
            return;
        }
        let who = |image: &Path| {
            let copy = scratch.copy(image, "who");
            ["key", "other"].map(|key| {
                let words = here(&format!("open -v --test-passphrase -d @{key} @"), &copy);
                let (theirs, ours) = (cryptsetup.run(&words), lucarne(&words));
                let slot = |text: &str| {
                    text.lines()
                        .find(|line| line.contains("unlocked"))
                        .map(str::to_owned)
                };
                (theirs.code, slot(&theirs.text()), ours.code)
            })
        };
        findings.equal(&format!("{what}: who opens"), &who(&ours), &who(&theirs));
        findings.equal(
            &format!("{what}: who opens"),
            &who(&ours).map(|(_, slot, _)| slot),
            &who(&image).map(|(_, slot, _)| slot),
        );
        // The text is the same, but that the epoch counts more writes, and that areas which are not in the order
        // of their numbers are put in it.
        let text = |image: &Path| {
            let copy = scratch.copy(image, "told");
            let text = cryptsetup.run(words!["luksDump", &copy]).text();
            let is_told_alike = |line: &&str| {
                let others = ["Epoch", "Area offset", "material offset"];
                !others.iter().any(|other| line.contains(other))
            };
            let lines = text.lines().filter(is_told_alike);
            lines.collect::<Vec<_>>().join("\n")
        };
        findings.equal(&format!("{what}: text"), &text(&ours), &text(&theirs));
        // cryptsetup finds nothing to mend in it, and takes it back.
        let before = std::fs::read(&ours).unwrap();
        cryptsetup.must(words!["luksDump", &ours]);
        findings.check(before == std::fs::read(&ours).unwrap(), || {
            format!("{what}: cryptsetup mended it")
        });
        if change.starts_with("luksErase") {
            // Neither makes LUKS1 of a header without keyslots.
            return;
        }
        let back = if *to == "luks1" { "luks2" } else { "luks1" };
        let words = format!("convert -q --type {back} @");
        let crossed = scratch.copy(&ours, "crossed");
        let was = who(&crossed);
        let outcome = cryptsetup.run(here(&words, &crossed));
        findings.check(outcome.code == Some(0), || {
            format!("{what}: back by cryptsetup: {}", outcome.stderr.trim())
        });
        findings.equal(&format!("{what}: back by cryptsetup"), &who(&crossed), &was);
        for image in [&ours, &theirs] {
            let was = who(image);
            let outcome = lucarne(here(&words, image));
            findings.check(outcome.code == Some(0), || {
                format!("{what}: back: {}", outcome.stderr.trim())
            });
            findings.equal(&format!("{what}: back: who opens"), &who(image), &was);
        }
    });
}

/// The UUID is set to the same bytes, and nothing else changes.
#[test]
fn luks_uuid_sets_the_same() {
    let Some(cryptsetup) = Cryptsetup::or_skip("luksUUID of LUKS1") else {
        return;
    };
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE);
    let image = scratch.zeros("image", 4 << 20);
    must(format_words(&scratch, CHEAP, &image));
    let theirs = scratch.copy(&image, "theirs");
    for uuid in [
        "12345678-1234-1234-1234-123456789abc",
        "ABCDEF00-0000-0000-0000-000000000001",
        "no-uuid",
    ] {
        let words = |image: &Path| words!["luksUUID", "-q", "--uuid", uuid, image];
        let (our, their) = (lucarne(words(&image)), cryptsetup.run(words(&theirs)));
        assert_eq!(our.code, their.code, "{uuid}: {}", our.stderr);
        assert!(
            std::fs::read(&image).unwrap() == std::fs::read(&theirs).unwrap(),
            "{uuid}"
        );
    }
}
