//! What was measured.

use lucarne::Kernel;

use crate::door::Door;
use crate::machine::Machine;
use crate::measure::Sample;
use crate::plan::{Case, Depth, Workload};
use crate::source::{DEFAULT_FORMAT, Protection, Stages, Way};
use crate::stats::{Interval, NOISY_WIDTH, Summary};

/// Bytes of a GiB.
pub const GIB: f64 = 1_073_741_824.0;

/// One contender's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Who.
    pub protection: Protection,
    /// The turns, in order.
    pub samples: Vec<Sample>,
    /// Bytes a second.
    pub rate: Summary,
    /// Seconds of CPU time per GiB.
    pub cpu_per_gib: Summary,
    /// Its rate as a share of the first contender's in the same round; `None` of that one itself.
    pub ratio: Option<Interval>,
    /// Seconds of CPU time per GiB beyond the first contender's in the same round.
    pub added_cpu: Option<Interval>,
    /// Bytes that came from the storage device, as a share of those that were loaded.
    pub device_share: Option<f64>,
}

impl Measured {
    fn new(
        protection: Protection,
        samples: Vec<Sample>,
        first: Option<&[Sample]>,
        bytes: f64,
    ) -> Self {
        let gib = bytes / GIB;
        let pairs = || first.map(|first| first.iter().zip(&samples));
        Self {
            protection,
            rate: Summary::of(samples.iter().map(|sample| bytes / sample.wall)),
            cpu_per_gib: Summary::of(samples.iter().map(|sample| sample.cpu / gib)),
            ratio: pairs()
                .map(|pairs| Interval::of(pairs.map(|(first, own)| first.wall / own.wall))),
            added_cpu: pairs()
                .map(|pairs| Interval::of(pairs.map(|(first, own)| (own.cpu - first.cpu) / gib))),
            device_share: samples
                .iter()
                .map(|sample| sample.device_bytes.map(|device| device as f64 / bytes))
                .collect::<Option<Vec<_>>>()
                .map(|shares| Summary::of(shares).median),
            samples,
        }
    }

    /// The share of the speed that is lost: 0.03 is three percent.
    #[must_use]
    pub fn cost(&self) -> Option<Interval> {
        self.ratio
            .map(|ratio| ratio.mapped_down(|ratio| 1.0 - ratio))
    }

    /// Whether the figures say too little to be believed: why, in words.
    #[must_use]
    pub fn noise(&self) -> Option<String> {
        let ratio = self.ratio?;
        (ratio.width() > NOISY_WIDTH).then(|| {
            format!(
                "{} rounds leave the ratio between {:.2} and {:.2}",
                self.samples.len(),
                ratio.low,
                ratio.high
            )
        })
    }
}

/// Where the time of a load went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staging {
    /// Whose load.
    pub protection: Protection,
    /// Seconds from begin to end, with the stopwatch.
    pub wall: f64,
    /// Seconds of all threads together.
    pub stages: Stages,
}

/// One comparison's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseResult {
    /// What was compared.
    pub case: Case,
    /// Bytes of one turn.
    pub bytes: u64,
    /// Requests of one turn.
    pub requests: usize,
    /// The contenders, in the order of the case.
    pub measured: Vec<Measured>,
    /// The same load with a stopwatch.
    pub stagings: Vec<Staging>,
    /// Of the fastest contender's time, what the tool itself takes: handing out requests and starting threads.
    pub own_share: f64,
}

impl CaseResult {
    pub(crate) fn new(
        case: &Case,
        bytes: u64,
        requests: usize,
        samples: Vec<(Protection, Vec<Sample>)>,
        stagings: Vec<Staging>,
        own_seconds: f64,
    ) -> Self {
        let first = samples.first().map(|(_, samples)| samples.clone());
        let measured: Vec<_> = samples
            .into_iter()
            .enumerate()
            .map(|(place, (protection, samples))| {
                let first = first.as_deref().filter(|_| place > 0);
                Measured::new(protection, samples, first, bytes as f64)
            })
            .collect();
        let fastest = measured
            .iter()
            .map(|one| one.rate.median)
            .fold(0.0, f64::max);
        Self {
            case: case.clone(),
            bytes,
            requests,
            measured,
            stagings,
            own_share: own_seconds * fastest / bytes as f64,
        }
    }

