//! Opening: header, keyslot, segment, cipher.

use std::ops::Range;

use lucarne_cipher::{CipherSpec, DataUnit, SectorCipher};
use lucarne_format::luks2::{CryptSegment, Header, Reencryption, SegmentSize};
use lucarne_keyslot::CostLimits;
use lucarne_secret::with_clean_stack;
use lucarne_storage::Storage;

use super::Map;
use super::VolumeIdentity;
use crate::error::measuring;
use crate::length_token::LengthToken;
use crate::policy::{DataDevice, Judged, Pins, Policy};
use crate::reencrypt::keys::Keys;
use crate::reencrypt::reading::{
    HalfDone, check_supported, is_unfinished, keys_of_one, unlock_both,
};
use crate::sector_map::SectorMap;
use crate::unlock::{UnlockOptions, unlock};
use crate::{Error, HeaderRef, Secret, Unlocked, Volume, read_any_header_within};

/// How a volume is opened.
///
/// ```no_run
/// use lucarne::{Access, FileStorage, OpenOptions, Secret};
///
/// let header = FileStorage::open("disk.header", Access::ReadOnly).unwrap();
/// let data = FileStorage::open("disk.img", Access::ReadWrite).unwrap();
/// let volume = OpenOptions::default()
///     .header(&header)
///     .keyslot(3)
///     .open(data, Secret::Passphrase(b"an example"))?;
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct OpenOptions<'a> {
    header: Option<&'a dyn Storage>,
    unlock: UnlockOptions,
    policy: Option<&'a Policy>,
    pins: Option<&'a Pins>,
}

impl std::fmt::Debug for OpenOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions")
            .field("detached_header", &self.header.is_some())
            .field("unlock", &self.unlock)
            .field("policy", &self.policy.map(Policy::name))
            .field("pins", &self.pins)
            .finish()
    }
}

impl<'a> OpenOptions<'a> {
    /// The header lies here and not on the data device.
    #[must_use]
    pub fn header(mut self, header: &'a dyn Storage) -> Self {
        self.header = Some(header);
        self
    }

    /// Only this keyslot is tried, whatever its priority.
    #[must_use]
    pub fn keyslot(mut self, keyslot: u32) -> Self {
        self.unlock.keyslot = Some(keyslot);
        self
    }

    /// What an untrusted header may cost.
    #[must_use]
    pub fn limits(mut self, limits: CostLimits) -> Self {
        self.unlock.limits = limits;
        self
    }

    /// The header must hold to this. It is judged after it was read and before anything is done with it;
    /// what was judged is what is used, and nothing of the header is read again.
    ///
    /// ```
    /// use lucarne::{Error, OpenOptions, Secret, policy::Policy};
    ///
    /// # let image = lucarne::MemoryStorage::with_len(4 << 20);
    /// # lucarne::format(&image, None, b"an example", &lucarne::FormatOptions {
    /// #     kdf: lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() },
    /// #     keyslots_size: Some(1 << 20), ..Default::default() })?;
    /// // A passphrase's keyslot with 1000 iterations.
    /// let strict = Policy::preset("strict-1").expect("a preset");
    /// let opened = OpenOptions::default().policy(&strict).open(&image, Secret::Passphrase(b"an example"));
    /// let Err(Error::Policy(judgement)) = opened else { panic!() };
    /// assert_eq!(judgement.findings()[0].rule, "passphrase-pbkdf2-iterations");
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: &'a Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// The header must be this volume's.
    #[must_use]
    pub fn pins(mut self, pins: &'a Pins) -> Self {
        self.pins = Some(pins);
        self
    }

    /// Reads the header, judges it, opens a keyslot and gives the plaintext.
    ///
    /// # Errors
    /// [`Error::Policy`] when the header breaks the policy or the pins, before a key is derived;
    /// [`Error::NotLuks`], [`Error::Corrupt`] and [`Error::Unsupported`] from the header,
    /// [`Error::WrongKey`] when the secret opens no keyslot, [`Error::NoUsableKeyslot`] when there is
    /// none, [`Error::TooCostly`] when it would cost more than the limits, [`Error::Device`] when the data device is too short for the header's segment,
    /// [`Error::Io`] from the storage.
    pub fn open<S: Storage>(&self, data: S, secret: Secret<'_>) -> Result<Volume<S>, Error> {
        let header = read_any_header_within(self.header.unwrap_or(&data), &self.unlock.limits)?;
        self.open_judged(&header, data, secret)
    }

