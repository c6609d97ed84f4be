//! Memory for requests: a thread has a small buffer of its own, and the threads of a client share a few large ones.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use lucarne_storage::AlignedBuffer;

/// What a thread has for itself.
pub(super) const SMALL_LEN_BYTES: usize = 64 << 10;
/// A longer read or write is dealt with in pieces of this length.
pub(super) const LARGE_LEN_BYTES: usize = 1 << 20;
/// Large buffers of one client.
const LARGE_MAX: usize = 6;

/// Where a request's bytes are.
pub(super) enum Room<'b> {
    Small(&'b mut AlignedBuffer),
    Large(Option<AlignedBuffer>, &'b LargeBuffers),
}

impl std::ops::Deref for Room<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(buffer) => buffer,
            Self::Large(buffer, _) => buffer.as_deref().unwrap_or_default(),
        }
    }
}

impl std::ops::DerefMut for Room<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small(buffer) => buffer,
            Self::Large(buffer, _) => buffer.as_deref_mut().unwrap_or_default(),
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Self::Large(buffer, owner) = self
            && let Some(buffer) = buffer.take()
        {
            owner.give_back(buffer);
        }
    }
}

/// A few buffers, made when they are first needed.
#[derive(Default)]
pub(super) struct LargeBuffers {
    state: Mutex<(Vec<AlignedBuffer>, usize)>,
    returned: Condvar,
}

impl LargeBuffers {
    /// Waits for one, if all are taken: by threads that will be done with theirs.
    pub(super) fn borrow(&self) -> Option<AlignedBuffer> {
        let mut state = lock(&self.state);
        loop {
            let (free, made) = &mut *state;
            if let Some(buffer) = free.pop() {
                return Some(buffer);
            }
            if *made < LARGE_MAX {
                *made += 1;
                return Some(AlignedBuffer::zeroed(LARGE_LEN_BYTES));
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, buffer: AlignedBuffer) {
        lock(&self.state).0.push(buffer);
        self.returned.notify_one();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
