//! What cryptsetup and the real kernel activate of the corpus of [`lucarne_testkit::validity`]: made once, committed,
//! and compared with by a test that needs no machine.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use lucarne_testkit::cryptsetup::Cryptsetup;
use lucarne_testkit::process;
use lucarne_testkit::scratch::Scratch;
use lucarne_testkit::validity::{self, Bases, Case, Image};

use super::machine::{Drive, Machine};
use super::prepared;
use crate::command::{command, output};

/// Cases that one boot takes, well below the machine's time limit.
const CASES_PER_BOOT: usize = 100;
/// Machines at a time: each is busy with one processor.
const MACHINES: usize = 2;
/// Devices begin at multiples of this, a device-mapper table's `linear` targets in 512-byte sectors.
const PLACE_LEN: u64 = 2 << 20;
const SECTOR_LEN: u64 = 512;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install nothing
    #[arg(long)]
    no_install: bool,
    /// Write the verdicts to testdata/validity-activation.tsv instead of comparing them with it
    #[arg(long)]
    update: bool,
    /// Only the cases with this in their names; the committed verdicts on the others stay
    #[arg(long, default_value = "")]
    only: String,
}

/// Boots the machine as often as it takes and compares the verdicts with the committed ones.
pub(crate) fn run(options: &Options) -> Result<()> {
    let machine = match prepared(!options.no_install)? {
        Ok(machine) => machine,
        Err(skipped) => bail!("could not run: {}", skipped.text),
    };
    let bases = Bases::unpack();
    let (cases, others): (Vec<Case>, Vec<Case>) = validity::corpus()
        .into_iter()
        .partition(|case| case.name.contains(&options.only));
    let made = verdicts(&machine, &bases, &cases)?;
    let path = table_path();
    let read = || std::fs::read_to_string(&path).with_context(|| path.display().to_string());
    if options.update {
        let mut table = head(&machine)?;
        let mut rows = made;
        if !others.is_empty() {
            let committed = read()?;
            rows.extend(rows_of(&committed, &others));
        }
        rows.sort();
        for row in &rows {
            writeln!(table, "{row}")?;
        }
        std::fs::write(&path, &table).with_context(|| path.display().to_string())?;
        println!("{} verdicts written to {}", cases.len(), path.display());
        return Ok(());
    }
    let committed = rows_of(&read()?, &cases);
    for line in committed.iter().filter(|line| !made.contains(line)) {
        println!("- {line}");
    }
    let news: Vec<&String> = made
        .iter()
        .filter(|line| !committed.contains(line))
        .collect();
    for line in &news {
        println!("+ {line}");
    }
    ensure!(
        news.is_empty() && made.len() == committed.len(),
        "the verdicts differ from the committed ones: another kernel or cryptsetup, or --update is due"
    );
    println!("{} verdicts are the committed ones", made.len());
    Ok(())
}

/// The rows of a table that are about these cases.
fn rows_of(table: &str, cases: &[Case]) -> Vec<String> {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    let name = |line: &str| line.split('\t').next().map(str::to_owned);
    (table.lines())
        .filter(|line| name(line).is_some_and(|name| names.contains(name.as_str())))
        .map(str::to_owned)
        .collect()
}

fn table_path() -> PathBuf {
    lucarne_testkit::testdata().join("validity-activation.tsv")
}

/// What made the verdicts.
fn head(machine: &Machine) -> Result<String> {
    let cryptsetup = output(&mut command("cryptsetup", ["--version"]))?;
    let version = cryptsetup.split_whitespace().nth(1).unwrap_or_default();
    Ok(format!(
        "# What cryptsetup {version} and Linux {} activate, by `cargo xtask validity --update`.\n\
         # case, exit code of opening it for reading, for writing, SHA-256 of the plaintext; -: not tried\n",
        machine.kernel_version()
    ))
}

