//! A keyslot (specification 2.1, figure 2).

use std::ops::Range;

use super::raw::{ACTIVE, INACTIVE, RawKeyslot, SALT_LEN};
use crate::Error;
use crate::error::CorruptKind;

/// A keyslot: its place, which it has for good, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyslot {
    /// The bytes of its key material, counted from the start of the header device; both ends are multiples
    /// of 512.
    pub area: Range<u64>,
    /// What it holds.
    pub state: KeyslotState,
}

/// What a keyslot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyslotState {
    /// The volume key, under a passphrase.
    Active {
        /// PBKDF2's iterations with the header's hash; not 0.
        iterations: u32,
        /// PBKDF2's salt.
        salt: [u8; SALT_LEN],
    },
    /// Nothing.
    Inactive,
    /// Something that nothing can open: it stays as it is, and only killing it makes it free.
    Unusable {
        /// What is wrong: the field, its value and the limit.
        defect: Error,
        /// Whether it says of itself that it is active. Who tries the keyslots in their order ends there, as
        /// cryptsetup does; one in no known state is passed over.
        is_active: bool,
    },
}

impl Keyslot {
    /// After the header's checks.
    pub(super) fn parse(id: u32, raw: &RawKeyslot, area: Range<u64>) -> Self {
        let state = match (raw.active.get(), raw.iterations.get()) {
            (ACTIVE, 0) => KeyslotState::Unusable {
                defect: CorruptKind::TooSmall {
                    path: format!("keyslot {id} iterations"),
                    value: 0,
                    limit: 1,
                }
                .into(),
                is_active: true,
            },
            (ACTIVE, iterations) => KeyslotState::Active {
                iterations,
                salt: raw.salt,
            },
            (INACTIVE, _) => KeyslotState::Inactive,
            (other, _) => KeyslotState::Unusable {
                defect: CorruptKind::Value {
                    path: format!("keyslot {id} active"),
                    value: format!("{other:#x}"),
                    expected: "0xac71f3 or 0xdead",
                }
                .into(),
                is_active: false,
            },
        };
        Self { area, state }
    }
}
