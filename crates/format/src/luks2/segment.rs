//! Segments: where the data lies and how it is encrypted (specification 3.3).

/// A segment of the data device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Segment {
    /// Type `crypt`.
    Crypt(CryptSegment),
    /// Type `linear`: plaintext, seen during re-encryption.
    Linear {
        /// First byte.
        offset: u64,
        /// Length.
        size: SegmentSize,
        /// Flags such as `in-reencryption`.
        flags: Vec<String>,
    },
    /// A type we do not know: survives, is never activated.
    Unknown {
        /// Its `type`.
        kind: String,
    },
}

/// A segment of type `crypt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptSegment {
    /// First byte on the data device.
    pub offset: u64,
    /// Length.
    pub size: SegmentSize,
    /// The first sector's IV, in 512-byte units. cryptsetup ignores it for a single segment.
    pub iv_tweak: u64,
    /// The cipher in dm-crypt's notation, `aes-xts-plain64`.
    pub encryption: String,
    /// 512, 1024, 2048 or 4096.
    pub sector_size: u32,
    /// The `integrity` object's type, if there is one: authenticated encryption.
    pub integrity: Option<String>,
    /// Flags such as `in-reencryption` or `backup-final`.
    pub flags: Vec<String>,
}

/// The length of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentSize {
    /// To the end of the device.
    Dynamic,
    /// This many bytes.
    Bytes(u64),
}
