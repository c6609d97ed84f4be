//! What the comparisons of whole programs share: their arguments, and how other programs are run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a comparison is asked for.
pub struct Arguments {
    /// Of the data, in bytes.
    pub size_bytes: u64,
    /// How often each contestant runs.
    pub rounds: usize,
    /// Where the work is done.
    pub dir: PathBuf,
    /// The command under test.
    pub lucarne: PathBuf,
    /// Parts of the names of those to run; all if empty.
    pub only: Vec<String>,
}

/// A line of the shell.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}

/// Whether the program is there: by its path, or on `PATH`.
pub fn is_installed(program: Option<&str>) -> bool {
    program.is_some_and(|program| {
        Path::new(program).is_absolute()
            || std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|dir| dir.join(program).exists())
            })
    })
}

/// Brings the file into the page cache, as far as it fits.
pub fn warm(path: &Path) {
    let mut file = fs::File::open(path).expect("the source");
    std::io::copy(&mut file, &mut std::io::sink()).expect("the source read");
}

/// Runs it in `dir`; it must succeed.
pub fn run_to_end(command: &mut Command, dir: &Path) {
    let status = command.current_dir(dir).stdin(Stdio::null()).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{command:?} failed"
    );
}

/// A process's memory in KiB, by its name in `/proc/PID/status`; 0 once it is gone.
pub fn memory_kib(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Reads the command line; `size_bytes` is the size unless another is given.
///
/// # Errors
/// What is wrong with it.
pub fn parse(
    mut arguments: impl Iterator<Item = String>,
    size_bytes: u64,
) -> Result<Arguments, String> {
    let mut parsed = Arguments {
        size_bytes,
        rounds: 5,
        dir: std::env::temp_dir(),
        lucarne: PathBuf::from("target/release/lucarne"),
        only: Vec::new(),
    };
    while let Some(option) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--size" => {
                let gib = value
                    .strip_suffix('G')
                    .and_then(|number| number.parse::<u64>().ok());
                let mib = value
                    .strip_suffix('M')
                    .and_then(|number| number.parse::<u64>().ok());
                parsed.size_bytes = match (gib, mib) {
                    (Some(gib), _) => gib << 30,
                    (_, Some(mib)) => mib << 20,
                    _ => return Err(format!("--size {value} is not a number and M or G")),
                };
            }
            "--rounds" => {
                parsed.rounds = value
                    .parse()
                    .map_err(|_| format!("--rounds {value} is not a number"))?
            }
            "--dir" => parsed.dir = value.into(),
            "--lucarne" => parsed.lucarne = value.into(),
            "--only" => parsed.only = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok(parsed)
}

/// A line on standard output.
#[allow(clippy::print_stdout, reason = "this is a command")]
pub fn report(line: &str) {
    println!("{line}");
}
