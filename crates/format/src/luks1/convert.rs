//! A LUKS1 header's parts as LUKS2 has them: LUKS1's keyslots are a special case of LUKS2's, which is how
//! cryptsetup converts the one to the other.

use super::raw::STRIPES;
use super::{Header, KeyslotState};
use crate::Error;
use crate::error::RefusedKind;
use crate::luks2::{AntiForensic, Area, Digest, Kdf, Luks2Keyslot, Priority};

impl Header {
    /// An active keyslot as one of LUKS2, its area where it is: opened alike, and at the same cost.
    ///
    /// # Errors
    ///
    /// `Refused` for a keyslot that is inactive or not there, and what is wrong with one that is
    /// [unusable](KeyslotState::Unusable).
    ///
    /// ```
    /// # use lucarne_format::luks1::{Header, NewHeader, PayloadOffset, VolumeKeyDigest};
    /// # let header = Header::new(&NewHeader {
    /// #     encryption: "aes-xts-plain64".into(), hash: "sha256".into(), key_bytes: 64,
    /// #     digest: VolumeKeyDigest { digest: [9; 20], salt: [7; 32], iterations: 1000 },
    /// #     uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
    /// #     payload_offset: PayloadOffset::Detached, key_material_offsets: None })?;
    /// let header = header.with_keyslot(0, 2000, [1; 32])?;
    /// let keyslot = header.to_luks2_keyslot(0)?;
    /// assert_eq!((keyslot.area.offset, keyslot.area.key_size), (4096, 64));
    /// assert!(header.to_luks2_keyslot(1).is_err());
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    pub fn to_luks2_keyslot(&self, id: u32) -> Result<Luks2Keyslot, Error> {
        let absent = RefusedKind::Absent {
            kind: "keyslot",
            id,
        };
        let Some(keyslot) = self.keyslot(id) else {
            return Err(absent.into());
        };
        let (iterations, salt) = match &keyslot.state {
            KeyslotState::Active { iterations, salt } => (*iterations, salt.to_vec()),
            KeyslotState::Inactive => return Err(absent.into()),
            KeyslotState::Unusable { defect, .. } => return Err(defect.clone()),
        };
        Ok(Luks2Keyslot {
            key_size: self.key_bytes(),
            priority: Priority::Normal,
            af: AntiForensic {
                stripes: STRIPES,
                hash: self.hash().to_owned(),
            },
            kdf: Kdf::Pbkdf2 {
                hash: self.hash().to_owned(),
                iterations,
                salt,
            },
            area: Area {
                offset: keyslot.area.start,
                size: keyslot.area.end.saturating_sub(keyslot.area.start),
                encryption: self.encryption(),
                key_size: self.key_bytes(),
            },
        })
    }

    /// The digest as one of LUKS2: of all active keyslots and of segment 0, with its 20 bytes.
    ///
    /// # Errors
    ///
    /// Why it recognises no key.
    pub fn to_luks2_digest(&self) -> Result<Digest, Error> {
        let digest = self.digest().map_err(Clone::clone)?;
        let is_active = |state: &KeyslotState| matches!(state, KeyslotState::Active { .. });
        Ok(Digest {
            keyslots: (0..)
                .zip(self.keyslots())
                .filter(|(_, keyslot)| is_active(&keyslot.state))
                .map(|(id, _)| id)
                .collect(),
            segments: [0].into(),
            hash: self.hash().to_owned(),
            iterations: digest.iterations,
            salt: digest.salt.to_vec(),
            digest: digest.digest.to_vec(),
        })
    }
}
