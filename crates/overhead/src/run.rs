//! Doing what the plan says.

use std::path::PathBuf;
use std::time::Instant;

use crate::bench::Bench;
use crate::door::{self, Door, Doors};
use crate::files::Given;
use crate::machine::{self, Machine};
use crate::measure::SystemClock;
use crate::outcome::Outcome;
use crate::plan::{Case, Depth, Plan};
use crate::space::{self, Space};
use crate::unlock::unlock;
use crate::weights::Model;
use crate::{Control, Error};

/// Where the checkpoint comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// Made for the run, with the shapes of a model, scaled to so many bytes.
    Generated {
        /// Whose shapes.
        model: Model,
        /// The file's length.
        len_bytes: u64,
    },
    /// A safetensors file, or a directory of them. They are only read.
    Given(PathBuf),
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The storage that is measured: the run's files are made there.
    pub dir: PathBuf,
    /// What is loaded.
    pub weights: Weights,
    /// The most threads.
    pub threads: usize,
    /// How much is measured.
    pub depth: Depth,
    /// By which ways in besides the library; those that cannot be had here are left out, and the result says why.
    pub doors: Option<Doors>,
}

/// The least checkpoint that says anything, in bytes.
pub const LEAST_LEN_BYTES: u64 = 8 << 20;

/// A run whose needs are known and met, before anything is written.
pub struct Run {
    options: Options,
    space: Space,
    plan: Plan,
    given: Option<Given>,
    /// Those of the options that can be had.
    doors: Vec<Door>,
    notes: Vec<String>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("options", &self.options)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// Judges what was asked for.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is not enough disk or too little to measure, [`Error::Memory`] when there is not
    /// enough memory, [`Error::Weights`] and [`Error::Io`] from what was given.
    pub fn new(options: Options) -> Result<Self, Error> {
        let space = Space::new(&options.dir)?;
        let (given, len) = match &options.weights {
            Weights::Generated { len_bytes, .. } => (None, *len_bytes),
            Weights::Given(path) => {
                let given = Given::open(path)?;
                let len = given.len_bytes();
                (Some(given), len)
            }
        };
        if len < LEAST_LEN_BYTES {
            return Err(Error::Refused(format!(
                "{len} bytes of weights are too few to time: at least {LEAST_LEN_BYTES}"
            )));
        }
        let shard_count = given.as_ref().map_or(1, |given| given.checkpoints.len());
        let (mut doors, mut notes) = (Vec::new(), Vec::new());
        if let Some(wanted) = &options.doors {
            for &door in &wanted.through {
                match door::probe(wanted, door, &space)? {
                    None => doors.push(door),
                    Some(why) => notes.push(format!("{}: left out: {why}", door.name())),
                }
            }
        }
        let plan = Plan::new(
            options.depth,
            options.threads,
            len,
            given.is_some(),
            shard_count,
            &doors,
        );
        space.check_disk(plan.disk_bytes)?;
        space::check_memory(plan.memory_bytes, space::available_memory())?;
        Ok(Self {
            options,
            space,
            plan,
            given,
            doors,
            notes,
        })
    }

    /// What will be done, and what it takes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Does it. Of the run's files nothing is left behind, however it ends.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and whatever the system or a volume says.
    pub fn measure(self, control: &Control) -> Result<Outcome, Error> {
        control.set_total(self.plan.time);
        let clock = SystemClock::start();
        let began = Instant::now();
        let machine = Machine::here(self.space.description());
        let load_before = machine::load_average();
        let stolen_before = machine::stolen_ticks();
        let main_len = self.plan.lengths.main;
        let plan = self.plan.clone();
        let Self {
            options,
            space,
            given,
            doors,
            mut notes,
            ..
        } = self;
        let model = match options.weights {
            Weights::Generated { model, .. } => model,
            Weights::Given(_) => Model::Small,
        };
        let shard_count = given.as_ref().map(|given| given.checkpoints.len());
        let mut bench = Bench::prepare(&plan, given, model, options.threads, &space, control)?;
        bench.doors = options.doors;
        let mut cases = Vec::new();
        for case in &plan.cases {
            control.begin(describe(case));
            match bench.case(case, &clock, control) {
                Ok(result) => cases.push(result),
                // Not every file system has direct reads, and not every one can be mapped.
                Err(Error::Refused(why)) => notes.push(format!("{}: left out: {why}", case.id())),
                Err(error) => return Err(error),
            }
            control.end(case.thought(&plan.lengths));
        }
        control.begin("unlocking");
        let unlock = unlock(options.depth, control)?;
        let stolen = stolen_before
            .zip(machine::stolen_ticks())
            .map(|(before, after)| {
                (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64
            });
        Ok(Outcome {
            machine,
            weights: weights_text(&options.weights, main_len, shard_count),
            depth: options.depth,
            threads: options.threads,
            disk_bytes: plan.disk_bytes,
            memory_bytes: plan.memory_bytes,
            main_bytes: main_len,
            seconds: began.elapsed().as_secs_f64(),
            load_before,
            stolen,
            cases,
            unlock,
            doors,
            notes,
        })
    }
}

fn describe(case: &Case) -> String {
    format!(
        "{}, {}, {} threads",
        case.workload.title(),
        case.way.name(),
        case.threads
    )
}

fn weights_text(weights: &Weights, len: u64, shard_count: Option<usize>) -> String {
    let mib = len >> 20;
    match weights {
        Weights::Generated { model, .. } => {
            let shapes = model.description();
            format!("generated bf16 numbers, {shapes}, scaled to {mib} MiB")
        }
        Weights::Given(path) => {
            let files = shard_count.unwrap_or(1);
            format!("{} ({mib} MiB in {files} files)", path.display())
        }
    }
}
