//! Which headers are loaded, unlocked and activated, beside cryptsetup and the kernel: nothing that they refuse, and
//! where we are stricter, the reason stands in `validity.tsv`.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use common::{Findings, for_each, lucarne, words};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload::sha256_hex;
use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::validity::{Base, Bases, Case, Image, PASSPHRASE, corpus, luks1_corpus};

/// What loading any header may take: seconds of a processor, and KiB of address space.
const LOAD_LIMITS: &str = "ulimit -t 1 && ulimit -v 262144";
/// cryptsetup knows no limits on what a header costs. What it has not refused by then, it would go on with.
const PEER_LIMIT_SECONDS: &str = "5";

/// How far a volume gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// `luksDump`.
    Load,
    /// `open --test-passphrase`.
    Unlock,
    /// `open` through the kernel, `read`.
    Activate,
}

/// How the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// We refuse what cryptsetup accepts.
    Stricter,
    /// We accept what cryptsetup refuses.
    Looser,
    /// Both refuse, with another exit code.
    ExitCode,
    /// Both activate, and our plaintext is shorter.
    Length,
}

/// A row of `validity.tsv`.
struct Row {
    stage: Stage,
    difference: Difference,
    name: String,
    /// A part of our error; empty where there is none.
    message: String,
}

/// The list of differences, and which of them were seen.
struct Known {
    rows: Vec<Row>,
    seen: Mutex<BTreeSet<usize>>,
}

impl Known {
    fn load() -> Self {
        let rows = include_str!("../validity.tsv")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                let [stage, difference, name, message, reason, option] = fields[..] else {
                    panic!("not six fields: {line}");
                };
                assert!(!reason.is_empty() && !option.is_empty(), "{line}");
                assert!(option == "none" || option.starts_with("--"), "{line}");
                Row {
                    stage: match stage {
                        "load" => Stage::Load,
                        "unlock" => Stage::Unlock,
                        "activate" => Stage::Activate,
                        other => panic!("{other} is no stage: {line}"),
                    },
                    difference: match difference {
                        "stricter" => Difference::Stricter,
                        "looser" => Difference::Looser,
                        "code" => Difference::ExitCode,
                        "length" => Difference::Length,
                        other => panic!("{other} is no difference: {line}"),
                    },
                    name: name.to_owned(),
                    message: message.to_owned(),
                }
            })
            .collect();
        Self {
            rows,
            seen: Mutex::default(),
        }
    }

    /// A difference that was met: it must be listed, with a part of our error.
    fn meet(
        &self,
        findings: &mut Findings,
        stage: Stage,
        difference: Difference,
        case: &Case,
        ours: &Outcome,
        theirs: &str,
    ) {
        let found = self.rows.iter().position(|row| {
            row.stage == stage && row.difference == difference && row.name == case.name
        });
        if let Some(index) = found {
            self.seen.lock().unwrap().insert(index);
        }
        let listed = found.is_some_and(|index| ours.stderr.contains(&self.rows[index].message));
        findings.check(listed, || {
            format!(
                "{stage:?} {difference:?}\t{}\tours {:?} ({})\ttheirs {theirs}",
                case.name,
                ours.code,
                ours.stderr.trim()
            )
        });
    }

    fn is_stricter_before_activation(&self, case: &Case) -> bool {
        self.rows.iter().any(|row| {
            row.name == case.name
                && row.difference == Difference::Stricter
                && row.stage < Stage::Activate
        })
    }

    /// Every row of these stages was met.
    fn finish(self, stages: &[Stage]) {
        let seen = self.seen.into_inner().unwrap();
        let stale: Vec<&str> = (self.rows.iter().enumerate())
            .filter(|(index, row)| stages.contains(&row.stage) && !seen.contains(index))
            .map(|(_, row)| row.name.as_str())
            .collect();
        assert!(
            stale.is_empty(),
            "validity.tsv: no such differences: {stale:#?}"
        );
    }
}

/// A case's files, anew for each use: cryptsetup repairs what it loads.
struct Files<'a> {
    scratch: &'a Scratch,
    image: &'a Image,
}

impl Files<'_> {
    /// The last arguments of a command: the image, or the detached header and the data.
    fn arguments(&self, name: &str) -> Vec<OsString> {
        let header = self.path(name, "header", &self.image.header);
        match &self.image.data {
            None => vec![header.into()],
            Some(data) => words!["--header", header, self.path(name, "data", data)].to_vec(),
        }
    }

    fn path(&self, name: &str, kind: &str, bytes: &[u8]) -> PathBuf {
        self.scratch.file(&format!("{name}-{kind}"), bytes)
    }
}

/// `luksDump`, or `open --test-passphrase`, on a copy of its own.
fn theirs(cryptsetup: &Cryptsetup, files: &Files<'_>, stage: Stage, key: &PathBuf) -> Outcome {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", PEER_LIMIT_SECONDS]);
    command.arg(cryptsetup.program()).env("LC_ALL", "C");
    match stage {
        Stage::Load => command.arg("luksDump"),
        _ => command
            .args(["open", "--test-passphrase", "--key-file"])
            .arg(key),
    };
    run(command.args(files.arguments("theirs")), b"")
}

/// What ended for its costs had not been refused.
fn accepts(theirs: &Outcome) -> bool {
    matches!(theirs.code, None | Some(0 | 137))
}

