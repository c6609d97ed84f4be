//! `overhead`

use std::{
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use lucarne::{Output, Replace, Storage};
use lucarne_overhead::{
    Control, Depth, Door, Doors, Error, Model, Options, Outcome, Run, Weights, report, verdict,
};

use crate::{
    args::{CommonArgs, ModelName, OverheadArgs, ThroughName},
    exit::{Failure, shown},
    report::print,
    signals::{self, Graceful},
};

/// How often the run is looked at, and with it how long a signal may wait.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &OverheadArgs, common: &CommonArgs) -> anyhow::Result<()> {
    let _graceful = Graceful::begin()?;
    if args.serve_door {
        // A signal from the terminal ends the process that it serves, and with that it.
        return lucarne_overhead::door::serve().map_err(failure);
    }
    let run = Run::new(options(args)).map_err(failure)?;
    if !common.batch_mode {
        announce(&run, args);
    }
    let shows = !common.batch_mode && io::stderr().is_terminal();
    let control = Control::default();
    let outcome = watched(run, &control, shows).map_err(failure)?;
    let answer = verdict::answer(&outcome);
    if let Some(path) = &args.report {
        write_report(path, &report::html(&outcome, &answer)).with_context(|| shown(path))?;
    }
    let text = match args.json {
        true => format!("{:#}\n", report::json(&outcome, &answer)),
        false => report::text(&outcome, &answer),
    };
    Ok(print(text.as_bytes())?)
}

fn options(args: &OverheadArgs) -> Options {
    let weights = match &args.weights {
        Some(path) => Weights::Given(path.clone()),
        None => Weights::Generated {
            model: match args.model {
                ModelName::Small => Model::Small,
                ModelName::SevenB => Model::SevenB,
                ModelName::SeventyB => Model::SeventyB,
            },
            len_bytes: args.size,
        },
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Options {
        dir: args.dir.clone(),
        weights,
        threads: match usize::try_from(args.threads) {
            Ok(0) | Err(_) => cpus,
            Ok(threads) => threads.min(cpus),
        },
        depth: match (args.quick, args.full) {
            (true, _) => Depth::Quick,
            (_, true) => Depth::Full,
            _ => Depth::Normal,
        },
        doors: doors(args),
    }
}

/// Each is served by this program once more.
fn doors(args: &OverheadArgs) -> Option<Doors> {
    let is_wanted = |name| match &args.through {
        Some(names) => names.contains(&name),
        None => !args.quick,
    };
    let through: Vec<_> = [
        (ThroughName::Nbd, Door::Nbd),
        (ThroughName::Fuse, Door::Fuse),
    ]
    .into_iter()
    .filter(|&(name, _)| is_wanted(name))
    .map(|(_, door)| door)
    .collect();
    (!through.is_empty()).then(|| Doors {
        through,
        program: "/proc/self/exe".into(),
        arguments: ["overhead", concat!("--", "serve-door")]
            .map(Into::into)
            .into(),
    })
}

/// What it will take, before anything is taken.
fn announce(run: &Run, args: &OverheadArgs) {
    let plan = run.plan();
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    // Nobody to tell if nobody listens.
    let _ = writeln!(
        io::stderr(),
        "{} comparisons, about {} s: at most {} MiB of disk in {}, {} MiB of memory",
        plan.cases.len(),
        plan.time.as_secs(),
        mib(plan.disk_bytes),
        args.dir.display(),
        mib(plan.memory_bytes),
    );
}

/// Runs while showing how far it is, and stops on a signal.
fn watched(run: Run, control: &Control, shows: bool) -> Result<Outcome, Error> {
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let bar = shows.then(new_bar);
            while !finished.load(Ordering::Acquire) {
                if signals::stop_requested() {
                    control.interrupt();
                }
                if let Some(bar) = &bar {
                    let (done, total) = control.progress();
                    bar.set_length(u64::try_from(total.as_millis()).unwrap_or(0));
                    bar.set_position(u64::try_from(done.as_millis()).unwrap_or(0));
                    bar.set_message(control.step());
                }
                std::thread::park_timeout(LOOK);
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        let result = run.measure(control);
        finished.store(true, Ordering::Release);
        watcher.thread().unpark();
        result
    })
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar
}

fn write_report(path: &std::path::Path, html: &str) -> anyhow::Result<()> {
    let output = Output::create(path, Replace::Allowed)?;
    output.storage().write_at(html.as_bytes(), 0)?;
    output.finish()?;
    Ok(())
}

fn failure(error: Error) -> anyhow::Error {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    match error {
        Error::Interrupted => Failure::Parameters(error.to_string()).into(),
        Error::Memory(message) => Failure::Memory(message).into(),
        Error::Weights { .. } => Failure::Device(error.to_string()).into(),
        Error::Refused(message) => Failure::Parameters(message).into(),
        Error::Volume { what, source } => anyhow::Error::new(source).context(what),
        Error::Io { what, source } => {
            let is_device = [
                NotFound,
                NotADirectory,
                PermissionDenied,
                ReadOnlyFilesystem,
            ];
            match is_device.contains(&source.kind()) {
                true => Failure::Device(format!("{what}: {source}")).into(),
                false => anyhow::Error::new(source).context(what),
            }
        }
        error => error.into(),
    }
}
