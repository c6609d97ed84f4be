//! Medians, spreads, and intervals that assume nothing about the shape of what was measured.

/// Repeated figures of one quantity, in brief.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many figures.
    pub runs: usize,
    /// The middle one.
    pub median: f64,
    /// The first quartile.
    pub lower_quartile: f64,
    /// The third quartile.
    pub upper_quartile: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Summary {
    /// Of some figures; all of it is NaN of none.
    ///
    /// ```
    /// let summary = lucarne_overhead::stats::Summary::of([4.0, 1.0, 3.0, 2.0]);
    /// assert_eq!((summary.median, summary.least, summary.runs), (2.5, 1.0, 4));
    /// assert_eq!(summary.lower_quartile, 1.75);
    /// ```
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let sorted = sorted(figures);
        Self {
            runs: sorted.len(),
            median: quantile(&sorted, 0.5),
            lower_quartile: quantile(&sorted, 0.25),
            upper_quartile: quantile(&sorted, 0.75),
            least: quantile(&sorted, 0.0),
            most: quantile(&sorted, 1.0),
        }
    }

    /// Between the quartiles, as a share of the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / self.median
    }
}

/// Where a median lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The median of what was measured.
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The probability that the interval covers the true median, if the figures are independent: at least
    /// [`CONFIDENCE`], or what so few figures allow.
    pub confidence: f64,
}

/// What an [`Interval`] aims at.
pub const CONFIDENCE: f64 = 0.95;

impl Interval {
    /// By order statistics: the k-th smallest and k-th largest of n figures have the true median between them
    /// unless fewer than k of n fair coins fall on one side, whatever the figures' distribution. The largest k
    /// that keeps [`CONFIDENCE`] is taken; with fewer than six figures that is none, and the interval is all of
    /// them, with the confidence that they give.
    ///
    /// ```
    /// let interval = lucarne_overhead::stats::Interval::of((1..=9).map(f64::from));
    /// assert_eq!((interval.low, interval.median, interval.high), (2.0, 5.0, 8.0));
    /// assert!((interval.confidence - 0.9609).abs() < 1e-4);
    /// ```
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let sorted = sorted(figures);
        let count = sorted.len();
        let mut outside = 0.0;
        let mut chosen = (0, 1.0 - 2.0 * coins(count, 0));
        for rank in 0..count.div_ceil(2) {
            // At most `rank` of the figures on one side.
            outside += coins(count, rank);
            let confidence = 1.0 - 2.0 * outside;
            if confidence < CONFIDENCE {
                break;
            }
            chosen = (rank, confidence);
        }
        let (rank, confidence) = chosen;
        Self {
            median: quantile(&sorted, 0.5),
            low: sorted.get(rank).copied().unwrap_or(f64::NAN),
            high: count
                .checked_sub(rank + 1)
                .and_then(|place| sorted.get(place).copied())
                .unwrap_or(f64::NAN),
            confidence: confidence.max(0.0),
        }
    }

    /// Whether the two differ for certain, as far as the confidence goes.
    #[must_use]
    pub fn excludes(&self, value: f64) -> bool {
        value < self.low || self.high < value
    }

    /// From end to end, as a share of the median.
    #[must_use]
    pub fn width(&self) -> f64 {
        (self.high - self.low) / self.median.abs()
    }

    /// The interval of a decreasing function of what was measured.
    #[must_use]
    pub fn mapped_down(&self, function: impl Fn(f64) -> f64) -> Self {
        Self {
            median: function(self.median),
            low: function(self.high),
            high: function(self.low),
            confidence: self.confidence,
        }
    }
}

/// From this on an interval of a ratio says too little: it is five percent from end to end twice over.
pub const NOISY_WIDTH: f64 = 0.1;

fn sorted(figures: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// Interpolated between neighbours (Hyndman and Fan's type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let below = place.floor();
    // At most `last`.
    let index = (below as usize).min(last);
    let next = (index + 1).min(last);
    sorted[index] + (sorted[next] - sorted[index]) * (place - below)
}

/// The probability that exactly `heads` of `count` fair coins fall on one side.
fn coins(count: usize, heads: usize) -> f64 {
    let mut probability = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    for index in 0..heads {
        probability *= (count - index) as f64 / (index + 1) as f64;
    }
    probability
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

    #[test]
    fn few_figures_give_all_of_them_and_say_how_little_that_is() {
        let interval = Interval::of([3.0, 1.0, 2.0]);
        assert_eq!((interval.low, interval.high), (1.0, 3.0));
        assert!((interval.confidence - 0.75).abs() < 1e-12);
        assert!(Interval::of([]).median.is_nan());
        assert_eq!(Interval::of([7.0]).confidence, 0.0);
    }

    /// The table of order-statistic intervals that textbooks print.
    #[test]
    fn ranks_are_those_of_the_tables() {
        for (count, low, high) in [
            (6, 1, 6),
            (8, 1, 8),
            (9, 2, 8),
            (15, 4, 12),
            (20, 6, 15),
            (50, 18, 33),
        ] {
            let interval = Interval::of((1..=count).map(f64::from));
            assert_eq!(
                (interval.low, interval.high),
                (f64::from(low), f64::from(high)),
                "{count}"
            );
        }
    }

    /// A thousand experiments with a skewed distribution whose median is known: the interval covers it as often as
    /// it says.
    #[test]
    fn intervals_cover_the_true_median_as_often_as_they_say() {
        let mut random = Random::new(7);
        for count in [9, 15, 40] {
            let mut covered = 0;
            let mut confidence = 0.0;
            for _ in 0..2000 {
                // Exponential, of median ln 2, and an outlier one time in ten.
                let figures = (0..count).map(|_| {
                    let figure = -(1.0 - random.unit()).ln();
                    if random.unit() < 0.1 {
                        figure * 50.0
                    } else {
                        figure
                    }
                });
                let interval = Interval::of(figures.collect::<Vec<_>>());
                confidence = interval.confidence;
                // The outliers move the median up: by simulation's own quantile, of the mixture.
                covered += usize::from(!interval.excludes(mixture_median()));
            }
            let share = f64::from(u32::try_from(covered).unwrap()) / 2000.0;
            // Three standard errors of the share.
            assert!(
                (share - confidence).abs() < 0.015,
                "{count}: {share} of {confidence}"
            );
        }
    }

    /// Solves 0.9 F(x) + 0.1 F(x / 50) = 1/2 for F the exponential distribution.
    fn mixture_median() -> f64 {
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            let share = 0.9 * (1.0 - f64::exp(-middle)) + 0.1 * (1.0 - f64::exp(-middle / 50.0));
            if share < 0.5 {
                low = middle
            } else {
                high = middle
            }
        }
        low
    }

    proptest! {
        #[test]
        fn everything_is_in_order(figures in prop::collection::vec(0.1..1e9_f64, 1..60)) {
            let summary = Summary::of(figures.iter().copied());
            let ordered = [summary.least, summary.lower_quartile, summary.median, summary.upper_quartile, summary.most];
            prop_assert!(ordered.is_sorted());
            let interval = Interval::of(figures);
            prop_assert!(interval.low <= interval.median && interval.median <= interval.high);
            prop_assert!((0.0..=1.0).contains(&interval.confidence));
            prop_assert!(interval.mapped_down(|x| 1.0 / x).low <= interval.mapped_down(|x| 1.0 / x).high);
        }
    }
}
