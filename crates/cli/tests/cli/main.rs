//! The command as a person and as a script meet it: transcripts, passphrases, pipes, signals, and in
//! a file of its own the terminal.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
mod terminal;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lucarne_testkit::{
    process::{Outcome, run},
    scratch::Scratch,
};

const PASSPHRASE: &str = "correct horse";
const CHEAP: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

#[test]
fn transcripts() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}

/// Runs the command in the scratch folder.
fn lucarne(scratch: &Scratch, line: &str, stdin: &[u8]) -> Outcome {
    run(&mut command(scratch, line), stdin)
}

fn command(scratch: &Scratch, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucarne"));
    command
        .args(line.split_whitespace())
        .current_dir(scratch.dir());
    command
}

/// The same in a session without a terminal, where nobody can be asked.
fn without_terminal(scratch: &Scratch, line: &str) -> Option<Command> {
    in_session(&["--wait"], scratch, line)
}

/// The same in a session of its own; options as setsid(1) takes them.
fn in_session(options: &[&str], scratch: &Scratch, line: &str) -> Option<Command> {
    let mut command = Command::new("setsid");
    command
        .args(options)
        .args([env!("CARGO_BIN_EXE_lucarne")])
        .args(line.split_whitespace())
        .current_dir(scratch.dir());
    let usable = Command::new("setsid").arg("true").status().is_ok();
    if !usable {
        eprintln!("skipped: no setsid(1)");
    }
    usable.then_some(command)
}

fn code(outcome: &Outcome) -> i32 {
    outcome.code.expect("no signal ended it")
}

/// A folder with the volume `volume` of the bytes `plain`, and `key`.
fn with_volume(plain: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE.as_bytes());
    scratch.file("plain", plain);
    let line = format!("encrypt --key-file key {} plain volume", CHEAP.join(" "));
    let outcome = lucarne(&scratch, &line, b"");
    assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
    scratch
}

#[test]
fn a_passphrase_has_many_sources() {
    let scratch = with_volume(b"bytes");
    scratch.file("line", b"correct horse\n");
    scratch.file("padded", b"xxcorrect horseyy");
    let open = "open --test-passphrase volume";
    for (options, stdin, expected) in [
        ("", "correct horse", 0),
        ("", "correct horse\n", 0),
        ("", "correct horse\nanother line", 0),
        ("", "correct horse ", 2),
        ("", "\n", 2),
        ("", "", 1),
        ("--keyfile-size 13", "correct horse battery", 0),
        ("--keyfile-size 13", "correct\n", 1),
        ("--keyfile-offset 2", "xxcorrect horse\n", 0),
        ("--keyfile-offset 20", "short", 1),
        ("--key-file -", "correct horse", 0),
        ("--key-file -", "correct horse\n", 2),
        ("--key-file -", "", 1),
        ("--key-file key", "", 0),
        ("--key-file line", "", 2),
        ("--key-file line --keyfile-size 13", "", 0),
        (
            "--key-file padded --keyfile-offset 2 --keyfile-size 13",
            "",
            0,
        ),
        ("--key-file padded --keyfile-offset 2", "", 2),
        ("--key-file padded --keyfile-offset 17", "", 2),
        ("--key-file padded --keyfile-offset 18", "", 1),
        ("--key-file /dev/null", "", 1),
        ("--key-file .", "", 1),
    ] {
        let outcome = lucarne(&scratch, &format!("{open} {options}"), stdin.as_bytes());
        assert_eq!(
            code(&outcome),
            expected,
            "{options} with {stdin:?}: {}",
            outcome.stderr
        );
        let lines = if expected == 0 { 0 } else { 1 };
        assert_eq!(outcome.stderr.lines().count(), lines, "{}", outcome.stderr);
    }
}

#[test]
fn a_key_file_may_be_8_mib_long_and_no_longer() {
    let scratch = with_volume(b"bytes");
    scratch.zeros("largest", 8 << 20);
    scratch.zeros("too-large", (8 << 20) + 1);
    let outcome = lucarne(&scratch, "open --test-passphrase -d largest volume", b"");
    assert_eq!(code(&outcome), 2);
    let outcome = lucarne(&scratch, "open --test-passphrase -d too-large volume", b"");
    assert_eq!(code(&outcome), 1);
    assert!(outcome.stderr.contains("8388608"), "{}", outcome.stderr);
}

