//! Moving key material within the keyslots area, each move a commit of its own: a crash leaves it at the
//! old place or at the new one.

use std::collections::BTreeMap;
use std::ops::Range;

use lucarne_format::luks2::{Keyslot, areas_overlap};

use super::{Change, HeaderEditor};
use crate::Error;
use crate::error::reading;

/// Three for each of LUKS1's keyslots. An arrangement that takes more is not worth it.
const MOVES_MAX: usize = 24;

impl HeaderEditor<'_> {
    /// Moves the areas of keyslots to these offsets, as far as that can be done: without room to step aside
    /// some stay where they are.
    pub(crate) fn move_areas(&mut self, targets: &BTreeMap<u32, u64>) -> Result<(), Error> {
        for _ in 0..MOVES_MAX {
            let Some((id, to)) = self.next_move(targets) else {
                break;
            };
            self.move_area(id, to)?;
        }
        Ok(())
    }

    /// A keyslot that can go to its place; else one that is in its own way, or else in another's, and
    /// where there is room for it meanwhile.
    fn next_move(&self, targets: &BTreeMap<u32, u64>) -> Option<(u32, u64)> {
        let areas: BTreeMap<u32, Range<u64>> = self
            .header()
            .metadata()
            .keyslots()
            .iter()
            .map(|(&id, keyslot)| (id, keyslot.area_range()))
            .collect();
        let in_the_way = |range: &Range<u64>| -> Vec<u32> {
            let found = areas.iter().filter(|(_, area)| areas_overlap(area, range));
            found.map(|(&id, _)| id).collect()
        };
        let displaced: Vec<(u32, Range<u64>)> = targets
            .iter()
            .filter_map(|(&id, &to)| {
                let area = areas.get(&id)?;
                (area.start != to).then(|| (id, to..to + (area.end - area.start)))
            })
            .collect();
        if let Some((id, target)) = displaced
            .iter()
            .find(|(_, target)| in_the_way(target).is_empty())
        {
            return Some((*id, target.start));
        }
        let aside = displaced
            .iter()
            .find(|(id, target)| in_the_way(target) == [*id])
            .or(displaced.first());
        let (id, target) = aside?;
        let area = areas.get(id)?;
        let len = area.end - area.start;
        // Aside is where it is in nobody's way, if there is such a place, and never in its own.
        let room = self.header().metadata().keyslots_area();
        let ends = areas
            .values()
            .chain(displaced.iter().map(|(_, target)| target));
        let places = std::iter::once(room.start).chain(ends.map(|range| range.end));
        let places = places.map(|start| start..start + len).filter(|place| {
            place.start >= room.start
                && place.end <= room.end
                && in_the_way(place).is_empty()
                && !areas_overlap(place, target)
        });
        let crowded = |place: &Range<u64>| {
            displaced
                .iter()
                .filter(|(_, target)| areas_overlap(place, target))
                .count()
        };
        let place = places.min_by_key(|place| (crowded(place), place.start))?;
        Some((*id, place.start))
    }

    fn move_area(&mut self, id: u32, to: u64) -> Result<(), Error> {
        let Some(Keyslot::Luks2(keyslot)) = self.header().metadata().keyslots().get(&id) else {
            return Err(Error::refused(format!("keyslot {id} holds no key")));
        };
        let mut keyslot = keyslot.clone();
        let from = keyslot.area.offset..keyslot.area.offset.saturating_add(keyslot.area.size);
        let len = usize::try_from(keyslot.area.size).unwrap_or(usize::MAX);
        let mut material = vec![0; len];
        self.storage
            .read_at(&mut material, from.start)
            .map_err(reading(from.start))?;
        keyslot.area.offset = to;
        let header = self
            .header()
            .edit(|draft| draft.update_keyslot(id, &keyslot))?;
        self.commit(Change {
            material: Some((to, material)),
            forgotten: vec![from],
            ..header.into()
        })
    }
}
