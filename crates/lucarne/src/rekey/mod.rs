//! A volume into another under a new key, and an interrupted copy taken up again.
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | a device's old header wiped, flushed; a file's space reserved | nothing |
//! | the new header with its keyslot, a requirement that no tool knows, and a record; flushed | a copy that can be taken up at byte 0 |
//! | pieces of the data, in any order | the same |
//! | all data flushed, then the record that says how far all of it is written; both copies, one after the other, each flushed | the old record or the new one: every byte before it is durable |
//! | after the last piece: the header without requirement and record | a complete volume |
//!
//! So the new volume key lies nowhere but in its keyslot, sealed by the passphrase that will open the
//! finished volume; and what is unfinished opens nowhere, neither here nor with cryptsetup.

mod record;
mod run;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::{CryptSegment, Header, Repair, Segment, SegmentSize};
use lucarne_secret::with_clean_stack;
use lucarne_storage::{HeaderLock, Storage};

use crate::bulk::decrypt::plaintext_len;
use crate::bulk::encrypt::{check_room, default_sector_size, padded, prepare_space};
use crate::create::NewVolume;
use crate::editor::commit::{not_locked, order};
use crate::error::{flushing, measuring};
use crate::header_io::{clear_before_data, wipe_old_header, write_copy, write_new};
use crate::length_token::LengthToken;
use crate::sector_map::SectorMap;
use crate::{
    Control, Error, FormatOptions, HeaderEditor, LuksVersion, Parallelism, Secret, UnlockOptions,
    Volume, read_header, unlock,
};
use record::{Record, Source};

/// How a copy is made.
#[derive(Debug)]
pub struct RekeyOptions {
    /// The new volume's cipher, key derivation, sizes and names.
    pub format: FormatOptions,
    /// Leaves the source's holes as holes. For a source whose all-zero sectors stand for zeros alone
    /// ([`Volume::with_zeros_as_holes`]), and for a new file; the copy is then such a volume too.
    pub sparse: bool,
    /// What the caller knows of the state that the source's bytes are in, such as the time of the last
    /// write: a copy goes on only while this is the same.
    pub source_stamp: Option<String>,
    /// How long another process that holds the new volume's header is waited for; 30 seconds by default.
    /// `None`: no lock is taken, and the caller sees to it that nobody else makes the same copy.
    pub patience: Option<Duration>,
}

impl Default for RekeyOptions {
    fn default() -> Self {
        Self {
            format: FormatOptions::default(),
            sparse: false,
            source_stamp: None,
            patience: Some(HeaderEditor::PATIENCE),
        }
    }
}

/// How the work is done.
#[derive(Debug, Clone, Copy)]
pub struct RekeyRun<'a> {
    /// How many threads compute.
    pub parallelism: Parallelism<'a>,
    /// After so many bytes of plaintext what is done becomes durable: what an interruption costs at most,
    /// besides the pieces in the making.
    pub checkpoint_bytes: u64,
    /// Reads the copy again at the end and compares it with the source.
    pub verify: bool,
}

impl Default for RekeyRun<'_> {
    fn default() -> Self {
        Self {
            parallelism: Parallelism::default(),
            checkpoint_bytes: 1 << 30,
            verify: false,
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rekeyed {
    /// Bytes of plaintext, as [`decrypt`](fn@crate::decrypt) gives them.
    pub plaintext_len: u64,
    /// Bytes of plaintext in the volume: whole sectors.
    pub volume_len: u64,
    /// The new volume's UUID.
    pub uuid: String,
}

/// An interrupted copy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UnfinishedRekey {
    /// The UUID of the volume that is copied.
    pub source_uuid: String,
    /// The new volume's header.
    pub header: Box<Header>,
    /// Bytes of plaintext in all.
    pub volume_len: u64,
    /// Bytes of plaintext that are copied.
    pub done_bytes: u64,
    /// [`RekeyOptions::sparse`]
    pub sparse: bool,
}

/// What `storage` holds of a copy that was interrupted, if that is what it holds.
///
/// # Errors
/// [`Error::Unsupported`] when another version of this library began it; [`Error::Io`].
pub fn unfinished_rekey(storage: &dyn Storage) -> Result<Option<UnfinishedRekey>, Error> {
    let header = match read_header(storage) {
        Ok(selected) => selected.header,
        Err(error @ Error::Io { .. }) => return Err(error),
        // Whatever else it holds.
        Err(_) => return Ok(None),
    };
    let found = Record::find(header.metadata())?;
    Ok(found.map(|(_, record)| UnfinishedRekey {
        source_uuid: record.source.identity.uuid,
        volume_len: record.len,
        done_bytes: record.done,
        sparse: record.sparse,
        header: Box::new(header),
    }))
}

/// A copy of a volume under a new volume key, in the making.
///
/// The source is only read. The copy opens nowhere until [`Self::finish`]; interrupted at any moment before,
/// be it by a power cut, it is taken up again by [`Self::resume`]. At most 64 MiB of memory are used besides
/// the key derivation's.
///
/// ```
/// use lucarne::{Control, MemoryStorage, Rekey, RekeyOptions, RekeyRun, Secret, Volume};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let format = || lucarne::FormatOptions { kdf: kdf.clone(), keyslots_size: Some(512 << 10), ..Default::default() };
/// let old = MemoryStorage::with_len(2 << 20);
/// lucarne::format(&old, None, b"an example", &format())?;
/// let volume = Volume::open(&old, Secret::Passphrase(b"an example"))?;
/// volume.write_at(b"hello", 1000)?;
///
/// let new = MemoryStorage::default();
/// let options = RekeyOptions { format: format(), ..Default::default() };
/// let control = Control::default();
/// let rekey = Rekey::begin(&volume, &new, b"a new example", &options, &control)?;
/// rekey.run(&RekeyRun::default(), &control)?;
/// let made = rekey.finish()?;
/// assert_eq!(made.volume_len, volume.len());
///
/// let copy = Volume::open(&new, Secret::Passphrase(b"a new example"))?;
/// let mut five = [0; 5];
/// copy.read_at(&mut five, 1000)?;
/// assert_eq!(&five, b"hello");
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct Rekey<'a, S> {
    volume: &'a Volume<S>,
    output: &'a dyn Storage,
    map: SectorMap,
    state: Mutex<State>,
    /// Two processes cannot make one copy.
    _lock: HeaderLock<'a>,
}

