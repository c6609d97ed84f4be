//! The same words to cryptsetup and to lucarne: the same exit code, and the same volume or text.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use common::{CHEAP, Findings, key_file, lucarne, must, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::luks2;
use lucarne_testkit::scratch::Scratch;
use serde_json::{Value, json};

/// Words of a command line, and a path after them.
fn line(words: &str, path: impl Into<OsString>) -> Vec<OsString> {
    let mut line: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    line.push(path.into());
    line
}

/// Files of every awkward length, formatted by both: the same are refused, with the same code, and what
/// is made has the same sectors and offsets.
#[test]
fn luks_format_takes_the_same_lengths_and_sector_sizes() {
    let Some(cryptsetup) = Cryptsetup::or_skip("lengths that luksFormat takes") else {
        return;
    };
    let mut cases: Vec<(u64, &str)> = Vec::new();
    for len in [1, 511, 512, 513, 4096, (8 << 20) + 512, (8 << 20) + 392] {
        cases.extend([(len, ""), (len, "--sector-size 4096")]);
    }
    const MIB_20: u64 = 20 << 20;
    for len in [
        MIB_20,
        MIB_20 + 1,
        MIB_20 + 511,
        MIB_20 + 512,
        MIB_20 + 2048,
    ] {
        for options in [
            "",
            "--sector-size 512",
            "--sector-size 1024",
            "--sector-size 4096",
        ] {
            cases.push((len, options));
        }
        cases.extend([
            (len, "--align-payload 2047"),
            (len, "--align-payload 2047 --sector-size 1024"),
            (len, "--align-payload 1 --sector-size 1024"),
        ]);
    }
    common::for_each(&cases, |&(len, options), findings| {
        for detached in [false, true] {
            if detached && options.contains("align") {
                continue;
            }
            let what = format!("{options} of {len} bytes, header apart: {detached}");
            let scratch = Scratch::new();
            let key = key_file(&scratch);
            let words = |name: &str| {
                let mut words = line("luksFormat --batch-mode --key-file", &key);
                words.extend(CHEAP.iter().map(OsString::from));
                words.extend(options.split_whitespace().map(OsString::from));
                let header = scratch.path(&format!("{name}.header"));
                if detached {
                    words.extend(words!["--header", header]);
                }
                words.push(scratch.zeros(name, len).into());
                words
            };
            let ours = lucarne(words("ours"));
            let theirs = cryptsetup.run(words("theirs"));
            findings.check(ours.code == theirs.code, || {
                format!(
                    "{what}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                    ours.code,
                    ours.stderr.trim(),
                    theirs.code,
                    theirs.stderr.trim()
                )
            });
            if ours.code == Some(0) && theirs.code == Some(0) {
                let segments = |name: &str| {
                    let name = if detached {
                        format!("{name}.header")
                    } else {
                        name.to_owned()
                    };
                    luks2::json(&std::fs::read(scratch.path(&name)).unwrap(), 0)["segments"].take()
                };
                findings.equal(&what, &segments("ours"), &segments("theirs"));
            } else {
                let left = std::fs::read(scratch.path("ours")).unwrap();
                findings.check(
                    left.len() as u64 == len && left.iter().all(|&byte| byte == 0),
                    || format!("{what}: refused, and changed the file"),
                );
            }
        }
    });
}

