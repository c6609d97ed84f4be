//! SIGINT and SIGTERM: the first asks for a stop, the second kills.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on a signal no longer ends the process by itself.
pub(crate) fn install() -> io::Result<()> {
    let requested = REQUESTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in this order, so the first signal finds the flag unset.
        flag::register_conditional_default(signal, Arc::clone(requested))?;
        flag::register(signal, Arc::clone(requested))?;
    }
    Ok(())
}

/// Whether a signal has asked for a stop.
pub(crate) fn stop_requested() -> bool {
    REQUESTED
        .get()
        .is_some_and(|requested| requested.load(Ordering::Relaxed))
}
