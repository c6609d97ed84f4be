//! Files and devices that are missing, of the wrong kind, in the way, or too small.

use std::ffi::OsString;

use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload::{sha256_hex_of_file, stream};
use lucarne_testkit::scratch::Scratch;

use crate::common::{
    self, CHEAP, Findings, PASSPHRASE, key_file, lucarne, lucarne_with_stdin, words,
};
use crate::one_line;

#[test]
fn files_that_are_missing_or_of_the_wrong_kind() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let cryptsetup = Cryptsetup::or_skip("exit codes on wrong files");
    let mut findings = Findings::default();
    for place in [
        scratch.path("missing"),
        scratch.dir().to_path_buf(),
        scratch.path("key/below-a-file"),
        "/dev/null".into(),
    ] {
        for verb in [
            &["luksDump"][..],
            &["isLuks"],
            &["luksUUID"],
            &["open", "--test-passphrase"],
        ] {
            findings.case();
            let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
            if verb[0] == "open" {
                arguments.extend(words!["--key-file", &key]);
            }
            arguments.push((&place).into());
            let ours = lucarne(&arguments);
            let what = format!("{verb:?} of {}", place.display());
            one_line(&what, &ours, &place, &mut findings);
            if let Some(cryptsetup) = &cryptsetup {
                let theirs = cryptsetup.run(&arguments);
                findings.check(ours.code == theirs.code, || {
                    format!(
                        "{what}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                        ours.code,
                        ours.stderr.trim(),
                        theirs.code,
                        theirs.stderr.trim()
                    )
                });
            }
        }
        for arguments in [
            words!["decrypt", "--key-file", &key, &place, scratch.path("out")].to_vec(),
            words!["read", "--key-file", &key, &place].to_vec(),
            words!["write", "--key-file", &key, &place].to_vec(),
        ] {
            findings.case();
            let outcome = lucarne(&arguments);
            let what = format!("{:?} of {}", arguments[0], place.display());
            findings.check(matches!(outcome.code, Some(1 | 4)), || {
                format!("{what}: exit code {:?}", outcome.code)
            });
            one_line(&what, &outcome, &place, &mut findings);
        }
    }
    for input in [scratch.path("missing"), scratch.dir().to_path_buf()] {
        findings.case();
        let outcome = lucarne(words![
            "encrypt",
            "--key-file",
            &key,
            &input,
            scratch.path("out")
        ]);
        findings.equal(
            &format!("encrypt {}: {}", input.display(), outcome.stderr.trim()),
            &outcome.code,
            &Some(4),
        );
        one_line("encrypt", &outcome, &input, &mut findings);
    }
    findings.equal("files", &scratch.names(), &vec!["key".to_owned()]);
    findings.finish();
}

#[test]
fn an_output_that_is_there_is_replaced_only_when_it_is_wanted() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("there", 10_000);
    let input = scratch.file("in", &plaintext);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let there = scratch.file("there", b"precious");
    let mut findings = Findings::default();
    for arguments in [
        words![
            "encrypt",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            &key,
            &input,
            &there
        ]
        .to_vec(),
        words!["decrypt", "--key-file", &key, &image, &there].to_vec(),
    ] {
        findings.case();
        let verb = arguments[0].clone();
        let outcome = lucarne(&arguments);
        findings.equal(
            &format!(
                "{verb:?} to a file that is there ({})",
                outcome.stderr.trim()
            ),
            &outcome.code,
            &Some(5),
        );
        one_line("OUT is there", &outcome, &there, &mut findings);
        findings.check(std::fs::read(&there).unwrap() == b"precious", || {
            format!("{verb:?} changed OUT")
        });
        let mut wanted = arguments.clone();
        wanted.insert(1, "--batch-mode".into());
        let outcome = lucarne(&wanted);
        findings.equal(
            &format!("{verb:?} --batch-mode ({})", outcome.stderr.trim()),
            &outcome.code,
            &Some(0),
        );
        std::fs::write(&there, b"precious").unwrap();
    }
    // Places where no file can be.
    for output in [
        scratch.dir().to_path_buf(),
        scratch.path("missing/out"),
        scratch.path("in/out"),
    ] {
        findings.case();
        let outcome = lucarne(words![
            "decrypt",
            "--batch-mode",
            "--key-file",
            &key,
            &image,
            &output
        ]);
        findings.check(matches!(outcome.code, Some(1 | 4 | 5)), || {
            format!("OUT {}: {outcome:?}", output.display())
        });
        one_line("OUT cannot be", &outcome, &output, &mut findings);
    }
    // IN and OUT in one, by one name or by two.
    let link = scratch.path("link");
    std::fs::hard_link(&image, &link).unwrap();
    let before = sha256_hex_of_file(&image);
    for verb in ["encrypt", "decrypt"] {
        for output in [&image, &link] {
            findings.case();
            let outcome = lucarne(words![
                verb,
                "--batch-mode",
                "--key-file",
                &key,
                &image,
                output
            ]);
            findings.equal(
                &format!("{verb} onto itself ({})", outcome.stderr.trim()),
                &outcome.code,
                &Some(5),
            );
            findings.equal(
                &format!("{verb} onto itself: image"),
                &sha256_hex_of_file(&image),
                &before,
            );
        }
    }
    findings.finish();
}

/// Files too small for a header, passphrases of no length.
#[test]
fn devices_too_small_and_passphrases_of_no_length() {
    let Some(cryptsetup) = Cryptsetup::or_skip("exit codes of luksFormat") else {
        return;
    };
    let mut findings = Findings::default();
    let cases: [(u64, &[u8]); 7] = [
        (0, PASSPHRASE),
        (512, PASSPHRASE),
        (1 << 20, PASSPHRASE),
        (16 << 20, PASSPHRASE),
        ((16 << 20) + 511, PASSPHRASE),
        (32 << 20, b""),
        (32 << 20, b"\n"),
    ];
    for (len, key) in cases {
        for by_stdin in [false, true] {
            findings.case();
            let scratch = Scratch::new();
            let mut words = words!["luksFormat", "--batch-mode"].to_vec();
            words.extend(CHEAP.iter().map(OsString::from));
            let mut stdin = Vec::new();
            if by_stdin {
                stdin = key.to_vec();
            } else {
                words.extend(words!["--key-file", scratch.file("key", key)]);
            }
            let with = |name: &str| {
                let mut words = words.clone();
                words.push(scratch.zeros(name, len).into());
                words
            };
            let ours = lucarne_with_stdin(with("ours"), &stdin);
            let theirs = cryptsetup.run_with_stdin(with("theirs"), &stdin);
            findings.check(ours.code == theirs.code, || {
                format!(
                    "luksFormat of {len} bytes, a key of {} bytes, from standard input {by_stdin}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                    key.len(), ours.code, ours.stderr.trim(), theirs.code, theirs.stderr.trim()
                )
            });
            if ours.code != Some(0) {
                findings.check(
                    std::fs::read(scratch.path("ours"))
                        .unwrap()
                        .iter()
                        .all(|&byte| byte == 0),
                    || format!("luksFormat of {len} bytes changed the file"),
                );
            }
        }
    }
    findings.finish();
}
