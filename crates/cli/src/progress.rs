//! Telling how far a long run is: a bar for a person, lines for a program or a log.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use lucarne::Control;

use crate::{args::ProgressArgs, signals};

/// How often the work is looked at, and with it how long a signal may wait.
const LOOK: Duration = Duration::from_millis(100);
/// How often a JSON line appears unless `--progress-frequency` says otherwise: cryptsetup's period.
const PERIOD: Duration = Duration::from_millis(500);

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Standard output, as cryptsetup's.
    Stdout,
    /// Standard error, because standard output is the data.
    Stderr,
}

enum Display {
    Silent,
    Bar(ProgressBar),
    Text(Lines),
    Json { lines: Lines, device: String },
}

/// Shows a run's progress and carries a signal to it.
pub(crate) struct Watcher {
    display: Display,
    period: Duration,
}

impl Watcher {
    /// What the options and the terminal ask for. `device` is what the JSON lines name.
    pub(crate) fn new(args: &ProgressArgs, batch_mode: bool, device: &Path, lines: Lines) -> Self {
        let period = Duration::from_secs(args.progress_frequency.into());
        let display = if args.progress_json {
            Display::Json {
                lines,
                device: device.display().to_string(),
            }
        } else if batch_mode {
            Display::Silent
        } else if !period.is_zero() {
            Display::Text(lines)
        } else if io::stderr().is_terminal() {
            Display::Bar(ProgressBar::new_spinner())
        } else {
            Display::Silent
        };
        let period = if period.is_zero() { PERIOD } else { period };
        Self { display, period }
    }

    /// Runs `work` while showing how far it is, and stops it on a signal.
    pub(crate) fn watch<T, E>(
        self,
        control: &Control,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let finished = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let shower = scope.spawn(|| self.show_until(&finished, control));
            let result = work();
            finished.store(true, Ordering::Release);
            shower.thread().unpark();
            // A panic there concerns the display only.
            if let (Ok(mut meter), true) = (shower.join(), result.is_ok()) {
                self.finish(&mut meter, control);
            }
            result
        })
    }

    fn show_until(&self, finished: &AtomicBool, control: &Control) -> Meter {
        let mut meter = Meter::new(Instant::now(), self.period);
        while !finished.load(Ordering::Acquire) {
            if signals::stop_requested() {
                control.interrupt();
            }
            self.show(&mut meter, control);
            std::thread::park_timeout(LOOK);
        }
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        meter
    }

    fn show(&self, meter: &mut Meter, control: &Control) {
        let (done, total) = (control.done_bytes(), control.total_bytes());
        match &self.display {
            Display::Silent => {}
            Display::Bar(bar) => show_bar(bar, done, total),
            // Nothing is done while the key derivation runs: that is no progress to report.
            Display::Text(lines) if done > 0 => {
                if let Some(sample) = meter.sample(Instant::now(), done, total) {
                    print(*lines, &sample.text());
                }
            }
            Display::Json { lines, device } if done > 0 => {
                if let Some(sample) = meter.sample(Instant::now(), done, total) {
                    print(*lines, &sample.json(device));
                }
            }
            Display::Text(_) | Display::Json { .. } => {}
        }
    }

    fn finish(&self, meter: &mut Meter, control: &Control) {
        let sample = meter.last(Instant::now(), control.done_bytes());
        match &self.display {
            Display::Silent | Display::Bar(_) => {}
            Display::Text(lines) => print(*lines, &sample.final_text()),
            Display::Json { lines, device } => print(*lines, &sample.json(device)),
        }
    }
}

fn show_bar(bar: &ProgressBar, done: u64, total: Option<u64>) {
    let template = match total {
        Some(_) => "{wide_bar} {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        None => "{spinner} {bytes} {bytes_per_sec}",
    };
    if done > 0 && bar.length() != Some(total.unwrap_or(0)) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.reset_eta();
        bar.set_length(total.unwrap_or(0));
    }
    if done > 0 {
        bar.set_position(done);
    }
}

fn print(lines: Lines, line: &str) {
    // A reader that went away does not stop the work.
    let _ = match lines {
        Lines::Stdout => writeln!(io::stdout(), "{line}"),
        Lines::Stderr => writeln!(io::stderr(), "{line}"),
    };
}

/// Decides when a line is due, and computes its figures.
struct Meter {
    /// When the first bytes were done; the start of the run until then.
    start: Instant,
    start_bytes: Option<u64>,
    shown: Instant,
    period: Duration,
}

impl Meter {
    fn new(now: Instant, period: Duration) -> Self {
        Self {
            start: now,
            start_bytes: None,
            shown: now,
            period,
        }
    }

    fn sample(&mut self, now: Instant, done: u64, total: Option<u64>) -> Option<Sample> {
        let Some(start_bytes) = self.start_bytes else {
            (self.start, self.shown) = (now, now);
            self.start_bytes = Some(done);
            return None;
        };
        if now.duration_since(self.shown) < self.period {
            return None;
        }
        self.shown = now;
        Some(Sample::new(
            done,
            total,
            done - start_bytes.min(done),
            now - self.start,
        ))
    }

    fn last(&self, now: Instant, done: u64) -> Sample {
        let new = done - self.start_bytes.unwrap_or(0).min(done);
        // A run too short for a second look: all of it counts.
        let new = if new == 0 { done } else { new };
        Sample::new(done, Some(done), new, now - self.start)
    }
}

