//! Source packages of the distribution (Debian, Ubuntu), got without changing which archives this machine takes
//! packages from, and without root.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{output, run, run_quietly};
use crate::packages;

/// The distribution's archives, with an index of sources of our own.
pub(super) struct Sources {
    dir: PathBuf,
    /// `bookworm`
    release: String,
}

impl Sources {
    /// Reads the index of this release, of its updates and backports, and of `newer`, where there is such a release.
    pub(super) fn open(newer: Option<&str>) -> Result<Self> {
        let release = packages::release()?.context("/etc/os-release names no release")?;
        let dir = packages::cache("nbd-interop")?;
        for folder in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(dir.join(folder))?;
        }
        let format = "$(CREATED_BY) $(SITE) $(RELEASE) $(COMPONENT)";
        let targets = output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
        let suites: BTreeSet<(&str, &str)> = targets
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["Packages", site, suite, "main"] => Some((site, suite)),
                    _ => None,
                }
            })
            .filter(|(_, suite)| suite.split('-').next() == Some(release.as_str()))
            .collect();
        ensure!(!suites.is_empty(), "apt knows no archive of {release}");
        let mut lines = String::new();
        for (site, suite) in suites {
            writeln!(lines, "deb-src {site} {suite} main")?;
            if suite == release {
                let others = [
                    Some(format!("{release}-backports")),
                    newer.map(str::to_owned),
                ];
                for other in others
                    .into_iter()
                    .flatten()
                    .filter(|other| *other != release)
                {
                    writeln!(lines, "deb-src {site} {other} main")?;
                }
            }
        }
        std::fs::write(dir.join("sources.list"), lines)?;
        let sources = Self { dir, release };
        // An archive without backports, or without that newer release, is no reason to stop: what is missing shows.
        let updated = run(&mut sources.apt_get(&["update", "-q"]));
        if let Err(error) = updated {
            println!("{error:#}");
        }
        Ok(sources)
    }

    fn apt_get(&self, arguments: &[&str]) -> Command {
        let mut apt_get = Command::new("apt-get");
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        for option in [
            option("Dir::Etc::SourceList", &self.dir.join("sources.list")),
            option("Dir::Etc::SourceParts", Path::new("/dev/null")),
            option("Dir::State::Lists", &self.dir.join("lists")),
            option("Dir::Cache", &self.dir),
        ] {
            apt_get.args(["-o", &option]);
        }
        apt_get.args(arguments).current_dir(&self.dir);
        apt_get
    }

    /// The upstream sources of `package` (`libnbd/trixie`, `qemu=1:7.2`) below `target`, or only these `parts` of it.
    pub(super) fn unpack(&self, package: &str, parts: &[&str], target: &Path) -> Result<PathBuf> {
        let fetch = ["source", "-q", "--download-only", "--tar-only", package];
        // In a folder without it: apt-get does not name what is there already.
        let nothing = tempfile::tempdir()?;
        let mut said = self.apt_get(&[&fetch[..], &["--print-uris"]].concat());
        let said = output(said.current_dir(nothing.path()))
            .with_context(|| format!("there are no sources of {package}"))?;
        // 'URI' NAME LENGTH HASH
        let archive = said
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split(' ').nth(1))
            .find(|name| name.contains(".orig.tar"))
            .with_context(|| format!("apt-get names no archive for {package}"))?;
        let (stem, _) = archive.split_once(".orig.tar").context("no stem")?;
        let unpacked = target.join(stem);
        let stamp = unpacked.join("unpacked");
        if !stamp.exists() {
            run(&mut self.apt_get(&fetch))?;
            std::fs::create_dir_all(&unpacked)?;
            let mut tar = Command::new("tar");
            tar.arg("-xf")
                .arg(self.dir.join(archive))
                .arg("-C")
                .arg(&unpacked);
            tar.args(["--strip-components=1", "--wildcards"]);
            tar.args(parts.iter().map(|part| format!("*/{part}")));
            run_quietly(&mut tar)?;
            std::fs::write(&stamp, archive)?;
        }
        Ok(unpacked)
    }

    /// As [`Self::unpack`], of the newer release if it has the package, else of this one.
    pub(super) fn unpack_newest(
        &self,
        package: &str,
        newer: Option<&str>,
        target: &Path,
    ) -> Result<PathBuf> {
        if let Some(newer) = newer {
            match self.unpack(&format!("{package}/{newer}"), &[], target) {
                Ok(unpacked) => return Ok(unpacked),
                Err(error) => println!("{error:#}: taking those of {}", self.release),
            }
        }
        self.unpack(&format!("{package}/{}", self.release), &[], target)
    }
}
