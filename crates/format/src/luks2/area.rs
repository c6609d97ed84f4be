//! Where a keyslot's key material lies and how it is encrypted ("area", specification 3.2).

/// A keyslot's area of type `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// First byte, counted from the start of the header device.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
    /// The cipher of the area in dm-crypt's notation, `aes-xts-plain64`.
    pub encryption: String,
    /// Length of the area's key in bytes.
    pub key_size: u32,
}