    /// The bare file.
    #[must_use]
    pub fn plain(&self) -> Option<&Measured> {
        self.of(|protection| protection == Protection::Plain)
    }

    /// The first volume.
    #[must_use]
    pub fn encrypted(&self) -> Option<&Measured> {
        self.of(|protection| matches!(protection, Protection::Encrypted(..)))
    }

    /// The share of the speed that the cipher alone costs: the first volume beside a copy in place of the cipher, in the
    /// same round.
    #[must_use]
    pub fn cost_of_cipher(&self) -> Option<Interval> {
        let copy = self.of(|protection| protection == Protection::CopyInstead)?;
        let pairs = copy.samples.iter().zip(&self.encrypted()?.samples);
        Some(Interval::of(
            pairs.map(|(copy, own)| 1.0 - copy.wall / own.wall),
        ))
    }

    /// Whoever it is said of.
    pub fn of(&self, is_meant: impl Fn(Protection) -> bool) -> Option<&Measured> {
        self.measured.iter().find(|one| is_meant(one.protection))
    }
}

/// What unlocking a new volume costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlock {
    /// The key derivation and its costs.
    pub kdf: String,
    /// How long it took, each time.
    pub seconds: Vec<f64>,
}

/// All of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where.
    pub machine: Machine,
    /// Of what, in words.
    pub weights: String,
    /// How much.
    pub depth: Depth,
    /// The most threads.
    pub threads: usize,
    /// Bytes of disk that were announced.
    pub disk_bytes: u64,
    /// Bytes of memory that were announced.
    pub memory_bytes: u64,
    /// The checkpoint's length.
    pub main_bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// The load average before.
    pub load_before: Option<f64>,
    /// The share of processor time that the host gave to others meanwhile.
    pub stolen: Option<f64>,
    /// The comparisons.
    pub cases: Vec<CaseResult>,
    /// What unlocking costs; `None` where there is not the memory for it.
    pub unlock: Option<Unlock>,
    /// By which ways in besides the library.
    pub doors: Vec<Door>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Outcome {
    /// The comparison of a workload by a way on the checkpoint itself (or the files made for it), with the most threads
    /// that it was done with.
    #[must_use]
    pub fn case(&self, workload: Workload, way: Way) -> Option<&CaseResult> {
        self.cases
            .iter()
            .filter(|result| result.case.workload == workload && result.case.way == way)
            .filter(|result| !result.compares_formats())
            .max_by_key(|result| result.case.threads)
    }

    /// The warm load by a way in, of the files that the doors serve: the plain file and the volume of the default format.
    #[must_use]
    pub fn by_way_in(&self, way: Way) -> Option<(&Measured, &Measured)> {
        let result = match way.door() {
            Some(_) => self.case(Workload::WarmLoad, way)?,
            None => self.formats(way, self.threads)?,
        };
        let wanted = Protection::Encrypted(DEFAULT_FORMAT, Kernel::preferred());
        Some((result.plain()?, result.of(|who| who == wanted)?))
    }

    /// The comparison of formats and kernels by a way, with so many threads.
    #[must_use]
    pub fn formats(&self, way: Way, threads: usize) -> Option<&CaseResult> {
        self.cases.iter().find(|result| {
            result.compares_formats() && result.case.way == way && result.case.threads == threads
        })
    }
}

impl CaseResult {
    /// Whether it is there for the formats and kernels.
    #[must_use]
    pub fn compares_formats(&self) -> bool {
        self.case.compares_formats()
    }
}
