//! How a run ends: cryptsetup's exit codes, and the one line that says why.

use std::{fmt, io, path::Path};

use lucarne::{Error, IoOp};

/// cryptsetup's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Done = 0,
    Parameters = 1,
    Permission = 2,
    Memory = 3,
    Device = 4,
    Exists = 5,
}

impl Code {
    /// The code of another process of this program.
    pub(crate) fn of_number(number: i32) -> Self {
        [Self::Permission, Self::Memory, Self::Device, Self::Exists]
            .into_iter()
            .find(|code| *code as i32 == number)
            .unwrap_or(Self::Parameters)
    }

    /// What `--verbose` says after a failure.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Parameters => "wrong or missing parameters",
            Self::Permission => "no permission or bad passphrase",
            Self::Memory => "out of memory",
            Self::Device => "wrong device or file specified",
            Self::Exists => "device already exists or device is busy",
        }
    }
}

/// What goes wrong in the command itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line or its values.
    #[error("{0}")]
    Parameters(String),
    /// The passphrase, or an answer other than yes.
    #[error("{0}")]
    Permission(String),
    /// A file that is missing, unreadable or of the wrong kind.
    #[error("{0}")]
    Device(String),
    /// More memory than there is.
    #[error("{0}")]
    Memory(String),
    /// Something is there already, or in use.
    #[error("{0}")]
    Exists(String),
    /// Stopped by a signal.
    #[error("interrupted")]
    Interrupted,
    /// Nothing to say: the exit code is the answer.
    #[error("")]
    Silent,
    /// Said already, by another process or as the result.
    #[error("")]
    Said(Code),
}

impl Failure {
    pub(crate) fn parameters(message: impl fmt::Display) -> Self {
        Self::Parameters(message.to_string())
    }

    fn code(&self) -> Code {
        match self {
            Self::Parameters(_) | Self::Interrupted | Self::Silent => Code::Parameters,
            Self::Said(code) => *code,
            Self::Permission(_) => Code::Permission,
            Self::Device(_) => Code::Device,
            Self::Memory(_) => Code::Memory,
            Self::Exists(_) => Code::Exists,
        }
    }
}

/// The library's error as an exit code.
fn library_code(error: &Error) -> Code {
    match error {
        // A token without its passphrase is cryptsetup's too.
        // So are keys that do not vouch for a re-encryption: to cryptsetup they are the wrong ones.
        Error::WrongKey | Error::Token { .. } | Error::Unvouched { .. } => Code::Permission,
        Error::OutOfMemory { .. } => Code::Memory,
        Error::Device(_) => Code::Device,
        Error::Busy(_) => Code::Exists,
        Error::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => Code::Exists,
        Error::Io { op: IoOp::Open, .. } => Code::Device,
        _ => Code::Parameters,
    }
}

/// What is not there in a volume, or not what was asked for, is a wrong device or file as any other is.
fn inside_code(error: &lucarne_inside::Error) -> Code {
    use lucarne_inside::Error;
    match error {
        Error::NotFound { .. }
        | Error::NotADirectory { .. }
        | Error::IsADirectory { .. }
        | Error::NotAFile { .. }
        | Error::TooManyLinks { .. }
        | Error::NoFileSystem { .. } => Code::Device,
        _ => Code::Parameters,
    }
}

fn tensors_code(error: &lucarne_tensors::Error) -> Code {
    match error {
        lucarne_tensors::Error::NoSuchTensor { .. } => Code::Device,
        _ => Code::Parameters,
    }
}

/// The exit code of whatever went wrong.
pub(crate) fn code(error: &anyhow::Error) -> Code {
    error
        .chain()
        .find_map(|cause| {
            cause
                .downcast_ref::<Failure>()
                .map(Failure::code)
                .or_else(|| cause.downcast_ref().map(library_code))
                .or_else(|| cause.downcast_ref().map(inside_code))
                .or_else(|| cause.downcast_ref().map(tensors_code))
        })
        .unwrap_or(Code::Parameters)
}

/// The line for standard error; `None` where there is nothing to say.
///
/// A reader of standard output that went away (`| head`) has seen enough and needs no message.
pub(crate) fn line(error: &anyhow::Error) -> Option<String> {
    let silent = error.chain().any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(Failure::Silent | Failure::Said(_))
        ) || cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    (!silent).then(|| one_line(error))
}

/// The causes joined by colons. A cause that its parent's message already shows is not repeated.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let message = without_errno(&cause.to_string());
        if line.ends_with(&message) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&message);
    }
    line.replace('\n', " ")
}

/// The standard library ends the system's messages with ` (os error 2)`, which tells a person nothing.
fn without_errno(message: &str) -> String {
    match message.rsplit_once(" (os error ") {
        Some((text, number)) if number.trim_end_matches(')').parse::<i32>().is_ok() => text.into(),
        _ => message.into(),
    }
}

/// A path as a person reads it in a message.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn codes_are_cryptsetups() {
        let io = |op, kind: io::ErrorKind| Error::Io {
            op,
            offset: 0,
            source: kind.into(),
        };
        for (error, code_of_it) in [
            (Error::NotLuks, Code::Parameters),
            (Error::WrongKey, Code::Permission),
            (Error::Unvouched { keyslot: 2 }, Code::Permission),
            (Error::OutOfMemory { kib: 1 }, Code::Memory),
            (Error::Interrupted, Code::Parameters),
            (io(IoOp::Open, io::ErrorKind::NotFound), Code::Device),
            (
                io(IoOp::Open, io::ErrorKind::PermissionDenied),
                Code::Device,
            ),
            (io(IoOp::Open, io::ErrorKind::ResourceBusy), Code::Exists),
            (
                io(IoOp::Write, io::ErrorKind::StorageFull),
                Code::Parameters,
            ),
        ] {
            let text = error.to_string();
            assert_eq!(code(&anyhow::Error::new(error)), code_of_it, "{text}");
        }
        let wrapped = anyhow::Error::new(Failure::Exists("there".into())).context("out");
        assert_eq!(code(&wrapped), Code::Exists);
        assert_eq!(line(&wrapped).unwrap(), "out: there");
    }

    #[test]
    fn a_message_is_one_line_and_says_nothing_twice() {
        let error: anyhow::Result<()> = Err(Error::Io {
            op: IoOp::Read,
            offset: 512,
            source: io::Error::other("broken"),
        })
        .context("disk.img");
        let line = line(&error.unwrap_err()).unwrap();
        assert_eq!(line, "disk.img: cannot read at byte 512: broken");
    }

    #[test]
    fn the_systems_messages_have_no_number() {
        let error = anyhow::Error::new(io::Error::from_raw_os_error(2)).context("x");
        assert_eq!(line(&error).unwrap(), "x: No such file or directory");
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("x");
        assert_eq!(line(&error), None);
        let error = anyhow::Error::new(Error::Io {
            op: IoOp::Write,
            offset: 0,
            source: io::ErrorKind::BrokenPipe.into(),
        });
        assert_eq!(line(&error), None);
        assert_eq!(line(&anyhow::Error::new(Failure::Silent)), None);
    }
}
