//! RFC 9106, 3.2 and 3.3: H0, H' and what they are for, all over BLAKE2b.

use blake2::digest::block_api::{UpdateCore, VariableOutputCore};
use blake2::digest::{Output, block_buffer::LazyBuffer};
use blake2::{Blake2b512, Blake2bVarCore, Digest};
use zeroize::{Zeroize, Zeroizing};

use crate::block::Block;
use crate::{Inputs, Params};

/// Version 1.3 of the algorithm, the only one that LUKS2 uses.
const VERSION: u32 = 0x13;
const H0_LEN: usize = 64;
/// What H' takes of each hash but the last.
const HALF: usize = 32;

/// H0: everything that goes into the derivation.
pub(crate) fn initial(params: &Params, inputs: &Inputs<'_>, out: &[u8]) -> Zeroizing<[u8; H0_LEN]> {
    let mut hash = Blake2b512::new();
    hash.update(params.lanes().to_le_bytes());
    hash.update(len_le(out));
    for number in [
        params.memory_kib(),
        params.time(),
        VERSION,
        params.variant() as u32,
    ] {
        hash.update(number.to_le_bytes());
    }
    let Inputs {
        password,
        salt,
        secret,
        associated_data,
    } = *inputs;
    for field in [password, salt, secret, associated_data] {
        hash.update(len_le(field));
        hash.update(field);
    }
    let mut output = hash.finalize();
    let initial = Zeroizing::new(output.0);
    output.zeroize();
    initial
}

/// The block in `column` 0 or 1 of a lane.
pub(crate) fn first_block(initial: &[u8; H0_LEN], lane: u32, column: u32, block: &mut Block) {
    let mut bytes = Zeroizing::new([0; Block::LEN]);
    long(
        &[initial, &column.to_le_bytes(), &lane.to_le_bytes()],
        &mut *bytes,
    );
    block.set_bytes(&bytes);
}

/// The tag, of the last column's sum.
pub(crate) fn tag(last: &Block, out: &mut [u8]) {
    let mut bytes = Zeroizing::new([0; Block::LEN]);
    last.write_bytes(&mut bytes);
    long(&[&*bytes], out);
}

/// H': a hash of any length, which goes into it too.
///
/// Up to 64 bytes it is one hash; a longer one is the first halves of a chain of hashes, and all of
/// the last.
fn long(inputs: &[&[u8]], out: &mut [u8]) {
    let len = len_le(out);
    if out.len() <= H0_LEN {
        short(&len, inputs, out);
        return;
    }
    let mut link = Zeroizing::new([0; H0_LEN]);
    short(&len, inputs, &mut *link);
    let mut rest = out;
    loop {
        let (half, after) = rest.split_at_mut(HALF);
        half.copy_from_slice(&link[..HALF]);
        rest = after;
        if rest.len() <= H0_LEN {
            break;
        }
        let previous = link.clone();
        short(&*previous, &[], &mut *link);
    }
    short(&*link, &[], rest);
}

/// BLAKE2b with an output of 1 to 64 bytes.
fn short(first: &[u8], inputs: &[&[u8]], out: &mut [u8]) {
    let mut core = Blake2bVarCore::new_with_params(&[], &[], 0, out.len());
    let mut buffer = LazyBuffer::default();
    for input in std::iter::once(&first).chain(inputs) {
        buffer.digest_blocks(input, |blocks| core.update_blocks(blocks));
    }
    let mut full = Output::<Blake2b512>::default();
    core.finalize_variable_core(&mut buffer, &mut full);
    out.copy_from_slice(&full[..out.len()]);
    full.zeroize();
}

/// The length that goes into a hash before what it is the length of.
fn len_le(bytes: &[u8]) -> [u8; 4] {
    // OK to cut: the lengths of inputs and output are checked before anything is hashed.
    (bytes.len() as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn a_long_hash_is_a_chain_of_halves() {
        let blake2b = |input: &[u8]| -> [u8; 64] { Blake2b512::digest(input).into() };
        let with_len = |len: u32| [&len.to_le_bytes()[..], b"abc"].concat();

        let mut out = [0; 64];
        long(&[b"a", b"bc"], &mut out);
        assert_eq!(out, blake2b(&with_len(64)));

        let mut out = [0; 96];
        long(&[b"abc"], &mut out);
        let first = blake2b(&with_len(96));
        assert_eq!(out[..32], first[..32]);
        assert_eq!(out[32..], blake2b(&first));

        let mut out = [0; 97];
        long(&[b"abc"], &mut out);
        let first = blake2b(&with_len(97));
        let second = blake2b(&first);
        assert_eq!(out[..32], first[..32]);
        assert_eq!(out[32..64], second[..32]);
        let mut last = [0; 33];
        short(&second, &[], &mut last);
        assert_eq!(out[64..], last);
    }

    /// BLAKE2b-256, whose parameter block differs from BLAKE2b-512's.
    #[test]
    fn a_short_hash_is_no_longer_hash_cut() {
        let mut out = [0; 32];
        short(b"abc", &[], &mut out);
        let expected = hex!("bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
        assert_eq!(out, expected);
    }
}
