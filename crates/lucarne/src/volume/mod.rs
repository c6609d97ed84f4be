//! [`Volume`]: the plaintext of a LUKS2 volume.

mod cursor;
mod half_done;
mod identity;
mod open;
mod parallel;

pub use cursor::VolumeCursor;
pub use identity::VolumeIdentity;
pub use open::OpenOptions;

use lucarne_storage::{ReadAt, Storage};

use crate::error::{flushing, measuring};
use crate::length_token::LengthToken;
use crate::reencrypt::reading::{HalfDone, unknown_bytes};
use crate::sector_map::SectorMap;
use crate::{Error, Secret};

/// The plaintext of a LUKS2 volume, by position, for any number of threads at once.
///
/// Nothing is written but by [`Volume::write_at`]: opening and reading leave every byte as it is.
///
/// ```
/// use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
///
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// let image = MemoryStorage::with_len(2 << 20);
/// lucarne::format(&image, None, b"an example", &options)?;
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// volume.write_at(b"hello", 1000)?;
/// let mut five = [0; 5];
/// volume.read_at(&mut five, 1000)?;
/// assert_eq!(&five, b"hello");
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct Volume<S> {
    data: S,
    map: Map,
    length: Option<LengthToken>,
    keyslot: Option<u32>,
    identity: VolumeIdentity,
}

/// From plaintext to storage.
enum Map {
    Whole(Box<SectorMap>),
    /// Read only.
    HalfDone(Box<HalfDone>),
}

