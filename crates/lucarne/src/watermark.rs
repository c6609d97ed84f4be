//! How far a long work is complete, while its pieces are written in any order.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bulk::pipeline::Piece;

/// Up to where everything is written.
#[derive(Debug)]
pub(crate) struct Watermark(Mutex<State>);

#[derive(Debug)]
struct State {
    /// End of the piece that was handed out last.
    handed_out: u64,
    /// Where the pieces begin that are handed out and not written yet.
    missing: BTreeSet<u64>,
}

impl State {
    fn complete(&self) -> u64 {
        self.missing.first().copied().unwrap_or(self.handed_out)
    }
}

impl Watermark {
    pub(crate) fn starting_at(offset: u64) -> Self {
        Self(Mutex::new(State {
            handed_out: offset,
            missing: BTreeSet::new(),
        }))
    }

    /// Pieces are handed out from front to back; what lies between two of them needs no writing.
    pub(crate) fn hand_out(&self, piece: Piece) {
        let mut state = self.lock();
        state.missing.insert(piece.offset);
        state.handed_out = piece.offset + piece.len as u64;
    }

    /// Gives what [`Self::complete`] then is.
    pub(crate) fn written(&self, piece: Piece) -> u64 {
        let mut state = self.lock();
        state.missing.remove(&piece.offset);
        state.complete()
    }

    /// All before this byte is written.
    pub(crate) fn complete(&self) -> u64 {
        self.lock().complete()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_holds_it_back() {
        let piece = |offset| Piece { offset, len: 10 };
        let watermark = Watermark::starting_at(100);
        assert_eq!(watermark.complete(), 100);
        for offset in [100, 110, 140] {
            watermark.hand_out(piece(offset));
        }
        assert_eq!(watermark.written(piece(110)), 100);
        assert_eq!(watermark.written(piece(100)), 140);
        assert_eq!(watermark.complete(), 140);
        assert_eq!(watermark.written(piece(140)), 150);
    }
}
