//! What a re-encryption's metadata say before the first byte is touched.
//!
//! | file | what |
//! |---|---|
//! | here | another key, cipher or sector size |
//! | `encrypt` | plaintext before |
//! | `decrypt` | plaintext after |
//! | `head` | the plaintext that a header displaces |
//! | `outline` | keyslot, segments, requirement and digest |

use std::time::Duration;

use lucarne_cipher::{CipherSpec, DataUnit};
use lucarne_format::luks2::{
    Area, CryptSegment, Draft, Header, Luks2Keyslot, ReencryptDirection, ReencryptMode, Segment,
    Selected,
};
use lucarne_keyslot::{CostLimits, Hash, KdfRequest, SealRequest};
use lucarne_secret::{SecretBytes, with_clean_stack};
use lucarne_storage::Storage;

mod decrypt;
mod encrypt;
pub(super) mod head;
mod outline;

pub use self::decrypt::DecryptedTo;
use self::outline::Outline;
use super::commit::commit;
use super::keys::Keys;
use super::run::{Reencryption, check_header, lock};
use crate::error::{flushing, measuring};
use crate::header_io::random_failed;
use crate::{Error, HeaderEditor, HeaderRef, Secret, UnlockOptions, Unlocked, read_header, unlock};

/// What the data will be like. The defaults leave all as it is but the key.
///
/// ```
/// use lucarne::{ReencryptOptions, SectorSize};
/// let options = ReencryptOptions { sector_size: Some(SectorSize::B4096), ..Default::default() };
/// assert!(!options.keep_key);
/// ```
#[derive(Debug, Clone)]
pub struct ReencryptOptions {
    /// The new cipher; `None`: the same.
    pub cipher: Option<CipherSpec>,
    /// Bytes of the new key; `None`: as many as before.
    pub key_len: Option<usize>,
    /// The new sector size; `None`: the same.
    pub sector_size: Option<DataUnit>,
    /// The volume key stays, and only cipher or sector size change. All keyslots stay then.
    pub keep_key: bool,
    /// Which keyslots the passphrases belong to: the first is tried on the first of them only, whatever its priority, and
    /// so on. One that there is none for is tried on all.
    pub keyslots: Vec<u32>,
    /// The key derivation of the new keyslots.
    pub kdf: KdfRequest,
    /// The cipher of the new keyslots' areas and the length of its key in bytes; `None`: the data's.
    pub area_cipher: Option<(CipherSpec, usize)>,
    /// The hash of PBKDF2, the anti-forensic splitter and the digests.
    pub hash: Hash,
    /// How many bytes may be in both states at once; `None`: 64 MiB. What the keyslots area, the sectors and a data
    /// shift allow comes before it, and 1 GiB. So much memory is taken.
    pub hot_zone: Option<u64>,
    /// How a hot zone survives a crash.
    pub resilience: ReencryptResilience,
    /// What the bytes count as in which one without resilience was interrupted; `None`: it does not go on then.
    pub unprotected_zone: Option<UnprotectedZone>,
    /// What the header's keyslots may cost.
    pub limits: CostLimits,
    /// How long another process that changes the header is waited for; 30 seconds by default. `None`: no lock is
    /// taken, and the caller sees to it that nobody else re-encrypts the volume.
    pub patience: Option<Duration>,
}

/// How the bytes that are being re-encrypted survive a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReencryptResilience {
    /// Not at all: after a crash in a zone it cannot be finished.
    None,
    /// By a hash of each block of old bytes, which tells old from new.
    Checksum(Hash),
    /// By a copy of the old bytes.
    Journal,
}

/// What the bytes count as in which a re-encryption without resilience was interrupted. Those of them that are not are
/// lost; nothing tells which they are.
///
/// ```
/// use lucarne::{ReencryptOptions, UnprotectedZone};
/// let options = ReencryptOptions { unprotected_zone: Some(UnprotectedZone::New), ..Default::default() };
/// assert_eq!(options.unprotected_zone, Some(UnprotectedZone::New));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnprotectedZone {
    /// They are all re-encrypted; what was new already is lost.
    Old,
    /// They stay as they are; what was old still is lost.
    New,
}

impl Default for ReencryptOptions {
    fn default() -> Self {
        Self {
            cipher: None,
            key_len: None,
            sector_size: None,
            keep_key: false,
            keyslots: Vec::new(),
            hot_zone: None,
            area_cipher: None,
            kdf: KdfRequest::default(),
            hash: Hash::Sha256,
            resilience: ReencryptResilience::Checksum(Hash::Sha256),
            unprotected_zone: None,
            limits: CostLimits::default(),
            patience: Some(HeaderEditor::PATIENCE),
        }
    }
}

/// What belongs into the keyslots area, and at which offsets.
type Material = Vec<(u64, Vec<u8>)>;

