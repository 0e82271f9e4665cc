//! Measures the cost of calls.
//!
//! One sample is the mean of a *batch* of calls, long enough that two reads of the timer
//! are negligible. The batches of all routes to a function are interleaved, so that a temporary
//! slowdown of the machine affects all of them alike.

use crate::call::{Callee, Library};
use crate::function::{Function, Route};
use crate::statistics::Summary;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Samples of each route to each function.
    pub samples: u32,
    /// The shortest duration of a batch.
    pub batch: Duration,
}

impl Plan {
    /// For plots of distributions.
    pub const THOROUGH: Self = Self {
        samples: 1000,
        batch: Duration::from_micros(20),
    };
    /// For a verdict.
    pub const QUICK: Self = Self {
        samples: 60,
        batch: Duration::from_micros(20),
    };
}

/// The duration of a batch, in reads of the timer.
const TIMER_SHARE: u32 = 100;

/// A batch is never longer than this many calls.
const LONGEST_BATCH: u32 = 1 << 20;

/// The cost of one function by one route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The route.
    pub route: Route,
    /// Calls in a batch.
    pub batch: u32,
    /// Nanoseconds per call.
    pub nanoseconds: Summary,
    /// Every sample, in the order in which they were taken.
    #[serde(skip)]
    pub samples: Vec<f64>,
}

/// The cost of one function by each route that exists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// The function.
    pub function: Function,
    /// One for each route that exists.
    pub series: Vec<Series>,
}

impl Cost {
    /// The median cost by this route, in nanoseconds.
    #[must_use]
    pub fn median(&self, route: Route) -> Option<f64> {
        self.by(route).map(|series| series.nanoseconds.median)
    }

    /// The measurements of this route.
    #[must_use]
    pub fn by(&self, route: Route) -> Option<&Series> {
        self.series.iter().find(|series| series.route == route)
    }
}

/// Measures one function by each of these routes by which a call succeeds.
///
/// `library` is the image of [`Route::Image`].
#[must_use]
pub fn measure(
    function: Function,
    routes: &[Route],
    library: Option<&Library>,
    plan: Plan,
) -> Cost {
    let batch = plan.batch.max(timer_cost() * TIMER_SHARE);
    let callees: Vec<(Route, Callee, u32)> = routes
        .iter()
        .filter_map(|&route| {
            let callee = Callee::resolve(function, route, library)?;
            callee.call().then(|| {
                let calls = calls_in(&callee, batch);
                (route, callee, calls)
            })
        })
        .collect();
    let mut samples = vec![Vec::with_capacity(plan.samples as usize); callees.len()];
    for _ in 0..plan.samples {
        for ((_, callee, calls), samples) in callees.iter().zip(&mut samples) {
            samples.push(time(callee, *calls).as_nanos() as f64 / f64::from(*calls));
        }
    }
    let series = callees.iter().zip(samples);
    Cost {
        function,
        series: series
            .filter_map(|(&(route, _, batch), samples)| {
                Some(Series {
                    route,
                    batch,
                    nanoseconds: Summary::of(&samples)?,
                    samples,
                })
            })
            .collect(),
    }
}

fn time(callee: &Callee, calls: u32) -> Duration {
    let start = Instant::now();
    callee.repeat(calls);
    start.elapsed()
}

/// A number of calls that last at least as long as `batch`, found by doubling.
fn calls_in(callee: &Callee, batch: Duration) -> u32 {
    let mut calls = 1;
    while calls < LONGEST_BATCH && time(callee, calls) < batch {
        calls *= 2;
    }
    calls
}

/// The cost of reading the timer: the median of a few reads.
fn timer_cost() -> Duration {
    let mut costs: [Duration; 101] = std::array::from_fn(|_| Instant::now().elapsed());
    costs.sort();
    costs[costs.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_existing_route_is_measured() {
        let plan = Plan {
            samples: 5,
            batch: Duration::from_micros(1),
        };
        let cost = measure(
            Function::Gettimeofday,
            &[Route::Libc, Route::SystemCall, Route::Image],
            None,
            plan,
        );
        let routes: Vec<Route> = cost.series.iter().map(|series| series.route).collect();
        assert_eq!(routes, [Route::Libc, Route::SystemCall]);
        for series in &cost.series {
            assert_eq!(series.samples.len(), 5);
            assert!(series.batch.is_power_of_two());
            assert!(series.nanoseconds.least > 0.0);
        }
        assert!(cost.median(Route::Image).is_none());
    }
}
