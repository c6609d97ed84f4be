//! How large a new header is and where the data begins.
//!
//! The rules are cryptsetup's, so that the same options give the same layout: the header and the
//! keyslots area fill 16 MiB unless told otherwise, and a data offset that is asked for has priority
//! over everything else.

use crate::Error;

/// Lengths of one header copy that the specification allows, in bytes.
pub(crate) const METADATA_SIZES: [u64; 9] = [
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
];
const KEYSLOTS_SIZE_MAX: u64 = 128 << 20;
const HEADER_DEFAULT_LEN: u64 = 16 << 20;
const DATA_ALIGNMENT_DEFAULT: u64 = 1 << 20;
const BLOCK: u64 = 4096;
/// Larger than any device; small enough that an offset and a length never exceed 64 bits together.
const DATA_OFFSET_MAX: u64 = 1 << 62;

/// What the caller may choose; `None` is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LayoutRequest {
    /// One header copy, binary part and JSON area.
    pub(crate) metadata_size: Option<u64>,
    pub(crate) keyslots_size: Option<u64>,
    /// First byte of the data on the data device.
    pub(crate) data_offset: Option<u64>,
    /// The data begins at a multiple of this.
    pub(crate) data_alignment: Option<u64>,
    /// Header and data lie on different devices.
    pub(crate) detached: bool,
}

/// Where everything lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) metadata_size: u64,
    pub(crate) keyslots_size: u64,
    pub(crate) data_offset: u64,
}

impl Layout {
    /// Where the keyslots area begins.
    pub(crate) fn keyslots_offset(&self) -> u64 {
        2 * self.metadata_size
    }

    /// The first byte after the keyslots area.
    pub(crate) fn header_end(&self) -> u64 {
        self.keyslots_offset() + self.keyslots_size
    }
}