#[test]
fn encrypt_takes_an_empty_passphrase_only_when_told_to() {
    let scratch = Scratch::new();
    scratch.file("plain", b"bytes");
    scratch.zeros("device", 20 << 20);
    let cheap = CHEAP.join(" ");
    let line = format!("encrypt {cheap} plain volume");
    let outcome = lucarne(&scratch, &line, b"\n");
    assert_eq!(code(&outcome), 2);
    let advice = outcome.stderr.contains("--force-password");
    assert!(advice, "{}", outcome.stderr);
    assert!(!scratch.path("volume").exists());
    for line in [
        format!("{line} --force-password"),
        // As cryptsetup does.
        format!("luksFormat {cheap} device"),
        "open --test-passphrase device".to_owned(),
        "open --test-passphrase volume".to_owned(),
    ] {
        let outcome = lucarne(&scratch, &line, b"\n");
        assert_eq!(code(&outcome), 0, "{line}: {}", outcome.stderr);
    }
}

#[test]
fn a_file_is_never_written_over_while_it_is_read() {
    let scratch = with_volume(b"bytes");
    fs::hard_link(scratch.path("plain"), scratch.path("link")).unwrap();
    for line in [
        "encrypt -q --key-file key plain plain",
        "encrypt -q --key-file key plain link",
        "decrypt -q --key-file key volume ./volume",
    ] {
        let outcome = lucarne(&scratch, line, b"");
        assert_eq!(code(&outcome), 5, "{line}");
        assert!(outcome.stderr.contains("same file"), "{}", outcome.stderr);
    }
    assert_eq!(read(&scratch.path("plain")), b"bytes");
}