/// Spellings and layouts that a script may meet: the same are refused, and what is made is the same.
#[test]
fn luks_format_reads_its_options_alike() {
    let Some(cryptsetup) = Cryptsetup::or_skip("options of luksFormat") else {
        return;
    };
    let cases = [
        "--offset 010000 --sector-size 512",
        "--offset 0x8000",
        "--offset 8x",
        "--keyfile-size 002",
        "--keyfile-size 0x2",
        "--key-size 0512",
        "--key-size 0x200",
        "--sector-size 0x1000",
        "--timeout 0x10",
        "--type LUKS2",
        "--type plain",
        "--tries 2",
        "--uuid 12345678123412341234123456789abc",
        "--uuid {12345678-1234-1234-1234-123456789abc}",
        "--uuid 12345678-1234-1234-1234-123456789ABC",
        "--luks2-keyslots-size 128m",
        "--luks2-keyslots-size 4k",
        "--header header",
        "--header header --offset 8192",
        "--header header --offset 65536",
        "--header header --offset 8",
        "--header header --offset 64",
        "--header header --align-payload 8192",
        "--header header --align-payload 8",
        "--header header --luks2-keyslots-size 256k --offset 8192",
        "--header header --luks2-keyslots-size 8m --offset 8192",
        "--header missing/header",
        "--pbkdf-force-iterations 0",
        "--pbkdf-force-iterations 999",
    ];
    common::for_each(&cases, |options, findings| {
        let mut made = Vec::new();
        for program in ["lucarne", "cryptsetup"] {
            let scratch = Scratch::new();
            let mut words = line("luksFormat -q --pbkdf pbkdf2", "--key-file");
            words.push(key_file(&scratch).into());
            if !options.contains("--pbkdf-force-iterations") {
                words.extend(words!["--pbkdf-force-iterations", "1000"]);
            }
            for word in options.split(' ') {
                let is_path = word.ends_with("header") && !word.starts_with('-');
                words.push(if is_path {
                    scratch.path(word).into()
                } else {
                    word.into()
                });
            }
            let image = scratch.zeros("image", 20 << 20);
            words.push((&image).into());
            let outcome = match program {
                "lucarne" => lucarne(&words),
                _ => cryptsetup.run(&words),
            };
            let path = match scratch.path("header").exists() {
                true => scratch.path("header"),
                false => image,
            };
            let header = (outcome.code == Some(0)).then(|| {
                let bytes = std::fs::read(path).unwrap();
                let mut json = luks2::json(&bytes, 0);
                for keyslot in json["keyslots"].as_object_mut().unwrap().values_mut() {
                    keyslot["kdf"]["salt"] = Value::Null;
                }
                (
                    bytes.len(),
                    json["keyslots"].take(),
                    json["segments"].take(),
                    json["config"].take(),
                )
            });
            made.push((outcome.code, header));
        }
        findings.equal(options, &made[0], &made[1]);
    });
}

/// The least memory that a measured keyslot has.
#[test]
fn a_short_iter_time_leaves_the_same_memory() {
    let Some(cryptsetup) = Cryptsetup::or_skip("the floor of measured costs") else {
        return;
    };
    let mut findings = Findings::default();
    for memory in [
        "",
        "--pbkdf-memory 100000",
        "--pbkdf-memory 65536",
        "--pbkdf-memory 1000",
        "--pbkdf-memory 32",
    ] {
        let scratch = Scratch::new();
        let key = key_file(&scratch);
        let kdf = |name: &str, format: &dyn Fn(Vec<OsString>) -> Option<i32>| {
            let image = scratch.zeros(name, 20 << 20);
            let words = format!("luksFormat -q --pbkdf argon2id --iter-time 1 {memory} --key-file");
            let mut words = line(&words, &key);
            words.push((&image).into());
            assert_eq!(format(words), Some(0), "{memory}");
            let json = luks2::json(&std::fs::read(&image).unwrap(), 0);
            let kdf = &json["keyslots"]["0"]["kdf"];
            (
                kdf["memory"].as_u64().unwrap(),
                kdf["cpus"].as_u64().unwrap(),
            )
        };
        findings.case();
        let ours = kdf("ours", &|words| lucarne(words).code);
        let theirs = kdf("theirs", &|words| cryptsetup.run(words).code);
        findings.equal(memory, &ours, &theirs);
    }
    findings.finish();
}

