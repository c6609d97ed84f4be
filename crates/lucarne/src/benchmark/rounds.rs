//! Taking turns: what is compared runs under the same load and clock, and an interrupted turn does not
//! count.

use std::time::{Duration, Instant};

/// Long against the clock's resolution, short against changes of load and clock.
const TURN: Duration = Duration::from_millis(2);

/// Something to measure: does a piece of work and tells how many bytes it was.
pub(super) type Work<'a> = &'a mut dyn FnMut() -> usize;

/// The rates of all works in bytes a second, round by round, for as long as `budget`; at least three
/// rounds.
pub(super) fn take_turns<const N: usize>(
    budget: Duration,
    mut works: [Work<'_>; N],
) -> Vec<[f64; N]> {
    // Caches, page tables and the clock.
    for work in &mut works {
        turn(work);
    }
    let start = Instant::now();
    let mut rounds = Vec::new();
    while rounds.len() < 3 || start.elapsed() < budget {
        rounds.push(works.each_mut().map(turn));
    }
    rounds
}

fn turn(work: &mut Work<'_>) -> f64 {
    let start = Instant::now();
    let mut bytes = 0;
    loop {
        bytes += work();
        let taken = start.elapsed();
        if taken >= TURN {
            return bytes as f64 / taken.as_secs_f64();
        }
    }
}

/// The middle of some numbers.
pub(super) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => numbers[len / 2],
        len => f64::midpoint(numbers[len / 2 - 1], numbers[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_not_move_the_median() {
        assert_eq!(median([3.0, 1.0, 1000.0]), 3.0);
        assert_eq!(median([4.0, 1.0, 2.0, 1000.0]), 3.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn works_take_turns() {
        let order = std::cell::RefCell::new(Vec::new());
        let mut one = || {
            std::thread::sleep(TURN);
            order.borrow_mut().push('a');
            1000
        };
        let mut other = || {
            std::thread::sleep(TURN);
            order.borrow_mut().push('b');
            4000
        };
        let rounds = take_turns(Duration::ZERO, [&mut one, &mut other]);
        assert_eq!(rounds.len(), 3);
        let order: String = order.borrow().iter().collect();
        assert_eq!(order, "abababab");
        for [one, other] in rounds {
            assert!(one > 0.0 && other > 0.0);
        }
    }
}
