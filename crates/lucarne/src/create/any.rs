//! A new volume of either version, between its keys and its header: its sectors are written first.

use lucarne_format::luks2::SegmentSize;
use lucarne_storage::Storage;

use super::{FormatOptions, NewVolume, luks1};
use crate::error::flushing;
use crate::header_io::{self, clear_before_data};
use crate::length_token::LengthToken;
use crate::sector_map::SectorMap;
use crate::{Error, LuksVersion, SectorSize};

/// All that a new volume's header will say but how long the data are, before anything is written.
#[expect(clippy::large_enum_variant, reason = "there is one a volume")]
pub(crate) enum AnyNewVolume {
    /// With the sector size 512 bytes.
    Luks1(luks1::NewVolume),
    Luks2(NewVolume),
}

impl AnyNewVolume {
    /// Checks the options, draws the keys and pays for the key derivation.
    pub(crate) fn derive(
        options: &FormatOptions,
        passphrase: &[u8],
        sector_size: SectorSize,
        detached: bool,
    ) -> Result<Self, Error> {
        match options.version {
            LuksVersion::Luks1 => {
                luks1::NewVolume::derive(options, passphrase, detached).map(Self::Luks1)
            }
            LuksVersion::Luks2 => {
                NewVolume::derive(options, passphrase, sector_size, detached).map(Self::Luks2)
            }
        }
    }

    /// The way to the new volume's sectors, for `len` bytes of plaintext at most.
    pub(crate) fn sector_map(&self, len: u64) -> Result<SectorMap, Error> {
        match self {
            Self::Luks1(new) => new.sector_map(len),
            Self::Luks2(new) => new.sector_map(len),
        }
    }

    /// Writes the header behind the data, which are made durable before it promises them; its UUID.
    /// `size` and `token` are LUKS2's.
    pub(crate) fn write(
        &self,
        data: &dyn Storage,
        is_device: bool,
        detached_header: Option<&dyn Storage>,
        (size, token): (SegmentSize, LengthToken),
    ) -> Result<String, Error> {
        match self {
            Self::Luks1(new) => {
                data.flush().map_err(flushing)?;
                new.write(detached_header.unwrap_or(data))?;
                Ok(new.uuid().to_owned())
            }
            Self::Luks2(new) => {
                let header = new.header(size, token)?;
                if is_device && detached_header.is_none() {
                    clear_before_data(data, new.layout())?;
                }
                data.flush().map_err(flushing)?;
                header_io::write_new(detached_header.unwrap_or(data), &header, new)?;
                Ok(header.uuid().to_owned())
            }
        }
    }
}
