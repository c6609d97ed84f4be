//! A volume as what a door shows.

use std::io;
use std::ops::Range;

use lucarne::{Error, Volume};
use lucarne_storage::Storage;

use crate::{Export, Extent, ExtentKind, ZeroHow};

/// Zeros are encrypted in pieces of this length.
const ZEROS_LEN_BYTES: usize = 256 << 10;

/// The plaintext of a volume.
///
/// ```
/// use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
/// use lucarne_serve::{Export, VolumeExport};
///
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(2 << 20);
/// lucarne::format(&image, None, b"an example", &options)?;
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// let export = VolumeExport::new(volume).read_only();
/// assert!(export.is_read_only());
/// assert_eq!(export.len() % 512, 0);
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug)]
pub struct VolumeExport<S> {
    volume: Volume<S>,
    len: u64,
    is_read_only: bool,
    allows_discards: bool,
}

impl<S: Storage> VolumeExport<S> {
    /// Read and written; no space is given back.
    pub fn new(volume: Volume<S>) -> Self {
        Self {
            len: volume.len(),
            volume,
            is_read_only: false,
            allows_discards: false,
        }
    }

    /// Refuses to write.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            is_read_only: true,
            ..self
        }
    }

    /// Ends after `len` bytes, where the volume is longer: a file that was encrypted need not be whole sectors.
    #[must_use]
    pub fn with_len(self, len: u64) -> Self {
        Self {
            len: len.min(self.volume.len()),
            ..self
        }
    }

    /// Gives the space of what is trimmed back to the storage, which shows everybody who sees the storage which
    /// sectors are in use.
    #[must_use]
    pub fn allow_discards(self) -> Self {
        Self {
            allows_discards: true,
            ..self
        }
    }

    /// The volume.
    pub fn volume(&self) -> &Volume<S> {
        &self.volume
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let len = (range.end - range.start).min(ZEROS_LEN_BYTES as u64);
        let zeros = vec![0; len as usize];
        let mut at = range.start;
        while at < range.end {
            // Up to where a piece begins, so that only the first and the last are no whole sectors.
            let piece_end =
                (at - at % ZEROS_LEN_BYTES as u64).saturating_add(ZEROS_LEN_BYTES as u64);
            let len = piece_end.min(range.end) - at;
            // At most as long as a piece.
            let len = (len as usize).min(zeros.len());
            self.volume.write_at(&zeros[..len], at).map_err(to_io)?;
            at += len as u64;
        }
        Ok(())
    }
}

impl<S: Storage> Export for VolumeExport<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn block_len(&self) -> u32 {
        // A page at least: what others call a sector of 512 bytes is slow with all of them.
        u32::try_from(self.volume.sector_len()).map_or(4096, |len| len.max(4096))
    }

    fn can_trim(&self) -> bool {
        self.allows_discards && !self.is_read_only
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.volume.read_at(buf, offset).map_err(to_io)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.volume.write_at(data, offset).map_err(to_io)
    }

    fn write_from(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        self.volume.write_at_in_place(data, offset).map_err(to_io)
    }

    fn flush(&self) -> io::Result<()> {
        self.volume.flush().map_err(to_io)
    }

    fn trim(&self, range: Range<u64>) -> io::Result<()> {
        if !self.allows_discards {
            return Ok(());
        }
        match self.volume.discard(range).map_err(to_io) {
            // Whoever trims only says what is not needed.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => result.map(drop),
        }
    }

    fn zero(&self, range: Range<u64>, how: ZeroHow) -> io::Result<()> {
        if how.may_punch && self.allows_discards && self.volume.reads_holes_as_zeros() {
            match self.volume.discard(range.clone()).map_err(to_io) {
                Ok(punched) => {
                    self.write_zeros(range.start..punched.start.min(range.end))?;
                    return self
                        .write_zeros(punched.end.max(punched.start.min(range.end))..range.end);
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        if how.is_fast {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.write_zeros(range)
    }

    fn extent_at(&self, range: Range<u64>) -> io::Result<Extent> {
        let (len, is_hole) = self.volume.extent_at(range).map_err(to_io)?;
        let kind = match is_hole {
            true => ExtentKind::Hole,
            false => ExtentKind::Data,
        };
        Ok(Extent { len, kind })
    }
}

/// The kind is the storage's, the text is ours.
fn to_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::Io { source, .. } => source.kind(),
        Error::Refused(_) => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
