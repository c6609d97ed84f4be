//! What this ran on.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) family: String,
    pub(crate) model: String,
    pub(crate) cpus: usize,
    pub(crate) linux: String,
    pub(crate) rustc: &'static str,
    /// `2026-11-24`.
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn this() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
        let member = |name: &str| {
            cpuinfo
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.trim() == name)
                .map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
        };
        let linux = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Self {
            cpu: member("model name"),
            family: member("cpu family"),
            model: member("model"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            linux: version(&linux).to_owned(),
            rustc: env!("PEERS_RUSTC"),
            date: date(seconds / 86400),
        })
    }
}

/// The version in a release's name, without what a builder appends to it.
fn version(release: &str) -> &str {
    let end = release.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'));
    &release[..end.unwrap_or(release.len())]
}

/// The civil date so many days after 1970-01-01.
fn date(mut days: u64) -> String {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (days, text) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_088, "2024-12-31"),
            (20_781, "2026-11-24"),
        ] {
            assert_eq!(date(days), text);
        }
    }
}
