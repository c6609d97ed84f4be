//! The commit protocol: the one place where a header that is in use is written over.
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | lock; read again, and compare with what the change was made from | the old header |
//! | new key material, in areas that no keyslot owns; flush | the old header |
//! | one copy of the header; flush | torn: the other copy, old. Whole: the new header, and a stale copy |
//! | the other copy; flush | torn: the first copy, new. Whole: the new header |
//! | noise over the areas that the new header forgot; flush | the new header |
//!
//! So what the header names is always durable before it is named, and what is wiped is named by no copy
//! any more. The copy that is written first is never the only good one.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucarne_format::luks2::{Defect, Header, HeaderCopy, Repair, Selected};
use lucarne_storage::{HeaderLock, Storage};

use crate::Error;
use crate::error::{Busy, IoOp, flushing, writing};
use crate::header_io::{fill_with_noise, write_copy};

/// Changes by threads of this process; other processes are kept out by the storage's lock.
static IN_THIS_PROCESS: Mutex<()> = Mutex::new(());

/// As long as it lives nobody else changes a header: no thread of this process, and no process that asks for
/// the storage's lock.
#[must_use]
pub(crate) struct Alone<'s> {
    // Given back first: another thread may have opened the same file.
    _lock: HeaderLock<'s>,
    _here: MutexGuard<'static, ()>,
}

/// How a header is read, and read again before it is changed.
pub(super) type ReadHeader = fn(&dyn Storage) -> Result<Selected, Error>;

/// What becomes of a header.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) header: Header,
    /// New key material and where it belongs.
    pub(super) material: Option<(u64, Vec<u8>)>,
    /// Areas that nothing in the header owns any more.
    pub(super) forgotten: Vec<Range<u64>>,
}

impl From<Header> for Change {
    fn from(header: Header) -> Self {
        Self {
            header,
            material: None,
            forgotten: Vec::new(),
        }
    }
}

/// Takes the header from `old`, as it was read, to what `change` says.
///
/// # Errors
/// [`Error::Busy`] when it has been changed since, or somebody else holds the lock for longer than
/// `patience` (`None`: no lock is taken), and [`Error::Io`].
pub(super) fn commit(
    storage: &dyn Storage,
    old: &Selected,
    change: &Change,
    patience: Option<Duration>,
    read: ReadHeader,
) -> Result<(), Error> {
    let _alone = alone(storage, patience)?;
    let now = read(storage)?;
    // Salts do not count: who repairs a copy draws a new one.
    if !now.header.encodes_as(&old.header) {
        return Err(changed_meanwhile());
    }
    refuse_newer_copy(&now.repair, &now.header)?;
    if let Some((offset, material)) = &change.material {
        storage
            .write_at(material, *offset)
            .map_err(writing(*offset))?;
        storage.flush().map_err(flushing)?;
    }
    for copy in order(&now.repair) {
        write_copy(storage, &change.header, copy)?;
        storage.flush().map_err(flushing)?;
    }
    for area in &change.forgotten {
        fill_with_noise(storage, area.start, area.end.saturating_sub(area.start))?;
    }
    if !change.forgotten.is_empty() {
        storage.flush().map_err(flushing)?;
    }
    tracing::debug!(seqid = change.header.seqid(), "header written");
    Ok(())
}

/// Waits for other processes for at most `patience`; `None`: their lock is not taken.
pub(crate) fn alone(storage: &dyn Storage, patience: Option<Duration>) -> Result<Alone<'_>, Error> {
    let here = IN_THIS_PROCESS
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let lock = match patience {
        Some(patience) => storage
            .lock_header(patience)
            .map_err(|error| not_locked(error, patience))?,
        None => HeaderLock::none(),
    };
    Ok(Alone {
        _lock: lock,
        _here: here,
    })
}

pub(crate) fn not_locked(error: std::io::Error, patience: Duration) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Busy(Busy::new(format!(
            "another process has held the header's lock for {} seconds",
            patience.as_secs()
        ))),
        _ => Error::io(IoOp::Lock, 0, error),
    }
}

pub(crate) fn changed_meanwhile() -> Error {
    Error::Busy(Busy::new(
        "the header has been changed by somebody else meanwhile; nothing was written, try again",
    ))
}

/// The damaged copy first: as long as it is being written, the other one is the header.
pub(crate) fn order(repair: &Repair) -> [HeaderCopy; 2] {
    match repair.secondary {
        Some(_) => [HeaderCopy::Secondary, HeaderCopy::Primary],
        None => [HeaderCopy::Primary, HeaderCopy::Secondary],
    }
}

/// A copy with a good checksum and a higher number, which only cannot be used here, is the last that was
/// written: not ours to overwrite.
pub(crate) fn refuse_newer_copy(repair: &Repair, header: &Header) -> Result<(), Error> {
    let copies = [
        ("primary", &repair.primary),
        ("secondary", &repair.secondary),
    ];
    for (name, defect) in copies {
        if let Some(Defect::Unusable {
            seqid: Some(seqid),
            error,
        }) = defect
            && *seqid > header.seqid()
        {
            return Err(Error::refused(format!(
                "the {name} header copy is newer (seqid {seqid}, the other one's is {}) and cannot be used here: {error}; writing would destroy it",
                header.seqid()
            )));
        }
    }
    Ok(())
}