impl LayoutRequest {
    pub(crate) fn resolve(&self) -> Result<Layout, Error> {
        let metadata_size = self.metadata_size.unwrap_or(METADATA_SIZES[0]);
        if !METADATA_SIZES.contains(&metadata_size) {
            return Err(Error::refused(format!(
                "metadata size {metadata_size} is not 16, 32, 64, 128, 256 or 512 KiB, or 1, 2 or 4 MiB"
            )));
        }
        if let Some(size) = self.keyslots_size
            && (size == 0 || !size.is_multiple_of(BLOCK) || size > KEYSLOTS_SIZE_MAX)
        {
            return Err(Error::refused(format!(
                "keyslots area size {size} is not a multiple of {BLOCK} from {BLOCK} to {KEYSLOTS_SIZE_MAX} bytes"
            )));
        }
        let keyslots_offset = 2 * metadata_size;
        let alignment = self.data_alignment.filter(|&bytes| bytes != 0);
        // Where the header lies apart, the alignment is the offset. Every reader wants the keyslots area to
        // end before an offset that is not 0, even one on another device.
        let chosen_offset = match self.detached {
            true => self.data_offset.or(alignment),
            false => self.data_offset,
        }
        .filter(|&offset| offset != 0);
        if let Some(offset) = chosen_offset
            && !offset.is_multiple_of(BLOCK)
        {
            return Err(Error::refused(format!(
                "data offset {offset} is not a multiple of {BLOCK} bytes"
            )));
        }
        let room = match chosen_offset {
            Some(offset) => offset.checked_sub(keyslots_offset).ok_or_else(|| {
                Error::refused(format!(
                    "data offset {offset} is too small: the two header copies need {keyslots_offset} bytes"
                ))
            })?,
            None => KEYSLOTS_SIZE_MAX,
        };
        let default = match chosen_offset {
            Some(_) => room,
            None => HEADER_DEFAULT_LEN - keyslots_offset,
        };
        let keyslots_size = self
            .keyslots_size
            .unwrap_or(default)
            .min(room)
            .min(KEYSLOTS_SIZE_MAX);
        let header_end = keyslots_offset + keyslots_size;
        let data_offset = match (chosen_offset, self.detached) {
            (Some(offset), _) => offset,
            (None, true) => 0,
            (None, false) => header_end
                .checked_next_multiple_of(alignment.unwrap_or(DATA_ALIGNMENT_DEFAULT))
                .filter(|&offset| offset.is_multiple_of(512))
                .ok_or_else(|| {
                    Error::refused(
                        "data alignment is not a multiple of 512 bytes, or too large".to_owned(),
                    )
                })?,
        };
        if data_offset > DATA_OFFSET_MAX {
            return Err(Error::refused(format!(
                "data offset {data_offset} is past the limit of {DATA_OFFSET_MAX} bytes"
            )));
        }
        Ok(Layout {
            metadata_size,
            keyslots_size,
            data_offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(request: LayoutRequest) -> (u64, u64, u64) {
        let layout = request.resolve().unwrap();
        (
            layout.metadata_size,
            layout.keyslots_size,
            layout.data_offset,
        )
    }

    // The expected figures are those that `cryptsetup luksFormat` 2.6.1 printed for the same options.
    #[test]
    fn layouts_are_cryptsetups() {
        let default = LayoutRequest::default();
        assert_eq!(resolve(default), (16384, 16_744_448, 16_777_216));
        let offset = LayoutRequest {
            data_offset: Some(8192 * 512),
            ..default
        };
        assert_eq!(resolve(offset), (16384, 4_161_536, 4_194_304));
        let both = LayoutRequest {
            keyslots_size: Some(8 << 20),
            ..offset
        };
        assert_eq!(resolve(both), (16384, 4_161_536, 4_194_304));
        let large_metadata = LayoutRequest {
            metadata_size: Some(4 << 20),
            ..default
        };
        assert_eq!(resolve(large_metadata), (4 << 20, 8_388_608, 16_777_216));
        let small_keyslots = LayoutRequest {
            keyslots_size: Some(256 << 10),
            ..default
        };
        assert_eq!(resolve(small_keyslots), (16384, 262_144, 1_048_576));
        let aligned = LayoutRequest {
            data_alignment: Some(2047 * 512),
            ..default
        };
        assert_eq!(resolve(aligned), (16384, 16_744_448, 17_817_088));
        let detached = LayoutRequest {
            detached: true,
            ..default
        };
        assert_eq!(resolve(detached), (16384, 16_744_448, 0));
        for (detached, expected) in [
            (
                LayoutRequest {
                    data_offset: Some(8192 * 512),
                    ..detached
                },
                (16384, 4_161_536, 4_194_304),
            ),
            (
                LayoutRequest {
                    data_offset: Some(65536 * 512),
                    ..detached
                },
                (16384, 33_521_664, 33_554_432),
            ),
            (
                LayoutRequest {
                    data_alignment: Some(2048 * 512),
                    ..detached
                },
                (16384, 1_015_808, 1_048_576),
            ),
            (
                LayoutRequest {
                    data_offset: Some(8192 * 512),
                    keyslots_size: Some(256 << 10),
                    ..detached
                },
                (16384, 262_144, 4_194_304),
            ),
        ] {
            assert_eq!(resolve(detached), expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_value() {
        let default = LayoutRequest::default();
        for (request, value) in [
            (
                LayoutRequest {
                    metadata_size: Some(100 << 10),
                    ..default
                },
                "102400",
            ),
            (
                LayoutRequest {
                    keyslots_size: Some(100_000),
                    ..default
                },
                "100000",
            ),
            (
                LayoutRequest {
                    keyslots_size: Some(256 << 20),
                    ..default
                },
                "268435456",
            ),
            (
                LayoutRequest {
                    keyslots_size: Some(0),
                    ..default
                },
                "size 0",
            ),
            (
                LayoutRequest {
                    data_offset: Some(51200),
                    ..default
                },
                "51200",
            ),
            (
                LayoutRequest {
                    data_offset: Some(8192),
                    ..default
                },
                "8192",
            ),
            (
                LayoutRequest {
                    data_alignment: Some(1000),
                    ..default
                },
                "alignment",
            ),
            (
                LayoutRequest {
                    data_offset: Some((1 << 62) + 4096),
                    ..default
                },
                "past the limit",
            ),
            (
                LayoutRequest {
                    data_alignment: Some(u64::MAX),
                    ..default
                },
                "alignment",
            ),
        ] {
            let error = request.resolve().unwrap_err().to_string();
            assert!(error.contains(value), "{error} lacks {value}");
        }
    }
}
