//! For a browser: one page that needs nothing else, with its style sheet and its pictures inside.

use std::fmt::Write as _;

use super::figures::{self, Figure};
use crate::GIB;
use crate::outcome::{CaseResult, Measured, Outcome};
use crate::verdict::Answer;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn html(outcome: &Outcome, answer: &Answer) -> String {
    let mut page = String::new();
    // Writing to a string does not fail, here and below.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>What encryption costs: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>What encryption costs a model-weight workload</h1>\n<p class=\"answer\">{}</p>\n",
        escaped(&outcome.machine.cpu),
        escaped(&answer.headline)
    );
    if !answer.noise.is_empty() {
        page.push_str("<div class=\"noise\">\n<strong>This run is noisy in places:</strong>\n");
        list(&mut page, &answer.noise);
        page.push_str("</div>\n");
    }
    section(&mut page, "What saturates", &answer.saturates);
    section(&mut page, "What would change it", &answer.changes);
    section(&mut page, "Through NBD and FUSE", &answer.doors);
    claim(&mut page, answer);
    page.push_str("<h2>Pictures</h2>\n");
    for figure in figures::all(outcome) {
        picture(&mut page, &figure);
    }
    machine(&mut page, outcome);
    page.push_str(
        "<h2>All figures</h2>\n<p class=\"soft\">Rates are medians of the runs; the spread is that between the quartiles. \
         \u{201c}Of plain\u{201d} is the median of each round\u{2019}s ratio, with its 95 % interval. Shaded: an interval wider \
         than a tenth, which says little.</p>\n",
    );
    for result in &outcome.cases {
        table(&mut page, result);
    }
    section(&mut page, "Left out", &outcome.notes);
    page.push_str("</body>\n</html>\n");
    page
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}

fn list(page: &mut String, lines: &[String]) {
    page.push_str("<ul>\n");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", escaped(line));
    }
    page.push_str("</ul>\n");
}

fn section(page: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(page, "<h2>{title}</h2>");
        list(page, lines);
    }
}

fn claim(page: &mut String, answer: &Answer) {
    page.push_str("<h2>\u{201c}AES-NI makes it free, 2\u{2013}3 %\u{201d}</h2>\n");
    for (title, lines) in [
        ("True here for", &answer.claim.holds),
        ("Not true here for", &answer.claim.fails),
        ("Neither shown nor refuted for", &answer.claim.open),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(page, "<h3>{title}</h3>");
            list(page, lines);
        }
    }
}

fn picture(page: &mut String, figure: &Figure) {
    let title = escaped(&figure.title);
    let _ = writeln!(page, "<figure>\n<figcaption>{title}</figcaption>");
    if !figure.legend.is_empty() {
        page.push_str("<ul class=\"legend\">\n");
        for (name, colour) in &figure.legend {
            let _ = writeln!(
                page,
                "<li><i class=\"c{colour}\"></i>{}</li>",
                escaped(name)
            );
        }
        page.push_str("</ul>\n");
    }
    for (class, svg) in [("wide", &figure.wide), ("narrow", &figure.narrow)] {
        let attributes = format!("<svg class=\"{class}\" role=\"img\" aria-label=\"{title}\" ");
        page.push_str(&svg.replacen("<svg ", &attributes, 1));
    }
    page.push_str("</figure>\n");
}

fn machine(page: &mut String, outcome: &Outcome) {
    let machine = &outcome.machine;
    page.push_str("<h2>The machine and the run</h2>\n<dl>\n");
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / GIB);
    let share = |share: Option<f64>| {
        share.map_or_else(
            || "not told".into(),
            |share| format!("{:.1} %", share * 100.0),
        )
    };
    for (name, value) in [
        ("Processor", machine.cpu.clone()),
        ("Processors", machine.cpus.to_string()),
        (
            "Kernels",
            format!(
                "{}; preferred: {}",
                machine.kernels.join(", "),
                machine.preferred
            ),
        ),
        ("Memory", gib(machine.memory_bytes)),
        ("System", machine.system.clone()),
        ("Storage", machine.storage.clone()),
        ("Weights", outcome.weights.clone()),
        ("Program", machine.program.clone()),
        ("Began", machine.date()),
        ("Took", format!("{:.0} s", outcome.seconds)),
        (
            "Load average before",
            outcome
                .load_before
                .map_or_else(|| "not told".into(), |load| format!("{load:.2}")),
        ),
        ("Time taken by the host", share(outcome.stolen)),
    ] {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    }
    page.push_str("</dl>\n");
}

const COLUMNS: [&str; 6] = ["", "GiB/s", "spread", "runs", "of plain", "CPU s/GiB"];

fn table(page: &mut String, result: &CaseResult) {
    let case = &result.case;
    let _ = writeln!(
        page,
        "<div class=\"case\">\n<h3>{}</h3>\n<p class=\"soft\">{}: {:.1} MiB in {} requests a run; the tool\u{2019}s own share {:.2} %.</p>\n<table>\n<thead><tr>",
        escaped(case.workload.title()),
        escaped(&case.id()),
        result.bytes as f64 / 1_048_576.0,
        result.requests,
        result.own_share * 100.0
    );
    for column in COLUMNS {
        let _ = write!(page, "<th>{column}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for one in &result.measured {
        row(page, one);
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
}

fn row(page: &mut String, one: &Measured) {
    let ratio = one.ratio.map_or_else(
        || "\u{2013}".to_owned(),
        |ratio| {
            format!(
                "{:.3} ({:.3} to {:.3})",
                ratio.median, ratio.low, ratio.high
            )
        },
    );
    let cells = [
        escaped(&one.protection.name()),
        format!("{:.2}", one.rate.median / GIB),
        format!("{:.1} %", one.rate.spread() * 100.0),
        one.rate.runs.to_string(),
        ratio,
        format!("{:.3}", one.cpu_per_gib.median),
    ];
    let noisy = if one.noise().is_some() {
        " class=\"noisy\""
    } else {
        ""
    };
    let _ = write!(page, "<tr{noisy}>");
    for (cell, column) in cells.iter().zip(COLUMNS) {
        let _ = write!(page, "<td data-label=\"{column}\">{cell}</td>");
    }
    page.push_str("</tr>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_named_is_text_and_not_markup() {
        assert_eq!(
            escaped("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }
}
