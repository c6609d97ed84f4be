//! What was measured on.

use lucarne::Kernel;

use crate::source::kernel_name;

/// The machine and the program, as far as the system tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors that this process may use.
    pub cpus: usize,
    /// The kernels that this processor can run.
    pub kernels: Vec<&'static str>,
    /// The one that volumes get.
    pub preferred: &'static str,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The operating system's kernel.
    pub system: String,
    /// The file system and its device.
    pub storage: String,
    /// This program's version.
    pub program: String,
    /// Seconds since 1970, UTC, when the run began.
    pub began: u64,
}

impl Machine {
    pub(crate) fn here(storage: String) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(field, _)| field.trim() == name)
                .map(|(_, value)| value.trim().to_owned())
        };
        let cpuinfo = read("/proc/cpuinfo");
        let numbers = ["cpu family", "model", "stepping"].map(|name| field(&cpuinfo, name));
        let cpu = match (field(&cpuinfo, "model name"), numbers) {
            (Some(name), [Some(family), Some(model), Some(stepping)]) => {
                format!("{name} (family {family}, model {model}, stepping {stepping})")
            }
            (Some(name), _) => name,
            (None, _) => std::env::consts::ARCH.to_owned(),
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0);
        let uname = rustix::system::uname();
        Self {
            cpu,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernels: Kernel::available().map(kernel_name).collect(),
            preferred: kernel_name(Kernel::preferred()),
            memory_bytes: memory_kib << 10,
            system: format!(
                "{} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy()
            ),
            storage,
            program: format!("lucarne {}", env!("CARGO_PKG_VERSION")),
            began: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
        }
    }

    /// When the run began: `2026-11-25 14:03 UTC`.
    #[must_use]
    pub fn date(&self) -> String {
        let (days, seconds) = (self.began / 86_400, self.began % 86_400);
        let (year, month, day) = civil(days);
        format!(
            "{year}-{month:02}-{day:02} {:02}:{:02} UTC",
            seconds / 3600,
            seconds / 60 % 60
        )
    }
}

/// Year, month and day of a number of days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut rest) = (1970, days);
    while rest >= 365 + u64::from(is_leap(year)) {
        rest -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < len {
            break;
        }
        rest -= len;
        month += 1;
    }
    (year, month, rest + 1)
}

/// Time that the host gave to others while this machine wanted it, and all processor time, in ticks; for noise.
pub(crate) fn stolen_ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<u64> = stat
        .lines()
        .next()?
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|number| number.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    Some((*numbers.get(7)?, numbers.iter().take(8).sum()))
}

/// Tasks that wanted a processor in the last minute, on average.
pub(crate) fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_782), (2026, 11, 25));
    }

    #[test]
    fn this_machine_has_a_processor_and_the_portable_kernel() {
        let machine = Machine::here("ext4 on /dev/x".into());
        assert!(machine.cpus > 0 && !machine.cpu.is_empty());
        assert!(machine.kernels.contains(&"portable") || machine.kernels.contains(&"soft"));
        assert!(machine.date().ends_with(" UTC"));
    }
}
