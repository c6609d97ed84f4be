//! Taking turns: what is compared runs round by round, each round beginning with another, so that load, clock and
//! temperature are the same for all, and what is compared is what ran next to each other.

use std::time::{Duration, Instant};

use crate::{Control, Error};

/// One contender of a comparison.
pub trait Work {
    /// Makes ready what the work needs; not timed.
    ///
    /// # Errors
    /// Whatever stands in the way.
    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Does the work once; timed.
    ///
    /// # Errors
    /// Whatever stands in the way.
    fn run(&mut self) -> Result<(), Error>;

    /// Gives back what [`Self::prepare`] took, so that nobody else's turn pays for it; not timed.
    fn finish(&mut self) {}
}

/// What a clock shows: differences count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Time passed.
    pub wall: Duration,
    /// Time that all threads of the process have had a processor for.
    pub cpu: Duration,
}

/// Where times come from; a test brings its own.
pub trait Clock {
    /// What it shows now.
    fn read(&self) -> Reading;

    /// Bytes that the process has had read from storage devices; `None` where nobody counts.
    fn device_bytes(&self) -> Option<u64> {
        None
    }

    /// CPU time of other processes that the works have work for them. Asked for before a turn's first reading and
    /// after its last, so that the asking is no part of the turn.
    fn others_cpu(&self) -> Duration {
        Duration::ZERO
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Begins at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        Reading {
            wall: self.0.elapsed(),
            cpu: cpu_time(rustix::time::ClockId::ProcessCPUTime),
        }
    }

    fn device_bytes(&self) -> Option<u64> {
        let counters = std::fs::read_to_string("/proc/self/io").ok()?;
        let line = counters
            .lines()
            .find_map(|line| line.strip_prefix("read_bytes: "))?;
        line.trim().parse().ok()
    }
}

/// What a CPU clock shows.
pub(crate) fn cpu_time(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    // CPU clocks begin at zero and count up.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// One turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds it took.
    pub wall: f64,
    /// Seconds of CPU time that it took, of all threads together, and of the server's where there is one.
    pub cpu: f64,
    /// Bytes read from storage devices meanwhile.
    pub device_bytes: Option<u64>,
}

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounds {
    /// At least so many, whatever the time.
    pub least: usize,
    /// At most so many.
    pub most: usize,
    /// No round begins later.
    pub budget: Duration,
    /// Every contender runs once without being timed first.
    pub warm_up: bool,
}

/// Lets every work take its turn in every round. One list of samples for each work, all of one length: the samples
/// at one place are of one round.
///
/// ```
/// use lucarne_overhead::{Control, Error, measure::{Rounds, SystemClock, Work, take_turns}};
/// struct Spin(u64);
/// impl Work for Spin {
///     fn run(&mut self) -> Result<(), Error> {
///         (0..self.0).for_each(|i| { std::hint::black_box(i); });
///         Ok(())
///     }
/// }
/// let rounds = Rounds { least: 7, most: 7, budget: std::time::Duration::ZERO, warm_up: true };
/// let mut works = [Spin(1 << 10), Spin(1 << 20)];
/// let [one, other] = &mut works;
/// let samples = take_turns(&SystemClock::start(), rounds, &mut [one, other], &Control::default())?;
/// assert!(samples[1].iter().all(|sample| sample.wall > 0.0));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// A work's own, and [`Error::Interrupted`] between turns.
pub fn take_turns(
    clock: &dyn Clock,
    rounds: Rounds,
    works: &mut [&mut dyn Work],
    control: &Control,
) -> Result<Vec<Vec<Sample>>, Error> {
    let mut samples = vec![Vec::new(); works.len()];
    if works.is_empty() {
        return Ok(samples);
    }
    if rounds.warm_up {
        for work in works.iter_mut() {
            control.check()?;
            work.prepare()?;
            work.run()?;
            work.finish();
        }
    }
    let start = clock.read().wall;
    for round in 0..rounds.most.max(1) {
        if round >= rounds.least && clock.read().wall - start >= rounds.budget {
            break;
        }
        for turn in 0..works.len() {
            control.check()?;
            let place = (round + turn) % works.len();
            works[place].prepare()?;
            samples[place].push(one_turn(clock, works[place])?);
            works[place].finish();
        }
    }
    Ok(samples)
}

fn one_turn(clock: &dyn Clock, work: &mut dyn Work) -> Result<Sample, Error> {
    let device_before = clock.device_bytes();
    let others_before = clock.others_cpu();
    let before = clock.read();
    work.run()?;
    let after = clock.read();
    let others = clock.others_cpu().saturating_sub(others_before);
    let device_after = clock.device_bytes();
    Ok(Sample {
        wall: (after.wall - before.wall).as_secs_f64(),
        cpu: (after.cpu - before.cpu + others).as_secs_f64(),
        device_bytes: device_before
            .zip(device_after)
            .map(|(before, after)| after.saturating_sub(before)),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Noted<'a>(char, &'a RefCell<String>);

    impl Work for Noted<'_> {
        fn prepare(&mut self) -> Result<(), Error> {
            self.1.borrow_mut().push('.');
            Ok(())
        }

        fn run(&mut self) -> Result<(), Error> {
            self.1.borrow_mut().push(self.0);
            Ok(())
        }
    }

    const FOUR: Rounds = Rounds {
        least: 4,
        most: 9,
        budget: Duration::ZERO,
        warm_up: true,
    };

    #[test]
    fn every_round_begins_with_another() {
        let order = RefCell::new(String::new());
        let mut works = [Noted('a', &order), Noted('b', &order), Noted('c', &order)];
        let [a, b, c] = &mut works;
        let samples = take_turns(
            &SystemClock::start(),
            FOUR,
            &mut [a, b, c],
            &Control::default(),
        );
        assert!(samples.unwrap().iter().all(|samples| samples.len() == 4));
        assert_eq!(*order.borrow(), ".a.b.c.a.b.c.b.c.a.c.a.b.a.b.c");
    }

    #[test]
    fn a_signal_ends_it_between_turns() {
        let order = RefCell::new(String::new());
        let control = Control::default();
        control.interrupt();
        let mut work = Noted('a', &order);
        let result = take_turns(&SystemClock::start(), FOUR, &mut [&mut work], &control);
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(*order.borrow(), "");
    }

    #[test]
    fn the_cpu_clock_counts_work_and_not_sleep() {
        struct Sleep;
        impl Work for Sleep {
            fn run(&mut self) -> Result<(), Error> {
                std::thread::sleep(Duration::from_millis(30));
                Ok(())
            }
        }
        let once = Rounds {
            least: 1,
            most: 1,
            ..FOUR
        };
        let samples = take_turns(
            &SystemClock::start(),
            once,
            &mut [&mut Sleep],
            &Control::default(),
        );
        let sample = samples.unwrap()[0][0];
        // Other tests of this process run meanwhile: only the wall's figure is certain.
        assert!(sample.wall >= 0.03 && sample.cpu >= 0.0);
    }
}
