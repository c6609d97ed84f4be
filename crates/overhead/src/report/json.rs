//! For a program. `SCHEMA.md` beside this crate's manifest describes every member, and a test holds the two together.

use serde_json::{Value, json};

use crate::door::Door;
use crate::outcome::{CaseResult, GIB, Measured, Outcome, Staging};
use crate::plan::Depth;
use crate::source::{Protection, kernel_name};
use crate::stats::{Interval, Summary};
use crate::verdict::Answer;

/// Grows with what is added, and changes its first number when a member changes its meaning or goes.
pub const SCHEMA_VERSION: &str = "1.2";

/// The whole object.
#[must_use]
pub fn json(outcome: &Outcome, answer: &Answer) -> Value {
    let machine = &outcome.machine;
    json!({
        "version": SCHEMA_VERSION,
        "answer": {
            "headline": answer.headline,
            "saturates": answer.saturates,
            "changes": answer.changes,
            "doors": answer.doors,
            "claim_holds": answer.claim.holds,
            "claim_fails": answer.claim.fails,
            "claim_open": answer.claim.open,
            "noise": answer.noise,
        },
        "machine": {
            "cpu": machine.cpu,
            "cpus": machine.cpus,
            "kernels": machine.kernels,
            "preferred_kernel": machine.preferred,
            "memory_bytes": machine.memory_bytes,
            "system": machine.system,
            "storage": machine.storage,
            "program": machine.program,
            "began_unix_seconds": machine.began,
        },
        "run": {
            "weights": outcome.weights,
            "depth": match outcome.depth {
                Depth::Quick => "quick",
                Depth::Normal => "normal",
                Depth::Full => "full",
            },
            "threads": outcome.threads,
            "checkpoint_bytes": outcome.main_bytes,
            "announced_disk_bytes": outcome.disk_bytes,
            "announced_memory_bytes": outcome.memory_bytes,
            "seconds": milli(outcome.seconds),
            "load_average_before": outcome.load_before,
            "stolen_share": outcome.stolen.map(milli),
            "doors": outcome.doors.iter().map(|door| door.name()).collect::<Vec<_>>(),
            "left_out": outcome.notes,
        },
        "unlock": outcome.unlock.as_ref().map(|unlock| json!({
            "kdf": unlock.kdf,
            "seconds": unlock.seconds.iter().copied().map(milli).collect::<Vec<_>>(),
        })),
        "comparisons": outcome.cases.iter().map(comparison).collect::<Vec<_>>(),
    })
}

fn comparison(result: &CaseResult) -> Value {
    let case = &result.case;
    json!({
        "id": case.id(),
        "workload": case.workload.id(),
        "way": case.way.name(),
        "door": case.way.door().map(Door::name),
        "threads": case.threads,
        "bytes": result.bytes,
        "requests": result.requests,
        "longest_request_bytes": case.request_len,
        "own_share": micro(result.own_share),
        "cost_of_cipher": result.cost_of_cipher().map(interval),
        "contenders": result.measured.iter().map(contender).collect::<Vec<_>>(),
        "stages": result.stagings.iter().map(stages).collect::<Vec<_>>(),
    })
}

fn protection(protection: Protection) -> Value {
    match protection {
        Protection::Plain => json!({"kind": "plain"}),
        Protection::PlainAgain => json!({"kind": "plain-again"}),
        Protection::CopyInstead => json!({"kind": "copy-in-place-of-cipher"}),
        Protection::Encrypted(format, kernel) => json!({
            "kind": "encrypted",
            "aes_key_bits": format.key_bits,
            "sector_bytes": format.sector.bytes(),
            "kernel": kernel_name(kernel),
        }),
    }
}

fn contender(measured: &Measured) -> Value {
    json!({
        "protection": protection(measured.protection),
        "gib_per_second": summary(&measured.rate, GIB),
        "cpu_seconds_per_gib": summary(&measured.cpu_per_gib, 1.0),
        "ratio": measured.ratio.map(interval),
        "added_cpu_seconds_per_gib": measured.added_cpu.map(interval),
        "device_share": measured.device_share.map(milli),
        "is_noisy": measured.noise().is_some(),
        "seconds": measured.samples.iter().map(|sample| micro(sample.wall)).collect::<Vec<_>>(),
        "cpu_seconds": measured.samples.iter().map(|sample| micro(sample.cpu)).collect::<Vec<_>>(),
    })
}

fn stages(staging: &Staging) -> Value {
    json!({
        "protection": protection(staging.protection),
        "wall_seconds": micro(staging.wall),
        "waiting_seconds": micro(staging.stages.waiting),
        "storage_seconds": micro(staging.stages.storage),
        "cipher_seconds": micro(staging.stages.cipher),
    })
}

fn summary(summary: &Summary, unit: f64) -> Value {
    json!({
        "runs": summary.runs,
        "median": micro(summary.median / unit),
        "lower_quartile": micro(summary.lower_quartile / unit),
        "upper_quartile": micro(summary.upper_quartile / unit),
        "least": micro(summary.least / unit),
        "most": micro(summary.most / unit),
    })
}

fn interval(interval: Interval) -> Value {
    json!({
        "median": micro(interval.median),
        "low": micro(interval.low),
        "high": micro(interval.high),
        "confidence": micro(interval.confidence),
    })
}

/// To a thousandth: more digits would be noise.
fn milli(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// To a millionth.
fn micro(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
