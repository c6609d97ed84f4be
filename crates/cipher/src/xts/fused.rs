//! XTS in one pass: tweaks, whitening and AES in the same instructions' stream, at any vector width.
//!
//! The unit of work is a batch of [`STREAMS`] vectors. Each batch goes through the rounds of AES
//! together, and between the rounds, on the units that AES leaves idle, the tweaks of the *next* batch
//! are made. Four things make the speed:
//! - The tweaks of a batch are those of the one before times x^(8·[`Isa::BLOCKS`]): whole bytes. At the
//!   start of a data unit they are its encrypted IV times x^0, x^1, …
//! - The IVs of the next few data units, a vector of them, are encrypted along with a batch of data, as
//!   one stream more.
//! - The tweak is added into the first and the last round key, so that whitening costs one xor each.
//! - The order of the instructions is kept ([`Isa::pin`]).
//!
//! Whole data units of whole batches (which all of LUKS's are) take no other path than that. The last
//! part of any other data unit goes through a batch on the stack.

use cipher::{array::Array, inout::InOut};

use super::{
    Run,
    arch::{Batch, Block, Isa, IvGroup, STREAMS},
};
use crate::iv::Numbers;

/// How far ahead of the data memory is asked for. Measured on 1 GiB in place: 1 to 3 KiB are alike,
/// less is late, and 8 KiB lose most of it.
const PREFETCH_BYTES: usize = 2048;

/// Encryption or decryption: which rounds.
pub(super) trait Direction {
    fn round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector;
    fn last_round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector;
}

pub(super) struct Encrypt;

impl Direction for Encrypt {
    #[inline(always)]
    fn round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        isa.encrypt_round(state, key)
    }

    #[inline(always)]
    fn last_round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        isa.encrypt_last_round(state, key)
    }
}

pub(super) struct Decrypt;

impl Direction for Decrypt {
    #[inline(always)]
    fn round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        isa.decrypt_round(state, key)
    }

    #[inline(always)]
    fn last_round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        isa.decrypt_last_round(state, key)
    }
}

/// Round keys, in the order of their use.
#[derive(Clone, Copy)]
pub(super) struct Keys<'k, const N: usize> {
    pub(super) data: &'k [Block; N],
    pub(super) tweak: &'k [Block; N],
}