/// The copy's header as it stands on the storage.
struct State {
    header: Header,
    record: Record,
    token: u32,
}

impl<S> std::fmt::Debug for Rekey<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rekey")
            .field("record", &self.state().record)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Storage> Rekey<'a, S> {
    /// Makes the new volume's header on `output`, an empty storage that grows or a device, whose old
    /// header is wiped. `passphrase` will open it, and takes the copy up again.
    ///
    /// Without a sector size in the options it is 4096 bytes where the source's length is a multiple of
    /// that, else 512. With larger sectors than the length allows, the last one is padded with zeros and
    /// the length recorded, as in [`encrypt`](fn@crate::encrypt); a length that the source records is
    /// carried over while it holds.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Unsupported`] from the options, [`Error::Device`] when a device is too
    /// short, [`Error::Busy`], [`Error::OutOfMemory`], [`Error::Io`] from either side,
    /// [`Error::Interrupted`].
    pub fn begin(
        volume: &'a Volume<S>,
        output: &'a dyn Storage,
        passphrase: &[u8],
        options: &RekeyOptions,
        control: &Control,
    ) -> Result<Self, Error> {
        if options.format.version == LuksVersion::Luks1 {
            return Err(Error::unsupported("copying into a LUKS1 volume"));
        }
        let device_len = output.len().map_err(measuring)?;
        let data_offset = options.format.layout(false)?.data_offset;
        let room = (device_len != 0).then(|| device_len.saturating_sub(data_offset));
        let source_len = volume.len();
        let sector_size = options
            .format
            .sector_size
            .unwrap_or_else(|| default_sector_size(Some(source_len)));
        let len = padded(source_len, sector_size);
        if let Some(room) = room {
            check_room(len, room)?;
            if options.sparse {
                // What a device held before would be taken for ciphertext.
                return Err(Error::refused("devices have no holes (sparse)"));
            }
        }
        if options.sparse {
            refuse_noise_as_holes(volume)?;
        }
        let plaintext_len = plaintext_len(volume, false)?.plaintext_len;
        let new = NewVolume::derive(&options.format, passphrase, sector_size, false)?;
        // The key derivation takes a while; who stopped it keeps what was there.
        control.check()?;
        let lock = lock(output, options.patience)?;
        wipe_old_header(output)?;
        prepare_space(output, device_len, data_offset + len, options.sparse)?;
        if room.is_some() {
            clear_before_data(output, new.layout())?;
        }
        let size = match room {
            Some(room) if room != len => SegmentSize::Bytes(len),
            _ => SegmentSize::Dynamic,
        };
        let token = LengthToken {
            length: (plaintext_len != len).then_some(plaintext_len),
            sparse: options.sparse,
        };
        let record = Record {
            source: source_of(volume, options),
            len,
            sparse: options.sparse,
            done: 0,
        };
        let (header, token) = record.put_into(&new.header(size, token)?)?;
        write_new(output, &header, &new)?;
        Ok(Self {
            volume,
            output,
            map: new.sector_map(len)?.with_zeros_as_holes(options.sparse),
            state: Mutex::new(State {
                header,
                record,
                token,
            }),
            _lock: lock,
        })
    }

    /// Takes up the copy on `output` that was interrupted; `secret` opens the new volume. Of the options those
    /// of the new volume's format have no effect: it is what it was begun as.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is none on `output`, it is one of another source or of another state of
    /// this one, or `sparse` is not as it was; [`Error::WrongKey`] and the rest of
    /// [`unlock()`](crate::unlock())'s, [`Error::Device`] when the storage is shorter than it was,
    /// [`Error::Busy`], [`Error::Io`].
    pub fn resume(
        volume: &'a Volume<S>,
        output: &'a dyn Storage,
        secret: Secret<'_>,
        options: &RekeyOptions,
    ) -> Result<Self, Error> {
        let lock = lock(output, options.patience)?;
        let selected = read_header(output)?;
        let Some((token, record)) = Record::find(selected.header.metadata())? else {
            return Err(Error::refused("there is no unfinished copy to take up"));
        };
        record.source.refuse_other(&source_of(volume, options))?;
        if record.sparse != options.sparse {
            return Err(Error::refused(match record.sparse {
                true => "the unfinished copy was begun as a sparse one",
                false => "the unfinished copy was not begun as a sparse one",
            }));
        }
        if record.sparse {
            refuse_noise_as_holes(volume)?;
        }
        let Some(Segment::Crypt(segment)) = selected.header.metadata().segments().get(&0) else {
            return Err(Error::refused("the unfinished copy has no encrypted data"));
        };
        let end = segment.offset.saturating_add(record.len);
        let present = output.len().map_err(measuring)?;
        let needed = segment.offset.saturating_add(record.done);
        if present < needed || (present > end && segment.size == SegmentSize::Dynamic) {
            return Err(Error::device(format!(
                "the unfinished copy has another length than it had: {present} bytes of {end}"
            )));
        }
        let unlocked = unlock(&selected.header, output, secret, &UnlockOptions::default())?;
        let map = sector_map(segment, &unlocked.volume_key, &record)?;
        if present < end {
            prepare_space(output, 0, end, record.sparse)?;
        }
        let rekey = Self {
            volume,
            output,
            map,
            state: Mutex::new(State {
                header: selected.header,
                record,
                token,
            }),
            _lock: lock,
        };
        if selected.repair.is_needed() {
            // The next checkpoint counts on both copies.
            rekey.state().write(output, &selected.repair)?;
        }
        Ok(rekey)
    }

    /// Bytes of plaintext that are copied for good.
    pub fn done_bytes(&self) -> u64 {
        self.state().record.done
    }

    /// Bytes of plaintext in all.
    pub fn volume_len(&self) -> u64 {
        self.map.len()
    }

    /// Makes a complete volume of it: now it opens.
    ///
    /// # Errors
    /// [`Error::Refused`] unless [`Self::run`] has come to its end; [`Error::Io`].
    pub fn finish(self) -> Result<Rekeyed, Error> {
        let mut state = self.state();
        let volume_len = self.map.len();
        if state.record.done < volume_len {
            return Err(Error::refused(format!(
                "{} of {volume_len} bytes are copied",
                state.record.done
            )));
        }
        state.header = Record::take_from(&state.header, state.token)?;
        state.write(self.output, &Repair::default())?;
        let token = LengthToken::find(state.header.metadata());
        Ok(Rekeyed {
            plaintext_len: token.and_then(|token| token.length).unwrap_or(volume_len),
            volume_len,
            uuid: state.header.uuid().to_owned(),
        })
    }
}

