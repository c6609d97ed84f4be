//! Which volume it is.

use lucarne_format::luks1;

use crate::policy::to_hex;
use crate::{HeaderRef, Unlocked};

/// Which volume was opened, and in which state of its header: what tells it from every other, and from
/// itself before a change of its keys.
///
/// ```
/// # use lucarne::{FormatOptions, MemoryStorage, Secret, Volume};
/// # let kdf = lucarne::KdfRequest { kind: lucarne::KdfKind::Pbkdf2, iterations: Some(1000), ..Default::default() };
/// # let options = FormatOptions { kdf, keyslots_size: Some(512 << 10), ..FormatOptions::default() };
/// # let image = MemoryStorage::with_len(2 << 20);
/// let formatted = lucarne::format(&image, None, b"an example", &options)?;
/// let volume = Volume::open(image, Secret::Passphrase(b"an example"))?;
/// assert_eq!(volume.identity().uuid, formatted.uuid);
/// assert_eq!(volume.identity().seqid, Some(1));
/// # Ok::<(), lucarne::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeIdentity {
    /// The UUID as text.
    pub uuid: String,
    /// How often the header was written; LUKS1 does not count.
    pub seqid: Option<u64>,
    /// The digest that recognised the volume key, in hexadecimal. It stands in the header: nothing secret.
    pub volume_key_digest: String,
}

impl VolumeIdentity {
    pub(super) fn of(header: HeaderRef<'_>, unlocked: &Unlocked) -> Self {
        let (seqid, digest) = match header {
            HeaderRef::Luks1(header) => (None, header.digest().map(luks1_digest)),
            HeaderRef::Luks2(header) => {
                let digest = header.metadata().digests().get(&unlocked.digest);
                let digest = digest.map(|digest| digest.digest.clone());
                (Some(header.seqid()), Ok(digest.unwrap_or_default()))
            }
        };
        Self {
            uuid: header.uuid().to_owned(),
            seqid,
            // It has just recognised the key, so it is there.
            volume_key_digest: to_hex(&digest.unwrap_or_default()),
        }
    }
}

fn luks1_digest(digest: &luks1::VolumeKeyDigest) -> Vec<u8> {
    digest.digest.to_vec()
}
