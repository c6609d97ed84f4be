//! The types of a tensor's elements.

use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $bits:literal,)*) => {
        /// The type of a tensor's elements: those that the reference implementation (safetensors 0.8) knows.
        ///
        /// ```
        /// use lucarne_tensors::Dtype;
        /// let dtype: Dtype = "BF16".parse()?;
        /// assert_eq!(dtype, Dtype::Bf16);
        /// assert_eq!((dtype.bits(), dtype.to_string().as_str()), (16, "BF16"));
        /// # Ok::<(), lucarne_tensors::UnknownDtype>(())
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Dtype {
            $($(#[$doc])* $variant,)*
        }

        impl Dtype {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Bits of one element; a multiple of 8 for all but three.
            pub const fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits,)* }
            }

            /// The name that files use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl std::str::FromStr for Dtype {
            type Err = UnknownDtype;

            fn from_str(name: &str) -> Result<Self, UnknownDtype> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(UnknownDtype(())),
                }
            }
        }
    };
}

dtypes! {
    /// A byte that is 0 or 1; not checked
    Bool "BOOL" 8,
    /// 4-bit float (OCP MX)
    F4 "F4" 4,
    /// 6-bit float (OCP MX), 2 bits of exponent
    F6E2M3 "F6_E2M3" 6,
    /// 6-bit float (OCP MX), 3 bits of exponent
    F6E3M2 "F6_E3M2" 6,
    /// Unsigned, 8 bits
    U8 "U8" 8,
    /// Signed, 8 bits
    I8 "I8" 8,
    /// 8-bit float, 5 bits of exponent
    F8E5M2 "F8_E5M2" 8,
    /// 8-bit float, 4 bits of exponent
    F8E4M3 "F8_E4M3" 8,
    /// 8 bits of exponent alone
    F8E8M0 "F8_E8M0" 8,
    /// 8-bit float, 4 bits of exponent, no infinities and no negative zero
    F8E4M3Fnuz "F8_E4M3FNUZ" 8,
    /// 8-bit float, 5 bits of exponent, no infinities and no negative zero
    F8E5M2Fnuz "F8_E5M2FNUZ" 8,
    /// Signed, 16 bits
    I16 "I16" 16,
    /// Unsigned, 16 bits
    U16 "U16" 16,
    /// IEEE 754 binary16
    F16 "F16" 16,
    /// The upper half of an IEEE 754 binary32
    Bf16 "BF16" 16,
    /// Signed, 32 bits
    I32 "I32" 32,
    /// Unsigned, 32 bits
    U32 "U32" 32,
    /// IEEE 754 binary32
    F32 "F32" 32,
    /// Two binary32: real and imaginary part
    C64 "C64" 64,
    /// IEEE 754 binary64
    F64 "F64" 64,
    /// Signed, 64 bits
    I64 "I64" 64,
    /// Unsigned, 64 bits
    U64 "U64" 64,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No type of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such element type")]
pub struct UnknownDtype(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Dtype::ALL.len(), 22);
        for &dtype in Dtype::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        for name in ["", "f32", "F32 ", "F128", "FLOAT"] {
            assert_eq!(name.parse::<Dtype>(), Err(UnknownDtype(())), "{name}");
        }
    }
}