/// A volume of cryptsetup's with the keyslot 0 of `key` and the unbound keyslot 3 of `unbound`.
fn with_unbound_keyslot(cryptsetup: &Cryptsetup, scratch: &Scratch) -> PathBuf {
    let image = scratch.zeros("image", 3 << 20);
    let key = key_file(scratch);
    let unbound = scratch.file("unbound", b"unbound passphrase");
    let mut format = line(
        "luksFormat -q --luks2-keyslots-size 1m --offset 4096 --key-file",
        &key,
    );
    format.push((&image).into());
    cryptsetup.must(format.iter().chain(&CHEAP.map(OsString::from)));
    let add = words![
        "luksAddKey",
        "-q",
        "--unbound",
        "--key-size",
        "256",
        "-S",
        "3",
        "--key-file",
        &key,
        &image,
        &unbound
    ];
    cryptsetup.must(add.iter().chain(&CHEAP.map(OsString::from)));
    image
}

/// What is wrong with one keyslot or digest concerns nobody who opens another: both load the header and open
/// the keyslot 0, or both refuse.
#[test]
fn a_defect_of_one_part_stops_the_same_openings() {
    let Some(cryptsetup) = Cryptsetup::or_skip("headers with unusable parts") else {
        return;
    };
    let scratch = Scratch::new();
    let image = with_unbound_keyslot(&cryptsetup, &scratch);
    let key = scratch.path("key");
    let second = scratch.file("second", b"second");
    let add = words!["luksAddKey", "-q", "--key-file", &key, &image, &second];
    cryptsetup.must(add.iter().chain(&CHEAP.map(OsString::from)));
    let sound = std::fs::read(&image).unwrap();
    let salt = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let argon2 = |member: &str, value: Value| {
        let mut kdf =
            json!({"type": "argon2id", "time": 4, "memory": 1000, "cpus": 1, "salt": salt});
        kdf[member] = value;
        kdf
    };
    // Keyslot 1 is of the data, 3 is unbound and alone with digest 1.
    let mut cases: Vec<(String, Value)> = Vec::new();
    for keyslot in ["/keyslots/1", "/keyslots/3"] {
        cases.extend(
            [
                ("/key_size", json!(0)),
                ("/key_size", json!(-1)),
                ("/key_size", json!("64")),
                ("/area/key_size", json!(0)),
                ("/area/key_size", json!(-1)),
                ("/area/key_size", json!("64")),
                ("/area/size", json!("4096")),
                ("/area/size", json!("0")),
                ("/area/encryption", json!("")),
                ("/area/encryption", json!("none-such")),
                ("/area/type", json!("other")),
                ("/priority", json!(3)),
                ("/priority", json!(-1)),
                ("/priority", json!("1")),
                ("/af/stripes", json!(1)),
                ("/af/stripes", json!("4000")),
                ("/af/hash", json!("none-such")),
                ("/af/hash", json!(1)),
                ("/af/type", json!("other")),
                ("/kdf/iterations", json!(0)),
                ("/kdf/iterations", json!(-1)),
                ("/kdf/iterations", json!(1_u64 << 40)),
                ("/kdf/iterations", json!("1000")),
                ("/kdf/salt", json!("!!!!")),
                ("/kdf/salt", json!("AAAA")),
                ("/kdf/salt", json!("")),
                ("/kdf/salt", json!(1)),
                ("/kdf/type", json!("none-such")),
                ("/kdf/type", json!(1)),
                ("/kdf", argon2("time", json!(0))),
                ("/kdf", argon2("memory", json!(0))),
                ("/kdf", argon2("cpus", json!(-1))),
                ("/kdf", argon2("cpus", json!("1"))),
                ("/type", json!("other")),
                ("/type", json!(1)),
            ]
            .map(|(member, value)| (format!("{keyslot}{member}"), value)),
        );
    }
    cases.extend(
        [
            ("type", json!("other")),
            ("type", json!("")),
            ("type", json!(1)),
            ("hash", json!(1)),
            ("hash", json!("none-such")),
            ("iterations", json!(0)),
            ("iterations", json!("1000")),
            ("iterations", Value::Null),
            ("salt", json!("AAAA")),
            ("salt", json!(1)),
            ("digest", json!("AAAA")),
            ("digest", Value::Null),
            ("keyslots", json!(1)),
            ("segments", json!(["7"])),
        ]
        .map(|(member, value)| (format!("/digests/1/{member}"), value)),
    );
    common::for_each(&cases, |(pointer, value), findings| {
        let what = format!("{pointer} = {value}");
        let scratch = Scratch::new();
        let mut bytes = sound.clone();
        luks2::edit_json(&mut bytes, |json| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            json.pointer_mut(parent).unwrap()[name] = value.clone();
        });
        for words in ["open --test-passphrase --key-file", "luksDump --key-file"] {
            let with = |image: PathBuf| {
                let mut words = line(words, &key);
                words.push(image.into());
                words
            };
            // Each its own copy: cryptsetup repairs what it reads.
            let ours = lucarne(with(scratch.file("ours", &bytes)));
            let theirs = cryptsetup.run(with(scratch.file("theirs", &bytes)));
            findings.check(ours.code == theirs.code, || {
                format!(
                    "{what}: {words}: exit code {:?} ({}), cryptsetup's is {:?} ({})",
                    ours.code,
                    ours.stderr.trim(),
                    theirs.code,
                    theirs.stderr.trim()
                )
            });
        }
        // The part itself is no way in, and says why.
        let id = if pointer.contains("keyslots/1") {
            "1"
        } else {
            "3"
        };
        let passphrase = if id == "1" {
            &second
        } else {
            &scratch.file("unbound", b"unbound passphrase")
        };
        let mut words = line(
            &format!("open --test-passphrase -S {id} --key-file"),
            passphrase,
        );
        words.push(scratch.path("ours").into());
        let outcome = lucarne(words);
        findings.check(
            outcome.code == Some(1) && outcome.stderr.lines().count() == 1,
            || {
                format!(
                    "{what}: the part itself: {:?} {}",
                    outcome.code, outcome.stderr
                )
            },
        );
    });
}

