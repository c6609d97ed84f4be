//! Taking turns, and what becomes of the turns' rates.

use std::time::{Duration, Instant};

/// A turn of something shorter is repeated until it took this long.
const SHORTEST_TURN: Duration = Duration::from_millis(2);

/// What takes turns with others.
pub(crate) struct Entry<'a> {
    pub(crate) variant: String,
    pub(crate) role: Role,
    /// Does a piece of work, numbered by the round, and tells how many bytes it was.
    pub(crate) work: Box<dyn FnMut(usize) -> usize + 'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What the others are compared with: one of a comparison.
    Ours,
    /// What nothing can exceed: at most one of a comparison.
    Limit,
    Other,
}

/// What a comparison is of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    /// `cache`, `memory`, `argon2`.
    pub(crate) section: &'static str,
    /// `encrypt`, `decrypt`, `256 MiB, 4 passes, 2 lanes`.
    pub(crate) what: String,
    /// Of AES, not of XTS: 128 or 256; 0 where there is no key.
    pub(crate) key_bits: usize,
    /// Bytes of a data unit; 0 where there is none.
    pub(crate) unit_bytes: usize,
    pub(crate) threads: usize,
}

/// A line of the record.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) variant: String,
    pub(crate) is_limit: bool,
    pub(crate) rounds: usize,
    /// Billions of bytes a second.
    pub(crate) median_gb_s: f64,
    /// Half of the turns lie within this much of each other, as a share of the median.
    pub(crate) spread: f64,
    /// Medians of what each turn was of our and of the limit's turn in the same round.
    pub(crate) of_ours: f64,
    pub(crate) of_limit: Option<f64>,
}

/// Lets all entries take their turns for so many rounds.
pub(crate) fn compare(case: &Case, mut entries: Vec<Entry<'_>>, rounds: usize) -> Vec<Row> {
    for entry in &mut entries {
        (entry.work)(0);
    }
    let mut rates = vec![Vec::new(); entries.len()];
    for round in 0..rounds {
        // Another one first each time: what went before leaves its traces in caches and clock.
        for place in 0..entries.len() {
            let at = (place + round) % entries.len();
            rates[at].push(turn(&mut entries[at].work, round));
        }
    }
    let find = |role| entries.iter().position(|entry| entry.role == role);
    let relative = |at: usize, to: usize| {
        median(
            rates[at]
                .iter()
                .zip(&rates[to])
                .map(|(rate, other)| rate / other),
        )
    };
    let ours = find(Role::Ours).expect("a comparison has one of ours");
    let limit = find(Role::Limit);
    let row = |(at, entry): (usize, &Entry<'_>)| {
        let middle = median(rates[at].iter().copied());
        Row {
            case: case.clone(),
            variant: entry.variant.clone(),
            is_limit: entry.role == Role::Limit,
            rounds,
            median_gb_s: middle / 1e9,
            spread: (quantile(&rates[at], 0.75) - quantile(&rates[at], 0.25)) / middle,
            of_ours: relative(at, ours),
            of_limit: limit.map(|limit| relative(at, limit)),
        }
    };
    entries.iter().enumerate().map(row).collect()
}

fn turn(work: &mut dyn FnMut(usize) -> usize, round: usize) -> f64 {
    let start = Instant::now();
    let mut bytes = 0;
    loop {
        bytes += work(round);
        let taken = start.elapsed();
        if taken >= SHORTEST_TURN {
            return bytes as f64 / taken.as_secs_f64();
        }
    }
}

fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&numbers.into_iter().collect::<Vec<_>>(), 0.5)
}

/// Between the two nearest, in proportion.
fn quantile(numbers: &[f64], at: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = at * (sorted.len() - 1) as f64;
    let (below, share) = (place as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] * (1.0 - share) + sorted[above] * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.25), 2.0);
        assert_eq!(quantile(&[7.0], 0.75), 7.0);
    }

    #[test]
    fn ratios_are_to_ours_and_to_the_limit() {
        let sleeper = |variant: &str, role, bytes| Entry {
            variant: variant.to_owned(),
            role,
            work: Box::new(move |_| {
                std::thread::sleep(SHORTEST_TURN);
                bytes
            }),
        };
        let case = Case {
            section: "cache",
            what: "encrypt".into(),
            key_bits: 256,
            unit_bytes: 512,
            threads: 1,
        };
        let entries = vec![
            sleeper("ours", Role::Ours, 1000),
            sleeper("peer", Role::Other, 1),
            sleeper("limit", Role::Limit, 1_000_000),
        ];
        let rows = compare(&case, entries, 3);
        assert_eq!(rows[0].of_ours, 1.0);
        assert!(rows[1].of_ours < 0.1 && rows[2].of_ours > 10.0);
        assert_eq!(rows[2].of_limit, Some(1.0));
        assert!(rows[0].of_limit < Some(0.1));
        assert!(rows.iter().all(|row| row.rounds == 3));
    }
}
