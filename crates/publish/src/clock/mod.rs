//! Time for a clock image: where it comes from, and what is published of it.
//!
//! | source | what readers do | who has to keep it |
//! | --- | --- | --- |
//! | [`ClockPage::kernel`] | call the kernel's own vDSO | nobody |
//! | [`ClockPage::virtual_time`] | the same, and move or scale its answer | whoever changes it |
//! | [`Counter`] | read the CPU's counter | this process, several times a promise |
//! | [`ClockPage::system_call`] | make the system call | nobody |
//! | [`Timekeeper`](crate::kernel::Timekeeper) | read the CPU's counter, with the kernel's own coefficients | the kernel, at each tick |
//!
//! [`serve`] is a publisher's main loop for all but the second; [`Reader`] reads
//! one clock in Rust, as the image does in every language.

mod counter;
mod cpu;
mod kernel;
mod reader;
mod serve;
mod view;

pub use counter::{Counter, Untrusted};
pub use reader::{Reader, monotonic_now};
pub use serve::{Kept, serve};
pub use view::{View, view};

use crate::{Error, LatchedWriter, Publisher, VarWriter};
use rustix::time::ClockId;
use std::time::Duration;
use vdsokit_clock::page::{record_name, source_name};
use vdsokit_clock::{Clock, KernelTime, Record, Source, VirtualTime};

/// The file name of a published clock in a [`place`](crate::place): the clock image's
/// soname.
pub const FILE: &str = "linux-vdso.so.1";

/// What a clock image's page says of each clock, for its one writer.
pub struct ClockPage {
    clocks: Vec<(Clock, LatchedWriter<[u64; Record::WORDS]>, VarWriter<u64>)>,
}

impl ClockPage {
    /// The clocks of a publisher's image.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Mismatch`] when it is no clock image,
    /// [`Error::Taken`] when there is such a page already.
    pub fn new(publisher: &Publisher) -> Result<Self, Error> {
        let clock = |clock: Clock| {
            Ok((
                clock,
                publisher.latched(record_name(clock.id()))?,
                publisher.var(source_name(clock.id()))?,
            ))
        };
        Ok(Self {
            clocks: Clock::ALL
                .into_iter()
                .map(clock)
                .collect::<Result<_, Error>>()?,
        })
    }

    /// Publishes the records that `record` gives; clocks for which it gives none
    /// stay as they are.
    pub fn publish(&mut self, record: impl Fn(Clock) -> Option<Record>) {
        for (clock, latch, source) in &mut self.clocks {
            if let Some(record) = record(*clock) {
                latch.set(&record.to_words());
                // The hint comes after: who follows it finds what it says.
                source.set(record.source.to_word());
            }
        }
    }

    /// Readers call the kernel's own vDSO.
    ///
    /// After source `counter` it waits for at most some promises: readers may have been
    /// told what the kernel's clocks have yet to come to.
    pub fn kernel(&mut self) {
        self.source(Source::Kernel);
    }

    /// Readers make system calls. It may wait, as [`kernel`](Self::kernel).
    pub fn system_call(&mut self) {
        self.source(Source::SystemCall);
    }

    fn source(&mut self, source: Source) {
        self.settle();
        self.publish(|_| {
            Some(Record {
                source,
                ..Record::SYSTEM_CALL
            })
        });
    }

    /// Waits until the kernel's clocks have come to what readers were promised, by this
    /// publisher or by one that was killed.
    fn settle(&self) {
        for (clock, latch, _) in &self.clocks {
            let record = Record::from_words(&latch.get());
            let (Source::Counter { monotonic: true }, Some(id)) =
                (record.source, monotonic(*clock))
            else {
                continue;
            };
            loop {
                let left = record.ceiling().as_nanoseconds() - kernel::nanoseconds(id);
                // One that is further away was promised to readers before the machine was
                // booted: they are gone.
                let Some(left) = u64::try_from(left).ok().filter(|left| *left < MOST) else {
                    break;
                };
                std::thread::sleep(Duration::from_nanos(left + 1));
            }
        }
    }

    /// Readers have virtual time.
    pub fn virtual_time(&mut self, time: &VirtualTime) {
        self.publish(|clock| Some(time.record(clock)));
    }
}

/// The longest promise that is waited for, in nanoseconds.
const MOST: u64 = 10_000_000_000;

/// The kernel's clock behind a clock that must not run backwards and has a counter.
fn monotonic(clock: Clock) -> Option<ClockId> {
    match clock {
        Clock::Monotonic => Some(ClockId::Monotonic),
        Clock::MonotonicRaw => Some(ClockId::MonotonicRaw),
        Clock::Boottime => Some(ClockId::Boottime),
        _ => None,
    }
}

/// Whether this process may take its time from a published clock: none that lives in a time
/// namespace of its own may, whose monotonic clocks are not the machine's
/// (time_namespaces(7)).
#[must_use]
pub fn is_machine_time() -> bool {
    !kernel::is_moved()
}

/// Whether this process's vDSO is another than the kernel's own, as under `vdso run`: then
/// its time is what that says.
#[must_use]
pub fn is_delivered() -> bool {
    kernel::is_replaced()
}

/// What the kernel's clocks say now: what [`VirtualTime`] is moved from.
#[must_use]
pub fn kernel_time() -> KernelTime {
    kernel::time()
}