#[test]
fn headers_are_loaded_and_unlocked_as_by_cryptsetup() {
    let Some(cryptsetup) = Cryptsetup::or_skip("which headers are loaded") else {
        return;
    };
    let (bases, known) = (Bases::unpack(), Known::load());
    let mut cases = corpus();
    cases.extend(luks1_corpus());
    for_each(&cases, |case, findings| {
        let scratch = Scratch::new();
        let image = case.image(&bases);
        let files = Files {
            scratch: &scratch,
            image: &image,
        };
        let key = scratch.file("key", PASSPHRASE.as_bytes());
        for stage in [Stage::Load, Stage::Unlock] {
            let arguments = files.arguments("ours");
            let ours = match stage {
                Stage::Load => lucarne_loads(&arguments),
                _ => lucarne(
                    words!["open", "--test-passphrase", "--key-file", &key]
                        .iter()
                        .chain(&arguments),
                ),
            };
            findings.check(ours.code.is_some(), || {
                format!("{}: {stage:?} was ended by a signal", case.name)
            });
            let theirs = theirs(&cryptsetup, &files, stage, &key);
            let said = format!("{:?} ({})", theirs.code, theirs.stderr.trim());
            let difference = match (ours.code == Some(0), accepts(&theirs)) {
                (true, false) => Some(Difference::Looser),
                (false, true) => Some(Difference::Stricter),
                (false, false) if ours.code != theirs.code => Some(Difference::ExitCode),
                _ => None,
            };
            if let Some(difference) = difference {
                known.meet(findings, stage, difference, case, &ours, &said);
            }
            findings.check(
                std::fs::read(scratch.path("ours-header")).unwrap() == image.header,
                || format!("{}: {stage:?} changed the image", case.name),
            );
            // What is not loaded by both cannot be unlocked by both.
            if ours.code != Some(0) || !accepts(&theirs) {
                break;
            }
        }
    });
    known.finish(&[Stage::Load, Stage::Unlock]);
}

/// What cannot be loaded is no volume: `isLuks` of each LUKS1 case, those with nothing but a magic among them.
#[test]
fn is_luks_answers_as_cryptsetup() {
    let Some(cryptsetup) = Cryptsetup::or_skip("isLuks") else {
        return;
    };
    let (bases, known) = (Bases::unpack(), Known::load());
    for_each(&luks1_corpus(), |case, findings| {
        let scratch = Scratch::new();
        let image = scratch.file("image", &case.image(&bases).header);
        for options in [&["isLuks"][..], &["isLuks", "--type", "luks1"]] {
            let line = || options.iter().map(OsString::from).chain([(&image).into()]);
            let (ours, theirs) = (lucarne(line()), cryptsetup.run(line()));
            let is_listed = known.rows.iter().any(|row| {
                row.stage == Stage::Load
                    && row.difference == Difference::Stricter
                    && row.name == case.name
            });
            let expected = if is_listed { Some(1) } else { theirs.code };
            findings.equal(&case.name, &ours.code, &expected);
            findings.check(ours.stderr.is_empty(), || ours.stderr.clone());
        }
    });
}

/// `luksDump` within [`LOAD_LIMITS`]: passing them is a signal or a failed allocation.
fn lucarne_loads(arguments: &[OsString]) -> Outcome {
    let script = format!("{LOAD_LIMITS} && exec \"$0\" \"$@\"");
    run(
        Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_lucarne"), "luksDump"])
            .args(arguments),
        b"",
    )
}

/// Beside the verdicts of cryptsetup and dm-crypt in a virtual machine, which `cargo xtask validity` makes.
#[test]
fn volumes_are_activated_as_by_the_kernel() {
    let table =
        std::fs::read_to_string(lucarne_testkit::testdata().join("validity-activation.tsv"))
            .unwrap();
    let verdicts: BTreeMap<&str, [&str; 3]> = (table.lines())
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, reading, writing, sum] = fields[..] else {
                panic!("not four fields: {line}");
            };
            (name, [reading, writing, sum])
        })
        .collect();
    let cases = corpus();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert!(
        names == verdicts.keys().copied().collect(),
        "the corpus changed: cargo xtask validity --update"
    );
    let (bases, known) = (Bases::unpack(), Known::load());
    // Of the one base whose cases change the plaintext's length.
    let scratch = Scratch::new();
    let sound = scratch.file("sound", &bases.sound(Base::Plain).header);
    let key = scratch.file("key", PASSPHRASE.as_bytes());
    let plaintext = common::must(words!["read", "--key-file", key, sound]);
    for_each(&cases, |case, findings| {
        let scratch = Scratch::new();
        let image = case.image(&bases);
        let files = Files {
            scratch: &scratch,
            image: &image,
        };
        let key = scratch.file("key", PASSPHRASE.as_bytes());
        let arguments = files.arguments("ours");
        let ours = lucarne(words!["read", "--key-file", &key].iter().chain(&arguments));
        let [reading, writing, sum] = verdicts[case.name.as_str()];
        let said = format!("{reading} for reading, {writing} for writing");
        let difference = match (ours.code == Some(0), reading == "0") {
            (true, false) => Some(Difference::Looser),
            (false, true) if !known.is_stricter_before_activation(case) => {
                Some(Difference::Stricter)
            }
            (true, true) if sha256_hex(&ours.stdout) != sum => {
                findings.check(plaintext.starts_with(&ours.stdout), || {
                    format!("{}: another plaintext", case.name)
                });
                Some(Difference::Length)
            }
            _ => None,
        };
        if let Some(difference) = difference {
            known.meet(findings, Stage::Activate, difference, case, &ours, &said);
        }
    });
    known.finish(&[Stage::Activate]);
}
