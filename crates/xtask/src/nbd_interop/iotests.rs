//! QEMU's iotests that take an image through an NBD server, or start one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use lucarne_testkit::peers;

use super::outcome::{Ended, Events, Exception, Findings, Ran};
use super::{Bench, stand_in};
use crate::command::{output, quoted};

/// What must pass at least, without an emulator, of QEMU 7.2 as of 10.0.
const PASSED_MIN: usize = 15;
/// So long a test may take.
const LIMIT_S: &str = "180";
const PARTS: [&str; 2] = ["tests/qemu-iotests", "python"];

/// Tests of what a server of ours does not have.
const EXCEPTIONS: [Exception; 2] = [
    Exception {
        test: "",
        says: NO_EMULATOR,
        why: "takes an emulator of the version of qemu-utils",
    },
    Exception {
        test: "241",
        says: "-[{ \"start\": 0, \"length\": 1000,",
        why: "shows how qemu-nbd fills up a last sector, and of what it warns",
    },
];
const NO_EMULATOR: &str = "there is no emulator here";

/// How a test wants its image: `check -raw -nbd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Image {
    /// Through the server.
    Nbd,
    /// As a file: the test starts the server itself.
    File,
}

pub(super) fn run(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let version =
        output(Command::new("dpkg-query").args(["-W", "-f", "${source:Version}", "qemu-utils"]))?;
    let source = (bench.sources).unpack(&format!("qemu={version}"), &PARTS, &bench.target)?;
    let suite = source.file_name().context("no folder")?.to_string_lossy();
    let dir = source.join("tests/qemu-iotests");
    let emulator = emulator(bench)?;
    for (name, image) in candidates(&dir)? {
        if bench.wants(&name) {
            let ran = test(bench, &dir, &emulator, &name, image)?;
            findings.add(&suite, &name, ran, &EXCEPTIONS)?;
        }
    }
    findings.expect(&suite, PASSED_MIN);
    Ok(())
}

/// The emulator, if it is of the same version, or something that fails in its place.
fn emulator(bench: &Bench) -> Result<PathBuf> {
    let version = |program: &Path| -> Option<String> {
        let said = output(Command::new(program).arg("--version")).ok()?;
        let line = said.lines().next()?;
        Some(line.split_once("version ")?.1.to_owned())
    };
    let tools = version(Path::new("qemu-img")).context("qemu-img says no version")?;
    let found = peers::locate("qemu-system-x86_64")
        .filter(|emulator| version(emulator).as_ref() == Some(&tools));
    let text = match found {
        // Distributions leave out the accelerator of QEMU's own tests. No test here runs a guest.
        Some(emulator) => format!(
            "#!/bin/bash\nexec {} \"${{@/#qtest/tcg}}\"\n",
            quoted(&emulator.to_string_lossy())
        ),
        None => {
            println!("there is no emulator of version {tools}: tests that start one are left out");
            // Asked for its machines, it has none.
            format!("#!/bin/sh\n[ \"$*\" = '-machine help' ] || echo {NO_EMULATOR}\n")
        }
    };
    let script = bench.stand_ins().join("qemu-system-x86_64");
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    Ok(script)
}

