//! What encryption costs where the weights come through NBD or FUSE.

use super::{cost_text, listed, rate};
use crate::door::Door;
use crate::outcome::{CaseResult, Outcome};
use crate::plan::Workload;
use crate::source::Way;

/// Two lines for each door that was measured: the cost, and what the door itself does to the speed.
pub(super) fn doors(outcome: &Outcome) -> Vec<String> {
    outcome
        .doors
        .iter()
        .flat_map(|&door| [costs(outcome, door), itself(outcome, door)])
        .flatten()
        .collect()
}

fn costs(outcome: &Outcome, door: Door) -> Option<String> {
    let parts: Vec<_> = outcome
        .cases
        .iter()
        .filter(|result| result.case.way.door() == Some(door))
        .filter_map(|result| {
            let cost = cost_text(result.encrypted()?.cost()?);
            Some(format!("{cost} {}", of_what(result)))
        })
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "Through {}, encryption costs {}.",
            door.name(),
            listed(&parts)
        )
    })
}

fn of_what(result: &CaseResult) -> String {
    let work = match result.case.workload {
        Workload::ColdLoad => "of the speed of loading from this disk",
        Workload::WarmLoad => "when the image is in the page cache",
        Workload::CachedLoad => "of loading again what the kernel has cached",
        Workload::RandomTensors => "of single large tensors",
        Workload::SmallTensors => "of small tensors",
        Workload::Faults => "of 4 KiB here and there",
        Workload::Write => "of writing checkpoints",
        other => other.title(),
    };
    match result.case.way {
        Way::FuseMapping => format!("{work} (by a mapping)"),
        _ => work.into(),
    }
}

fn itself(outcome: &Outcome, door: Door) -> Option<String> {
    let way = door.ways()[0];
    let (plain, encrypted) = outcome.by_way_in(way)?;
    let added = encrypted.added_cpu?;
    let (_, library) = outcome.by_way_in(Way::Pread)?;
    Some(format!(
        "{} itself: out of the page cache the plain file comes through it at {} and the volume at {}, which the library reads at {}; {:.3} CPU seconds per GiB plain, server included, {:.3} added by encryption ({:.3} to {:.3}), {:.3} in all in the library.",
        door.name(),
        rate(&plain.rate),
        rate(&encrypted.rate),
        rate(&library.rate),
        plain.cpu_per_gib.median,
        added.median,
        added.low,
        added.high,
        library.cpu_per_gib.median,
    ))
}
