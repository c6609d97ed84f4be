//! What is compared through each door.

use super::{Case, Depth, Files, Rounds, Workload};
use crate::door::Door;
use crate::source::{Protection, Way};

/// Smaller files than the checkpoint's, which are there already: a door's speed does not depend on their length.
const WORK: [(Way, Workload, Files); 13] = [
    (Way::Nbd, Workload::ColdLoad, Files::Formats),
    (Way::Nbd, Workload::WarmLoad, Files::Formats),
    (Way::Nbd, Workload::RandomTensors, Files::Formats),
    (Way::Nbd, Workload::SmallTensors, Files::Small),
    (Way::Nbd, Workload::Write, Files::Writes),
    (Way::Fuse, Workload::ColdLoad, Files::Formats),
    (Way::Fuse, Workload::WarmLoad, Files::Formats),
    (Way::FuseMapping, Workload::WarmLoad, Files::Formats),
    (Way::Fuse, Workload::CachedLoad, Files::Formats),
    (Way::Fuse, Workload::RandomTensors, Files::Formats),
    (Way::Fuse, Workload::SmallTensors, Files::Small),
    (Way::FuseMapping, Workload::Faults, Files::Formats),
    (Way::Fuse, Workload::Write, Files::Writes),
];

/// The cases of some doors, with `rounds` by their share of a case's time and their least number.
pub(super) fn cases(
    doors: &[Door],
    depth: Depth,
    threads: usize,
    best: Protection,
    rounds: impl Fn(f64, usize) -> Rounds,
) -> Vec<Case> {
    let least = if depth == Depth::Quick { 6 } else { 9 };
    let of_door = |&door: &Door| {
        WORK.iter()
            .filter(move |(way, ..)| way.door() == Some(door))
    };
    doors
        .iter()
        .flat_map(of_door)
        .map(|&(way, workload, files)| Case {
            workload,
            way,
            threads: match workload {
                Workload::RandomTensors | Workload::SmallTensors | Workload::Faults => 1,
                _ => threads,
            },
            files,
            request_len: crate::work::REQUEST_MAX_LEN_BYTES,
            contenders: vec![Protection::Plain, best],
            rounds: rounds(0.6, least),
            staged: false,
        })
        .collect()
}
