//! Measuring in turns, and the table of what was found.

use super::image::counter::ticks;
use std::hint::black_box;
use std::time::{Duration, Instant};

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
    took: Vec<u64>,
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
            took: Vec::with_capacity(ROUNDS),
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
                subject.took.push(ticks() - before);
            }
        }
        let passed = start.elapsed().as_nanos() as f64;
        self.nanoseconds_a_tick = passed / (ticks() - start_ticks) as f64;
        for subject in &mut self.subjects {
            subject.took.sort_unstable();
        }
    }

    /// Nanoseconds of one call; none when it was not measured.
    fn nanoseconds(&self, name: &str) -> Option<f64> {
        let subject = self.subjects.iter().find(|one| one.name == name)?;
        let took = *subject.took.get(ROUNDS / 20)?;
        Some(took as f64 * self.nanoseconds_a_tick / f64::from(self.calls))
    }

    pub(crate) fn print(&self, limits: &[Limit]) {
        for subject in &self.subjects {
            if let Some(nanoseconds) = self.nanoseconds(subject.name) {
                println!("{:36} {nanoseconds:8.2} ns", subject.name);
            }
        }
        println!("\n{:36} {:>10} {:>10}", "", "measured", "at most");
        for limit in limits {
            let measured = match limit.by {
                By::Subject(theirs) => self
                    .nanoseconds(limit.ours)
                    .zip(self.nanoseconds(theirs))
                    .map(|(ours, theirs)| ours / theirs),
                By::Factor(factor) => self.nanoseconds(limit.ours).map(|ours| ours * factor),
            };
            match measured {
                Some(measured) => println!(
                    "{:36} {measured:10.3} {:10.2}{}",
                    limit.what,
                    limit.at_most,
                    if measured <= limit.at_most {
                        ""
                    } else {
                        "  missed"
                    }
                ),
                None => println!("{:36} not on this machine", limit.what),
            }
        }
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
    /// Ours in relation to theirs.
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
