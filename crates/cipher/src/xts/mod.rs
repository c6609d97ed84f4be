//! XTS-AES (IEEE 1619-2018, NIST SP 800-38E) over whole data units.
//!
//! [`fused`] is the algorithm as the CPU's own AES instructions run it, over a vector unit of [`arch`];
//! [`portable`] runs on any CPU, over the `aes` crate. [`dispatch`] holds a key for the one or the other.

// Elsewhere there is no vector unit, and all but the portable kernel waits for one.
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(unused, unreachable_code)
)]

/// The body, once for each literal: loops over arrays of vectors stay in registers only if they are
/// unrolled, and rounds of AES are more than the compiler unrolls by itself.
macro_rules! unrolled {
    ($index:ident in [$($literal:literal)*] $body:block) => {
        $({
            const $index: usize = $literal;
            $body
        })*
    };
}

mod arch;
mod dispatch;
mod fused;
mod limit;
mod portable;
mod schedule;
mod tweaks;

#[cfg(test)]
pub(crate) use self::dispatch::for_every_unit;
pub(crate) use self::dispatch::{VectorUnit, Xts};

#[cfg(target_arch = "x86_64")]
pub(crate) use self::arch::slows_down_on_zmm;

pub(crate) use crate::run::Run;