    /// As [`Self::open`], with a header that was read before: what was judged is what is used, and only
    /// key material is read from the storage. Policy and pins judge it here too; whether both copies are
    /// good is judged if all of what [`read_header`](crate::read_header) gave is passed, and not only its header.
    ///
    /// # Errors
    /// As [`Self::open`].
    ///
    /// ```no_run
    /// use lucarne::{Access, FileStorage, OpenOptions, Secret, read_header};
    ///
    /// let image = FileStorage::open("disk.img", Access::ReadOnly).unwrap();
    /// let header = read_header(&image)?.header;
    /// assert_eq!(header.label(), "models");
    /// let volume = OpenOptions::default().open_judged(&header, image, Secret::Passphrase(b"an example"))?;
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    pub fn open_judged<'h, S: Storage>(
        &self,
        header: impl Into<Judged<'h>>,
        data: S,
        secret: Secret<'_>,
    ) -> Result<Volume<S>, Error> {
        let judged = header.into();
        self.judge(judged, &data)?;
        let header = judged.header();
        let header_storage: &dyn Storage = self.header.unwrap_or(&data);
        if let Some(half) = Unfinished::find(header)? {
            let keys = unlock_both(
                half.header,
                &half.reencryption,
                header_storage,
                secret,
                &self.unlock,
            )?;
            return self.open_half_done(&half, data, keys);
        }
        // What can be refused without a key is refused before the key derivation is paid for.
        let place = self.place(header, &data)?;
        let unlocked = unlock(header, header_storage, secret, &self.unlock)?;
        open_at(place, header, data, unlocked)
    }

    /// As [`Self::open_judged`], with a key that was found before.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_unlocked<'h, S: Storage>(
        &self,
        header: impl Into<Judged<'h>>,
        data: S,
        unlocked: Unlocked,
    ) -> Result<Volume<S>, Error> {
        let judged = header.into();
        self.judge(judged, &data)?;
        let header = judged.header();
        if let Some(half) = Unfinished::find(header)? {
            let keys = keys_of_one(half.header, &half.reencryption, unlocked, &self.unlock)?;
            return self.open_half_done(&half, data, keys);
        }
        let place = self.place(header, &data)?;
        open_at(place, header, data, unlocked)
    }

    fn open_half_done<S: Storage>(
        &self,
        half: &Unfinished<'_>,
        data: S,
        keys: Keys,
    ) -> Result<Volume<S>, Error> {
        let metadata = half.header.metadata();
        let reencryption = &half.reencryption;
        let digests = [
            reencryption.old_digest,
            reencryption.new_digest,
            reencryption.digest,
        ];
        for digest in digests.into_iter().flatten() {
            check_digest(digest)?;
        }
        let header_end = match self.header {
            None => Some(metadata.keyslots_area().end),
            Some(_) => None,
        };
        let half_done = HalfDone::new(
            metadata,
            reencryption,
            &keys,
            &data,
            self.header.unwrap_or(&data),
            header_end,
        )?;
        let length = LengthToken::find(metadata);
        tracing::debug!(
            len_bytes = half_done.len(),
            resilience = reencryption.keyslot.resilience.kind(),
            unknown = ?half_done.unknown(),
            "a re-encryption is unfinished: the data can be read"
        );
        let half_done = match length.is_some_and(|token| token.sparse) {
            true => half_done.with_zeros_as_holes(),
            false => half_done,
        };
        let unlocked = keys.into_one().ok_or(Error::NoUsableKeyslot)?;
        Ok(Volume {
            data,
            map: Map::HalfDone(Box::new(half_done)),
            length,
            keyslot: unlocked.keyslot,
            identity: VolumeIdentity::of(half.header.into(), &unlocked),
        })
    }
}

/// A volume whose re-encryption is unfinished.
struct Unfinished<'h> {
    header: &'h Header,
    reencryption: Reencryption<'h>,
}

impl<'h> Unfinished<'h> {
    /// Refuses what cannot be read before a key derivation is paid for.
    fn find(header: HeaderRef<'h>) -> Result<Option<Self>, Error> {
        let HeaderRef::Luks2(luks2) = header else {
            return Ok(None);
        };
        let Some(reencryption) = is_unfinished(luks2) else {
            return Ok(None);
        };
        check_uuid(header)?;
        check_supported(&reencryption)?;
        Ok(Some(Self {
            header: luks2,
            reencryption,
        }))
    }
}

