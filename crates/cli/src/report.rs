//! What a run says besides its result.

use std::io::{self, Write};

use crate::exit::Code;

/// What `--verbose` shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    verbose: bool,
    /// Standard output is data, so talk goes to standard error.
    data_on_stdout: bool,
}

impl Report {
    pub(crate) fn new(verbose: bool, data_on_stdout: bool) -> Self {
        Self {
            verbose,
            data_on_stdout,
        }
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Says something, if that was asked for.
    pub(crate) fn say(&self, line: &str) {
        if !self.verbose {
            return;
        }
        // Nobody to tell if nobody listens.
        let _ = match self.data_on_stdout {
            true => writeln!(io::stderr(), "{line}"),
            false => writeln!(io::stdout(), "{line}"),
        };
    }

    /// Says how it ended, in cryptsetup's words (which show the code negated).
    pub(crate) fn end(&self, code: Code) {
        match code {
            Code::Done => self.say("Command successful."),
            code => self.say(&format!(
                "Command failed with code -{} ({}).",
                code as u8,
                code.meaning()
            )),
        }
    }
}

/// One line on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "lucarne: {line}");
}

/// Writes a result to standard output.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
