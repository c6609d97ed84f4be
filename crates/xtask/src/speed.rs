//! The gate on the sector ciphers' speed that a busy machine cannot fool.
//!
//! Instructions are counted where a simulator knows them: the portable and the AES-NI kernel, under callgrind. The
//! others, whose instructions it does not know, must keep a share of their own limit, measured in the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{build_executable, command, output, shown};
use crate::packages::{self, Program};

const VALGRIND: Program = Program {
    name: "valgrind",
    package: "valgrind",
};
/// More instructions than recorded by this factor fail.
const TOLERANCE: f64 = 1.02;
/// The least share of its limit that a fused kernel must reach; 0.8 and more is what they do on a quiet machine.
const ENOUGH: f64 = 0.4;
/// What the driver exits with for a kernel that the CPU lacks.
const UNAVAILABLE: i32 = 3;
const COLUMNS: &str = "kernel\tkey bits\tdirection\tunit bytes\tcall bytes\tinstructions a byte";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Record the instructions counted now in benches/record/instructions.tsv
    #[arg(long)]
    bless: bool,
    /// Install nothing: what is missing is skipped
    #[arg(long)]
    no_install: bool,
}

/// Counts, measures, compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    let driver = build_executable("lucarne-benches", "cipher_gate", "release")?;
    let counted = instructions(options, &driver);
    // Both are told before either fails.
    let shared = shares(&driver);
    counted.and(shared)
}

/// A fixed amount of work: how much of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    kernel: String,
    key_bits: u32,
    direction: String,
    unit_bytes: u32,
    call_bytes: u32,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for kernel in ["aesni", "portable"] {
            for key_bits in [256, 512] {
                for direction in ["encrypt", "decrypt"] {
                    for (unit_bytes, call_bytes) in
                        [(512, 128 << 10), (4096, 128 << 10), (512, 512)]
                    {
                        cases.push(Self {
                            kernel: kernel.to_owned(),
                            key_bits,
                            direction: direction.to_owned(),
                            unit_bytes,
                            call_bytes,
                        });
                    }
                }
            }
        }
        cases
    }

    /// How many bytes the work is that is counted.
    const BYTES: u32 = 512 << 10;

    /// Instructions for one byte; none if the CPU lacks the kernel.
    ///
    /// Counted twice, with one call more and with many, so that starting the process is not in it.
    fn count(&self, driver: &Path) -> Result<Option<f64>> {
        let calls = Self::BYTES / self.call_bytes;
        let (Some(few), Some(many)) = (self.total(driver, 1)?, self.total(driver, 1 + calls)?)
        else {
            return Ok(None);
        };
        let more = many
            .checked_sub(few)
            .context("more calls took fewer instructions")?;
        Ok(Some(more as f64 / f64::from(Self::BYTES)))
    }

    /// Instructions of the whole process.
    fn total(&self, driver: &Path, calls: u32) -> Result<Option<u64>> {
        let mut callgrind = command(
            "valgrind",
            ["--tool=callgrind", "--callgrind-out-file=/dev/null"],
        );
        callgrind.arg(driver).args(["work", &self.kernel]);
        callgrind.args([self.key_bits.to_string(), self.direction.clone()]);
        callgrind.args([self.unit_bytes, self.call_bytes, calls].map(|number| number.to_string()));
        let ended = callgrind.output().with_context(|| shown(&callgrind))?;
        let said = String::from_utf8_lossy(&ended.stderr);
        if ended.status.code() == Some(UNAVAILABLE) {
            return Ok(None);
        }
        ensure!(ended.status.success(), "{}: {said}", shown(&callgrind));
        collected(&said)
            .map(Some)
            .with_context(|| format!("{}: no count in {said}", shown(&callgrind)))
    }

    fn row(&self) -> String {
        let Self {
            kernel,
            key_bits,
            direction,
            unit_bytes,
            call_bytes,
        } = self;
        format!("{kernel}\t{key_bits}\t{direction}\t{unit_bytes}\t{call_bytes}")
    }
}

/// The number in callgrind's line `==123== Collected : 4567`.
fn collected(said: &str) -> Option<u64> {
    said.lines()
        .filter_map(|line| line.split_once("Collected :"))
        .find_map(|(_, number)| number.trim().parse().ok())
}

/// Instructions a byte, by case, and the compiler that they are of.
#[derive(Debug, Default, PartialEq)]
struct Record {
    rustc: String,
    counts: BTreeMap<String, f64>,
}

impl Record {
    fn path() -> PathBuf {
        lucarne_testkit::workspace_root().join("benches/record/instructions.tsv")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let rustc = lines.next()?.strip_prefix("# ")?.to_owned();
        if lines.next()? != COLUMNS {
            return None;
        }
        let counts = lines
            .map(|line| {
                let (row, count) = line.rsplit_once('\t')?;
                Some((row.to_owned(), count.parse().ok()?))
            })
            .collect::<Option<_>>()?;
        Some(Self { rustc, counts })
    }

    fn text(&self) -> String {
        let mut text = format!("# {}\n{COLUMNS}\n", self.rustc);
        for (row, count) in &self.counts {
            writeln!(text, "{row}\t{count:.4}").expect("writing to a string does not fail");
        }
        text
    }
}