#[test]
fn streams_go_in_and_out() {
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE.as_bytes());
    let plain: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
    let line = format!("encrypt --key-file key {} - volume", CHEAP.join(" "));
    let outcome = lucarne(&scratch, &line, &plain);
    assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
    let outcome = lucarne(&scratch, "decrypt --key-file key volume -", b"");
    assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
    assert!(outcome.stdout == plain);
    // What is said goes where it does no harm.
    let outcome = lucarne(
        &scratch,
        "-v decrypt --progress-json volume -",
        PASSPHRASE.as_bytes(),
    );
    assert!(outcome.stdout == plain);
    assert!(
        outcome.stderr.contains("Key slot 0 unlocked.\n"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("Command successful.\n"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("\"device_bytes\":\"3000001\""),
        "{}",
        outcome.stderr
    );
}

#[test]
fn data_on_standard_input_is_never_taken_for_a_passphrase() {
    let scratch = with_volume(b"bytes");
    for line in ["encrypt - new", "write volume", "write --key-file - volume"] {
        let Some(mut command) = without_terminal(&scratch, line) else {
            return;
        };
        let outcome = run(&mut command, b"correct horse\n");
        assert_eq!(code(&outcome), 1, "{line}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("--key-file FILE"),
            "{line}: {}",
            outcome.stderr
        );
        assert!(!scratch.path("new").exists());
    }
}

#[test]
fn write_changes_exactly_its_bytes() {
    let mut plain = vec![7; 10_000];
    let scratch = with_volume(&plain);
    let outcome = lucarne(
        &scratch,
        "write --key-file key --offset 4090 volume",
        b"0123456789",
    );
    assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
    plain[4090..4100].copy_from_slice(b"0123456789");
    let outcome = lucarne(&scratch, "decrypt --key-file key volume -", b"");
    assert!(outcome.stdout == plain);
    // A file that does not fit changes nothing; a stream stops at the end.
    scratch.file("long", &[9; 20_000]);
    let mut command = command(&scratch, "write --key-file key volume");
    let output = command
        .stdin(fs::File::open(scratch.path("long")).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let outcome = lucarne(&scratch, "decrypt --key-file key volume -", b"");
    assert!(outcome.stdout == plain);
    let outcome = lucarne(
        &scratch,
        "write --key-file key --offset 12280 volume",
        &[9; 20],
    );
    assert_eq!(code(&outcome), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("12288"), "{}", outcome.stderr);
    let outcome = lucarne(&scratch, "read --key-file key --offset 12280 volume", b"");
    assert_eq!(outcome.stdout, [9; 8]);
}

#[test]
fn a_recorded_length_that_no_longer_holds_is_told() {
    let scratch = with_volume(b"bytes");
    let outcome = lucarne(&scratch, "decrypt --key-file key volume -", b"");
    assert_eq!(
        (outcome.text().as_str(), outcome.stderr.as_str()),
        ("bytes", "")
    );
    lucarne(&scratch, "write --key-file key --offset 10 volume", b"more");
    let outcome = lucarne(&scratch, "decrypt --key-file key volume -", b"");
    assert_eq!(code(&outcome), 0);
    assert_eq!(outcome.stdout.len(), 4096);
    assert!(
        outcome.stderr.contains("length of 5 bytes"),
        "{}",
        outcome.stderr
    );
}

/// In the words of cryptsetup 2.8; the device-mapper-less cryptsetup cannot make such volumes.
#[test]
fn luks_dump_shows_what_cannot_be_opened() {
    let scratch = with_volume(b"bytes");
    let mut image = read(&scratch.path("volume"));
    lucarne_testkit::luks2::edit_json(&mut image, |json| {
        json["segments"]["0"]["integrity"] = serde_json::json!({
            "type": "hmac(sha256)",
            "journal_encryption": "none",
            "journal_integrity": "none",
            "key_size": 48,
        });
    });
    scratch.file("integrity", &image);
    let text = lucarne(&scratch, "luksDump integrity", b"").text();
    let lines =
        "\tsector: 4096 [bytes]\n\tintegrity: hmac(sha256)\n\tintegrity key size: 384 [bits]\n\n";
    assert!(text.contains(lines), "{text}");

    lucarne_testkit::luks2::edit_json(&mut image, |json| {
        let segment = &mut json["segments"]["0"];
        *segment = serde_json::json!({
            "type": "hw-opal",
            "offset": segment["offset"],
            "size": "1048576",
            "opal_segment_number": 1,
            "opal_key_size": 32,
            "opal_segment_size": "1048576",
        });
        json["config"]["requirements"] = serde_json::json!({ "mandatory": ["opal"] });
    });
    scratch.file("opal", &image);
    let text = lucarne(&scratch, "luksDump opal", b"").text();
    let lines = "  0: hw-opal\n\toffset: 16777216 [bytes]\n\tlength: 1048576 [bytes]\n\
        \tcipher: (no SW encryption)\n\tHW OPAL encryption:\n\t\tOPAL segment number: 1\n\
        \t\tOPAL key: 256 bits\n\t\tOPAL segment length: 1048576 [bytes]\n\n";
    assert!(text.contains(lines), "{text}");
    assert!(text.contains("Requirements:\topal \n"), "{text}");
    let outcome = lucarne(&scratch, "decrypt --key-file key opal out", b"");
    assert_eq!(code(&outcome), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("opal"), "{}", outcome.stderr);
}

#[test]
fn progress_is_told_to_programs() {
    let scratch = with_volume(&vec![1; 5 << 20]);
    for (line, device) in [
        ("encrypt --progress-json --key-file key plain new", "plain"),
        (
            "decrypt --progress-json --key-file key volume again",
            "volume",
        ),
    ] {
        let cheap = if line.starts_with("encrypt") {
            CHEAP.join(" ")
        } else {
            String::new()
        };
        let outcome = lucarne(&scratch, &format!("{line} {cheap}"), b"");
        assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
        let text = outcome.text();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["device"], device);
        assert_eq!(last["device_bytes"], "5242880");
        assert_eq!(last["device_size"], "5242880");
        assert_eq!(last["eta_ms"], "0");
        assert!(last["speed"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    }
    let outcome = lucarne(
        &scratch,
        "decrypt -q --progress-frequency 1 -d key volume again",
        b"",
    );
    assert_eq!(outcome.text(), "", "batch mode is quiet");
    let outcome = lucarne(
        &scratch,
        "decrypt --progress-frequency 1 -d key volume third",
        b"",
    );
    assert!(
        outcome.text().starts_with("Finished, time 00m0"),
        "{}",
        outcome.text()
    );
}

#[test]
fn a_full_standard_output_is_a_failure() {
    let scratch = with_volume(b"no newline at the end");
    for line in [
        "decrypt -d key volume -",
        "read -d key volume",
        "read -d key --length 3 volume",
        "luksDump volume",
        "luksDump --json volume",
        "luksDump --dump-json-metadata volume",
        "luksDump -q --dump-volume-key -d key volume",
        "luksUUID volume",
        "completions bash",
        "man",
        "--help",
        "--version",
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = command(&scratch, line)
            .stdin(Stdio::null())
            .stdout(full)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
        assert!(
            stderr.ends_with("No space left on device\n"),
            "{line}: {stderr}"
        );
    }
}

#[test]
fn a_file_on_standard_input_counts_from_its_position() {
    let scratch = with_volume(&[b'-'; 4096]);
    let before = read(&scratch.path("volume"));
    let write = |skipped: u64, offset: u64| {
        use std::io::{Seek, SeekFrom};
        let path = scratch.file("data", &[vec![b'a'; 4096], vec![b'b'; 96]].concat());
        let mut data = fs::File::open(path).unwrap();
        data.seek(SeekFrom::Start(skipped)).unwrap();
        let line = format!("write --key-file key --offset {offset} volume");
        let output = command(&scratch, &line).stdin(data).output().unwrap();
        output.status.code().unwrap()
    };
    // The 96 bytes that are left fit, all 4192 would not.
    assert_eq!(write(4096, 4000), 0);
    let plaintext = lucarne(&scratch, "decrypt -d key volume -", b"").stdout;
    assert_eq!(plaintext, [vec![b'-'; 4000], vec![b'b'; 96]].concat());
    // Past its end nothing is left.
    assert_eq!(write(1 << 20, 4096), 0);
    // One byte too many changes nothing at all.
    scratch.file("volume", &before);
    assert_eq!(write(4096, 4001), 1);
    assert_eq!(read(&scratch.path("volume")), before);
}

#[test]
fn a_file_that_hides_its_length_is_read_to_its_end() {
    const HIDING: &str = "/proc/filesystems";
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE.as_bytes());
    scratch.file("empty", b"");
    let cheap = CHEAP.join(" ");
    let expected = read(Path::new(HIDING));
    assert!(!expected.is_empty() && fs::metadata(HIDING).unwrap().len() == 0);
    for (input, expected) in [(HIDING, &expected[..]), ("empty", b"")] {
        let line = format!("encrypt -q -d key {cheap} {input} volume");
        let outcome = lucarne(&scratch, &line, b"");
        assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
        let plaintext = lucarne(&scratch, "decrypt -d key volume -", b"").stdout;
        assert_eq!(plaintext, expected, "{input}");
    }
    let sparse = |input| {
        let line = format!("encrypt -q -d key {cheap} --sparse {input} volume");
        code(&lucarne(&scratch, &line, b""))
    };
    assert_eq!(sparse(HIDING), 1);
    assert_eq!(sparse("empty"), 0);
}

/// The permissions of new and of replaced files.
#[test]
fn files_have_the_permissions_that_they_should() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE.as_bytes());
    scratch.file("plain", b"plain");
    scratch.zeros("disk", 20 << 20);
    let cheap = CHEAP.join(" ");
    let mode = |name: &str| {
        fs::metadata(scratch.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    let umask_mode = mode("plain");
    let set = |name: &str, mode| {
        fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let make = |line: &str| {
        let outcome = lucarne(&scratch, line, b"");
        assert_eq!(code(&outcome), 0, "{line}: {}", outcome.stderr);
    };
    // What bears a header is its owner's; ciphertext and plaintext are as the umask says.
    make(&format!("encrypt -d key {cheap} plain volume"));
    make(&format!(
        "encrypt -d key {cheap} --header header plain bare"
    ));
    make(&format!(
        "luksFormat -q -d key {cheap} --header new-header disk"
    ));
    make("decrypt -d key volume again");
    for (name, expected) in [
        ("volume", 0o600),
        ("header", 0o600),
        ("new-header", 0o600),
        ("bare", umask_mode),
        ("again", umask_mode),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
    // What is replaced stays as open or closed as it was.
    for kept in [0o600, 0o640, 0o444, 0o666] {
        for name in ["volume", "header", "bare", "again"] {
            set(name, kept);
        }
        make(&format!(
            "encrypt -q -d key {cheap} --header header plain bare"
        ));
        make(&format!("encrypt -q -d key {cheap} plain volume"));
        make("decrypt -q -d key volume again");
        for name in ["volume", "header", "bare", "again"] {
            assert_eq!(mode(name), kept, "{name}");
        }
    }
}

#[test]
fn a_name_may_be_as_long_as_names_can_be() {
    let scratch = with_volume(b"bytes");
    let longest = "n".repeat(255);
    for line in ["decrypt -d key volume", "decrypt -q -d key volume"] {
        let outcome = lucarne(&scratch, &format!("{line} {longest}"), b"");
        assert_eq!(code(&outcome), 0, "{}", outcome.stderr);
    }
    let outcome = lucarne(&scratch, &format!("decrypt -d key volume {longest}n"), b"");
    assert_eq!(code(&outcome), 4, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("File name too long"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let scratch = with_volume(&vec![1; 5 << 20]);
    for line in [
        "decrypt --key-file key volume -",
        "read --key-file key volume",
    ] {
        let mut child = command(&scratch, line)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_leaves_no_half_made_out() {
    let scratch = Scratch::new();
    scratch.file("key", PASSPHRASE.as_bytes());
    let before = scratch.names();
    for kind in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let line = format!("encrypt --key-file key {} - volume", CHEAP.join(" "));
        let mut child = command(&scratch, &line)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // More than fits into the pipe, so that it is being read; then the stream stalls.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![5; 6 << 20]).unwrap();
        signal(&child, kind);
        let status = wait(&mut child);
        assert_eq!(status.code(), Some(1));
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(
            stderr,
            "lucarne: - to volume: interrupted; volume is not made\n"
        );
        assert_eq!(scratch.names(), before);
        drop(stdin);
    }
}

#[test]
fn pages_and_scripts_are_generated() {
    let scratch = Scratch::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = lucarne(&scratch, &format!("completions {shell}"), b"");
        assert_eq!(code(&outcome), 0);
        assert!(outcome.text().contains("luksFormat"), "{shell}");
    }
    let outcome = lucarne(&scratch, "man", b"");
    assert!(
        outcome.text().contains(".TH lucarne 1"),
        "{}",
        outcome.text()
    );
    assert_eq!(code(&lucarne(&scratch, "man pages", b"")), 0);
    for verb in [
        "encrypt",
        "decrypt",
        "read",
        "write",
        "luksFormat",
        "luksDump",
        "isLuks",
        "open",
    ] {
        let page =
            fs::read_to_string(scratch.path("pages").join(format!("lucarne-{verb}.1"))).unwrap();
        assert!(page.contains("Example"), "{verb}");
    }
}

#[test]
fn debug_messages_hold_no_secret() {
    let scratch = with_volume(b"bytes");
    let outcome = lucarne(
        &scratch,
        "--debug open --test-passphrase volume",
        b"correct horse",
    );
    assert_eq!(code(&outcome), 0);
    assert!(!outcome.stderr.contains(PASSPHRASE));
    let outcome = lucarne(
        &scratch,
        "--debug open --test-passphrase volume",
        b"incorrect horse",
    );
    assert_eq!(code(&outcome), 2);
    assert!(!outcome.stderr.contains("incorrect horse"));
}

#[test]
fn debug_messages_tell_what_is_done() {
    let scratch = with_volume(b"bytes");
    for (line, told) in [
        ("luksDump", &["header read"][..]),
        (
            "open --test-passphrase -d key",
            &["header read", "trying a keyslot keyslot=0"],
        ),
        (
            "decrypt -d key",
            &["trying a keyslot", "the data can be read"],
        ),
    ] {
        let out = if line.starts_with("decrypt") {
            " -"
        } else {
            ""
        };
        let quiet = lucarne(&scratch, &format!("{line} volume{out}"), b"");
        let loud = lucarne(&scratch, &format!("{line} --debug volume{out}"), b"");
        assert_eq!((code(&quiet), code(&loud)), (0, 0), "{}", loud.stderr);
        assert_eq!(quiet.stderr, "");
        for told in told {
            assert!(loud.stderr.contains(told), "{line}: {}", loud.stderr);
        }
        // Debugging is verbose too, beside data on standard error.
        let all = loud.text() + &loud.stderr;
        assert!(all.contains("Command successful."), "{line}: {all}");
    }
    let line = format!("encrypt -q --debug -d key {} plain again", CHEAP.join(" "));
    let outcome = lucarne(&scratch, &line, b"");
    assert!(
        outcome.stderr.contains("making a header"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.text().contains("Key slot 0 created."),
        "{}",
        outcome.text()
    );
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}
