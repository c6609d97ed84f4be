//! Short reads that have come together and are answered together: of a read from the page cache the system calls and
//! the change of threads are the greater part.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::buffers::SMALL_LEN_BYTES;
use super::request::{Action, Request};
use super::session::Session;
use super::stream::Incoming;

/// At most so many together.
const BATCH_MAX: usize = 8;
/// A read that takes longer has waited for a disk, which does better with many reads side by side.
const PROMPT: Duration = Duration::from_micros(30);

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShortRead {
    pub(super) request: Request,
    pub(super) offset: u64,
    pub(super) len: usize,
}

impl ShortRead {
    /// Of requests that are one.
    pub(super) fn new(request: Request, action: Action) -> Option<Self> {
        let Action::Read { offset, len, .. } = action else {
            return None;
        };
        let len = len as usize;
        (len <= SMALL_LEN_BYTES).then_some(Self {
            request,
            offset,
            len,
        })
    }
}

/// How many are taken together on one connection: one at first, more while the storage answers promptly.
#[derive(Debug)]
pub(super) struct BatchLen(AtomicUsize);

impl BatchLen {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(1))
    }

    /// `first` and those behind it that have come already, as far as they fit a thread's small buffer.
    pub(super) fn take(
        &self,
        first: ShortRead,
        incoming: &mut Incoming<'_>,
        session: &Session,
    ) -> Vec<ShortRead> {
        let max = self.0.load(Ordering::Relaxed);
        let mut reads = Vec::with_capacity(max);
        reads.push(first);
        let mut left = SMALL_LEN_BYTES - first.len;
        while reads.len() < max {
            let header_len = Request::header_len(session.kind);
            // What is anything else is dealt with by whoever reads next.
            let next = incoming.peek(header_len).and_then(|header| {
                let request = Request::parse(header, session.kind).ok()?;
                ShortRead::new(request, request.action(session))
            });
            match next {
                Some(read) if read.len <= left => {
                    incoming.skip(header_len);
                    left -= read.len;
                    reads.push(read);
                }
                _ => break,
            }
        }
        reads
    }

    /// `count` reads took so long.
    pub(super) fn learn(&self, count: usize, took: Duration) {
        let is_prompt = u32::try_from(count).is_ok_and(|count| took <= PROMPT * count);
        let next = match is_prompt {
            true => (2 * self.0.load(Ordering::Relaxed)).min(BATCH_MAX),
            false => 1,
        };
        self.0.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_storage_is_asked_side_by_side() {
        let batch = BatchLen::new();
        for _ in 0..9 {
            batch.learn(1, Duration::from_micros(2));
        }
        assert_eq!(batch.0.load(Ordering::Relaxed), BATCH_MAX);
        batch.learn(8, Duration::from_micros(200));
        assert_eq!(batch.0.load(Ordering::Relaxed), BATCH_MAX);
        batch.learn(8, Duration::from_millis(1));
        assert_eq!(batch.0.load(Ordering::Relaxed), 1);
    }
}
