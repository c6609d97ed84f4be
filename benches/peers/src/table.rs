//! The rows as Markdown tables.

use std::fmt::Write;

use crate::{
    machine::Machine,
    measure::{Case, Row},
};

/// A wider spread is shown: the figure is that uncertain.
const QUIET: f64 = 0.05;

pub(crate) fn markdown(machine: &Machine, rows: &[Row]) -> String {
    let mut text = format!(
        "{} (family {}, model {}), {} CPUs, Linux {}, {}, {}\n",
        machine.cpu,
        machine.family,
        machine.model,
        machine.cpus,
        machine.linux,
        machine.rustc,
        machine.date
    );
    let mut done: Vec<(&str, usize, usize)> = Vec::new();
    for row in rows {
        let Case {
            section,
            threads,
            key_bits,
            ..
        } = row.case;
        if done.contains(&(section, threads, key_bits)) {
            continue;
        }
        done.push((section, threads, key_bits));
        let rows: Vec<_> = rows
            .iter()
            .filter(|row| {
                let case = &row.case;
                (case.section, case.threads, case.key_bits) == (section, threads, key_bits)
            })
            .collect();
        table(&mut text, &rows);
    }
    let noisy = rows.iter().filter(|row| row.spread > QUIET).count();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "\n{noisy} of {} figures spread by more than {:.0} % between the quartiles of their turns: those have a ±.",
        rows.len(),
        100.0 * QUIET
    );
    text
}

/// One of a section: variants down, cases across.
fn table(text: &mut String, rows: &[&Row]) {
    let Some(first) = rows.first() else { return };
    let mut cases: Vec<&Case> = Vec::new();
    let mut variants: Vec<&str> = Vec::new();
    for row in rows {
        if !cases.contains(&&row.case) {
            cases.push(&row.case);
        }
        if !variants.contains(&row.variant.as_str()) {
            variants.push(&row.variant);
        }
    }
    let is_argon2 = first.case.section == "argon2";
    let threads = match first.case.threads {
        1 => "one thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let title = match first.case.section {
        "cache" => format!(
            "AES-{}-XTS, 256 KiB in the cache, {threads}: GB/s (of the limit)",
            first.case.key_bits
        ),
        "memory" => format!(
            "AES-{}-XTS, 1 GiB in place, {threads}: GB/s (of the limit)",
            first.case.key_bits
        ),
        _ => format!("Argon2id, {threads}: seconds"),
    };
    let _ = write!(text, "\n**{title}**\n\n| variant |");
    for case in &cases {
        let _ = match is_argon2 {
            true => write!(text, " {} |", case.what),
            false => write!(text, " {} B {} |", case.unit_bytes, case.what),
        };
    }
    for case in cases.iter().filter(|case| case.what != "decrypt") {
        let _ = match is_argon2 {
            true => write!(text, " ours is faster by |"),
            false => write!(text, " ours / it, {} B |", case.unit_bytes),
        };
    }
    let ratios = cases.iter().filter(|case| case.what != "decrypt").count();
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(cases.len() + ratios));
    for variant in variants {
        let cell = |case: &Case| {
            rows.iter()
                .find(|row| row.variant == variant && row.case == *case)
        };
        let _ = write!(text, "| {variant} |");
        for case in &cases {
            let _ = match cell(case) {
                Some(row) => write!(text, " {} |", figure(row)),
                None => write!(text, " |"),
            };
        }
        for case in cases.iter().filter(|case| case.what != "decrypt") {
            let _ = match cell(case) {
                Some(row) => write!(text, " {:.2} |", 1.0 / row.of_ours),
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
}

fn figure(row: &Row) -> String {
    let mut text = match argon2_work_bytes(&row.case) {
        Some(bytes) => format!("{:.2}", bytes / 1e9 / row.median_gb_s),
        None => format!("{:.2}", row.median_gb_s),
    };
    if let (Some(share), false) = (row.of_limit, row.is_limit) {
        text.push_str(&format!(" ({share:.2})"));
    }
    if row.spread > QUIET {
        text.push_str(&format!(" ±{:.0} %", 50.0 * row.spread));
    }
    text
}

/// Memory times passes, of `argon2id, 256 MiB, 4 passes, 2 lanes`.
fn argon2_work_bytes(case: &Case) -> Option<f64> {
    let mut numbers = case
        .what
        .strip_prefix("argon2id, ")?
        .split(", ")
        .map(|part| {
            let number = part.split(' ').next()?;
            number.parse::<f64>().ok()
        });
    Some(numbers.next()?? * numbers.next()?? * f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: &str, what: &str, section: &'static str, unit_bytes: usize) -> Row {
        Row {
            case: Case {
                section,
                what: what.into(),
                key_bits: 256,
                unit_bytes,
                threads: 1,
            },
            variant: variant.into(),
            is_limit: variant == "limit",
            rounds: 9,
            median_gb_s: 10.0,
            spread: 0.01,
            of_ours: 0.5,
            of_limit: Some(0.25),
        }
    }

    fn machine() -> Machine {
        Machine {
            cpu: "CPU".into(),
            family: "25".into(),
            model: "17".into(),
            cpus: 2,
            linux: "6.18".into(),
            rustc: "rustc 1.95.0",
            date: "2026-11-24".into(),
        }
    }

    #[test]
    fn a_line_is_a_variant_and_noise_is_said() {
        let mut noisy = row("peer", "decrypt", "cache", 512);
        noisy.spread = 0.2;
        let rows = [
            row("peer", "encrypt", "cache", 512),
            noisy,
            row("limit", "encrypt", "cache", 512),
        ];
        let text = markdown(&machine(), &rows);
        assert!(text.contains("| variant | 512 B encrypt | 512 B decrypt | ours / it, 512 B |\n|---|---|---|---|\n"), "{text}");
        assert!(
            text.contains("| peer | 10.00 (0.25) | 10.00 (0.25) ±10 % | 2.00 |\n"),
            "{text}"
        );
        assert!(text.contains("| limit | 10.00 | | 2.00 |\n"), "{text}");
        assert!(text.contains("1 of 3 figures"), "{text}");
    }

    #[test]
    fn argon2_is_shown_in_seconds() {
        let what = "argon2id, 256 MiB, 4 passes, 2 lanes";
        let mut row = row("peer", what, "argon2", 0);
        row.of_limit = None;
        row.median_gb_s = 1.073_741_824;
        let text = markdown(&machine(), &[row]);
        assert!(text.contains("| peer | 1.00 | 2.00 |\n"), "{text}");
    }
}
