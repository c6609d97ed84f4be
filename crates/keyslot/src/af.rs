//! The anti-forensic splitter (LUKS1 specification 2.4, LUKS2 type `luks1`).
//!
//! A key is blown up to 4000 stripes of its own length, all of which are needed to get it back: it
//! is gone when any part of them is overwritten. All stripes but the last are random; the last is
//! the key xor what diffusing the others gives.
//!
//! The diffusion is a **plain hash** of a 32-bit big-endian block counter and the block, for each
//! block of the hash's length; a shorter block at the end gets the hash cut to its length.

use lucarne_secret::SecretBytes;

use crate::{Error, Hash};

/// The number of stripes; LUKS knows no other.
pub const STRIPES: usize = 4000;

/// Splits `key` into [`STRIPES`] stripes, which are returned one after the other.
///
/// # Errors
/// [`Error::Random`]. A key must have at least one byte and at most 1 MiB ([`Error::Parameter`]).
pub fn split(hash: Hash, key: &[u8]) -> Result<SecretBytes, Error> {
    check_key_len(key.len())?;
    let mut material = SecretBytes::random(key.len() * STRIPES)?;
    let last = (STRIPES - 1) * key.len();
    let mut state = SecretBytes::zeroed(key.len());
    diffuse_stripes(hash, &material[..last], &mut state);
    for ((out, key), state) in material[last..].iter_mut().zip(key).zip(state.iter()) {
        *out = key ^ state;
    }
    Ok(material)
}

/// Joins the stripes at the start of `material` to the key of `key_len` bytes; what follows them is
/// ignored. Any material gives some key.
///
/// # Errors
/// [`Error::AreaTooShort`], and [`Error::Parameter`] as in [`split`].
pub fn merge(hash: Hash, key_len: usize, material: &[u8]) -> Result<SecretBytes, Error> {
    check_key_len(key_len)?;
    let last = (STRIPES - 1) * key_len;
    let stripes = material.get(..last + key_len).ok_or(Error::AreaTooShort {
        needed_bytes: (last + key_len) as u64,
        available_bytes: material.len() as u64,
    })?;
    let mut key = SecretBytes::zeroed(key_len);
    diffuse_stripes(hash, &stripes[..last], &mut key);
    for (key, stripe) in key.iter_mut().zip(&stripes[last..]) {
        *key ^= stripe;
    }
    Ok(key)
}

/// Far more than any cipher takes, and little enough for its stripes to be counted in 32 bits.
const MAX_KEY_LEN: usize = 1 << 20;

fn check_key_len(key_len: usize) -> Result<(), Error> {
    if (1..=MAX_KEY_LEN).contains(&key_len) {
        return Ok(());
    }
    Err(Error::Parameter {
        parameter: "key size in bytes",
        value: key_len as u64,
        min: 1,
        max: MAX_KEY_LEN as u64,
    })
}

/// From a zero `state`: xor a stripe to it, diffuse it, for every stripe.
fn diffuse_stripes(hash: Hash, stripes: &[u8], state: &mut SecretBytes) {
    let mut diffused = SecretBytes::zeroed(state.len());
    for stripe in stripes.chunks_exact(state.len()) {
        for (state, byte) in state.iter_mut().zip(stripe) {
            *state ^= byte;
        }
        let blocks = state.chunks(hash.output_len());
        for ((block, out), counter) in blocks
            .zip(diffused.chunks_mut(hash.output_len()))
            .zip(0_u32..)
        {
            hash.digest([&counter.to_be_bytes(), block], out);
        }
        std::mem::swap(state, &mut diffused);
    }
}