fn instructions(options: &Options, driver: &Path) -> Result<()> {
    let skip = |why: &str| {
        println!("skipped: the comparison of instruction counts ({why})");
        Ok(())
    };
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return skip("they are those of Linux on x86-64");
    }
    let path = Record::path();
    let rustc = output(Command::new("rustc").arg("--version"))?
        .trim()
        .to_owned();
    let record = match options.bless {
        true => None,
        false => {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let record = Record::parse(&text)
                .with_context(|| format!("{}: not a record", path.display()))?;
            if record.rustc != rustc {
                return skip(&format!(
                    "the record is of {}, this is {rustc}",
                    record.rustc
                ));
            }
            Some(record)
        }
    };
    let outcome = packages::require(&[VALGRIND], !options.no_install)?;
    if !outcome.missing.is_empty() {
        return skip(&format!("valgrind is missing: {}", outcome.why));
    }

    let mut now = Record {
        rustc,
        ..Record::default()
    };
    for case in Case::all() {
        match case.count(driver)? {
            Some(count) => {
                now.counts.insert(case.row(), count);
            }
            None => println!("skipped: {} (this CPU lacks it)", case.row()),
        }
    }
    let Some(record) = record else {
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        std::fs::write(&path, now.text()).with_context(|| path.display().to_string())?;
        println!("{}: {} counts", path.display(), now.counts.len());
        return Ok(());
    };
    let report = compare(&record, &now);
    for line in report.worse.iter().chain(&report.better) {
        println!("{line}");
    }
    if !report.better.is_empty() {
        println!("fewer instructions than recorded: cargo xtask speed --bless");
    }
    if !report.worse.is_empty() {
        bail!(
            "more instructions than recorded by over {:.0} % ({} of {}); if they are worth it: cargo xtask speed --bless",
            (TOLERANCE - 1.0) * 100.0,
            report.worse.len(),
            now.counts.len()
        );
    }
    println!(
        "instructions a byte: {} counts, none above the record",
        now.counts.len()
    );
    Ok(())
}

#[derive(Debug, Default, PartialEq)]
struct Report {
    worse: Vec<String>,
    better: Vec<String>,
}

/// What differs by more than the tolerance, and what is not in the record at all.
fn compare(record: &Record, now: &Record) -> Report {
    let mut report = Report::default();
    for (row, &count) in &now.counts {
        match record.counts.get(row) {
            Some(&recorded) => {
                let line = format!("{row}\t{count:.4}, recorded {recorded:.4}");
                if count > recorded * TOLERANCE {
                    report.worse.push(line);
                } else if count * TOLERANCE < recorded {
                    report.better.push(line);
                }
            }
            None => report
                .worse
                .push(format!("{row}\t{count:.4}, not recorded")),
        }
    }
    report
}

fn shares(driver: &Path) -> Result<()> {
    let mut command = Command::new(driver);
    let lines = output(command.args(["shares", &ENOUGH.to_string()]))?;
    let low = below(&lines, ENOUGH)?;
    println!("share of the in-register limit (at least {ENOUGH}):");
    print!("{lines}");
    ensure!(low.is_empty(), "too slow for their own limit: {low:?}");
    Ok(())
}

/// The lines whose last column is below a number.
fn below(lines: &str, enough: f64) -> Result<Vec<&str>> {
    let mut low = Vec::new();
    for line in lines.lines() {
        let (_, share) = line.rsplit_once('\t').with_context(|| line.to_owned())?;
        let share: f64 = share.parse().with_context(|| line.to_owned())?;
        if share < enough {
            low.push(line);
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counts: &[(&str, f64)]) -> Record {
        Record {
            rustc: "rustc 1.0.0".to_owned(),
            counts: counts
                .iter()
                .map(|(row, count)| ((*row).to_owned(), *count))
                .collect(),
        }
    }

    #[test]
    fn two_percent_either_way_are_nothing_and_more_is_told() {
        let old = record(&[("a", 2.0), ("b", 2.0), ("c", 2.0), ("d", 2.0)]);
        let now = record(&[
            ("a", 2.03),
            ("b", 1.97),
            ("c", 2.05),
            ("d", 1.9),
            ("e", 1.0),
        ]);
        let report = compare(&old, &now);
        assert_eq!(
            report.worse,
            ["c\t2.0500, recorded 2.0000", "e\t1.0000, not recorded"]
        );
        assert_eq!(report.better, ["d\t1.9000, recorded 2.0000"]);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record(&[("aesni\t256\tencrypt\t512\t512", 2.25)]);
        assert_eq!(Record::parse(&record.text()), Some(record));
        assert_eq!(Record::parse("nonsense"), None);
    }

    #[test]
    fn the_committed_record_has_every_case() {
        let text = std::fs::read_to_string(Record::path()).expect("the record is committed");
        let record = Record::parse(&text).expect("it is a record");
        let cases: Vec<String> = Case::all().iter().map(Case::row).collect();
        assert_eq!(record.counts.len(), cases.len());
        assert!(cases.iter().all(|case| record.counts.contains_key(case)));
    }

    #[test]
    fn callgrinds_count_is_found() {
        assert_eq!(collected("==7== \n==7== Collected : 1234\n"), Some(1234));
        assert_eq!(collected("==7== Collected : \n"), None);
    }

    #[test]
    fn low_shares_are_told() {
        let lines = "aesni\t256\t0.49\nvaes512\t256\t0.95\n";
        assert_eq!(below(lines, 0.5).expect("numbers"), ["aesni\t256\t0.49"]);
        assert!(below("no number", 0.5).is_err());
    }
}
