//! `std::io` adapters.

use std::io::{self, Read, Seek, SeekFrom, Write};

use lucarne_storage::Storage;

use crate::{Error, Volume};

/// A position in a volume: `Read`, `Write` and `Seek` over its plaintext.
///
/// Writing stops at the volume's end as on a full disk: `write` gives 0 there.
///
/// ```
/// # use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// # let image = MemoryStorage::with_len(2 << 20);
/// # lucarne::format(&image, None, b"an example", &options)?;
/// # let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// use std::io::{Read, Seek, SeekFrom, Write};
/// let mut cursor = volume.cursor();
/// cursor.seek(SeekFrom::Start(100))?;
/// cursor.write_all(b"text")?;
/// cursor.seek(SeekFrom::Start(100))?;
/// let mut text = [0; 4];
/// cursor.read_exact(&mut text)?;
/// assert_eq!(&text, b"text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VolumeCursor<'a, S> {
    volume: &'a Volume<S>,
    position: u64,
}

impl<'a, S: Storage> VolumeCursor<'a, S> {
    pub(super) fn new(volume: &'a Volume<S>) -> Self {
        Self {
            volume,
            position: 0,
        }
    }

    fn within(&self, len: usize) -> usize {
        let rest = self.volume.len().saturating_sub(self.position);
        len.min(usize::try_from(rest).unwrap_or(usize::MAX))
    }
}

impl<S: Storage> Read for VolumeCursor<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.within(buf.len());
        self.volume.read_at(&mut buf[..len], self.position)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl<S: Storage> Write for VolumeCursor<'_, S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.within(data.len());
        self.volume.write_at(&data[..len], self.position)?;
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.volume.flush()?)
    }
}

impl<S: Storage> Seek for VolumeCursor<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.volume.len().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "position before the start or past 2^64",
            )
        })?;
        Ok(self.position)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { source, .. } => source,
            other => Self::other(other),
        }
    }
}
