//! Keyslots (specification 3.2).

use super::Area;

/// A keyslot: one way to the key that a digest recognises.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keyslot {
    /// Type `luks2`: a passphrase opens it.
    Luks2(Luks2Keyslot),
    /// Type `reencrypt`: holds the journal of a re-encryption, opens nothing.
    Reencrypt,
    /// A type we do not know: survives, opens nothing.
    Unknown,
}

/// A keyslot of type `luks2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luks2Keyslot {
    /// Length in bytes of the key that it holds.
    pub key_size: u32,
    /// When it is tried.
    pub priority: Priority,
    /// How the key is spread over the area.
    pub af: AntiForensic,
    /// How a passphrase becomes the area's key.
    pub kdf: Kdf,
    /// Where the key material lies.
    pub area: Area,
}

/// When a keyslot is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// 0: only when asked for by number.
    Ignore,
    /// 1 or absent.
    #[default]
    Normal,
    /// 2: before the others.
    Prefer,
}

/// The anti-forensic splitter's parameters (type `luks1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AntiForensic {
    /// Always 4000.
    pub stripes: u32,
    /// The diffusion's hash, `sha256`.
    pub hash: String,
}

/// A key derivation and its costs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kdf {
    /// RFC 8018 over HMAC.
    Pbkdf2 {
        /// The HMAC's hash, `sha256`.
        hash: String,
        /// Iterations.
        iterations: u32,
        /// Salt.
        salt: Vec<u8>,
    },
    /// RFC 9106.
    Argon2 {
        /// i or id.
        variant: Argon2Variant,
        /// Passes.
        time: u32,
        /// Memory in KiB.
        memory_kib: u32,
        /// Parallel lanes.
        lanes: u32,
        /// Salt.
        salt: Vec<u8>,
    },
}

/// Which Argon2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argon2Variant {
    /// argon2i: memory is addressed independently of the secret.
    I,
    /// argon2id.
    Id,
}
