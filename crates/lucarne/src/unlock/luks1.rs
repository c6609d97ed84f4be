//! LUKS1: one digest for all keyslots, which are tried by number.

use lucarne_format::luks1::{Header, Keyslot, KeyslotState};
use lucarne_keyslot::CostMeter;
use lucarne_secret::SecretBytes;

use super::{Candidate, UnlockOptions, Unlocked};
use crate::Error;

/// The number that LUKS1's one digest goes by.
const DIGEST_ID: u32 = 0;

pub(super) fn verify_volume_key(
    header: &Header,
    key: &[u8],
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let digest = header.to_luks2_digest()?;
    // A digest cannot tell a key from the same key with zeros behind it.
    if u32::try_from(key.len()) != Ok(header.key_bytes()) {
        return Err(Error::WrongKey);
    }
    CostMeter::new(&options.limits).spend_digest(&digest)?;
    if !lucarne_keyslot::verify_digest(&digest, key)? {
        return Err(Error::WrongKey);
    }
    Ok(Unlocked {
        volume_key: SecretBytes::from_slice(key),
        keyslot: None,
        digest: DIGEST_ID,
    })
}

/// The keyslots to try in order, and why another cannot be tried. One that is active keeps those behind it from being
/// tried, as in cryptsetup, unless they are asked for by number.
pub(super) fn candidates(
    header: &Header,
    options: &UnlockOptions,
) -> Result<(Vec<Candidate>, Option<Error>), Error> {
    let candidate = |id| -> Result<Candidate, Error> {
        Ok(Candidate {
            id,
            keyslot: header.to_luks2_keyslot(id)?,
            digest_id: DIGEST_ID,
            digest: header.to_luks2_digest()?,
        })
    };
    if let Some(id) = options.keyslot {
        let is_used = header
            .keyslot(id)
            .is_some_and(|keyslot| keyslot.state != KeyslotState::Inactive);
        return match is_used {
            true => Ok((vec![candidate(id)?], None)),
            false => Err(Error::refused(format!("keyslot {id} is not in use"))),
        };
    }
    let mut candidates = Vec::new();
    let mut in_the_way = None;
    for (id, keyslot) in (0..).zip(header.keyslots()) {
        if keyslot.state == KeyslotState::Inactive || options.except == Some(id) {
            continue;
        }
        match candidate(id) {
            Ok(candidate) => candidates.push(candidate),
            Err(defect) => {
                in_the_way.get_or_insert(defect);
                if is_active(keyslot) {
                    break;
                }
            }
        }
    }
    Ok((candidates, in_the_way))
}

fn is_active(keyslot: &Keyslot) -> bool {
    match keyslot.state {
        KeyslotState::Active { .. } => true,
        KeyslotState::Inactive => false,
        KeyslotState::Unusable { is_active, .. } => is_active,
    }
}
