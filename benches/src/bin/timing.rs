//! Whether the time of a key-dependent path tells something of the key or the data (the test of dudect: Reparaz,
//! Balasch, Verbauwhede, "Dude, is my code constant time?", 2017).
//!
//! ```text
//! RUSTFLAGS='--cfg aes_backend="soft"' \
//!     cargo run --release -p lucarne-benches --bin timing --target-dir target/soft [-- SAMPLES [WORDS]]
//! ```
//! Inputs of two classes, one fixed and one random, come in random order; Welch's t says how surely the mean times
//! of the classes differ. It is taken over all samples and over the fastest 99, 95, 90, 75 and 50 % of them, because
//! what a busy machine adds lies in the slow ones; the largest counts. WORDS chooses the lines that have them. Above 10 a difference is certain and the
//! command fails; above 4.5 it is worth another look with more samples. The first line is a control: a comparison that
//! stops at the first difference, which must be found out.
//!
//! AES instructions take the same time for any operand. With the flags above the portable kernel runs without them,
//! in the `aes` crate's bitsliced code, which is what CPUs that lack them run; key expansion and the comparison of the
//! key's halves are the same code either way.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use lucarne_cipher::{Kernel, XtsAes};

const SAMPLES: usize = 100_000;
/// The clock's resolution must be little against what is timed.
const CALLS: usize = 4;
const SUSPICIOUS: f64 = 4.5;
const CERTAIN: f64 = 10.0;
/// The parts of the samples, fastest first, that t is taken over.
const PARTS: [f64; 6] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5];

