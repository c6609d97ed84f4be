//! The same volumes through cryptsetup and through us, in both directions. cryptsetup works on copies: it rewrites
//! damaged header copies at any load.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use common::{CHEAP, Findings, PASSPHRASE, for_each, key_file, lucarne, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::ground_truth;
use lucarne_testkit::luks2;
use lucarne_testkit::payload::{self, sha256_hex_of_file};
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::vectors;

const SECTOR_SIZES: [&str; 4] = ["512", "1024", "2048", "4096"];
const KEY_SIZES: [&str; 2] = ["256", "512"];
const METADATA_SIZES: [&str; 9] = [
    "16k", "32k", "64k", "128k", "256k", "512k", "1m", "2m", "4m",
];
const ARGON2_COSTS: &str = "--pbkdf-memory 32 --pbkdf-force-iterations 4 --pbkdf-parallel 1";

/// Options for a new volume, as one types them. The KDF is a cheap one unless they name it.
fn format_options() -> Vec<String> {
    let mut options = Vec::new();
    for sector_size in SECTOR_SIZES {
        for key_size in KEY_SIZES {
            options.push(format!("--sector-size {sector_size} --key-size {key_size}"));
        }
    }
    options.extend(METADATA_SIZES.map(|size| format!("--luks2-metadata-size {size}")));
    options.extend(
        [
            "sha1",
            "sha224",
            "sha384",
            "sha512",
            "ripemd160",
            "whirlpool",
            "blake2b-512",
            "sha3-256",
        ]
        .map(|hash| format!("--hash {hash}")),
    );
    options.extend(["argon2id", "argon2i"].map(|pbkdf| format!("--pbkdf {pbkdf} {ARGON2_COSTS}")));
    options.extend(
        [
            "--pbkdf argon2id --pbkdf-memory 1023 --pbkdf-force-iterations 5 --pbkdf-parallel 4",
            "--pbkdf pbkdf2 --iter-time 50",
            "--cipher aes-xts-plain",
            "--key-slot 5",
            "--key-slot 31",
            "--label weights --subsystem models --uuid 01234567-89ab-4def-8123-456789abcdef",
            "--offset 32768",
            "--offset 40968",
            "--align-payload 8192",
            "--luks2-keyslots-size 512k",
            "--luks2-metadata-size 64k --luks2-keyslots-size 1m --offset 8192",
            "--keyslot-cipher aes-xts-plain64 --keyslot-key-size 256",
        ]
        .map(str::to_owned),
    );
    options
}

fn split(options: &str) -> Vec<&str> {
    let mut words: Vec<&str> = options.split(' ').filter(|word| !word.is_empty()).collect();
    if !words.contains(&"--pbkdf") {
        words.extend(CHEAP);
    }
    words
}

fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn cryptsetup_opens_what_encrypt_makes() {
    let Some(cryptsetup) = Cryptsetup::or_skip("volumes of ours through cryptsetup") else {
        return;
    };
    let plaintext = payload::stream("ours", 300 << 10);
    for_each(&format_options(), |options, findings| {
        let scratch = Scratch::new();
        let key = key_file(&scratch);
        let input = scratch.file("plain", &plaintext);
        let image = scratch.path("image");
        let mut words = os(&["encrypt", "--batch-mode"]);
        words.extend(os(&split(options)));
        words.extend(words!["--key-file", &key, &input, &image]);
        let outcome = lucarne(&words);
        findings.check(outcome.code == Some(0), || {
            format!("encrypt {options}: {outcome:?}")
        });
        if outcome.code == Some(0) {
            agrees(
                &cryptsetup,
                options,
                &image,
                None,
                &plaintext,
                &scratch,
                findings,
            );
        }
    });
}

#[test]
fn cryptsetup_opens_a_detached_header_of_ours() {
    let Some(cryptsetup) = Cryptsetup::or_skip("detached headers of ours through cryptsetup")
    else {
        return;
    };
    let plaintext = payload::stream("detached", 300 << 10);
    for_each(
        &[
            "",
            "--sector-size 512",
            "--offset 2048 --luks2-keyslots-size 512k",
            "--luks2-metadata-size 128k",
        ],
        |options, findings| {
            let scratch = Scratch::new();
            let key = key_file(&scratch);
            let input = scratch.file("plain", &plaintext);
            let (image, header) = (scratch.path("image"), scratch.path("header"));
            let mut words = os(&["encrypt", "--batch-mode"]);
            words.extend(os(&split(options)));
            words.extend(words![
                "--header",
                &header,
                "--key-file",
                &key,
                &input,
                &image
            ]);
            let outcome = lucarne(&words);
            findings.check(outcome.code == Some(0), || {
                format!("encrypt --header {options}: {outcome:?}")
            });
            if outcome.code == Some(0) {
                agrees(
                    &cryptsetup,
                    options,
                    &image,
                    Some(&header),
                    &plaintext,
                    &scratch,
                    findings,
                );
            }
        },
    );
}

