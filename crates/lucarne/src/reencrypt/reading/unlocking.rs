//! The keys of an unfinished re-encryption, from what the caller has.

use lucarne_format::luks2::{Header, ReencryptMode, Reencryption, Requirement};
use lucarne_keyslot::{CostLimits, CostMeter};
use lucarne_storage::Storage;

use super::layout::is_of_digest;
use crate::reencrypt::keys::{Keys, unlock_digest};
use crate::unlock::{UnlockOptions, Unlocked, unlock};
use crate::{Error, HeaderRef, Secret};

/// The re-encryption that is all that an ordinary reader does not know of this volume.
pub(crate) fn is_unfinished(header: &Header) -> Option<Reencryption<'_>> {
    let requirements = header.metadata().requirements();
    let is_known =
        |requirement: &Requirement| matches!(requirement, Requirement::OnlineReencrypt { .. });
    let all_known = requirements.iter().all(is_known);
    header.metadata().reencryption().filter(|_| all_known)
}

/// Both keys, which vouch for the re-encryption; or the new one alone, where nothing is under the old one any
/// more and no keyslot has it.
///
/// # Errors
/// As [`Keys::unlock`]; [`Error::Refused`] when the caller has one key, or names one keyslot, and there are two.
pub(crate) fn unlock_both(
    header: &Header,
    reencryption: &Reencryption<'_>,
    storage: &dyn Storage,
    secret: Secret<'_>,
    options: &UnlockOptions,
) -> Result<Keys, Error> {
    let passphrase = match (secret, options.keyslot) {
        (Secret::Passphrase(passphrase), None) => passphrase,
        _ if has_two_keys(reencryption) => return Err(one_of_two()),
        _ => {
            let unlocked = unlock(header, storage, secret, options)?;
            return keys_of_one(header, reencryption, unlocked, options);
        }
    };
    unlock_what_is_left(header, storage, &[passphrase], &options.limits)
}

/// Both keys, which vouch for the re-encryption; or the new one alone, where nothing is under the old one any more
/// and none of the passphrases opens a keyslot of it.
///
/// cryptsetup destroys the old keyslots before it drops the metadata. What is there then is an ordinary volume under
/// the new key: nothing of the re-encryption, for which nobody vouches, is acted on.
///
/// # Errors
/// As [`Keys::unlock`].
pub(in crate::reencrypt) fn unlock_what_is_left(
    header: &Header,
    storage: &dyn Storage,
    passphrases: &[&[u8]],
    limits: &CostLimits,
) -> Result<Keys, Error> {
    match Keys::unlock(header, storage, passphrases, limits) {
        Err(error @ (Error::WrongKey | Error::NoUsableKeyslot)) => {
            let reencryption = header.metadata().reencryption();
            let new = reencryption
                .filter(|reencryption| is_all_new(header, reencryption))
                .and_then(|reencryption| reencryption.new_digest);
            let Some(digest) = new else {
                return Err(error);
            };
            let mut meter = CostMeter::new(limits);
            let new = unlock_digest(header, storage, digest, passphrases, &mut meter)?;
            Ok(Keys::of(None, Some(new)))
        }
        result => result,
    }
}

/// The keys where there is only one, found by the caller.
pub(crate) fn keys_of_one(
    header: &Header,
    reencryption: &Reencryption<'_>,
    unlocked: Unlocked,
    options: &UnlockOptions,
) -> Result<Keys, Error> {
    if has_two_keys(reencryption) {
        return Err(one_of_two());
    }
    let digest = Some(unlocked.digest);
    let keys = if digest == reencryption.old_digest {
        Keys::of(Some(unlocked), None)
    } else if digest == reencryption.new_digest {
        Keys::of(None, Some(unlocked))
    } else {
        return Err(Error::refused(
            "the keyslot is unbound: its key is not the data's",
        ));
    };
    keys.verify(header, reencryption, &mut CostMeter::new(&options.limits))?;
    Ok(keys)
}

fn has_two_keys(reencryption: &Reencryption<'_>) -> bool {
    match (reencryption.old_digest, reencryption.new_digest) {
        (Some(old), Some(new)) => old != new,
        _ => false,
    }
}

fn one_of_two() -> Error {
    Error::refused(
        "a volume between two keys is opened by a passphrase that has keyslots of both, not by one key or keyslot",
    )
}

/// "Data finished, metadata not": everything is under the new key.
fn is_all_new(header: &Header, reencryption: &Reencryption<'_>) -> bool {
    let metadata = header.metadata();
    let mut regular = metadata
        .segments()
        .iter()
        .filter(|(_, segment)| !segment.is_backup());
    // A head out of the way, which the end of the other modes overwrites, is never believed without both keys.
    reencryption.keyslot.mode == ReencryptMode::Reencrypt
        && has_two_keys(reencryption)
        && regular.all(|(&id, segment)| {
            !segment.is_in_reencryption()
                && is_of_digest(metadata, id, reencryption.new_digest)
                && !is_of_digest(metadata, id, reencryption.old_digest)
        })
}

/// As [`unlock()`], and of a volume whose re-encryption is unfinished both keys are found, and must vouch for what
/// the header says of it. The new one is given, if there is one.
///
/// ```
/// # use lucarne::{FormatOptions, MemoryStorage, Secret, UnlockOptions, read_header, unlock_vouched};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// # let image = MemoryStorage::with_len(2 << 20);
/// # lucarne::format(&image, None, b"an example", &options)?;
/// let header = read_header(&image)?.header;
/// let options = UnlockOptions::default();
/// let unlocked = unlock_vouched(&header, &image, Secret::Passphrase(b"an example"), &options)?;
/// assert_eq!(unlocked.keyslot, Some(0));
/// # Ok::<(), lucarne::Error>(())
/// ```
///
/// # Errors
/// As [`unlock()`]; [`Error::Unvouched`] when the keys do not vouch for the re-encryption; [`Error::Refused`] when the
/// secret is one key, or the keyslot one, of two; [`Error::Unsupported`] for a re-encryption for which no key can vouch.
pub fn unlock_vouched<'h>(
    header: impl Into<HeaderRef<'h>>,
    storage: &dyn Storage,
    secret: Secret<'_>,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let header = header.into();
    match reencryption_of(header, options) {
        Some((header, reencryption)) => {
            let keys = unlock_both(header, &reencryption, storage, secret, options)?;
            keys.into_one().ok_or(Error::NoUsableKeyslot)
        }
        None => unlock(header, storage, secret, options),
    }
}

/// As [`unlock_vouched`], with a key that was found before, by a token for example.
///
/// # Errors
/// As [`unlock_vouched`].
pub fn vouch<'h>(
    header: impl Into<HeaderRef<'h>>,
    unlocked: Unlocked,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    match reencryption_of(header.into(), options) {
        Some((header, reencryption)) => {
            let keys = keys_of_one(header, &reencryption, unlocked, options)?;
            keys.into_one().ok_or(Error::NoUsableKeyslot)
        }
        None => Ok(unlocked),
    }
}

/// A key that is none of the data's says nothing of them.
fn reencryption_of<'h>(
    header: HeaderRef<'h>,
    options: &UnlockOptions,
) -> Option<(&'h Header, Reencryption<'h>)> {
    match header {
        HeaderRef::Luks2(header) if !options.allow_unbound => {
            Some((header, header.metadata().reencryption()?))
        }
        _ => None,
    }
}
