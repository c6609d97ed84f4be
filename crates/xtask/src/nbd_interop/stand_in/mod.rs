//! What the tests of others start instead of `nbdkit` or `qemu-nbd`: it takes their command lines, puts what they
//! would have served into a volume, and has `lucarne serve` serve that.
//!
//! Each run leaves a line in the file of events: what was served, or what was asked for that is no plain disk. A test
//! that asked for that says nothing about us, and this is how it is known.

mod nbdkit;
mod qemu_nbd;
mod relay;
mod running;
mod volume;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

pub(super) use running::IN_BACKGROUND;

/// The file of events, in the environment of the tests.
pub(super) const EVENTS: &str = "LUCARNE_INTEROP_EVENTS";
/// How a line in it begins, after which follows what was asked for.
pub(super) const SERVED: &str = "served ";
pub(super) const DECLINED: &str = "declined ";

/// A word of a command line that is an option: its name, and the value that a long one may have in the same word.
fn option_and_value(word: String) -> (String, Option<String>) {
    match word.split_once('=') {
        Some((name, value)) if word.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
        _ => (word, None),
    }
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program under test
    #[arg(long)]
    lucarne: PathBuf,
    /// The program whose place this takes
    #[arg(long)]
    real: PathBuf,
    /// The real nbdkit, which knows what its plugins serve
    #[arg(long)]
    nbdkit: PathBuf,
    /// A folder for volumes
    #[arg(long)]
    scratch: PathBuf,
    /// Say on standard output when clients can come, and do not fork
    #[arg(long)]
    background: bool,
    /// Which command line follows
    dialect: Dialect,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    Nbdkit,
    QemuNbd,
}

/// What a command line comes to.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// The real program does it: it serves nothing.
    Real,
    /// A disk, as it would be served.
    Serve(Box<Wanted>),
    /// Something that is no plain disk.
    Decline(String),
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Wanted {
    content: Content,
    door: Door,
    is_read_only: bool,
    tls: Option<Tls>,
    export_name: Option<String>,
    pid_file: Option<PathBuf>,
    /// In the background, once clients can come.
    forks: bool,
    /// Ends with its first client.
    is_for_one_client: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// What nbdkit serves with these arguments.
    Plugin(Vec<String>),
    /// An image, in the format that is named, or what `qemu-img` thinks it has.
    Image(PathBuf, Option<String>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Plugin(Vec::new())
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Door {
    /// The one connection, or the listening socket, that standard input is.
    #[default]
    Inherited,
    Unix(PathBuf),
    Tcp(String, u16),
    /// A socket of its own, for this shell command.
    Captive(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tls {
    certificates: PathBuf,
    asks_clients: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let parsed = match options.dialect {
        Dialect::Nbdkit => nbdkit::parse(&options.arguments),
        Dialect::QemuNbd => qemu_nbd::parse(&options.arguments),
    };
    let wanted = match parsed {
        Request::Real => {
            let error = Command::new(&options.real).args(&options.arguments).exec();
            return Err(error).with_context(|| options.real.display().to_string());
        }
        Request::Decline(why) => return decline(&why),
        Request::Serve(wanted) => *wanted,
    };
    if wanted.forks && !options.background {
        return fork();
    }
    let volume = match volume::make(options, &wanted) {
        Ok(Ok(volume)) => Ok(volume),
        Ok(Err(why)) => return decline(&why),
        Err(error) => Err(error),
    };
    // Also when no volume could be made: that is our fault, and must not pass for the test's.
    note(SERVED, &options.arguments.join(" "))?;
    running::serve(options, &wanted, &volume?)
}

fn decline(why: &str) -> Result<ExitCode> {
    note(DECLINED, why)?;
    bail!("not served here: {why}");
}

fn note(kind: &str, what: &str) -> Result<()> {
    let Some(events) = std::env::var_os(EVENTS) else {
        return Ok(());
    };
    let mut events = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&events)
        .with_context(|| Path::new(&events).display().to_string())?;
    // One write a line: several stand-ins may be at it.
    events.write_all(format!("{kind}{}\n", what.replace('\n', " ")).as_bytes())?;
    Ok(())
}

/// Leaves another of its kind behind, and ends when that can be used.
fn fork() -> Result<ExitCode> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Behind the name of the task.
    arguments.insert(1, "--background".into());
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() != running::READY {
        bail!("the server in the background ended: {}", child.wait()?);
    }
    Ok(ExitCode::SUCCESS)
}
