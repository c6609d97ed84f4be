//! Why a cipher cannot be had or cannot be applied.

/// Why a cipher cannot be had or cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// A string that is no cipher specification.
    #[error("cipher specification {spec:?} {problem}")]
    InvalidSpec {
        /// The string, shortened if it is long.
        spec: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A valid specification of a cipher that is not done here.
    #[error("cipher {spec} is not supported (supported: {})", crate::CipherSpec::SUPPORTED.join(", "))]
    Unsupported {
        /// The specification.
        spec: String,
    },
    /// A key of a length that the cipher does not take.
    #[error("key of {bytes} bytes for {spec} (takes {})", one_of(.takes))]
    KeySize {
        /// The specification.
        spec: String,
        /// Length of the key.
        bytes: usize,
        /// The lengths that it takes.
        takes: &'static [usize],
    },
    /// Both halves of an XTS key are the same, which breaks XTS (IEEE 1619, FIPS 140 IG C.I).
    #[error("both halves of the XTS key are the same")]
    EqualKeyHalves,
    /// A kernel's name that is none.
    #[error("kernel {name:?} is not known (known: {})", crate::Kernel::ALL.map(crate::Kernel::name).join(", "))]
    UnknownKernel {
        /// The name, shortened if it is long.
        name: String,
    },
    /// A kernel that this CPU cannot run.
    #[error(
        "this CPU cannot run the kernel {kernel} (it can: {})",
        crate::kernel::available_names()
    )]
    KernelUnavailable {
        /// The kernel.
        kernel: crate::Kernel,
    },
    /// No such size of data unit.
    #[error("data unit of {bytes} bytes (can be 512, 1024, 2048 or 4096)")]
    DataUnitSize {
        /// The size asked for.
        bytes: u32,
    },
    /// A size of data unit that is not a whole number of blocks, or too large.
    #[error("data unit of {bytes} bytes (can be a multiple of 16 from 16 to 65536)")]
    UnitSize {
        /// The size asked for.
        bytes: usize,
    },
    /// A buffer that is not a whole number of data units.
    #[error("{len_bytes} bytes of data are not a multiple of the data unit's {data_unit_bytes}")]
    PartialDataUnit {
        /// Length of the buffer.
        len_bytes: usize,
        /// Size of a data unit.
        data_unit_bytes: u32,
    },
    /// Source and destination of different length.
    #[error("source of {source_bytes} bytes for a destination of {destination_bytes}")]
    LengthMismatch {
        /// Length of the source.
        source_bytes: usize,
        /// Length of the destination.
        destination_bytes: usize,
    },
    /// Data units whose number does not fit in 64 bits.
    #[error("{len_bytes} bytes from IV {first_iv} on exceed the 64 bits of an IV")]
    IvOverflow {
        /// IV of the first data unit, in 512-byte units.
        first_iv: u64,
        /// Length of the data.
        len_bytes: usize,
    },
}

/// `32 or 64`, `16, 24 or 32`.
fn one_of(lengths: &[usize]) -> String {
    let mut text = String::new();
    for (index, length) in lengths.iter().enumerate() {
        text += match index {
            0 => "",
            _ if index + 1 == lengths.len() => " or ",
            _ => ", ",
        };
        text += &length.to_string();
    }
    text
}
