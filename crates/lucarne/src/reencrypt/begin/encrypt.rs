//! Plaintext becomes a volume, where it lies.

use lucarne_cipher::DataUnit;
use lucarne_format::luks2::{
    Header, ReencryptDirection, ReencryptMode, Resilience, Segment, SegmentSize, Selected,
};
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

use super::head::{self, Displaced};
use super::outline::{self, Outline};
use super::{ReencryptOptions, Reencryption, edit, lock};
use crate::create::NewVolume;
use crate::editor::commit::alone;
use crate::error::measuring;
use crate::header_io::{wipe_old_header, write_new};
use crate::reencrypt::keys::Keys;
use crate::{Error, FormatOptions, LuksVersion, Unlocked, read_any_header};

impl<'s> Reencryption<'s> {
    /// Begins to encrypt the plaintext that `storage` is, or `detached_data` under a header on `storage`. What the
    /// volume becomes, `volume` says (its sectors have 512 bytes unless told otherwise); of `options` the resilience,
    /// the hot zone, limits and patience count, and with a header of its own only these.
    ///
    /// Without `detached_data` the header takes the place of the first bytes. All data move by
    /// [`FormatOptions::data_offset`], and the last **twice as many bytes of the device are lost**: the file system on it
    /// must have been shrunk before. The volume then reaches to the device's end: behind the plaintext there is as much
    /// noise as it was moved by.
    ///
    /// A crash at any write leaves the plaintext untouched, an encryption to be taken up with [`Self::resume`], or
    /// one to be taken up with this call: the same shift and the passphrase, everything else is as it was begun.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is a volume already, no room for the header or the shift, or the data are no
    /// whole sectors, and for LUKS1; those of [`crate::format()`]; [`Error::Busy`].
    ///
    /// ```
    /// use lucarne::{Control, FormatOptions, KdfKind, KdfRequest, MemoryStorage, OpenOptions, Parallelism, ReencryptOptions, Reencryption, Secret};
    /// # let kdf = KdfRequest { kind: KdfKind::Pbkdf2, iterations: Some(1000), ..KdfRequest::default() };
    /// // The last 2 MiB are free.
    /// let mut image = vec![0; 6 << 20];
    /// image[..7].copy_from_slice(b"weights");
    /// let image = MemoryStorage::from(image);
    /// let volume = FormatOptions { data_offset: Some(1 << 20), kdf, ..FormatOptions::default() };
    /// Reencryption::begin_encryption(&image, None, b"an example", &volume, &ReencryptOptions::default())?
    ///     .run(Parallelism::default(), &Control::default())?;
    /// let volume = OpenOptions::default().open(&image, Secret::Passphrase(b"an example"))?;
    /// let mut back = [0; 7];
    /// volume.read_at(&mut back, 0)?;
    /// assert_eq!(&back, b"weights");
    /// # Ok::<(), lucarne::Error>(())
    /// ```
    pub fn begin_encryption(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        passphrase: &[u8],
        volume: &FormatOptions,
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        if volume.version == LuksVersion::Luks1 {
            return Err(Error::refused(
                "LUKS1 has no metadata of a re-encryption: encrypt to LUKS2",
            ));
        }
        // Until the header is there: who comes second finds it.
        let alone = alone(storage, options.patience)?;
        let begun = match detached_data {
            Some(data) => Self::begin_detached(storage, data, passphrase, volume, options),
            None => Self::begin_shifted(storage, passphrase, volume, options),
        };
        drop(alone);
        begun
    }

    fn begin_detached(
        storage: &'s dyn Storage,
        data: &'s dyn Storage,
        passphrase: &[u8],
        volume: &FormatOptions,
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        refuse_volume(data)?;
        // What is left of another header is overwritten.
        if read_any_header(storage).is_ok() {
            refuse_volume(storage)?;
        }
        let device_len = data.len().map_err(measuring)?;
        let offset = volume.layout(true)?.data_offset;
        let len = data_len(device_len.checked_sub(offset), device_len, volume)?;
        let new = NewVolume::derive(volume, passphrase, sector_size(volume), true)?;
        let place = |size| Segment::Linear {
            offset,
            size,
            flags: vec!["backup-previous".to_owned()],
        };
        let block_len = outline::block_len(&[len, offset], &[sector_size(volume).bytes()]);
        let (header, keys) = with_clean_stack(|| {
            let mut outline = outline(place(SegmentSize::Dynamic), device_len);
            outline.direction = ReencryptDirection::Forward;
            outline.resilience = outline::in_place(options.resilience, block_len)?;
            begun(&new, outline, volume, options)
        })?;
        let lock = lock(storage, Some(data), header.uuid(), options.patience)?;
        let begun = Self::of_parts(storage, Some(data), selected(header), keys, options, lock)?;
        begun.check()?;
        wipe_old_header(storage)?;
        write_new(storage, &begun.selected().header, &new)?;
        Ok(begun)
    }

