//! From a secret to a volume key that a digest recognises.

mod luks1;

use lucarne_cipher::CipherSpec;
use lucarne_format::luks2::{Digest, Header, Keyslot, Luks2Keyslot, Priority, Segment};
use lucarne_keyslot::{CostLimits, CostMeter};
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

use crate::error::{measuring, reading};
use crate::{Error, HeaderRef};

/// What opens a volume.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// A passphrase, or a key file's bytes: what a keyslot's key derivation takes.
    Passphrase(&'a [u8]),
    /// The volume key itself: no keyslot is needed, the digest still must recognise it.
    VolumeKey(&'a [u8]),
}

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase([redacted])",
            Self::VolumeKey(_) => "VolumeKey([redacted])",
        })
    }
}

/// Which keyslots are tried, and what that may cost.
#[derive(Debug, Clone, Default)]
pub struct UnlockOptions {
    /// Only this one, whatever its priority.
    pub keyslot: Option<u32>,
    /// Not this one.
    pub except: Option<u32>,
    /// Also keyslots whose key belongs to no segment.
    pub allow_unbound: bool,
    /// What an untrusted header may cost, over all keyslots tried.
    pub limits: CostLimits,
}

/// A key, and where it came from.
#[derive(Debug)]
pub struct Unlocked {
    /// The key that the digest recognised.
    pub volume_key: SecretBytes,
    /// The keyslot that gave it; `None` when the key itself was given.
    pub keyslot: Option<u32>,
    /// The digest that recognised it.
    pub digest: u32,
}

/// Tries keyslots in order of priority (preferred, then normal, each by number; ignored ones only when
/// asked for by number; unbound ones, where allowed, last) until a digest recognises the key.
///
/// # Errors
/// [`Error::NoUsableKeyslot`] when there is none to try, [`Error::WrongKey`] when all were tried in
/// vain. When one could not be tried (limits, a cipher or hash that is not known, members that make no
/// sense) and no other opened, that is the error: the secret may well be right.
pub fn unlock<'h>(
    header: impl Into<HeaderRef<'h>>,
    storage: &dyn Storage,
    secret: Secret<'_>,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let header = header.into();
    with_clean_stack(|| unlock_header(header, storage, secret, options))
}

fn unlock_header(
    header: HeaderRef<'_>,
    storage: &dyn Storage,
    secret: Secret<'_>,
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let passphrase = match (secret, header) {
        (Secret::VolumeKey(key), HeaderRef::Luks1(header)) => {
            return luks1::verify_volume_key(header, key, options);
        }
        (Secret::VolumeKey(key), HeaderRef::Luks2(header)) => {
            return verify_volume_key(header, key, options);
        }
        (Secret::Passphrase(passphrase), _) => passphrase,
    };
    let (candidates, in_the_way) = match header {
        HeaderRef::Luks1(header) => luks1::candidates(header, options)?,
        HeaderRef::Luks2(header) => luks2_candidates(header, options)?,
    };
    unlock_keyslot(candidates, in_the_way, storage, passphrase, &options.limits)
}

/// A keyslot to try, with the digest that judges its key.
struct Candidate {
    id: u32,
    keyslot: Luks2Keyslot,
    digest_id: u32,
    digest: Digest,
}

fn verify_volume_key(
    header: &Header,
    key: &[u8],
    options: &UnlockOptions,
) -> Result<Unlocked, Error> {
    let mut meter = CostMeter::new(&options.limits);
    for (&id, digest) in header.metadata().digests() {
        if digest.segments.is_empty() && !options.allow_unbound {
            continue;
        }
        // A digest cannot tell a key from the same key with zeros behind it (RFC 2104 pads short keys).
        let fits = digest
            .keyslots
            .iter()
            .filter_map(|&keyslot| luks2_keyslot(header, keyslot))
            .all(|keyslot| keyslot.key_size as usize == key.len());
        if fits && segments_take(header, digest, key.len()) {
            meter.spend_digest(digest)?;
            if lucarne_keyslot::verify_digest(digest, key)? {
                return Ok(Unlocked {
                    volume_key: SecretBytes::from_slice(key),
                    keyslot: None,
                    digest: id,
                });
            }
        }
    }
    let mut unusable = header.metadata().unusable_digests().values();
    match unusable.find(|digest| options.allow_unbound || !digest.segments.is_empty()) {
        Some(digest) => Err(digest.defect.clone().into()),
        None => Err(Error::WrongKey),
    }
}

/// Whether every cipher that the digest's segments name takes a key of this length.
fn segments_take(header: &Header, digest: &Digest, key_len: usize) -> bool {
    digest.segments.iter().all(|id| {
        let Some(Segment::Crypt(segment)) = header.metadata().segments().get(id) else {
            return true;
        };
        match segment.encryption.parse::<CipherSpec>() {
            Ok(spec) => spec.takes_key_len(key_len),
            Err(_) => true,
        }
    })
}

