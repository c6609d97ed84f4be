//! A passphrase from another program.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lucarne_format::luks2::Token;
use lucarne_secret::SecretBytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{KeyringToken, TokenFault, Unlocker};

/// The longest passphrase that a command may give.
const PASSPHRASE_LEN_MAX: usize = 64 << 10;
/// A pipe that can take anything takes so much without waiting (`PIPE_BUF`).
const PIECE_LEN: usize = 4096;
/// How often a program that has closed its output is asked whether it has ended.
const RETRY: Duration = Duration::from_millis(5);

/// Asks a command for the passphrase: it gets the token's JSON on standard input and gives the passphrase,
/// at most 64 KiB and without a newline that does not belong to it, on standard output. Its standard error
/// is this process's. If it fails, or takes longer than its time, its token gave nothing.
///
/// The command is the caller's word, handed to `/bin/sh`; nothing of the token gets into it. What is killed
/// is the shell, so a command that may hang begins with `exec`. It takes tokens of every type but
/// `luks2-keyring`.
///
/// ```
/// use lucarne::{CommandUnlocker, Unlocker};
/// # let text = serde_json::json!({"type": "example", "keyslots": [], "of": "example"});
/// # let token = lucarne::luks2::Token {
/// #     kind: "example".into(), keyslots: Default::default(), json: text.as_object().unwrap().clone(),
/// # };
/// let unlocker = CommandUnlocker::new("sed 's/.*\"of\":\"\\(.*\\)\".*/\\1/' | tr -d '\\n'");
/// assert_eq!(unlocker.passphrase(0, &token)?.as_slice(), b"example");
/// # Ok::<(), lucarne::TokenFault>(())
/// ```
#[derive(Debug, Clone)]
pub struct CommandUnlocker {
    command: OsString,
    patience: Duration,
}

impl CommandUnlocker {
    /// How long a command may take unless something else is asked for: who is asked to touch a key needs
    /// a while.
    pub const PATIENCE: Duration = Duration::from_secs(60);

    /// Of a line for the shell.
    pub fn new(command: impl AsRef<OsStr>) -> Self {
        Self {
            command: command.as_ref().to_owned(),
            patience: Self::PATIENCE,
        }
    }

    /// How long the command may take; then it is killed.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask(&self, question: &[u8]) -> io::Result<SecretBytes> {
        let deadline = Instant::now() + self.patience;
        let mut child = Running(
            Command::new("/bin/sh")
                .arg("-c")
                .arg(&self.command)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        // OK to unwrap: both were asked for.
        #[allow(clippy::unwrap_used)]
        let (stdin, stdout) = (
            child.0.stdin.take().unwrap(),
            child.0.stdout.take().unwrap(),
        );
        let answer = converse(
            OwnedFd::from(stdin),
            &File::from(OwnedFd::from(stdout)),
            question,
            deadline,
        )?;
        let status = child.wait(deadline)?;
        if !status.success() {
            return Err(io::Error::other(format!("ended with {status}")));
        }
        if answer.is_empty() {
            return Err(io::Error::other("gave nothing"));
        }
        Ok(answer)
    }
}

impl Unlocker for CommandUnlocker {
    fn takes(&self, token: &Token) -> bool {
        token.kind != KeyringToken::KIND
    }

    fn passphrase(&self, _id: u32, token: &Token) -> Result<SecretBytes, TokenFault> {
        // OK to unwrap: a map with string keys has no way to fail.
        #[allow(clippy::unwrap_used)]
        let question = serde_json::to_vec(&token.json).unwrap();
        self.ask(&question)
            .map_err(|error| TokenFault::new(format!("the token command: {error}")))
    }
}

/// Writes the question while it reads the answer: a program may answer before it has read all of it, or read
/// nothing at all.
fn converse(
    stdin: OwnedFd,
    stdout: &File,
    question: &[u8],
    deadline: Instant,
) -> io::Result<SecretBytes> {
    let mut answer = SecretBytes::zeroed(PASSPHRASE_LEN_MAX + 1);
    let mut len = 0;
    let mut question = question;
    let mut stdin = Some(stdin);
    loop {
        if question.is_empty() {
            stdin = None;
        }
        let mut descriptors = vec![PollFd::new(stdout, PollFlags::IN)];
        if let Some(stdin) = &stdin {
            descriptors.push(PollFd::new(stdin, PollFlags::OUT));
        }
        match poll(&mut descriptors, Some(&left(deadline)?)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| {
            descriptors
                .get(index)
                .is_some_and(|descriptor| !descriptor.revents().is_empty())
        };
        let (may_read, may_write) = (ready(0), ready(1));
        drop(descriptors);
        if may_write && let Some(pipe) = &stdin {
            match rustix::io::write(pipe.as_fd(), &question[..question.len().min(PIECE_LEN)]) {
                Ok(written) => question = &question[written..],
                // It does not want to know more.
                Err(rustix::io::Errno::PIPE) => question = &[],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if may_read {
            match rustix::io::read(stdout, &mut answer.as_mut_slice()[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if len > PASSPHRASE_LEN_MAX {
                return Err(io::Error::other(format!(
                    "gave more than {PASSPHRASE_LEN_MAX} bytes"
                )));
            }
        }
    }
    answer.truncate(len);
    Ok(answer)
}

/// The time that is left.
fn left(deadline: Instant) -> io::Result<Timespec> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::other("took too long"));
    }
    Timespec::try_from(left).map_err(io::Error::other)
}

/// A program that does not outlive its use.
struct Running(Child);

impl Running {
    fn wait(&mut self, deadline: Instant) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            left(deadline)?;
            std::thread::sleep(RETRY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(command: &str, question: &[u8]) -> Result<Vec<u8>, String> {
        CommandUnlocker::new(command)
            .with_patience(Duration::from_secs(20))
            .ask(question)
            .map(|answer| answer.as_slice().to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn it_gives_its_output_to_the_last_byte() {
        assert_eq!(ask("cat", b"question").unwrap(), b"question");
        assert_eq!(ask("printf 'a\\n\\000b\\n'", b"").unwrap(), b"a\n\0b\n");
        let limit = vec![b'x'; PASSPHRASE_LEN_MAX];
        assert_eq!(ask("cat", &limit).unwrap(), limit);
    }

    #[test]
    fn a_program_need_not_read_what_it_is_asked() {
        let long = vec![b'x'; 4 << 20];
        assert_eq!(ask("printf answer", &long).unwrap(), b"answer");
        assert_eq!(ask("head -c 3", &long).unwrap(), b"xxx");
        assert_eq!(ask("exec <&-; printf answer", &long).unwrap(), b"answer");
    }

    #[test]
    fn what_fails_gives_nothing() {
        for (command, error) in [
            ("printf answer; exit 3", "exit status: 3"),
            ("printf answer; kill -9 $$", "signal: 9"),
            ("true", "gave nothing"),
            ("cat", "gave nothing"),
            ("head -c 65537 /dev/zero", "gave more than 65536 bytes"),
            ("cat /dev/zero", "gave more than 65536 bytes"),
            ("lucarne-no-such-program 2>&-", "exit status: 127"),
        ] {
            let message = ask(command, b"").unwrap_err();
            assert!(message.contains(error), "{command}: {message}");
        }
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let before = Instant::now();
        for command in ["exec sleep 60", "sleep 60", "exec >&-; exec sleep 60"] {
            let error = CommandUnlocker::new(command)
                .with_patience(Duration::from_millis(100))
                .ask(b"question")
                .unwrap_err();
            assert!(error.to_string().contains("took too long"), "{error}");
        }
        assert!(before.elapsed() < Duration::from_secs(30));
    }
}
