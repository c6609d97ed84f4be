//! Running the command under test.
#![allow(dead_code, unused_imports, unused_macros)] // each test file uses a part

pub(crate) mod file_server;
pub(crate) mod folder;
pub(crate) mod header;
pub(crate) mod opened;
pub(crate) mod programs;
pub(crate) mod served;
pub(crate) mod small_disk;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use lucarne_testkit::process::{Outcome, run};
use lucarne_testkit::scratch::Scratch;

/// The passphrase of volumes made by tests.
pub(crate) const PASSPHRASE: &[u8] = b"test passphrase";
/// A key derivation that costs nothing.
pub(crate) const CHEAP: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

/// The command under test, ready for its arguments.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lucarne"))
}

/// Runs it with nothing on its standard input.
pub(crate) fn lucarne<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Outcome {
    run(command().args(arguments), b"")
}

/// Runs it with this standard input.
pub(crate) fn lucarne_with_stdin<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    stdin: &[u8],
) -> Outcome {
    run(command().args(arguments), stdin)
}

/// Runs it, and fails the test unless it succeeds. Returns its standard output.
pub(crate) fn must<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
    let arguments: Vec<_> = arguments
        .into_iter()
        .map(|argument| argument.as_ref().to_owned())
        .collect();
    let outcome = lucarne(&arguments);
    assert!(
        outcome.code == Some(0),
        "lucarne {arguments:?} ended with {:?}: {}",
        outcome.code,
        outcome.stderr
    );
    outcome.stdout
}

/// Arguments of mixed kinds, words and paths.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        [$(std::ffi::OsString::from($word)),*]
    };
}
pub(crate) use words;

/// A key file of the tests' passphrase.
pub(crate) fn key_file(scratch: &Scratch) -> std::path::PathBuf {
    scratch.file("key", PASSPHRASE)
}

/// A new volume of `plaintext` at `scratch/name`, with cheap costs and these further options.
pub(crate) fn encrypted(
    scratch: &Scratch,
    name: &str,
    plaintext: &[u8],
    options: &[&str],
) -> std::path::PathBuf {
    let input = scratch.file(&format!("{name}.plain"), plaintext);
    let output = scratch.path(name);
    let key = key_file(scratch);
    let mut arguments: Vec<_> = ["encrypt", "--batch-mode"].iter().map(OsStr::new).collect();
    arguments.extend(CHEAP.iter().map(OsStr::new));
    arguments.extend(options.iter().map(OsStr::new));
    arguments.extend([
        OsStr::new("--key-file"),
        key.as_os_str(),
        input.as_os_str(),
        output.as_os_str(),
    ]);
    must(arguments);
    std::fs::remove_file(input).expect("the input is still there");
    output
}

/// The plaintext of a volume, by `decrypt`.
pub(crate) fn decrypted(scratch: &Scratch, image: &Path, options: &[&str]) -> Vec<u8> {
    let key = key_file(scratch);
    let mut arguments: Vec<_> = ["decrypt", "--batch-mode"].iter().map(OsStr::new).collect();
    arguments.extend(options.iter().map(OsStr::new));
    arguments.extend([
        OsStr::new("--key-file"),
        key.as_os_str(),
        image.as_os_str(),
        OsStr::new("-"),
    ]);
    must(arguments)
}

/// Fails the test unless it ended with this code and one line that contains `message`.
pub(crate) fn assert_refused(what: &str, outcome: &Outcome, code: i32, message: &str) {
    let stderr = &outcome.stderr;
    assert_eq!(outcome.code, Some(code), "{what}: {stderr}");
    assert!(stderr.contains(message), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
}

/// Collects what is wrong in many cases, to tell all at once.
#[derive(Default)]
pub(crate) struct Findings {
    findings: Vec<String>,
    cases: usize,
}

impl Findings {
    /// Begins a case.
    pub(crate) fn case(&mut self) {
        self.cases += 1;
    }

    /// Notes a finding unless `holds`.
    pub(crate) fn check(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.findings.push(finding());
        }
    }

    /// Notes a finding unless the two are equal.
    pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        got: &T,
        expected: &T,
    ) {
        self.check(got == expected, || {
            format!("{what}: expected {expected:?}, got {got:?}")
        });
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.cases += other.cases;
    }

    /// Fails the test if there are any, and if there were no cases at all.
    pub(crate) fn finish(self) {
        assert!(self.cases > 0, "no case was tested");
        assert!(
            self.findings.is_empty(),
            "{} findings in {} cases:\n{}",
            self.findings.len(),
            self.cases,
            self.findings.join("\n")
        );
    }
}

/// Runs `case` on every item with one thread a processor, and tells all findings at once.
pub(crate) fn for_each<T: Sync>(items: &[T], case: impl Fn(&T, &mut Findings) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Findings::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut findings = Findings::default();
                    while let Some(item) =
                        items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                    {
                        findings.case();
                        case(item, &mut findings);
                    }
                    findings
                })
            })
            .collect();
        for worker in workers {
            let findings = worker.join();
            all.merge(findings.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    all.finish();
}
