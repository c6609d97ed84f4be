//! Which thread serves which queues.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

const DIRECTORY: &str = "/sys/devices/system/cpu";

/// How many processors there may ever be, and the numbers of those that there are.
///
/// # Errors
/// Where the system does not tell; where numbers are left out, with which the kernel's ring does not do either.
pub(super) fn processors() -> io::Result<(u16, Vec<u16>)> {
    let list = |name: &str| {
        let text = fs::read_to_string(Path::new(DIRECTORY).join(name))?;
        numbers(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
    };
    let (possible, online) = (list("possible")?, list("online")?);
    let count = u16::try_from(possible.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    if possible.iter().max() != count.checked_sub(1).as_ref() {
        let text = "processors are not numbered one by one";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok((count, online))
}

/// Of `0-3,5`.
fn numbers(text: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for part in text.trim_end().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range: RangeInclusive<u16> = first.parse().ok()?..=last.parse().ok()?;
        numbers.extend(range);
    }
    Some(numbers)
}

/// The queues of each thread. Those of processors that are there are spread, over several threads each if there are
/// enough; those of processors that may come later are one thread's all together.
pub(super) fn queues(threads: usize, possible: u16, online: &[u16]) -> Vec<Vec<u16>> {
    let mut plan = vec![Vec::new(); threads.max(1)];
    let count = plan.len();
    for turn in 0..count.max(online.len()) {
        if let Some(&queue) = online.get(turn % online.len().max(1)) {
            plan[turn % count].push(queue);
        }
    }
    plan[0].extend((0..possible).filter(|queue| !online.contains(queue)));
    plan.retain(|queues| !queues.is_empty());
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(numbers("0\n"), Some(vec![0]));
        assert_eq!(numbers("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        for bad in ["", "\n", "x", "1-", "-1", "70000", "1,,2"] {
            assert_eq!(numbers(bad), None, "{bad:?}");
        }
        assert!(processors().is_ok_and(|(possible, online)| online.len() <= possible.into()));
    }

    #[test]
    fn every_queue_has_a_thread_and_every_thread_a_queue() {
        assert_eq!(queues(4, 2, &[0, 1]), [[0], [1], [0], [1]]);
        assert_eq!(queues(2, 4, &[0, 1, 2, 3]), [[0, 2], [1, 3]]);
        assert_eq!(queues(3, 4, &[0, 2]), [vec![0, 1, 3], vec![2], vec![0]]);
        assert_eq!(queues(0, 1, &[0]), [[0]]);
        assert_eq!(queues(3, 2, &[]), [[0, 1]]);
        for threads in 1..20 {
            for possible in 1..20 {
                for online in 1..=possible {
                    let online: Vec<u16> = (0..online).collect();
                    let plan = queues(threads, possible, &online);
                    assert!(plan.len() <= threads);
                    assert!((0..possible).all(|queue| plan.iter().flatten().any(|&q| q == queue)));
                    for queues in &plan {
                        let mut once = queues.clone();
                        once.dedup();
                        assert!(!queues.is_empty() && once == *queues);
                    }
                }
            }
        }
    }
}
