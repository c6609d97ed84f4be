//! What an ordinary volume and one whose re-encryption is unfinished have in common.

use lucarne_storage::Storage;

use super::Map;
use crate::Error;
use crate::sector_map::{Landing, SectorMap};

impl Map {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Whole(map) => map.len(),
            Self::HalfDone(half_done) => half_done.len(),
        }
    }

    pub(super) fn sector_len(&self) -> usize {
        match self {
            Self::Whole(map) => map.sector_len(),
            Self::HalfDone(half_done) => half_done.sector_len(),
        }
    }

    pub(super) fn data_offset(&self) -> u64 {
        match self {
            Self::Whole(map) => map.data_offset(),
            Self::HalfDone(half_done) => half_done.data_offset(),
        }
    }

    pub(super) fn with_zeros_as_holes(self) -> Self {
        match self {
            Self::Whole(map) => Self::Whole(Box::new(map.with_zeros_as_holes(true))),
            Self::HalfDone(half_done) => Self::HalfDone(Box::new(half_done.with_zeros_as_holes())),
        }
    }

    pub(super) fn landing_of_read(&self, buf: &[u8], offset: u64) -> Landing {
        match self {
            Self::Whole(map) => map.landing_of_read(buf, offset),
            Self::HalfDone(_) => Landing::Cache,
        }
    }

    pub(super) fn landing_of_load(&self, buf: &[u8], offset: u64) -> Landing {
        match self {
            Self::Whole(map) => map.landing_of_load(buf, offset),
            Self::HalfDone(_) => Landing::Cache,
        }
    }

    pub(super) fn read_at(
        &self,
        storage: &dyn Storage,
        buf: &mut [u8],
        offset: u64,
        landing: Landing,
    ) -> Result<(), Error> {
        match self {
            Self::Whole(map) => map.read_landing_at(storage, buf, offset, landing),
            Self::HalfDone(half_done) => half_done.read_at(storage, buf, offset),
        }
    }

    pub(super) fn check_range(&self, len: usize, offset: u64) -> Result<(), Error> {
        match self {
            Self::Whole(map) => map.check_range(len, offset),
            Self::HalfDone(half_done) => half_done.check_range(len, offset),
        }
    }

    pub(super) fn writable(&self) -> Result<&SectorMap, Error> {
        match self {
            Self::Whole(map) => Ok(map),
            Self::HalfDone(_) => Err(Error::refused(
                "a re-encryption of the volume is unfinished, and until it is finished \
                 (`lucarne reencrypt --resume-only`, or cryptsetup's) it can only be read",
            )),
        }
    }
}