/// cryptsetup takes the passphrase, tells the same of the header, has the same volume key and the same plaintext.
fn agrees(
    cryptsetup: &Cryptsetup,
    options: &str,
    image: &Path,
    header: Option<&Path>,
    plaintext: &[u8],
    scratch: &Scratch,
    findings: &mut Findings,
) {
    let key = key_file(scratch);
    let before = sha256_hex_of_file(header.unwrap_or(image));
    let header_copy = scratch.copy(header.unwrap_or(image), "header-copy");

    let outcome = cryptsetup.run(words![
        "open",
        "--test-passphrase",
        "--key-file",
        &key,
        &header_copy
    ]);
    findings.check(outcome.code == Some(0), || {
        format!("{options}: cryptsetup open: {}", outcome.stderr.trim())
    });
    for further in [
        &["luksDump"][..],
        &["luksDump", "--dump-volume-key", "--batch-mode"],
    ] {
        let mut theirs = os(further);
        theirs.extend(words!["--key-file", &key, &header_copy]);
        let mut ours = os(further);
        // The same path for both: the text names it.
        ours.extend(words!["--key-file", &key, &header_copy]);
        same_text(
            &format!("{options}: {further:?}"),
            &lucarne(&ours).text(),
            &cryptsetup.run(&theirs).text(),
            findings,
        );
    }
    // A header that cryptsetup had to repair would have changed.
    findings.equal(
        &format!("{options}: header after cryptsetup"),
        &sha256_hex_of_file(&header_copy),
        &before,
    );

    let theirs = cryptsetup.plaintext(image, header, &key);
    findings.check(theirs == plaintext, || {
        format!(
            "{options}: cryptsetup's plaintext differs ({} bytes, {} expected)",
            theirs.len(),
            plaintext.len()
        )
    });
    let mut words = words!["decrypt", "--key-file", &key].to_vec();
    if let Some(header) = header {
        words.extend(words!["--header", header]);
    }
    words.extend(words![image, "-"]);
    let ours = lucarne(&words);
    findings.check(ours.stdout == plaintext, || {
        format!("{options}: decrypt: {:?} {}", ours.code, ours.stderr.trim())
    });
}

/// Lengths that are not whole sectors: cryptsetup sees zeros to the end of the last one, we the exact length.
#[test]
fn a_length_that_is_no_whole_sector_is_padded_for_cryptsetup_and_exact_for_us() {
    let Some(cryptsetup) = Cryptsetup::or_skip("odd lengths through cryptsetup") else {
        return;
    };
    let mut findings = Findings::default();
    for (len, sector_size) in [
        (1, 4096),
        (511, 512),
        (513, 512),
        (4095, 4096),
        (100_001, 2048),
        (1 << 20, 4096),
    ] {
        for stream in [false, true] {
            findings.case();
            let scratch = Scratch::new();
            let key = key_file(&scratch);
            let plaintext = payload::stream("odd", len);
            let image = scratch.path("image");
            let sector = sector_size.to_string();
            let mut words = os(&["encrypt", "--batch-mode", "--sector-size", &sector]);
            words.extend(os(&CHEAP));
            words.extend(words!["--key-file", &key]);
            let outcome = if stream {
                words.extend(words!["-", &image]);
                common::lucarne_with_stdin(&words, &plaintext)
            } else {
                words.extend(words![scratch.file("plain", &plaintext), &image]);
                lucarne(&words)
            };
            let case = format!("{len} bytes, sectors of {sector_size}, stream {stream}");
            findings.check(outcome.code == Some(0), || {
                format!("{case}: encrypt: {outcome:?}")
            });
            if outcome.code != Some(0) {
                continue;
            }
            findings.check(
                common::decrypted(&scratch, &image, &[]) == plaintext,
                || format!("{case}: decrypt"),
            );
            let mut padded = plaintext;
            padded.resize(len.next_multiple_of(sector_size), 0);
            findings.check(
                common::decrypted(&scratch, &image, &["--whole"]) == padded,
                || format!("{case}: decrypt --whole"),
            );
            findings.check(cryptsetup.plaintext(&image, None, &key) == padded, || {
                format!("{case}: cryptsetup")
            });
        }
    }
    findings.finish();
}

