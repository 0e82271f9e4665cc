//! Time for a clock image: where it comes from, and what is published of it.
//!
//! | source | what readers do | who has to keep it |
//! | --- | --- | --- |
//! | [`ClockPage::kernel`] | call the kernel's own vDSO | nobody |
//! | [`ClockPage::virtual_time`] | the same, and move or scale its answer | whoever changes it |
//! | [`Counter`] | read the CPU's counter | this process, several times a promise |
//! | [`ClockPage::system_call`] | make the system call | nobody |

mod counter;
mod cpu;
mod kernel;

pub use counter::{Counter, Untrusted};

use crate::{Error, LatchedWriter, Publisher, VarWriter};
use vdsokit_clock::page::VARIABLES;
use vdsokit_clock::{Clock, KernelTime, Record, Source, VirtualTime};

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
            let at = 2 * clock.id() as usize;
            Ok((
                clock,
                publisher.latched(VARIABLES[at].name)?,
                publisher.var(VARIABLES[at + 1].name)?,
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
    pub fn kernel(&mut self) {
        self.source(Source::Kernel);
    }

    /// Readers make system calls.
    pub fn system_call(&mut self) {
        self.source(Source::SystemCall);
    }

    fn source(&mut self, source: Source) {
        self.publish(|_| {
            Some(Record {
                source,
                ..Record::SYSTEM_CALL
            })
        });
    }

    /// Readers have virtual time.
    pub fn virtual_time(&mut self, time: &VirtualTime) {
        self.publish(|clock| Some(time.record(clock)));
    }
}

/// What the kernel's clocks say now: what [`VirtualTime`] is moved from.
#[must_use]
pub fn kernel_time() -> KernelTime {
    kernel::time()
}
