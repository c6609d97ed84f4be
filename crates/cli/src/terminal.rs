//! Prompting on the terminal without echo.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use lucarne::SecretBytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

use crate::{
    exit::Failure,
    signals::{self, Graceful},
};

/// The longest passphrase that a person may type.
pub(crate) const MAX_LEN: usize = 512;
/// How long a signal may wait to be noticed.
const POLL_STEP: Duration = Duration::from_millis(200);

/// The terminal of a person who can answer.
pub(crate) enum Terminal {
    /// The controlling terminal.
    Controlling(File),
    /// Standard input, where there is no controlling terminal.
    Stdin,
}

impl Terminal {
    /// The controlling terminal, or else standard input if it is a terminal.
    pub(crate) fn open() -> Option<Self> {
        match OpenOptions::new().read(true).write(true).open("/dev/tty") {
            Ok(file) => Some(Self::Controlling(file)),
            Err(_) => io::stdin().is_terminal().then_some(Self::Stdin),
        }
    }

    fn input(&self) -> BorrowedFd<'_> {
        match self {
            Self::Controlling(file) => file.as_fd(),
            Self::Stdin => rustix::stdio::stdin(),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Controlling(file) => { file }.write_all(text.as_bytes()),
            Self::Stdin => io::stderr().write_all(text.as_bytes()),
        }
    }

    /// Asks and reads one line without echo.
    pub(crate) fn ask(
        &self,
        prompt: &str,
        timeout: Option<Duration>,
    ) -> anyhow::Result<SecretBytes> {
        // A signal must find its way past the restored echo.
        let _graceful = Graceful::begin()?;
        let silence = Silence::begin(self.input())
            .map_err(|error| Failure::Permission(format!("terminal: {error}")))?;
        self.write(prompt)
            .map_err(|error| Failure::Permission(format!("terminal: {error}")))?;
        let answer = self.read_line(timeout);
        drop(silence);
        // The line's own newline was not echoed. Without it the next output would share the line.
        let _ = self.write("\n");
        answer
    }

    fn read_line(&self, timeout: Option<Duration>) -> anyhow::Result<SecretBytes> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.wait(deadline)?;
        // The terminal gives a whole line to one read.
        let mut line = SecretBytes::zeroed(MAX_LEN + 2);
        let len = rustix::io::read(self.input(), &mut line[..])
            .map_err(|error| Failure::Permission(format!("terminal: {error}")))?;
        if len == 0 {
            return Err(Failure::Parameters("no passphrase was typed".into()).into());
        }
        line.truncate(len);
        if line.last() == Some(&b'\n') {
            line.truncate(len - 1);
        }
        if line.len() > MAX_LEN {
            return Err(Failure::Parameters(format!(
                "a typed passphrase has at most {MAX_LEN} bytes; use --key-file for a longer one"
            ))
            .into());
        }
        Ok(line)
    }

    /// Until there is something to read. Signal handlers restart `read` but never `poll`, and a signal
    /// may come just before either: so it looks every now and then.
    fn wait(&self, deadline: Option<Instant>) -> anyhow::Result<()> {
        loop {
            if signals::stop_requested() {
                return Err(Failure::Interrupted.into());
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Failure::Parameters("no passphrase within --timeout".into()).into());
            }
            let step = left.unwrap_or(POLL_STEP).min(POLL_STEP);
            let step = Timespec {
                tv_sec: 0,
                tv_nsec: step.subsec_nanos().into(),
            };
            let input = self.input();
            match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&step)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => {
                    return Err(Failure::Permission(format!("terminal: {error}")).into());
                }
            }
        }
    }
}

/// While it lives, the terminal does not echo.
struct Silence<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // Nobody to tell if it fails: the terminal is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
