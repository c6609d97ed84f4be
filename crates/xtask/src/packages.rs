//! Programs of others: which are missing, and getting them from the distribution (Debian, Ubuntu).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lucarne_testkit::peers;

use crate::command::{command, output, shown};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

impl Program {
    fn is_missing(&self) -> bool {
        peers::locate(self.name).is_none()
    }
}

/// How an attempt to get programs ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What is still missing.
    pub(crate) missing: Vec<Program>,
    /// Why, in words.
    pub(crate) why: String,
    /// Whether the distribution's archive answered.
    pub(crate) online: bool,
}

/// Installs those of `programs` that are missing, unless `may_install` is false.
pub(crate) fn require(programs: &[Program], may_install: bool) -> Result<Outcome> {
    let missing = || {
        programs
            .iter()
            .copied()
            .filter(Program::is_missing)
            .collect::<Vec<_>>()
    };
    let mut outcome = Outcome {
        missing: missing(),
        ..Outcome::default()
    };
    if outcome.missing.is_empty() {
        return Ok(outcome);
    }
    if !may_install {
        outcome.why = "installing was not wanted".to_owned();
        return Ok(outcome);
    }
    if peers::locate("apt-get").is_none() {
        outcome.why = "there is no apt-get here to install them with".to_owned();
        return Ok(outcome);
    }
    let Some(root) = as_root() else {
        outcome.why = "installing takes root, or a sudo that asks no password".to_owned();
        return Ok(outcome);
    };
    outcome.online = succeeds(&mut apt_get(root, &["update", "-q"]))?;
    if !outcome.online {
        outcome.why = "the distribution's archive does not answer".to_owned();
        return Ok(outcome);
    }
    let packages: Vec<&str> = outcome
        .missing
        .iter()
        .map(|program| program.package)
        .collect();
    // Nothing of the user's is removed to make room.
    let install = ["install", "-qy", "--no-install-recommends", "--no-remove"];
    if !succeeds(apt_get(root, &install).args(&packages))? && packages.contains(&"qemu-system-x86")
    {
        // A qemu-utils from a backport whose system emulator is not offered blocks the release's emulator:
        // both must be of one version.
        if let Some(release) = release()? {
            println!(
                "qemu-utils is of another version than the emulator: taking both from {release}"
            );
            let of_release = |package: &str| format!("{package}/{release}");
            let mut both = apt_get(root, &install);
            both.args([
                "--allow-downgrades",
                &of_release("qemu-system-x86"),
                &of_release("qemu-utils"),
            ]);
            both.args(
                packages
                    .iter()
                    .filter(|package| **package != "qemu-system-x86"),
            );
            succeeds(&mut both)?;
        }
    }
    outcome.missing = missing();
    if !outcome.missing.is_empty() {
        outcome.why = "apt-get could not install them".to_owned();
    }
    Ok(outcome)
}

/// Installs those libraries, as pkg-config calls them, that are missing.
pub(crate) fn require_libraries(libraries: &[Program]) -> Result<()> {
    let is_missing = |library: &&Program| {
        output(&mut command("pkg-config", ["--exists", library.name])).is_err()
    };
    let missing: Vec<&str> = (libraries.iter().filter(is_missing))
        .map(|library| library.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = as_root().context("installing takes root, or a sudo that asks no password")?;
    let install = ["install", "-qy", "--no-install-recommends", "--no-remove"];
    let is_done = succeeds(&mut apt_get(root, &["update", "-q"]))?
        && succeeds(apt_get(root, &install).args(&missing))?;
    ensure!(is_done, "apt-get could not install {missing:?}");
    Ok(())
}

/// A folder for what was downloaded, outside the checkout.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(
            std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?,
        )
        .join(".cache"),
    };
    let cache = base.join("lucarne").join(name);
    std::fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
    Ok(cache)
}

/// The words before a command that make it root's: none for root, `sudo -n` where that works.
fn as_root() -> Option<&'static [&'static str]> {
    let says = |program: &str, arguments: &[&str]| output(&mut command(program, arguments)).ok();
    if says("id", &["-u"])?.trim() == "0" {
        return Some(&[]);
    }
    says("sudo", &["-n", "true"]).map(|_| ["sudo", "-n"].as_slice())
}

fn apt_get(root: &[&str], arguments: &[&str]) -> Command {
    let words: Vec<&str> = root
        .iter()
        .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .chain(arguments)
        .copied()
        .collect();
    command(words[0], &words[1..])
}

fn succeeds(command: &mut Command) -> Result<bool> {
    println!("+ {}", shown(command));
    Ok(command.status()?.success())
}

/// The distribution's release, `bookworm`.
pub(crate) fn release() -> Result<Option<String>> {
    let text = std::fs::read_to_string("/etc/os-release")?;
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(str::to_owned))
}
