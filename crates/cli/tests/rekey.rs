//! `rekey`: what OUT holds by cryptsetup's judgement, runs that are killed and taken up again, and mistakes.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::ffi::OsString;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{
    CHEAP, Findings, PASSPHRASE, assert_refused, decrypted, encrypted, key_file, lucarne, must,
    words,
};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::payload::stream;
use lucarne_testkit::process::Outcome;
use lucarne_testkit::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};

/// The command line that copies `from` to `to` with cheap costs and these further options.
fn rekey_line(scratch: &Scratch, from: &Path, to: &Path, options: &[&str]) -> Vec<OsString> {
    let mut line = words!["rekey", "--key-file", key_file(scratch)].to_vec();
    line.extend(CHEAP.iter().map(OsString::from));
    line.extend(options.iter().map(OsString::from));
    line.extend(words![from, to]);
    line
}

fn rekey(scratch: &Scratch, from: &Path, to: &Path, options: &[&str]) -> Outcome {
    lucarne(rekey_line(scratch, from, to, options))
}

fn partial(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path(&format!(".{name}.lucarne-partial"))
}

#[test]
fn cryptsetup_reads_the_same_payload() {
    let cryptsetup = Cryptsetup::or_skip("the payload of rekey's volumes");
    // Whole sectors of each size: what cryptsetup gives back has no length of its own.
    let plaintext = stream("rekey", 1 << 20);
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let from = [
        ("large", &["--sector-size", "4096"][..]),
        ("small", &["--sector-size", "512"][..]),
        (
            "cbc",
            &["--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"][..],
        ),
    ]
    .map(|(name, options)| encrypted(&scratch, name, &plaintext, options));
    let to: [&[&str]; 5] = [
        &["--sector-size", "512"],
        &["--sector-size", "4096"],
        &["--key-size", "256"],
        &["--cipher", "aes-cbc-plain64"],
        &[
            "--label",
            "new",
            "--subsystem",
            "sub",
            "--uuid",
            "7bd38b16-6d35-4a30-8b9f-0d6e1d1d4d9b",
            "--luks2-metadata-size",
            "64k",
            "--new-key-slot",
            "5",
            "--threads",
            "1",
        ],
    ];
    let cases: Vec<_> = from
        .iter()
        .flat_map(|image| to.iter().map(move |options| (image.clone(), *options)))
        .collect();
    common::for_each(&cases, |(image, options), findings| {
        // The key file is written anew by each use: one of its own for each thread.
        let (folder, keys) = (Scratch::new(), Scratch::new());
        let output = folder.path("out");
        let before = std::fs::read(image).unwrap();
        let what = format!("{} {options:?}", image.display());
        let outcome = rekey(&keys, image, &output, options);
        findings.equal(&what, &outcome.code, &Some(0));
        findings.check(outcome.stderr.is_empty(), || outcome.stderr.clone());
        findings.equal(&what, &folder.names(), &vec!["out".to_owned()]);
        findings.check(std::fs::read(image).unwrap() == before, || {
            format!("{what}: IN changed")
        });
        findings.equal(
            &what,
            &(std::fs::metadata(&output).unwrap().mode() & 0o777),
            &0o600,
        );
        findings.check(decrypted(&keys, &output, &[]) == plaintext, || {
            format!("{what}: by us")
        });
        if let Some(cryptsetup) = &cryptsetup {
            let theirs = cryptsetup.plaintext(&output, None, &key);
            findings.check(theirs == plaintext, || format!("{what}: by cryptsetup"));
        }
        let dump = String::from_utf8(must(words!["luksDump", &output])).unwrap();
        let shown: &[&str] = match *options {
            ["--key-size", ..] => &["Key:        256 bits"],
            ["--cipher", ..] => &["cipher: aes-cbc-plain64"],
            ["--label", ..] => &[
                "Label:         \tnew",
                "sub",
                "7bd38b16-6d35",
                "65536 [bytes]",
                "  5: luks2",
            ],
            [_, size] => &["sector: ", size],
            _ => &[],
        };
        for text in shown {
            findings.check(dump.contains(text), || {
                format!("{what}: no {text:?} in {dump}")
            });
        }
        findings.check(!dump.contains("lucarne-rekey"), || {
            format!("{what}: {dump}")
        });
    });
}