/// The tests that could concern a server of a raw image, in the order of their names.
fn candidates(dir: &Path) -> Result<Vec<(String, Image)>> {
    let mut found = Vec::new();
    for folder in [dir.to_owned(), dir.join("tests")] {
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_numbered = name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_digit());
            let is_named = folder.ends_with("tests") && !name.contains('.');
            let path = folder.join(&name);
            if !(is_numbered || is_named) || !path.is_file() {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            if let Some(image) = suits(&text) {
                found.push((name, image));
            }
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// What a test says it takes.
fn suits(text: &str) -> Option<Image> {
    let takes = |shell: &str, python: &str, what: &str| {
        let mut said = text
            .lines()
            .filter(|line| line.starts_with(shell) || line.contains(python))
            .peekable();
        said.peek()?;
        Some(said.any(|line| line.contains("generic") || line.contains(what)))
    };
    let takes_raw = takes("_supported_fmt", "supported_fmts=", "raw");
    if takes_raw == Some(false) {
        return None;
    }
    let protocol = |what| takes("_supported_proto", "supported_protocols=", what);
    if protocol("nbd") == Some(true) {
        return Some(Image::Nbd);
    }
    let starts_one = ["$QEMU_NBD", "qemu_nbd", "nbd_server_start", "common.nbd"];
    starts_one
        .iter()
        .any(|what| text.contains(what))
        .then_some(Image::File)
}

fn test(bench: &Bench, dir: &Path, emulator: &Path, name: &str, image: Image) -> Result<Ran> {
    let events = Events::begin(bench.scratch.path())?;
    let real = |name: &str| peers::locate(name).with_context(|| format!("{name} is missing"));
    let place = |name: &str| bench.scratch.path().join(name);
    let mut check = Command::new("timeout");
    check.args(["-k", "5", LIMIT_S, "python3", "check", "-raw"]);
    check.arg(match image {
        Image::Nbd => "-nbd",
        Image::File => "-file",
    });
    check.arg(name).current_dir(dir);
    check
        .env("TEST_DIR", place("t"))
        .env("SOCK_DIR", place("q"));
    check.env("QEMU_PROG", emulator);
    check.env("QEMU_IMG_PROG", real("qemu-img")?);
    check.env("QEMU_IO_PROG", real("qemu-io")?);
    check.env("QSD_PROG", real("qemu-storage-daemon")?);
    check.env("QEMU_NBD_PROG", bench.stand_ins().join("qemu-nbd"));
    check.env(stand_in::EVENTS, events.path());
    let logs = bench.target.join("iotests");
    std::fs::create_dir_all(&logs)?;
    let log = logs.join(format!("{name}.log"));
    events.watch(&mut check, &log)?;
    let log = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let ended = ended(&log, name);
    Ok(Ran { ended, events, log })
}

/// What `check` says of the one test that it ran.
fn ended(text: &str, name: &str) -> Ended {
    let says = |what: &str| text.lines().any(|line| line.starts_with(what));
    if says(&format!("Not run: {name}")) {
        // 007   not run    [19:12:31] [19:12:31]   ...   not suitable for this image protocol: nbd
        let line = text.lines().find(|line| line.contains(" not run "));
        let why = line.and_then(|line| line.rsplit("...").next());
        return Ended::Skipped(why.unwrap_or_default().trim().to_owned());
    }
    match says("Passed all 1 iotests") || differs_by_when_it_quits(text) {
        true => Ended::Passed,
        false => Ended::Failed,
    }
}

/// Whether all that is not as expected is the place of the event that the emulator ends, which another accelerator
/// sends earlier.
fn differs_by_when_it_quits(text: &str) -> bool {
    let changed = |sign: char| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(sign));
        let mut lines: Vec<&str> = lines.filter(|line| !line.starts_with(sign)).collect();
        lines.sort_unstable();
        lines
    };
    let (added, removed) = (changed('+'), changed('-'));
    let are_the_event = added
        .iter()
        .all(|line| line.contains("\"event\": \"SHUTDOWN\""));
    !added.is_empty() && added == removed && are_the_event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_take() {
        let shell = "_supported_fmt generic\n_supported_proto file nbd\n";
        assert_eq!(suits(shell), Some(Image::Nbd));
        assert_eq!(suits("_supported_fmt qcow2\n_supported_proto nbd\n"), None);
        let starts = "_supported_fmt raw\n_supported_proto file\n$QEMU_NBD x\n";
        assert_eq!(suits(starts), Some(Image::File));
        assert_eq!(suits("_supported_fmt raw\n_supported_proto file\n"), None);
        let python = "iotests.main(supported_fmts=['raw'],\n    supported_protocols=['nbd'])\n";
        assert_eq!(suits(python), Some(Image::Nbd));
    }

    #[test]
    fn how_tests_end() {
        let skipped = "007   not run    [19:12:31] [19:12:31]   ...      not suitable: nbd\nNot run: 007\nPassed all 0 iotests\n";
        assert_eq!(
            ended(skipped, "007"),
            Ended::Skipped("not suitable: nbd".into())
        );
        assert_eq!(
            ended("001 pass\nPassed all 1 iotests\n", "001"),
            Ended::Passed
        );
        assert_eq!(
            ended("001 fail\nFailures: 001\nFailed 1 of 1 iotests\n", "001"),
            Ended::Failed
        );
    }
}