impl<'s> Reencryption<'s> {
    /// Writes the metadata of a new re-encryption into the header; the data are still as they were. For each of
    /// the passphrases, which all must open a keyslot of the data's key, there is a keyslot for the new key; other
    /// keyslots of the old key are gone when it is finished.
    ///
    /// # Errors
    /// [`Error::Refused`] when the header has requirements, the data have holes
    /// ([`LengthToken::sparse`](crate::LengthToken)) or would lie over the header, there is no room for keyslots and journal, the data
    /// are not whole sectors of the new size, or the options ask for nothing that can be;
    /// [`Error::Luks1`]; [`Error::Unsupported`]; [`Error::WrongKey`] and the others of [`crate::unlock()`];
    /// [`Error::Busy`], [`Error::Io`].
    pub fn begin(
        storage: &'s dyn Storage,
        detached_data: Option<&'s dyn Storage>,
        passphrases: &[&[u8]],
        options: &ReencryptOptions,
    ) -> Result<Self, Error> {
        let selected = read_header(storage)?;
        let uuid = selected.header.uuid();
        let lock = lock(storage, detached_data, uuid, options.patience)?;
        let header = &selected.header;
        if !header.metadata().requirements().is_empty() {
            return Err(Error::refused(
                "the header has requirements: an unfinished re-encryption must be resumed first",
            ));
        }
        check_header(header, detached_data.is_some())?;
        let device_len = detached_data.unwrap_or(storage).len().map_err(measuring)?;
        let old = HeaderRef::Luks2(header).activatable_segment()?;
        let unlocked = unlock_all(header, storage, passphrases, options)?;
        let target = Target::new(&old, &unlocked[0], options, device_len)?;
        let new_key = match options.keep_key {
            true => None,
            false => Some(SecretBytes::random(target.key_len).map_err(random_failed)?),
        };
        let (new_header, material, keys) = with_clean_stack(|| {
            target.header(
                header,
                &old,
                &unlocked,
                passphrases,
                new_key.as_ref(),
                options,
            )
        })?;
        let new = Selected {
            header: new_header,
            repair: Default::default(),
        };
        let begun = Self::of_parts(storage, detached_data, new, keys, options, lock)?;
        begun.check()?;
        commit(
            storage,
            &selected,
            begun.selected(),
            &material,
            options.patience,
        )?;
        storage.flush().map_err(flushing)?;
        Ok(begun)
    }
}

/// The keyslots that these passphrases open, all of the same key.
fn unlock_all(
    header: &Header,
    storage: &dyn Storage,
    passphrases: &[&[u8]],
    options: &ReencryptOptions,
) -> Result<Vec<Unlocked>, Error> {
    let keyslots = options.keyslots.iter().map(|&id| Some(id));
    let unlocked: Vec<Unlocked> = passphrases
        .iter()
        .zip(keyslots.chain(std::iter::repeat(None)))
        .map(|(passphrase, keyslot)| {
            let options = UnlockOptions {
                keyslot,
                limits: options.limits.clone(),
                ..UnlockOptions::default()
            };
            unlock(header, storage, Secret::Passphrase(passphrase), &options)
        })
        .collect::<Result<_, Error>>()?;
    match unlocked.first() {
        None => Err(Error::refused("re-encryption without a passphrase")),
        Some(first) if unlocked.iter().any(|other| other.digest != first.digest) => Err(
            Error::refused("the passphrases open keyslots of different keys"),
        ),
        Some(_) => Ok(unlocked),
    }
}

/// What the data become.
struct Target {
    cipher: CipherSpec,
    key_len: usize,
    sector_size: DataUnit,
    block_len: u64,
    device_len: u64,
}

impl Target {
    fn new(
        old: &CryptSegment,
        key: &Unlocked,
        options: &ReencryptOptions,
        device_len: u64,
    ) -> Result<Self, Error> {
        let cipher = match &options.cipher {
            Some(cipher) => cipher.clone(),
            None => old.encryption.parse()?,
        };
        let key_len = options.key_len.unwrap_or(key.volume_key.len());
        if options.keep_key && key_len != key.volume_key.len() {
            return Err(Error::refused(
                "a key that stays has the length that it has",
            ));
        }
        cipher.check_key_len(key_len)?;
        cipher.check_supported()?;
        let sector_size = match options.sector_size {
            Some(size) => size,
            None => DataUnit::try_from(old.sector_size)?,
        };
        let sector_len = u64::from(sector_size.bytes());
        let room = device_len.saturating_sub(old.offset);
        let len = match old.size {
            lucarne_format::luks2::SegmentSize::Bytes(len) => len,
            lucarne_format::luks2::SegmentSize::Dynamic => room - room % 512,
        };
        if !len.is_multiple_of(sector_len) {
            return Err(Error::refused(format!(
                "the {len} bytes of data are not whole sectors of {sector_len} bytes"
            )));
        }
        Ok(Self {
            cipher,
            key_len,
            sector_size,
            block_len: outline::block_len(
                &[len, old.offset],
                &[sector_size.bytes(), old.sector_size],
            ),
            device_len,
        })
    }

