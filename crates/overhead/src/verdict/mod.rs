//! From figures to an answer. Nothing here measures: the same figures give the same words.

mod changes;
mod claim;
mod doors;
mod noise;
mod saturates;

pub use claim::{CLAIMED_COST, Claim};

use crate::outcome::{CaseResult, Outcome};
use crate::plan::Workload;
use crate::source::{DEFAULT_FORMAT, Way};
use crate::stats::{Interval, Summary};
use changes::changes;
use claim::claim;
use doors::doors;
use noise::noise;
use saturates::saturates;

/// What a person can use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What encryption costs here, in one line.
    pub headline: String,
    /// Which part saturates, and how that shows.
    pub saturates: Vec<String>,
    /// What would change it.
    pub changes: Vec<String>,
    /// What it costs through NBD and FUSE; empty where neither was measured.
    pub doors: Vec<String>,
    /// What becomes of "AES-NI makes it free, 2-3 %".
    pub claim: Claim,
    /// Why not to believe some of it; empty on a quiet machine.
    pub noise: Vec<String>,
}

/// Draws the conclusions.
#[must_use]
pub fn answer(outcome: &Outcome) -> Answer {
    Answer {
        headline: headline(outcome),
        saturates: saturates(outcome),
        changes: changes(outcome),
        doors: doors(outcome),
        claim: claim(outcome),
        noise: noise(outcome),
    }
}

fn headline(outcome: &Outcome) -> String {
    let cost = |workload| {
        let measured = outcome.case(workload, Way::Pread)?.encrypted()?;
        Some(cost_text(measured.cost()?))
    };
    let mut parts = Vec::new();
    if let Some(cost) = cost(Workload::ColdLoad) {
        parts.push(format!(
            "{cost} of the speed of loading weights from this disk"
        ));
    }
    if let Some(cost) = cost(Workload::WarmLoad) {
        parts.push(format!("{cost} when they are in the page cache already"));
    }
    if let Some(cost) = cost(Workload::Write) {
        parts.push(format!("{cost} of writing checkpoints"));
    }
    let noisy = [Workload::ColdLoad, Workload::WarmLoad, Workload::Write]
        .into_iter()
        .filter_map(|workload| outcome.case(workload, Way::Pread)?.encrypted())
        .any(|measured| measured.noise().is_some());
    let mut headline = format!(
        "Here encryption costs {} ({DEFAULT_FORMAT}, kernel {}, {} threads; intervals at 95 %{}).",
        listed(&parts),
        outcome.machine.preferred,
        outcome.threads,
        if noisy { "; NOISY RUN, see below" } else { "" },
    );
    headline.extend(why_faster(outcome));
    headline
}

/// Nobody believes that encryption is faster than none unless he is told why.
fn why_faster(outcome: &Outcome) -> Option<String> {
    let ways: Vec<_> = [Way::Pread, Way::Mapping]
        .into_iter()
        .filter(|&way| {
            let warm = outcome.case(Workload::WarmLoad, way);
            let cost = warm.and_then(|warm| warm.encrypted()?.cost());
            cost.is_some_and(|cost| cost.high < 0.0)
        })
        .map(|way| way.name().to_owned())
        .collect();
    let cipher = outcome
        .case(Workload::WarmLoad, Way::Pread)?
        .cost_of_cipher()?;
    (!ways.is_empty()).then(|| {
        format!(
            " Out of the page cache encrypted weights load faster than plain ones by {} because the library puts plaintext past the CPU's caches, as neither read(2) nor a copy out of a mapping does; beside a copy by pread that does so too the cipher costs {}.",
            listed(&ways),
            cost_text(cipher)
        )
    })
}

/// `3.1 % (2.2 to 4.0 %)`, or that nothing can be seen.
#[must_use]
pub fn cost_text(cost: Interval) -> String {
    let range = format!("{} to {} %", tenths(cost.low), tenths(cost.high));
    match cost.low <= 0.0 {
        true if cost.high <= 0.0 => format!("nothing ({range})"),
        true => format!("nothing that can be told from noise ({range})"),
        false => format!("{} % ({range})", tenths(cost.median)),
    }
}

/// A share in percent; no minus before a zero.
fn tenths(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    if text == "-0.0" { "0.0".into() } else { text }
}

