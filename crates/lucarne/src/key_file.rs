//! Passphrases from files and pipes (cryptsetup(8), "NOTES ON PASSPHRASE PROCESSING"): which bytes of an
//! input they are, and how many at most.

use std::io::{self, Read};

use lucarne_secret::SecretBytes;

/// Room for a passphrase as people and scripts make them.
const FIRST_CAPACITY: usize = 4096;

/// Which bytes of an input are the passphrase.
///
/// ```
/// use lucarne::KeyExtent;
///
/// // A file is taken whole, a line without its newline.
/// assert_eq!(KeyExtent::default().read(&b"secret\n"[..])?.as_slice(), b"secret\n");
/// assert_eq!(KeyExtent::default().read_line(&b"secret\nmore"[..])?.as_slice(), b"secret");
///
/// let extent = KeyExtent { offset: 2, len: 3 };
/// assert_eq!(extent.read(&b"0123456789"[..])?.as_slice(), b"234");
/// assert!(extent.read(&b"0123"[..]).is_err());
/// # Ok::<(), lucarne::KeyInputError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyExtent {
    /// Bytes to skip.
    pub offset: u64,
    /// Bytes to read, so many and no fewer; 0: all of them, at most [`KeyExtent::LEN_MAX`].
    pub len: usize,
}

/// Why an input gives no passphrase. Nothing of the input is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyInputError {
    /// It ends before the offset.
    #[error("has {present} bytes, {offset} are to be skipped")]
    OffsetPastEnd {
        /// Bytes that there were.
        present: u64,
        /// Bytes to skip.
        offset: u64,
    },
    /// It has fewer bytes than are wanted.
    #[error("has {present} bytes to read, {wanted} are wanted")]
    TooShort {
        /// Bytes that there were past the offset.
        present: usize,
        /// Bytes to read.
        wanted: usize,
    },
    /// Nothing was said of its length, and it has more bytes than [`KeyExtent::LEN_MAX`].
    #[error("more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A line was wanted, and there was not even an empty one.
    #[error("nothing to read")]
    NothingToRead,
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl KeyExtent {
    /// The most bytes of a passphrase of whose length nothing is said.
    pub const LEN_MAX: usize = 8 << 20;

    /// Reads an input to its end, newlines included, or the bytes that are wanted and no further. What is
    /// empty past the offset is an empty passphrase.
    ///
    /// # Errors
    /// [`KeyInputError`]; all but [`KeyInputError::NothingToRead`].
    pub fn read(&self, mut input: impl Read) -> Result<SecretBytes, KeyInputError> {
        self.skip(&mut input)?;
        let mut secret = Growing::new();
        while secret.len < self.limit() {
            match input.read(secret.room(self.limit())) {
                Ok(0) => break,
                Ok(count) => secret.len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.check_len(secret.len)?;
        Ok(secret.finish())
    }

    /// Reads a line without its newline, and not a byte further: what follows is for others. A newline ends
    /// it even before the bytes that are wanted; an offset may skip newlines.
    ///
    /// # Errors
    /// [`KeyInputError`]
    pub fn read_line(&self, mut input: impl Read) -> Result<SecretBytes, KeyInputError> {
        self.skip(&mut input)?;
        let mut secret = Growing::new();
        let mut ended_by_newline = false;
        while secret.len < self.limit() {
            let room = &mut secret.room(self.limit())[..1];
            match input.read(room) {
                Ok(0) => break,
                Ok(_) if room[0] == b'\n' => {
                    room[0] = 0;
                    ended_by_newline = true;
                    break;
                }
                Ok(_) => secret.len += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if secret.len == 0 && !ended_by_newline {
            return Err(KeyInputError::NothingToRead);
        }
        self.check_len(secret.len)?;
        Ok(secret.finish())
    }

    /// Skips bytes of something that need not be able to seek.
    fn skip(&self, input: &mut impl Read) -> Result<(), KeyInputError> {
        // What is skipped may be a secret too.
        let mut scratch = SecretBytes::zeroed(FIRST_CAPACITY);
        let mut left = self.offset;
        while left > 0 {
            let step = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(scratch.len());
            match input.read(&mut scratch[..step]) {
                Ok(0) => {
                    return Err(KeyInputError::OffsetPastEnd {
                        present: self.offset - left,
                        offset: self.offset,
                    });
                }
                Ok(count) => left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// One byte more than is taken, where that would be too many.
    fn limit(&self) -> usize {
        match self.len {
            0 => Self::LEN_MAX + 1,
            len => len,
        }
    }

    fn check_len(&self, present: usize) -> Result<(), KeyInputError> {
        let limit = Self::LEN_MAX;
        match self.len {
            0 if present > limit => Err(KeyInputError::TooLong { limit }),
            0 => Ok(()),
            wanted if present != wanted => Err(KeyInputError::TooShort { present, wanted }),
            _ => Ok(()),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEN_MAX: usize = KeyExtent::LEN_MAX;

    fn extent(len: usize) -> KeyExtent {
        KeyExtent { offset: 0, len }
    }

    fn line(input: &[u8], len: usize) -> Result<(Vec<u8>, usize), String> {
        let mut rest = input;
        let secret = extent(len)
            .read_line(&mut rest)
            .map_err(|error| error.to_string())?;
        Ok((secret.to_vec(), rest.len()))
    }

    #[test]
    fn a_line_ends_before_its_newline_and_nothing_more_is_read() {
        assert_eq!(line(b"secret\nmore", 0), Ok((b"secret".to_vec(), 4)));
        assert_eq!(line(b"secret", 0), Ok((b"secret".to_vec(), 0)));
        assert_eq!(line(b"\n", 0), Ok((Vec::new(), 0)));
        assert_eq!(line(b"secret\nmore", 6), Ok((b"secret".to_vec(), 5)));
        assert_eq!(line(b"", 0), Err("nothing to read".into()));
        let short = line(b"secret\nmore", 20).unwrap_err();
        assert_eq!(short, "has 6 bytes to read, 20 are wanted");
        let long = vec![b'x'; 10_000];
        assert_eq!(line(&long, 0), Ok((long.clone(), 0)));
    }

    #[test]
    fn a_file_is_read_whole_newlines_included() {
        let all = |input: &[u8], len| {
            extent(len)
                .read(input)
                .map(|secret| secret.to_vec())
                .map_err(|error| error.to_string())
        };
        assert_eq!(all(b"a\nb\n", 0), Ok(b"a\nb\n".to_vec()));
        assert_eq!(all(b"a\nb\n", 2), Ok(b"a\n".to_vec()));
        assert_eq!(all(b"", 0), Ok(Vec::new()));
        let short = all(b"abc", 4).unwrap_err();
        assert_eq!(short, "has 3 bytes to read, 4 are wanted");
        assert_eq!(all(&vec![7; LEN_MAX], 0).unwrap().len(), LEN_MAX);
        let long = all(&vec![7; LEN_MAX + 1], 0).unwrap_err();
        assert_eq!(long, "more than 8388608 bytes");
        let more = vec![7; LEN_MAX + 2];
        assert_eq!(all(&more, LEN_MAX + 2).unwrap().len(), LEN_MAX + 2);
    }

    #[test]
    fn an_offset_past_the_end_is_told() {
        let from = |offset| KeyExtent { offset, len: 0 }.read(&b"0123"[..]);
        assert_eq!(from(3).unwrap().as_slice(), b"3");
        assert!(from(4).unwrap().is_empty());
        let error = from(5).unwrap_err().to_string();
        assert_eq!(error, "has 4 bytes, 5 are to be skipped");
        assert!(from(u64::MAX).is_err());
    }
}
