//! LUKS2 to LUKS1.

use std::collections::BTreeMap;
use std::time::Duration;

use lucarne_format::luks1::{
    self, DIGEST_LEN, HEADER_LEN, KEYSLOTS, NewHeader, PayloadOffset, SALT_LEN, VolumeKeyDigest,
    area_size_for_key,
};
use lucarne_format::luks2::{Area, Digest, Header, Kdf, Keyslot, Luks2Keyslot, Selected};
use lucarne_storage::Storage;

use super::{AREA_ALIGNMENT, SECTOR_LEN, write_durably};
use crate::any_header::LUKS1_SECTOR_LEN;
use crate::editor::commit::{alone, changed_meanwhile, refuse_newer_copy};
use crate::editor::{HeaderEditor, Luks1Editor};
use crate::error::{flushing, measuring};
use crate::header_io::{clear, fill_with_noise};
use crate::{Error, HeaderRef, read_header};

pub(super) fn convert(
    storage: &dyn Storage,
    old: &Selected,
    patience: Option<Duration>,
) -> Result<(), Error> {
    let as_it_lies = luks1_header(&old.header, None)?;
    refuse_newer_copy(&old.repair, &old.header)?;
    if old.repair.secondary.is_some() {
        return Err(Error::refused(
            "the secondary header copy, which is the header while the primary is written, is damaged; repair it first",
        ));
    }
    let mut editor = HeaderEditor::of_judged(storage, old.clone()).with_patience(patience);
    let arrangement = Arrangement::of(&old.header)
        .filter(|arrangement| luks1_header(&old.header, Some(arrangement)).is_ok());
    if let Some(arrangement) = &arrangement {
        editor.move_areas(&arrangement.places)?;
    }
    let arrangement = arrangement.filter(|arrangement| arrangement.is_met(editor.header()));
    let new = match (&arrangement, editor.header() == &old.header) {
        (None, true) => as_it_lies,
        _ => luks1_header(editor.header(), arrangement.as_ref())?,
    };
    if storage.len().map_err(measuring)? < new.keyslots_end() {
        storage
            .set_len(new.keyslots_end())
            .map_err(|source| Error::io(crate::IoOp::Reserve, new.keyslots_end(), source))?;
    }
    let mut bytes = new.encode();
    bytes.resize(2 * SECTOR_LEN, 0);
    let (first, second) = bytes.split_at(SECTOR_LEN);
    let secondary = old.header.header_size();
    let copies_end = 2 * secondary;
    let alone = alone(storage, patience)?;
    let now = read_header(storage)?;
    if !now.header.encodes_as(editor.header()) || now.repair.secondary.is_some() {
        return Err(changed_meanwhile());
    }
    write_durably(storage, second, SECTOR_LEN as u64)?;
    write_durably(storage, first, 0)?;
    write_durably(storage, &[0; SECTOR_LEN], secondary)?;
    clear(storage, 2 * SECTOR_LEN as u64..AREA_ALIGNMENT)?;
    // Free areas may lie here now.
    fill_with_noise(storage, AREA_ALIGNMENT, copies_end - AREA_ALIGNMENT)?;
    storage.flush().map_err(flushing)?;
    drop(alone);
    // It is LUKS1 already. Those that lay where only LUKS1 has areas get their numbers back.
    let mut editor = Luks1Editor::of_judged(storage, new).with_patience(patience);
    for (&id, &stand_in) in arrangement.iter().flat_map(|made| &made.stand_ins) {
        editor.copy_keyslot(stand_in, id)?;
        editor.remove_keyslot(stand_in)?;
    }
    Ok(())
}

/// The areas where cryptsetup has them in LUKS1, which is where it expects them when it takes the volume back.
/// Some places are still under LUKS2's header copies: such a keyslot waits under another's number.
struct Arrangement {
    places: BTreeMap<u32, u64>,
    /// The numbers under which some keyslots become LUKS1's.
    stand_ins: BTreeMap<u32, u32>,
}

