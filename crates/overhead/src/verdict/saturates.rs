//! Which part saturates, and how that shows.

use super::{cost_text, name, one_thread, rate};
use crate::outcome::{CaseResult, Outcome};
use crate::plan::Workload;
use crate::source::{Protection, Way};
use crate::stats::Summary;

pub(super) fn saturates(outcome: &Outcome) -> Vec<String> {
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
    if let Some(cost) = result.cost_of_cipher() {
        line.push_str(&format!(", beside which it costs {}", cost_text(cost)));
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