impl<S> std::fmt::Debug for Volume<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume")
            .field("len_bytes", &self.map.len())
            .field("sector_len_bytes", &self.map.sector_len())
            .field("data_offset_bytes", &self.map.data_offset())
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Volume<S> {
    /// Opens a volume whose header and data share one device.
    ///
    /// [`OpenOptions`] has the rest: a detached header, a certain keyslot, other cost limits.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(device: S, secret: Secret<'_>) -> Result<Self, Error> {
        OpenOptions::default().open(device, secret)
    }

    /// Length of the plaintext in bytes: whole sectors.
    pub fn len(&self) -> u64 {
        self.map.len()
    }

    /// Never: a volume has at least one sector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in a sector: 512, 1024, 2048 or 4096.
    pub fn sector_len(&self) -> usize {
        self.map.sector_len()
    }

    /// Where the first sector lies on the data device, in bytes.
    pub fn data_offset(&self) -> u64 {
        self.map.data_offset()
    }

    /// Takes all-zero sectors of ciphertext for sectors that nobody ever wrote, and reads them as zeros.
    ///
    /// In a volume that says so itself (`sparse` of its `lucarne-length` token) they are. In others the
    /// holes of a sparse image decrypt to noise, which is what every other reader sees there; no cipher makes
    /// zeros of anything that was written, but by a chance of one in 2^4096.
    #[must_use]
    pub fn with_zeros_as_holes(mut self) -> Self {
        self.map = self.map.with_zeros_as_holes();
        self
    }

    /// Which volume it is, in which state of its header.
    pub fn identity(&self) -> &VolumeIdentity {
        &self.identity
    }

    /// What the `lucarne-length` token says, if the header has one.
    pub fn length_token(&self) -> Option<LengthToken> {
        self.length
    }

    /// How many bytes were put in, as the `lucarne-length` token records it; `None` where nothing is recorded, or
    /// something was written behind them since.
    ///
    /// # Errors
    /// [`Error::Io`] from the storage: what lies behind is read, usually less than a sector.
    pub fn recorded_len(&self) -> Result<Option<u64>, Error> {
        let len = crate::bulk::decrypt::plaintext_len(self, false)?;
        let recorded = self.length.and_then(|token| token.length);
        Ok(recorded.filter(|_| len.outdated_len.is_none()))
    }

    /// The keyslot that the passphrase opened; `None` if the volume key was given.
    pub fn keyslot(&self) -> Option<u32> {
        self.keyslot
    }

    /// Fills `buf` with the plaintext from byte `offset` on. Of 32 MiB and more the plaintext goes to memory past the
    /// CPU's caches, in which it would not stay ([`Self::load_at`]).
    ///
    /// # Errors
    /// [`Error::Refused`] when the range reaches past [`Self::len`]; [`Error::Io`] from the storage.
    /// After an error the content of `buf` is unspecified.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        let landing = self.map.landing_of_read(buf, offset);
        self.map.read_at(&self.data, buf, offset, landing)
    }

    /// As [`Self::read_at`], of plaintext that is loaded into memory and not looked at right away: from
    /// [`LOAD_PAST_CACHES_MIN_LEN_BYTES`](crate::LOAD_PAST_CACHES_MIN_LEN_BYTES) on it goes
    /// past the CPU's caches, which saves reading what it replaces and leaves in them what is there. For that address and offset
    /// must differ by a multiple of 8 bytes, or nothing is different from [`Self::read_at`]; nor is it on CPUs other than
    /// x86-64.
    ///
    /// ```
    /// # use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
    /// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
    /// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
    /// # let image = MemoryStorage::with_len(6 << 20);
    /// # lucarne::format(&image, None, b"an example", &options)?;
    /// # let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
    /// let mut weights = vec![0; 4 << 20];
    /// volume.load_at(&mut weights, 0)?;
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_at`].
    pub fn load_at(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        let landing = self.map.landing_of_load(buf, offset);
        self.map.read_at(&self.data, buf, offset, landing)
    }

    /// As [`Self::read_at`], on all threads of `pool` at once where that pays: from 1 MiB on. Less is read by
    /// the calling thread alone.
    ///
    /// ```
    /// # use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
    /// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
    /// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
    /// # let image = MemoryStorage::with_len(6 << 20);
    /// # lucarne::format(&image, None, b"an example", &options)?;
    /// # let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
    /// let pool = rayon::ThreadPoolBuilder::new().build()?;
    /// let mut tensor = vec![0; 4 << 20];
    /// volume.read_at_on(&pool, &mut tensor, 4096)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_at`]; one of them, if several parts fail.
    pub fn read_at_on(
        &self,
        pool: &rayon::ThreadPool,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), Error> {
        self.map.check_range(buf.len(), offset)?;
        let landing = self.map.landing_of_read(buf, offset);
        parallel::read(pool, buf, offset, |part, offset| {
            self.map.read_at(&self.data, part, offset, landing)
        })
    }

    /// Replaces the plaintext from byte `offset` on. Any offset and length will do: partial sectors are
    /// read, changed and written back whole.
    ///
    /// # Errors
    /// As [`Self::read_at`]; [`Error::Refused`] while a re-encryption of the volume is unfinished. After an error the
    /// pieces of `data` before it (at most 1 MiB each) may be
    /// written; what was written is durable only after [`Self::flush`].
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.map.writable()?.write_at(&self.data, data, offset)
    }

    /// As [`Self::write_at`], encrypting in `data` itself, which saves a copy: what it holds afterwards is not said.
    ///
    /// ```
    /// use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
    ///
    /// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
    /// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
    /// let image = MemoryStorage::with_len(2 << 20);
    /// lucarne::format(&image, None, b"an example", &options)?;
    /// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
    /// volume.write_at_in_place(&mut [7; 8192], 4096)?;
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::write_at`]; of what failed up to 1 MiB may be written.
    pub fn write_at_in_place(&self, data: &mut [u8], offset: u64) -> Result<(), Error> {
        let map = self.map.writable()?;
        map.write_at_in_place(&self.data, data, offset)
    }

    /// As [`Self::write_at`], on all threads of `pool` at once where that pays: from 1 MiB on.
    ///
    /// # Errors
    /// As [`Self::write_at`]; one of them, if several parts fail, and any of the others may be written.
    pub fn write_at_on(
        &self,
        pool: &rayon::ThreadPool,
        data: &[u8],
        offset: u64,
    ) -> Result<(), Error> {
        parallel::write(pool, self.map.writable()?, &self.data, data, offset)
    }

    /// Gives the space of the whole sectors in `range` back to the storage, and returns the range of these. They read
    /// as zeros afterwards where the zeros of the storage stand for zeros ([`Self::with_zeros_as_holes`]), and as noise
    /// in every other volume. Who sees the storage can tell from now on that they are not in use.
    ///
    /// # Errors
    /// As [`Self::write_at`]; [`Error::Io`] from storage that can give nothing back.
    pub fn discard(&self, range: std::ops::Range<u64>) -> Result<std::ops::Range<u64>, Error> {
        self.map.writable()?.discard(&self.data, range)
    }

    /// How many bytes from the start of `range` on are of one kind, and whether they are a hole: zeros that take no
    /// space in the storage. `range` is not empty. Only volumes whose zeros stand for zeros
    /// ([`Self::with_zeros_as_holes`]) have holes.
    ///
    /// # Errors
    /// [`Error::Io`] from the storage.
    pub fn extent_at(&self, range: std::ops::Range<u64>) -> Result<(u64, bool), Error> {
        let len = range.end.saturating_sub(range.start);
        if !self.reads_holes_as_zeros() {
            return Ok((len, false));
        }
        let at = |offset: u64| self.data_offset().saturating_add(offset);
        let data = self.data.next_data(at(range.start)).map_err(measuring)?;
        // Part of a sector that holds something is data.
        let sector_len = self.sector_len() as u64;
        let data = data.map(|data| {
            let start = data.start.saturating_sub(self.data_offset());
            let end = data.end.saturating_sub(self.data_offset());
            (start - start % sector_len).max(range.start)
                ..end.checked_next_multiple_of(sector_len).unwrap_or(end)
        });
        Ok(match data {
            Some(data) if data.start <= range.start => (
                data.end.min(range.end).saturating_sub(range.start).max(1),
                false,
            ),
            Some(data) => (data.start.min(range.end) - range.start, true),
            None => (len, true),
        })
    }

    /// Returns once all that was written would survive a power cut.
    ///
    /// # Errors
    /// [`Error::Io`] from the storage.
    pub fn flush(&self) -> Result<(), Error> {
        self.data.flush().map_err(flushing)
    }

    /// The plaintext as a `std::io` stream with a position of its own.
    pub fn cursor(&self) -> VolumeCursor<'_, S> {
        VolumeCursor::new(self)
    }

    /// The storage that holds the ciphertext.
    pub fn storage(&self) -> &S {
        &self.data
    }

    /// Whether all plaintext from `offset` to the end is zeros.
    pub(crate) fn is_zero_from(&self, mut offset: u64) -> Result<bool, Error> {
        let mut buf = vec![0; 1 << 20];
        while offset < self.len() {
            let len = usize::try_from(self.len() - offset)
                .unwrap_or(usize::MAX)
                .min(buf.len());
            self.read_at(&mut buf[..len], offset)?;
            if buf[..len].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            offset += len as u64;
        }
        Ok(true)
    }

    /// Bytes of the plaintext that cannot be read by anybody: a re-encryption without resilience was interrupted
    /// there. All others can. `None` for every volume but such a one.
    pub fn unreadable(&self) -> Option<std::ops::Range<u64>> {
        match &self.map {
            Map::Whole(_) => None,
            Map::HalfDone(half_done) => half_done.unknown(),
        }
    }

    /// Refuses what would be read in pieces and come to an end at [`Self::unreadable`] bytes.
    pub(crate) fn check_readable(&self, range: std::ops::Range<u64>) -> Result<(), Error> {
        match self.unreadable() {
            Some(unreadable) if unreadable.start < range.end && range.start < unreadable.end => {
                Err(unknown_bytes(&unreadable))
            }
            _ => Ok(()),
        }
    }

    /// Whether a hole in the storage is one in the plaintext: zeros, [`Self::data_offset`] bytes before.
    pub fn reads_holes_as_zeros(&self) -> bool {
        match &self.map {
            Map::Whole(map) => map.zeros_are_holes(),
            // Where which bytes lie, only it knows.
            Map::HalfDone(_) => false,
        }
    }
}

/// The plaintext; [`Volume::len`] long.
impl<S: Storage> ReadAt for Volume<S> {
    fn len_bytes(&self) -> std::io::Result<u64> {
        Ok(self.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        Ok(self.read_at(buf, offset)?)
    }

    fn load_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        Ok(self.load_at(buf, offset)?)
    }
}
