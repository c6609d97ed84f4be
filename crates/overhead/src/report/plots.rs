//! The pictures: SVG in colours that the page's style sheet replaces, so that they follow light and dark.
//!
//! Each is drawn twice, wide and narrow: letters that are scaled down to a telephone's width cannot be read.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

/// A plot's width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// For screens of at least 736 pixels.
pub(super) const WIDE: Size = Size {
    width: 880,
    height: 380,
};
/// For less.
pub(super) const NARROW: Size = Size {
    width: 340,
    height: 300,
};

/// What is drawn in it: the style sheet knows the colours by their numbers, and gives each its own in light and dark.
pub(super) const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
/// Series, in order: blue, orange, green, red, violet, brown, as the style sheet has them.
const SERIES: [RGBColor; 6] = [
    RGBColor(3, 3, 3),
    RGBColor(4, 4, 4),
    RGBColor(5, 5, 5),
    RGBColor(6, 6, 6),
    RGBColor(7, 7, 7),
    RGBColor(8, 8, 8),
];
/// How many there are.
pub(super) const SERIES_COUNT: usize = SERIES.len();

const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 13;

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// In the legend, which is HTML.
    pub(super) name: String,
    /// Which colour.
    pub(super) colour: usize,
    /// Where, how high, and from where to where the middle half reaches.
    pub(super) points: Vec<Point>,
}

/// A median and its quartiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A bar of stages.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) name: String,
    /// Lengths and colours, from the left.
    pub(super) parts: Vec<(f64, usize)>,
}

fn colour(number: usize) -> RGBColor {
    SERIES[number % SERIES_COUNT]
}

fn ink() -> TextStyle<'static> {
    (FONT, FONT_SIZE).into_font().color(&INK)
}

/// Draws on a fresh canvas; a plot that cannot be drawn is none.
fn drawn(
    size: Size,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Option<()>,
) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.width, size.height)).into_drawing_area();
        draw(&area)?;
        area.present().ok()?;
    }
    Some(svg)
}

/// A horizontal axis whose ticks are the values themselves, at even distances.
#[derive(Clone)]
struct Ticks {
    values: Vec<f64>,
    unit: fn(f64) -> String,
}

impl Ranged for Ticks {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        // Between the values a straight line; half a step is left free at both ends.
        let place = match self.values.iter().position(|tick| tick >= value) {
            Some(0) => 0.0,
            Some(index) => {
                let (low, high) = (self.values[index - 1], self.values[index]);
                index as f64 - (high - value) / (high - low)
            }
            None => self.values.len() as f64 - 1.0,
        };
        let share = (place + 0.5) / self.values.len().max(1) as f64;
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.values.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        let first = self.values.first().copied().unwrap_or(0.0);
        first..self.values.last().copied().unwrap_or(first)
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, value: &f64) -> String {
        (self.unit)(*value)
    }
}

/// Rates over something that grows: lines through medians, with the quartiles as whiskers.
pub(super) fn lines(
    size: Size,
    series: &[Series],
    x_title: &str,
    x_unit: fn(f64) -> String,
) -> Option<String> {
    let all = || series.iter().flat_map(|series| &series.points);
    let mut values: Vec<f64> = all().map(|point| point.x).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let top = all().map(|point| point.high).fold(0.0, f64::max) * 1.08;
    if values.is_empty() || top <= 0.0 || !top.is_finite() {
        return None;
    }
    // A telephone has no room for every size's name.
    let every = if size.width < WIDE.width {
        values.len().div_ceil(5)
    } else {
        1
    };
    let labelled: Vec<f64> = values.iter().copied().step_by(every.max(1)).collect();
    drawn(size, |area| {
        let ticks = Ticks {
            values,
            unit: x_unit,
        };
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(40)
            .y_label_area_size(46)
            .build_cartesian_2d(ticks, 0.0..top)
            .ok()?;
        let label = move |value: &f64| match labelled.contains(value) {
            true => x_unit(*value),
            false => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_label_style(ink())
            .y_label_style(ink())
            .x_desc(x_title)
            .y_desc("GiB/s")
            .axis_desc_style(ink())
            .y_labels(6)
            .x_label_formatter(&label)
            .draw()
            .ok()?;
        for one in series {
            let colour = colour(one.colour);
            let line = one.points.iter().map(|point| (point.x, point.y));
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))
                .ok()?;
            for point in &one.points {
                let whisker = vec![(point.x, point.low), (point.x, point.high)];
                chart
                    .draw_series([PathElement::new(whisker, colour.stroke_width(1))])
                    .ok()?;
                chart
                    .draw_series([Circle::new((point.x, point.y), 3, colour.filled())])
                    .ok()?;
            }
        }
        Some(())
    })
}

