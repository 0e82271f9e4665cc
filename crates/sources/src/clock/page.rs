//! The records of a clock image's page, and their one writer.

use super::{kernel, monotonic};
use std::time::Duration;
use vdsokit_clock::page::{record_name, source_name};
use vdsokit_clock::{Clock, Record, Source, VirtualTime};
use vdsokit_publish::{Error, LatchedWriter, Publisher, VarWriter};

/// The longest promise that is waited for, in nanoseconds.
const MOST: u64 = 10_000_000_000;

/// The records of every clock in a clock image's page, for its one writer.
#[derive(Debug)]
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

    /// Publishes the records that `record` returns. A clock for which it returns `None`
    /// keeps its record.
    pub fn publish(&mut self, record: impl Fn(Clock) -> Option<Record>) {
        for (clock, latch, source) in &mut self.clocks {
            if let Some(record) = record(*clock) {
                latch.set(record.to_words());
                // The hint last: a reader that follows it finds the record that it names.
                source.set(record.source.to_word());
            }
        }
    }

    /// Readers call the kernel's own vDSO.
    ///
    /// After source `counter` it waits until the kernel's clocks have reached what readers
    /// may have read already: a few promises at most.
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

    /// Waits until the kernel's clocks have reached the end of the published promises, of
    /// this publisher or of one that was killed.
    pub(super) fn settle(&self) {
        for (clock, latch, _) in &self.clocks {
            let record = Record::from_words(&latch.get());
            let (Source::Counter { monotonic: true }, Some(id)) =
                (record.source, monotonic(*clock))
            else {
                continue;
            };
            loop {
                let left = record.ceiling().as_nanoseconds() - kernel::nanoseconds(id);
                // A promise that is further away was made before the machine was booted: its
                // readers are gone.
                let Some(left) = u64::try_from(left).ok().filter(|left| *left < MOST) else {
                    break;
                };
                std::thread::sleep(Duration::from_nanos(left + 1));
            }
        }
    }

    /// Readers have the virtual time `time`.
    pub fn virtual_time(&mut self, time: &VirtualTime) {
        self.publish(|clock| Some(time.record(clock)));
    }
}
