//! Why not to believe some of a run.

use super::name;
use crate::outcome::{CaseResult, Measured, Outcome};
use crate::plan::Workload;
use crate::source::{Protection, Way};

/// More of the tool in a figure than this is told.
const OWN_SHARE_MAX: f64 = 0.01;
/// Less of a cold load from the device than this was no cold load.
const COLD_SHARE_MIN: f64 = 0.9;
/// Equals further apart than this are told.
const SELF_RATIO_MAX: f64 = 0.02;
/// More stolen than this is told.
const STOLEN_MAX: f64 = 0.02;

/// One line for each reason; none on a quiet machine.
pub(super) fn noise(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let mut others = 0;
    let mut of_tool = Vec::new();
    for result in &outcome.cases {
        for measured in &result.measured {
            match measured.noise() {
                Some(why) if is_in_headline(result) => {
                    lines.push(format!(
                        "{}, {}: {why}",
                        name(result),
                        measured.protection.name()
                    ));
                }
                Some(_) => others += 1,
                None => {}
            }
            lines.extend(not_itself(result, measured));
            lines.extend(not_cold(result, measured));
        }
        if result.own_share > OWN_SHARE_MAX {
            of_tool.push(format!(
                "{} {:.1} %",
                result.case.id(),
                result.own_share * 100.0
            ));
        }
    }
    if others > 0 {
        let all: usize = outcome
            .cases
            .iter()
            .map(|result| result.measured.len() - 1)
            .sum();
        lines.push(format!(
            "{others} of the other ratios ({all} in all) have an interval wider than a tenth; they are marked below"
        ));
    }
    if !of_tool.is_empty() {
        lines.push(format!(
            "the tool itself takes more than 1 % of the fastest figure of: {}",
            of_tool.join(", ")
        ));
    }
    if let Some(stolen) = outcome.stolen.filter(|&stolen| stolen > STOLEN_MAX) {
        lines.push(format!(
            "the host gave {:.1} % of the processors' time to others meanwhile",
            stolen * 100.0
        ));
    }
    let busy = 0.5 * outcome.machine.cpus as f64;
    if let Some(load) = outcome.load_before.filter(|&load| load > busy) {
        lines.push(format!(
            "the load average was {load:.1} before the run, on {} processors",
            outcome.machine.cpus
        ));
    }
    lines
}

fn is_in_headline(result: &CaseResult) -> bool {
    let case = &result.case;
    let is_meant =
        [Workload::ColdLoad, Workload::WarmLoad, Workload::Write].contains(&case.workload);
    is_meant && case.staged | case.workload.writes() && case.way == Way::Pread
}

/// Equals that came out as different.
fn not_itself(result: &CaseResult, measured: &Measured) -> Option<String> {
    let ratio = measured
        .ratio
        .filter(|_| measured.protection == Protection::PlainAgain)?;
    let is_off = ratio.excludes(1.0) || (ratio.median - 1.0).abs() > SELF_RATIO_MAX;
    is_off.then(|| {
        format!(
            "{}: the plain file held against itself comes out as {:.3} ({:.3} to {:.3}) and not as 1: smaller differences mean nothing",
            name(result),
            ratio.median,
            ratio.low,
            ratio.high
        )
    })
}

/// A cold load whose bytes did not come from the device.
fn not_cold(result: &CaseResult, measured: &Measured) -> Option<String> {
    let share = measured
        .device_share
        .filter(|&share| result.case.workload == Workload::ColdLoad && share < COLD_SHARE_MIN)?;
    Some(format!(
        "{}, {}: only {:.0} % of the bytes came from the device: it was not cold",
        name(result),
        measured.protection.name(),
        share * 100.0
    ))
}
