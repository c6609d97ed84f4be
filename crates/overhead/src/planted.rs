//! A slow-down that is planted beneath the tool, in the storage that it reads from, is what it says afterwards.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use lucarne_storage::Storage;

use crate::files::FileSet;
use crate::measure::{Rounds, SystemClock, Work, take_turns};
use crate::outcome::{CaseResult, Measured};
use crate::plan::{Case, Depth, Files, Workload};
use crate::requests::requests;
use crate::source::{self, DEFAULT_FORMAT, Protection, Source, Way};
use crate::space::Space;
use crate::stats::Interval;
use crate::synthetic::{Planted, outcome};
use crate::verdict::{answer, cost_text};
use crate::weights::{Checkpoint, Model};
use crate::work::{self, Arena, Crew, Into, Request};
use crate::{Control, Error};

/// A turn takes some milliseconds: many of them fit between two interruptions of a busy machine.
const LEN_BYTES: u64 = 32 << 20;
/// One after the other, until the figures decide.
const ROUND_COUNTS: [usize; 4] = [41, 101, 301, 601];
/// The interval of the control must be this narrow, and so must that of what was planted.
const WIDTH_MAX: f64 = 0.04;
/// What a planted cost may be missed by: the stopwatch in the storage costs something too.
const TOLERANCE: f64 = 0.01;

/// Storage whose every read takes longer by a share of the time that it took.
struct Slowed<S> {
    inner: S,
    share: f64,
}

impl<S: Storage> Storage for Slowed<S> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = Instant::now();
        let result = self.inner.read_at(buf, offset);
        let longer = start.elapsed().mul_f64(1.0 + self.share);
        while start.elapsed() < longer {
            std::hint::spin_loop();
        }
        result
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.discard(range)
    }
}

struct Load<'a> {
    sources: [Box<dyn Source + Send>; 1],
    requests: &'a [Request],
    /// One for all: where its pages lie in memory makes more of a difference than is planted.
    arena: &'a RefCell<Arena>,
}

impl Work for Load<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let Self {
            sources,
            requests,
            arena,
        } = self;
        let arena = &mut arena.borrow_mut();
        work::load(sources, requests, Into::OwnPlaces, arena, &Crew::new(1)?)
    }
}

/// What the tool says.
#[derive(Debug, PartialEq)]
enum Said {
    /// The planted cost, or as good as that.
    Planted,
    /// Another one, or none.
    SomethingElse(String),
    /// The figures do not decide, or two equals differ: nobody could say.
    Noisy(String),
}

/// Loads a file from three storages in turns: as it is, the same once more, and slowed by a share of each read.
fn measured(share: f64, count: usize) -> CaseResult {
    let scratch = tempfile::tempdir().unwrap();
    let space = Space::new(scratch.path()).unwrap();
    let layout = vec![Checkpoint::of_model(Model::Small, LEN_BYTES)];
    let set = FileSet::generate(layout, &space, 1, &Control::default()).unwrap();
    let slowed = Protection::Encrypted(DEFAULT_FORMAT, lucarne::Kernel::preferred());
    let case = Case {
        workload: Workload::WarmLoad,
        way: Way::Pread,
        threads: 1,
        files: Files::Main,
        request_len: 1 << 20,
        contenders: vec![Protection::Plain, Protection::PlainAgain, slowed],
        rounds: Rounds {
            least: count,
            most: count,
            budget: Duration::ZERO,
            warm_up: true,
        },
        staged: false,
    };
    let (requests, _) = requests(&case, &set.checkpoints);
    let len = requests.iter().map(|request| request.len as u64).sum();
    let arena = RefCell::new(Arena::new(len, 0).unwrap());
    let load = |share| {
        let inner = source::storage(&set.files(Protection::Plain)[0], Way::Pread, false).unwrap();
        Load {
            sources: [Box::new(source::Plain::new(
                Box::new(Slowed { inner, share }),
                Way::Pread,
            ))],
            requests: &requests,
            arena: &arena,
        }
    };
    let (mut plain, mut again, mut planted) = (load(0.0), load(0.0), load(share));
    let samples = take_turns(
        &SystemClock::start(),
        case.rounds,
        &mut [&mut plain, &mut again, &mut planted],
        &Control::default(),
    )
    .unwrap();
    CaseResult::new(
        &case,
        len,
        requests.len(),
        case.contenders.iter().copied().zip(samples).collect(),
        Vec::new(),
        0.0,
    )
}

fn cost(result: &CaseResult, is_meant: impl Fn(Protection) -> bool) -> Interval {
    result.of(is_meant).and_then(Measured::cost).unwrap()
}

/// The cost of storage that takes longer by a share of every read.
fn cost_of(share: f64) -> f64 {
    1.0 - 1.0 / (1.0 + share)
}

/// What the tool says of some figures, where a cost was expected.
fn judged(result: CaseResult, expected: f64) -> Said {
    let control = cost(&result, |who| who == Protection::PlainAgain);
    let found = cost(&result, |who| matches!(who, Protection::Encrypted(..)));
    let figures = format!(
        "{} rounds: {expected:.4} expected, {} found, {} of two equals",
        result.case.rounds.least,
        cost_text(found),
        cost_text(control)
    );
    let width = |cost: Interval| cost.high - cost.low;
    if width(control).max(width(found)) > WIDTH_MAX || control.median.abs() > TOLERANCE {
        return Said::Noisy(figures);
    }
    let is_covered = found.low - TOLERANCE <= expected && expected <= found.high + TOLERANCE;
    // What a user reads.
    let mut whole = outcome(Depth::Quick, &Planted::default());
    whole.cases = vec![result];
    let headline = answer(&whole).headline;
    let is_told = !cost_text(found).starts_with("nothing")
        && headline.contains(&format!("{} when they are", cost_text(found)));
    match is_covered && is_told {
        true => Said::Planted,
        false => Said::SomethingElse(format!("{figures}; {headline}")),
    }
}

/// The same of storage that takes longer by a share, with more rounds until it is that.
fn said(share: f64) -> Said {
    let mut said = Said::Noisy("nothing was measured".into());
    for count in ROUND_COUNTS {
        said = judged(measured(share, count), cost_of(share));
        if said == Said::Planted {
            break;
        }
    }
    said
}

#[test]
fn five_percent_beneath_the_tool_are_what_it_says() {
    match said(0.05) {
        Said::Planted => {}
        Said::Noisy(figures) => lucarne_testkit::peers::not_run(
            "a planted slow-down of five percent",
            &format!("this machine is too busy to tell: {figures}"),
        ),
        Said::SomethingElse(figures) => panic!("{figures}"),
    }
}

#[test]
fn without_a_slow_down_none_is_said() {
    let said = judged(measured(0.0, ROUND_COUNTS[1]), cost_of(0.05));
    assert_ne!(said, Said::Planted);
}
