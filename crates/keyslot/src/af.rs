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

pub(crate) fn check_key_len(key_len: usize) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One diffusion by the specification's words, independent of the loop above.
    fn diffused(hash: Hash, stripe: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (counter, block) in stripe.chunks(hash.output_len()).enumerate() {
            let mut whole = vec![0; hash.output_len()];
            hash.digest([&(counter as u32).to_be_bytes(), block], &mut whole);
            out.extend(&whole[..block.len()]);
        }
        out
    }

    #[test]
    fn the_key_is_the_last_stripe_xor_the_diffused_others() {
        let hash = Hash::Sha1;
        let material: Vec<u8> = (0..STRIPES * 32).map(|i| (i * i / 7) as u8).collect();
        let mut state = vec![0; 32];
        for stripe in material[..(STRIPES - 1) * 32].chunks(32) {
            let mixed: Vec<u8> = state.iter().zip(stripe).map(|(a, b)| a ^ b).collect();
            state = diffused(hash, &mixed);
        }
        let last = &material[(STRIPES - 1) * 32..];
        let expected: Vec<u8> = state.iter().zip(last).map(|(a, b)| a ^ b).collect();
        assert_eq!(merge(hash, 32, &material).unwrap().to_vec(), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn merge_undoes_split(
            hash in proptest::sample::select(Hash::ALL),
            // Two states of one or two bytes fall together somewhere in 4000 diffusions.
            key in proptest::collection::vec(any::<u8>(), 8..100),
            spare in 0..600_usize,
        ) {
            let split = split(hash, &key).unwrap();
            prop_assert_eq!(split.len(), key.len() * STRIPES);
            let mut material = split.to_vec();
            material.resize(split.len() + spare, 0xff);
            prop_assert_eq!(merge(hash, key.len(), &material).unwrap().to_vec(), key.clone());
            // Any stripe is needed, unless the key is so short that two states of the diffusion
            // may well become one within 4000 stripes.
            if key.len() >= 16 {
                let at = spare * 13 % split.len();
                material[at] ^= 1;
                prop_assert_ne!(merge(hash, key.len(), &material).unwrap().to_vec(), key);
            }
        }
    }

    #[test]
    fn too_little_material_and_absurd_keys_are_errors() {
        assert!(matches!(
            merge(Hash::Sha256, 64, &[0; 255_999]),
            Err(Error::AreaTooShort {
                needed_bytes: 256_000,
                available_bytes: 255_999
            }),
        ));
        for key_len in [0, MAX_KEY_LEN + 1, usize::MAX] {
            assert!(matches!(
                merge(Hash::Sha256, key_len, &[]),
                Err(Error::Parameter { .. })
            ));
        }
        assert!(matches!(
            split(Hash::Sha256, &[]),
            Err(Error::Parameter { .. })
        ));
    }
}