/// What an unbound keyslot, named or not, gives to each verb.
#[test]
fn an_unbound_keyslot_opens_no_data() {
    let Some(cryptsetup) = Cryptsetup::or_skip("unbound keyslots") else {
        return;
    };
    let scratch = Scratch::new();
    let image = with_unbound_keyslot(&cryptsetup, &scratch);
    let before = std::fs::read(&image).unwrap();
    let mut findings = Findings::default();
    let mut alike = |words: &str, key: &str, expected: i32| {
        let mut words = line(words, "--key-file");
        words.extend(words![scratch.path(key), &image]);
        let (ours, theirs) = (lucarne(&words), cryptsetup.run(&words));
        findings.case();
        findings.equal(&format!("{words:?}"), &ours.code, &Some(expected));
        findings.equal(
            &format!("{words:?}: cryptsetup"),
            &theirs.code,
            &Some(expected),
        );
        findings.equal(&format!("{words:?}"), &ours.text(), &theirs.text());
    };
    for keyslot in ["", "-S 0", "-S 3", "-S 5", "--unbound -S 3"] {
        // The volume key, whatever keyslot is named.
        alike(
            &format!("luksDump -q --dump-volume-key {keyslot}"),
            "key",
            0,
        );
    }
    alike("luksDump -q --unbound -S 3", "unbound", 0);
    alike("luksDump -q --unbound -S 3", "key", 2);
    alike("luksDump -q --unbound -S 0", "key", 1);
    alike("open --test-passphrase -S 3", "unbound", 0);
    alike("open --test-passphrase -S 3 --unbound", "unbound", 0);
    alike("open --test-passphrase --unbound", "unbound", 0);
    alike("open --test-passphrase -S 3", "key", 2);
    alike("open --test-passphrase -S 0", "unbound", 2);
    findings.finish();

    // And never the data: a key of another length would not even fit the cipher.
    for verb in [
        words![
            "decrypt",
            "-q",
            "-S",
            "3",
            "--key-file",
            scratch.path("unbound"),
            &image,
            scratch.path("out")
        ]
        .to_vec(),
        words![
            "read",
            "-S",
            "3",
            "--key-file",
            scratch.path("unbound"),
            &image
        ]
        .to_vec(),
        words![
            "luksDump",
            "-q",
            "--dump-volume-key",
            "-S",
            "3",
            "--key-file",
            scratch.path("unbound"),
            &image
        ]
        .to_vec(),
    ] {
        let outcome = lucarne(&verb);
        assert!(
            matches!(outcome.code, Some(1 | 2)),
            "{verb:?}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, b"", "{verb:?}");
    }
    assert!(!scratch.path("out").exists());
    assert_eq!(std::fs::read(&image).unwrap(), before);
}

/// Options that a script gives to every opening, and operands that are too many.
#[test]
fn what_has_no_effect_on_a_test_is_taken_all_the_same() {
    let Some(cryptsetup) = Cryptsetup::or_skip("options of open --test-passphrase") else {
        return;
    };
    let scratch = Scratch::new();
    let image = common::encrypted(&scratch, "image", b"plain", &[]);
    let key = key_file(&scratch);
    let mut findings = Findings::default();
    let mut alike = |words: &[OsString]| {
        let copy = scratch.copy(&image, "copy");
        let theirs: Vec<_> = words
            .iter()
            .map(|word| {
                if *word == image {
                    copy.as_os_str()
                } else {
                    word.as_os_str()
                }
            })
            .collect();
        let (ours, theirs) = (lucarne(words), cryptsetup.run(theirs));
        findings.case();
        findings.check(ours.code == theirs.code, || {
            format!(
                "{words:?}: {:?} ({}), cryptsetup's is {:?} ({})",
                ours.code,
                ours.stderr.trim(),
                theirs.code,
                theirs.stderr.trim()
            )
        });
    };
    for option in [
        "--readonly",
        "-r",
        "--disable-locks",
        "--allow-discards",
        "--perf-same_cpu_crypt",
        "--perf-submit_from_crypt_cpus",
        "--perf-no_read_workqueue",
        "--perf-no_write_workqueue",
        "--size 8",
        "-b 8",
        "--integrity-no-journal",
        "--cipher aes-cbc-plain",
        "--key-size 128",
        "--hash sha1",
        "--disable-keyring",
        "--disable-external-tokens",
        "-y",
        "-t 5",
        "-T 2",
        "--shared",
        "--persistent",
        "--refresh",
        "--offset 8",
        "--skip 8",
        "--deferred",
        "--tcrypt-hidden",
        "--label x",
        "--iter-time 5",
        "--timeout abc",
        "--tries abc",
    ] {
        let mut words = line(&format!("open --test-passphrase {option} --key-file"), &key);
        words.push((&image).into());
        alike(&words);
    }
    let extra = |words: &str, more: &[&str]| {
        let mut words = line(words, &image);
        words.extend(more.iter().map(OsString::from));
        words
    };
    alike(&extra("luksUUID", &["extra"]));
    alike(&extra("luksUUID", &["extra", "more"]));
    alike(&extra("luksDump", &["extra"]));
    alike(&extra("isLuks", &["extra"]));
    let with_key = format!("open --test-passphrase --key-file {}", key.display());
    alike(&extra(&with_key, &["name"]));
    alike(&extra(&with_key, &["name", "more"]));
    findings.finish();
}

/// The lock that two formatting processes need, and that `--disable-locks` does without.
#[test]
fn disable_locks_formats_what_another_process_has_locked() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let image = scratch.zeros("image", 20 << 20);
    let locked = std::fs::File::open(&image).unwrap();
    rustix::fs::flock(
        &locked,
        rustix::fs::FlockOperation::NonBlockingLockExclusive,
    )
    .unwrap();
    let format = |options: &[&str]| {
        let mut words = words!["luksFormat", "-q", "--key-file", &key].to_vec();
        words.extend(CHEAP.iter().chain(options).map(OsString::from));
        words.push((&image).into());
        lucarne(words)
    };
    let refused = format(&[]);
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    assert!(std::fs::read(&image).unwrap().iter().all(|&byte| byte == 0));
    assert_eq!(format(&["--disable-locks"]).code, Some(0));
    must(words!["luksUUID", &image]);
}

