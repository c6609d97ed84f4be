//! Places where nothing may, or can, be written or read.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use lucarne_testkit::payload::{sha256_hex_of_file, stream};
use lucarne_testkit::peers;
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;

use crate::common::{self, Findings, key_file, words};
use crate::one_line;

/// Files that may not be read or written, by a user who is not root.
#[test]
fn files_without_permission() {
    let scratch = Scratch::new();
    let open_to_all = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    open_to_all(scratch.dir(), 0o755);
    let program = scratch.path("lucarne");
    std::fs::copy(env!("CARGO_BIN_EXE_lucarne"), &program).unwrap();
    open_to_all(&program, 0o755);
    let image = common::encrypted(&scratch, "image", &stream("mine", 10_000), &[]);
    let key = scratch.path("key");
    open_to_all(&key, 0o644);
    let before = sha256_hex_of_file(&image);
    let Some(mut as_user) = as_ordinary_user() else {
        peers::skipped("files without permission", "setpriv");
        return;
    };
    let mut run_as_user = |arguments: &[OsString], stdin: &[u8]| {
        let mut command = as_user(&program);
        run(command.args(arguments), stdin)
    };
    let mut findings = Findings::default();
    for (mode, verbs) in [
        (
            0o000,
            &[
                "luksDump",
                "isLuks",
                "luksUUID",
                "read",
                "write",
                "luksFormat",
            ][..],
        ),
        (0o444, &["write", "luksFormat"]),
    ] {
        open_to_all(&image, mode);
        for verb in verbs {
            findings.case();
            let mut arguments = words![verb].to_vec();
            if *verb == "luksFormat" {
                arguments.push("--batch-mode".into());
            }
            if matches!(*verb, "read" | "write" | "luksFormat") {
                arguments.extend(words!["--key-file", &key]);
            }
            arguments.push((&image).into());
            let outcome = run_as_user(&arguments, b"data");
            findings.equal(
                &format!(
                    "{verb} of a file of mode {mode:o} ({})",
                    outcome.stderr.trim()
                ),
                &outcome.code,
                &Some(4),
            );
            one_line(verb, &outcome, &image, &mut findings);
        }
    }
    open_to_all(&image, 0o444);
    findings.case();
    let output = scratch.path("out");
    let outcome = run_as_user(&words!["decrypt", "--key-file", &key, &image, &output], b"");
    findings.equal(
        &format!(
            "OUT in a folder that is not ours ({})",
            outcome.stderr.trim()
        ),
        &outcome.code,
        &Some(4),
    );
    one_line("decrypt", &outcome, &output, &mut findings);
    findings.equal("image", &sha256_hex_of_file(&image), &before);
    findings.finish();
}

/// How to start a program without root's privileges.
fn as_ordinary_user() -> Option<impl FnMut(&Path) -> Command> {
    let is_root = rustix::process::geteuid().is_root();
    let setpriv = peers::locate("setpriv");
    if is_root && setpriv.is_none() {
        return None;
    }
    Some(move |program: &Path| match &setpriv {
        Some(setpriv) if is_root => {
            let mut command = Command::new(setpriv);
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .arg(program);
            command
        }
        _ => Command::new(program),
    })
}

/// A file system that fills up in the middle: the error says so, and nothing is left on it.
#[test]
fn a_full_disk_leaves_nothing() {
    let scratch = Scratch::new();
    let key = key_file(&scratch);
    let plaintext = stream("large", 8 << 20);
    let input = scratch.file("in", &plaintext);
    let image = common::encrypted(&scratch, "image", &plaintext, &[]);
    let place = scratch.path("small");
    std::fs::create_dir(&place).unwrap();
    let (image_before, input_before) = (sha256_hex_of_file(&image), sha256_hex_of_file(&input));
    // A file system of its own, in a namespace of its own.
    let script = r#"mount -t tmpfs -o size="$1" none "$2" || exit 99; shift; cd "$1"; shift; "$@"; code=$?; echo "left: $(ls -A)"; exit "$code""#;
    let mut findings = Findings::default();
    for (size, arguments) in [
        (
            "20m",
            words![
                "encrypt",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                &key,
                &input,
                "out"
            ]
            .to_vec(),
        ),
        (
            "1m",
            words![
                "encrypt",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                &key,
                &input,
                "out"
            ]
            .to_vec(),
        ),
        (
            "20m",
            words![
                "rekey",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                &key,
                &image,
                "out"
            ]
            .to_vec(),
        ),
        (
            "3m",
            words!["decrypt", "--key-file", &key, &image, "out"].to_vec(),
        ),
    ] {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--map-root-user", "sh", "-c", script, "sh", size])
            .arg(&place);
        command.arg(env!("CARGO_BIN_EXE_lucarne")).args(&arguments);
        let outcome = run(&mut command, b"");
        if outcome.code == Some(99) || outcome.stderr.contains("unshare") {
            // Not a missing program: this machine does not let its users mount.
            assert!(
                !rustix::process::geteuid().is_root()
                    || std::env::var_os(peers::REQUIRE_PEERS).is_none(),
                "{outcome:?}"
            );
            return;
        }
        findings.case();
        let what = format!("{:?} onto a file system of {size}", arguments[0]);
        findings.equal(
            &format!("{what} ({})", outcome.stderr.trim()),
            &outcome.code,
            &Some(1),
        );
        findings.check(outcome.stderr.to_lowercase().contains("space"), || {
            format!("{what}: {}", outcome.stderr.trim())
        });
        findings.equal(
            &format!("{what}: files"),
            &outcome.text(),
            &"left: \n".to_owned(),
        );
    }
    findings.equal("image", &sha256_hex_of_file(&image), &image_before);
    findings.equal("input", &sha256_hex_of_file(&input), &input_before);
    findings.finish();
}
