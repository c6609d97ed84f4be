//! What secrets leave on the stack.

/// More than the frames take in which keys are derived, expanded and compared.
const SCRUBBED_LEN_BYTES: usize = 64 << 10;

/// Does `work`, and overwrites the part of the stack that it used.
///
/// Libraries keep copies of keys in their frames (HMAC pads a key in one, a key schedule is made in one before
/// it moves), which stay when the frames are gone, until something else happens to lie there.
///
/// ```
/// let sum = lucarne_secret::with_clean_stack(|| 1 + 1);
/// assert_eq!(sum, 2);
/// ```
pub fn with_clean_stack<T>(work: impl FnOnce() -> T) -> T {
    let done = in_a_frame_of_its_own(work);
    scrub();
    done
}

/// Not inlined: what it calls lies below the caller's frame, where [`scrub`] reaches.
#[inline(never)]
fn in_a_frame_of_its_own<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn scrub() {
    let mut frame = [0_u8; SCRUBBED_LEN_BYTES];
    // As if it were looked at: else nothing would be written.
    std::hint::black_box(&mut frame);
}
