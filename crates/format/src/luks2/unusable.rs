//! Keyslots and digests that say something impossible.
//!
//! A header is loaded if every reader could tell from it who owns which bytes and which key belongs to
//! which data. What else is wrong with one keyslot or one digest (no iterations, a salt of three bytes)
//! concerns nobody but who wants to open it: cryptsetup loads such a header and opens the others, and so
//! do we. The part itself is kept as it is, and says why it opens nothing.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Priority;
use crate::Error;

/// A keyslot of type `luks2` that nothing can open; [`strictness`](super::strictness) lists the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKeyslot {
    /// Length in bytes of the key that it is said to hold.
    pub key_size: u32,
    /// When it would be tried; [`Priority::Ignore`] if what it says is no priority.
    pub priority: Priority,
    /// The bytes it owns.
    pub area: Range<u64>,
    /// What is wrong: the member, its value and the limit.
    pub defect: Error,
}

/// A digest that recognises no key; [`strictness`](super::strictness) lists the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableDigest {
    /// Its `type`.
    pub kind: String,
    /// The keyslots whose key it should recognise.
    pub keyslots: BTreeSet<u32>,
    /// The segments which that key decrypts.
    pub segments: BTreeSet<u32>,
    /// What is wrong: the member, its value and the limit.
    pub defect: Error,
}
