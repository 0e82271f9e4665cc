//! A clock's source in a publisher's main loop.

use super::{ClockPage, Counter, Untrusted};
use crate::Error;
use crate::kernel::Timekeeper;
use std::fmt;
use std::time::Duration;
use vdsokit_publish::Publisher;
use vdsokit_publish::serve::{End, Source, Update};

/// Where a published clock's time comes from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Kept {
    /// The kernel's own vDSO: nothing to keep.
    Kernel,
    /// System calls: nothing to keep.
    SystemCall,
    /// The CPU's counter, kept by this process.
    Counter(Box<Counter>),
    /// The kernel's timekeeper, in a map that the kernel keeps.
    Timekeeper(Box<Timekeeper>),
}

impl Kept {
    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::SystemCall => "system-call",
            Self::Counter(_) => "counter",
            Self::Timekeeper(_) => "timekeeper",
        }
    }

    fn period(&self) -> Duration {
        match self {
            Self::Kernel | Self::SystemCall | Self::Timekeeper(_) => Duration::from_secs(1),
            Self::Counter(counter) => counter.period(),
        }
    }
}

/// One in so many updates compares the counter of the next CPU, about once a second: moving
/// to that CPU may keep this process waiting.
const COMPARE: u64 = 200;

/// The source of a clock image's values. Whatever ends it, readers go on with the kernel's
/// own clocks.
pub struct ClockSource<U> {
    page: ClockPage,
    kept: Kept,
    updates: u64,
    untrusted: U,
}

impl<U: FnMut(&Untrusted)> ClockSource<U> {
    /// The source of `publisher`'s values, which are those of a clock image.
    ///
    /// When the counter turns out not to be the same on all CPUs, `untrusted` gets the
    /// reason, and source `kernel` is published from then on.
    ///
    /// # Errors
    /// [`Unknown`](vdsokit_publish::Error::Unknown) and
    /// [`Mismatch`](vdsokit_publish::Error::Mismatch) when this is no clock image.
    pub fn new(publisher: &Publisher, kept: Kept, untrusted: U) -> Result<Self, Error> {
        let mut page = ClockPage::new(publisher)?;
        match &kept {
            Kept::Kernel | Kept::Timekeeper(_) => page.kernel(),
            Kept::SystemCall => page.system_call(),
            // A predecessor that was killed may have promised more than the kernel's clocks
            // have come to.
            Kept::Counter(_) => page.settle(),
        }
        Ok(Self {
            page,
            kept,
            updates: 0,
            untrusted,
        })
    }
}

impl<U: FnMut(&Untrusted)> Source for ClockSource<U> {
    type Error = Error;

    fn period(&self) -> Duration {
        self.kept.period()
    }

    fn update(&mut self, _: &Publisher) -> Result<Update, Error> {
        match &mut self.kept {
            Kept::Timekeeper(kernel) if kernel.is_retired() => return Ok(Update::Retired),
            Kept::Kernel | Kept::SystemCall | Kept::Timekeeper(_) => {}
            Kept::Counter(counter) => {
                counter.update(&mut self.page);
                let compared = match self.updates % COMPARE {
                    0 => counter.compare_next_cpu(),
                    _ => Ok(()),
                };
                if let Err(why) = compared {
                    (self.untrusted)(&why);
                    self.page.kernel();
                    self.kept = Kept::Kernel;
                }
                self.updates += 1;
            }
        }
        Ok(Update::Current)
    }

    fn finish(&mut self, publisher: &Publisher, end: End) -> Result<(), Error> {
        match std::mem::replace(&mut self.kept, Kept::Kernel) {
            Kept::Counter(_) => self.page.kernel(),
            Kept::Timekeeper(kernel) => kernel.conclude(end, publisher.path())?,
            Kept::Kernel | Kept::SystemCall => {}
        }
        Ok(())
    }
}

impl<U> fmt::Debug for ClockSource<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockSource")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}
