//! [`copy_past_caches`].

use crate::{CipherError, Kernel, sector_cipher::pair, xts::VectorUnit};

/// Copies `source` into `destination`, which is as long, as [`SectorCipher::decrypt_past_caches`] does: past the caches where
/// `kernel` can do that and `destination` lies as it needs it, else as any copy. What decryption costs beside a copy
/// is measured with it.
///
/// ```
/// use lucarne_cipher::{Kernel, copy_past_caches};
/// let mut copy = [0; 1000];
/// copy_past_caches(Kernel::preferred(), &[7; 1000], &mut copy)?;
/// assert_eq!(copy, [7; 1000]);
/// # Ok::<(), lucarne_cipher::CipherError>(())
/// ```
///
/// # Errors
/// [`CipherError::LengthMismatch`] and [`CipherError::KernelUnavailable`].
///
/// [`SectorCipher::decrypt_past_caches`]: crate::SectorCipher::decrypt_past_caches
pub fn copy_past_caches(
    kernel: Kernel,
    source: &[u8],
    destination: &mut [u8],
) -> Result<(), CipherError> {
    match VectorUnit::require(kernel)? {
        Some(unit) => unit.copy_past_caches(pair(source, destination)?),
        None => {
            let _ = pair(source, destination)?.into_out_with_copied_in();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xts::for_every_unit;

    #[test]
    fn every_unit_copies_wherever_it_is_asked_to() {
        let source: Vec<u8> = (0..20_000_u32)
            .map(|place| ((place * 7) >> 3) as u8)
            .collect();
        for_every_unit(|unit| {
            for into_line in (0..64).step_by(8).chain([1, 12, 63]) {
                for len in [0, 1, 511, 512, 513, 4096, 12_345, 16_384] {
                    let mut memory = vec![0; len + 256];
                    let start = 64 + memory.as_ptr().align_offset(64) + into_line;
                    let room = &mut memory[start..start + len];
                    unit.copy_past_caches(pair(&source[..len], room).unwrap());
                    assert_eq!(room, &source[..len], "{into_line} {len}");
                    let around = [&memory[..start], &memory[start + len..]].concat();
                    assert!(around.iter().all(|&byte| byte == 0), "{into_line} {len}");
                }
            }
        });
    }

    #[test]
    fn lengths_must_agree_for_every_kernel() {
        for kernel in Kernel::available() {
            let mut short = [0; 9];
            let refused = copy_past_caches(kernel, &[1; 10], &mut short).unwrap_err();
            assert!(matches!(refused, CipherError::LengthMismatch { .. }));
            let mut copy = [0; 10];
            copy_past_caches(kernel, &[1; 10], &mut copy).unwrap();
            assert_eq!(copy, [1; 10]);
        }
    }
}
