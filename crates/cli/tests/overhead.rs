//! `overhead` as a script meets it, and what is left when it is stopped.
#![allow(clippy::unwrap_used)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn overhead(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucarne"));
    command
        .arg("overhead")
        .arg("--dir")
        .arg(scratch.dir())
        .args(arguments);
    command
}

fn refused(arguments: &[&str], code: i32, part: &str) {
    let scratch = Scratch::new();
    let Outcome {
        code: ended,
        stderr,
        stdout,
    } = run(&mut overhead(&scratch, arguments), b"");
    assert_eq!((ended, stdout.len()), (Some(code), 0), "{stderr}");
    assert!(
        stderr.contains(part) && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn what_cannot_be_had_is_said_at_once() {
    refused(&["--size", "1M"], 1, "at least");
    refused(&["--size", "1000T"], 1, "MiB of disk");
    refused(
        &["--weights", "/nowhere.safetensors"],
        4,
        "/nowhere.safetensors",
    );
    refused(&["--size", "1G", "--weights", "x"], 1, "--weights");
    refused(&["--quick", "--full"], 1, "--full");
    refused(&["--kernel", "sse2"], 1, "kernel");
    refused(&["--through", "iscsi"], 1, "iscsi");
    // Nobody says on standard input what to serve.
    refused(&["--serve-door"], 1, "overhead");
}

#[test]
fn the_answer_is_the_first_line_and_the_report_appears_whole() {
    let scratch = Scratch::new();
    let report = scratch.path("report.html");
    let ended = run(
        overhead(
            &scratch,
            &["--size", "9M", "--quick", "--threads", "1", "--report"],
        )
        .arg(&report),
        b"",
    );
    let text = ended.text();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(text.starts_with("Here encryption costs "), "{text}");
    // What it would take was said before.
    let announced = ended.stderr.lines().next().unwrap();
    assert!(
        announced.contains("MiB of disk") && announced.contains("MiB of memory"),
        "{announced}"
    );
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(page.contains(" 1 threads"), "--threads counts");
    assert_eq!(scratch.names(), ["report.html"]);
}

#[test]
fn json_is_one_object_and_nothing_else_is_said() {
    let scratch = Scratch::new();
    let arguments = [
        "--size",
        "9M",
        "--quick",
        "--json",
        "--batch-mode",
        "--kernel",
        "portable",
        "--through",
        "nbd,fuse",
    ];
    let temporary = Scratch::new();
    let mut command = overhead(&scratch, &arguments);
    let ended = run(command.env("TMPDIR", temporary.dir()), b"");
    assert_eq!(
        temporary.names(),
        [""; 0],
        "sockets and mounts have no names"
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let object: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(
        object.as_object().unwrap().keys().next().unwrap(),
        "version"
    );
    let preferred = &object["machine"]["preferred_kernel"];
    assert!(
        preferred == "portable" || preferred == "soft",
        "{preferred}"
    );
    let on_disk = object["run"]["announced_disk_bytes"].as_u64().unwrap();
    assert!(on_disk < 200 << 20, "{on_disk}");
    doors(&object);
}

/// What a run through NBD and FUSE must have: FUSE, or the reason why it has not.
fn doors(object: &Value) {
    let of_door = |door: &str| {
        let comparisons = object["comparisons"].as_array().unwrap();
        comparisons.iter().filter(|one| one["door"] == door).count()
    };
    let left_out = object["run"]["left_out"].to_string();
    let told = object["answer"]["doors"].as_array().unwrap();
    assert!(of_door("NBD") >= 4, "{left_out}");
    assert!(told[0].as_str().unwrap().starts_with("Through NBD, "));
    match object["run"]["doors"] == serde_json::json!(["NBD", "FUSE"]) {
        true => assert!(of_door("FUSE") >= 7 && told.len() == 4, "{left_out}"),
        false => assert!(
            left_out.contains("FUSE: left out: no FUSE server: "),
            "{left_out}"
        ),
    }
    for comparison in object["comparisons"].as_array().unwrap() {
        for contender in comparison["contenders"].as_array().unwrap() {
            let used = &contender["cpu_seconds_per_gib"]["median"];
            assert!(used.as_f64().unwrap() > 0.0, "{}", comparison["id"]);
        }
    }
}

fn started(scratch: &Scratch) -> Child {
    let mut child = overhead(scratch, &["--size", "64M"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until its files are there: they have no names, but descriptors.
    let descriptors = format!("/proc/{}/fd", child.id());
    for _ in 0..500 {
        let targets = std::fs::read_dir(&descriptors).unwrap();
        let is_ours = |target: &std::path::Path| target.starts_with(scratch.dir());
        let count = targets
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| is_ours(target))
            .count();
        if count > 1 {
            return child;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no files after five seconds");
}

/// A process that another one has started, once it has; gone and zombie are the same here.
fn server_of(parent: &Child) -> Option<u32> {
    let list = format!("/proc/{0}/task/{0}/children", parent.id());
    let children = std::fs::read_to_string(list).unwrap_or_default();
    children.split(' ').next()?.parse().ok()
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

#[test]
fn a_server_ends_with_the_run_and_leaves_nothing() {
    let arguments = ["--size", "9M", "--quick", "--through", "fuse,nbd"];
    for (signal, pause) in [(Signal::INT, 0), (Signal::KILL, 0), (Signal::KILL, 7)] {
        let (scratch, temporary) = (Scratch::new(), Scratch::new());
        let mut child = overhead(&scratch, &arguments)
            .env("TMPDIR", temporary.dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = loop {
            if let Some(server) = server_of(&child) {
                break server;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended");
        };
        // The moment is another one each time: while it mounts, and after it has.
        std::thread::sleep(Duration::from_millis(pause));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        child.wait().unwrap();
        for _ in 0..1000 {
            if !runs(server) && temporary.names().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!runs(server), "{signal:?}: the server goes on");
        assert_eq!(temporary.names(), [""; 0], "{signal:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = temporary.dir().display().to_string();
        assert!(!mounts.contains(&ours), "{signal:?}: {mounts}");
        assert_eq!(scratch.names(), [""; 0]);
    }
}

#[test]
fn a_signal_ends_it_soon_and_nothing_is_left() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let scratch = Scratch::new();
        let child = started(&scratch);
        assert_eq!(scratch.names(), [""; 0], "nothing has a name while it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        match signal {
            Signal::KILL => assert_eq!(ended.status.signal(), Some(9)),
            _ => {
                let said = String::from_utf8(ended.stderr).unwrap();
                assert_eq!(ended.status.code(), Some(1), "{said}");
                assert!(
                    said.ends_with("interrupted; nothing of the run is left behind\n"),
                    "{said}"
                );
            }
        }
        assert_eq!(scratch.names(), [""; 0]);
    }
}
