//! Doing what the plan says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::time::Instant;

use lucarne_storage::Storage;

use crate::files::{FileSet, Given};
use crate::machine::{self, Machine};
use crate::measure::{Clock, Sample, SystemClock, Work, take_turns};
use crate::outcome::{CaseResult, Outcome, Staging};
use crate::plan::{Case, Depth, Files, Plan, Workload};
use crate::requests::requests;
use crate::source::{self, Protection, Source, StagedSource, Stages, Way};
use crate::space::{self, Space};
use crate::unlock::unlock;
use crate::weights::Model;
use crate::work::{self, Arena, Into, Request};
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
}

/// The least checkpoint that says anything, in bytes.
pub const LEAST_LEN_BYTES: u64 = 8 << 20;

/// A run whose needs are known and met, before anything is written.
pub struct Run {
    options: Options,
    space: Space,
    plan: Plan,
    given: Option<Given>,
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
        let plan = Plan::new(
            options.depth,
            options.threads,
            len,
            given.is_some(),
            shard_count,
        );
        space.check_disk(plan.disk_bytes)?;
        space::check_memory(plan.memory_bytes, space::available_memory())?;
        Ok(Self {
            options,
            space,
            plan,
            given,
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
        let mut bench = Bench::prepare(self, control)?;
        let mut cases = Vec::new();
        for case in &plan.cases {
            control.begin(describe(case));
            match bench.case(case, &clock, control) {
                Ok(result) => cases.push(result),
                // Not every file system has direct reads, and not every one can be mapped.
                Err(Error::Refused(why)) => {
                    bench.notes.push(format!("{}: left out: {why}", case.id()))
                }
                Err(error) => return Err(error),
            }
            control.end(case.rounds.budget.mul_f64(1.3));
        }
        control.begin("unlocking");
        let unlock = unlock(bench.options.depth, control)?;
        let stolen = stolen_before
            .zip(machine::stolen_ticks())
            .map(|(before, after)| {
                (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64
            });
        Ok(Outcome {
            machine,
            weights: bench.weights_text(main_len),
            depth: bench.options.depth,
            threads: bench.options.threads,
            disk_bytes: plan.disk_bytes,
            memory_bytes: plan.memory_bytes,
            main_bytes: main_len,
            seconds: began.elapsed().as_secs_f64(),
            load_before,
            stolen,
            cases,
            unlock,
            notes: bench.notes,
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

/// All that the cases share.
struct Bench {
    options: Options,
    sets: BTreeMap<Files, FileSet>,
    arena: RefCell<Arena>,
    notes: Vec<String>,
}

impl Bench {
    fn prepare(run: Run, control: &Control) -> Result<Self, Error> {
        let Run {
            options,
            space,
            plan,
            mut given,
        } = run;
        let before = Instant::now();
        let model = match options.weights {
            Weights::Generated { model, .. } => model,
            Weights::Given(_) => Model::Small,
        };
        let mut sets = BTreeMap::new();
        for case in &plan.cases {
            let files = case.files;
            let set = match sets.entry(files) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    control.begin(format!("making the {} files", set_name(files)));
                    entry.insert(match given.take_if(|_| files == Files::Main) {
                        Some(given) => FileSet::given(given),
                        None => {
                            let layout = FileSet::layout(files, model, &plan.lengths);
                            FileSet::generate(layout, &space, options.threads, control)?
                        }
                    })
                }
            };
            for &protection in &case.contenders {
                let Protection::Encrypted(format, _) = protection else {
                    continue;
                };
                if set.files(protection).is_empty() {
                    control.begin(format!(
                        "encrypting the {} files: {format}",
                        set_name(files)
                    ));
                    set.encrypt(format, &space, control)?;
                    set.verify(protection, control)?;
                }
            }
        }
        // Every kernel, on a volume that is there.
        let formats = plan
            .cases
            .iter()
            .filter(|case| case.files == Files::Formats);
        let kernels: Vec<_> = formats.flat_map(|case| case.contenders.clone()).collect();
        if let Some(set) = sets.get(&Files::Formats) {
            for (place, &protection) in kernels.iter().enumerate() {
                if !kernels[..place].contains(&protection) {
                    set.verify(protection, control)?;
                }
            }
        }
        let arena = Arena::new(
            plan.lengths.main + (16 << 20),
            plan.lengths.formats + (16 << 20),
        )?;
        control.end(before.elapsed());
        Ok(Self {
            options,
            sets,
            arena: RefCell::new(arena),
            notes: Vec::new(),
        })
    }

    fn weights_text(&self, len: u64) -> String {
        let mib = len >> 20;
        match &self.options.weights {
            Weights::Generated { model, .. } => {
                format!(
                    "generated bf16 numbers, {}, scaled to {mib} MiB",
                    model.description()
                )
            }
            Weights::Given(path) => {
                let shards = self
                    .sets
                    .get(&Files::Main)
                    .map_or(1, |set| set.checkpoints.len());
                format!("{} ({mib} MiB in {shards} files)", path.display())
            }
        }
    }

    fn case(
        &mut self,
        case: &Case,
        clock: &dyn Clock,
        control: &Control,
    ) -> Result<CaseResult, Error> {
        let Some(set) = self.sets.get(&case.files) else {
            return Err(Error::Refused("its files were not made".into()));
        };
        let (requests, into) = requests(case, &set.checkpoints);
        if requests.is_empty() {
            return Err(Error::Refused("the checkpoint has no such tensors".into()));
        }
        let new_turn = |protection| Turn {
            set,
            case,
            protection,
            requests: &requests,
            into,
            arena: &self.arena,
            sources: Vec::new(),
        };
        let mut turns: Vec<_> = case
            .contenders
            .iter()
            .map(|&protection| new_turn(protection))
            .collect();
        let mut works: Vec<&mut dyn Work> =
            turns.iter_mut().map(|turn| turn as &mut dyn Work).collect();
        let samples = take_turns(clock, case.rounds, &mut works, control)?;
        let stagings = if case.staged {
            let mut stagings = Vec::new();
            for &protection in case.contenders.iter().filter(|&&protection| {
                matches!(protection, Protection::Plain | Protection::Encrypted(..))
            }) {
                control.check()?;
                stagings.push(self.staging(set, case, protection, &requests)?);
            }
            stagings
        } else {
            Vec::new()
        };
        let own_seconds = self.own_seconds(case, &requests, into, clock)?;
        Ok(CaseResult::new(
            case,
            requests.iter().map(|request| request.len as u64).sum(),
            requests.len(),
            case.contenders
                .iter()
                .copied()
                .zip(samples)
                .collect::<Vec<(Protection, Vec<Sample>)>>(),
            stagings,
            own_seconds,
        ))
    }

    /// The same load three times with a stopwatch between its stages; the middle one by its time.
    fn staging(
        &self,
        set: &FileSet,
        case: &Case,
        protection: Protection,
        requests: &[Request],
    ) -> Result<Staging, Error> {
        let mut runs = Vec::new();
        for _ in 0..3 {
            if case.workload == Workload::ColdLoad {
                set.drop_cached(protection)?;
            }
            let staged: Vec<_> = set
                .files(protection)
                .iter()
                .map(|file| staged(file, protection, case.way))
                .collect::<Result<_, _>>()?;
            let mut sources: Vec<Box<dyn Source + Send>> = Vec::new();
            let staged: Vec<_> = staged.into_iter().map(std::sync::Arc::new).collect();
            for source in &staged {
                sources.push(Box::new(Shared(std::sync::Arc::clone(source))));
            }
            let start = Instant::now();
            work::load(
                &sources,
                requests,
                Into::OwnPlaces,
                &mut self.arena.borrow_mut(),
                case.threads,
            )?;
            let wall = start.elapsed().as_secs_f64();
            let mut stages = Stages::default();
            for source in &staged {
                let one = source.stages();
                stages.waiting += one.waiting;
                stages.storage += one.storage;
                stages.cipher += one.cipher;
            }
            runs.push((wall, stages));
        }
        runs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (wall, stages) = runs[runs.len() / 2];
        Ok(Staging {
            protection,
            wall,
            stages,
        })
    }

    /// Seconds that the same work takes when nothing is read: what is the tool's own of every figure of the case.
    fn own_seconds(
        &self,
        case: &Case,
        requests: &[Request],
        into: Into,
        clock: &dyn Clock,
    ) -> Result<f64, Error> {
        let shards = 1 + requests
            .iter()
            .map(|request| request.shard)
            .max()
            .unwrap_or(0);
        let sources: Vec<Box<dyn Source + Send>> =
            (0..shards).map(|_| Box::new(Nothing) as _).collect();
        let mut least = f64::INFINITY;
        for _ in 0..5 {
            let before = clock.read();
            // A second buffer is copied to as part of the work, and is not the tool's own.
            let into = if into == Into::ThenSecond {
                Into::OwnPlaces
            } else {
                into
            };
            match case.workload.writes() {
                true => work::store(&sources, requests, &self.arena.borrow(), case.threads)?,
                false => work::load(
                    &sources,
                    requests,
                    into,
                    &mut self.arena.borrow_mut(),
                    case.threads,
                )?,
            }
            least = least.min((clock.read().wall - before.wall).as_secs_f64());
        }
        Ok(least)
    }
}

fn set_name(files: Files) -> &'static str {
    match files {
        Files::Main => "checkpoint's",
        Files::Formats => "formats'",
        Files::Small => "small tensors'",
        Files::Shards => "sharded",
        Files::Writes => "written",
    }
}

/// Reads and writes nothing.
struct Nothing;

impl Source for Nothing {
    fn read(&self, _: &mut [u8], _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, _: &[u8], _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A source that is still asked for its stages afterwards.
struct Shared(std::sync::Arc<StagedSource>);

impl Source for Shared {
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        self.0.read(buf, offset)
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.0.write(data, offset)
    }

    fn flush(&self) -> Result<(), Error> {
        self.0.flush()
    }
}

fn staged(file: &std::fs::File, protection: Protection, way: Way) -> Result<StagedSource, Error> {
    StagedSource::open(source::storage(file, way, false)?, |storage| {
        let storage: Box<dyn Storage> = Box::new(storage);
        Ok(match protection {
            Protection::Encrypted(_, kernel) => Box::new(source::opened(storage, kernel)?),
            _ => Box::new(source::Plain::new(storage, way)),
        })
    })
}

/// A contender of a case.
struct Turn<'a> {
    set: &'a FileSet,
    case: &'a Case,
    protection: Protection,
    requests: &'a [Request],
    into: Into,
    arena: &'a RefCell<Arena>,
    sources: Vec<Box<dyn Source + Send>>,
}

impl Work for Turn<'_> {
    fn prepare(&mut self) -> Result<(), Error> {
        // A mapping of the last turn would keep its pages.
        self.sources.clear();
        if self.case.workload == Workload::ColdLoad {
            self.set.drop_cached(self.protection)?;
        }
        self.sources =
            self.set
                .open(self.protection, self.case.way, self.case.workload.writes())?;
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        match self.case.workload.writes() {
            true => work::store(
                &self.sources,
                self.requests,
                &self.arena.borrow(),
                self.case.threads,
            ),
            false => work::load(
                &self.sources,
                self.requests,
                self.into,
                &mut self.arena.borrow_mut(),
                self.case.threads,
            ),
        }
    }
}