impl<S> Rekey<'_, S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One copy after the other: at any moment one of them is whole.
    fn write(&self, output: &dyn Storage, repair: &Repair) -> Result<(), Error> {
        for copy in order(repair) {
            write_copy(output, &self.header, copy)?;
            output.flush().map_err(flushing)?;
        }
        Ok(())
    }
}

fn source_of<S: Storage>(volume: &Volume<S>, options: &RekeyOptions) -> Source {
    Source {
        identity: volume.identity().clone(),
        len: volume.len(),
        stamp: options.source_stamp.clone(),
    }
}

/// A hole in ciphertext is ciphertext of zeros: every reader of an ordinary volume sees noise there, and a
/// copy that had zeros instead would be another volume.
fn refuse_noise_as_holes<S: Storage>(volume: &Volume<S>) -> Result<(), Error> {
    if volume.reads_holes_as_zeros() {
        return Ok(());
    }
    Err(Error::refused(
        "the source is no sparse volume: its holes decrypt to noise, which is data like any other",
    ))
}

fn lock(output: &dyn Storage, patience: Option<Duration>) -> Result<HeaderLock<'_>, Error> {
    match patience {
        None => Ok(HeaderLock::none()),
        Some(patience) => output
            .lock_header(patience)
            .map_err(|error| not_locked(error, patience)),
    }
}

fn sector_map(segment: &CryptSegment, key: &[u8], record: &Record) -> Result<SectorMap, Error> {
    let spec: CipherSpec = segment.encryption.parse()?;
    let sector_size = DataUnit::try_from(segment.sector_size)?;
    if !record.len.is_multiple_of(u64::from(sector_size.bytes())) {
        return Err(Error::refused(format!(
            "the unfinished copy's {} bytes are not whole sectors",
            record.len
        )));
    }
    let cipher = with_clean_stack(|| SectorCipher::new(&spec, key, sector_size))?;
    let sector_len = sector_size.bytes() as usize;
    Ok(
        SectorMap::new(cipher, sector_len, segment.offset, record.len)
            .with_zeros_as_holes(record.sparse),
    )
}
