//! Ways to the bytes of a checkpoint: the bare file, a volume, and a stand-in for a volume that copies where that
//! decrypts; each by system calls, by a mapping, or past the page cache.

mod copying;
mod direct;
mod plain;
mod staged;
mod volume;

pub use staged::{Staged, Stages};

use copying::CopyInstead;
use direct::DirectFile;
pub(crate) use plain::{Plain, storage};
pub(crate) use staged::StagedSource;

use std::fs::File;

use lucarne::{Kernel, SectorSize};

use crate::{Door, Error};

/// Bytes at positions, for any number of threads at once.
pub trait Source: Sync {
    /// Fills `buf` from byte `offset` of the checkpoint on.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Volume`].
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error>;

    /// Replaces bytes.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error>;

    /// Returns once what was written would survive a power cut.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn flush(&self) -> Result<(), Error>;
}

/// By which way the bytes come: by the first three in this process, by the others through a [`Door`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// `pread` through the page cache.
    Pread,
    /// A mapping of the page cache, made anew for each run.
    Mapping,
    /// `pread` past the page cache (O_DIRECT).
    Direct,
    /// Requests to an NBD server.
    Nbd,
    /// `pread` of a file that a FUSE server shows.
    Fuse,
    /// A mapping of such a file, made anew for each run.
    FuseMapping,
}

impl Way {
    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pread => "pread",
            Self::Mapping => "mapping",
            Self::Direct => "O_DIRECT",
            Self::Nbd => "NBD",
            Self::Fuse => "FUSE-pread",
            Self::FuseMapping => "FUSE-mapping",
        }
    }

    /// Through which door; `None` in the library.
    #[must_use]
    pub fn door(self) -> Option<Door> {
        match self {
            Self::Pread | Self::Mapping | Self::Direct => None,
            Self::Nbd => Some(Door::Nbd),
            Self::Fuse | Self::FuseMapping => Some(Door::Fuse),
        }
    }
}

/// How a volume is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// Length of the AES key: 128 or 256. An XTS key is two of them.
    pub key_bits: u32,
    /// Size of a sector.
    pub sector: SectorSize,
}

/// The default of `luksFormat` and `encrypt`.
pub const DEFAULT_FORMAT: Format = Format {
    key_bits: 256,
    sector: SectorSize::B4096,
};

impl Format {
    /// All that are compared.
    pub const ALL: [Self; 4] = [
        Self {
            key_bits: 128,
            sector: SectorSize::B512,
        },
        Self {
            key_bits: 128,
            sector: SectorSize::B4096,
        },
        Self {
            key_bits: 256,
            sector: SectorSize::B512,
        },
        DEFAULT_FORMAT,
    ];

    /// Length of the volume key.
    pub(crate) fn key_len_bytes(self) -> usize {
        // 32 or 64.
        (self.key_bits / 4) as usize
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "AES-{}-XTS, {}-byte sectors",
            self.key_bits,
            self.sector.bytes()
        )
    }
}

/// What stands between the file and the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Nothing.
    Plain,
    /// Nothing once more: what a comparison of two equals comes out as here.
    PlainAgain,
    /// The steps of a volume, with a copy in place of the cipher.
    CopyInstead,
    /// A volume.
    Encrypted(Format, Kernel),
}

impl Protection {
    /// What reports call it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Plain => "plain".into(),
            Self::PlainAgain => "plain, again".into(),
            Self::CopyInstead => "copy in place of the cipher".into(),
            Self::Encrypted(format, kernel) => format!("{format}, {}", kernel_name(kernel)),
        }
    }
}

/// A kernel's name, and whether the portable one has AES instructions.
#[must_use]
pub fn kernel_name(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Portable if cfg!(aes_backend = "soft") => "soft",
        kernel => kernel.name(),
    }
}

/// Opens a file or a volume in it, by a way. `write`: it will be written to.
pub(crate) fn open(
    file: &File,
    protection: Protection,
    way: Way,
    write: bool,
) -> Result<Box<dyn Source + Send>, Error> {
    match protection {
        Protection::Plain | Protection::PlainAgain => Ok(Box::new(Plain::open(file, way, write)?)),
        Protection::CopyInstead => Ok(Box::new(CopyInstead::open(file, way)?)),
        Protection::Encrypted(format, kernel) => volume::open(file, format, kernel, way, write),
    }
}

pub(crate) use volume::{encrypt, opened};

/// A piece is worked on at most so long before the next: what a volume locks and shows at once. Two threads that read
/// 2, 4 or 8 MiB at once past the page cache were not faster on the disks that were tried, but up to a fifth slower.
pub(crate) const REGION_LEN_BYTES: u64 = 1 << 20;

/// The pieces of a request that a volume would make of it: cut where regions meet.
pub(crate) fn regions(buf: &mut [u8], offset: u64) -> impl Iterator<Item = (u64, &mut [u8])> {
    let mut rest = buf;
    let mut at = offset;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let to_border = REGION_LEN_BYTES - at % REGION_LEN_BYTES;
        let len = rest
            .len()
            .min(usize::try_from(to_border).unwrap_or(usize::MAX));
        let (piece, after) = std::mem::take(&mut rest).split_at_mut(len);
        let start = at;
        rest = after;
        at += len as u64;
        Some((start, piece))
    })
}