fn open_at<S: Storage>(
    place: Place,
    header: HeaderRef<'_>,
    data: S,
    unlocked: Unlocked,
) -> Result<Volume<S>, Error> {
    check_digest(unlocked.digest)?;
    if !header.is_of_data(&unlocked) {
        return Err(Error::refused(
            "the keyslot is unbound: its key is not the data's",
        ));
    }
    let cipher = with_clean_stack(|| {
        SectorCipher::new_for_existing(&place.cipher, &unlocked.volume_key, place.sector_size)
    })?;
    let length = match header {
        HeaderRef::Luks1(_) => None,
        HeaderRef::Luks2(header) => LengthToken::find(header.metadata()),
    };
    tracing::debug!(
        cipher = %place.cipher,
        sector_bytes = place.sector_size.bytes(),
        offset_bytes = place.range.start,
        end_bytes = place.range.end,
        recorded_len = length.and_then(|token| token.length),
        "the data can be read"
    );
    let map = SectorMap::new(
        cipher,
        place.sector_size.bytes() as usize,
        place.range.start,
        place.range.end - place.range.start,
    )
    .with_zeros_as_holes(length.is_some_and(|token| token.sparse));
    Ok(Volume {
        data,
        map: Map::Whole(Box::new(map)),
        length,
        keyslot: unlocked.keyslot,
        identity: VolumeIdentity::of(header, &unlocked),
    })
}

impl OpenOptions<'_> {
    /// Where the plaintext lies, if it is where data may lie.
    fn place(&self, header: HeaderRef<'_>, data: &dyn Storage) -> Result<Place, Error> {
        let place = Place::find(header, data)?;
        if self.header.is_none() {
            header.check_data_behind(place.range.start)?;
        }
        Ok(place)
    }

    /// Judges a header by the policy and the pins, if there are any.
    fn judge(&self, header: Judged<'_>, data: &dyn Storage) -> Result<(), Error> {
        if let Some(policy) = self.policy {
            let len_bytes = data.len().map_err(measuring)?;
            let device = match self.header {
                None => DataDevice::WithHeader { len_bytes },
                Some(_) => DataDevice::Apart { len_bytes },
            };
            policy.judge(header, device).into_result()?;
        }
        if let Some(pins) = self.pins {
            pins.judge(header.header()).into_result()?;
        }
        Ok(())
    }
}

/// cryptsetup loads digests of higher numbers, and activates nothing by them.
const DIGEST_COUNT: u32 = 8;

fn check_digest(digest: u32) -> Result<(), Error> {
    if digest < DIGEST_COUNT {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "digest {digest} recognises the key: cryptsetup knows those below {DIGEST_COUNT}"
    )))
}

/// Device-mapper names a volume by its UUID: cryptsetup activates none without one.
fn check_uuid(header: HeaderRef<'_>) -> Result<(), Error> {
    let groups: Vec<&str> = header.uuid().split('-').collect();
    let is_hex = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lens: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lens == [8, 4, 4, 4, 12] && groups.iter().all(|group| is_hex(group)) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the header's UUID field holds none: {:?}",
        header.uuid()
    )))
}

/// Where the plaintext lies and how it is encrypted, as far as the header and the device's length say.
struct Place {
    range: Range<u64>,
    cipher: CipherSpec,
    sector_size: DataUnit,
}

impl Place {
    fn find(header: HeaderRef<'_>, data: &dyn Storage) -> Result<Self, Error> {
        check_uuid(header)?;
        let segment = header.activatable_segment()?;
        let sector_size = DataUnit::try_from(segment.sector_size)?;
        let cipher: CipherSpec = segment.encryption.parse()?;
        cipher.check_supported()?;
        Ok(Self {
            range: data_range(&segment, data)?,
            cipher,
            sector_size,
        })
    }
}

/// Where a segment lies on its device, in bytes, with the device's real length taken into account.
///
/// # Errors
/// [`Error::Device`] when the device is too short for a fixed segment, holds nothing after its offset,
/// or does not end with a whole sector; dm-crypt refuses the same.
fn data_range(segment: &CryptSegment, data: &dyn Storage) -> Result<Range<u64>, Error> {
    let device_len = data.len().map_err(measuring)?;
    let sector_len = u64::from(segment.sector_size);
    let start = segment.offset;
    let len = match segment.size {
        SegmentSize::Bytes(len) => match start.checked_add(len) {
            Some(end) if end <= device_len => len,
            _ => {
                return Err(Error::device(format!(
                    "the segment {start}+{len} reaches past the device's end at {device_len} bytes: the image is truncated"
                )));
            }
        },
        // Devices count in 512-byte sectors; what is left of one at a file's end does not exist for them.
        SegmentSize::Dynamic => match device_len.checked_sub(start) {
            Some(len) if len >= 512 => len - len % 512,
            _ => {
                return Err(Error::device(format!(
                    "the device ends at {device_len} bytes, before the data at {start}: the image is truncated, or the header belongs to another"
                )));
            }
        },
    };
    if sector_len == 0 || !len.is_multiple_of(sector_len) {
        return Err(Error::device(format!(
            "{len} bytes of data are not whole sectors of {sector_len} bytes: the image is truncated"
        )));
    }
    Ok(start..start + len)
}