/// luksFormat and then write at offsets that are no sector's.
#[test]
fn cryptsetup_reads_what_write_wrote() {
    let Some(cryptsetup) = Cryptsetup::or_skip("written volumes through cryptsetup") else {
        return;
    };
    for_each(&SECTOR_SIZES, |sector_size, findings| {
        let scratch = Scratch::new();
        let key = key_file(&scratch);
        let image = scratch.zeros("image", 3 << 20);
        let mut words = os(&[
            "luksFormat",
            "--batch-mode",
            "--sector-size",
            sector_size,
            "--luks2-keyslots-size",
            "512k",
            "--offset",
            "2048",
        ]);
        words.extend(os(&CHEAP));
        words.extend(words!["--key-file", &key, &image]);
        must(&words);
        let mut expected = common::decrypted(&scratch, &image, &[]);
        findings.equal(
            &format!("{sector_size}: volume's length"),
            &expected.len(),
            &(2 << 20),
        );
        for (offset, len) in [
            (0, 1),
            (511, 2),
            (4095, 8193),
            (1_000_003, 300_007),
            ((2 << 20) - 5, 5),
            (777, 0),
        ] {
            let bytes = payload::stream(&format!("at {offset}"), len);
            let offset_word = offset.to_string();
            let outcome = common::lucarne_with_stdin(
                words!["write", "--offset", offset_word, "--key-file", &key, &image],
                &bytes,
            );
            findings.check(outcome.code == Some(0), || {
                format!("{sector_size}: write at {offset}: {outcome:?}")
            });
            expected[offset..offset + len].copy_from_slice(&bytes);
        }
        findings.check(cryptsetup.plaintext(&image, None, &key) == expected, || {
            format!("{sector_size}: cryptsetup's plaintext differs from what was written")
        });
        findings.check(common::decrypted(&scratch, &image, &[]) == expected, || {
            format!("{sector_size}: decrypt differs")
        });
        // Past the end: an error, and nothing before it has changed.
        let end = expected.len() - 1;
        let outcome = common::lucarne_with_stdin(
            words![
                "write",
                "--offset",
                end.to_string(),
                "--key-file",
                &key,
                &image
            ],
            b"ab",
        );
        findings.equal(
            &format!(
                "{sector_size}: write past the end ({})",
                outcome.stderr.trim()
            ),
            &outcome.code,
            &Some(1),
        );
        let after = common::decrypted(&scratch, &image, &[]);
        findings.check(
            after.len() == expected.len() && after[..end] == expected[..end],
            || format!("{sector_size}: a write past the end changed what lies before it"),
        );
    });
}

/// cryptsetup encrypts files in place, with the header apart and before the data: we read the same bytes.
#[test]
fn we_read_what_cryptsetup_encrypts() {
    let Some(cryptsetup) = Cryptsetup::or_skip("volumes of cryptsetup through us") else {
        return;
    };
    let mut cases = Vec::new();
    for sector_size in SECTOR_SIZES {
        for key_size in KEY_SIZES {
            cases.push(format!("--sector-size {sector_size} --key-size {key_size}"));
        }
    }
    cases.extend(["argon2id", "argon2i"].map(|pbkdf| format!("--pbkdf {pbkdf} {ARGON2_COSTS}")));
    cases.extend(
        [
            "",
            "--hash sha512",
            "--hash whirlpool",
            "--cipher aes-xts-plain",
        ]
        .map(str::to_owned),
    );
    for_each(&cases, |options, findings| {
        let plaintext = payload::stream("theirs", 1 << 20);
        for detached in [false, true] {
            let scratch = Scratch::new();
            let key = key_file(&scratch);
            let image = scratch.file("image", &plaintext);
            let header = scratch.path("header");
            let mut words = os(&[
                "reencrypt",
                "--encrypt",
                "--batch-mode",
                "--type",
                "luks2",
                "--resilience",
                "none",
            ]);
            words.extend(os(&split(options)));
            words.extend(words!["--key-file", &key]);
            if detached {
                words.extend(words!["--header", &header]);
            } else {
                std::fs::OpenOptions::new()
                    .write(true)
                    .open(&image)
                    .unwrap()
                    .set_len((1 << 20) + (4 << 20))
                    .unwrap();
                words.extend(words![
                    "--reduce-device-size",
                    "4M",
                    "--luks2-keyslots-size",
                    "768k"
                ]);
            }
            words.push(image.clone().into());
            cryptsetup.must(&words);
            let mut words = os(&["decrypt"]);
            if detached {
                words.extend(words!["--header", &header]);
            }
            words.extend(words!["--key-file", &key, &image, "-"]);
            let outcome = lucarne(&words);
            let same = outcome.stdout.get(..plaintext.len()) == Some(&plaintext[..]);
            findings.check(outcome.code == Some(0) && same, || {
                format!(
                    "{options}, detached {detached}: decrypt ended with {:?}, {} bytes: {}",
                    outcome.code,
                    outcome.stdout.len(),
                    outcome.stderr.trim()
                )
            });
        }
    });
}

