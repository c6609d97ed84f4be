//! The files of a run, made and checked, and each comparison on them.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucarne_storage::Storage;

use crate::door::{Door, Doors, Served};
use crate::files::{FileSet, Given};
use crate::measure::{Clock, Reading, Work, take_turns};
use crate::outcome::{CaseResult, Staging};
use crate::plan::{Case, Files, Plan, Workload};
use crate::requests::requests;
use crate::source::{self, Protection, Source, StagedSource, Stages, Way};
use crate::space::Space;
use crate::weights::Model;
use crate::work::{self, Arena, Crew, Into, Request};
use crate::{Control, Error};

/// All that the comparisons share.
pub(crate) struct Bench {
    sets: BTreeMap<Files, FileSet>,
    arena: RefCell<Arena>,
    crews: BTreeMap<usize, Crew>,
    pub(crate) doors: Option<Doors>,
    /// What came through each door and was compared with the bare file.
    verified: RefCell<HashSet<(Files, Door, Protection)>>,
}

impl Bench {
    /// Makes the files that the plan asks for; `given` is the checkpoint itself. Every volume, with every kernel, is
    /// held against the bare file.
    pub(crate) fn prepare(
        plan: &Plan,
        mut given: Option<Given>,
        model: Model,
        threads: usize,
        space: &Space,
        control: &Control,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let mut sets = BTreeMap::new();
        let mut crews = BTreeMap::new();
        let mut verified = HashSet::new();
        for case in &plan.cases {
            let files = case.files;
            if let Entry::Vacant(entry) = crews.entry(case.threads) {
                entry.insert(Crew::new(case.threads)?);
            }
            let set = match sets.entry(files) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    control.begin(format!("making the {} files", set_name(files)));
                    entry.insert(match given.take_if(|_| files == Files::Main) {
                        Some(given) => FileSet::given(given),
                        None => {
                            let layout = FileSet::layout(files, model, &plan.lengths);
                            FileSet::generate(layout, space, threads, control)?
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
                    set.encrypt(format, space, control)?;
                }
                if verified.insert((files, protection)) {
                    set.verify(protection, control)?;
                }
            }
        }
        let arena = Arena::new(
            plan.lengths.main + ARENA_EXTRA_BYTES,
            plan.lengths.formats + ARENA_EXTRA_BYTES,
        )?;
        control.end(began.elapsed());
        Ok(Self {
            sets,
            arena: RefCell::new(arena),
            crews,
            doors: None,
            verified: RefCell::default(),
        })
    }

    /// Makes one comparison.
    ///
    /// # Errors
    /// [`Error::Refused`] for what cannot be done here.
    pub(crate) fn case(
        &self,
        case: &Case,
        clock: &dyn Clock,
        control: &Control,
    ) -> Result<CaseResult, Error> {
        let made = self
            .sets
            .get(&case.files)
            .zip(self.crews.get(&case.threads));
        let Some((set, crew)) = made else {
            return Err(Error::Refused("its files were not made".into()));
        };
        let (requests, into) = requests(case, &set.checkpoints);
        if requests.is_empty() {
            return Err(Error::Refused("the checkpoint has no such tensors".into()));
        }
        let job = Job {
            set,
            case,
            crew,
            requests: &requests,
            into,
            arena: &self.arena,
            doors: self.doors.as_ref(),
        };
        let mut turns: Vec<_> = case.contenders.iter().map(|&who| job.turn(who)).collect();
        for turn in &mut turns {
            self.verify(turn, control)?;
        }
        let clock = &WithServers {
            clock,
            servers: turns.iter().map(|turn| Rc::clone(&turn.servers)).collect(),
        };
        let mut works: Vec<&mut dyn Work> =
            turns.iter_mut().map(|turn| turn as &mut dyn Work).collect();
        let samples = take_turns(clock, case.rounds, &mut works, control)?;
        let mut stagings = Vec::new();
        let is_staged = |who: &&Protection| {
            case.staged && matches!(who, Protection::Plain | Protection::Encrypted(..))
        };
        for &who in case.contenders.iter().filter(is_staged) {
            control.check()?;
            stagings.push(job.staging(who)?);
        }
        Ok(CaseResult::new(
            case,
            requests.iter().map(|request| request.len as u64).sum(),
            requests.len(),
            case.contenders.iter().copied().zip(samples).collect(),
            stagings,
            job.own_seconds(clock)?,
        ))
    }
}

impl Bench {
    /// That a door shows what the bare file holds; once.
    fn verify(&self, turn: &mut Turn<'_>, control: &Control) -> Result<(), Error> {
        let case = turn.job.case;
        let Some(door) = case.way.door() else {
            return Ok(());
        };
        let mut verified = self.verified.borrow_mut();
        if verified.insert((case.files, door, turn.protection)) {
            turn.prepare()?;
            let what = format!("{} through {}", turn.protection.name(), door.name());
            turn.job.set.compare(&turn.sources, &what, control)?;
            turn.finish();
        }
        Ok(())
    }
}

/// Beyond what is loaded: blocks for direct reads are whole, and other files may round up.
const ARENA_EXTRA_BYTES: u64 = 16 << 20;

fn set_name(files: Files) -> &'static str {
    match files {
        Files::Main => "checkpoint's",
        Files::Formats => "formats'",
        Files::Small => "small tensors'",
        Files::Shards => "sharded",
        Files::Writes => "written",
    }
}