#[test]
fn luks1_a_detached_header_and_a_recorded_length() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("rekey of other kinds", 300_001);

    // The exact length of bytes that are not whole sectors.
    let image = encrypted(&scratch, "odd", &plaintext, &["--sector-size", "512"]);
    must(rekey_line(
        &scratch,
        &image,
        &scratch.path("odd2"),
        &["--sector-size", "4096", "--verify"],
    ));
    assert!(decrypted(&scratch, &scratch.path("odd2"), &[]) == plaintext);

    // A header of its own.
    let header = scratch.path("header");
    let image = encrypted(
        &scratch,
        "data",
        &plaintext,
        &["--header", header.to_str().unwrap()],
    );
    must(rekey_line(
        &scratch,
        &image,
        &scratch.path("data2"),
        &["--header", header.to_str().unwrap()],
    ));
    assert!(decrypted(&scratch, &scratch.path("data2"), &[]) == plaintext);

    let luks1 = scratch.zeros("luks1", 4 << 20);
    let mut format = words!["luksFormat", "-q", "--type", "luks1"].to_vec();
    format.extend(CHEAP.iter().map(OsString::from));
    format.extend(words![&luks1, &key]);
    must(format);
    let written =
        common::lucarne_with_stdin(words!["write", "--key-file", &key, &luks1], &plaintext);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let expected = decrypted(&scratch, &luks1, &[]);
    must(rekey_line(&scratch, &luks1, &scratch.path("luks2"), &[]));
    assert!(decrypted(&scratch, &scratch.path("luks2"), &["--type", "luks2"]) == expected);
    let Some(cryptsetup) = Cryptsetup::or_skip("the payload of what was LUKS1") else {
        return;
    };
    assert!(cryptsetup.plaintext(&scratch.path("luks2"), None, &key) == expected);
}

#[test]
fn the_passphrase_is_the_one_that_opened_in_or_another() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("rekey", 10_000), &[]);
    let new_key = scratch.file("new key", b"..another passphrase..");
    let second = scratch.path("second");
    let another = [
        "--new-keyfile",
        new_key.to_str().unwrap(),
        "--new-keyfile-offset",
        "2",
        "--new-keyfile-size",
        "18",
    ];
    must(rekey_line(&scratch, &image, &second, &another));
    let opens = |image: &Path, passphrase: &[u8]| {
        let line = words!["open", "--test-passphrase", "--key-file", "-", image];
        common::lucarne_with_stdin(line, passphrase).code
    };
    assert_eq!(opens(&second, b"another passphrase"), Some(0));
    assert_eq!(opens(&second, PASSPHRASE), Some(2));

    // Piped, both lines: IN's, and OUT's by --new-keyfile.
    let third = scratch.path("third");
    let mut line = words!["rekey"].to_vec();
    line.extend(CHEAP.iter().map(OsString::from));
    line.extend(words![&image, &third]);
    let outcome = common::lucarne_with_stdin(&line, &[PASSPHRASE, b"\n"].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(opens(&third, PASSPHRASE), Some(0));

    // The volume key alone opens IN: there is no passphrase to carry over, so one is read.
    let volume_key = scratch.path("volume key");
    must(words![
        "luksDump",
        "--dump-volume-key",
        "-q",
        "--key-file",
        key_file(&scratch),
        "--volume-key-file",
        &volume_key,
        &image
    ]);
    let fourth = scratch.path("fourth");
    let mut line = words!["rekey", "--volume-key-file", &volume_key].to_vec();
    line.extend(CHEAP.iter().map(OsString::from));
    line.extend(words![&image, &fourth]);
    let outcome = common::lucarne_with_stdin(&line, b"a typed one\n");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(opens(&fourth, b"a typed one"), Some(0));
}