/// IN, OUT and the header are three files: what would overwrite one with another is refused, and all stay.
#[test]
fn a_header_that_is_another_of_the_files_is_refused() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let input = scratch.file("in", &[9; 5000]);
    let old = scratch.file("old", b"old");
    std::os::unix::fs::symlink("in", scratch.path("link")).unwrap();
    std::fs::hard_link(&input, scratch.path("hard")).unwrap();
    let before = scratch.names();
    let encrypt = |header: &Path, output: &Path| {
        let mut words = words!["encrypt", "-q", "--key-file", &key].to_vec();
        words.extend(CHEAP.iter().map(OsString::from));
        words.extend(words!["--header", header, &input, output]);
        lucarne(words)
    };
    let new = scratch.path("new");
    for (header, output) in [
        (input.clone(), new.clone()),
        (scratch.path("link"), new.clone()),
        (scratch.path("hard"), new.clone()),
        (new.clone(), new.clone()),
        (old.clone(), old.clone()),
        (scratch.path("./new"), new.clone()),
        (new.clone(), input.clone()),
        (new.clone(), scratch.path("link")),
    ] {
        let outcome = encrypt(&header, &output);
        let what = format!("--header {header:?} OUT {output:?}: {}", outcome.stderr);
        assert!(matches!(outcome.code, Some(1 | 5)), "{what}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{what}");
        assert_eq!(scratch.names(), before, "{what}");
        assert_eq!(std::fs::read(&input).unwrap(), [9; 5000], "{what}");
        assert_eq!(std::fs::read(&old).unwrap(), b"old", "{what}");
    }
    // The other way round too: the header of what is decrypted is no OUT.
    assert_eq!(
        encrypt(&scratch.path("header"), &scratch.path("bare")).code,
        Some(0)
    );
    let header = std::fs::read(scratch.path("header")).unwrap();
    for out in ["header", "bare"] {
        let outcome = lucarne(words![
            "decrypt",
            "-q",
            "--key-file",
            &key,
            "--header",
            scratch.path("header"),
            scratch.path("bare"),
            scratch.path(out)
        ]);
        assert_eq!(outcome.code, Some(5), "{out}: {}", outcome.stderr);
        assert_eq!(std::fs::read(scratch.path("header")).unwrap(), header);
    }
}

/// Ciphertext that has replaced the old OUT while its header is not there could not be opened by anybody:
/// a header that cannot have its name keeps OUT as it was.
#[test]
fn a_header_has_its_name_before_out_has() {
    use std::process::Stdio;
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let header = scratch.path("header");
    let old = scratch.file("old", b"old");
    let mut child = common::command()
        .args(words!["encrypt", "-q", "--key-file", &key])
        .args(CHEAP)
        .args(words!["--header", &header, "-", &old])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // More than the pipe holds: once this is taken the header has been looked for and found missing.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &vec![9; 4 << 20]).unwrap();
    std::fs::write(&header, "somebody else's").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(
        stderr.contains("appeared") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert_eq!(std::fs::read(&header).unwrap(), b"somebody else's");
    assert_eq!(std::fs::read(&old).unwrap(), b"old");
    assert_eq!(scratch.names(), ["header", "key", "old"]);
}
