//! Digests: what a volume key must hash to (LUKS2 specification 3.5).

use lucarne_format::luks2::Digest;
use lucarne_secret::SecretBytes;

use crate::{Error, Hash};

/// As in new LUKS2 headers.
const SALT_LEN: usize = 32;

/// A shorter value says too little about the key: LUKS1's has 20 bytes, and conversion keeps them.
const MIN_DIGEST_LEN: usize = 20;
/// The longest hash.
const MAX_DIGEST_LEN: usize = 64;

/// Whether `key` is the one that `digest` recognises; compared in constant time.
///
/// HMAC pads a short key with zeros, so that a key and the same key with a zero byte after it give
/// the same digest: **check the key's length first** ([`check_key_len`]). And `digest` names its
/// own cost: spend it on a [`crate::CostMeter`] first.
///
/// # Errors
/// [`Error::UnsupportedHash`]; [`Error::Parameter`] for no iterations and for a digest shorter than
/// 20 or longer than 64 bytes.
pub fn verify_digest(digest: &Digest, key: &[u8]) -> Result<bool, Error> {
    let hash: Hash = digest.hash.parse()?;
    if !(MIN_DIGEST_LEN..=MAX_DIGEST_LEN).contains(&digest.digest.len()) {
        return Err(Error::Parameter {
            parameter: "digest length in bytes",
            value: digest.digest.len() as u64,
            min: MIN_DIGEST_LEN as u64,
            max: MAX_DIGEST_LEN as u64,
        });
    }
    let iterations = at_least_one(digest.iterations)?;
    let mut actual = SecretBytes::zeroed(digest.digest.len());
    hash.pbkdf2(key, &digest.salt, iterations, &mut actual);
    Ok(actual.ct_eq(&digest.digest))
}

/// A digest that recognises `key`, with a random salt; of no keyslots and no segments yet.
///
/// # Errors
/// [`Error::Random`], and [`Error::Parameter`] for fewer than the 1000 iterations of
/// NIST SP 800-132.
pub fn create_digest(key: &[u8], hash: Hash, iterations: u32) -> Result<Digest, Error> {
    crate::kdf::check_pbkdf2_iterations(iterations)?;
    let mut salt = vec![0; SALT_LEN];
    getrandom::fill(&mut salt)?;
    let mut digest = vec![0; hash.output_len()];
    hash.pbkdf2(key, &salt, iterations, &mut digest);
    Ok(Digest {
        keyslots: Default::default(),
        segments: Default::default(),
        hash: hash.to_string(),
        iterations,
        salt,
        digest,
    })
}

/// That a key has the length that a keyslot's `key_size` or a segment's cipher says.
///
/// # Errors
/// [`Error::KeyLen`].
pub fn check_key_len(key: &[u8], expected_bytes: usize) -> Result<(), Error> {
    if key.len() == expected_bytes {
        return Ok(());
    }
    Err(Error::KeyLen {
        actual_bytes: key.len(),
        expected_bytes,
    })
}

fn at_least_one(iterations: u32) -> Result<u32, Error> {
    if iterations == 0 {
        return Err(Error::Parameter {
            parameter: "digest iterations",
            value: 0,
            min: 1,
            max: u64::from(u32::MAX),
        });
    }
    Ok(iterations)
}