/// Encrypts or decrypts data units: the whole algorithm.
#[inline(always)]
pub(super) fn process<I: Isa, D: Direction, const N: usize>(
    isa: I,
    keys: Keys<'_, N>,
    run: Run<'_, '_>,
) {
    let Run {
        unit_bytes,
        numbers,
        mut data,
    } = run;
    let mut units = data.len() / unit_bytes;
    if units == 0 {
        return;
    }
    let mut ivs = Ivs::new(isa, keys.tweak, numbers);
    let mut tweaks = [isa.splat(&ivs.current[0]); STREAMS];
    unrolled!(S in [0 1 2 3 4 5 6 7] {
        tweaks[S] = first_tweaks(isa, &tweaks, isa.splat(&ivs.current[0]), S);
    });

    if unit_bytes == size_of::<Batch<I>>() && I::BLOCKS > 1 {
        // One batch a data unit, and no question asked in between: 512 bytes under AVX-512.
        let groups = units / I::BLOCKS;
        units -= groups * I::BLOCKS;
        let (whole, rest) = data.split_at(groups * I::BLOCKS * unit_bytes);
        data = rest;
        let (mut batches, _) = whole.into_chunks::<I::BatchLen>();
        for group in 0..groups {
            unrolled!(PLACE in [0 1 2 3] {
                if PLACE < I::BLOCKS {
                    let data = batches.get(group * I::BLOCKS + PLACE);
                    let next = ivs.after::<I>(PLACE);
                    if PLACE == 0 {
                        let ivs_on_the_way = Some((&ivs.plain, &mut ivs.next));
                        batch::<I, D, N>(isa, keys, &mut tweaks, data, Some(&next), ivs_on_the_way);
                        ivs.number::<I>();
                    } else {
                        batch::<I, D, N>(isa, keys, &mut tweaks, data, Some(&next), None);
                    }
                }
            });
        }
    }

    let mut place = 0;
    while units > 0 {
        let (unit, after) = data.split_at(unit_bytes);
        data = after;
        let (batches, mut tail) = unit.into_chunks::<I::BatchLen>();
        // The last batch, whole or not, makes the next data unit's tweaks; these are the others.
        let steps = batches.len() - usize::from(tail.is_empty());
        // The first batch takes the IVs of the next group along, unless nothing will need them.
        let mut takes_ivs = place == 0 && units > I::BLOCKS;
        if takes_ivs && steps == 0 && I::BLOCKS == 1 {
            // They are needed in this very batch.
            ivs.encrypt_next(isa, keys.tweak);
            takes_ivs = false;
        }
        let (mut steps, mut whole_last) = batches.split_at(steps);
        if takes_ivs && !steps.is_empty() {
            let (mut first, others) = steps.split_at(1);
            steps = others;
            let ivs_on_the_way = Some((&ivs.plain, &mut ivs.next));
            batch::<I, D, N>(isa, keys, &mut tweaks, first.get(0), None, ivs_on_the_way);
            ivs.number::<I>();
            takes_ivs = false;
        }
        for data in steps {
            batch::<I, D, N>(isa, keys, &mut tweaks, data, None, None);
        }
        let mut scratch = Array::default();
        let last = if tail.is_empty() {
            whole_last.get(0)
        } else {
            scratch[..tail.len()].copy_from_slice(tail.get_in());
            InOut::from(&mut scratch)
        };
        let next = ivs.after::<I>(place);
        if takes_ivs {
            let ivs_on_the_way = Some((&ivs.plain, &mut ivs.next));
            batch::<I, D, N>(isa, keys, &mut tweaks, last, Some(&next), ivs_on_the_way);
            ivs.number::<I>();
        } else {
            batch::<I, D, N>(isa, keys, &mut tweaks, last, Some(&next), None);
        }
        let tail_len = tail.len();
        tail.get_out().copy_from_slice(&scratch[..tail_len]);
        place = (place + 1) % I::BLOCKS;
        units -= 1;
    }
}

/// One batch through AES, and `tweaks` turned into those of the batch that follows: of the data unit
/// whose encrypted IV is `next_unit`, or of the same.
///
/// `ivs` are encrypted from the one place into the other.
#[inline(always)]
fn batch<I: Isa, D: Direction, const N: usize>(
    isa: I,
    keys: Keys<'_, N>,
    tweaks: &mut [I::Vector; STREAMS],
    mut data: InOut<'_, '_, Batch<I>>,
    next_unit: Option<&Block>,
    ivs: Option<(&IvGroup, &mut IvGroup)>,
) {
    let first_key = isa.splat(&keys.data[0]);
    let last_key = isa.splat(&keys.data[N - 1]);
    let mut states = [first_key; STREAMS];
    let mut last_keys = [last_key; STREAMS];
    let input = data.get_in();
    for stream in 0..STREAMS {
        isa.prefetch(input, stream, PREFETCH_BYTES);
        states[stream] = isa.xor3(isa.load(input, stream), tweaks[stream], first_key);
        last_keys[stream] = isa.xor(last_key, tweaks[stream]);
    }
    let mut iv_state = match &ivs {
        Some((plain, _)) => isa.xor(isa.load_ivs(plain), isa.splat(&keys.tweak[0])),
        None => first_key,
    };
    let mut next_tweak = match next_unit {
        Some(encrypted_iv) => isa.splat(encrypted_iv),
        None => first_key,
    };

    unrolled!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13] {
        if ROUND < N - 1 {
            let key = isa.splat(&keys.data[ROUND]);
            for state in &mut states {
                *state = D::round(isa, *state, key);
            }
            if ivs.is_some() {
                iv_state = isa.encrypt_round(iv_state, isa.splat(&keys.tweak[ROUND]));
            }
            if ROUND <= STREAMS {
                let made = ROUND - 1;
                tweaks[made] = match next_unit {
                    Some(_) => first_tweaks(isa, tweaks, next_tweak, made),
                    None => following_tweaks(isa, tweaks[made]),
                };
                // What the next round's tweaks are made of.
                let source = match next_unit {
                    Some(_) => first_tweaks_source::<I>(ROUND),
                    None => Some(ROUND),
                };
                let mut nothing = first_key;
                let [computed, needed_next] = match source {
                    Some(source) if ROUND < STREAMS && source != made => tweaks
                        .get_disjoint_mut([made, source])
                        .expect("two of the streams"),
                    Some(_) => [&mut tweaks[made], &mut nothing],
                    None => [&mut tweaks[made], &mut next_tweak],
                };
                isa.pin(&mut states, computed, needed_next);
            }
        }
    });

    let output = data.get_out();
    for stream in 0..STREAMS {
        isa.store(
            output,
            stream,
            D::last_round(isa, states[stream], last_keys[stream]),
        );
    }
    if let Some((_, encrypted)) = ivs {
        let key = isa.splat(&keys.tweak[N - 1]);
        isa.store_ivs(encrypted, isa.encrypt_last_round(iv_state, key));
    }
}

