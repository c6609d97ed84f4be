//! LUKS1 to LUKS2.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use lucarne_format::luks1::{Header as Luks1Header, KeyslotState};
use lucarne_format::luks2::{Area, Header, HeaderCopy, NewHeader, Segment};
use lucarne_storage::Storage;

use super::{AREA_ALIGNMENT, SECTOR_LEN, write_durably};
use crate::editor::commit::{alone, changed_meanwhile};
use crate::editor::{HeaderEditor, Luks1Editor};
use crate::error::{flushing, measuring};
use crate::header_io::{fill_with_noise, new_salt, read_luks1_header, write_copy};
use crate::{Error, HeaderRef};

/// Bytes of one header copy, as cryptsetup's conversion has it.
const HEADER_SIZE: u64 = 16 << 10;
/// Where the keyslots' areas may begin.
const AREAS_START: u64 = 2 * HEADER_SIZE;
const KEYSLOTS_SIZE_MAX: u64 = 128 << 20;
/// How far cryptsetup moves the areas: a detached header has room for that behind them.
const SHIFT: u64 = AREAS_START - 4096;

pub(super) fn convert(
    storage: &dyn Storage,
    header: Luks1Header,
    patience: Option<Duration>,
) -> Result<(), Error> {
    let plan = Plan::of(&header)?;
    let mut editor = Luks1Editor::of_judged(storage, header).with_patience(patience);
    if storage.len().map_err(measuring)? < plan.end {
        // The last area is rounded up to whole blocks; a device has them.
        storage
            .set_len(plan.end)
            .map_err(|source| Error::io(crate::IoOp::Reserve, plan.end, source))?;
    }
    for &(from, to) in &plan.copies {
        editor.copy_keyslot(from, to)?;
    }
    let primary = plan.header.encode(HeaderCopy::Primary, new_salt()?)?;
    let (binary, json) = primary.split_at(4096);
    let (first, rest) = binary.split_at(SECTOR_LEN);
    let alone = alone(storage, patience)?;
    if read_luks1_header(storage)? != *editor.header() {
        return Err(changed_meanwhile());
    }
    write_copy(storage, &plan.header, HeaderCopy::Secondary)?;
    storage.flush().map_err(flushing)?;
    write_durably(storage, json, 4096)?;
    write_durably(storage, first, 0)?;
    write_durably(storage, rest, SECTOR_LEN as u64)?;
    for left in &plan.left_over {
        fill_with_noise(storage, left.start, left.end - left.start)?;
    }
    storage.flush().map_err(flushing)?;
    drop(alone);
    // It is LUKS2 already. Where the areas lie does not matter, but cryptsetup takes a volume back only
    // from its own places.
    HeaderEditor::open(storage)?
        .with_patience(patience)
        .move_areas(&plan.places)
}

/// All that is decided before anything is written.
struct Plan {
    header: Header,
    /// Which keyslots are copied into which.
    copies: Vec<(u32, u32)>,
    /// What the header copies leave of the areas that were copied.
    left_over: Vec<Range<u64>>,
    /// Where the keyslots area ends.
    end: u64,
    /// Where cryptsetup would put the areas.
    places: BTreeMap<u32, u64>,
}

impl Plan {
    fn of(old: &Luks1Header) -> Result<Self, Error> {
        let area_len = Area::size_for_key(old.key_bytes());
        let end = keyslots_end(old);
        // As LUKS2 has it: at whole blocks, behind the copies.
        let fits = |area: &Range<u64>| {
            let start = area.start;
            start >= AREAS_START
                && start.is_multiple_of(AREA_ALIGNMENT)
                && start.saturating_add(area_len) <= end
        };
        let numbered = || (0..).zip(old.keyslots());
        let is_inactive = |state: &KeyslotState| *state == KeyslotState::Inactive;
        let mut free = numbered()
            .filter(|(_, keyslot)| is_inactive(&keyslot.state) && fits(&keyslot.area))
            .map(|(id, keyslot)| (id, keyslot.area.start))
            .collect::<Vec<_>>();
        let (mut copies, mut left_over, mut keyslots) = (Vec::new(), Vec::new(), Vec::new());
        for (id, keyslot) in numbered() {
            if is_inactive(&keyslot.state) {
                continue;
            }
            let mut converted = old.to_luks2_keyslot(id)?;
            converted.area.size = area_len;
            if !fits(&keyslot.area) {
                let Some((to, place)) = free.pop() else {
                    return Err(Error::refused(format!(
                        "keyslot {id}'s key material lies at byte {}, where LUKS2 has its header, and there is no free keyslot with room for it; remove a key first",
                        keyslot.area.start
                    )));
                };
                converted.area.offset = place;
                copies.push((id, to));
                left_over.push(keyslot.area.start.max(AREAS_START)..keyslot.area.end);
            }
            keyslots.push((id, converted));
        }
        let places = keyslots
            .iter()
            .filter_map(|(id, _)| Some((*id, old.keyslot(*id)?.area.start + SHIFT)))
            .filter(|(_, place)| place.is_multiple_of(AREA_ALIGNMENT) && place + area_len <= end)
            .collect();
        left_over.retain(|range| !range.is_empty());
        let names = NewHeader {
            header_size: HEADER_SIZE,
            keyslots_size: end.saturating_sub(AREAS_START),
            uuid: old.uuid().to_owned(),
            ..NewHeader::default()
        };
        let segment = HeaderRef::from(old).activatable_segment()?;
        let digest = old.to_luks2_digest()?;
        let header = Header::new(&names, |draft| {
            draft.insert_segment(0, &Segment::Crypt(segment))?;
            for (id, keyslot) in &keyslots {
                draft.insert_keyslot(*id, keyslot)?;
            }
            draft.insert_digest(0, &digest)
        })?;
        Ok(Self {
            header,
            copies,
            left_over,
            end,
            places,
        })
    }
}

/// Where the keyslots area may end: at the payload, or behind the areas of a detached header.
fn keyslots_end(old: &Luks1Header) -> u64 {
    let end = match old.payload_offset() {
        0 => old.keyslots_end().next_multiple_of(AREA_ALIGNMENT) + SHIFT,
        payload_offset => payload_offset - payload_offset % AREA_ALIGNMENT,
    };
    end.min(AREAS_START + KEYSLOTS_SIZE_MAX)
}
