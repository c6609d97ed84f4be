//! Sixteen blocks at a time: each of the hash's words is a vector, and each block has a lane in all of them.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::array::from_fn;

use crate::CHUNK_LEN_BYTES;

/// Blocks at a time.
const LANES: usize = 16;

/// The first 32 bits of the fractional parts of the square roots of the first 8 primes (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// And of the cube roots of the first 64 (4.2.2).
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// That this CPU has AVX-512 F and BW, and the system keeps its registers.
///
/// ```
/// use lucarne_sha256::{Avx512, Kernel};
///
/// if let Some(cpu) = Avx512::new() {
///     assert!(Kernel::available().contains(&Kernel::Avx512(cpu)));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// `None` on a CPU without.
    #[must_use]
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then_some(Self(()))
    }

    /// Hashes blocks in groups of sixteen, and says how many blocks that were. `block_len` is a multiple of
    /// [`CHUNK_LEN_BYTES`], and not 0.
    pub(crate) fn digest_groups(
        self,
        bytes: &[u8],
        block_len: usize,
        digests: &mut [[u8; 32]],
    ) -> usize {
        // No bytes are as many as a group that cannot be counted.
        let Some(group_len) = block_len.checked_mul(LANES) else {
            return 0;
        };
        let padding = schedule_of_padding(block_len);
        let (digests, _) = digests.as_chunks_mut::<LANES>();
        let mut done = 0;
        for (group, digests) in bytes.chunks_exact(group_len).zip(digests) {
            let lanes = group.chunks_exact(block_len);
            // SAFETY: a value of this type exists only where the CPU has what `digest_group` is compiled for.
            let words = unsafe { digest_group(lanes, &padding) };
            for (lane, digest) in digests.iter_mut().enumerate() {
                let (bytes, _) = digest.as_chunks_mut::<4>();
                for (bytes, word) in bytes.iter_mut().zip(&words) {
                    *bytes = word[lane].to_be_bytes();
                }
            }
            done += LANES;
        }
        done
    }
}

/// The words of the chunk behind a block of whole chunks, each with its round's constant (5.1.1): a bit, zeros, and
/// the block's length in bits.
fn schedule_of_padding(block_len: usize) -> [u32; 64] {
    let bit_len = (block_len as u64).wrapping_mul(8);
    let mut words = [0; 64];
    words[0] = 1 << 31;
    words[14] = (bit_len >> 32) as u32;
    words[15] = bit_len as u32;
    for i in 16..64 {
        let (w15, w2): (u32, u32) = (words[i - 15], words[i - 2]);
        let s0 = w15.rotate_right(7) ^ w15.rotate_right(18) ^ (w15 >> 3);
        let s1 = w2.rotate_right(17) ^ w2.rotate_right(19) ^ (w2 >> 10);
        words[i] = s0
            .wrapping_add(s1)
            .wrapping_add(words[i - 16])
            .wrapping_add(words[i - 7]);
    }
    from_fn(|i| words[i].wrapping_add(K[i]))
}

/// The hashes' words, each of all lanes. There are sixteen blocks, all of the same whole number of chunks.
#[target_feature(enable = "avx512f,avx512bw")]
fn digest_group<'b>(
    blocks: impl Iterator<Item = &'b [u8]>,
    padding: &[u32; 64],
) -> [[u32; LANES]; 8] {
    let mut lanes: [&[[u8; CHUNK_LEN_BYTES]]; LANES] = [&[]; LANES];
    for (lane, block) in lanes.iter_mut().zip(blocks) {
        *lane = block.as_chunks().0;
    }
    // Loops rather than closures given to the library, which would be calls: it is compiled without these instructions.
    let mut state = [broadcast(0); 8];
    for (vector, word) in state.iter_mut().zip(INITIAL) {
        *vector = broadcast(word);
    }
    for chunk in 0..lanes[0].len() {
        let mut words = [broadcast(0); 16];
        for (row, lane) in words.iter_mut().zip(&lanes) {
            *row = load(&lane[chunk]);
        }
        words = transposed(&words);
        let start = state;
        rounds(&mut state, |i| _mm512_add_epi32(words[i], broadcast(K[i])));
        for first in [16, 32, 48] {
            schedule(&mut words);
            rounds(&mut state, |i| {
                _mm512_add_epi32(words[i], broadcast(K[first + i]))
            });
        }
        add(&mut state, &start);
    }
    let start = state;
    for first in [0, 16, 32, 48] {
        rounds(&mut state, |i| broadcast(padding[first + i]));
    }
    add(&mut state, &start);
    let mut words = [[0; LANES]; 8];
    for (word, vector) in words.iter_mut().zip(state) {
        *word = store(vector);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(state: &mut [__m512i; 8], start: &[__m512i; 8]) {
    for (word, start) in state.iter_mut().zip(start) {
        *word = _mm512_add_epi32(*word, *start);
    }
}

/// Sixteen rounds (6.2.2, step 3), with the words and their constants from `word`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rounds(state: &mut [__m512i; 8], word: impl Fn(usize) -> __m512i) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $i:expr) => {
            let choice = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
            let sum = _mm512_add_epi32(
                _mm512_add_epi32($h, word($i)),
                _mm512_add_epi32(choice, sigma::<6, 11, 25>($e)),
            );
            let majority = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
            $d = _mm512_add_epi32($d, sum);
            $h = _mm512_add_epi32(sum, _mm512_add_epi32(majority, sigma::<2, 13, 22>($a)));
        };
    }
    macro_rules! eight_rounds {
        ($first:literal) => {
            round!(a b c d e f g h, $first);
            round!(h a b c d e f g, $first + 1);
            round!(g h a b c d e f, $first + 2);
            round!(f g h a b c d e, $first + 3);
            round!(e f g h a b c d, $first + 4);
            round!(d e f g h a b c, $first + 5);
            round!(c d e f g h a b, $first + 6);
            round!(b c d e f g h a, $first + 7);
        };
    }
    eight_rounds!(0);
    eight_rounds!(8);
    *state = [a, b, c, d, e, f, g, h];
}

