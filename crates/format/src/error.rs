//! Errors by who is at fault.

/// Why bytes are not a usable LUKS2 header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No magic where a header must start.
    #[error("not a LUKS volume")]
    NotLuks,
    /// The bytes lie.
    #[error("corrupt header: {0}")]
    Corrupt(Corrupt),
    /// Valid, but not done here.
    #[error("not supported: {0}")]
    Unsupported(Unsupported),
}

/// What is wrong with a header: the field, its value and the limit.
#[derive(Debug)]
pub struct Corrupt(pub(crate) String);

/// What a valid header asks for that is not done here.
#[derive(Debug)]
pub struct Unsupported(pub(crate) String);

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