/// The work of a comparison, whoever does it.
#[derive(Clone, Copy)]
struct Job<'a> {
    set: &'a FileSet,
    case: &'a Case,
    crew: &'a Crew,
    requests: &'a [Request],
    into: Into,
    arena: &'a RefCell<Arena>,
    doors: Option<&'a Doors>,
}

impl<'a> Job<'a> {
    fn turn(self, protection: Protection) -> Turn<'a> {
        Turn {
            job: self,
            protection,
            sources: Vec::new(),
            servers: Servers::default(),
        }
    }

    /// A server for each file of a contender.
    fn serve(&self, door: Door, protection: Protection) -> Result<Vec<Served>, Error> {
        let doors = self
            .doors
            .ok_or_else(|| Error::Refused("nothing serves it".into()))?;
        let files = self.set.files(protection).iter();
        files
            .zip(&self.set.checkpoints)
            .map(|(file, checkpoint)| {
                let what = (protection, checkpoint.len_bytes);
                let write = self.case.workload.writes();
                Served::start(doors, door, file, what, write, self.case.threads)
            })
            .collect()
    }

    fn drop_cached(&self, protection: Protection) -> Result<(), Error> {
        match self.case.workload {
            Workload::ColdLoad => self.set.drop_cached(protection),
            _ => Ok(()),
        }
    }

    fn run(&self, sources: &[Box<dyn Source + Send>]) -> Result<(), Error> {
        let Self {
            requests,
            into,
            crew,
            arena,
            ..
        } = *self;
        match self.case.workload.writes() {
            true => work::store(sources, requests, &arena.borrow(), crew),
            false => work::load(sources, requests, into, &mut arena.borrow_mut(), crew),
        }
    }

    /// The same load three times with a stopwatch between its stages; the middle one by its time.
    fn staging(&self, protection: Protection) -> Result<Staging, Error> {
        let mut runs = Vec::new();
        for _ in 0..3 {
            self.drop_cached(protection)?;
            let staged = |file| Ok(Arc::new(staged(file, protection, self.case.way)?));
            let files = self.set.files(protection).iter();
            let staged = files.map(staged).collect::<Result<Vec<_>, Error>>()?;
            let share = |source: &Arc<StagedSource>| Box::new(Shared(Arc::clone(source))) as _;
            let sources: Vec<Box<dyn Source + Send>> = staged.iter().map(share).collect();
            let start = Instant::now();
            self.run(&sources)?;
            let wall = start.elapsed().as_secs_f64();
            let stages = staged.iter().map(|source| source.stages()).sum::<Stages>();
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

    /// Seconds that the same work takes when nothing is read: what is the tool's own of every figure.
    fn own_seconds(&self, clock: &dyn Clock) -> Result<f64, Error> {
        let shards = 1 + self
            .requests
            .iter()
            .map(|request| request.shard)
            .max()
            .unwrap_or(0);
        let sources: Vec<Box<dyn Source + Send>> =
            (0..shards).map(|_| Box::new(Nothing) as _).collect();
        let into = match self.into {
            // The second copy is part of the work, and not the tool's own.
            Into::ThenSecond => Into::OwnPlaces,
            into => into,
        };
        let job = Self { into, ..*self };
        let mut least = f64::INFINITY;
        for _ in 0..5 {
            let before = clock.read();
            job.run(&sources)?;
            least = least.min((clock.read().wall - before.wall).as_secs_f64());
        }
        Ok(least)
    }
}

/// A contender.
struct Turn<'a> {
    job: Job<'a>,
    protection: Protection,
    sources: Vec<Box<dyn Source + Send>>,
    servers: Servers,
}

