//! A run that is stopped, by whatever signal and whenever, leaves no OUT or a complete one.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{CHEAP, Findings, decrypted, key_file, must, words};
use lucarne_testkit::payload::stream;
use lucarne_testkit::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};

/// Long enough that a run takes many writes.
const PLAINTEXT_LEN: usize = 48 << 20;
/// Moments at which a run is stopped, spread over its time and a little past it.
const MOMENTS: u32 = 12;

/// The command's arguments between `--key-file KEY` and IN OUT.
struct Run<'a> {
    arguments: Vec<OsString>,
    output: &'a Path,
}

impl Run<'_> {
    fn command(&self) -> Command {
        let mut command = common::command();
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// How long it takes when nobody stops it.
    fn time(&self) -> Duration {
        let started = Instant::now();
        assert!(self.command().status().unwrap().success());
        let time = started.elapsed();
        std::fs::remove_file(self.output).unwrap();
        time
    }

    /// Starts it, sends the signal after `delay`, and returns whether it had succeeded before.
    fn stopped(&self, signal: Signal, delay: Duration) -> bool {
        let mut child = self.command().spawn().unwrap();
        std::thread::sleep(delay);
        // A child that has ended is not reaped yet: its number is still its own.
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap().success()
    }
}

fn all_moments(run: &Run<'_>, mut check: impl FnMut(Signal, Duration, bool)) {
    let time = run.time();
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        for moment in 0..=MOMENTS {
            let delay = time * moment * 11 / (MOMENTS * 10);
            let succeeded = run.stopped(signal, delay);
            check(signal, delay, succeeded);
        }
    }
}

#[test]
fn encrypt_leaves_no_volume_or_a_complete_one() {
    let scratch = Scratch::new();
    let place = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("interrupted", PLAINTEXT_LEN);
    let input = scratch.file("in", &plaintext);
    let output = place.path("out");
    let mut arguments = words!["encrypt", "--key-file", &key].to_vec();
    arguments.extend(CHEAP.iter().map(OsString::from));
    arguments.extend(words![&input, &output]);
    let run = Run {
        arguments,
        output: &output,
    };
    let mut findings = Findings::default();
    let mut stopped_early = 0;
    all_moments(&run, |signal, delay, succeeded| {
        findings.case();
        let case = format!("{signal:?} after {delay:?}");
        let there = output.exists();
        stopped_early += usize::from(!there);
        findings.check(there || !succeeded, || {
            format!("{case}: success without OUT")
        });
        if there {
            let complete = decrypted(&scratch, &output, &[]) == plaintext;
            findings.check(complete, || {
                format!("{case}: OUT is there and not complete")
            });
            std::fs::remove_file(&output).unwrap();
        }
        let left = place.names();
        // Nobody cleans up after SIGKILL; the other signals leave nothing at all.
        findings.check(signal == Signal::KILL || left.is_empty(), || {
            format!("{case}: left behind: {left:?}")
        });
        for name in left {
            std::fs::remove_file(place.path(&name)).unwrap();
        }
    });
    findings.check(stopped_early > 0, || {
        "no run was stopped before its end".to_owned()
    });
    findings.finish();
}

#[test]
fn an_output_that_was_there_stays_until_the_new_one_is_complete() {
    let scratch = Scratch::new();
    let place = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("replacing", PLAINTEXT_LEN);
    let input = scratch.file("in", &plaintext);
    let output = place.path("out");
    let mut arguments = words!["encrypt", "--batch-mode", "--key-file", &key].to_vec();
    arguments.extend(CHEAP.iter().map(OsString::from));
    arguments.extend(words![&input, &output]);
    let run = Run {
        arguments,
        output: &output,
    };
    let mut findings = Findings::default();
    all_moments(&run, |signal, delay, _| {
        findings.case();
        // The first time there is no old file; from then on every run has one to replace.
        if output.exists() {
            let bytes = std::fs::read(&output).unwrap();
            let old = bytes == b"old";
            findings.check(
                old || decrypted(&scratch, &output, &[]) == plaintext,
                || {
                    format!(
                        "{signal:?} after {delay:?}: OUT is neither the old file nor the new one"
                    )
                },
            );
        }
        std::fs::write(&output, b"old").unwrap();
    });
    findings.finish();
}

#[test]
fn decrypt_leaves_no_plaintext_or_a_complete_one() {
    let scratch = Scratch::new();
    let place = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("interrupted", PLAINTEXT_LEN);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let before = std::fs::read(&image).unwrap();
    let output = place.path("out");
    let arguments = words!["decrypt", "--key-file", &key, &image, &output].to_vec();
    let run = Run {
        arguments,
        output: &output,
    };
    let mut findings = Findings::default();
    all_moments(&run, |signal, delay, succeeded| {
        findings.case();
        let case = format!("{signal:?} after {delay:?}");
        findings.check(output.exists() || !succeeded, || {
            format!("{case}: success without OUT")
        });
        if output.exists() {
            findings.check(std::fs::read(&output).unwrap() == plaintext, || {
                format!("{case}: OUT is not complete")
            });
            std::fs::remove_file(&output).unwrap();
        }
        for name in place.names() {
            findings.check(signal == Signal::KILL, || {
                format!("{case}: left behind: {name}")
            });
            std::fs::remove_file(place.path(&name)).unwrap();
        }
    });
    findings.check(std::fs::read(&image).unwrap() == before, || {
        "the volume changed".to_owned()
    });
    findings.finish();
}

