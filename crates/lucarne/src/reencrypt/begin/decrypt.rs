//! A volume becomes plaintext, where it lies, under a header that lies elsewhere.
//!
//! With the data on the header's own device they move to its first byte, over the header, of which `header` is a copy:
//!
//! | write | flushed before it | a crash after it leaves |
//! |---|---|---|
//! | the head of the data to byte 0 of the device, over its header | the copy of the header | a volume with a detached header: its data are where they were |
//! | the copy says that a decryption has begun | the head | the same, or a decryption |
//!
//! A head is at most as long as the shift, so both its places are apart.

use lucarne_format::luks2::{
    CryptSegment, ReencryptDirection, ReencryptMode, Resilience, Segment, SegmentSize, Selected,
};
use lucarne_secret::with_clean_stack;
use lucarne_storage::Storage;

use super::head;
use super::outline::{self, Outline};
use super::{
    ReencryptOptions, ReencryptResilience, Reencryption, check_header, commit, copy, edit, lock,
    unlock_all,
};
use crate::error::{flushing, measuring};
use crate::reencrypt::keys::Keys;
use crate::reencrypt::run::{ZONE_LEN_BYTES, ZONE_LEN_MAX};
use crate::{Error, HeaderRef, read_header};

/// Where the plaintext of a volume goes that is decrypted in place.
///
/// ```
/// // As cryptsetup has it: a header that was apart before stays apart, and its data stay.
/// assert_ne!(lucarne::DecryptedTo::Place, lucarne::DecryptedTo::Start);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecryptedTo {
    /// Nowhere: each byte is decrypted where it is.
    Place,
    /// To the device's first byte, over the header that lies there; the header that is used is a copy of it.
    Start,
}

impl<'s> Reencryption<'s> {
    /// Begins to decrypt what is on `data` under the header on `header`, which keeps account of it and is of no use
    /// when it is finished. Of `options` the keyslot, resilience (with [`DecryptedTo::Start`] checksums or the
    /// journal), hot zone, hash and key derivation of its digest, limits and patience count.
    ///
    /// The device keeps its length: with [`DecryptedTo::Start`] as many bytes of old ciphertext are left at its end as
    /// the header has taken at its start.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_decryption(
        header: &'s dyn Storage,
        data: &'s dyn Storage,
        passphrases: &[&[u8]],
        to: DecryptedTo,
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        let selected = read_header(header)?;
        let lock = lock(header, Some(data), selected.header.uuid(), options.patience)?;
        if !selected.header.metadata().requirements().is_empty() {
            return Err(Error::refused(
                "the header has requirements: an unfinished re-encryption must be resumed first",
            ));
        }
        check_header(&selected.header, true)?;
        let device_len = data.len().map_err(measuring)?;
        let old = HeaderRef::Luks2(&selected.header).activatable_segment()?;
        let unlocked = unlock_all(&selected.header, header, passphrases, options)?;
        let len = data_len(&old, device_len)?;
        let mut head_len = None;
        let mut keys = None;
        let new = with_clean_stack(|| {
            edit(&selected.header, |draft| {
                let area = draft.longest_free_area();
                let area_len = area.end.saturating_sub(area.start);
                let mut outline = outline(&old, unlocked[0].digest, device_len);
                match to {
                    DecryptedTo::Place => {
                        let block_len = outline::block_len(&[len, old.offset], &[old.sector_size]);
                        outline.resilience = outline::in_place(options.resilience, block_len)?;
                    }
                    DecryptedTo::Start => {
                        let shift = Shift::new(&old, len, area_len, options)?;
                        head_len = Some(shift.head_len);
                        shift.apply(&mut outline, &old);
                    }
                }
                let old_key = Keys::of(Some(copy(&unlocked[0])), None);
                outline.write(draft, &old_key, options)?;
                keys = Some(old_key);
                Ok(())
            })
        })?;
        let new = Selected {
            header: new,
            repair: Default::default(),
        };
        let keys = keys.ok_or_else(|| Error::refused("the header was not changed"))?;
        let begun = Self::of_parts(header, Some(data), new, keys, options, lock)?;
        begun.check()?;
        if let Some(head_len) = head_len {
            header.flush().map_err(flushing)?;
            head::copy(data, old.offset, 0, head_len)?;
        }
        commit(header, &selected, begun.selected(), &[], options.patience)?;
        header.flush().map_err(flushing)?;
        Ok(begun)
    }
}