    /// The order of writes, and what a crash leaves, is in [`head`].
    fn begin_shifted(
        storage: &'s dyn Storage,
        passphrase: &[u8],
        volume: &FormatOptions,
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        let device_len = storage.len().map_err(measuring)?;
        let shift = volume.layout(false)?.data_offset;
        let data_len = data_len(
            shift
                .checked_mul(2)
                .and_then(|room| device_len.checked_sub(room)),
            device_len,
            volume,
        )?;
        let place = Displaced {
            head_len: shift.min(data_len),
            data_len,
            shift,
        };
        if read_any_header(storage).is_ok() {
            refuse_volume(storage)?;
        }
        if let Some(interrupted) = place.interrupted(storage)? {
            let header = &interrupted.selected.header;
            let spare = place.spare(storage);
            let keys = Keys::unlock(header, &spare, &[passphrase], &options.limits)?;
            let lock = lock(storage, None, header.uuid(), options.patience)?;
            place.install(storage, header, &interrupted.bytes)?;
            return Self::of_parts(storage, None, interrupted.selected, keys, options, lock);
        }
        // What is left of a volume is not plaintext either.
        refuse_volume(storage)?;
        let new = NewVolume::derive(volume, passphrase, sector_size(volume), false)?;
        let (header, keys) = with_clean_stack(|| {
            let previous = Segment::Linear {
                offset: 0,
                size: SegmentSize::Bytes(data_len),
                flags: vec!["backup-previous".to_owned()],
            };
            let mut outline = outline(previous, device_len);
            outline.resilience = Resilience::Datashift { shift_size: shift };
            outline.moved = Some(Segment::Linear {
                offset: place.moved_at(),
                size: SegmentSize::Bytes(place.head_len),
                flags: vec!["backup-moved-segment".to_owned()],
            });
            begun(&new, outline, volume, options)
        })?;
        let lock = lock(storage, None, header.uuid(), options.patience)?;
        let begun = Self::of_parts(storage, None, selected(header), keys, options, lock)?;
        begun.check()?;
        let header = &begun.selected().header;
        place.check_room(head::image_len(header))?;
        let bytes = head::image(header, new.key_material())?;
        place.move_head(storage)?;
        place.keep_spare(storage, &bytes)?;
        place.install(storage, header, &bytes)?;
        Ok(begun)
    }
}

fn refuse_volume(storage: &dyn Storage) -> Result<(), Error> {
    match read_any_header(storage) {
        Ok(_) => Err(Error::refused("it is a LUKS volume already")),
        Err(Error::NotLuks) => Ok(()),
        Err(other) => Err(other),
    }
}

fn sector_size(volume: &FormatOptions) -> DataUnit {
    volume.sector_size.unwrap_or(DataUnit::B512)
}

/// The length of the plaintext, if it is one to be encrypted.
fn data_len(left: Option<u64>, device_len: u64, volume: &FormatOptions) -> Result<u64, Error> {
    let Some(len) = left.filter(|&len| len > 0) else {
        return Err(Error::device(format!(
            "the device has {device_len} bytes, which is too small: nothing is left for data"
        )));
    };
    let sector_len = sector_size(volume).bytes();
    if !len.is_multiple_of(u64::from(sector_len)) {
        return Err(Error::refused(format!(
            "the {len} bytes of data are not whole sectors of {sector_len} bytes"
        )));
    }
    Ok(len)
}

/// An encryption with data shift; another says what is different.
fn outline(previous: Segment, device_len: u64) -> Outline {
    Outline {
        mode: ReencryptMode::Encrypt,
        direction: ReencryptDirection::Backward,
        resilience: Resilience::None,
        version: 2,
        last: previous.clone(),
        previous,
        moved: None,
        old_digest: None,
        new_digest: Some(0),
        device_len,
    }
}

/// The header of the new volume, in which nothing is encrypted yet.
fn begun(
    new: &NewVolume,
    mut outline: Outline,
    volume: &FormatOptions,
    options: &ReencryptOptions,
) -> Result<(Header, Keys), Error> {
    let finished = new.header(SegmentSize::Dynamic, Default::default())?;
    let Some(Segment::Crypt(last)) = finished.metadata().segments().get(&0) else {
        return Err(Error::refused("the new header has no segment"));
    };
    let mut last = last.clone();
    last.flags = vec!["backup-final".to_owned()];
    outline.last = Segment::Crypt(last);
    let keys = Keys::of(
        None,
        Some(Unlocked {
            volume_key: SecretBytes::from_slice(new.volume_key()),
            keyslot: None,
            digest: 0,
        }),
    );
    let options = ReencryptOptions {
        hash: volume.hash,
        kdf: volume.kdf.clone(),
        ..options.clone()
    };
    let begun = edit(&finished, |draft| outline.write(draft, &keys, &options))?;
    Ok((begun, keys))
}

fn selected(header: Header) -> Selected {
    Selected {
        header,
        repair: Default::default(),
    }
}
