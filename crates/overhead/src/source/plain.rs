//! The bare file.

use std::fs::File;

use lucarne_storage::{FileStorage, Storage};
use rustix::fs::OFlags;

use super::{DirectFile, Source, Way, regions};
use crate::{Error, space::reopened};

/// A file as it is.
pub(crate) struct Plain {
    storage: Box<dyn Storage>,
    way: Way,
}

/// Storage of a file by a way, opened anew.
pub(crate) fn storage(file: &File, way: Way, write: bool) -> Result<Box<dyn Storage>, Error> {
    let failed = || Error::io("cannot open the file again");
    if way == Way::Direct {
        return Ok(Box::new(DirectFile::open(file, write)?));
    }
    let again = reopened(file, OFlags::empty(), write).map_err(failed())?;
    let storage = FileStorage::from_file(again).map_err(failed())?;
    Ok(match way {
        Way::Mapping => Box::new(storage.with_mapped_reads()),
        _ => Box::new(storage),
    })
}

impl Plain {
    pub(crate) fn open(file: &File, way: Way, write: bool) -> Result<Self, Error> {
        Ok(Self::new(storage(file, way, write)?, way))
    }

    pub(crate) fn new(storage: Box<dyn Storage>, way: Way) -> Self {
        Self { storage, way }
    }
}

impl Source for Plain {
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        let failed = || Error::io(format!("cannot read at byte {offset}"));
        if self.way != Way::Mapping {
            return self.storage.read_at(buf, offset).map_err(failed());
        }
        // In the pieces that a volume takes, so that what was just mapped is still in the cache.
        for (at, piece) in regions(buf, offset) {
            let shown = self
                .storage
                .visit(at..at + piece.len() as u64, &mut |bytes| {
                    piece.copy_from_slice(bytes)
                })
                .map_err(failed())?;
            if !shown {
                return Err(Error::Refused("the file cannot be mapped here".into()));
            }
        }
        Ok(())
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.storage
            .write_at(data, offset)
            .map_err(Error::io(format!("cannot write at byte {offset}")))
    }

    fn flush(&self) -> Result<(), Error> {
        self.storage.flush().map_err(Error::io("cannot flush"))
    }
}