/// How long a person waits before pressing Ctrl-C again.
const PROMPT: Duration = Duration::from_millis(1500);

/// Waits for a child that was told to stop.
fn ended_promptly(child: &mut std::process::Child) -> std::process::ExitStatus {
    let told = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if told.elapsed() > PROMPT {
            child.kill().unwrap();
            panic!("it waits on for a stream that stalls");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_source_that_stalls_keeps_no_signal_waiting() {
    let scratch = Scratch::new();
    let place = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("stalled", 2 << 20);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let output = place.path("out");
    let old = place.file("old", b"old");
    let encrypt = |output: &Path| {
        let mut command = common::command();
        command
            .args(words!["encrypt", "-q", "--key-file", &key])
            .args(CHEAP);
        command.args(words!["-", output]);
        command
    };
    let mut write = common::command();
    write.args(words!["write", "--key-file", &key, "--offset", "8", &image]);
    let mut commands = [encrypt(&output), encrypt(&old), write];
    for command in &mut commands {
        // Nothing at all, a part of a piece, and more than the pipeline takes in at once.
        for fed in [0, 100_000, 9 << 20] {
            for signal in [Signal::INT, Signal::TERM] {
                let mut child = command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut stdin = child.stdin.take().unwrap();
                // `write` takes no more than fits.
                let fed = if command.get_args().any(|word| word == "write") {
                    fed.min(100_000)
                } else {
                    fed
                };
                std::io::Write::write_all(&mut stdin, &vec![7; fed]).unwrap();
                std::thread::sleep(Duration::from_millis(300));
                kill_process(Pid::from_child(&child), signal).unwrap();
                let status = ended_promptly(&mut child);
                assert_eq!(status.code(), Some(1), "{command:?} after {fed} bytes");
                let mut line = String::new();
                std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut line)
                    .unwrap();
                assert!(
                    line.contains("interrupted") && line.lines().count() == 1,
                    "{line}"
                );
                drop(stdin);
                assert_eq!(place.names(), ["old"]);
                assert_eq!(std::fs::read(&old).unwrap(), b"old");
            }
        }
    }
    // Every write that was taken in is there: whole, and nothing else is.
    let after = decrypted(&scratch, &image, &[]);
    assert_eq!(after[..8], plaintext[..8]);
    assert_eq!(after[8..100_008], vec![7; 100_000]);
    assert_eq!(after[100_008..], plaintext[100_008..]);
}

#[test]
fn a_reader_that_stalls_keeps_no_signal_waiting() {
    use std::os::unix::process::ExitStatusExt;
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let image = common::encrypted(&scratch, "image", &stream("stalled", 20 << 20), &[]);
    let before = scratch.names();
    for arguments in [
        words!["decrypt", "--key-file", &key, &image, "-"].to_vec(),
        words![
            "decrypt",
            "--progress-json",
            "--key-file",
            &key,
            &image,
            "-"
        ]
        .to_vec(),
        words!["read", "--key-file", &key, &image].to_vec(),
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            let mut child = common::command()
                .args(&arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The pipe fills up, and nobody reads it.
            std::thread::sleep(Duration::from_millis(500));
            kill_process(Pid::from_child(&child), signal).unwrap();
            let status = ended_promptly(&mut child);
            // As every filter dies: by the signal itself, which is what a shell looks for.
            assert_eq!(status.signal(), Some(signal.as_raw()), "{arguments:?}");
        }
    }
    assert_eq!(scratch.names(), before);
}

/// Three at once to one OUT: one wins whole, none mixes with another.
#[test]
fn concurrent_runs_to_one_output_leave_one_complete_volume() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let output = scratch.path("out");
    let payloads: Vec<Vec<u8>> = (0..3)
        .map(|i| stream(&format!("racer {i}"), 4 << 20))
        .collect();
    let mut children = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        let input = scratch.file(&format!("in {index}"), payload);
        let mut command = common::command();
        command
            .args(words!["encrypt", "--batch-mode", "--key-file", &key])
            .args(CHEAP);
        command
            .args([&input, &output])
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        children.push(command.spawn().unwrap());
    }
    let successes = children
        .into_iter()
        .filter_map(|mut child| child.wait().ok())
        .filter(|status| status.success());
    assert!(successes.count() > 0);
    let plaintext = decrypted(&scratch, &output, &[]);
    assert!(payloads.contains(&plaintext));
    must(words!["luksDump", &output]);
}
