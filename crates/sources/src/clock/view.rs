//! The published state of every clock, for tools.

use super::bounds::kernel_time;
use super::cpu;
use vdsokit_clock::page::record_name;
use vdsokit_clock::{Clock, ErrorBound, Moment, Record, Source};
use vdsokit_publish::Vdso;

/// The published state of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The clock.
    pub clock: Clock,
    /// Where its time comes from.
    pub source: Source,
    /// For source `counter`: whether the record answers now. It doesn't when its publisher
    /// has missed the end of its promise; readers then call the kernel.
    pub answers: bool,
    /// The error bound of an answer now, in nanoseconds: the difference from the kernel's
    /// clock, and for a wall clock from true time. `None` where it isn't known, or readers
    /// call the kernel.
    pub error: Option<u64>,
    /// The time now: the record's where it answers from the counter, the kernel's where
    /// readers call the kernel. `None` for virtual time, and where the kernel has no such clock:
    /// an alarm clock without a real-time clock.
    pub time: Option<Moment>,
}

/// The published state of every clock; `None` when this is no clock image.
#[must_use]
pub fn view(vdso: &Vdso) -> Option<Vec<View>> {
    Clock::ALL
        .into_iter()
        .map(|clock| {
            let name = record_name(clock.id());
            let words = vdso.latched::<[u64; Record::WORDS]>(name).ok()?.get();
            Some(view_of(clock, &Record::from_words(&words)))
        })
        .collect()
}

fn view_of(clock: Clock, record: &Record) -> View {
    let (mut answers, mut error, mut time) = (true, None, None);
    if let Source::Counter { .. } = record.source {
        let ticks = cpu::ticks();
        time = record.at(ticks);
        answers = time.is_some();
        error = record.error_at(ticks).filter(|_| answers);
    }
    View {
        clock,
        source: record.source,
        answers,
        error: error.filter(|_| record.error.at_start != ErrorBound::UNKNOWN),
        time: match record.source {
            Source::Counter { .. } | Source::Kernel | Source::SystemCall => {
                time.or_else(|| kernel_time(clock))
            }
            Source::KernelClock(_) | Source::KernelMoved | Source::Fixed | Source::Reads => None,
        },
    }
}
