//! Which pictures the figures make.

use super::plots::{self, Bar, NARROW, Point, SERIES_COUNT, Series, WIDE};
use crate::GIB;
use crate::outcome::{CaseResult, Measured, Outcome};
use crate::plan::Workload;
use crate::source::{Protection, Way, kernel_name};

/// A picture in two widths.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) title: String,
    /// Names and colours.
    pub(super) legend: Vec<(String, usize)>,
    pub(super) wide: String,
    pub(super) narrow: String,
}

pub(super) fn all(outcome: &Outcome) -> Vec<Figure> {
    let mut figures = vec![
        threads(outcome),
        request_sizes(outcome),
        stages(outcome),
        doors(outcome),
    ];
    for way in [Way::Pread, Way::Mapping] {
        figures.push(formats(outcome, way));
    }
    for (workload, way) in [
        (Workload::WarmLoad, Way::Pread),
        (Workload::WarmLoad, Way::Mapping),
        (Workload::ColdLoad, Way::Pread),
        (Workload::Write, Way::Pread),
    ] {
        figures.push(runs(outcome, workload, way));
    }
    figures.into_iter().flatten().collect()
}

/// Plain and encrypted by both ways, each of a colour.
fn curves(
    outcome: &Outcome,
    is_meant: impl Fn(&CaseResult) -> bool,
    x: impl Fn(&CaseResult) -> f64,
) -> Vec<Series> {
    let mut series = Vec::new();
    for way in [Way::Pread, Way::Mapping] {
        for is_plain in [true, false] {
            let mut points: Vec<Point> = outcome
                .cases
                .iter()
                .filter(|result| result.case.way == way && is_meant(result))
                .filter_map(|result| {
                    let measured = if is_plain {
                        result.plain()
                    } else {
                        result.encrypted()
                    };
                    Some(point(x(result), measured?))
                })
                .collect();
            points.sort_by(|one, other| one.x.total_cmp(&other.x));
            let what = if is_plain { "plain" } else { "encrypted" };
            series.push(Series {
                name: format!("{what}, {}", way.name()),
                colour: series.len(),
                points,
            });
        }
    }
    series.retain(|series| series.points.len() > 1);
    series
}

fn point(x: f64, measured: &Measured) -> Point {
    let rate = &measured.rate;
    Point {
        x,
        y: rate.median / GIB,
        low: rate.lower_quartile / GIB,
        high: rate.upper_quartile / GIB,
    }
}

fn line_figure(
    title: &str,
    series: &[Series],
    x_title: &str,
    x_unit: fn(f64) -> String,
) -> Option<Figure> {
    Some(Figure {
        title: title.to_owned(),
        legend: series
            .iter()
            .map(|one| (one.name.clone(), one.colour))
            .collect(),
        wide: plots::lines(WIDE, series, x_title, x_unit)?,
        narrow: plots::lines(NARROW, series, x_title, x_unit)?,
    })
}

fn threads(outcome: &Outcome) -> Option<Figure> {
    let is_meant = |result: &CaseResult| {
        result.case.workload == Workload::WarmLoad && !result.compares_formats()
    };
    // Thread counts are small.
    let series = curves(outcome, is_meant, |result| result.case.threads as f64);
    line_figure(
        "Warm load of all tensors: rate against threads (medians, whiskers between the quartiles)",
        &series,
        "threads",
        |threads| format!("{threads:.0}"),
    )
}

fn request_sizes(outcome: &Outcome) -> Option<Figure> {
    let is_meant = |result: &CaseResult| result.case.workload == Workload::RequestSize;
    let series = curves(outcome, is_meant, |result| result.case.request_len as f64);
    line_figure(
        "Warm load by one thread: rate against the longest request",
        &series,
        "longest request",
        |bytes| match bytes {
            bytes if bytes < 1_048_576.0 => format!("{:.0}K", bytes / 1024.0),
            bytes => format!("{:.0}M", bytes / 1_048_576.0),
        },
    )
}

