//! A wiped heap buffer, for systems without `mmap`.

use zeroize::Zeroizing;

/// A zeroed buffer that is wiped on drop.
pub(crate) struct Pages(Zeroizing<Box<[u8]>>);

impl Pages {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(Zeroizing::new(vec![0; len].into_boxed_slice()))
    }

    pub(crate) fn is_locked(&self) -> bool {
        false
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
