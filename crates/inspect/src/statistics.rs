//! Robust statistics of repeated measurements.

use serde::Serialize;

/// Order statistics: a few outliers change only the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The minimum.
    pub least: f64,
    /// The 10th percentile.
    pub p10: f64,
    /// The median.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub greatest: f64,
}

impl Summary {
    /// The statistics of samples in any order; `None` if there are none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            least: *sorted.first()?,
            p10: quantile(&sorted, 0.1)?,
            median: quantile(&sorted, 0.5)?,
            p90: quantile(&sorted, 0.9)?,
            p99: quantile(&sorted, 0.99)?,
            greatest: *sorted.last()?,
        })
    }
}

/// Linear interpolation between the two nearest ranks (Hyndman and Fan, 1996, type 7).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = share * last as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    let (low, high) = (*sorted.get(below)?, *sorted.get(above)?);
    Some(low + (high - low) * (rank - below as f64))
}

/// A histogram with buckets of equal width on a logarithmic scale.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// The lower bound of the first bucket.
    pub from: f64,
    /// The upper bound of the last bucket.
    pub to: f64,
    /// The number of samples in each bucket. Samples outside of all buckets are not counted.
    pub counts: Vec<u32>,
}

impl Histogram {
    /// The histogram of samples, with `buckets` buckets between `from` and `to`, both above 0.
    #[must_use]
    pub fn of(samples: &[f64], from: f64, to: f64, buckets: usize) -> Self {
        let mut counts = vec![0; buckets];
        let scale = buckets as f64 / (to / from).ln();
        for sample in samples.iter().filter(|sample| **sample >= from) {
            let bucket = ((sample / from).ln() * scale) as usize;
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
        }
        Self { from, to, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_the_numbers_to_a_hundred() {
        let samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let summary = Summary::of(&samples).unwrap();
        assert_eq!((summary.least, summary.greatest), (0.0, 100.0));
        assert_eq!((summary.p10, summary.median), (10.0, 50.0));
        assert_eq!((summary.p90, summary.p99), (90.0, 99.0));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[7.0]).unwrap().p99, 7.0);
    }

    #[test]
    fn buckets_are_equal_steps_of_the_logarithm() {
        let histogram = Histogram::of(&[1.0, 9.0, 11.0, 99.0, 1000.0, 0.0], 1.0, 100.0, 2);
        assert_eq!(histogram.counts, [2, 2]);
    }

    proptest! {
        #[test]
        fn order_statistics_are_in_order(samples in prop::collection::vec(0.0..1e9, 1..200)) {
            let s = Summary::of(&samples).unwrap();
            let all = [s.least, s.p10, s.median, s.p90, s.p99, s.greatest];
            prop_assert!(all.is_sorted(), "{all:?}");
        }

        #[test]
        fn no_sample_within_is_lost(samples in prop::collection::vec(0.0..3e6, 0..200)) {
            let histogram = Histogram::of(&samples, 1.0, 1e6, 30);
            let within = samples.iter().filter(|sample| (1.0..0.999e6).contains(*sample)).count();
            let counted = histogram.counts.iter().sum::<u32>() as usize;
            prop_assert!(within <= counted && counted <= samples.len());
        }
    }
}