/// Bars from the left, one below the other, with their names above them.
pub(super) fn bars(width: u32, bars: &[Bar], unit: &str) -> Option<String> {
    const ROW: u32 = 44;
    const AXIS: u32 = 40;
    let longest = bars
        .iter()
        .map(|bar| bar.parts.iter().map(|part| part.0).sum::<f64>())
        .fold(0.0, f64::max);
    if longest <= 0.0 || !longest.is_finite() {
        return None;
    }
    // Few bars, so it fits.
    let count = u32::try_from(bars.len()).ok()?;
    let size = Size {
        width,
        height: count * ROW + AXIS + 8,
    };
    drawn(size, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(4)
            .margin_left(16)
            .margin_right(18)
            .x_label_area_size(AXIS)
            .build_cartesian_2d(0.0..longest * 1.02, f64::from(count)..0.0)
            .ok()?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_label_style(ink())
            .x_desc(unit)
            .axis_desc_style(ink())
            .x_labels(if width < WIDE.width { 4 } else { 8 })
            .draw()
            .ok()?;
        for (row, bar) in bars.iter().enumerate() {
            let row = row as f64;
            let mut start = 0.0;
            for &(len, number) in &bar.parts {
                let corners = [(start, row + 0.45), (start + len, row + 0.9)];
                chart
                    .draw_series([Rectangle::new(corners, colour(number).filled())])
                    .ok()?;
                start += len;
            }
            chart
                .draw_series([Text::new(
                    bar.name.clone(),
                    (longest * 0.004, row + 0.08),
                    ink(),
                )])
                .ok()?;
        }
        Some(())
    })
}

/// Every run of several contenders as a point on a line of its own, with the median as a stroke.
pub(super) fn strips(width: u32, rows: &[(String, usize, Vec<f64>)]) -> Option<String> {
    const ROW: u32 = 44;
    const AXIS: u32 = 40;
    let all = || {
        rows.iter()
            .flat_map(|(_, _, figures)| figures.iter().copied())
    };
    let (low, high) = all().fold((f64::INFINITY, 0.0_f64), |(low, high), figure| {
        (low.min(figure), high.max(figure))
    });
    if !low.is_finite() || high <= 0.0 {
        return None;
    }
    let margin = ((high - low) * 0.05).max(high * 0.01);
    let count = u32::try_from(rows.len()).ok()?;
    let size = Size {
        width,
        height: count * ROW + AXIS + 8,
    };
    let (left, right) = ((low - margin).max(0.0), high + margin);
    drawn(size, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(4)
            .margin_left(16)
            .margin_right(18)
            .x_label_area_size(AXIS)
            .build_cartesian_2d(left..right, f64::from(count)..0.0)
            .ok()?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_label_style(ink())
            .x_desc("GiB/s")
            .axis_desc_style(ink())
            .x_labels(if width < WIDE.width { 4 } else { 8 })
            .draw()
            .ok()?;
        for (row, (name, number, figures)) in rows.iter().enumerate() {
            let row = row as f64;
            let colour = colour(*number);
            let median = crate::stats::Summary::of(figures.iter().copied()).median;
            chart
                .draw_series(figures.iter().enumerate().map(|(place, &figure)| {
                    // A little up and down, so that equals do not hide each other.
                    let shift = (place % 5) as f64 * 0.06 - 0.12;
                    Circle::new((figure, row + 0.68 + shift), 3, colour.mix(0.6).filled())
                }))
                .ok()?;
            let stroke = vec![(median, row + 0.44), (median, row + 0.92)];
            chart
                .draw_series([PathElement::new(stroke, INK.stroke_width(2))])
                .ok()?;
            chart
                .draw_series([Text::new(
                    name.clone(),
                    (left + (right - left) * 0.004, row + 0.08),
                    ink(),
                )])
                .ok()?;
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Point {
        Point {
            x,
            y,
            low: y * 0.9,
            high: y * 1.1,
        }
    }

    #[test]
    fn nothing_to_draw_is_no_plot() {
        assert_eq!(lines(WIDE, &[], "threads", |x| x.to_string()), None);
        assert_eq!(bars(340, &[], "s"), None);
        assert_eq!(strips(340, &[]), None);
    }

    #[test]
    fn plots_have_their_figures_and_only_the_style_sheets_colours() {
        let series = Series {
            name: "plain".into(),
            colour: 0,
            points: vec![point(1.0, 5.0), point(2.0, 9.0), point(16.0, 20.0)],
        };
        let bar = Bar {
            name: "plain".into(),
            parts: vec![(0.1, 0), (0.2, 1)],
        };
        let strip = ("plain".to_owned(), 0, vec![5.0, 5.1, 4.9]);
        for size in [WIDE, NARROW] {
            for svg in [
                lines(size, std::slice::from_ref(&series), "threads", |x| {
                    format!("{x}")
                }),
                bars(size.width, std::slice::from_ref(&bar), "s"),
                strips(size.width, std::slice::from_ref(&strip)),
            ] {
                let svg = svg.unwrap();
                assert!(svg.contains("<svg") && svg.contains("<text") || svg.contains("GiB/s"));
                for colour in svg.split("=\"#").skip(1).map(|rest| &rest[..6]) {
                    let number = u8::from_str_radix(&colour[..2], 16).unwrap();
                    assert!((1..=8).contains(&number), "{colour}");
                    assert!(colour[..2] == colour[2..4] && colour[..2] == colour[4..]);
                }
            }
        }
    }
}
