//! Re-encryption in place, by LUKS2's own metadata: what we begin cryptsetup can finish, and the reverse.
//!
//! | file | what |
//! |---|---|
//! | `begin` | the metadata before the first byte is touched |
//! | `keys` | both keys, and whether they vouch for the metadata |
//! | `plan` | where old and new bytes lie, and which segments say so |
//! | `expected` | segments that are unlike those of any step, by name |
//! | `side` | the data's cipher before, or after |
//! | `protection` | how a zone's old bytes survive a crash |
//! | `checksums` | old, new and torn blocks told apart |
//! | `zone` | the bytes: read, hashed, turned, written |
//! | `commit` | the header's way, and why a crash leaves nothing untrue |
//! | `run` | zone by zone, recovery, the end |
//! | `run/recovery` | the interrupted zone alone; what is left of the old key |
//! | `reading` | the plaintext of a half-done volume, with nothing written |

mod begin;
mod checksums;
mod commit;
mod expected;
pub(crate) mod keys;
mod plan;
mod protection;
pub(crate) mod reading;
mod run;
mod side;
mod zone;

pub use begin::{DecryptedTo, ReencryptOptions, ReencryptResilience, UnprotectedZone};
pub use run::Reencryption;