#[test]
fn holes_stay_holes_where_they_are_zeros() {
    let scratch = Scratch::new();
    let plain = scratch.zeros("plain", 1 << 30);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&plain)
        .unwrap();
    file.write_all_at(b"far behind", 700 << 20).unwrap();
    let key = key_file(&scratch);
    let image = scratch.path("image");
    let mut line = words!["encrypt", "-q", "--sparse", "--key-file", &key].to_vec();
    line.extend(CHEAP.iter().map(OsString::from));
    line.extend(words![&plain, &image]);
    must(line);
    let output = scratch.path("out");
    let started = Instant::now();
    must(rekey_line(
        &scratch,
        &image,
        &output,
        &["--sparse", "--verify", "--sector-size", "512"],
    ));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(std::fs::metadata(&output).unwrap().blocks() * 512 < 40 << 20);
    let read = must(words![
        "read",
        "--key-file",
        &key,
        "--offset",
        "699m",
        "--length",
        "2m",
        &output
    ]);
    assert_eq!(read[1 << 20..(1 << 20) + 10], *b"far behind");
    assert!(read[..1 << 20].iter().all(|&byte| byte == 0));

    // An ordinary volume in a sparse file.
    let ordinary = scratch.zeros("ordinary", 40 << 20);
    let mut format = words!["luksFormat", "-q"].to_vec();
    format.extend(CHEAP.iter().map(OsString::from));
    format.extend(words![&ordinary, &key]);
    must(format);
    let written = common::lucarne_with_stdin(
        words!["write", "--key-file", &key, "--offset", "8m", &ordinary],
        &[5; 4096],
    );
    assert_eq!(written.code, Some(0));
    let refused = rekey(&scratch, &ordinary, &scratch.path("no"), &["--sparse"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("decrypt to noise"),
        "{}",
        refused.stderr
    );
    assert!(!scratch.path("no").exists() && !partial(&scratch, "no").exists());
    let exact = scratch.path("exact");
    must(rekey_line(&scratch, &ordinary, &exact, &[]));
    assert!(decrypted(&scratch, &exact, &[]) == decrypted(&scratch, &ordinary, &[]));
    let zeros = scratch.path("zeros");
    must(rekey_line(
        &scratch,
        &ordinary,
        &zeros,
        &["--sparse", "--holes-are-unwritten"],
    ));
    let mut expected = vec![0; 24 << 20];
    expected[8 << 20..(8 << 20) + 4096].fill(5);
    assert!(decrypted(&scratch, &zeros, &[]) == expected);
}

/// Long enough that a run can be stopped on its way.
const LEN: usize = 48 << 20;

/// When a run is stopped.
#[derive(Debug, Clone, Copy)]
enum Moment {
    After(Duration),
    /// Once so many bytes are recorded as done.
    Done(u64),
}

/// How many bytes an unfinished OUT says are done.
fn recorded(hidden: &Path) -> Option<u64> {
    let mut start = vec![0; 16 << 10];
    let file = std::fs::File::open(hidden).ok()?;
    file.read_exact_at(&mut start, 0).ok()?;
    let text = String::from_utf8_lossy(&start);
    let (_, done) = text.split_once("\"done\":\"")?;
    done.split('"').next()?.parse().ok()
}

