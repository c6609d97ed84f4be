//! Which comparisons a run makes, and what they need of time, disk and memory: known before the first byte is
//! written.

mod doors;

use std::collections::BTreeSet;
use std::time::Duration;

use lucarne::Kernel;

use crate::door::Door;
use crate::measure::Rounds;
use crate::source::{DEFAULT_FORMAT, Format, Protection, Way};

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// The answer, with wider intervals: some ten seconds.
    Quick,
    /// The answer and its reasons: a minute or two.
    #[default]
    Normal,
    /// Every kernel with every format and every number of threads: some minutes.
    Full,
}

/// Files that several comparisons share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Files {
    /// The checkpoint itself.
    Main,
    /// A smaller one, of which there is a volume in each format.
    Formats,
    /// Many small tensors.
    Small,
    /// A checkpoint in several files.
    Shards,
    /// What is written to.
    Writes,
}

impl Files {
    const ALL: [Self; 5] = [
        Self::Main,
        Self::Formats,
        Self::Small,
        Self::Shards,
        Self::Writes,
    ];
}

/// What is done with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// All tensors into memory, in order, out of the page cache.
    WarmLoad,
    /// All tensors into memory, in order, with the page cache dropped.
    ColdLoad,
    /// All tensors into memory, in order, out of what the kernel has cached of a mounted file.
    CachedLoad,
    /// As [`Self::WarmLoad`], and from there into a second buffer.
    LoadAndCopy,
    /// Every tensor of at least 1 MiB, whole, in random order.
    RandomTensors,
    /// Thousands of tensors of 1 to 64 KiB.
    SmallTensors,
    /// The files of a sharded checkpoint, all at once.
    Shards,
    /// 4 KiB here and there.
    Faults,
    /// All tensors over their old bytes, and fsync.
    Write,
    /// Every eighth tensor over its old bytes, and fsync.
    Increment,
    /// [`Self::WarmLoad`] in requests of one size.
    RequestSize,
}

impl Workload {
    /// Part of [`Case::id`].
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::WarmLoad => "warm-load",
            Self::ColdLoad => "cold-load",
            Self::CachedLoad => "cached-load",
            Self::LoadAndCopy => "load-and-copy",
            Self::RandomTensors => "random-tensors",
            Self::SmallTensors => "small-tensors",
            Self::Shards => "shards",
            Self::Faults => "faults-4k",
            Self::Write => "checkpoint-write",
            Self::Increment => "incremental-write",
            Self::RequestSize => "request-size",
        }
    }

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::WarmLoad => "warm load of all tensors",
            Self::ColdLoad => "cold load of all tensors",
            Self::CachedLoad => "load again of what the kernel has cached of the mounted file",
            Self::LoadAndCopy => "warm load, then copied to a second buffer",
            Self::RandomTensors => "single tensors of 1 MiB and more, random order",
            Self::SmallTensors => "many tensors of 1 to 64 KiB",
            Self::Shards => "sharded checkpoint, files in parallel",
            Self::Faults => "4 KiB here and there",
            Self::Write => "checkpoint write with fsync",
            Self::Increment => "incremental checkpoint (1/8 rewritten) with fsync",
            Self::RequestSize => "warm load in requests of one size",
        }
    }

    /// Whether it changes the files.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Increment)
    }
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What is done.
    pub workload: Workload,
    /// By which way.
    pub way: Way,
    /// With how many threads.
    pub threads: usize,
    /// With which files.
    pub files: Files,
    /// The longest request, in bytes.
    pub request_len: u64,
    /// Who takes turns; the first is what the others are held against.
    pub contenders: Vec<Protection>,
    /// How often.
    pub rounds: Rounds,
    /// Whether the load is repeated with a stopwatch between its stages.
    pub staged: bool,
}

impl Case {
    /// Whether it is there for the formats and kernels.
    #[must_use]
    pub fn compares_formats(&self) -> bool {
        self.workload == Workload::WarmLoad
            && self.files == Files::Formats
            && self.way.door().is_none()
    }