fn luks2_keyslot(header: &Header, id: u32) -> Option<&Luks2Keyslot> {
    match header.metadata().keyslots().get(&id)? {
        Keyslot::Luks2(keyslot) => Some(keyslot),
        _ => None,
    }
}

/// `in_the_way`: why a keyslot that the secret may be right for is not among the candidates.
fn unlock_keyslot(
    candidates: Vec<Candidate>,
    in_the_way: Option<Error>,
    storage: &dyn Storage,
    passphrase: &[u8],
    limits: &CostLimits,
) -> Result<Unlocked, Error> {
    let mut meter = CostMeter::new(limits);
    let mut not_tried = in_the_way;
    if candidates.is_empty() {
        return Err(not_tried.unwrap_or(Error::NoUsableKeyslot));
    }
    let unlocked = try_candidates(candidates, storage, passphrase, &mut meter, &mut not_tried)?;
    unlocked.ok_or_else(|| not_tried.unwrap_or(Error::WrongKey))
}

/// Tries a passphrase on these keyslots in turn. Why one could not be tried goes to `not_tried`, unless
/// there is a reason already.
fn try_candidates(
    candidates: Vec<Candidate>,
    storage: &dyn Storage,
    passphrase: &[u8],
    meter: &mut CostMeter,
    not_tried: &mut Option<Error>,
) -> Result<Option<Unlocked>, Error> {
    for candidate in candidates {
        match candidate.try_passphrase(storage, passphrase, meter) {
            Ok(Some(unlocked)) => return Ok(Some(unlocked)),
            Ok(None) => {}
            Err(
                error @ (Error::Unsupported(_)
                | Error::Refused(_)
                | Error::TooCostly { .. }
                | Error::Corrupt(_)
                | Error::Device(_)),
            ) => {
                tracing::debug!(keyslot = candidate.id, %error, "keyslot not tried");
                not_tried.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether a keyslot's key may be asked for, whatever the keyslot's priority.
pub(crate) fn is_usable(header: &Header, keyslot: u32, allow_unbound: bool) -> bool {
    luks2_keyslot(header, keyslot).is_some()
        && header
            .metadata()
            .digest_of_keyslot(keyslot)
            .is_some_and(|(_, digest)| allow_unbound || !digest.segments.is_empty())
}

/// The keyslots to try in order, and why another cannot be tried.
fn luks2_candidates(
    header: &Header,
    options: &UnlockOptions,
) -> Result<(Vec<Candidate>, Option<Error>), Error> {
    let mut in_the_way = match options.keyslot {
        Some(_) => None,
        None => defect_in_the_way(header),
    };
    let ids = keyslots_to_try(header, options)?;
    let candidates = candidates_of(header, ids, &mut in_the_way);
    Ok((candidates, in_the_way))
}

/// Tries a passphrase on LUKS2 keyslots in turn: as [`try_candidates`].
pub(crate) fn try_keyslots(
    header: &Header,
    storage: &dyn Storage,
    passphrase: &[u8],
    keyslots: Vec<u32>,
    meter: &mut CostMeter,
    not_tried: &mut Option<Error>,
) -> Result<Option<Unlocked>, Error> {
    // That no digest recognises a keyslot's key is no reason to tell here.
    let candidates = candidates_of(header, keyslots, &mut None);
    with_clean_stack(|| try_candidates(candidates, storage, passphrase, meter, not_tried))
}

fn candidates_of(header: &Header, ids: Vec<u32>, in_the_way: &mut Option<Error>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for id in ids {
        let digest = header.metadata().digest_of_keyslot(id);
        if let (Some(keyslot), Some((digest_id, digest))) = (luks2_keyslot(header, id), digest) {
            candidates.push(Candidate {
                id,
                keyslot: keyslot.clone(),
                digest_id,
                digest: digest.clone(),
            });
        } else {
            // No digest recognises its key, whatever the passphrase.
            in_the_way.get_or_insert(Error::WrongKey);
        }
    }
    candidates
}

/// The first keyslot or digest of the data's key that is unusable: it cannot be tried, and the secret may
/// be right for it.
fn defect_in_the_way(header: &Header) -> Option<Error> {
    let metadata = header.metadata();
    let digests = metadata.unusable_digests().values();
    let digest = digests
        .filter(|digest| !digest.segments.is_empty())
        .map(|digest| digest.defect.clone());
    let is_bound = |id: &u32| {
        metadata
            .digest_links()
            .any(|digest| digest.keyslots.contains(id) && !digest.segments.is_empty())
    };
    let keyslots = metadata.keyslots().iter().filter(|(id, _)| is_bound(id));
    let keyslot = keyslots.filter_map(|(_, keyslot)| match keyslot {
        Keyslot::Unusable(unusable) => Some(unusable.defect.clone()),
        _ => None,
    });
    digest.chain(keyslot).next().map(Error::from)
}

/// The numbers of the keyslots to try, in order.
pub(crate) fn keyslots_to_try(header: &Header, options: &UnlockOptions) -> Result<Vec<u32>, Error> {
    if let Some(id) = options.keyslot {
        return match header.metadata().keyslots().get(&id) {
            Some(Keyslot::Luks2(_)) => match unusable_digest_of(header, id) {
                Some(defect) => Err(defect),
                None => Ok(vec![id]),
            },
            Some(Keyslot::Unusable(unusable)) => Err(unusable.defect.clone().into()),
            Some(_) => Err(Error::refused(format!("keyslot {id} holds no key"))),
            None => Err(Error::refused(format!("keyslot {id} is not in use"))),
        };
    }
    let metadata = header.metadata();
    let mut candidates: Vec<u32> = Vec::new();
    for &segment in metadata.segments().keys() {
        let of_segment = metadata.keyslots_by_priority(segment);
        let ids = of_segment.into_iter().map(|(id, _)| id);
        candidates.extend(
            ids.filter(|id| !candidates.contains(id))
                .collect::<Vec<_>>(),
        );
    }
    if options.allow_unbound {
        let is_unbound = |id: &u32| {
            luks2_keyslot(header, *id).is_some_and(|keyslot| keyslot.priority != Priority::Ignore)
                && metadata
                    .digest_of_keyslot(*id)
                    .is_some_and(|(_, digest)| digest.segments.is_empty())
        };
        candidates.extend(metadata.keyslots().keys().copied().filter(is_unbound));
    }
    candidates.retain(|id| options.except != Some(*id));
    Ok(candidates)
}

/// Why the digest of a keyslot recognises nothing, if that is so.
fn unusable_digest_of(header: &Header, keyslot: u32) -> Option<Error> {
    let mut digests = header.metadata().unusable_digests().values();
    let digest = digests.find(|digest| digest.keyslots.contains(&keyslot))?;
    Some(digest.defect.clone().into())
}

impl Candidate {
    /// `None` when the passphrase is not this keyslot's.
    fn try_passphrase(
        &self,
        storage: &dyn Storage,
        passphrase: &[u8],
        meter: &mut CostMeter,
    ) -> Result<Option<Unlocked>, Error> {
        let Self {
            id,
            keyslot,
            digest_id,
            digest,
        } = self;
        tracing::debug!(
            keyslot = id,
            digest = digest_id,
            kdf = keyslot.kdf.kind(),
            cipher = ?keyslot.area.encryption,
            "trying a keyslot"
        );
        let too_costly = |error: lucarne_keyslot::Error| Error::from(error).of_keyslot(*id);
        meter.check_split_key(keyslot).map_err(too_costly)?;
        meter.spend_kdf(&keyslot.kdf).map_err(too_costly)?;
        meter.spend_digest(digest).map_err(too_costly)?;
        let area = read_area(storage, *id, keyslot)?;
        let candidate = lucarne_keyslot::open_keyslot(keyslot, &area, passphrase)?;
        let is_key = lucarne_keyslot::verify_digest(digest, &candidate)?;
        Ok(is_key.then_some(Unlocked {
            volume_key: candidate,
            keyslot: Some(*id),
            digest: *digest_id,
        }))
    }
}

/// The key material, as much of the area as the split key takes; that was checked against the limits.
fn read_area(storage: &dyn Storage, id: u32, keyslot: &Luks2Keyslot) -> Result<Vec<u8>, Error> {
    let area = &keyslot.area;
    let len = storage.len().map_err(measuring)?;
    if area
        .offset
        .checked_add(area.size)
        .is_none_or(|end| end > len)
    {
        return Err(Error::device(format!(
            "keyslot {id}'s area {:#x}+{:#x} reaches past the device's end at {len} bytes: the image is truncated",
            area.offset, area.size
        )));
    }
    // Whole units of the area's encryption.
    let split_key_len = lucarne_keyslot::split_key_bytes(keyslot);
    let material_len = split_key_len
        .checked_next_multiple_of(512)
        .unwrap_or(u64::MAX)
        .min(area.size);
    let mut bytes = vec![0; usize::try_from(material_len).unwrap_or(usize::MAX)];
    storage
        .read_at(&mut bytes, area.offset)
        .map_err(reading(area.offset))?;
    Ok(bytes)
}
