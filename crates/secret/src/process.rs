//! What protects the secrets of a whole process.

use std::io;

/// Keeps this process out of core dumps and closes it to `ptrace` by others of the same user.
///
/// Linux: `prctl(PR_SET_DUMPABLE, 0)`. Elsewhere it does nothing and succeeds.
///
/// # Errors
/// What the kernel answers; no cause is known on Linux.
pub fn make_process_undumpable() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
