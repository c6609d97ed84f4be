//! [`Control`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Error;

/// Steers a run from outside: shows how far it is and stops it.
///
/// ```
/// let control = lucarne_overhead::Control::default();
/// control.interrupt();
/// assert!(control.is_interrupted());
/// ```
#[derive(Debug, Default)]
pub struct Control {
    interrupted: AtomicBool,
    done_ms: AtomicU64,
    total_ms: AtomicU64,
    step: Mutex<String>,
}

impl Control {
    /// Asks the run to stop soon; it then fails with [`Error::Interrupted`].
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::interrupt`] was called.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// How much of the time that the run was thought to take belongs to steps that are done, and how much that is
    /// in all.
    pub fn progress(&self) -> (Duration, Duration) {
        let load = |ms: &AtomicU64| Duration::from_millis(ms.load(Ordering::Relaxed));
        (load(&self.done_ms), load(&self.total_ms))
    }

    /// What is being done.
    pub fn step(&self) -> String {
        self.step
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.is_interrupted() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    pub(crate) fn set_total(&self, total: Duration) {
        self.total_ms.store(ms(total), Ordering::Relaxed);
    }

    pub(crate) fn begin(&self, step: impl Into<String>) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step.into();
    }

    pub(crate) fn end(&self, thought: Duration) {
        self.done_ms.fetch_add(ms(thought), Ordering::Relaxed);
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
