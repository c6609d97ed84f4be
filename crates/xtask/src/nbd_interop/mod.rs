//! Other projects' tests of NBD, run against `lucarne serve --nbd`: those of libnbd and QEMU's iotests. They start the
//! server themselves, under its name and with its options; a stand-in answers to both and has ours serve.
//! crates/serve/README.md says what came of it.

mod iotests;
mod libnbd;
mod nbdfuse;
mod outcome;
mod sources;
pub(crate) mod stand_in;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use lucarne_testkit::peers;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{build_executable, quoted};
use crate::packages::{self, Program};
use outcome::Findings;
use sources::Sources;

/// The first of Debian's releases whose libnbd knows extended headers.
const NEWER: &str = "trixie";

/// What the tests of others are built with, and what they look for.
const PROGRAMS: [Program; 12] = [
    program("gcc", "gcc"),
    program("make", "make"),
    program("pkg-config", "pkg-config"),
    program("certtool", "gnutls-bin"),
    program("nbdkit", "nbdkit"),
    program("nbdcopy", "libnbd-bin"),
    program("qemu-nbd", "qemu-utils"),
    program("jq", "jq"),
    program("python3", "python3"),
    program("fusermount3", "fuse3"),
    program("fio", "fio"),
    program("ss", "iproute2"),
];
/// Libraries, by the names that pkg-config knows.
const LIBRARIES: [Program; 3] = [
    program("gnutls", "libgnutls28-dev"),
    program("libxml-2.0", "libxml2-dev"),
    program("fuse3", "libfuse3-dev"),
];

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these parts: libnbd, nbdfuse, iotests
    parts: Vec<Part>,
    /// Take libnbd's sources from this release of the distribution, where there is such a one
    #[arg(long, default_value = NEWER)]
    release: String,
    /// Only these tests of libnbd (FOLDER/NAME) and QEMU (NAME)
    #[arg(long = "test")]
    tests: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Libnbd,
    Nbdfuse,
    Iotests,
}

/// What a part needs to run.
struct Bench {
    sources: Sources,
    newer: String,
    /// Where sources are unpacked and built.
    target: PathBuf,
    lucarne: PathBuf,
    /// Volumes, sockets, scripts: gone afterwards, and its path is short enough for a socket's.
    scratch: TempDir,
    /// Empty: all.
    tests: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let outcome = packages::require(&PROGRAMS, true)?;
    let missing: Vec<&str> = outcome.missing.iter().map(|one| one.name).collect();
    ensure!(
        missing.is_empty(),
        "{missing:?} are missing: {}",
        outcome.why
    );
    packages::require_libraries(&LIBRARIES)?;
    let target = lucarne_testkit::workspace_root().join("target/nbd-interop");
    std::fs::create_dir_all(&target)?;
    let bench = Bench {
        sources: Sources::open(Some(&options.release))?,
        newer: options.release.clone(),
        target,
        lucarne: build_executable("lucarne-cli", "lucarne", "suite")?,
        scratch: tempfile::Builder::new().prefix("lucarne-nbd").tempdir()?,
        tests: options.tests.clone(),
    };
    bench.write_stand_ins()?;
    let mut findings = Findings::default();
    let wants = |part| options.parts.is_empty() || options.parts.contains(&part);
    if wants(Part::Libnbd) {
        libnbd::run(&bench, &mut findings)?;
    }
    if wants(Part::Nbdfuse) {
        nbdfuse::run(&bench, &mut findings)?;
    }
    if wants(Part::Iotests) {
        iotests::run(&bench, &mut findings)?;
    }
    findings.report(&bench.target.join("report.tsv"), bench.tests.is_empty())
}

impl Bench {
    /// The folder of the stand-ins: first in the tests' PATH.
    fn stand_ins(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }

    fn search_path(&self) -> Result<std::ffi::OsString> {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/sbin".into(), "/sbin".into()];
        let all = std::iter::once(self.stand_ins()).chain(std::env::split_paths(&rest));
        Ok(std::env::join_paths(all.chain(system))?)
    }

    /// Whether a test is wanted.
    fn wants(&self, name: &str) -> bool {
        self.tests.is_empty() || self.tests.iter().any(|test| test == name)
    }

    /// The folder of volumes.
    fn volumes(&self) -> PathBuf {
        self.scratch.path().join("v")
    }

    fn write_stand_ins(&self) -> Result<()> {
        let bin = self.stand_ins();
        std::fs::create_dir_all(&bin)?;
        std::fs::create_dir_all(self.volumes())?;
        for name in ["nbdkit", "qemu-nbd"] {
            let script = bin.join(name);
            std::fs::write(&script, self.stand_in_script(name)?)?;
            std::fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// A listening socket becomes standard input, where safe code finds it.
    fn stand_in_script(&self, name: &str) -> Result<String> {
        let real = |name: &str| peers::locate(name).with_context(|| format!("{name} is missing"));
        let word = |path: &Path| quoted(&path.to_string_lossy());
        let command = format!(
            "{} nbd-stand-in --lucarne {} --real {} --nbdkit {} --scratch {} {name} --",
            word(&std::env::current_exe()?),
            word(&self.lucarne),
            word(&real(name)?),
            word(&real("nbdkit")?),
            word(&self.volumes()),
        );
        Ok(format!(
            "#!/bin/sh
case \" $* \" in
  *' --exit-with-parent '*) with_parent='setpriv --pdeathsig TERM' ;;
esac
if [ -n \"$LISTEN_FDS\" ]; then exec <&3 3<&-; fi
exec $with_parent {command} \"$@\"
"
        ))
    }
}

/// A test that breaks off leaves the servers that it had in the background.
impl Drop for Bench {
    fn drop(&mut self) {
        let Ok(left) = std::fs::read_dir(self.volumes().join(stand_in::IN_BACKGROUND)) else {
            return;
        };
        let volumes = self.volumes().into_os_string().into_encoded_bytes();
        for entry in left.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // The number may be another's by now.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_ours = line.windows(volumes.len()).any(|part| part == volumes);
            if let Some(pid) = Pid::from_raw(pid).filter(|_| is_ours) {
                // It may just have ended.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}