    /// The header that begins it, and the key material of its new keyslots.
    fn header(
        &self,
        header: &Header,
        old: &CryptSegment,
        unlocked: &[Unlocked],
        passphrases: &[&[u8]],
        new_key: Option<&SecretBytes>,
        options: &ReencryptOptions,
    ) -> Result<(Header, Material, Keys), Error> {
        let old_digest = unlocked[0].digest;
        let previous = Segment::Crypt(CryptSegment {
            flags: vec!["backup-previous".to_owned()],
            ..old.clone()
        });
        let last = Segment::Crypt(CryptSegment {
            iv_tweak: 0,
            encryption: self.cipher.to_string(),
            sector_size: self.sector_size.bytes(),
            flags: vec!["backup-final".to_owned()],
            ..old.clone()
        });
        let mut material = Vec::new();
        let mut begun_keys = None;
        let begun = edit(header, |draft| {
            let mut new = None;
            if let Some(key) = new_key {
                let id = outline::free_digest(draft)?;
                let iterations = options.kdf.digest_iterations(options.hash);
                let digest = lucarne_keyslot::create_digest(key, options.hash, iterations)
                    .map_err(Error::from)?;
                draft.insert_digest(id, &digest)?;
                for (passphrase, old) in passphrases.iter().zip(unlocked) {
                    let (keyslot_id, keyslot, bytes) =
                        self.seal(draft, key, passphrase, options)?;
                    material.push((keyslot.area.offset, bytes));
                    draft.assign_keyslot(id, keyslot_id)?;
                    // A token that serves a keyslot serves the one that takes its place, as in cryptsetup.
                    let tokens = old.keyslot.map(|old| tokens_of(header, old));
                    for token in tokens.into_iter().flatten() {
                        draft.assign_token(token, keyslot_id)?;
                    }
                }
                new = Some(Unlocked {
                    volume_key: SecretBytes::from_slice(key),
                    keyslot: None,
                    digest: id,
                });
            }
            let new_digest = new.as_ref().map_or(old_digest, |new| new.digest);
            let keys = Keys::of(Some(copy(&unlocked[0])), new);
            let outline = Outline {
                mode: ReencryptMode::Reencrypt,
                direction: ReencryptDirection::Forward,
                resilience: outline::in_place(options.resilience, self.block_len)?,
                version: 2,
                previous,
                last,
                moved: None,
                old_digest: Some(old_digest),
                new_digest: Some(new_digest),
                device_len: self.device_len,
            };
            outline.write(draft, &keys, options)?;
            begun_keys = Some(keys);
            Ok(())
        })?;
        let keys = begun_keys.ok_or_else(|| Error::refused("the header was not changed"))?;
        Ok((begun, material, keys))
    }

    fn seal(
        &self,
        draft: &mut Draft,
        key: &SecretBytes,
        passphrase: &[u8],
        options: &ReencryptOptions,
    ) -> Result<(u32, Luks2Keyslot, Vec<u8>), Error> {
        let area_room = Area::size_for_key(u32::try_from(key.len()).unwrap_or(u32::MAX));
        let (Some(id), Some(area_offset)) = (draft.free_keyslot_id(), draft.free_area(area_room))
        else {
            return Err(Error::refused(format!(
                "the keyslots area has no room for another {area_room} bytes of key material"
            )));
        };
        let (area_cipher, area_key_len) = match &options.area_cipher {
            Some((cipher, key_len)) => (cipher, *key_len),
            None => (&self.cipher, key.len()),
        };
        let request = SealRequest {
            area_offset,
            area_room,
            area_cipher,
            area_key_len,
            af_hash: options.hash,
            kdf: options.kdf.resolve(options.hash, area_key_len)?,
        };
        let (keyslot, material) = lucarne_keyslot::seal_keyslot(&request, key, passphrase)?;
        draft.insert_keyslot(id, &keyslot)?;
        Ok((id, keyslot, material))
    }
}

/// What may go wrong while a header is being changed.
enum Failure {
    Format(lucarne_format::Error),
    Ours(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<lucarne_format::Error> for Failure {
    fn from(error: lucarne_format::Error) -> Self {
        Self::Format(error)
    }
}

/// [`Header::edit`] for a change that fails for reasons of its own.
fn edit(
    header: &Header,
    change: impl FnOnce(&mut Draft) -> Result<(), Failure>,
) -> Result<Header, Error> {
    let mut reason = None;
    let edited = header.edit(|draft| match change(draft) {
        Ok(()) => Ok(()),
        Err(Failure::Format(error)) => Err(error),
        Err(Failure::Ours(error)) => {
            reason = Some(error);
            Ok(())
        }
    });
    match reason {
        Some(error) => Err(error),
        None => Ok(edited?),
    }
}

fn copy(unlocked: &Unlocked) -> Unlocked {
    Unlocked {
        volume_key: SecretBytes::from_slice(&unlocked.volume_key),
        ..*unlocked
    }
}

fn tokens_of(header: &Header, keyslot: u32) -> impl Iterator<Item = u32> {
    let tokens = header.metadata().tokens().iter();
    tokens
        .filter(move |(_, token)| token.keyslots.contains(&keyslot))
        .map(|(&id, _)| id)
}
