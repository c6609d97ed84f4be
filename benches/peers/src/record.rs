//! One run as CSV. Each line says what it ran on: lines of several records can be put together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{machine::Machine, measure::Row};

const HEADER: &str = "date,cpu,cpu_family,cpu_model,cpus,linux,rustc,section,what,aes_key_bits,unit_bytes,threads,variant,rounds,median_gb_s,spread,of_ours,of_limit";

/// Writes `DATE-CPU.csv` and tells where; an older record of the same day and CPU is replaced.
pub(crate) fn write(folder: &Path, machine: &Machine, rows: &[Row]) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let cpu = format!("{} {} {}", machine.cpu, machine.family, machine.model).to_ascii_lowercase();
    let words: Vec<_> = cpu
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let path = folder.join(format!("{}-{}.csv", machine.date, words.join("-")));
    fs::write(&path, text(machine, rows)).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn text(machine: &Machine, rows: &[Row]) -> String {
    let mut text = format!("{HEADER}\n");
    for row in rows {
        let fields = [
            machine.date.clone(),
            machine.cpu.clone(),
            machine.family.clone(),
            machine.model.clone(),
            machine.cpus.to_string(),
            machine.linux.clone(),
            machine.rustc.to_owned(),
            row.case.section.to_owned(),
            row.case.what.clone(),
            or_empty(row.case.key_bits),
            or_empty(row.case.unit_bytes),
            row.case.threads.to_string(),
            row.variant.clone(),
            row.rounds.to_string(),
            format!("{:.3}", row.median_gb_s),
            format!("{:.3}", row.spread),
            format!("{:.3}", row.of_ours),
            row.of_limit
                .map_or_else(String::new, |share| format!("{share:.3}")),
        ];
        text.push_str(&fields.map(|field| quoted(&field)).join(","));
        text.push('\n');
    }
    text
}

fn or_empty(number: usize) -> String {
    match number {
        0 => String::new(),
        number => number.to_string(),
    }
}

/// RFC 4180: a field with a comma or a quote is quoted, and its quotes are doubled.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Case;

    #[test]
    fn lines_have_as_many_fields_as_the_header() {
        let machine = Machine {
            cpu: "A \"CPU\"".into(),
            family: "25".into(),
            model: "17".into(),
            cpus: 2,
            linux: "6.18".into(),
            rustc: "rustc 1.95.0",
            date: "2026-11-24".into(),
        };
        let row = Row {
            case: Case {
                section: "cache",
                what: "encrypt".into(),
                key_bits: 256,
                unit_bytes: 0,
                threads: 1,
            },
            variant: "plain".into(),
            is_limit: false,
            rounds: 40,
            median_gb_s: 15.8127,
            spread: 0.011,
            of_ours: 1.0,
            of_limit: None,
        };
        let text = text(&machine, &[row]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1].split(',').count(),
            HEADER.split(',').count(),
            "{text}"
        );
        assert!(lines[1].starts_with("2026-11-24,\"A \"\"CPU\"\"\",25,17,2,6.18,"));
        assert!(lines[1].ends_with("cache,encrypt,256,,1,plain,40,15.813,0.011,1.000,"));
        assert_eq!(quoted("a, b"), "\"a, b\"");
    }
}