    /// A name that is the same in every run: `warm-load/pread/2-threads`.
    #[must_use]
    pub fn id(&self) -> String {
        let mut id = format!(
            "{}/{}/{}-threads",
            self.workload.id(),
            self.way.name(),
            self.threads
        );
        if self.workload == Workload::RequestSize {
            id.push_str(&format!("/{}-bytes", self.request_len));
        }
        if self.files == Files::Formats && self.way.door().is_none() {
            id.push_str("/formats");
        }
        id
    }
}

impl Case {
    /// About how long it takes: its budget, or the least rounds at rates that are guessed low.
    pub(crate) fn thought(&self, lengths: &Lengths) -> Duration {
        let bytes_a_second = match self.workload {
            Workload::ColdLoad => 1.5e9,
            Workload::Write | Workload::Increment => 0.6e9,
            _ if self.way.door().is_some() => 2e9,
            _ => 6e9,
        };
        let turns = (self.rounds.least + usize::from(self.rounds.warm_up)) * self.contenders.len();
        let staged = if self.staged { 6 } else { 0 };
        let bytes = lengths.of_files(self.files) as f64 * (turns + staged) as f64;
        let least = Duration::from_secs_f64(bytes / bytes_a_second);
        self.rounds.budget.mul_f64(1.2).max(least)
    }
}

/// The lengths of the files, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Of the checkpoint.
    pub main: u64,
    /// Of [`Files::Formats`].
    pub formats: u64,
    /// Of [`Files::Small`].
    pub small: u64,
    /// Of [`Files::Shards`] together.
    pub shards: u64,
    /// Of [`Files::Writes`].
    pub writes: u64,
}

/// Header and padding of a volume, and of a file system's own for a file.
const VOLUME_EXTRA_BYTES: u64 = 20 << 20;

impl Lengths {
    /// Those of a run over a checkpoint of so many bytes.
    #[must_use]
    pub fn of(main: u64) -> Self {
        let share = |divisor: u64, most: u64| (main / divisor).clamp(1 << 20, most);
        Self {
            main,
            formats: share(4, 256 << 20),
            small: share(8, 64 << 20),
            shards: share(4, 1 << 30),
            writes: share(4, 512 << 20),
        }
    }

    fn of_files(&self, files: Files) -> u64 {
        match files {
            Files::Main => self.main,
            Files::Formats => self.formats,
            Files::Small => self.small,
            Files::Shards => self.shards,
            Files::Writes => self.writes,
        }
    }
}

/// All of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The files' lengths.
    pub lengths: Lengths,
    /// The comparisons, in order.
    pub cases: Vec<Case>,
    /// The most disk in use at once, in bytes, given files excepted.
    pub disk_bytes: u64,
    /// The most memory in use, in bytes: buffers and what must stay in the page cache.
    pub memory_bytes: u64,
    /// About how long it takes.
    pub time: Duration,
}

/// Generated, written and encrypted a second, as guessed for the announcement.
const PREPARED_BYTES_A_SECOND: u64 = 300 << 20;

impl Plan {
    /// What is measured at a depth with at most `threads` threads. `main_len`: the checkpoint's length in bytes;
    /// `given`: it lies there already; `shard_count`: of how many files it is; `doors`: by which ways in besides the
    /// library.
    #[must_use]
    pub fn new(
        depth: Depth,
        threads: usize,
        main_len: u64,
        given: bool,
        shard_count: usize,
        doors: &[Door],
    ) -> Self {
        let lengths = Lengths::of(main_len);
        let cases = cases(depth, threads.max(1), shard_count, doors);
        let mut disk_bytes = 0;
        for files in Files::ALL {
            let of_files = cases.iter().filter(|case| case.files == files);
            let formats: BTreeSet<_> = of_files
                .flat_map(|case| &case.contenders)
                .map(|protection| match protection {
                    Protection::Encrypted(format, _) => (format.key_bits, format.sector.bytes()),
                    _ => (0, 0),
                })
                .collect();
            // The bare file is one of them, and not made where it was given.
            let copies =
                (formats.len() as u64).saturating_sub(u64::from(given && files == Files::Main));
            disk_bytes += copies * (lengths.of_files(files) + VOLUME_EXTRA_BYTES);
        }
        let copied = cases
            .iter()
            .any(|case| case.workload == Workload::LoadAndCopy);
        let second = if copied { lengths.formats } else { 0 };
        // The kernel's cache of both mounted files.
        let mounted = match doors.contains(&Door::Fuse) {
            true => 2 * lengths.formats,
            false => 0,
        };
        let measured: Duration = cases.iter().map(|case| case.thought(&lengths)).sum();
        Self {
            lengths,
            disk_bytes,
            memory_bytes: 3 * main_len + second + mounted + (128 << 20),
            time: measured + Duration::from_secs(disk_bytes / PREPARED_BYTES_A_SECOND + 4),
            cases,
        }
    }
}