/// A run that is stopped by a signal; whether it had succeeded before, and what it said.
fn stopped(line: &[OsString], hidden: &Path, signal: Signal, moment: Moment) -> (bool, String) {
    let mut child = common::command()
        .args(line)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match moment {
        Moment::After(delay) => std::thread::sleep(delay),
        Moment::Done(bytes) => {
            while recorded(hidden).is_none_or(|done| done < bytes)
                && child.try_wait().unwrap().is_none()
            {}
        }
    }
    // A child that has ended and was waited for has no number any more.
    if child.try_wait().unwrap().is_none() {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    (child.wait().unwrap().success(), stderr)
}

#[test]
fn a_run_that_is_stopped_at_any_moment_goes_on() {
    let plaintext = stream("rekey interrupted", LEN);
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &plaintext, &[]);
    let place = Scratch::new();
    let output = place.path("out");
    let hidden = partial(&place, "out");
    let options = ["--checkpoint", "1m", "--verify"];
    let line = rekey_line(&scratch, &image, &output, &options);
    let mut resuming = line.clone();
    resuming.push("--resume".into());
    let started = Instant::now();
    must(&line);
    let time = started.elapsed();
    std::fs::remove_file(&output).unwrap();

    let mut moments: Vec<_> = (0..5)
        .map(|moment| (Signal::KILL, Moment::After(time * moment / 4)))
        .collect();
    moments.extend([0, 1, 8 << 20, 24 << 20].map(|done| (Signal::KILL, Moment::Done(done))));
    for signal in [Signal::INT, Signal::TERM] {
        moments.push((signal, Moment::After(time / 2)));
        moments.extend([0, 16 << 20].map(|done| (signal, Moment::Done(done))));
    }
    let mut findings = Findings::default();
    let (mut resumed, mut in_the_middle) = (0, 0);
    for (signal, moment) in moments {
        let case = format!("{signal:?} at {moment:?}");
        findings.case();
        let (succeeded, stderr) = stopped(&line, &hidden, signal, moment);
        findings.equal(&case, &output.exists(), &succeeded);
        if signal != Signal::KILL && hidden.exists() {
            findings.check(stderr.contains("interrupted; "), || {
                format!("{case}: {stderr}")
            });
            findings.check(stderr.contains("--resume goes on"), || {
                format!("{case}: {stderr}")
            });
        }
        if hidden.exists() {
            // Without a word what to do, nothing is done.
            let refused = lucarne(&line);
            findings.equal(&case, &refused.code, &Some(5));
            findings.check(refused.stderr.contains("--start-over"), || {
                format!("{case}: {}", refused.stderr)
            });
            let done = recorded(&hidden);
            in_the_middle += usize::from(done.is_some_and(|done| done > 0 && done < LEN as u64));
            // A second interruption on the way, then to the end.
            let later = Moment::Done(done.unwrap_or_default() + 1);
            stopped(&resuming, &hidden, Signal::KILL, later);
            if !output.exists() {
                let outcome = lucarne(&resuming);
                findings.check(outcome.code == Some(0), || {
                    format!("{case}: {}", outcome.stderr)
                });
                resumed += 1;
            }
        }
        if output.exists() {
            let same = decrypted(&scratch, &output, &[]) == plaintext;
            findings.check(same, || format!("{case}: another plaintext"));
            std::fs::remove_file(&output).unwrap();
        }
        findings.equal(&case, &place.names(), &Vec::new());
    }
    findings.check(resumed >= 3, || format!("only {resumed} were taken up"));
    // How many depends on how fast the disk is; the library's tests stop at every write.
    findings.check(in_the_middle >= 1, || {
        format!("only {in_the_middle} in the middle")
    });
    findings.finish();
}

/// Leaves an interrupted run, stopped when it has just begun.
fn interrupt(line: &[OsString], hidden: &Path) {
    for _ in 0..20 {
        stopped(line, hidden, Signal::KILL, Moment::Done(0));
        if hidden.exists() {
            return;
        }
    }
    panic!("no run was interrupted");
}

