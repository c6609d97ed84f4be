//! What would change the cost.

use lucarne::{Kernel, SectorSize};

use super::{one_thread, rate};
use crate::outcome::{CaseResult, Measured, Outcome};
use crate::plan::Workload;
use crate::source::{DEFAULT_FORMAT, Format, Protection, Way, kernel_name};

pub(super) fn changes(outcome: &Outcome) -> Vec<String> {
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