/// The tweaks of vector `stream` in the first batch of a data unit: its encrypted IV, which
/// `encrypted_iv` has in all places, times x^(`stream`·[`Isa::BLOCKS`]) and on.
#[inline(always)]
fn first_tweaks<I: Isa>(
    isa: I,
    tweaks: &[I::Vector; STREAMS],
    encrypted_iv: I::Vector,
    stream: usize,
) -> I::Vector {
    let power = stream * I::BLOCKS;
    match first_tweaks_source::<I>(stream) {
        Some(source) if power >= 16 => isa.times_x16(tweaks[source]),
        Some(source) => isa.times_x8(tweaks[source]),
        None => isa.powers(encrypted_iv, power),
    }
}

/// The vector whose tweaks, times a power of x that is whole bytes, are those of `stream` in the first
/// batch of a data unit; none if it has to be made of the IV.
#[inline(always)]
const fn first_tweaks_source<I: Isa>(stream: usize) -> Option<usize> {
    match stream * I::BLOCKS {
        0..8 => None,
        8..16 => Some(stream - 8 / I::BLOCKS),
        _ => Some(stream - 16 / I::BLOCKS),
    }
}

/// The same vector's tweaks one batch later in the same data unit.
#[inline(always)]
fn following_tweaks<I: Isa>(isa: I, tweaks: I::Vector) -> I::Vector {
    match I::BLOCKS {
        1 => isa.times_x8(tweaks),
        2 => isa.times_x16(tweaks),
        _ => isa.times_x32(tweaks),
    }
}

/// IVs on their way to become tweaks; a group is as many as a vector holds.
struct Ivs {
    numbers: Numbers,
    /// Encrypted: of the group that is worked on.
    current: IvGroup,
    /// Encrypted, once the first batch of this group is done: of the next group.
    next: IvGroup,
    /// Of the next group. Made batches before they are loaded: a load waits for stores that it spans.
    plain: IvGroup,
}

impl Ivs {
    #[inline(always)]
    fn new<I: Isa, const N: usize>(isa: I, keys: &[Block; N], numbers: Numbers) -> Self {
        let mut ivs = Self {
            numbers,
            current: IvGroup::default(),
            next: IvGroup::default(),
            plain: IvGroup::default(),
        };
        ivs.number::<I>();
        ivs.encrypt_next(isa, keys);
        ivs.current = ivs.next;
        ivs
    }

    /// Makes the IVs of another group.
    #[inline(always)]
    fn number<I: Isa>(&mut self) {
        for iv in &mut self.plain[..I::BLOCKS] {
            *iv = self.numbers.next_iv();
        }
    }

    /// Encrypts the next group by itself.
    #[inline(always)]
    fn encrypt_next<I: Isa, const N: usize>(&mut self, isa: I, keys: &[Block; N]) {
        let mut state = isa.xor(isa.load_ivs(&self.plain), isa.splat(&keys[0]));
        for key in &keys[1..N - 1] {
            state = isa.encrypt_round(state, isa.splat(key));
        }
        state = isa.encrypt_last_round(state, isa.splat(&keys[N - 1]));
        isa.store_ivs(&mut self.next, state);
        self.number::<I>();
    }

    /// The encrypted IV of the data unit after the one at `place` in the group.
    #[inline(always)]
    fn after<I: Isa>(&mut self, place: usize) -> Block {
        if place + 1 < I::BLOCKS {
            return self.current[place + 1];
        }
        self.current = self.next;
        self.current[0]
    }
}