/// 1, 2, 4 … and the most.
pub(crate) fn thread_counts(most: usize) -> Vec<usize> {
    let mut counts: Vec<_> = std::iter::successors(Some(1_usize), |count| Some(count * 2))
        .take_while(|&count| count < most)
        .collect();
    counts.push(most);
    counts
}

fn cases(depth: Depth, threads: usize, shard_count: usize, doors: &[Door]) -> Vec<Case> {
    let best = Protection::Encrypted(DEFAULT_FORMAT, Kernel::preferred());
    let seconds = match depth {
        Depth::Quick => 0.6,
        Depth::Normal => 1.8,
        Depth::Full => 5.0,
    };
    let rounds = |share: f64, least: usize, warm_up| Rounds {
        least,
        most: 101,
        budget: Duration::from_secs_f64(seconds * share),
        warm_up,
    };
    let warm = rounds(1.0, 7, true);
    let case = |workload, way, threads, files| Case {
        workload,
        way,
        threads,
        files,
        request_len: crate::work::REQUEST_MAX_LEN_BYTES,
        contenders: vec![Protection::Plain, best],
        rounds: warm,
        staged: false,
    };
    let mut cases = Vec::new();
    for way in [Way::Pread, Way::Mapping] {
        let mut main = case(Workload::WarmLoad, way, threads, Files::Main);
        main.staged = true;
        main.rounds = rounds(2.0, 9, true);
        main.contenders.push(Protection::PlainAgain);
        if way == Way::Pread {
            main.contenders.push(Protection::CopyInstead);
        }
        cases.push(main);
    }
    let cold_ways: &[Way] = match depth {
        Depth::Quick => &[Way::Pread],
        _ => &[Way::Pread, Way::Mapping, Way::Direct],
    };
    for &way in cold_ways {
        let mut cold = case(Workload::ColdLoad, way, threads, Files::Main);
        cold.staged = true;
        // The first load of each does not count here either: a disk that is a host's file is faster from the second on.
        let least = match (depth, way) {
            (Depth::Quick, _) => 6,
            // The headline's, from disks that others use too.
            (_, Way::Pread) => 15,
            _ => 9,
        };
        cold.rounds = rounds(1.6, least, true);
        if way == Way::Direct {
            // A volume reads no more at once: longer requests for the bare file alone would be another comparison.
            cold.request_len = crate::source::REGION_LEN_BYTES;
        }
        cases.push(cold);
    }
    let reads = [Way::Pread, Way::Mapping];
    for count in thread_counts(threads)
        .into_iter()
        .filter(|&count| count != threads)
    {
        cases.extend(reads.map(|way| case(Workload::WarmLoad, way, count, Files::Main)));
    }
    cases.extend(reads.map(|way| case(Workload::RandomTensors, way, 1, Files::Main)));
    if depth != Depth::Quick {
        let shards = if shard_count > 1 {
            Files::Main
        } else {
            Files::Shards
        };
        cases.extend(reads.map(|way| case(Workload::SmallTensors, way, 1, Files::Small)));
        cases.extend(reads.map(|way| case(Workload::Shards, way, threads, shards)));
        cases.push(case(
            Workload::LoadAndCopy,
            Way::Pread,
            threads,
            Files::Formats,
        ));
        cases.extend(reads.map(|way| case(Workload::Faults, way, 1, Files::Main)));
    }
    for workload in [Workload::Write, Workload::Increment] {
        let mut write = case(workload, Way::Pread, threads, Files::Writes);
        write.rounds = rounds(3.0, if depth == Depth::Quick { 6 } else { 9 }, true);
        cases.push(write);
    }
    if depth != Depth::Quick {
        for shift in [12, 14, 16, 18, 20, 22, 24] {
            for way in reads {
                let mut size = case(Workload::RequestSize, way, 1, Files::Formats);
                size.request_len = 1 << shift;
                size.rounds = rounds(0.5, 7, true);
                cases.push(size);
            }
        }
    }
    for (way, count) in reads.iter().flat_map(|&way| {
        thread_counts(threads)
            .into_iter()
            .map(move |count| (way, count))
    }) {
        if depth != Depth::Full && count != threads {
            continue;
        }
        let mut formats = case(Workload::WarmLoad, way, count, Files::Formats);
        formats.contenders = contenders(depth);
        formats.rounds = rounds(2.0, 7, true);
        cases.push(formats);
    }
    cases.extend(doors::cases(doors, depth, threads, best, |share, least| {
        rounds(share, least, true)
    }));
    cases
}