#[test]
fn a_run_goes_on_with_the_same_in_and_out_only() {
    let scratch = Scratch::new();
    let plaintext = stream("rekey of one", LEN);
    let image = encrypted(&scratch, "image", &plaintext, &[]);
    let other = encrypted(&scratch, "other", &plaintext, &[]);
    let output = scratch.path("out");
    let hidden = partial(&scratch, "out");
    let options = ["--checkpoint", "1m"];
    interrupt(&rekey_line(&scratch, &image, &output, &options), &hidden);
    let left = std::fs::read(&hidden).unwrap();

    let wrong = scratch.file("wrong key", b"wrong");
    let wrong = wrong.to_str().unwrap();
    let kept = scratch.copy(&image, "copy");
    for (from, further, code, words) in [
        (&other, &[][..], 1, "it is a copy of volume"),
        // The same volume, but another file, which may hold other bytes.
        (&kept, &[], 1, "written to since"),
        (
            &image,
            &["--new-keyfile", wrong],
            2,
            "no keyslot accepts this key",
        ),
        (
            &image,
            &["--sector-size", "512"],
            1,
            "--sector-size 512: the interrupted run began with 4096",
        ),
        (
            &image,
            &["--cipher", "aes-cbc-plain64"],
            1,
            "--cipher aes-cbc-plain64: the interrupted run began with aes-xts-plain64",
        ),
        (
            &image,
            &["--key-size", "256"],
            1,
            "--key-size 256: the interrupted run began with 512",
        ),
        (&image, &["--label", "x"], 1, "--label x"),
    ] {
        let mut options = vec!["--resume"];
        options.extend(further);
        let outcome = rekey(&scratch, from, &output, &options);
        assert_eq!(outcome.code, Some(code), "{options:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(words),
            "{options:?}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(std::fs::read(&hidden).unwrap() == left, "{options:?} wrote");
    }
    // Another name is another OUT.
    let outcome = rekey(&scratch, &image, &scratch.path("elsewhere"), &["--resume"]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("no interrupted rekey"),
        "{}",
        outcome.stderr
    );

    // cryptsetup takes it for no volume that can be used.
    let opened = lucarne(words![
        "decrypt",
        "--key-file",
        key_file(&scratch),
        &hidden,
        "-"
    ]);
    assert_eq!(opened.code, Some(1));
    assert!(opened.stderr.contains("lucarne-rekey"), "{}", opened.stderr);

    // While one works on it, nobody else does.
    let held = std::fs::File::open(&hidden).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for option in ["--resume", "--start-over"] {
        let outcome = rekey(&scratch, &image, &output, &[option, "--lock-timeout", "1"]);
        assert_eq!(outcome.code, Some(5), "{option}: {}", outcome.stderr);
    }
    drop(held);
    assert!(std::fs::read(&hidden).unwrap() == left);

    must(rekey_line(&scratch, &image, &output, &["--start-over"]));
    assert!(!hidden.exists());
    assert!(decrypted(&scratch, &output, &[]) == plaintext);

    // What has nothing in it yet is begun again by --resume, and left alone without.
    std::fs::remove_file(&output).unwrap();
    std::fs::write(&hidden, b"").unwrap();
    let outcome = rekey(&scratch, &image, &output, &[]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    must(rekey_line(&scratch, &image, &output, &["--resume"]));
    assert!(decrypted(&scratch, &output, &[]) == plaintext);
}

/// The change of a key in IN between two runs shows in its header.
#[test]
fn an_in_that_was_changed_meanwhile_does_not_go_on() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("changing", LEN), &[]);
    let output = scratch.path("out");
    let hidden = partial(&scratch, "out");
    interrupt(
        &rekey_line(&scratch, &image, &output, &["--checkpoint", "1m"]),
        &hidden,
    );
    must(words!["config", "--label", "changed", &image]);
    let outcome = rekey(&scratch, &image, &output, &["--resume"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("its seqid was 1 and is 2"),
        "{}",
        outcome.stderr
    );
}

/// A block device over a file, given back on drop.
struct LoopDevice(PathBuf);

impl LoopDevice {
    fn over(file: &Path) -> Option<Self> {
        let mut losetup = std::process::Command::new("losetup");
        losetup.args(["--find", "--show"]).arg(file);
        let output = losetup
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let path = String::from_utf8(output.stdout).ok()?;
        Some(Self(PathBuf::from(path.trim())))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let mut losetup = std::process::Command::new("losetup");
        let _ = losetup.arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn a_block_device_is_written_where_it_is_and_goes_on_too() {
    let scratch = Scratch::new();
    let disk = scratch.zeros("disk", 100 << 20);
    let Some(device) = LoopDevice::over(&disk) else {
        eprintln!("skipped: no loop device to be had");
        return;
    };
    let guard = device;
    let device = guard.0.clone();
    let plaintext = stream("onto a device", LEN);
    let image = encrypted(&scratch, "image", &plaintext, &[]);
    let line = |options: &[&str]| rekey_line(&scratch, &image, &device, options);
    let unasked = lucarne(line(&[]));
    assert_eq!(unasked.code, Some(5), "{}", unasked.stderr);
    let sparse = lucarne(line(&["-q", "--sparse"]));
    assert_eq!(sparse.code, Some(1), "{}", sparse.stderr);
    let nothing = lucarne(line(&["-q", "--resume"]));
    assert_eq!(nothing.code, Some(4), "{}", nothing.stderr);

    let begun = line(&["-q", "--checkpoint", "1m"]);
    stopped(&begun, &device, Signal::KILL, Moment::Done(1));
    if recorded(&device).is_some() {
        let refused = lucarne(&begun);
        assert_eq!(refused.code, Some(5), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("--start-over"),
            "{}",
            refused.stderr
        );
        must(line(&["--resume", "--verify"]));
    }
    assert!(decrypted(&scratch, &device, &[]) == plaintext);

    stopped(&begun, &device, Signal::KILL, Moment::Done(0));
    must(line(&["-q", "--start-over"]));
    assert!(decrypted(&scratch, &device, &[]) == plaintext);
    let itself = rekey(&scratch, &device, &device, &["-q"]);
    assert_eq!(itself.code, Some(5), "{}", itself.stderr);
}

#[test]
fn the_likeliest_mistakes() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("mistakes", 20_000), &[]);
    let key = key_file(&scratch);
    let before = std::fs::read(&image).unwrap();
    scratch.file("text", b"no volume");
    scratch.file("old", b"an old file");
    scratch.file("wrong", b"wrong");
    scratch.file("empty", b"");
    std::os::unix::fs::symlink(&image, scratch.path("link")).unwrap();
    std::fs::hard_link(&image, scratch.path("hard")).unwrap();
    std::fs::create_dir(scratch.path("folder")).unwrap();
    let names = scratch.names();
    for (words, code, line) in [
        ("rekey -d @key @none @new", 4, "No such file"),
        ("rekey -d @key @text @new", 1, "not a LUKS volume"),
        (
            "rekey -d @wrong @image @new",
            2,
            "no keyslot accepts this key",
        ),
        ("rekey -d @none @image @new", 1, "key file"),
        ("rekey -d @key @image @image", 5, "the same file"),
        ("rekey -d @key @image @link", 5, "the same file"),
        ("rekey -q -d @key @image @hard", 5, "the same file"),
        ("rekey -d @key @image @old", 5, "--batch-mode replaces it"),
        ("rekey -q -d @key @image @folder", 4, "is a directory"),
        ("rekey -d @key @image @no/new", 4, "No such file"),
        (
            "rekey -d @key --resume @image @new",
            4,
            "no interrupted rekey",
        ),
        (
            "rekey -d @key --resume --start-over @image @new",
            1,
            "cannot be used with",
        ),
        (
            "rekey -d @key --holes-are-unwritten @image @new",
            1,
            "--sparse",
        ),
        ("rekey -d @key --cipher frob @image @new", 1, "cipher frob"),
        (
            "rekey -d @key --sector-size 4000 @image @new",
            1,
            "--sector-size",
        ),
        (
            "rekey -d @key --type luks1 @image @new",
            1,
            "the volume is LUKS2",
        ),
        (
            "rekey -d @key --new-keyfile @none @image @new",
            1,
            "key file",
        ),
        (
            "rekey -d @key --new-keyfile @empty @image @new",
            2,
            "--force-password",
        ),
        (
            "rekey -d @key --new-keyfile-size 3 @image @new",
            1,
            "--new-keyfile",
        ),
        ("rekey -d @key --new-key-slot 32 @image @new", 1, "32"),
        (
            "rekey -d @key --checkpoint 1q @image @new",
            1,
            "--checkpoint",
        ),
        ("rekey -d @key @image", 1, "<OUT>"),
        ("rekey -d @key @image -", 1, "OUT"),
    ] {
        let line_of_words = common::header::in_folder(words, &scratch, &image);
        let outcome = lucarne(&line_of_words);
        assert_refused(words, &outcome, code, line);
        assert_eq!(scratch.names(), names, "{words}");
    }
    assert!(std::fs::read(&image).unwrap() == before);
    assert_eq!(std::fs::read(scratch.path("old")).unwrap(), b"an old file");
    // An old file that may be replaced is, by a complete volume.
    must(rekey_line(&scratch, &image, &scratch.path("old"), &["-q"]));
    assert!(decrypted(&scratch, &scratch.path("old"), &[]) == stream("mistakes", 20_000));
    assert_eq!(std::fs::read(key).unwrap(), PASSPHRASE);
}

#[test]
fn progress_is_reported_as_by_encrypt() {
    let scratch = Scratch::new();
    let image = encrypted(&scratch, "image", &stream("progress", 1 << 20), &[]);
    let line = rekey_line(
        &scratch,
        &image,
        &scratch.path("out"),
        &["--progress-json", "--verify"],
    );
    let text = String::from_utf8(must(line)).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    // Copied once, compared once.
    assert_eq!(last["device_bytes"], (2 << 20).to_string());
}
