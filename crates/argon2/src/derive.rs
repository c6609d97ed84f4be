//! RFC 9106, 3.2: a derivation from its inputs to its key.

use zeroize::{Zeroizing, zeroize_stack};

use crate::arch::BlockFunction;
use crate::block::Block;
use crate::memory::{Matrix, Shape};
use crate::{Error, Inputs, Kernel, Params, fill, hash};

/// More than a derivation leaves on the stack, whatever the kernel.
const STACK_LEN: usize = 16 << 10;

/// Argon2 with its costs, version 1.3.
///
/// ```
/// use lucarne_argon2::{Argon2, Inputs, Params, Variant};
///
/// let argon2 = Argon2::new(Params::new(Variant::Id, 1, 64, 2)?);
/// let mut key = [0; 32];
/// argon2.derive(
///     &Inputs { password: b"correct horse", salt: b"battery staple", ..Inputs::default() },
///     &mut key,
/// )?;
/// assert_ne!(key, [0; 32]);
/// # Ok::<(), lucarne_argon2::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Argon2 {
    params: Params,
    kernel: Kernel,
    memory_limit_kib: u32,
}

impl Argon2 {
    /// On the fastest kernel, with as much memory as `params` ask for.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self {
            params,
            kernel: Kernel::best(),
            memory_limit_kib: u32::MAX,
        }
    }

    /// On this kernel.
    #[must_use]
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Refuses to take more memory than this.
    #[must_use]
    pub fn with_memory_limit_kib(self, memory_limit_kib: u32) -> Self {
        Self {
            memory_limit_kib,
            ..self
        }
    }

    /// Derives a key of `out`'s length, 4 bytes to 4 GiB, which goes into it: a shorter key is not
    /// the start of a longer one.
    ///
    /// The lanes run on the current rayon pool. The memory is wiped before it is given back.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an input or output of a length that the algorithm does not allow,
    /// [`Error::MemoryLimit`], and [`Error::OutOfMemory`]. `out` is as it was.
    pub fn derive(&self, inputs: &Inputs<'_>, out: &mut [u8]) -> Result<(), Error> {
        inputs.check(out)?;
        let kib = self.params.memory_kib();
        if kib > self.memory_limit_kib {
            return Err(Error::MemoryLimit {
                kib,
                limit_kib: self.memory_limit_kib,
            });
        }
        let mut matrix = Matrix::new(Shape::of(&self.params)).ok_or(Error::OutOfMemory { kib })?;
        fill::fault_in(&mut matrix);
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(kernel) => derive_by(kernel, &self.params, &mut matrix, inputs, out),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(kernel) => derive_by(kernel, &self.params, &mut matrix, inputs, out),
            Kernel::Portable => portable(&self.params, &mut matrix, inputs, out),
        }
        zeroize_stack::<STACK_LEN>();
        Ok(())
    }
}

// Not inlined, so that what it leaves on the stack is below its caller's frame.
#[inline(never)]
fn derive_by<B: BlockFunction>(
    kernel: B,
    params: &Params,
    matrix: &mut Matrix,
    inputs: &Inputs<'_>,
    out: &mut [u8],
) {
    let lane_len = matrix.shape().lane_len();
    let initial = hash::initial(params, inputs, out);
    for (lane, blocks) in (0..).zip(matrix.blocks().chunks_exact_mut(lane_len)) {
        for (column, block) in (0..2).zip(blocks) {
            hash::first_block(&initial, lane, column, block);
        }
    }
    fill::fill(kernel, params, matrix);
    let mut sum = Zeroizing::new(Block::ZERO);
    for lane in matrix.blocks().chunks_exact(lane_len) {
        sum.xor(&lane[lane_len - 1]);
    }
    hash::tag(&sum, out);
}

/// By the `argon2` crate, in our memory.
#[inline(never)]
fn portable(params: &Params, matrix: &mut Matrix, inputs: &Inputs<'_>, out: &mut [u8]) {
    let algorithm = match params.variant() {
        crate::Variant::I => argon2::Algorithm::Argon2i,
        crate::Variant::Id => argon2::Algorithm::Argon2id,
    };
    // OK to unwrap, all three: each bound of that crate is one of `Params::new` or `Inputs::check`,
    // and the matrix has the blocks that its parameters ask for.
    #[allow(clippy::unwrap_used)]
    {
        let data = argon2::AssociatedData::new(inputs.associated_data).unwrap();
        let params = argon2::ParamsBuilder::new()
            .t_cost(params.time())
            .m_cost(params.memory_kib())
            .p_cost(params.lanes())
            .output_len(out.len())
            .data(data)
            .build()
            .unwrap();
        argon2::Argon2::new_with_secret(inputs.secret, algorithm, argon2::Version::V0x13, params)
            .and_then(|argon2| {
                argon2.hash_password_into_with_memory(
                    inputs.password,
                    inputs.salt,
                    out,
                    matrix.rustcrypto_blocks(),
                )
            })
            .unwrap();
    }
}