/// The formats with the preferred kernel and the kernels with the default format; at full depth all of both.
fn contenders(depth: Depth) -> Vec<Protection> {
    let preferred = Kernel::preferred();
    let mut contenders = vec![Protection::Plain];
    for format in Format::ALL {
        for kernel in Kernel::available() {
            let is_wanted = match depth {
                Depth::Full => true,
                Depth::Normal => format == DEFAULT_FORMAT || kernel == preferred,
                Depth::Quick => format == DEFAULT_FORMAT,
            };
            if is_wanted {
                contenders.push(Protection::Encrypted(format, kernel));
            }
        }
    }
    contenders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_double_up_to_the_most() {
        assert_eq!(thread_counts(1), [1]);
        assert_eq!(thread_counts(2), [1, 2]);
        assert_eq!(thread_counts(6), [1, 2, 4, 6]);
    }

    #[test]
    fn every_case_has_a_name_of_its_own_and_begins_with_the_bare_file() {
        for depth in [Depth::Quick, Depth::Normal, Depth::Full] {
            let plan = Plan::new(depth, 4, 1 << 30, false, 1, &[Door::Nbd, Door::Fuse]);
            let names: BTreeSet<_> = plan.cases.iter().map(Case::id).collect();
            assert_eq!(names.len(), plan.cases.len());
            assert!(
                plan.cases
                    .iter()
                    .all(|case| case.contenders[0] == Protection::Plain)
            );
        }
    }

    #[test]
    fn given_weights_take_no_disk_of_their_own() {
        let plan = |given| Plan::new(Depth::Normal, 2, 1 << 30, given, 1, &[]).disk_bytes;
        assert_eq!(plan(false) - plan(true), (1 << 30) + VOLUME_EXTRA_BYTES);
    }

    #[test]
    fn doors_add_their_cases_and_no_files() {
        for depth in [Depth::Normal, Depth::Full] {
            let plan = |doors| Plan::new(depth, 2, 1 << 30, false, 1, doors);
            let library = plan(&[]);
            for (doors, count) in [(&[Door::Nbd][..], 5), (&[Door::Nbd, Door::Fuse], 13)] {
                let with = plan(doors);
                let (same, more) = with.cases.split_at(library.cases.len());
                assert_eq!(same, library.cases);
                assert_eq!(more.len(), count);
                assert!(more.iter().all(|case| case.way.door().is_some()));
                assert_eq!(with.disk_bytes, library.disk_bytes);
            }
        }
    }

    #[test]
    fn full_depth_has_every_kernel_with_every_format() {
        let plan = Plan::new(Depth::Full, 2, 1 << 30, false, 1, &[Door::Nbd]);
        let formats = plan.cases.iter().filter(|case| case.compares_formats());
        assert_eq!(formats.clone().count(), 4, "two ways, one thread and two");
        for case in formats {
            assert_eq!(case.contenders.len(), 1 + 4 * Kernel::available().count());
        }
    }
}