fn data_len(old: &CryptSegment, device_len: u64) -> Result<u64, Error> {
    let room = device_len.saturating_sub(old.offset);
    let len = match old.size {
        SegmentSize::Bytes(len) => len,
        SegmentSize::Dynamic => room - room % 512,
    };
    if len == 0 || len > room {
        return Err(Error::device(format!(
            "the device has {device_len} bytes, and the data would be {len} from byte {} on",
            old.offset
        )));
    }
    Ok(len)
}

/// A decryption in place; a shift says what is different.
fn outline(old: &CryptSegment, old_digest: u32, device_len: u64) -> Outline {
    Outline {
        mode: ReencryptMode::Decrypt,
        direction: ReencryptDirection::Backward,
        resilience: Resilience::None,
        version: 2,
        previous: Segment::Crypt(CryptSegment {
            flags: vec!["backup-previous".to_owned()],
            ..old.clone()
        }),
        last: Segment::Linear {
            offset: old.offset,
            size: old.size,
            flags: vec!["backup-final".to_owned()],
        },
        moved: None,
        old_digest: Some(old_digest),
        new_digest: None,
        device_len,
    }
}

/// How the data move to the device's first byte.
struct Shift {
    head_len: u64,
    resilience: Resilience,
}

impl Shift {
    /// The head is as long as a zone may be, and as the area protects.
    fn new(
        old: &CryptSegment,
        len: u64,
        area_len: u64,
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        let shift_size = old.offset;
        if shift_size == 0 {
            return Err(Error::refused(
                "the data begin at byte 0 already: they are decrypted in place",
            ));
        }
        let block_len = outline::block_len(&[len, shift_size], &[old.sector_size]);
        let (resilience, protected) = match options.resilience {
            ReencryptResilience::Checksum(hash) => {
                let checksum = outline::checksum_of(hash, block_len);
                let blocks = area_len / hash.output_len() as u64;
                (
                    Resilience::DatashiftChecksum {
                        shift_size,
                        checksum,
                    },
                    blocks.saturating_mul(block_len),
                )
            }
            ReencryptResilience::Journal => (Resilience::DatashiftJournal { shift_size }, area_len),
            ReencryptResilience::None => {
                return Err(Error::refused(
                    "the head of the data is decrypted in its place: that needs resilience checksum or journal",
                ));
            }
        };
        let asked = options.hot_zone.unwrap_or(ZONE_LEN_BYTES).min(ZONE_LEN_MAX);
        let limit = asked.min(protected).min(shift_size);
        let head_len = match len <= limit {
            true => len,
            false => limit - limit % block_len,
        };
        if head_len == 0 {
            return Err(Error::refused(format!(
                "a hot zone of {limit} bytes is less than a block of {block_len}: the keyslots area has {area_len} bytes in one piece left, and {asked} were asked for"
            )));
        }
        Ok(Self {
            head_len,
            resilience,
        })
    }

    fn apply(self, outline: &mut Outline, old: &CryptSegment) {
        outline.direction = ReencryptDirection::Forward;
        outline.version = 3;
        outline.resilience = self.resilience;
        outline.last = Segment::Linear {
            offset: 0,
            size: old.size,
            flags: vec!["backup-final".to_owned()],
        };
        outline.moved = Some(Segment::Crypt(CryptSegment {
            offset: 0,
            size: SegmentSize::Bytes(self.head_len),
            iv_tweak: 0,
            flags: vec!["backup-moved-segment".to_owned()],
            ..old.clone()
        }));
    }
}