/// The figures of one line.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    done: u64,
    /// 0 for a stream, whose length is not known before its end.
    total: u64,
    bytes_per_second: f64,
    eta: Duration,
    elapsed: Duration,
}

impl Sample {
    fn new(done: u64, total: Option<u64>, new_bytes: u64, elapsed: Duration) -> Self {
        let bytes_per_second = new_bytes as f64 / elapsed.as_secs_f64().max(1e-6);
        let left = total.unwrap_or(done).saturating_sub(done) as f64;
        Self {
            done,
            total: total.unwrap_or(0),
            bytes_per_second,
            eta: Duration::try_from_secs_f64(left / bytes_per_second.max(1.0))
                .unwrap_or(Duration::MAX),
            elapsed,
        }
    }

    /// cryptsetup's line for machines.
    fn json(&self, device: &str) -> String {
        format!(
            "{{\"device\":{},\"device_bytes\":\"{}\",\"device_size\":\"{}\",\"speed\":\"{}\",\
             \"eta_ms\":\"{}\",\"time_ms\":\"{}\"}}",
            serde_json::Value::from(device),
            self.done,
            self.total,
            self.bytes_per_second as u64,
            self.eta.as_millis(),
            self.elapsed.as_millis(),
        )
    }

    /// cryptsetup's line for people.
    fn text(&self) -> String {
        let written = self.written();
        if self.total == 0 {
            return format!("Progress: {written}");
        }
        format!(
            "Progress: {:5.1}%, ETA {}, {written}",
            self.done as f64 / self.total as f64 * 100.0,
            clock(self.eta),
        )
    }

    fn final_text(&self) -> String {
        format!("Finished, time {}, {}", clock(self.elapsed), self.written())
    }

    fn written(&self) -> String {
        let (amount, unit) = match self.done {
            0..0x1_0000_0000 => (self.done >> 20, "MiB"),
            0x1_0000_0000..0x400_0000_0000 => (self.done >> 30, "GiB"),
            _ => (self.done >> 40, "TiB"),
        };
        let (speed, speed_unit) = match self.bytes_per_second {
            speed if speed > 1073741824.0 => (speed / 1073741824.0, "GiB"),
            speed if speed > 1048576.0 => (speed / 1048576.0, "MiB"),
            speed if speed > 1024.0 => (speed / 1024.0, "KiB"),
            speed => (speed, "B"),
        };
        format!("{amount:4} {unit} written, speed {speed:5.1} {speed_unit}/s")
    }
}

/// `12m44s`, `26h12m44s`, `3 days`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match minutes {
        0..90 => format!("{minutes:02}m{:02}s", seconds % 60),
        90..2160 => format!("{hours:02}h{:02}m{:02}s", minutes % 60, seconds % 60),
        _ => format!("{:02} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cryptsetups() {
        let sample = Sample::new(512 << 20, Some(2 << 30), 512 << 20, Duration::from_secs(2));
        assert_eq!(
            sample.text(),
            "Progress:  25.0%, ETA 00m06s,  512 MiB written, speed 256.0 MiB/s"
        );
        assert_eq!(
            sample.json("a\"b"),
            r#"{"device":"a\"b","device_bytes":"536870912","device_size":"2147483648","speed":"268435456","eta_ms":"6000","time_ms":"2000"}"#
        );
        let last = Sample::new(5 << 30, Some(5 << 30), 5 << 30, Duration::from_secs(4));
        assert_eq!(
            last.final_text(),
            "Finished, time 00m04s,    5 GiB written, speed   1.2 GiB/s"
        );
    }

    #[test]
    fn a_stream_has_no_share_and_no_end() {
        let sample = Sample::new(3 << 20, None, 3 << 20, Duration::from_secs(1));
        assert_eq!(
            sample.text(),
            "Progress:    3 MiB written, speed   3.0 MiB/s"
        );
        assert!(sample.json("-").contains("\"device_size\":\"0\""));
        assert!(sample.json("-").contains("\"eta_ms\":\"0\""));
    }

    #[test]
    fn times_are_cryptsetups() {
        for (seconds, text) in [
            (0, "00m00s"),
            (764, "12m44s"),
            (5399, "89m59s"),
            (94364, "26h12m44s"),
            (259_200, "03 days"),
        ] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_line_is_due_once_a_period() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::new(start, Duration::from_millis(500));
        // The clock starts with the first bytes.
        assert!(meter.sample(at(3000), 100, Some(1000)).is_none());
        assert!(meter.sample(at(3400), 200, Some(1000)).is_none());
        let sample = meter.sample(at(4000), 600, Some(1000)).unwrap();
        assert_eq!(sample.bytes_per_second, 500.0);
        assert_eq!(sample.eta, Duration::from_millis(800));
        assert!(meter.sample(at(4300), 700, Some(1000)).is_none());
        assert_eq!(meter.last(at(5000), 1000).elapsed, Duration::from_secs(2));
    }

    #[test]
    fn a_finished_work_ends_the_watch_at_once() {
        let args = ProgressArgs {
            progress_json: false,
            progress_frequency: 0,
            threads: 0,
        };
        let watcher = Watcher::new(&args, true, Path::new("x"), Lines::Stderr);
        let result: Result<_, ()> = watcher.watch(&Control::default(), || Ok(7));
        assert_eq!(result, Ok(7));
    }
}
