//! Key files and piped passphrases, with cryptsetup's limits.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use lucarne::SecretBytes;

use crate::exit::{Failure, shown};

/// The most that a key file may hold, unless `--keyfile-size` asks for more.
pub(crate) const MAX_LEN: usize = 8 << 20;
const FIRST_CAPACITY: usize = 4096;

/// Standard input, which was to give the passphrase, has ended.
#[derive(Debug, thiserror::Error)]
#[error("passphrase on standard input: nothing to read")]
pub(crate) struct NothingToRead;

/// Which bytes of the input are the passphrase.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// Bytes to skip.
    pub(crate) offset: u64,
    /// Bytes to read; 0: all of them, at most [`MAX_LEN`].
    pub(crate) len: usize,
}

/// Reads a key file.
pub(crate) fn read(path: &Path, extent: Extent) -> anyhow::Result<SecretBytes> {
    let refused =
        |what: String| Failure::Parameters(format!("key file {}: {what}", path.display()));
    let mut file = File::open(path).map_err(|error| refused(error.to_string()))?;
    if file.is_terminal() {
        return Err(refused("is a terminal".into()).into());
    }
    let metadata = file
        .metadata()
        .map_err(|error| refused(error.to_string()))?;
    if metadata.is_file() {
        let len = metadata.len();
        if extent.offset > len {
            return Err(refused(format!(
                "has {len} bytes, --keyfile-offset skips {}",
                extent.offset
            ))
            .into());
        }
        file.seek(SeekFrom::Start(extent.offset))
            .map_err(|error| refused(error.to_string()))?;
    } else {
        skip(&mut file, extent.offset).map_err(|error| refused(error.to_string()))?;
    }
    let secret = read_all(&mut file, extent.len).map_err(|error| refused(error.to_string()))?;
    if secret.is_empty() && !metadata.is_file() {
        return Err(refused("gives nothing to read".into()).into());
    }
    Ok(secret)
}

/// Reads standard input to its end.
pub(crate) fn read_stdin(extent: Extent) -> anyhow::Result<SecretBytes> {
    let mut stdin = unbuffered_stdin();
    let secret = skip(&mut stdin, extent.offset)
        .and_then(|()| read_all(&mut stdin, extent.len))
        .map_err(stdin_refused)?;
    if secret.is_empty() {
        return Err(NothingToRead.into());
    }
    Ok(secret)
}

/// Reads the first line of standard input without its newline, and not a byte further.
pub(crate) fn read_stdin_line(extent: Extent) -> anyhow::Result<SecretBytes> {
    let mut stdin = unbuffered_stdin();
    skip(&mut stdin, extent.offset)
        .and_then(|()| read_line(&mut stdin, extent.len))
        .map_err(stdin_refused)
}

