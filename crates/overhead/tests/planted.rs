//! The tool measures what it claims: a slow-down that is planted is found, and none where there is none.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lucarne_overhead::measure::{Clock, Reading, Rounds, SystemClock, Work, take_turns};
use lucarne_overhead::stats::Interval;
use lucarne_overhead::{Control, Error};

const ROUNDS: Rounds = Rounds {
    least: 41,
    most: 41,
    budget: Duration::ZERO,
    warm_up: true,
};

/// A clock that the works move, with the load of a shared machine: slow waves that all feel, and jitter of each turn.
#[derive(Clone, Default)]
struct Simulated(Rc<Cell<Duration>>, Rc<Cell<u64>>);

impl Simulated {
    fn unit(&self) -> f64 {
        // A linear congruential generator (Knuth's constants).
        let next = self
            .1
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.1.set(next);
        (next >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Clock for Simulated {
    fn read(&self) -> Reading {
        Reading {
            wall: self.0.get(),
            cpu: self.0.get(),
        }
    }
}

struct Timed {
    clock: Simulated,
    seconds: f64,
}

impl Work for Timed {
    fn run(&mut self) -> Result<(), Error> {
        let now = self.clock.0.get().as_secs_f64();
        let wave = 1.0 + 0.3 * (now / 7.0).sin();
        let jitter = 1.0 + 0.04 * (self.clock.unit() - 0.5);
        let interrupted = if self.clock.unit() < 0.05 { 1.5 } else { 1.0 };
        let taken = Duration::from_secs_f64(self.seconds * wave * jitter * interrupted);
        self.clock.0.set(self.clock.0.get() + taken);
        Ok(())
    }
}

/// The ratio of the plain rate that a work comes out with which takes `factor` times as long.
fn simulated(factor: f64, seed: u64) -> Interval {
    let clock = Simulated::default();
    clock.1.set(seed);
    let work = |seconds| Timed {
        clock: clock.clone(),
        seconds,
    };
    let (mut plain, mut planted) = (work(0.2), work(0.2 * factor));
    let samples = take_turns(
        &clock,
        ROUNDS,
        &mut [&mut plain, &mut planted],
        &Control::default(),
    )
    .unwrap();
    Interval::of(
        samples[0]
            .iter()
            .zip(&samples[1])
            .map(|(plain, planted)| plain.wall / planted.wall),
    )
}

#[test]
fn five_percent_are_found_under_waves_of_thirty() {
    for seed in 0..50 {
        let planted = simulated(1.05, seed);
        assert!(planted.high < 1.0, "seed {seed}: {planted:?}");
        assert!(
            (planted.median - 1.0 / 1.05).abs() < 0.01,
            "seed {seed}: {planted:?}"
        );
    }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let found = (0..200)
        .filter(|&seed| simulated(1.0, seed).excludes(1.0))
        .count();
    // One in twenty by definition: 10 of 200, and three standard deviations of that.
    assert!(found <= 10 + 9, "{found} of 200");
}

/// Real work on the real clock of this thread's processor time: a busy machine slows both alike.
struct Spin(u64);

impl Work for Spin {
    fn run(&mut self) -> Result<(), Error> {
        let mut state = 1_u64;
        for step in 0..self.0 {
            state = std::hint::black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(step),
            );
        }
        Ok(())
    }
}

#[test]
fn five_percent_more_real_work_are_found() {
    let rounds = |steps: u64| {
        let (mut plain, mut planted) = (Spin(2_000_000), Spin(steps));
        let clock = SystemClock::start();
        let samples = take_turns(
            &clock,
            ROUNDS,
            &mut [&mut plain, &mut planted],
            &Control::default(),
        )
        .unwrap();
        Interval::of(
            samples[0]
                .iter()
                .zip(&samples[1])
                .map(|(plain, planted)| plain.cpu / planted.cpu),
        )
    };
    // A neighbour on the same core can spoil a measurement, not three in a row.
    let found = (0..3)
        .map(|_| rounds(2_100_000))
        .find(|planted| planted.high < 0.99 && planted.low > 0.92);
    assert!(found.is_some(), "{:?}", rounds(2_100_000));
}
