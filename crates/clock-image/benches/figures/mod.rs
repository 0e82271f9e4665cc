//! Batches of calls that take turns, and the figures that are made of them.

use super::image::counter::ticks;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vdsokit_figures::{Figure, Turns, finish};

/// Rounds, each a batch of everything that is compared.
const ROUNDS: usize = 5000;

/// How often what is to be done in between is done.
const PERIOD: Duration = Duration::from_millis(5);

/// Calls a function so many times; what it returns counts as used.
#[inline(always)]
pub(crate) fn each<T>(calls: u32, mut call: impl FnMut() -> T) {
    for _ in 0..calls {
        black_box(call());
    }
}

/// What is measured, and what each batch took, in ticks.
pub(crate) struct Figures<'a> {
    calls: u32,
    subjects: Vec<Subject<'a>>,
    nanoseconds_a_tick: f64,
}

struct Subject<'a> {
    name: &'static str,
    batch: Box<dyn FnMut() + 'a>,
    took: Turns,
}

impl<'a> Figures<'a> {
    pub(crate) fn new(calls: u32) -> Self {
        Self {
            calls,
            subjects: vec![],
            nanoseconds_a_tick: 0.0,
        }
    }

    /// A batch of as many calls as were said.
    pub(crate) fn add(&mut self, name: &'static str, batch: impl FnMut() + 'a) {
        self.subjects.push(Subject {
            name,
            batch: Box::new(batch),
            took: Turns::default(),
        });
    }

    /// Measures everything, with something to be done every 5 ms.
    pub(crate) fn measure(&mut self, mut between: impl FnMut()) {
        let (start, start_ticks) = (Instant::now(), ticks());
        let mut last = start;
        for round in 0..ROUNDS {
            if last.elapsed() >= PERIOD {
                between();
                last = Instant::now();
            }
            for subject in &mut self.subjects {
                if round % 8 == 0 {
                    // Into the caches again what the others have driven out.
                    (subject.batch)();
                }
                let before = ticks();
                (subject.batch)();
                subject.took.push((ticks() - before) as f64);
            }
        }
        let passed = start.elapsed().as_nanos() as f64;
        self.nanoseconds_a_tick = passed / (ticks() - start_ticks) as f64;
    }

    /// Ticks of each round's batch; none when it was not measured.
    fn took(&self, name: &str) -> Option<&Turns> {
        let subject = self.subjects.iter().find(|one| one.name == name)?;
        Some(&subject.took)
    }

    pub(crate) fn finish(&self, limits: &[Limit]) -> ExitCode {
        let figures: Vec<Figure> = limits.iter().map(|limit| self.figure(limit)).collect();
        finish(&figures)
    }

    fn figure(&self, limit: &Limit) -> Figure {
        let (what, bound) = (limit.what, limit.at_most);
        let figure = self.took(limit.ours).and_then(|ours| match limit.by {
            By::Subject(peer) => Some(Figure::ratio(what, ours, self.took(peer)?, bound)),
            By::Factor(factor) => {
                let call = ours.median() * self.nanoseconds_a_tick / f64::from(self.calls);
                Some(Figure::number(what, call * factor, "ns", bound))
            }
        });
        figure.unwrap_or_else(|| Figure::skipped(what, "this machine has no such function"))
    }
}

/// A figure and what it may be at most.
pub(crate) struct Limit {
    what: &'static str,
    ours: &'static str,
    by: By,
    at_most: f64,
}

enum By {
    Subject(&'static str),
    Factor(f64),
}

impl Limit {
    /// One subject in relation to another.
    pub(crate) fn ratio(
        what: &'static str,
        ours: &'static str,
        theirs: &'static str,
        at_most: f64,
    ) -> Self {
        Self {
            what,
            ours,
            by: By::Subject(theirs),
            at_most,
        }
    }

    /// Nanoseconds of what a batch does `factor` times fewer of.
    pub(crate) fn nanoseconds(
        what: &'static str,
        ours: &'static str,
        factor: f64,
        at_most: f64,
    ) -> Self {
        Self {
            what,
            ours,
            by: By::Factor(factor),
            at_most,
        }
    }
}
