//! What is published of every clock, for people and tools.

use super::cpu;
use vdsokit_clock::page::record_name;
use vdsokit_clock::{Clock, ErrorBound, Record, Source};
use vdsokit_publish::Vdso;

/// What is published of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The clock.
    pub clock: Clock,
    /// Where its time comes from.
    pub source: Source,
    /// For source `counter`: whether the record answers now. It doesn't when its publisher
    /// was silent for longer than it had promised to be; then readers ask the kernel.
    pub answers: bool,
    /// How far off an answer may be now, in nanoseconds: from the kernel's clock, and a wall
    /// clock from true time. None where that isn't known, or the kernel is asked.
    pub error: Option<u64>,
}

/// What is published of every clock; none when this is no clock image.
#[must_use]
pub fn view(vdso: &Vdso) -> Option<Vec<View>> {
    Clock::ALL
        .into_iter()
        .map(|clock| {
            let name = record_name(clock.id());
            let words = vdso.latched::<[u64; Record::WORDS]>(name).ok()?.get();
            Some(of(clock, &Record::from_words(&words)))
        })
        .collect()
}

fn of(clock: Clock, record: &Record) -> View {
    let (mut answers, mut error) = (true, None);
    if let Source::Counter { .. } = record.source {
        let ticks = cpu::ticks();
        answers = record.at(ticks).is_some();
        error = record.error_at(ticks).filter(|_| answers);
    }
    View {
        clock,
        source: record.source,
        answers,
        error: error.filter(|_| record.error.at_start != ErrorBound::UNKNOWN),
    }
}