/// Those of one contender; what they use is asked for by the clock.
type Servers = Rc<RefCell<Vec<Served>>>;

impl Turn<'_> {
    /// From the servers, which are started where there are none.
    fn open_through(&mut self, door: Door) -> Result<(), Error> {
        let case = self.job.case;
        let mut servers = self.servers.borrow_mut();
        if servers.is_empty() {
            *servers = self.job.serve(door, self.protection)?;
        }
        servers.iter().try_for_each(Served::drop_cached)?;
        self.sources = servers
            .iter()
            .map(|server| server.source(case.way, case.workload.writes()))
            .collect::<Result<_, _>>()?;
        if case.workload == Workload::CachedLoad {
            // Anew each time: where the pages lie makes a difference, which would stay for the whole comparison.
            self.job.run(&self.sources)?;
        }
        Ok(())
    }
}

impl Work for Turn<'_> {
    fn prepare(&mut self) -> Result<(), Error> {
        self.job.drop_cached(self.protection)?;
        let case = self.job.case;
        if let Some(door) = case.way.door() {
            return self.open_through(door);
        }
        self.sources = self
            .job
            .set
            .open(self.protection, case.way, case.workload.writes())?;
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        self.job.run(&self.sources)
    }

    fn finish(&mut self) {
        // A mapping would keep its pages in the page cache, and a server has one.
        self.sources.clear();
        if self.job.case.workload == Workload::ColdLoad {
            self.servers.borrow_mut().clear();
        }
    }
}

/// A clock that counts what servers use too.
struct WithServers<'a> {
    clock: &'a dyn Clock,
    servers: Vec<Servers>,
}

impl WithServers<'_> {
    fn usages(&self) -> Vec<crate::door::Usage> {
        let servers = self.servers.iter().map(|servers| servers.borrow());
        servers
            .flat_map(|servers| servers.iter().map(Served::usage).collect::<Vec<_>>())
            .collect()
    }
}

impl Clock for WithServers<'_> {
    fn read(&self) -> Reading {
        self.clock.read()
    }

    fn device_bytes(&self) -> Option<u64> {
        let of_servers = self.usages().into_iter().map(|usage| usage.device_bytes);
        Some(self.clock.device_bytes()? + of_servers.sum::<Option<u64>>()?)
    }

    fn others_cpu(&self) -> Duration {
        self.usages().iter().map(|usage| usage.cpu).sum()
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
struct Shared(Arc<StagedSource>);

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

fn staged(file: &File, protection: Protection, way: Way) -> Result<StagedSource, Error> {
    StagedSource::open(source::storage(file, way, false)?, |storage| {
        let storage: Box<dyn Storage> = Box::new(storage);
        Ok(match protection {
            Protection::Encrypted(_, kernel) => Box::new(source::opened(storage, kernel)?),
            _ => Box::new(source::Plain::new(storage, way)),
        })
    })
}
