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

use cipher::inout::InOutBuf;

use super::{
    Run,
    arch::{Batch, Block, Isa, IvGroup, STREAMS},
};
use crate::iv::Numbers;

/// How far ahead of the data memory is asked for. On a Sapphire Rapids this gave a prototype of this loop
/// 30 % from memory, 1 to 3 KiB alike, and 8 KiB lost most of it; in the cache it costs nothing that shows.
const PREFETCH_BYTES: usize = 2048;

/// Encryption or decryption: which rounds.
pub(super) trait Direction {
    /// Whether the result goes past the caches.
    const IS_PAST_CACHES: bool = false;
    /// The same without that.
    type IntoCache: Direction;

    fn round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector;
    fn last_round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector;
}

pub(super) struct Encrypt;

impl Direction for Encrypt {
    type IntoCache = Self;

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
    type IntoCache = Self;

    #[inline(always)]
    fn round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        isa.decrypt_round(state, key)
    }

    #[inline(always)]
    fn last_round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        isa.decrypt_last_round(state, key)
    }
}

/// [`Decrypt`] for plaintext that is more than the caches hold.
pub(super) struct DecryptPastCaches;

impl Direction for DecryptPastCaches {
    const IS_PAST_CACHES: bool = true;
    type IntoCache = Decrypt;

    #[inline(always)]
    fn round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        Decrypt::round(isa, state, key)
    }

    #[inline(always)]
    fn last_round<I: Isa>(isa: I, state: I::Vector, key: I::Vector) -> I::Vector {
        Decrypt::last_round(isa, state, key)
    }
}

/// Whole batches of data.
type Batches<'i, 'o, I> = InOutBuf<'i, 'o, Batch<I>>;

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
        data,
    } = run;
    if data.is_empty() {
        return;
    }
    let ivs = Ivs::new(isa, keys.tweak, numbers);
    let mut tweaks = [isa.splat(&ivs.current[0]); STREAMS];
    unrolled!(S in [0 1 2 3 4 5 6 7] {
        tweaks[S] = first_tweaks(isa, &tweaks, isa.splat(&ivs.current[0]), S);
    });

    let mut state = State {
        isa,
        keys,
        tweaks,
        ivs,
    };
    let batches_per_unit = unit_bytes / size_of::<Batch<I>>();
    if unit_bytes.is_multiple_of(size_of::<Batch<I>>()) {
        let (batches, _) = data.into_chunks::<I::BatchLen>();
        state.units::<D>(batches_per_unit, batches);
        if D::IS_PAST_CACHES {
            isa.fence();
        }
    } else {
        state.odd_units::<D::IntoCache>(unit_bytes, data);
    }
}

/// Copies past the caches: what [`DecryptPastCaches`] does to the memory, without AES.
#[inline(always)]
pub(super) fn copy_past_caches<I: Isa>(isa: I, data: InOutBuf<'_, '_, u8>) {
    let (mut batches, tail) = data.into_chunks::<I::BatchLen>();
    let mut lines = isa.lines(batches.get_out());
    for at in 0..batches.len() {
        let input = &batches.get_in()[at];
        let mut vectors = [isa.load(input, 0); STREAMS];
        for (stream, vector) in vectors.iter_mut().enumerate() {
            isa.prefetch(input, stream, PREFETCH_BYTES);
            *vector = isa.load(input, stream);
        }
        isa.store_past_caches(batches.get_out(), at, &mut lines, vectors);
    }
    isa.fence();
    let _ = tail.into_out_with_copied_in();
}

/// Where the work stands: the tweaks of the next batch, and the IVs of the data units to come.
struct State<'k, I: Isa, const N: usize> {
    isa: I,
    keys: Keys<'k, N>,
    tweaks: [I::Vector; STREAMS],
    ivs: Ivs,
}

