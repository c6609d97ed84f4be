//! What a header says of a re-encryption that has not touched a byte: keyslot, requirement, segments, digest.

use lucarne_format::luks2::{
    ChecksumResilience, Draft, Priority, ReencryptDirection, ReencryptKeyslot, ReencryptMode,
    Reencryption as Described, Requirement, Resilience, Segment,
};
use lucarne_keyslot::Hash;

use super::{Failure, ReencryptOptions, ReencryptResilience};
use crate::Error;
use crate::reencrypt::keys::Keys;
use crate::reencrypt::plan::Plan;

/// As many digests as cryptsetup knows.
const DIGESTS: u32 = 8;

/// The least block that a disk writes whole, where the data lie on such blocks.
const DISK_BLOCK_LEN_BYTES: u64 = 4096;

/// The area of a re-encryption that keeps nothing in it, as long as cryptsetup's.
const UNUSED_AREA_LEN_BYTES: u64 = 4096;

/// All that is decided of a re-encryption before its keyslot has a place.
pub(super) struct Outline {
    pub(super) mode: ReencryptMode,
    pub(super) direction: ReencryptDirection,
    pub(super) resilience: Resilience,
    /// Of the requirement `online-reencrypt-v…`: 3 for what older tools would spoil.
    pub(super) version: u8,
    pub(super) previous: Segment,
    pub(super) last: Segment,
    pub(super) moved: Option<Segment>,
    pub(super) old_digest: Option<u32>,
    pub(super) new_digest: Option<u32>,
    /// Of the data device.
    pub(super) device_len: u64,
}

impl Outline {
    /// Writes it into a header that has its keyslots and their digests.
    pub(super) fn write(
        &self,
        draft: &mut Draft,
        keys: &Keys,
        options: &ReencryptOptions,
    ) -> Result<(), Failure> {
        let Some(keyslot_id) = draft.free_keyslot_id() else {
            return Err(Error::refused("all 32 keyslots are in use").into());
        };
        let digest_id = free_digest(draft)?;
        let area = match self.resilience {
            Resilience::Datashift { .. } => {
                let start = draft.free_area(UNUSED_AREA_LEN_BYTES);
                start.map(|start| start..start.saturating_add(UNUSED_AREA_LEN_BYTES))
            }
            _ => Some(draft.longest_free_area()).filter(|area| !area.is_empty()),
        };
        let Some(area) = area else {
            return Err(Error::refused(
                "the keyslots area has no room for what a re-encryption keeps there",
            )
            .into());
        };
        let keyslot = ReencryptKeyslot {
            key_size: 1,
            priority: Priority::Ignore,
            mode: self.mode,
            direction: self.direction,
            resilience: self.resilience.clone(),
            area,
        };
        let described = Described {
            keyslot_id,
            keyslot: &keyslot,
            version: self.version,
            digest: Some(digest_id),
            previous: &self.previous,
            last: &self.last,
            moved: self.moved.as_ref(),
            old_digest: self.old_digest,
            new_digest: self.new_digest,
        };
        let plan = Plan::new(&described, self.device_len)?;
        let iterations = options.kdf.digest_iterations(options.hash);
        let message = keys.message(&described)?;
        let digest = lucarne_keyslot::create_digest(&message, options.hash, iterations)
            .map_err(Error::from)?;
        draft.insert_reencrypt_keyslot(keyslot_id, &keyslot)?;
        let segments = plan.segments(&plan.start());
        let segments = segments
            .iter()
            .map(|(segment, digests)| (segment, digests.clone()));
        draft.replace_segments(segments)?;
        draft.set_requirements(&[Requirement::OnlineReencrypt {
            version: self.version,
        }]);
        draft.insert_digest(digest_id, &digest)?;
        draft.assign_keyslot(digest_id, keyslot_id)?;
        Ok(())
    }
}

/// A number for another digest.
pub(super) fn free_digest(draft: &Draft) -> Result<u32, Error> {
    draft
        .free_digest_id()
        .filter(|&id| id < DIGESTS)
        .ok_or_else(|| Error::refused(format!("all {DIGESTS} digests are in use")))
}

/// What one checksum is of: the longest sector, or what a disk writes whole if all data lie on such blocks.
pub(super) fn block_len(places: &[u64], sector_lens: &[u32]) -> u64 {
    let on_blocks = |place: &u64| place.is_multiple_of(DISK_BLOCK_LEN_BYTES);
    let least = if places.iter().all(on_blocks) {
        DISK_BLOCK_LEN_BYTES
    } else {
        512
    };
    let sector_lens = sector_lens.iter().copied().map(u64::from);
    sector_lens.fold(least, u64::max)
}

pub(super) fn checksum_of(hash: Hash, block_len: u64) -> ChecksumResilience {
    ChecksumResilience {
        hash: hash.to_string(),
        sector_size: u32::try_from(block_len).unwrap_or(u32::MAX),
    }
}

/// The resilience of data that stay where they are.
pub(super) fn in_place(
    resilience: ReencryptResilience,
    block_len: u64,
) -> Result<Resilience, Error> {
    match resilience {
        ReencryptResilience::None => Ok(Resilience::None),
        ReencryptResilience::Journal => Ok(Resilience::Journal),
        ReencryptResilience::Checksum(hash) => {
            Ok(Resilience::Checksum(checksum_of(hash, block_len)))
        }
    }
}
