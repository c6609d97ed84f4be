//! From figures to an answer. Nothing here measures: the same figures give the same words.

use lucarne::{Kernel, SectorSize};

use crate::noise::noise;
use crate::outcome::{CaseResult, Measured, Outcome};
use crate::plan::Workload;
use crate::source::{DEFAULT_FORMAT, Format, Protection, Way, kernel_name};
use crate::stats::{Interval, Summary};

/// What a person can use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What encryption costs here, in one line.
    pub headline: String,
    /// Which part saturates, and how that shows.
    pub saturates: Vec<String>,
    /// What would change it.
    pub changes: Vec<String>,
    /// What becomes of "AES-NI makes it free, 2-3 %".
    pub claim: Claim,
    /// Why not to believe some of it; empty on a quiet machine.
    pub noise: Vec<String>,
}

/// For which work the cost is at most 3 %.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// All of the interval is below.
    pub holds: Vec<String>,
    /// All of the interval is above.
    pub fails: Vec<String>,
    /// The interval has both.
    pub open: Vec<String>,
}

/// What is claimed: a cost of 3 % at most.
pub const CLAIMED_COST: f64 = 0.03;

/// Draws the conclusions.
#[must_use]
pub fn answer(outcome: &Outcome) -> Answer {
    Answer {
        headline: headline(outcome),
        saturates: saturates(outcome),
        changes: changes(outcome),
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
    format!(
        "Here encryption costs {} ({DEFAULT_FORMAT}, kernel {}, {} threads; intervals at 95 %{}).",
        listed(&parts),
        outcome.machine.preferred,
        outcome.threads,
        if noisy { "; NOISY RUN, see below" } else { "" },
    )
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

pub(crate) fn name(result: &CaseResult) -> String {
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

fn saturates(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for result in outcome.cases.iter().filter(|result| result.case.staged) {
        lines.extend(saturated(result));
    }
    if let (Some(one), Some(all)) = (
        one_thread(outcome, Way::Pread),
        outcome.case(Workload::WarmLoad, Way::Pread),
    ) && let (Some(slow), Some(fast)) = (one.encrypted(), all.encrypted())
        && fast.rate.median > 1.5 * slow.rate.median
    {
        lines.push(format!(
            "With one thread, the thread is what saturates: {} decrypted by one, {} by {}.",
            rate(&slow.rate),
            rate(&fast.rate),
            all.case.threads
        ));
    }
    if let Some(line) = unlocking(outcome) {
        lines.push(line);
    }
    lines
}

/// The largest stage of an encrypted load, with what shows it.
fn saturated(result: &CaseResult) -> Option<String> {
    let encrypted = result.encrypted()?;
    let staging = result
        .stagings
        .iter()
        .find(|staging| staging.protection == encrypted.protection)?;
    let stages = staging.stages;
    let total = stages.total();
    let cold = result.case.workload == Workload::ColdLoad;
    let waits = if cold {
        "the disk"
    } else {
        "waiting (others had the processors)"
    };
    let storage = match result.case.way {
        Way::Mapping => "mapping the pages",
        Way::Direct => "the kernel's direct reads",
        _ => "the kernel's copy out of the page cache",
    };
    let cipher = match result.case.way {
        // What is touched for the first time there is fetched there, with encryption and without.
        Way::Mapping => "decrypting out of the mapping, page faults included",
        _ => "the cipher",
    };
    let parts = [
        (stages.waiting, waits),
        (stages.storage, storage),
        (stages.cipher, cipher),
    ];
    let (_, largest) = parts
        .into_iter()
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    let shares: Vec<_> = parts
        .iter()
        .map(|(seconds, part)| format!("{part} {:.0} %", seconds / total * 100.0))
        .collect();
    let mut line = format!("{}: {largest} ({}", name(result), shares.join(", "));
    if let (Some(plain), Some(added)) = (result.plain(), encrypted.added_cpu) {
        line.push_str(&format!(
            "; {:.3} CPU seconds per GiB plain, {:.3} encrypted, {:.3} added ({:.3} to {:.3})",
            plain.cpu_per_gib.median,
            encrypted.cpu_per_gib.median,
            added.median,
            added.low,
            added.high
        ));
    }
    if let Some(share) = encrypted.device_share.filter(|_| cold) {
        line.push_str(&format!(
            "; {:.0} % of the bytes came from the device",
            share * 100.0
        ));
    }
    if let Some(ratio) = result
        .of(|protection| protection == Protection::CopyInstead)
        .and_then(|copy| copy.ratio)
    {
        line.push_str(&format!(
            "; with a copy in place of the cipher {:.2} ({:.2} to {:.2}) of the plain rate",
            ratio.median, ratio.low, ratio.high
        ));
    }
    line.push_str(").");
    Some(line)
}

fn unlocking(outcome: &Outcome) -> Option<String> {
    let unlock = outcome.unlock.as_ref()?;
    let once = Summary::of(unlock.seconds.iter().copied());
    let plain = outcome.case(Workload::ColdLoad, Way::Pread)?.plain()?;
    Some(format!(
        "Unlocking takes {:.1} s once ({}; {} runs, {:.1} to {:.1} s): as long as loading {:.1} GiB from this disk. It is the passphrase's protection, chosen when the volume is made (--iter-time), and no part of the figures above.",
        once.median,
        unlock.kdf,
        once.runs,
        once.least,
        once.most,
        once.median * plain.rate.median / crate::GIB
    ))
}

fn one_thread(outcome: &Outcome, way: Way) -> Option<&CaseResult> {
    outcome.cases.iter().find(|result| {
        result.case.workload == Workload::WarmLoad
            && !result.compares_formats()
            && result.case.way == way
            && result.case.threads == 1
    })
}

fn changes(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let warm = |way| {
        outcome
            .case(Workload::WarmLoad, way)
            .and_then(CaseResult::encrypted)
    };
    if let (Some(one), Some(all)) = (
        one_thread(outcome, Way::Pread).and_then(CaseResult::encrypted),
        warm(Way::Pread),
    ) && outcome.threads > 1
    {
        lines.push(format!(
            "Threads: {} with one, {} with {} ({:.2} times).",
            rate(&one.rate),
            rate(&all.rate),
            outcome.threads,
            all.rate.median / one.rate.median
        ));
    }
    if let (Some(pread), Some(mapping)) = (warm(Way::Pread), warm(Way::Mapping)) {
        lines.push(format!(
            "Way in: an encrypted warm load runs at {} by pread and {} by mapping ({:.2} times).",
            rate(&pread.rate),
            rate(&mapping.rate),
            mapping.rate.median / pread.rate.median
        ));
    }
    let cold = |way| {
        outcome
            .case(Workload::ColdLoad, way)
            .and_then(CaseResult::encrypted)
    };
    if let (Some(pread), Some(direct)) = (cold(Way::Pread), cold(Way::Direct)) {
        lines.push(format!(
            "O_DIRECT: an encrypted cold load runs at {} through the page cache and {} past it ({:.2} times).",
            rate(&pread.rate),
            rate(&direct.rate),
            direct.rate.median / pread.rate.median
        ));
    }
    if let Some(formats) = outcome.formats(Way::Pread, outcome.threads) {
        lines.extend(format_changes(formats));
    }
    lines
}

fn format_changes(formats: &CaseResult) -> Vec<String> {
    let preferred = Kernel::preferred();
    let with = |format: Format, kernel: Kernel| {
        formats.of(|protection| protection == Protection::Encrypted(format, kernel))
    };
    let against = |other: &Measured, base: &Measured| other.rate.median / base.rate.median;
    let Some(base) = with(DEFAULT_FORMAT, preferred) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let small_sectors = Format {
        sector: SectorSize::B512,
        ..DEFAULT_FORMAT
    };
    if let Some(other) = with(small_sectors, preferred) {
        lines.push(format!(
            "Sector size: 512-byte sectors give {:.2} times the speed of 4096-byte ones ({} and {}).",
            against(other, base),
            rate(&other.rate),
            rate(&base.rate)
        ));
    }
    if let Some(other) = with(
        Format {
            key_bits: 128,
            ..DEFAULT_FORMAT
        },
        preferred,
    ) {
        lines.push(format!(
            "Key: AES-128 gives {:.2} times the speed of AES-256 ({}).",
            against(other, base),
            rate(&other.rate)
        ));
    }
    let others: Vec<_> = Kernel::available()
        .filter(|&kernel| kernel != preferred)
        .filter_map(|kernel| {
            let other = with(DEFAULT_FORMAT, kernel)?;
            let name = kernel_name(kernel);
            Some(format!(
                "{name} {:.2} times ({})",
                against(other, base),
                rate(&other.rate)
            ))
        })
        .collect();
    if !others.is_empty() {
        lines.push(format!(
            "Kernel, beside {} at {}: {}.",
            kernel_name(preferred),
            rate(&base.rate),
            others.join(", ")
        ));
    }
    lines
}

fn claim(outcome: &Outcome) -> Claim {
    let mut claim = Claim::default();
    for result in outcome
        .cases
        .iter()
        .filter(|result| !result.compares_formats())
    {
        if result.case.workload == Workload::RequestSize {
            continue;
        }
        let Some(cost) = result.encrypted().and_then(Measured::cost) else {
            continue;
        };
        let list = if cost.high <= CLAIMED_COST {
            &mut claim.holds
        } else if cost.low > CLAIMED_COST {
            &mut claim.fails
        } else {
            &mut claim.open
        };
        list.push(format!("{}: {}", name(result), cost_text(cost)));
    }
    claim
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
