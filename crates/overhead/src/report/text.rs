//! For a terminal: the answer first, then the figures.

use std::fmt::Write as _;

use crate::GIB;
use crate::outcome::{CaseResult, Outcome};
use crate::verdict::Answer;

/// The whole text, its lines ended.
#[must_use]
pub fn text(outcome: &Outcome, answer: &Answer) -> String {
    let mut out = String::new();
    let line = |out: &mut String, text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&mut out, &answer.headline);
    let list = |out: &mut String, title: &str, lines: &[String]| {
        if !lines.is_empty() {
            line(out, &format!("\n{title}"));
            for text in lines {
                line(out, &format!("  {text}"));
            }
        }
    };
    list(
        &mut out,
        "This run is noisy; what follows says where:",
        &answer.noise,
    );
    list(&mut out, "What saturates:", &answer.saturates);
    list(&mut out, "What would change it:", &answer.changes);
    list(
        &mut out,
        "Through other ways in, beside the same server over the plain file:",
        &answer.doors,
    );
    list(
        &mut out,
        "\"It costs 2 to 3 %\" is true here for:",
        &answer.claim.holds,
    );
    list(
        &mut out,
        "\"It costs 2 to 3 %\" is not true here for:",
        &answer.claim.fails,
    );
    list(
        &mut out,
        "\"It costs 2 to 3 %\" is neither shown nor refuted for:",
        &answer.claim.open,
    );
    line(&mut out, "");
    for result in &outcome.cases {
        table(&mut out, result);
    }
    list(&mut out, "Left out:", &outcome.notes);
    let machine = &outcome.machine;
    line(
        &mut out,
        &format!(
            "{}, {} processors, {} MiB of memory, {}",
            machine.cpu,
            machine.cpus,
            machine.memory_bytes >> 20,
            machine.system
        ),
    );
    line(
        &mut out,
        &format!(
            "{}; {}; {}; {}",
            machine.storage,
            outcome.weights,
            machine.program,
            machine.date()
        ),
    );
    out
}

fn table(out: &mut String, result: &CaseResult) {
    let case = &result.case;
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{} [{}]: {} MiB in {} requests, own share {:.2} %",
        case.workload.title(),
        case.id(),
        result.bytes >> 20,
        result.requests,
        result.own_share * 100.0
    );
    let _ = writeln!(
        out,
        "  {:44} {:>9} {:>7} {:>5}  {:>24} {:>10}",
        "", "GiB/s", "spread", "runs", "of plain", "CPU s/GiB"
    );
    for one in &result.measured {
        let ratio = one.ratio.map_or_else(String::new, |ratio| {
            format!(
                "{:.3} ({:.3} to {:.3})",
                ratio.median, ratio.low, ratio.high
            )
        });
        let _ = writeln!(
            out,
            "  {:44} {:9.2} {:5.1} % {:5}  {ratio:>24} {:10.3}{}",
            one.protection.name(),
            one.rate.median / GIB,
            one.rate.spread() * 100.0,
            one.rate.runs,
            one.cpu_per_gib.median,
            if one.noise().is_some() { "  noisy" } else { "" }
        );
    }
    out.push('\n');
}
