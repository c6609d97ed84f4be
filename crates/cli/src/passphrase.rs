//! Where a passphrase comes from, by cryptsetup's rules.
//!
//! | key file | standard input | the passphrase |
//! |---|---|---|
//! | none | a terminal | typed at the prompt, without echo |
//! | none | anything else | the first line, without its newline |
//! | a path | | the file's bytes, newlines included |
//! | `-` | a terminal | typed at the prompt |
//! | `-` | anything else | all of it, newlines included |
//!
//! Where standard input is the data (`encrypt -`, `write`) it gives no passphrase: without a key file
//! it is typed at the controlling terminal.

use std::{
    io::{IsTerminal, Write, stderr, stdin},
    path::Path,
    time::Duration,
};

use lucarne::{KeyExtent, SecretBytes};

use crate::{args::KeyFileArgs, exit::Failure, keyfile, terminal::Terminal};

/// What standard input is, besides a possible source of the passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StdinRole {
    /// Nothing else.
    Free,
    /// The data.
    Data,
}

/// A source of passphrases.
pub(crate) struct Source<'a> {
    args: &'a KeyFileArgs,
    prompt: String,
    stdin: StdinRole,
}

impl<'a> Source<'a> {
    pub(crate) fn new(args: &'a KeyFileArgs, volume: &'a Path, stdin: StdinRole) -> Self {
        Self {
            args,
            prompt: format!("Enter passphrase for {}: ", volume.display()),
            stdin,
        }
    }

    /// Asks in other words.
    pub(crate) fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// Whether a person types it, so that it is worth asking again.
    pub(crate) fn is_interactive(&self) -> bool {
        let from_stdin = match &self.args.key_file {
            None => true,
            Some(path) => path.as_os_str() == "-",
        };
        from_stdin && (self.stdin == StdinRole::Data || stdin().is_terminal())
    }

    /// A passphrase that opens something.
    pub(crate) fn existing(&self) -> anyhow::Result<SecretBytes> {
        self.read(self.verified(false))
    }

    /// A passphrase for something new. It is asked for twice, unless `--batch-mode`.
    pub(crate) fn new_one(&self, batch_mode: bool) -> anyhow::Result<SecretBytes> {
        self.read(self.verified(!batch_mode))
    }

    /// Whether to ask twice.
    fn verified(&self, by_default: bool) -> bool {
        if self.args.verify_passphrase && !self.is_interactive() {
            // The passphrase is used all the same, as cryptsetup does.
            let _ = writeln!(
                stderr(),
                "lucarne: --verify-passphrase: only a typed passphrase can be verified"
            );
        }
        self.args.verify_passphrase || by_default
    }

    fn read(&self, verify: bool) -> anyhow::Result<SecretBytes> {
        let options = self.args.extent_options;
        let extent = KeyExtent {
            offset: self.args.keyfile_offset,
            len: self.args.keyfile_size as usize,
        };
        if self.is_interactive() {
            if extent.offset != 0 {
                return Err(Failure::Parameters(format!(
                    "{}: a typed passphrase has no bytes to skip",
                    options.offset()
                ))
                .into());
            }
            return self.ask(verify);
        }
        match &self.args.key_file {
            None => keyfile::read_stdin_line(extent, options),
            Some(path) if path.as_os_str() == "-" => keyfile::read_stdin(extent, options),
            Some(path) => keyfile::read(path, extent, options),
        }
    }

    fn ask(&self, verify: bool) -> anyhow::Result<SecretBytes> {
        let usable = self.args.key_file.is_none() || self.stdin == StdinRole::Free;
        let Some(terminal) = Terminal::open().filter(|_| usable) else {
            return Err(Failure::parameters(
                "standard input is the data, so the passphrase must come from --key-file FILE",
            )
            .into());
        };
        let seconds = Duration::from_secs(self.args.timeout.into());
        let timeout = (!seconds.is_zero()).then_some(seconds);
        let passphrase = terminal.ask(&self.prompt, timeout)?;
        if verify
            && !terminal
                .ask("Verify passphrase: ", timeout)?
                .ct_eq(&passphrase)
        {
            return Err(Failure::Permission("passphrases do not match".into()).into());
        }
        Ok(passphrase)
    }
}
