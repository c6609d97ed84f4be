//! [`SecretBytes`].

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::pages::Pages;

/// A fixed-size buffer of secret bytes.
///
/// It is wiped on drop, locked in memory if the system allows, left out of core dumps on Linux,
/// and never shown by `Debug`. It can shrink but not grow, because growing would leave copies.
///
/// ```
/// use lucarne_secret::SecretBytes;
///
/// let volume_key = SecretBytes::random(64)?;
/// assert_eq!(volume_key.len(), 64);
/// assert_eq!(format!("{volume_key:?}"), "SecretBytes([redacted])");
///
/// let passphrase = SecretBytes::from_slice(b"correct horse");
/// assert!(passphrase.ct_eq(b"correct horse"));
/// # Ok::<(), getrandom::Error>(())
/// ```
pub struct SecretBytes {
    pages: Pages,
    /// At most the length of `pages`; the bytes past it are zero.
    len: usize,
}

impl SecretBytes {
    /// `len` bytes, all zero.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self {
            pages: Pages::zeroed(len),
            len,
        }
    }

    /// A copy of `bytes`; wiping the original stays the caller's task.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut secret = Self::zeroed(bytes.len());
        secret.copy_from_slice(bytes);
        secret
    }

    /// Takes the bytes over, and wipes where they were.
    #[must_use]
    pub fn from_vec(mut bytes: Vec<u8>) -> Self {
        let secret = Self::from_slice(&bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        secret
    }

    /// `len` bytes from the operating system's random number generator.
    ///
    /// # Errors
    /// The generator's own error.
    pub fn random(len: usize) -> Result<Self, getrandom::Error> {
        let mut secret = Self::zeroed(len);
        getrandom::fill(&mut secret)?;
        Ok(secret)
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.pages.as_slice()[..self.len]
    }

    /// The bytes, to be written in place.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_slice()[..self.len]
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Wipes and drops all bytes from `len` on; does nothing if there are no more than that.
    pub fn truncate(&mut self, len: usize) {
        if let Some(tail) = self.as_mut_slice().get_mut(len..) {
            tail.zeroize();
            self.len = len;
        }
    }

    /// Whether both hold the same bytes, in a time that depends on the lengths alone.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.as_slice().ct_eq(other).into()
    }

    /// Whether the system agreed to keep the bytes out of swap.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.pages.is_locked()
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl AsRef<[u8]> for SecretBytes {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the length: a passphrase's length is worth hiding.
        f.write_str("SecretBytes([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::SecretBytes;

    #[test]
    fn debug_shows_nothing() {
        let secret = SecretBytes::from_slice(b"hunter2");
        assert_eq!(format!("{secret:?}"), "SecretBytes([redacted])");
        assert_eq!(format!("{secret:#?}"), "SecretBytes([redacted])");
    }

    #[test]
    fn truncate_wipes_what_it_cuts_off() {
        let mut secret = SecretBytes::from_slice(b"0123456789");
        secret.truncate(20);
        assert_eq!(secret.len(), 10);
        secret.truncate(4);
        assert_eq!(secret.as_slice(), b"0123");
        assert_eq!(secret.pages.as_slice(), b"0123\0\0\0\0\0\0");
        secret.truncate(0);
        assert!(secret.is_empty());
    }

    #[test]
    fn comparison_sees_contents_and_length() {
        let secret = SecretBytes::from_slice(b"abc");
        assert!(secret.ct_eq(b"abc"));
        assert!(!secret.ct_eq(b"abd"));
        assert!(!secret.ct_eq(b"ab"));
        assert!(!secret.ct_eq(b"abc\0"));
        assert!(SecretBytes::zeroed(0).ct_eq(b""));
    }

    #[test]
    fn random_bytes_differ() {
        let first = SecretBytes::random(32).unwrap();
        let second = SecretBytes::random(32).unwrap();
        assert!(!first.ct_eq(&second));
    }

    #[test]
    fn it_crosses_threads() {
        let secret = SecretBytes::from_slice(b"key");
        let back = std::thread::spawn(move || secret).join().unwrap();
        assert_eq!(&*back, b"key");
    }
}