fn stages(outcome: &Outcome) -> Option<Figure> {
    let mut bars = Vec::new();
    for result in outcome.cases.iter().filter(|result| result.case.staged) {
        let gib = result.bytes as f64 / GIB;
        for staging in &result.stagings {
            let what = match staging.protection {
                Protection::Encrypted(..) => "encrypted",
                _ => "plain",
            };
            let temper = if result.case.workload == Workload::ColdLoad {
                "cold"
            } else {
                "warm"
            };
            let stages = staging.stages;
            bars.push(Bar {
                name: format!("{temper}, {}, {what}", result.case.way.name()),
                parts: vec![
                    (stages.waiting / gib, 5),
                    (stages.storage / gib, 0),
                    (stages.cipher / gib, 1),
                ],
            });
        }
    }
    let unit = "thread seconds per GiB";
    Some(Figure {
        title: "Where the time of a load goes, all threads together".into(),
        legend: vec![
            ("waiting (disk, or others\u{2019} work)".into(), 5),
            ("kernel: copying, mapping, reading".into(), 0),
            (
                "cipher; by mapping with page faults, plain the copy".into(),
                1,
            ),
        ],
        wide: plots::bars(WIDE.width, &bars, unit)?,
        narrow: plots::bars(NARROW.width, &bars, unit)?,
    })
}

/// Warm loads by every way in.
fn doors(outcome: &Outcome) -> Option<Figure> {
    if outcome.doors.is_empty() {
        return None;
    }
    let mut bars = Vec::new();
    for way in [
        Way::Pread,
        Way::Mapping,
        Way::Nbd,
        Way::Fuse,
        Way::FuseMapping,
    ] {
        let Some((plain, encrypted)) = outcome.by_way_in(way) else {
            continue;
        };
        for (what, colour, measured) in [("plain", 0, plain), ("encrypted", 1, encrypted)] {
            bars.push(Bar {
                name: format!("{}, {what}", way.name()),
                parts: vec![(measured.rate.median / GIB, colour)],
            });
        }
    }
    Some(Figure {
        title: format!(
            "Warm load by every way in, of the files that the doors serve, {} threads",
            outcome.threads
        ),
        legend: vec![("plain".into(), 0), ("encrypted".into(), 1)],
        wide: plots::bars(WIDE.width, &bars, "GiB/s")?,
        narrow: plots::bars(NARROW.width, &bars, "GiB/s")?,
    })
}

/// Short enough for a bar's name on a telephone.
fn short_name(protection: Protection) -> String {
    match protection {
        Protection::Encrypted(format, kernel) => {
            format!(
                "AES-{}, {}, {}",
                format.key_bits,
                format.sector.bytes(),
                kernel_name(kernel)
            )
        }
        Protection::CopyInstead => "copy for cipher".into(),
        other => other.name(),
    }
}

fn formats(outcome: &Outcome, way: Way) -> Option<Figure> {
    let result = outcome.formats(way, outcome.threads)?;
    let mut bars: Vec<Bar> = result
        .measured
        .iter()
        .map(|one| Bar {
            name: short_name(one.protection),
            parts: vec![(
                one.rate.median / GIB,
                usize::from(one.protection != Protection::Plain),
            )],
        })
        .collect();
    bars.sort_by(|one, other| other.parts[0].0.total_cmp(&one.parts[0].0));
    Some(Figure {
        title: format!(
            "Warm load by {}, {} threads: key length, sector size in bytes, kernel",
            way.name(),
            outcome.threads
        ),
        legend: Vec::new(),
        wide: plots::bars(WIDE.width, &bars, "GiB/s")?,
        narrow: plots::bars(NARROW.width, &bars, "GiB/s")?,
    })
}

fn runs(outcome: &Outcome, workload: Workload, way: Way) -> Option<Figure> {
    let result = outcome.case(workload, way)?;
    let rows: Vec<_> = result
        .measured
        .iter()
        .enumerate()
        .map(|(place, one)| {
            let rates = one
                .samples
                .iter()
                .map(|sample| result.bytes as f64 / sample.wall / GIB);
            (
                short_name(one.protection),
                place % SERIES_COUNT,
                rates.collect::<Vec<_>>(),
            )
        })
        .collect();
    Some(Figure {
        title: format!(
            "Every run: {} by {}, {} threads",
            workload.title(),
            way.name(),
            result.case.threads
        ),
        legend: Vec::new(),
        wide: plots::strips(WIDE.width, &rows)?,
        narrow: plots::strips(NARROW.width, &rows)?,
    })
}
