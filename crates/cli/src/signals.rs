//! SIGINT and SIGTERM.
//!
//! By default they kill, as everywhere. Where something would be left behind (a terminal without echo,
//! a half-made file) a [`Graceful`] guard lives: then the first signal asks for a stop and the second
//! kills.

use std::{
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

struct State {
    /// The next signal kills.
    deadly: Arc<AtomicBool>,
    /// A signal came that did not kill.
    stop_requested: Arc<AtomicBool>,
}

static STATE: LazyLock<io::Result<State>> = LazyLock::new(|| {
    let deadly = Arc::new(AtomicBool::new(true));
    let stop_requested = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The handlers of one signal run in this order.
        flag::register_conditional_default(signal, Arc::clone(&deadly))?;
        flag::register(signal, Arc::clone(&stop_requested))?;
        flag::register(signal, Arc::clone(&deadly))?;
    }
    Ok(State {
        deadly,
        stop_requested,
    })
});

/// While it lives, one signal asks for a stop instead of killing.
#[must_use]
pub(crate) struct Graceful {
    was_deadly: bool,
}

impl Graceful {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let state = STATE
            .as_ref()
            .map_err(|error| anyhow::anyhow!("cannot handle signals: {error}"))?;
        let was_deadly = state.deadly.swap(false, Ordering::SeqCst);
        Ok(Self { was_deadly })
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        if let (Ok(state), true) = (STATE.as_ref(), self.was_deadly) {
            state.deadly.store(true, Ordering::SeqCst);
        }
    }
}

/// Whether a signal has asked for a stop.
pub(crate) fn stop_requested() -> bool {
    STATE
        .as_ref()
        .is_ok_and(|state| state.stop_requested.load(Ordering::SeqCst))
}
