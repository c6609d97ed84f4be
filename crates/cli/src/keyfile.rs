//! Key files and piped passphrases, with cryptsetup's limits.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use lucarne::{KeyExtent, KeyInputError, SecretBytes};

use crate::exit::{Failure, shown};

/// Standard input, which was to give the passphrase, has ended.
#[derive(Debug, thiserror::Error)]
#[error("passphrase on standard input: nothing to read")]
pub(crate) struct NothingToRead;

/// The options that say which bytes are the passphrase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ExtentOptions {
    /// `--keyfile-offset` and `--keyfile-size`.
    #[default]
    Existing,
    /// `--new-keyfile-offset` and `--new-keyfile-size`.
    New,
}

impl ExtentOptions {
    pub(crate) fn offset(self) -> &'static str {
        match self {
            Self::Existing => "--keyfile-offset",
            Self::New => "--new-keyfile-offset",
        }
    }

    fn size(self) -> &'static str {
        match self {
            Self::Existing => "--keyfile-size",
            Self::New => "--new-keyfile-size",
        }
    }

    /// What is wrong, by the names that the command line has for it.
    fn tell(self, error: &KeyInputError) -> String {
        match error {
            KeyInputError::OffsetPastEnd { present, offset } => {
                format!("has {present} bytes, {} skips {offset}", self.offset())
            }
            KeyInputError::TooShort { present, wanted } => {
                format!(
                    "has {present} bytes to read, {} wants {wanted}",
                    self.size()
                )
            }
            error => error.to_string(),
        }
    }
}

/// Reads a key file.
pub(crate) fn read(
    path: &Path,
    extent: KeyExtent,
    options: ExtentOptions,
) -> anyhow::Result<SecretBytes> {
    let refused =
        |what: String| Failure::Parameters(format!("key file {}: {what}", path.display()));
    let told = |error: KeyInputError| refused(options.tell(&error));
    let mut file = File::open(path).map_err(|error| refused(error.to_string()))?;
    if file.is_terminal() {
        return Err(refused("is a terminal".into()).into());
    }
    let metadata = file
        .metadata()
        .map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        let secret = extent.read(&mut file).map_err(told)?;
        if secret.is_empty() {
            return Err(refused("gives nothing to read".into()).into());
        }
        return Ok(secret);
    }
    let (present, offset) = (metadata.len(), extent.offset);
    if offset > present {
        return Err(told(KeyInputError::OffsetPastEnd { present, offset }).into());
    }
    file.seek(SeekFrom::Start(offset))
        .map_err(|error| refused(error.to_string()))?;
    let rest = KeyExtent {
        offset: 0,
        ..extent
    };
    Ok(rest.read(&mut file).map_err(told)?)
}

/// Reads standard input to its end.
pub(crate) fn read_stdin(extent: KeyExtent, options: ExtentOptions) -> anyhow::Result<SecretBytes> {
    let secret = extent
        .read(unbuffered_stdin())
        .map_err(|error| stdin_refused(&error, options))?;
    if secret.is_empty() {
        return Err(NothingToRead.into());
    }
    Ok(secret)
}

/// Reads the first line of standard input without its newline, and not a byte further.
pub(crate) fn read_stdin_line(
    extent: KeyExtent,
    options: ExtentOptions,
) -> anyhow::Result<SecretBytes> {
    extent
        .read_line(unbuffered_stdin())
        .map_err(|error| stdin_refused(&error, options))
}

fn stdin_refused(error: &KeyInputError, options: ExtentOptions) -> anyhow::Error {
    match error {
        KeyInputError::NothingToRead => NothingToRead.into(),
        error => Failure::Parameters(format!(
            "passphrase on standard input: {}",
            options.tell(error)
        ))
        .into(),
    }
}

/// The descriptor itself: [`io::Stdin`] would keep what it read ahead, a secret, in a plain buffer.
fn unbuffered_stdin() -> impl Read {
    struct Stdin;
    impl Read for Stdin {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            Ok(rustix::io::read(rustix::stdio::stdin(), buf)?)
        }
    }
    Stdin
}

/// Reads a volume key from a file: the first `len` bytes if a length is known, else all of it.
pub(crate) fn read_volume_key(path: &Path, len: Option<usize>) -> anyhow::Result<SecretBytes> {
    let mut key = read(path, KeyExtent::default(), ExtentOptions::default())?;
    if let Some(len) = len {
        if key.len() < len {
            return Err(Failure::Parameters(format!(
                "volume key file {}: has {} bytes, the key has {len}",
                path.display(),
                key.len()
            ))
            .into());
        }
        key.truncate(len);
    }
    Ok(key)
}

/// Writes a key into a new file that only its owner may read.
pub(crate) fn write_new(path: &Path, key: &SecretBytes) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)
        .map_err(|error| match error.kind() {
            // cryptsetup's code here is that of wrong parameters.
            io::ErrorKind::AlreadyExists => {
                Failure::Parameters(format!("{}: exists already; name a new file", shown(path)))
            }
            _ => Failure::Parameters(format!("{}: {error}", shown(path))),
        })?;
    file.write_all(key)
        .and_then(|()| file.sync_all())
        .inspect_err(|_| {
            // What is there is part of a key; an error here changes nothing about the other.
            let _ = std::fs::remove_file(path);
        })
        .with_context(|| shown(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_offset_past_the_end_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, b"0123456789").unwrap();
        let read = |offset, len| {
            read(&path, KeyExtent { offset, len }, ExtentOptions::New)
                .map(|secret| secret.to_vec())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(8, 0).unwrap(), b"89");
        assert!(read(10, 0).unwrap().is_empty());
        let past = read(11, 0).unwrap_err();
        assert!(
            past.ends_with("has 10 bytes, --new-keyfile-offset skips 11"),
            "{past}"
        );
        let short = read(8, 3).unwrap_err();
        assert!(
            short.ends_with("has 2 bytes to read, --new-keyfile-size wants 3"),
            "{short}"
        );
    }

    #[test]
    fn a_key_is_written_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume-key");
        let key = SecretBytes::from_slice(b"0123");
        write_new(&path, &key).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        assert!(write_new(&path, &key).is_err());
        assert_eq!(read_volume_key(&path, Some(2)).unwrap().as_slice(), b"01");
        assert!(read_volume_key(&path, Some(5)).is_err());
    }
}
