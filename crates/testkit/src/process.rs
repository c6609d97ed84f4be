//! Running a program and keeping all that it leaves behind.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

impl Outcome {
    /// Standard output, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a command to its end, with `stdin` on its standard input.
///
/// # Panics
/// If the program cannot be started.
pub fn run(command: &mut Command, stdin: &[u8]) -> Outcome {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{shown}: {e}"));
    let mut pipe = child.stdin.take().expect("standard input is piped");
    let stdin = stdin.to_vec();
    // A program may end without reading all of its input: that is its right, not an error.
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child
        .wait_with_output()
        .unwrap_or_else(|e| panic!("{shown}: {e}"));
    feeder.join().expect("the feeding thread does not panic");
    Outcome {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
