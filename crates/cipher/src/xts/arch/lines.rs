//! Past the caches in whole vectors, wherever batches lie.
//!
//! Stores past the caches are gathered into lines, and must lie at multiples of their length. Of batches that do not lie
//! so, what is stored is the end of one vector with the beginning of the next:
//!
//! ```text
//! vectors           |   A   |   B   |   C   |
//! places of stores  …   |  AB   |  BC   |  C…
//! ```
//!
//! Only the beginning of the first vector and the end of the last are stored as usual. That matters: a line that is stored
//! in both ways is read first, and waited for; at the borders of all batches it made the whole several times slower.

use super::{Batch, Isa, STREAMS};

/// What vectors are shifted by, all widths alike.
pub(in crate::xts) const QWORD_LEN_BYTES: usize = 8;

/// What a kernel needs for it.
pub(in crate::xts) trait Join: Isa {
    /// How two vectors are joined, made once for many.
    type Places: Copy;

    /// For vectors that begin `into` quad words after a multiple of their length: at least one, and less than a vector has.
    fn places(self, into: usize) -> Self::Places;
    /// The last quad words of `before`, and then the first of `vector`.
    fn joined(
        self,
        before: Self::Vector,
        vector: Self::Vector,
        places: Self::Places,
    ) -> Self::Vector;
    /// Stores a vector past the caches.
    ///
    /// # Safety
    /// A vector's bytes can be written at `place`, a multiple of its length; [`Isa::fence`] follows.
    unsafe fn stream(self, place: *mut Self::Vector, vector: Self::Vector);
}

/// How batches lie, and what waits for its place.
pub(in crate::xts) enum Lines<I: Join> {
    /// Vectors at multiples of their length.
    Whole,
    /// So many quad words after them, and the vector before.
    Between(usize, I::Places, I::Vector),
    /// Elsewhere: all is stored as usual.
    Odd,
}

/// Before the first of some batches.
#[inline(always)]
pub(super) fn lines<I: Join>(isa: I, batches: &mut [Batch<I>]) -> Lines<I> {
    let into_bytes = batches.as_ptr().addr() % size_of::<I::Vector>();
    let into = into_bytes / QWORD_LEN_BYTES;
    match into_bytes % QWORD_LEN_BYTES {
        0 if into == 0 => Lines::Whole,
        0 => Lines::Between(into, isa.places(into), isa.splat(&Default::default())),
        _ => Lines::Odd,
    }
}

/// [`Isa::store_past_caches`].
#[inline(always)]
pub(super) fn store<I: Join>(
    isa: I,
    batches: &mut [Batch<I>],
    at: usize,
    lines: &mut Lines<I>,
    vectors: [I::Vector; STREAMS],
) {
    let (is_first, is_last) = (at == 0, at + 1 == batches.len());
    assert!(at < batches.len());
    // SAFETY: one of the batches.
    let places = unsafe { batches.as_mut_ptr().add(at) }.cast::<I::Vector>();
    match lines {
        Lines::Odd => {
            unrolled!(STREAM in [0 1 2 3 4 5 6 7] {
                isa.store(&mut batches[at], STREAM, vectors[STREAM]);
            });
        }
        Lines::Whole => {
            unrolled!(STREAM in [0 1 2 3 4 5 6 7] {
                // SAFETY: a batch is as many vectors, each at a multiple of its length, as the first is; whoever calls this
                // calls `fence` afterwards.
                unsafe { isa.stream(places.add(STREAM), vectors[STREAM]) }
            });
        }
        Lines::Between(into, how, before) => {
            let into_bytes = *into * QWORD_LEN_BYTES;
            unrolled!(STREAM in [0 1 2 3 4 5 6 7] {
                let joined = isa.joined(*before, vectors[STREAM], *how);
                *before = vectors[STREAM];
                if STREAM != 0 || !is_first {
                    // SAFETY: less than a vector before its place, which is the batches' own, since another vector comes before;
                    // at a multiple of a vector's length; `fence` is called as before.
                    unsafe { isa.stream(places.add(STREAM).byte_sub(into_bytes), joined) }
                }
            });
            let vector_len = size_of::<I::Vector>();
            let mut edge = Batch::<I>::default();
            if is_first {
                isa.store(&mut edge, 0, vectors[0]);
                let len = vector_len - into_bytes;
                batches[at][..len].copy_from_slice(&edge[..len]);
            }
            if is_last {
                isa.store(&mut edge, STREAMS - 1, vectors[STREAMS - 1]);
                let from = edge.len() - into_bytes;
                batches[at][from..].copy_from_slice(&edge[from..]);
            }
        }
    }
}

/// The methods of [`Isa`] for it.
macro_rules! past_caches {
    () => {
        const PAST_CACHES_ALIGNMENT: Option<usize> =
            Some($crate::xts::arch::lines::QWORD_LEN_BYTES);
        type Lines = $crate::xts::arch::lines::Lines<Self>;

        #[inline(always)]
        fn lines(self, batches: &mut [Batch<Self>]) -> Self::Lines {
            $crate::xts::arch::lines::lines(self, batches)
        }

        #[inline(always)]
        fn store_past_caches(
            self,
            batches: &mut [Batch<Self>],
            at: usize,
            lines: &mut Self::Lines,
            vectors: [Self::Vector; STREAMS],
        ) {
            $crate::xts::arch::lines::store(self, batches, at, lines, vectors);
        }
    };
}
pub(super) use past_caches;