fn stdin_refused(error: io::Error) -> anyhow::Error {
    match error.get_ref() {
        Some(inner) if inner.is::<NothingToRead>() => NothingToRead.into(),
        _ => Failure::Parameters(format!("passphrase on standard input: {error}")).into(),
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

/// Skips bytes of something that cannot seek.
fn skip(input: &mut impl Read, offset: u64) -> io::Result<()> {
    let mut scratch = SecretBytes::zeroed(FIRST_CAPACITY);
    let mut left = offset;
    while left > 0 {
        let step = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(scratch.len());
        match input.read(&mut scratch[..step]) {
            Ok(0) => {
                return Err(io::Error::other(format!(
                    "ends after {} bytes, --keyfile-offset skips {offset}",
                    offset - left
                )));
            }
            Ok(count) => left -= count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A buffer for secrets that grows by moving, wiping what it leaves.
struct Growing {
    bytes: SecretBytes,
    len: usize,
}

impl Growing {
    fn new() -> Self {
        Self {
            bytes: SecretBytes::zeroed(FIRST_CAPACITY),
            len: 0,
        }
    }

    /// Room for at least one byte, at most `limit` bytes in all.
    fn room(&mut self, limit: usize) -> &mut [u8] {
        if self.len == self.bytes.len() {
            let mut larger = SecretBytes::zeroed(self.bytes.len() * 2);
            larger[..self.len].copy_from_slice(&self.bytes);
            self.bytes = larger;
        }
        let end = self.bytes.len().min(limit);
        &mut self.bytes[self.len..end]
    }

    fn finish(mut self) -> SecretBytes {
        self.bytes.truncate(self.len);
        self.bytes
    }
}

/// All of the input, or exactly `len` bytes unless that is 0.
fn read_all(input: &mut impl Read, len: usize) -> io::Result<SecretBytes> {
    let limit = if len == 0 { MAX_LEN + 1 } else { len };
    let mut secret = Growing::new();
    while secret.len < limit {
        match input.read(secret.room(limit)) {
            Ok(0) => break,
            Ok(count) => secret.len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    check_len(secret.len, len)?;
    Ok(secret.finish())
}

/// Up to a newline, or exactly `len` bytes unless that is 0.
fn read_line(input: &mut impl Read, len: usize) -> io::Result<SecretBytes> {
    let limit = if len == 0 { MAX_LEN + 1 } else { len };
    let mut secret = Growing::new();
    let mut ended_by_newline = false;
    while secret.len < limit {
        let room = &mut secret.room(limit)[..1];
        match input.read(room) {
            Ok(0) => break,
            Ok(_) if room[0] == b'\n' => {
                room[0] = 0;
                ended_by_newline = true;
                break;
            }
            Ok(_) => secret.len += 1,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if secret.len == 0 && !ended_by_newline {
        return Err(io::Error::other(NothingToRead));
    }
    check_len(secret.len, len)?;
    Ok(secret.finish())
}

fn check_len(present: usize, wanted: usize) -> io::Result<()> {
    if wanted == 0 && present > MAX_LEN {
        return Err(io::Error::other(format!("more than {MAX_LEN} bytes")));
    }
    if wanted != 0 && present != wanted {
        return Err(io::Error::other(format!(
            "has {present} bytes to read, --keyfile-size wants {wanted}"
        )));
    }
    Ok(())
}

/// Reads a volume key from a file: the first `len` bytes if a length is known, else all of it.
pub(crate) fn read_volume_key(path: &Path, len: Option<usize>) -> anyhow::Result<SecretBytes> {
    let mut key = read(path, Extent::default())?;
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

    fn line(input: &[u8], len: usize) -> Result<(Vec<u8>, usize), String> {
        let mut rest = input;
        let secret = read_line(&mut rest, len).map_err(|error| error.to_string())?;
        Ok((secret.to_vec(), rest.len()))
    }

    #[test]
    fn a_line_ends_before_its_newline_and_nothing_more_is_read() {
        assert_eq!(line(b"secret\nmore", 0), Ok((b"secret".to_vec(), 4)));
        assert_eq!(line(b"secret", 0), Ok((b"secret".to_vec(), 0)));
        assert_eq!(line(b"\n", 0), Ok((Vec::new(), 0)));
        assert_eq!(line(b"secret\nmore", 6), Ok((b"secret".to_vec(), 5)));
        assert!(line(b"", 0).unwrap_err().contains("nothing to read"));
        assert!(
            line(b"secret\nmore", 20)
                .unwrap_err()
                .contains("has 6 bytes")
        );
        let long = vec![b'x'; 10_000];
        assert_eq!(line(&long, 0), Ok((long.clone(), 0)));
    }

    #[test]
    fn a_key_file_is_read_whole_newlines_included() {
        let all = |input: &[u8], len| {
            read_all(&mut &*input, len)
                .map(|secret| secret.to_vec())
                .map_err(|error| error.to_string())
        };
        assert_eq!(all(b"a\nb\n", 0), Ok(b"a\nb\n".to_vec()));
        assert_eq!(all(b"a\nb\n", 2), Ok(b"a\n".to_vec()));
        assert_eq!(all(b"", 0), Ok(Vec::new()));
        assert!(
            all(b"abc", 4)
                .unwrap_err()
                .contains("--keyfile-size wants 4")
        );
        assert_eq!(all(&vec![7; MAX_LEN], 0).unwrap().len(), MAX_LEN);
        assert!(
            all(&vec![7; MAX_LEN + 1], 0)
                .unwrap_err()
                .contains("8388608")
        );
        let more = vec![7; MAX_LEN + 2];
        assert_eq!(all(&more, MAX_LEN + 2).unwrap().len(), MAX_LEN + 2);
    }

    #[test]
    fn an_offset_past_the_end_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, b"0123456789").unwrap();
        let extent = Extent { offset: 8, len: 0 };
        assert_eq!(read(&path, extent).unwrap().as_slice(), b"89");
        let extent = Extent { offset: 10, len: 0 };
        assert!(read(&path, extent).unwrap().is_empty());
        let error = read(&path, Extent { offset: 11, len: 0 }).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has 10 bytes, --keyfile-offset skips 11")
        );
        assert!(skip(&mut &b"0123"[..], 5).is_err());
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
