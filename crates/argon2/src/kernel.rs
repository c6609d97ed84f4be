//! Which program computes the blocks.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use crate::arch;

/// A program for the blocks that this CPU can run. All derive the same keys.
///
/// ```
/// use lucarne_argon2::Kernel;
///
/// let names: Vec<_> = Kernel::available().iter().map(Kernel::name).collect();
/// assert_eq!(names.last(), Some(&"portable"));
/// assert_eq!(Kernel::best(), Kernel::available()[0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Vectors of 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512(arch::Avx512),
    /// Vectors of 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2(arch::Avx2),
    /// The `argon2` crate.
    Portable,
}

impl Kernel {
    /// All that this CPU can run, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(arch::Avx512::new().map(Self::Avx512));
            kernels.extend(arch::Avx2::new().map(Self::Avx2));
        }
        kernels.push(Self::Portable);
        kernels
    }

    /// The fastest.
    #[must_use]
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// `avx512`, `avx2` or `portable`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