impl<I: Isa, const N: usize> State<'_, I, N> {
    /// Data units of whole batches.
    #[inline(always)]
    fn units<D: Direction>(&mut self, batches_per_unit: usize, batches: Batches<'_, '_, I>) {
        let mut batches = batches;
        let mut lines = self.isa.lines(batches.get_out());
        let len = batches.len();
        let mut at = 0;
        let mut place = 0;
        while at < len {
            // All but the last batch go on in the same data unit; the last makes the next one's tweaks.
            let last = at + batches_per_unit - 1;
            // The first batch takes the IVs of the next group along, unless nothing will need them.
            let mut takes_ivs = place == 0 && len - last > I::BLOCKS * batches_per_unit;
            if takes_ivs && at < last {
                self.batch::<D, true>(&mut batches, at, &mut lines, None);
                at += 1;
                takes_ivs = false;
            }
            while at < last {
                self.batch::<D, false>(&mut batches, at, &mut lines, None);
                at += 1;
            }
            if takes_ivs && I::BLOCKS == 1 {
                // The first batch is the last, and needs them already.
                self.ivs.encrypt_next(self.isa, self.keys.tweak);
                takes_ivs = false;
            }
            let next = self.ivs.after::<I>(place);
            if takes_ivs {
                self.batch::<D, true>(&mut batches, last, &mut lines, Some(&next));
            } else {
                self.batch::<D, false>(&mut batches, last, &mut lines, Some(&next));
            }
            at = last + 1;
            place = (place + 1) % I::BLOCKS;
        }
    }

    /// Data units that end in part of a batch, which goes through a batch on the stack.
    #[inline(always)]
    fn odd_units<D: Direction>(&mut self, unit_bytes: usize, data: InOutBuf<'_, '_, u8>) {
        let mut rest = data;
        let mut place = 0;
        while !rest.is_empty() {
            let (unit, after) = rest.split_at(unit_bytes);
            rest = after;
            if place == 0 {
                self.ivs.encrypt_next(self.isa, self.keys.tweak);
            }
            let (mut batches, mut tail) = unit.into_chunks::<I::BatchLen>();
            let mut lines = self.isa.lines(batches.get_out());
            for at in 0..batches.len() {
                self.batch::<D, false>(&mut batches, at, &mut lines, None);
            }
            let mut whole = [Batch::<I>::default()];
            whole[0][..tail.len()].copy_from_slice(tail.get_in());
            let next = self.ivs.after::<I>(place);
            self.batch::<D, false>(
                &mut InOutBuf::from(&mut whole[..]),
                0,
                &mut lines,
                Some(&next),
            );
            let used = &whole[0][..tail.len()];
            tail.get_out().copy_from_slice(used);
            place = (place + 1) % I::BLOCKS;
        }
    }

    /// Batch `at` through AES; afterwards the tweaks are those of the batch that follows: of the data unit
    /// whose encrypted IV is `next_unit`, or of the same.
    ///
    /// `WITH_IVS`: the next group's IVs are encrypted along with it.
    #[inline(always)]
    fn batch<D: Direction, const WITH_IVS: bool>(
        &mut self,
        batches: &mut Batches<'_, '_, I>,
        at: usize,
        lines: &mut I::Lines,
        next_unit: Option<&Block>,
    ) {
        let Self {
            isa,
            keys,
            tweaks,
            ivs,
        } = self;
        let isa = *isa;
        isa.align_code();
        let first_key = isa.splat(&keys.data[0]);
        let last_key = isa.splat(&keys.data[N - 1]);
        let mut states = [first_key; STREAMS];
        let mut last_keys = [last_key; STREAMS];
        let mut data = batches.get(at);
        let input = data.get_in();
        for stream in 0..STREAMS {
            isa.prefetch(input, stream, PREFETCH_BYTES);
            states[stream] = isa.xor3(isa.load(input, stream), tweaks[stream], first_key);
            last_keys[stream] = isa.xor(last_key, tweaks[stream]);
        }
        let mut iv_state = first_key;
        if WITH_IVS {
            iv_state = isa.xor(isa.load_ivs(&ivs.plain), isa.splat(&keys.tweak[0]));
        }
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
                if WITH_IVS {
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

        if D::IS_PAST_CACHES {
            for (state, key) in states.iter_mut().zip(last_keys) {
                *state = D::last_round(isa, *state, key);
            }
            isa.store_past_caches(batches.get_out(), at, lines, states);
        } else {
            let output = data.get_out();
            for stream in 0..STREAMS {
                let done = D::last_round(isa, states[stream], last_keys[stream]);
                isa.store(output, stream, done);
            }
        }
        if WITH_IVS {
            let key = isa.splat(&keys.tweak[N - 1]);
            isa.store_ivs(&mut ivs.next, isa.encrypt_last_round(iv_state, key));
            ivs.number::<I>();
        }
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
#[repr(align(64))]
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
