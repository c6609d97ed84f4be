//! Changes: each gives a new header.

use zerocopy::big_endian::U32;

use super::raw::{ACTIVE, INACTIVE, KEYSLOTS, RawHeader, RawKeyslot, SALT_LEN};
use super::{Header, KeyslotState};
use crate::Error;
use crate::error::{CorruptKind, RefusedKind};
use crate::text::uuid_field;

impl Header {
    /// The first keyslot that holds nothing.
    #[must_use]
    pub fn free_keyslot(&self) -> Option<u32> {
        (0..)
            .zip(self.keyslots())
            .find(|(_, keyslot)| keyslot.state == KeyslotState::Inactive)
            .map(|(id, _)| id)
    }

    /// With the volume key in the keyslot `id`, whose key material the caller has written before.
    ///
    /// # Errors
    ///
    /// `Refused`: `id` is 8 or more, the keyslot holds something, or there are no iterations.
    ///
    /// ```
    /// # use lucarne_format::luks1::{Header, KeyslotState, NewHeader, PayloadOffset, VolumeKeyDigest};
    /// # let header = Header::new(&NewHeader {
    /// #     encryption: "aes-xts-plain64".into(), hash: "sha256".into(), key_bytes: 64,
    /// #     digest: VolumeKeyDigest { digest: [9; 20], salt: [7; 32], iterations: 1000 },
    /// #     uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
    /// #     payload_offset: PayloadOffset::Detached, key_material_offsets: None })?;
    /// let header = header.with_keyslot(3, 2000, [1; 32])?;
    /// assert!(matches!(header.keyslots()[3].state, KeyslotState::Active { iterations: 2000, .. }));
    /// assert_eq!(header.free_keyslot(), Some(0));
    /// let header = header.without_keyslot(3)?;
    /// assert_eq!(header.keyslots()[3].state, KeyslotState::Inactive);
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    pub fn with_keyslot(
        &self,
        id: u32,
        iterations: u32,
        salt: [u8; SALT_LEN],
    ) -> Result<Self, Error> {
        if self.state(id)? != &KeyslotState::Inactive {
            let kind = "keyslot";
            return Err(RefusedKind::NotFree { kind, id }.into());
        }
        if iterations == 0 {
            let none = CorruptKind::TooSmall {
                path: format!("keyslot {id} iterations"),
                value: 0,
                limit: 1,
            };
            return Err(RefusedKind::Invalid(none.into()).into());
        }
        self.edit_keyslot(id, |keyslot| {
            keyslot.active = U32::new(ACTIVE);
            keyslot.iterations = U32::new(iterations);
            keyslot.salt = salt;
        })
    }

    /// With the keyslot `id` marked inactive; its salt and iterations stay. Nobody looks at those of an
    /// inactive keyslot, so this is what a header is while a keyslot is being made or removed: the flag
    /// alone, which lies within one 512-byte sector, makes the difference.
    ///
    /// # Errors
    ///
    /// `Refused`: `id` is 8 or more.
    ///
    /// ```
    /// # use lucarne_format::luks1::{Header, KeyslotState, NewHeader, PayloadOffset, VolumeKeyDigest};
    /// # let header = Header::new(&NewHeader {
    /// #     encryption: "aes-xts-plain64".into(), hash: "sha256".into(), key_bytes: 64,
    /// #     digest: VolumeKeyDigest { digest: [9; 20], salt: [7; 32], iterations: 1000 },
    /// #     uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
    /// #     payload_offset: PayloadOffset::Detached, key_material_offsets: None })?;
    /// let active = header.with_keyslot(6, 2000, [1; 32])?;
    /// let staged = active.with_keyslot_marked_inactive(6)?;
    /// assert_eq!(staged.keyslots()[6].state, KeyslotState::Inactive);
    /// // Keyslot 6 lies across byte 512; what follows it is the same.
    /// assert_eq!(staged.encode()[512..], active.encode()[512..]);
    /// # Ok::<(), lucarne_format::Error>(())
    /// ```
    pub fn with_keyslot_marked_inactive(&self, id: u32) -> Result<Self, Error> {
        self.state(id)?;
        self.edit_keyslot(id, |keyslot| keyslot.active = U32::new(INACTIVE))
    }

    /// With nothing in the keyslot `id`, whatever it held; its salt and iterations are wiped. The key
    /// material is for the caller to wipe, once this header is written.
    ///
    /// # Errors
    ///
    /// `Refused`: `id` is 8 or more, or the keyslot holds nothing.
    pub fn without_keyslot(&self, id: u32) -> Result<Self, Error> {
        if self.state(id)? == &KeyslotState::Inactive {
            let kind = "keyslot";
            return Err(RefusedKind::Absent { kind, id }.into());
        }
        self.edit_keyslot(id, RawKeyslot::deactivate)
    }

    /// With another UUID, in lower case.
    ///
    /// # Errors
    ///
    /// `Refused` if it is not of the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    pub fn with_uuid(&self, uuid: &str) -> Result<Self, Error> {
        let uuid = uuid_field(uuid)?;
        Self::from_raw(RawHeader {
            uuid: *uuid.raw(),
            ..self.raw().clone()
        })
    }

    fn state(&self, id: u32) -> Result<&KeyslotState, Error> {
        let state = self.keyslot(id).map(|keyslot| &keyslot.state);
        state.ok_or_else(|| {
            RefusedKind::Id {
                kind: "keyslot",
                id,
                limit: u32::try_from(KEYSLOTS.saturating_sub(1)).unwrap_or(u32::MAX),
            }
            .into()
        })
    }

    fn edit_keyslot(&self, id: u32, change: impl FnOnce(&mut RawKeyslot)) -> Result<Self, Error> {
        let mut raw = self.raw().clone();
        if let Some(keyslot) = raw.keyslot_mut(id) {
            change(keyslot);
        }
        Self::from_raw(raw)
    }
}
