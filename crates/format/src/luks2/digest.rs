//! Digests: what a volume key must hash to (specification 3.5).

use std::collections::BTreeSet;

/// A digest of type `pbkdf2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The keyslots whose key it recognises.
    pub keyslots: BTreeSet<u32>,
    /// The segments which that key decrypts; empty for an unbound keyslot.
    pub segments: BTreeSet<u32>,
    /// The HMAC's hash.
    pub hash: String,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// The expected value.
    pub digest: Vec<u8>,
}