/// The next sixteen words of the schedule (6.2.2, step 1).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn schedule(words: &mut [__m512i; 16]) {
    for i in 0..16 {
        let (w15, w2) = (words[(i + 1) % 16], words[(i + 14) % 16]);
        let s0 = xor(
            _mm512_ror_epi32::<7>(w15),
            _mm512_ror_epi32::<18>(w15),
            _mm512_srli_epi32::<3>(w15),
        );
        let s1 = xor(
            _mm512_ror_epi32::<17>(w2),
            _mm512_ror_epi32::<19>(w2),
            _mm512_srli_epi32::<10>(w2),
        );
        let old = _mm512_add_epi32(words[i], words[(i + 9) % 16]);
        words[i] = _mm512_add_epi32(old, _mm512_add_epi32(s0, s1));
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sigma<const A: i32, const B: i32, const C: i32>(word: __m512i) -> __m512i {
    xor(
        _mm512_ror_epi32::<A>(word),
        _mm512_ror_epi32::<B>(word),
        _mm512_ror_epi32::<C>(word),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn broadcast(word: u32) -> __m512i {
    _mm512_set1_epi32(word as i32)
}

/// The sixteen words of a chunk, which are big-endian.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(chunk: &[u8; CHUNK_LEN_BYTES]) -> __m512i {
    // SAFETY: as long as a vector; no alignment is asked for.
    let bytes = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
    let turned = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    _mm512_shuffle_epi8(bytes, turned)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(words: __m512i) -> [u32; LANES] {
    let mut to = [0; LANES];
    // SAFETY: as long as a vector; no alignment is asked for.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) };
    to
}

/// From a vector for each lane's words to one for each word's lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed(rows: &[__m512i; 16]) -> [__m512i; 16] {
    // Of four rows each, word 4 m + j of all of them in quarter m of vector j.
    let mut fours = [[broadcast(0); 4]; 4];
    for (four, rows) in fours.iter_mut().zip(rows.as_chunks::<4>().0) {
        let low = _mm512_unpacklo_epi32(rows[0], rows[1]);
        let low_end = _mm512_unpacklo_epi32(rows[2], rows[3]);
        let high = _mm512_unpackhi_epi32(rows[0], rows[1]);
        let high_end = _mm512_unpackhi_epi32(rows[2], rows[3]);
        *four = [
            _mm512_unpacklo_epi64(low, low_end),
            _mm512_unpackhi_epi64(low, low_end),
            _mm512_unpacklo_epi64(high, high_end),
            _mm512_unpackhi_epi64(high, high_end),
        ];
    }
    let mut words = [broadcast(0); 16];
    for j in 0..4 {
        // Quarters 0 and 2, or 1 and 3, of two vectors.
        let even = _mm512_shuffle_i32x4::<0x88>(fours[0][j], fours[1][j]);
        let even_end = _mm512_shuffle_i32x4::<0x88>(fours[2][j], fours[3][j]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(fours[0][j], fours[1][j]);
        let odd_end = _mm512_shuffle_i32x4::<0xdd>(fours[2][j], fours[3][j]);
        words[j] = _mm512_shuffle_i32x4::<0x88>(even, even_end);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd, odd_end);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even, even_end);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_end);
    }
    words
}