fn main() -> ExitCode {
    let words = std::env::args().nth(2).unwrap_or_default();
    let samples = match std::env::args().nth(1).map(|word| word.parse()) {
        None => SAMPLES,
        Some(Ok(samples)) => samples,
        Some(Err(error)) => {
            eprintln!("timing: number of samples: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("# {samples} samples; the portable kernel's AES: {}", aes());
    println!("largest |t|\tns in the middle, fixed\trandom\twhat\tverdict");

    let control = report("control: a comparison that stops early", samples, leaky());
    if control < CERTAIN {
        println!("the control was not found out: the other lines mean nothing");
        return ExitCode::FAILURE;
    }
    let mut worst: f64 = 0.0;
    let report = |what: &str, samples, sample: &mut dyn FnMut(Class, &mut Random) -> f64| match what
        .contains(&words)
    {
        true => report(what, samples, sample),
        false => 0.0,
    };
    // The other control: two classes that are the same.
    let what = "portable, 512 bits, encrypt: placebo, random against random";
    worst = report(what, samples, &mut placebo()).max(worst);
    for kernel in Kernel::available() {
        for bits in [256, 512] {
            let what = format!("{kernel}, {bits} bits, key expansion: the key");
            worst = report(&what, samples, &mut key_expansion(kernel, bits)).max(worst);
        }
        let what = format!("{kernel}, equal halves: first or last byte differs");
        worst = report(&what, samples, &mut unequal_halves(kernel)).max(worst);
    }
    for bits in [256, 512] {
        for (direction, process) in DIRECTIONS {
            let what = format!("portable, {bits} bits, {direction}: the data");
            worst = report(&what, samples, &mut data(bits, process)).max(worst);
            let what = format!("portable, {bits} bits, {direction}: the key");
            worst = report(&what, samples, &mut key(bits, process)).max(worst);
        }
    }
    match worst < CERTAIN {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn aes() -> &'static str {
    match cfg!(aes_backend = "soft") {
        true => "in software",
        false => "the CPU's instructions, where it has them",
    }
}

type Process = fn(&XtsAes, usize, u64, &mut [u8]) -> Result<(), lucarne_cipher::CipherError>;
const DIRECTIONS: [(&str, Process); 2] =
    [("encrypt", XtsAes::encrypt), ("decrypt", XtsAes::decrypt)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Fixed,
    Random,
}

/// Times `sample`, prints the verdict, and gives the largest |t|.
fn report(what: &str, samples: usize, mut sample: impl FnMut(Class, &mut Random) -> f64) -> f64 {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut times = Vec::with_capacity(samples);
    // The first ones warm caches and clock.
    for index in 0..samples + samples / 10 {
        let class = match random.next() >> 63 {
            0 => Class::Fixed,
            _ => Class::Random,
        };
        let time = sample(class, &mut random);
        if index >= samples / 10 {
            times.push((time, class));
        }
    }
    let t = largest_t(&mut times);
    let verdict = match t {
        _ if t >= CERTAIN => "differs",
        _ if t >= SUSPICIOUS => "look again, with more samples",
        _ => "no difference found",
    };
    let [fixed, random] = [Class::Fixed, Class::Random].map(|class| middle(&times, class));
    println!("{t:.1}\t{fixed:.2}\t{random:.2}\t{what}\t{verdict}");
    t
}

/// The mean of the middle half of times in ascending order.
fn middle(times: &[(f64, Class)], class: Class) -> f64 {
    let of_class: Vec<f64> = times
        .iter()
        .filter(|sample| sample.1 == class)
        .map(|sample| sample.0)
        .collect();
    let half = &of_class[of_class.len() / 4..of_class.len() * 3 / 4];
    half.iter().sum::<f64>() / half.len().max(1) as f64
}

fn largest_t(times: &mut [(f64, Class)]) -> f64 {
    times.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let of_part = |part: f64| welch_t(&times[..(times.len() as f64 * part) as usize]).abs();
    PARTS.into_iter().map(of_part).fold(0.0, f64::max)
}

/// Welch's t of the two classes' means; 0 where there is nothing to compare.
fn welch_t(times: &[(f64, Class)]) -> f64 {
    let [fixed, random] = [Class::Fixed, Class::Random].map(|class| {
        let of_class = || {
            times
                .iter()
                .filter(move |sample| sample.1 == class)
                .map(|sample| sample.0)
        };
        let count = of_class().count() as f64;
        let mean = of_class().sum::<f64>() / count;
        let variance = of_class().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    let t = (fixed.0 - random.0) / (fixed.1 + random.1).sqrt();
    if t.is_finite() { t } else { 0.0 }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every bit passes tests of randomness, also of each 65th or 513th number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| (self.next() >> 56) as u8)
    }

    /// The fixed bytes or fresh ones; both are made either way, so that the classes differ in nothing else.
    fn choose<const N: usize>(&mut self, class: Class, fixed: &[u8; N]) -> [u8; N] {
        let fresh = self.bytes::<N>();
        let mask = 0_u8.wrapping_sub(u8::from(black_box(class) == Class::Random));
        std::array::from_fn(|place| fixed[place] ^ ((fixed[place] ^ fresh[place]) & mask))
    }
}

/// A fixed key, or two of them: some bytes that differ.
fn fixed<const N: usize>() -> [u8; N] {
    std::array::from_fn(|place| place as u8)
}

fn nanoseconds(timed: impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        timed();
    }
    start.elapsed().as_nanos() as f64
}

/// What dudect must find: it stops at the first byte for a random value and at none for the fixed one.
fn leaky() -> impl FnMut(Class, &mut Random) -> f64 {
    let secret = fixed::<256>();
    move |class, random| {
        let guess = random.choose(class, &secret);
        nanoseconds(|| {
            let equal = black_box(&secret)
                .iter()
                .zip(black_box(&guess))
                .all(|(a, b)| black_box(a == b));
            black_box(equal);
        })
    }
}

fn key_expansion(kernel: Kernel, bits: usize) -> impl FnMut(Class, &mut Random) -> f64 {
    let fixed_key = fixed::<64>();
    move |class, random| {
        let key = random.choose(class, &fixed_key);
        nanoseconds(|| {
            black_box(XtsAes::new(black_box(&key[..bits / 8]), kernel).is_ok());
        })
    }
}

/// The halves differ in their first byte, or in their last.
fn unequal_halves(kernel: Kernel) -> impl FnMut(Class, &mut Random) -> f64 {
    let [mut first, mut last] = [[0x5a; 64]; 2];
    first[32] ^= 1;
    last[63] ^= 1;
    move |class, _| {
        let mask = 0_u8.wrapping_sub(u8::from(black_box(class) == Class::Random));
        let key: [u8; 64] =
            std::array::from_fn(|place| first[place] ^ ((first[place] ^ last[place]) & mask));
        nanoseconds(|| {
            black_box(XtsAes::new(black_box(&key), kernel).is_ok());
        })
    }
}

/// One sector, of fixed or random bytes.
fn data(bits: usize, process: Process) -> impl FnMut(Class, &mut Random) -> f64 {
    let xts = XtsAes::new(&fixed::<64>()[..bits / 8], Kernel::Portable).expect("a good key");
    let zeros = [0; 512];
    move |class, random| {
        let source = random.choose(class, &zeros);
        nanoseconds(|| {
            let mut sector = *black_box(&source);
            process(&xts, 512, 0, &mut sector).expect("a whole data unit");
            black_box(sector);
        })
    }
}

/// As [`data`], of random bytes in both classes.
fn placebo() -> impl FnMut(Class, &mut Random) -> f64 {
    let mut sample = data(512, XtsAes::encrypt);
    move |_, random| sample(Class::Random, random)
}

/// One sector of zeros, under a fixed or a random key.
fn key(bits: usize, process: Process) -> impl FnMut(Class, &mut Random) -> f64 {
    let fixed_key = fixed::<64>();
    move |class, random| {
        let key = random.choose(class, &fixed_key);
        let xts = XtsAes::new(&key[..bits / 8], Kernel::Portable)
            .expect("halves of 16 random bytes differ");
        nanoseconds(|| {
            let mut sector = black_box([0; 512]);
            process(&xts, 512, 0, &mut sector).expect("a whole data unit");
            black_box(sector);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(difference: f64) -> Vec<(f64, Class)> {
        let mut random = Random(1);
        (0..20_000)
            .map(|index| {
                let class = [Class::Fixed, Class::Random][index % 2];
                let noise = (random.next() >> 40) as f64 / f64::from(1 << 24);
                (
                    100.0
                        + noise
                        + if class == Class::Random {
                            difference
                        } else {
                            0.0
                        },
                    class,
                )
            })
            .collect()
    }

    #[test]
    fn a_difference_of_a_tenth_of_the_noise_is_found_and_none_is_not() {
        assert!(largest_t(&mut sampled(0.1)) > CERTAIN);
        assert!(largest_t(&mut sampled(0.0)) < SUSPICIOUS);
    }

    #[test]
    fn welchs_t_is_the_textbooks() {
        // Means 2 and 4, variances 1 and 1, three samples each: (2 - 4) / sqrt(2/3).
        let times: Vec<_> = [1.0, 2.0, 3.0]
            .map(|time| (time, Class::Fixed))
            .into_iter()
            .chain([3.0, 4.0, 5.0].map(|time| (time, Class::Random)))
            .collect();
        assert!((welch_t(&times) + 2.0 / (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(welch_t(&[]), 0.0);
    }
}
