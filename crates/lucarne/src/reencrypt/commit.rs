//! The header's way through a re-encryption.
//!
//! A step commits twice, and each time a crash leaves a header that is true of the data:
//!
//! | step | flushed before it | a crash after it leaves |
//! |---|---|---|
//! | *between*: the zone before is new (checksum and journal only) | its data | a torn copy: the other says hot, and the area still has that zone's old bytes or their hashes |
//! | the area gets the next zone's | the header's first copy | between |
//! | *hot*: the next zone is both | the area | a torn copy: the other says between, and nothing is written yet |
//! | the zone's data | the header's first copy | hot |
//!
//! The second copy is written behind the first one's flush and made durable by the flush that follows, which comes
//! before the first is written again. So one copy is always whole, and the newer of two is always true.

use std::time::Duration;

use lucarne_format::luks2::{HeaderCopy, Selected};
use lucarne_storage::Storage;

use crate::editor::commit::{alone, changed_meanwhile, order, refuse_newer_copy};
use crate::error::{flushing, writing};
use crate::header_io::write_copy;
use crate::{Error, read_header};

/// Takes the header from `old` to `new`; the second copy that is written is durable only after the next flush.
/// `material`: what must be durable before, at its offsets.
pub(super) fn commit(
    storage: &dyn Storage,
    old: &Selected,
    new: &Selected,
    material: &[(u64, Vec<u8>)],
    patience: Option<Duration>,
) -> Result<(), Error> {
    let _alone = alone(storage, patience)?;
    let now = read_header(storage)?;
    if !now.header.encodes_as(&old.header) {
        return Err(changed_meanwhile());
    }
    refuse_newer_copy(&now.repair, &now.header)?;
    for (offset, material) in material {
        storage
            .write_at(material, *offset)
            .map_err(writing(*offset))?;
    }
    if !material.is_empty() {
        storage.flush().map_err(flushing)?;
    }
    let [first, second]: [HeaderCopy; 2] = order(&now.repair);
    write_copy(storage, &new.header, first)?;
    storage.flush().map_err(flushing)?;
    write_copy(storage, &new.header, second)
}