/// Volume keys go both ways: dumped by one into a file, taken by the other.
#[test]
fn volume_key_files_go_both_ways() {
    let Some(cryptsetup) = Cryptsetup::or_skip("volume keys through cryptsetup") else {
        return;
    };
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = payload::stream("volume key", 64 << 10);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let copy = scratch.copy(&image, "copy");
    let (ours, theirs) = (scratch.path("ours"), scratch.path("theirs"));
    for (path, program) in [(&ours, true), (&theirs, false)] {
        let words = words![
            "luksDump",
            "--batch-mode",
            "--dump-volume-key",
            "--key-file",
            &key,
            "--volume-key-file",
            path,
            if program { &image } else { &copy }
        ];
        if program {
            drop(must(&words))
        } else {
            drop(cryptsetup.must(&words))
        }
    }
    let volume_key = std::fs::read(&ours).unwrap();
    assert_eq!(volume_key, std::fs::read(&theirs).unwrap());
    assert_eq!(volume_key.len(), 64);
    // A new volume under the same key: the same ciphertext.
    let path = ours.to_str().unwrap();
    let again = common::encrypted(&scratch, "again", &plaintext, &["--volume-key-file", path]);
    let (first, second) = (
        std::fs::read(&image).unwrap(),
        std::fs::read(&again).unwrap(),
    );
    let offset = luks2::data_offset(&first);
    assert!(first[offset..] == second[offset..]);
    assert!(
        first[offset..] == cryptsetup.ciphertext(&plaintext, &volume_key, "aes-xts-plain64", 4096)
    );
}

/// luksDump, luksUUID and isLuks print and return the same for every image that is at hand.
#[test]
fn headers_are_told_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("texts of cryptsetup") else {
        return;
    };
    for_each(&vectors::all(), |vector, findings| {
        let scratch = Scratch::new();
        let unpacked = vector.unpack(&scratch);
        told_alike(
            &cryptsetup,
            &vector.name,
            unpacked.header_device(),
            &scratch,
            findings,
        );
    });
}

#[test]
fn headers_made_through_dm_crypt_are_told_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("texts of cryptsetup") else {
        return;
    };
    let truths = ground_truth::all_or_skip("texts on images made through dm-crypt");
    if truths.is_empty() {
        return;
    }
    for_each(&truths, |truth, findings| {
        let scratch = Scratch::new();
        let image = truth.unpack(&scratch);
        told_alike(&cryptsetup, &truth.name, &image, &scratch, findings);
    });
}

fn told_alike(
    cryptsetup: &Cryptsetup,
    name: &str,
    image: &Path,
    scratch: &Scratch,
    findings: &mut Findings,
) {
    let verbs = [
        vec!["isLuks"],
        vec!["isLuks", "--type", "luks2"],
        vec!["isLuks", "--type", "luks1"],
        vec!["luksDump"],
        vec!["luksDump", "--type", "luks2"],
        vec!["luksDump", "--type", "luks1"],
        vec!["luksUUID"],
        vec!["luksDump", "--dump-json-metadata"],
    ];
    let copy = scratch.path("copy");
    for verb in verbs {
        let with = |path: &PathBuf| {
            let mut words = os(&verb);
            words.push(path.into());
            words
        };
        // LUKS1's text names the image: both get the same.
        scratch.copy(image, "copy");
        let theirs = cryptsetup.run(with(&copy));
        scratch.copy(image, "copy");
        let ours = lucarne(with(&copy));
        let what = format!("{name}: {}", verb.join(" "));
        findings.check(ours.code == theirs.code, || {
            format!(
                "{what}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                ours.code,
                ours.stderr.trim(),
                theirs.code,
                theirs.stderr.trim()
            )
        });
        if verb.contains(&"--dump-json-metadata") {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            findings.equal(&what, &value(&ours.text()), &value(&theirs.text()));
        } else {
            same_text(&what, &ours.text(), &theirs.text(), findings);
        }
    }
}

