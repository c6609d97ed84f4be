//! How the tests of others ended, and what that says about us.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use rustix::process::{Pid, Signal, kill_process};

use super::stand_in::{DECLINED, SERVED};

/// So long a test may go on that did not get what it asked for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a test ended, by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    Failed,
    /// With its reason.
    Skipped(String),
}

/// A test that asks something of its server that ours is not to do.
pub(super) struct Exception {
    /// Its name, or how the names of several begin.
    pub(super) test: &'static str,
    /// What it says when it fails for this reason, and none other.
    pub(super) says: &'static str,
    pub(super) why: &'static str,
}

/// A test that was run.
pub(super) struct Ran {
    pub(super) ended: Ended,
    pub(super) events: Events,
    /// All that it said.
    pub(super) log: String,
}

/// What that says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// It passes whatever server there is.
    NotConcerned,
    /// It cannot be run against this server, or not here.
    NotApplicable(String),
    Fault,
}

#[derive(Default)]
pub(super) struct Findings {
    lines: Vec<(String, String, Verdict)>,
    /// So many must have passed of each suite.
    expected: Vec<(String, usize)>,
}

/// The file of events of one test.
pub(super) struct Events(PathBuf);

impl Events {
    pub(super) fn begin(dir: &Path) -> Result<Self> {
        let path = dir.join("events");
        std::fs::write(&path, "")?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs a test to its end, and into `log` what it says. One that was declined what it asked for only waits.
    pub(super) fn watch(&self, test: &mut Command, log: &Path) -> Result<()> {
        let out = File::create(log)?;
        test.stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        // Its own result says more than its status.
        let mut test = test.spawn()?;
        let mut declined_since = None;
        while test.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(50));
            if declined_since.is_none() && self.read()?.1.is_some() {
                declined_since = Some(Instant::now());
            }
            if declined_since.is_some_and(|since| since.elapsed() > PATIENCE) {
                // `timeout` passes it on to all that it has started.
                let _ = kill_process(Pid::from_child(&test), Signal::TERM);
            }
        }
        Ok(())
    }

    /// Whether something was served, and the first thing that was declined.
    fn read(&self) -> Result<(bool, Option<String>)> {
        let text = std::fs::read_to_string(&self.0)?;
        let declined = text.lines().find_map(|line| line.strip_prefix(DECLINED));
        let is_served = text.lines().any(|line| line.starts_with(SERVED));
        Ok((is_served, declined.map(str::to_owned)))
    }
}

impl Findings {
    /// That many tests of `suite` must pass for a run to be worth its name.
    pub(super) fn expect(&mut self, suite: &str, passed: usize) {
        self.expected.push((suite.to_owned(), passed));
    }

    /// Judges a test.
    pub(super) fn add(
        &mut self,
        suite: &str,
        name: &str,
        ran: Ran,
        exceptions: &[Exception],
    ) -> Result<()> {
        let (is_served, declined) = ran.events.read()?;
        let exception = exceptions
            .iter()
            .find(|exception| name.starts_with(exception.test) && ran.log.contains(exception.says));
        let verdict = match (ran.ended, declined) {
            (_, Some(why)) => Verdict::NotApplicable(format!("asks for {why}")),
            (Ended::Skipped(why), _) => Verdict::NotApplicable(why),
            (Ended::Passed, None) if is_served => Verdict::Passed,
            (Ended::Passed, None) => Verdict::NotConcerned,
            (Ended::Failed, None) => match exception {
                Some(exception) => Verdict::NotApplicable(exception.why.to_owned()),
                None if is_served => Verdict::Fault,
                None => {
                    Verdict::NotApplicable("fails before it starts a server of ours".to_owned())
                }
            },
        };
        println!("{suite}: {name}: {}", verdict.words());
        self.lines
            .push((suite.to_owned(), name.to_owned(), verdict));
        Ok(())
    }

    /// Sums up, writes every test into `file`, and fails where there is a fault. `is_whole`: nothing was left out.
    pub(super) fn report(&self, file: &Path, is_whole: bool) -> Result<()> {
        let mut text = String::from("suite\ttest\toutcome\n");
        for (suite, name, verdict) in &self.lines {
            writeln!(text, "{suite}\t{name}\t{}", verdict.words())?;
        }
        std::fs::write(file, text)?;
        println!("every test: {}", file.display());
        let mut suites: Vec<&str> = self.lines.iter().map(|line| line.0.as_str()).collect();
        suites.dedup();
        let count = |suite: &str, is: fn(&Verdict) -> bool| {
            let of_suite = self.lines.iter().filter(|line| line.0 == suite);
            of_suite.filter(|line| is(&line.2)).count()
        };
        let mut wrong = Vec::new();
        for suite in suites {
            println!(
                "{suite}: {} passed, {} faults, {} not applicable, {} not concerned",
                count(suite, |verdict| *verdict == Verdict::Passed),
                count(suite, |verdict| *verdict == Verdict::Fault),
                count(suite, |verdict| matches!(
                    verdict,
                    Verdict::NotApplicable(_)
                )),
                count(suite, |verdict| *verdict == Verdict::NotConcerned),
            );
        }
        for (suite, name, verdict) in &self.lines {
            if *verdict == Verdict::Fault {
                wrong.push(format!("{suite}: {name}"));
            }
        }
        for (suite, least) in self.expected.iter().filter(|_| is_whole) {
            let passed = count(suite, |verdict| *verdict == Verdict::Passed);
            if passed < *least {
                wrong.push(format!("{suite}: {passed} passed, and {least} should"));
            }
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        Ok(())
    }
}

impl Verdict {
    fn words(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::NotConcerned => "starts no server".to_owned(),
            Self::NotApplicable(why) => format!("not applicable: {why}"),
            Self::Fault => "FAULT".to_owned(),
        }
    }
}
