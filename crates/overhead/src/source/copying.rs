//! What a volume does, with a copy in place of the cipher: a copy past the CPU's caches where the volume puts plaintext
//! past them.

use std::cell::RefCell;
use std::fs::File;

use lucarne::{Kernel, LOAD_PAST_CACHES_MIN_LEN_BYTES};
use lucarne_cipher::copy_past_caches;
use lucarne_storage::Storage;

use super::{Source, Way, plain, regions};
use crate::Error;

/// A volume reads so much before it decrypts it: it is in the cache then.
const STEP_LEN_BYTES: usize = 128 << 10;

thread_local! {
    static STEP: RefCell<Vec<u8>> = RefCell::new(vec![0; STEP_LEN_BYTES]);
}

/// Reads a step as a volume does, and touches every byte of it once more while it is in the cache.
pub(crate) struct CopyInstead {
    storage: Box<dyn Storage>,
}

impl CopyInstead {
    pub(crate) fn open(file: &File, way: Way) -> Result<Self, Error> {
        Ok(Self {
            storage: plain::storage(file, way, false)?,
        })
    }
}

/// By the kernel that volumes have unless told otherwise.
fn copied_past_caches(destination: &mut [u8], source: &[u8]) {
    copy_past_caches(Kernel::preferred(), source, destination)
        .expect("a kernel that this CPU has, and one length");
}

impl Source for CopyInstead {
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        let copy = match buf.len() >= LOAD_PAST_CACHES_MIN_LEN_BYTES {
            true => copied_past_caches,
            false => <[u8]>::copy_from_slice,
        };
        for (at, region) in regions(buf, offset) {
            let failed = || Error::io(format!("cannot read at byte {at}"));
            let shown = self
                .storage
                .visit(at..at + region.len() as u64, &mut |bytes| {
                    copy(region, bytes)
                })
                .map_err(failed())?;
            if shown {
                continue;
            }
            for (step, at) in region
                .chunks_mut(STEP_LEN_BYTES)
                .zip((at..).step_by(STEP_LEN_BYTES))
            {
                STEP.with_borrow_mut(|read| {
                    let read = &mut read[..step.len()];
                    self.storage.read_at(read, at)?;
                    copy(step, read);
                    Ok(())
                })
                .map_err(failed())?;
            }
        }
        Ok(())
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        STEP.with_borrow_mut(|copy| {
            for (step, at) in data
                .chunks(STEP_LEN_BYTES)
                .zip((offset..).step_by(STEP_LEN_BYTES))
            {
                let copy = &mut copy[..step.len()];
                copy.copy_from_slice(step);
                self.storage
                    .write_at(copy, at)
                    .map_err(Error::io(format!("cannot write at byte {at}")))?;
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), Error> {
        self.storage.flush().map_err(Error::io("cannot flush"))
    }
}