impl Arrangement {
    /// `None` where too few numbers are free, or places out of reach.
    fn of(old: &Header) -> Option<Self> {
        let keyslots = old.metadata().keyslots();
        let area_len = Area::size_for_key(keyslots.values().next()?.key_size());
        let room = old.metadata().keyslots_area();
        let place = |id: u32| AREA_ALIGNMENT + u64::from(id) * area_len;
        let is_within = |id: u32| place(id) >= room.start && place(id) + area_len <= room.end;
        let mut free: Vec<u32> = (0..KEYSLOTS as u32)
            .filter(|id| !keyslots.contains_key(id) && is_within(*id))
            .collect();
        let (mut places, mut stand_ins) = (BTreeMap::new(), BTreeMap::new());
        for &id in keyslots.keys() {
            let number = match is_within(id) {
                true => id,
                false => free.pop()?,
            };
            if number != id {
                stand_ins.insert(id, number);
            }
            places.insert(id, place(number));
        }
        Some(Self { places, stand_ins })
    }

    fn is_met(&self, header: &Header) -> bool {
        let keyslots = header.metadata().keyslots().iter();
        keyslots
            .map(|(id, keyslot)| (self.places.get(id), keyslot.area_range().start))
            .all(|(place, start)| place == Some(&start))
    }
}

const _: () = assert!(HEADER_LEN <= 2 * SECTOR_LEN);

/// The header as LUKS1 would have it, or why it would not: with the areas where they lie, or in an arrangement.
fn luks1_header(old: &Header, arrangement: Option<&Arrangement>) -> Result<luks1::Header, Error> {
    let metadata = old.metadata();
    let no = |why: String| Error::refused(format!("cannot become LUKS1: {why}"));
    if let Some(requirement) = metadata.requirements().first() {
        return Err(no(format!(
            "the header requires {:?}",
            requirement.as_str()
        )));
    }
    if !metadata.tokens().is_empty() {
        return Err(no(format!(
            "the header has {} tokens",
            metadata.tokens().len()
        )));
    }
    let segment = HeaderRef::from(old).activatable_segment()?;
    if segment.sector_size != LUKS1_SECTOR_LEN {
        return Err(no(format!("sectors of {} bytes", segment.sector_size)));
    }
    if segment.size != lucarne_format::luks2::SegmentSize::Dynamic || !segment.flags.is_empty() {
        return Err(no("the data segment has a size or flags".into()));
    }
    let mut digests = metadata.digest_links();
    let (Some(link), None) = (digests.next(), digests.next()) else {
        return Err(no("keyslots of more than one digest".into()));
    };
    let Some(digest) = metadata.digests().get(&link.id) else {
        return Err(no("its digest is unusable".into()));
    };
    let mut keyslots = Vec::new();
    for (&id, keyslot) in metadata.keyslots() {
        let Keyslot::Luks2(keyslot) = keyslot else {
            return Err(no(format!("keyslot {id} is of another type")));
        };
        if id as usize >= KEYSLOTS {
            return Err(no(format!("keyslot {id} (LUKS1 has 0 to 7)")));
        }
        if !digest.keyslots.contains(&id) {
            return Err(no(format!("keyslot {id} belongs to no digest")));
        }
        let parts = luks1_keyslot(keyslot, digest, &segment.encryption);
        keyslots.push((
            id,
            keyslot,
            parts.map_err(|why| no(format!("keyslot {id}: {why}")))?,
        ));
    }
    let Some((_, first, _)) = keyslots.first() else {
        return Err(no("there is no keyslot".into()));
    };
    let key_bytes = first.key_size;
    if keyslots
        .iter()
        .any(|(_, keyslot, _)| keyslot.key_size != key_bytes)
    {
        return Err(no("keys of different lengths".into()));
    }
    let payload_sectors = u32::try_from(segment.offset / u64::from(LUKS1_SECTOR_LEN))
        .map_err(|_| no("the data begin behind 2 TiB".into()))?;
    let offsets = match arrangement {
        Some(_) => None,
        None => {
            let used = keyslots.iter();
            let used: Vec<_> = used
                .map(|(id, keyslot, _)| (*id, keyslot.area.offset))
                .collect();
            let offsets = areas(&used, key_bytes, segment.offset);
            let no_room = "no room for the areas of eight keyslots before the data";
            Some(offsets.ok_or_else(|| no(no_room.into()))?)
        }
    };
    let (salt, short) = (&digest.salt, digest.digest.get(..DIGEST_LEN));
    let (Ok(salt), Some(Ok(short))) = (salt.as_slice().try_into(), short.map(TryInto::try_into))
    else {
        return Err(no("the digest is too short".into()));
    };
    let mut header = luks1::Header::new(&NewHeader {
        encryption: segment.encryption,
        hash: digest.hash.clone(),
        key_bytes,
        digest: VolumeKeyDigest {
            digest: short,
            salt,
            iterations: digest.iterations,
        },
        uuid: old.uuid().to_owned(),
        payload_offset: PayloadOffset::Sectors(payload_sectors),
        key_material_offsets: offsets,
    })?;
    for (id, _, (iterations, salt)) in keyslots {
        let stand_in = arrangement.and_then(|made| made.stand_ins.get(&id));
        header = header.with_keyslot(*stand_in.unwrap_or(&id), iterations, salt)?;
    }
    Ok(header)
}

