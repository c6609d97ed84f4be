//! Outcomes that nobody measured, for the tests of what is said about outcomes.

use std::collections::BTreeMap;

use crate::door::Door;
use crate::machine::Machine;
use crate::measure::Sample;
use crate::outcome::{CaseResult, GIB, Outcome, Staging, Unlock};
use crate::plan::{Case, Depth, Plan, Workload};
use crate::random::Random;
use crate::source::{Protection, Stages, Way};

/// What is planted.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    /// The encrypted rate over the plain one, of some workloads; 0.8 of the others.
    pub(crate) ratios: BTreeMap<&'static str, f64>,
    /// How far a turn strays from its rate, up or down.
    pub(crate) jitter: f64,
    /// Of a cold load, what comes from the device.
    pub(crate) device_share: f64,
    /// How fast the plain file is against itself.
    pub(crate) again: f64,
    /// How fast a copy in place of the cipher is against the plain file.
    pub(crate) copy: f64,
    /// The tool's own seconds of every turn.
    pub(crate) own_seconds: f64,
}

impl Default for Planted {
    fn default() -> Self {
        Self {
            ratios: [
                ("cold-load", 0.995),
                ("warm-load", 0.7),
                ("checkpoint-write", 0.97),
            ]
            .into(),
            jitter: 0.0005,
            device_share: 1.0,
            again: 1.0,
            copy: 0.85,
            own_seconds: 1e-5,
        }
    }
}

const ROUNDS: usize = 15;
const DOORS: [Door; 2] = [Door::Nbd, Door::Fuse];

/// All that a run of some depth measures, with four threads.
pub(crate) fn outcome(depth: Depth, planted: &Planted) -> Outcome {
    let plan = Plan::new(depth, 4, 1 << 30, false, 1, &DOORS);
    let mut random = Random::new(1);
    Outcome {
        machine: Machine {
            cpus: 4,
            ..Machine::here("ext4 on /dev/<vda> & a name that is long enough to be broken".into())
        },
        weights: "generated bf16 numbers, shapes of Qwen2.5-0.5B, scaled to 1024 MiB".into(),
        depth,
        threads: 4,
        disk_bytes: plan.disk_bytes,
        memory_bytes: plan.memory_bytes,
        main_bytes: plan.lengths.main,
        seconds: 99.0,
        load_before: Some(0.1),
        stolen: Some(0.0),
        cases: plan
            .cases
            .iter()
            .map(|case| result(case, planted, &mut random))
            .collect(),
        unlock: Some(Unlock {
            kdf: "Argon2, 4 passes over 1024 MiB, 4 lanes".into(),
            seconds: vec![2.0, 2.1, 1.9],
        }),
        doors: DOORS.to_vec(),
        notes: Vec::new(),
    }
}

fn result(case: &Case, planted: &Planted, random: &mut Random) -> CaseResult {
    let bytes = 1_u64 << 30;
    let cold = case.workload == Workload::ColdLoad;
    let plain_rate = GIB
        * match case.workload {
            Workload::ColdLoad => 3.0,
            Workload::Write | Workload::Increment => 1.0,
            _ => 8.0 * case.threads as f64,
        };
    let rate = |protection| match protection {
        Protection::Plain => plain_rate,
        Protection::PlainAgain => plain_rate * planted.again,
        Protection::CopyInstead => plain_rate * planted.copy,
        Protection::Encrypted(..) => {
            plain_rate
                * planted
                    .ratios
                    .get(case.workload.id())
                    .copied()
                    .unwrap_or(0.8)
        }
    };
    let mut turns = |protection| -> Vec<Sample> {
        (0..ROUNDS)
            .map(|_| {
                let off = 1.0 + planted.jitter * (2.0 * random.unit() - 1.0);
                let wall = bytes as f64 / rate(protection) * off;
                Sample {
                    wall,
                    cpu: wall * if cold { 0.2 } else { 1.0 },
                    device_bytes: Some(if cold {
                        (bytes as f64 * planted.device_share) as u64
                    } else {
                        0
                    }),
                }
            })
            .collect()
    };
    let samples: Vec<_> = case
        .contenders
        .iter()
        .map(|&who| (who, turns(who)))
        .collect();
    let staging = |&protection: &Protection| {
        let total = bytes as f64 / rate(protection);
        let waiting = if cold { 0.8 } else { 0.0 };
        let cipher = if case.way == Way::Pread { 0.3 } else { 0.9 } * (1.0 - waiting);
        Staging {
            protection,
            wall: total,
            stages: Stages {
                waiting: total * waiting,
                storage: total * (1.0 - waiting - cipher),
                cipher: total * cipher,
            },
        }
    };
    let is_staged = |who: &&Protection| {
        case.staged && matches!(who, Protection::Plain | Protection::Encrypted(..))
    };
    let stagings = case
        .contenders
        .iter()
        .filter(is_staged)
        .map(staging)
        .collect();
    CaseResult::new(case, bytes, 600, samples, stagings, planted.own_seconds)
}
