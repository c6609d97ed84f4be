//! What a re-encryption that was interrupted needs before it goes on, or at its end.

use std::ops::Range;

use super::{Position, Reencryption};
use crate::bulk::pool_of;
use crate::{Control, Error, Parallelism};

impl Reencryption<'_> {
    /// Finishes the zone that was interrupted, if there is one, and brings both copies of the header into order; the
    /// rest stays as it is. Where no data are left to be done, the metadata are finished too.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn recover(mut self, parallelism: Parallelism<'_>) -> Result<(), Error> {
        if self.is_all_new() {
            return self.finish();
        }
        let mut own_pool = None;
        let control = Control::default();
        let turner = self.turner(pool_of(parallelism, &mut own_pool)?, &control)?;
        let boundary = match self.position.clone() {
            Position::Between(boundary) => boundary,
            Position::Hot(zone) => {
                self.recover_zone(&turner, &zone)?;
                self.plan.after(&zone)
            }
        };
        // A header that says that all is new and not that it is finished is where cryptsetup would begin anew.
        if self.plan.next_zone(boundary, u64::MAX).is_none() {
            return self.finish();
        }
        if self.position != Position::Between(boundary) || self.selected.repair.is_needed() {
            self.commit_position(Position::Between(boundary))?;
        }
        self.flush_header()
    }

    /// The plaintext's bytes that were being re-encrypted when it was interrupted.
    #[must_use]
    pub fn hot_zone(&self) -> Option<Range<u64>> {
        match &self.position {
            Position::Hot(zone) => Some(zone.clone()),
            Position::Between(_) => None,
        }
    }

    /// Keyslots of the old key that none of the passphrases opens, of a re-encryption of which all but the metadata is
    /// finished. They stay, unbound: nobody vouches for it that they are not needed.
    #[must_use]
    pub fn unopened_keyslots(&self) -> Vec<u32> {
        match self.keys.old_key() {
            Some(_) => Vec::new(),
            None => self.old_keyslots(),
        }
    }

    /// Keyslots that go when it is finished.
    pub(super) fn old_keyslots(&self) -> Vec<u32> {
        let metadata = self.selected.header.metadata();
        let Some(reencryption) = metadata.reencryption() else {
            return Vec::new();
        };
        let digest = reencryption
            .old_digest
            .filter(|_| reencryption.old_digest != reencryption.new_digest)
            .and_then(|id| metadata.digests().get(&id));
        digest.map_or_else(Vec::new, |digest| digest.keyslots.iter().copied().collect())
    }

    /// "Data finished, metadata not": no byte of the data is touched any more, and the old key not needed.
    pub(super) fn is_all_new(&self) -> bool {
        matches!(self.position, Position::Between(boundary) if self.plan.next_zone(boundary, u64::MAX).is_none())
    }
}

pub(super) fn unprotected(zone: &Range<u64>) -> Error {
    Error::device(format!(
        "the re-encryption was interrupted in bytes {}..{} of the plaintext, which resilience none does not protect: which of them are still under the old key nobody knows. reencrypt --resume-only --unprotected-zone old|new goes on and takes all of them for the one or the other, and what is not is lost",
        zone.start, zone.end
    ))
}