/// A row for each case. cryptsetup in the machine is the one of this system: what it refuses before a device is mapped,
/// it refuses here too, and faster.
fn verdicts(machine: &Machine, bases: &Bases, cases: &[Case]) -> Result<Vec<String>> {
    let cryptsetup = Cryptsetup::locate().context("cryptsetup is not installed")?;
    let mut rows = Vec::new();
    let mut unlocked = Vec::new();
    for case in cases {
        let code = unlock(&cryptsetup, &case.image(bases));
        if code == 0 {
            unlocked.push((rows.len(), case));
        }
        rows.push(format!("{}\t{code}\t-\t-", case.name));
    }
    println!("{} of {} cases are unlocked", unlocked.len(), cases.len());
    let boots: Vec<_> = unlocked.chunks(CASES_PER_BOOT).collect();
    for boots in boots.chunks(MACHINES) {
        let answers: Vec<Result<Vec<String>>> = std::thread::scope(|scope| {
            let machines: Vec<_> = (boots.iter())
                .map(|boot| scope.spawn(|| activate(machine, bases, boot)))
                .collect();
            (machines.into_iter())
                .map(|machine| {
                    machine
                        .join()
                        .unwrap_or_else(|_| bail!("a machine's thread died"))
                })
                .collect()
        });
        for (boot, answers) in boots.iter().zip(answers) {
            for ((row, case), answer) in boot.iter().zip(answers?) {
                rows[*row] = format!("{}\t{answer}", case.name);
            }
            println!("{} cases tried in the machine", boot.len());
        }
    }
    Ok(rows)
}

/// The exit code of `open --test-passphrase`; what goes on for longer than anyone waits is ended by a signal.
fn unlock(cryptsetup: &Cryptsetup, image: &Image) -> i32 {
    let scratch = Scratch::new();
    let key = scratch.file("key", validity::PASSPHRASE.as_bytes());
    let mut timeout = command("timeout", ["-s", "KILL", "10"]);
    timeout.arg(cryptsetup.program());
    timeout
        .args(["open", "--test-passphrase", "--key-file"])
        .arg(key);
    let header = scratch.file("header", &image.header);
    match &image.data {
        Some(data) => timeout
            .arg("--header")
            .arg(header)
            .arg(scratch.file("data", data)),
        None => timeout.arg(header),
    };
    process::run(&mut timeout, b"").code.unwrap_or(137)
}

/// For each case: read-only exit code, read-write exit code, SHA-256 of the plaintext, by tabs.
fn activate(machine: &Machine, bases: &Bases, cases: &[(usize, &Case)]) -> Result<Vec<String>> {
    let scratch = Scratch::new();
    let path = scratch.path("drive");
    let drive = std::fs::File::create(&path)?;
    let (mut list, mut end) = (String::new(), PLACE_LEN);
    for (number, (_, case)) in cases.iter().enumerate() {
        let Image { header, data } = case.image(bases);
        let mut line = number.to_string();
        for device in [Some(header), data] {
            let Some(bytes) = device else {
                line.push_str(" 0 0");
                continue;
            };
            let len = bytes.len() as u64;
            drive.write_all_at(&bytes, end)?;
            write!(line, " {} {}", end / SECTOR_LEN, len / SECTOR_LEN)?;
            end = (end + len + SECTOR_LEN).next_multiple_of(PLACE_LEN);
        }
        writeln!(list, "{line}")?;
    }
    drive.set_len(end)?;
    drop(drive);
    let drives = [Drive {
        name: "corpus".to_owned(),
        image: path,
    }];
    let printed = machine.run(
        include_str!("../../guest/validity.sh"),
        &[
            ("/key", validity::PASSPHRASE.as_bytes()),
            ("/cases", list.as_bytes()),
        ],
        &drives,
    )?;
    let mut lines = Vec::new();
    let mut verdicts = printed
        .lines()
        .filter_map(|line| line.strip_prefix("verdict "));
    for (number, (_, case)) in cases.iter().enumerate() {
        let verdict = verdicts
            .next()
            .with_context(|| format!("no verdict on {}", case.name))?;
        let fields: Vec<&str> = verdict.split(' ').collect();
        let [own, reading, writing, sum] = fields[..] else {
            bail!("a verdict that is none: {verdict}");
        };
        ensure!(own == number.to_string(), "out of order: {verdict}");
        lines.push(format!("{reading}\t{writing}\t{sum}"));
    }
    Ok(lines)
}
