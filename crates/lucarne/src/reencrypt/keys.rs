//! Both keys of a re-encryption, and whether they vouch for what the header says of it.

use lucarne_format::luks2::{Header, Keyslot, Priority, Reencryption};
use lucarne_keyslot::{CostLimits, CostMeter};
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

use crate::unlock::try_keyslots;
use crate::{Error, Unlocked};

/// The volume keys before and after; one is missing where there is plaintext on that side.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) old: Option<Unlocked>,
    /// `None` also where the key stays and only the cipher changes: [`Self::new_key`].
    new: Option<Unlocked>,
}

impl Keys {
    pub(super) fn of(old: Option<Unlocked>, new: Option<Unlocked>) -> Self {
        Self { old, new }
    }

    /// Opens a keyslot for each of both keys with these passphrases, and judges the header by them. Nothing of
    /// a re-encryption may be acted on before that: who can write to the header could else have the data
    /// decrypted (CVE-2021-4122).
    ///
    /// # Errors
    /// [`Error::WrongKey`] when a key is opened by none of them, or why a keyslot could not be tried;
    /// [`Error::Unvouched`] when the keys do not vouch for the metadata.
    pub(crate) fn unlock(
        header: &Header,
        storage: &dyn Storage,
        passphrases: &[&[u8]],
        limits: &CostLimits,
    ) -> Result<Self, Error> {
        let Some(reencryption) = header.metadata().reencryption() else {
            return Err(Error::refused("the header says of no re-encryption"));
        };
        let mut meter = CostMeter::new(limits);
        let mut unlock = |digest: Option<u32>| match digest {
            Some(digest) => {
                unlock_digest(header, storage, digest, passphrases, &mut meter).map(Some)
            }
            None => Ok(None),
        };
        let same_key = reencryption.old_digest == reencryption.new_digest;
        let keys = Self {
            old: unlock(reencryption.old_digest)?,
            new: if same_key {
                None
            } else {
                unlock(reencryption.new_digest)?
            },
        };
        keys.verify(header, &reencryption, &mut meter)?;
        Ok(keys)
    }

    pub(crate) fn old_key(&self) -> Option<&SecretBytes> {
        self.old.as_ref().map(|unlocked| &unlocked.volume_key)
    }

    /// The key after; the one before, where it stays.
    pub(crate) fn new_key(&self, reencryption: &Reencryption<'_>) -> Option<&SecretBytes> {
        reencryption.new_digest?;
        self.new
            .as_ref()
            .or(self.old.as_ref())
            .map(|unlocked| &unlocked.volume_key)
    }

    /// One of both, if there is one: the new one rather.
    pub(crate) fn into_one(self) -> Option<Unlocked> {
        self.new.or(self.old)
    }

    /// What the digest of the metadata is made of.
    pub(super) fn message(&self, reencryption: &Reencryption<'_>) -> Result<SecretBytes, Error> {
        let new = self.new.as_ref().map(|unlocked| &*unlocked.volume_key);
        let old = self.old_key().map(|key| &**key);
        Ok(SecretBytes::from_vec(
            reencryption.verification_message(old, new)?,
        ))
    }

    pub(super) fn verify(
        &self,
        header: &Header,
        reencryption: &Reencryption<'_>,
        meter: &mut CostMeter,
    ) -> Result<(), Error> {
        if reencryption.version < 2 {
            return Err(Error::unsupported(
                "a re-encryption without a digest (requirement online-reencrypt of cryptsetup before 2.4.3); \
                 `cryptsetup repair` adds one",
            ));
        }
        let digests = header.metadata().digests();
        let digest = reencryption.digest.and_then(|id| digests.get(&id));
        let Some(digest) = digest else {
            return Err(Error::refused(format!(
                "keyslot {}: the re-encryption has no usable digest",
                reencryption.keyslot_id
            )));
        };
        meter.spend_digest(digest)?;
        let is_vouched_for = with_clean_stack(|| {
            let message = self.message(reencryption)?;
            Ok::<_, Error>(lucarne_keyslot::verify_digest(digest, &message)?)
        })?;
        if is_vouched_for {
            return Ok(());
        }
        Err(Error::Unvouched {
            keyslot: reencryption.keyslot_id,
        })
    }
}

/// Tries the keyslots of one digest, preferred ones first, with each passphrase.
pub(super) fn unlock_digest(
    header: &Header,
    storage: &dyn Storage,
    digest: u32,
    passphrases: &[&[u8]],
    meter: &mut CostMeter,
) -> Result<Unlocked, Error> {
    let metadata = header.metadata();
    let Some(of_digest) = metadata.digests().get(&digest) else {
        return Err(match metadata.unusable_digests().get(&digest) {
            Some(unusable) => unusable.defect.clone().into(),
            None => Error::NoUsableKeyslot,
        });
    };
    let priority = |id: &u32| match metadata.keyslots().get(id) {
        Some(Keyslot::Luks2(keyslot)) => Some((keyslot.priority, *id)),
        _ => None,
    };
    let mut candidates: Vec<(Priority, u32)> =
        of_digest.keyslots.iter().filter_map(priority).collect();
    if candidates.is_empty() {
        return Err(Error::NoUsableKeyslot);
    }
    candidates.sort_by_key(|&(priority, id)| (priority != Priority::Prefer, id));
    let ids: Vec<u32> = candidates.into_iter().map(|(_, id)| id).collect();
    let mut not_tried = None;
    for passphrase in passphrases {
        let found = try_keyslots(
            header,
            storage,
            passphrase,
            ids.clone(),
            meter,
            &mut not_tried,
        )?;
        if let Some(unlocked) = found {
            return Ok(unlocked);
        }
    }
    Err(not_tried.unwrap_or(Error::WrongKey))
}