fn listed(parts: &[String]) -> String {
    match parts {
        [] => "what could not be measured".into(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    }
}

fn rate(summary: &Summary) -> String {
    format!("{:.2} GiB/s", summary.median / crate::GIB)
}

fn name(result: &CaseResult) -> String {
    format!(
        "{} by {}, {}",
        result.case.workload.title(),
        result.case.way.name(),
        threads_text(result.case.threads)
    )
}

fn threads_text(threads: usize) -> String {
    match threads {
        1 => "1 thread".into(),
        count => format!("{count} threads"),
    }
}

fn one_thread(outcome: &Outcome, way: Way) -> Option<&CaseResult> {
    outcome.cases.iter().find(|result| {
        result.case.workload == Workload::WarmLoad
            && !result.compares_formats()
            && result.case.way == way
            && result.case.threads == 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Depth;
    use crate::synthetic::{Planted, outcome};

    fn answered(planted: &Planted) -> Answer {
        answer(&outcome(Depth::Normal, planted))
    }

    fn has(lines: &[String], start: &str) -> bool {
        lines.iter().any(|line| line.starts_with(start))
    }

    #[test]
    fn planted_costs_are_the_answer() {
        let answer = answered(&Planted::default());
        let headline = &answer.headline;
        for part in [
            "0.5 % (0.",
            " of the speed of loading weights from this disk",
            "30.0 % (",
            " when they are in the page cache already, and 3.0 % (",
            " of writing checkpoints",
        ] {
            assert!(headline.contains(part), "{part}: {headline}");
        }
        assert!(!headline.contains("NOISY"), "{headline}");
        assert_eq!(answer.noise, [""; 0]);
    }

    #[test]
    fn a_load_that_is_faster_than_the_plain_one_is_explained() {
        let mut planted = Planted::default();
        planted.ratios.insert("warm-load", 1.2);
        planted.copy = 1.5;
        let headline = answered(&planted).headline;
        for part in [
            "nothing (-20.",
            "past the CPU's caches",
            "the cipher costs 20.0 % (",
        ] {
            assert!(headline.contains(part), "{part}: {headline}");
        }
        assert!(
            headline.contains("by pread, and mapping because"),
            "{headline}"
        );
        let mut outcome = outcome(Depth::Normal, &planted);
        for result in &mut outcome.cases {
            if result.case.way == Way::Pread {
                for measured in &mut result.measured {
                    measured.ratio = None;
                }
            }
        }
        let headline = answer(&outcome).headline;
        assert!(
            headline.contains("plain ones by mapping because"),
            "{headline}"
        );
        let headline = answered(&Planted::default()).headline;
        assert!(!headline.contains("faster than plain"), "{headline}");
    }

    #[test]
    fn the_claim_is_judged_by_the_interval() {
        let mut planted = Planted::default();
        planted.ratios.insert("random-tensors", 0.97);
        let claim = answered(&planted).claim;
        assert!(has(
            &claim.holds,
            "cold load of all tensors by pread, 4 threads: 0.5 %"
        ));
        assert!(has(
            &claim.fails,
            "warm load of all tensors by pread, 4 threads: 30.0 %"
        ));
        assert!(
            has(&claim.open, "single tensors of 1 MiB and more"),
            "{:?}",
            claim.open
        );
    }

    #[test]
    fn what_saturates_is_the_largest_stage_with_its_evidence() {
        let lines = answered(&Planted::default()).saturates;
        assert!(has(
            &lines,
            "cold load of all tensors by pread, 4 threads: the disk (the disk 80 %"
        ));
        assert!(has(
            &lines,
            "warm load of all tensors by pread, 4 threads: the kernel's copy"
        ));
        assert!(has(
            &lines,
            "warm load of all tensors by mapping, 4 threads: decrypting out of the mapping"
        ));
        assert!(has(&lines, "With one thread, the thread"));
        assert!(has(&lines, "Unlocking takes 2.0 s once"));
        let evidence = [
            "CPU seconds per GiB plain",
            "100 % of the bytes came from the device",
            "a copy in place of the cipher",
        ];
        for part in evidence {
            assert!(lines.iter().any(|line| line.contains(part)), "{part}");
        }
    }

    #[test]
    fn what_would_change_it_has_every_lever() {
        let lines = answered(&Planted::default()).changes;
        for lever in [
            "Threads: ",
            "Way in: ",
            "O_DIRECT: ",
            "Sector size: ",
            "Key: ",
            "Kernel, beside ",
        ] {
            assert!(has(&lines, lever), "{lever}{lines:?}");
        }
    }

    #[test]
    fn each_door_has_its_costs_and_its_own_speed() {
        let lines = answered(&Planted::default()).doors;
        let [nbd, nbd_itself, fuse, _] = &lines[..] else {
            panic!("{lines:?}");
        };
        for part in [
            "0.5 % (0.",
            " of the speed of loading from this disk, 30.0 % (",
            " when the image is in the page cache, ",
            "and 3.0 % (",
        ] {
            assert!(nbd.contains(part), "{part}: {nbd}");
        }
        assert!(fuse.contains("(by a mapping)") && fuse.contains("has cached"));
        assert!(
            nbd_itself.starts_with("NBD itself: ") && nbd_itself.contains("added by encryption"),
            "{nbd_itself}"
        );
        let mut without = outcome(Depth::Normal, &Planted::default());
        without.doors.clear();
        assert_eq!(answer(&without).doors, [""; 0]);
    }

    #[test]
    fn noise_of_every_kind_is_told() {
        let loud = Planted {
            jitter: 0.6,
            device_share: 0.1,
            again: 0.9,
            own_seconds: 1e-2,
            ..Planted::default()
        };
        let mut outcome = outcome(Depth::Quick, &loud);
        outcome.stolen = Some(0.2);
        outcome.load_before = Some(9.0);
        let answer = answer(&outcome);
        assert!(answer.headline.contains("NOISY RUN"), "{}", answer.headline);
        for part in [
            "rounds leave the ratio between",
            "marked below",
            "it was not cold",
            "held against itself",
            "the tool itself takes",
            "to others meanwhile",
            "load average was 9.0",
        ] {
            assert!(
                answer.noise.iter().any(|line| line.contains(part)),
                "{part}: {:?}",
                answer.noise
            );
        }
    }

    #[test]
    fn costs_are_said_as_far_as_they_are_known() {
        let cost = |low, median, high| {
            cost_text(Interval {
                median,
                low,
                high,
                confidence: 0.96,
            })
        };
        assert_eq!(cost(0.021, 0.031, 0.0404), "3.1 % (2.1 to 4.0 %)");
        assert_eq!(
            cost(-0.01, 0.002, 0.01),
            "nothing that can be told from noise (-1.0 to 1.0 %)"
        );
        assert_eq!(cost(-0.05, -0.03, -0.0001), "nothing (-5.0 to 0.0 %)");
    }
}