/// Iterations and salt of a keyslot that LUKS1 could have.
fn luks1_keyslot(
    keyslot: &Luks2Keyslot,
    digest: &Digest,
    encryption: &str,
) -> Result<(u32, [u8; SALT_LEN]), &'static str> {
    let Kdf::Pbkdf2 {
        hash,
        iterations,
        salt,
    } = &keyslot.kdf
    else {
        return Err("its key derivation is not pbkdf2");
    };
    if *hash != keyslot.af.hash || *hash != digest.hash {
        return Err("its hashes are not those of the digest");
    }
    if keyslot.area.encryption != encryption || keyslot.area.key_size != keyslot.key_size {
        return Err("its area's cipher is not the data's");
    }
    let salt = salt.as_slice().try_into();
    Ok((
        *iterations,
        salt.map_err(|_| "its salt is not of 32 bytes")?,
    ))
}

/// Where the areas of all eight keyslots lie, in sectors: those of `used` (numbers and offsets) where they are, the
/// others wherever there is room. Data at 0 are on another device.
fn areas(used: &[(u32, u64)], key_bytes: u32, data_offset: u64) -> Option<[u32; KEYSLOTS]> {
    let stride = area_size_for_key(key_bytes).next_multiple_of(AREA_ALIGNMENT);
    let limit = match data_offset {
        0 => u64::MAX,
        offset => offset,
    };
    let mut taken: Vec<u64> = used.iter().map(|(_, offset)| *offset).collect();
    let mut offsets = [0; KEYSLOTS];
    for (id, sectors) in (0..).zip(&mut offsets) {
        let of_used = used.iter().find(|(used, _)| *used == id);
        let offset = match of_used {
            Some((_, offset)) => *offset,
            None => {
                let is_free = |at: u64| taken.iter().all(|&other| at.abs_diff(other) >= stride);
                // If there is room at all, there is some at the beginning or right behind another area.
                let behind = taken.iter().map(|offset| offset + stride);
                let places = std::iter::once(AREA_ALIGNMENT).chain(behind);
                let fitting = places.filter(|&at| is_free(at) && at + stride <= limit);
                let offset = fitting.min()?;
                taken.push(offset);
                offset
            }
        };
        *sectors = u32::try_from(offset / u64::from(LUKS1_SECTOR_LEN)).ok()?;
    }
    Some(offsets)
}
