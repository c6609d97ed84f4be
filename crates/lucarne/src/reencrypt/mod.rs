//! Re-encryption in place, by LUKS2's own metadata: what we begin cryptsetup can finish, and the reverse.

pub(crate) mod keys;
pub(crate) mod reading;
