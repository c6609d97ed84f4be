//! What was agreed with one client.

/// In which form requests and replies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// Reads in one piece, and an error is a number.
    Simple,
    /// In chunks, with reasons.
    Structured,
    /// As structured, with lengths of 64 bits.
    Extended,
}

/// What was agreed with one client, who has chosen an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Its place among the server's exports.
    pub export: usize,
    /// The export's length in bytes.
    pub len: u64,
    /// Whether writing is refused.
    pub is_read_only: bool,
    /// Whether TRIM is offered.
    pub can_trim: bool,
    /// In which form requests and replies are.
    pub kind: ReplyKind,
    /// Whether `base:allocation` was chosen.
    pub has_allocation: bool,
}
