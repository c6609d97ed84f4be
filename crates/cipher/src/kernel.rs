//! [`Kernel`].

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

use crate::{CipherError, xts::VectorUnit};

/// The environment variable that names the kernel to use, whatever this CPU would do best with. A name
/// that is not known or a kernel that is not available counts for nothing, but
/// [`Kernel::from_environment`] tells.
pub const KERNEL_VARIABLE: &str = "LUCARNE_KERNEL";

/// An implementation of XTS-AES. All give the same bytes; they differ in speed and in the CPUs that
/// they run on.
///
/// ```
/// use lucarne_cipher::{DataUnit, Kernel, SectorCipher};
///
/// let key: Vec<u8> = (0..64).collect();
/// let spec = "aes-xts-plain64".parse()?;
/// for kernel in Kernel::available() {
///     let cipher = SectorCipher::new_with_kernel(&spec, &key, DataUnit::B512, kernel)?;
///     let mut sector = [0; 512];
///     cipher.encrypt(0, &mut sector)?;
///     assert_eq!(sector[..4], [0xcd, 0x6b, 0x10, 0x32], "{kernel}");
/// }
/// # Ok::<(), lucarne_cipher::CipherError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// `vaes512`: x86-64 with AVX-512, VAES and VPCLMULQDQ (Ice Lake, Zen 4 and later).
    Vaes512,
    /// `vaes256`: x86-64 with AVX2, VAES and VPCLMULQDQ (Alder Lake, Zen 3 and later).
    Vaes256,
    /// `aesni`: x86-64 with AVX2, AES-NI and PCLMULQDQ (Haswell, Zen and later).
    AesNi,
    /// `armv8`: aarch64 with the AES extension.
    ArmAes,
    /// `portable`: any CPU, with the `aes` crate's best backend for it.
    Portable,
}

/// The place in [`Kernel::ALL`] of the preferred kernel, counted from 1; 0 before it is chosen.
static CHOSEN: AtomicU8 = AtomicU8::new(0);

impl Kernel {
    /// Every kernel, the fastest first.
    pub const ALL: [Self; 5] = [
        Self::Vaes512,
        Self::Vaes256,
        Self::AesNi,
        Self::ArmAes,
        Self::Portable,
    ];

    /// Whether this CPU can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        self == Self::Portable || VectorUnit::of(self).is_some()
    }

    /// The kernels that this CPU can run, the fastest first; [`Kernel::Portable`] is always among them.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    /// The kernel that a new cipher gets unless another is asked for: the one that [`Kernel::prefer`] or
    /// the environment ([`KERNEL_VARIABLE`]) named, else this CPU's fastest. Chosen once in a process.
    #[must_use]
    pub fn preferred() -> Self {
        // Two threads that come first at once choose alike.
        let chosen = CHOSEN.load(Ordering::Relaxed);
        let by_index = usize::from(chosen).checked_sub(1);
        if let Some(kernel) = by_index.and_then(|index| Self::ALL.get(index)) {
            return *kernel;
        }
        let from_environment = Self::from_environment().ok().flatten();
        let kernel = from_environment.unwrap_or_else(Self::fastest);
        kernel.choose();
        kernel
    }

    /// Makes this the preferred kernel for all of the process; ciphers made before keep theirs.
    ///
    /// # Errors
    /// [`CipherError::KernelUnavailable`].
    pub fn prefer(self) -> Result<(), CipherError> {
        if !self.is_available() {
            return Err(CipherError::KernelUnavailable { kernel: self });
        }
        self.choose();
        Ok(())
    }

    fn choose(self) {
        let index = Self::ALL.iter().position(|kernel| *kernel == self);
        let chosen = index.and_then(|index| u8::try_from(index + 1).ok());
        CHOSEN.store(chosen.unwrap_or(0), Ordering::Relaxed);
    }

    /// The kernel that the environment ([`KERNEL_VARIABLE`]) names, if it names one.
    ///
    /// # Errors
    /// [`CipherError::UnknownKernel`] and [`CipherError::KernelUnavailable`].
    pub fn from_environment() -> Result<Option<Self>, CipherError> {
        let Some(name) = std::env::var_os(KERNEL_VARIABLE) else {
            return Ok(None);
        };
        let kernel: Self = name.to_string_lossy().parse()?;
        match kernel.is_available() {
            true => Ok(Some(kernel)),
            false => Err(CipherError::KernelUnavailable { kernel }),
        }
    }

    /// This CPU's fastest.
    ///
    /// | CPU | kernel | why |
    /// |---|---|---|
    /// | Ice Lake, Tiger Lake | `vaes256` | their clock falls when 512-bit vectors are used |
    /// | others with AVX-512 and VAES | `vaes512` | as many AES rounds in half the instructions or fewer |
    /// | AVX2 and VAES | `vaes256` | twice the blocks an instruction |
    /// | AVX2 and AES-NI | `aesni` | |
    /// | aarch64 with AES | `armv8` | |
    /// | all others | `portable` | |
    #[must_use]
    pub fn fastest() -> Self {
        Self::available()
            .find(|kernel| !(*kernel == Self::Vaes512 && slows_down_on_zmm()))
            .unwrap_or(Self::Portable)
    }

    /// Runs about `bytes` bytes through AES on registers alone, with no memory and no tweaks: the
    /// limit of what this kernel can reach, for a benchmark to time. `key_bytes` is the AES key's length:
    /// 16, or else 32.
    ///
    /// Gives the bytes that were encrypted; `None` for the portable kernel, whose registers nobody
    /// knows, and for one that this CPU cannot run.
    #[must_use]
    pub fn spin(self, key_bytes: usize, bytes: usize) -> Option<usize> {
        VectorUnit::of(self).map(|unit| unit.spin(key_bytes, bytes))
    }

    /// The name by which it is asked for.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vaes512 => "vaes512",
            Self::Vaes256 => "vaes256",
            Self::AesNi => "aesni",
            Self::ArmAes => "armv8",
            Self::Portable => "portable",
        }
    }
}

/// The names of those that this CPU can run, for a message.
pub(crate) fn available_names() -> String {
    let names: Vec<_> = Kernel::available().map(Kernel::name).collect();
    names.join(", ")
}

#[cfg(target_arch = "x86_64")]
use crate::xts::slows_down_on_zmm;

#[cfg(not(target_arch = "x86_64"))]
fn slows_down_on_zmm() -> bool {
    false
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = CipherError;

    /// From its [`Kernel::name`].
    fn from_str(name: &str) -> Result<Self, CipherError> {
        Self::ALL
            .into_iter()
            .find(|kernel| kernel.name() == name)
            .ok_or_else(|| CipherError::UnknownKernel {
                name: name.chars().take(64).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_convert_both_ways_and_others_are_refused() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        let error = "sse2".parse::<Kernel>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernel \"sse2\" is not known (known: vaes512, vaes256, aesni, armv8, portable)"
        );
    }

    #[test]
    fn the_portable_kernel_is_always_there_and_the_preferred_one_is_available() {
        assert_eq!(Kernel::available().last(), Some(Kernel::Portable));
        assert!(Kernel::preferred().is_available());
        assert!(Kernel::fastest().is_available());
    }
}