/// Notes the first line that differs.
fn same_text(what: &str, ours: &str, theirs: &str, findings: &mut Findings) {
    if ours == theirs {
        return;
    }
    let (mut our_lines, mut their_lines) = (ours.lines(), theirs.lines());
    for number in 1.. {
        match (our_lines.next(), their_lines.next()) {
            (Some(our), Some(their)) if our == their => {}
            (our, their) => {
                findings.check(false, || {
                    format!("{what}: line {number}: expected {their:?}, got {our:?}")
                });
                return;
            }
        }
    }
}

/// Passphrases by every way that both have: first line of standard input, key files in part, key file on standard input.
#[test]
fn passphrases_are_read_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("passphrases through cryptsetup") else {
        return;
    };
    let mut findings = Findings::default();
    let scratch = Scratch::new();
    let image = common::encrypted(&scratch, "image", b"x", &[]);
    let text = std::str::from_utf8(PASSPHRASE).unwrap();
    let with_newline = scratch.file("with-newline", format!("{text}\n").as_bytes());
    let padded = scratch.file("padded", format!("ab{text}cd").as_bytes());
    let empty = scratch.file("empty", b"");
    let long = scratch.file("long", &vec![b'x'; (8 << 20) + 1]);
    let missing = scratch.path("missing");
    let folder = scratch.dir().to_path_buf();
    let size = PASSPHRASE.len().to_string();
    let cases: Vec<(Vec<OsString>, Vec<u8>)> = vec![
        (vec![], PASSPHRASE.to_vec()),
        (vec![], format!("{text}\nmore\n").into_bytes()),
        (vec![], format!("{text}\r\n").into_bytes()),
        (vec![], b"".to_vec()),
        (vec![], b"\n".to_vec()),
        (vec![], b"wrong\n".to_vec()),
        (words!["--key-file", "-"].to_vec(), PASSPHRASE.to_vec()),
        (
            words!["--key-file", "-"].to_vec(),
            format!("{text}\n").into_bytes(),
        ),
        (
            words!["--key-file=-", "--keyfile-size", &size].to_vec(),
            format!("{text}\n").into_bytes(),
        ),
        (words!["--key-file", &with_newline].to_vec(), vec![]),
        (
            words!["--key-file", &with_newline, "--keyfile-size", &size].to_vec(),
            vec![],
        ),
        (words!["-d", &with_newline, "-l", &size].to_vec(), vec![]),
        (
            words![
                "--key-file",
                &padded,
                "--keyfile-offset",
                "2",
                "--keyfile-size",
                &size
            ]
            .to_vec(),
            vec![],
        ),
        (
            words!["--key-file", &padded, "--keyfile-offset", "2"].to_vec(),
            vec![],
        ),
        (
            words!["--key-file", &padded, "--keyfile-offset", "1000"].to_vec(),
            vec![],
        ),
        (
            words!["--key-file", &padded, "--keyfile-size", "1000"].to_vec(),
            vec![],
        ),
        (words!["--key-file", &empty].to_vec(), vec![]),
        (words!["--key-file", &long].to_vec(), vec![]),
        (
            words!["--key-file", &long, "--keyfile-size", "8388609"].to_vec(),
            vec![],
        ),
        (words!["--key-file", &missing].to_vec(), vec![]),
        (words!["--key-file", &folder].to_vec(), vec![]),
        (words!["--key-slot", "0"].to_vec(), PASSPHRASE.to_vec()),
        (words!["--key-slot", "1"].to_vec(), PASSPHRASE.to_vec()),
        (words!["--key-slot", "32"].to_vec(), PASSPHRASE.to_vec()),
        (words!["--key-slot", "-2"].to_vec(), PASSPHRASE.to_vec()),
    ];
    for (options, stdin) in cases {
        findings.case();
        let mut words = os(&["open", "--test-passphrase"]);
        words.extend(options.iter().cloned());
        words.push((&image).into());
        let theirs = cryptsetup.run_with_stdin(&words, &stdin);
        let ours = common::lucarne_with_stdin(&words, &stdin);
        findings.check(ours.code == theirs.code, || {
            format!(
                "open --test-passphrase {options:?} with {} bytes of standard input: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                stdin.len(),
                ours.code,
                ours.stderr.trim(),
                theirs.code,
                theirs.stderr.trim()
            )
        });
    }
    findings.finish();
}
