//! A clock's publisher: its main loop.

use super::{ClockPage, Counter, Untrusted};
use crate::kernel::Timekeeper;
use crate::serve::{End, Serve, is_stopped};
use crate::{Error, Publisher};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Where a published clock's time comes from, and who keeps it.
pub enum Kept {
    /// The kernel's own vDSO: nobody has to keep it.
    Kernel,
    /// System calls: nobody has to keep it.
    SystemCall,
    /// The CPU's counter, kept here.
    Counter(Box<Counter>),
    /// The kernel's timekeeper, by a map that the kernel keeps.
    Timekeeper(Box<Timekeeper>),
}

impl Kept {
    /// Time between two signs of life.
    fn period(&self) -> Duration {
        match self {
            Self::Kernel | Self::SystemCall | Self::Timekeeper(_) => Duration::from_secs(1),
            Self::Counter(counter) => counter.period(),
        }
    }
}

/// How many updates lie between two looks at something else, a second or so: the counter of
/// the next CPU, which may keep this process waiting, and whether the file is still the one
/// that readers find.
const UPDATES: u64 = 200;

/// Publishes the kernel's time until `stop` becomes readable, then retires the vDSO. Whatever
/// ends it, readers go on with the kernel's own clocks.
///
/// A counter that turns out not to be one for all CPUs is told to `untrusted`, and source
/// `kernel` is published from then on.
///
/// # Errors
/// [`Error::Unknown`] and [`Error::Mismatch`] when `publisher` publishes no clock image, and
/// [`Error::Io`] when waiting fails.
pub fn serve(
    publisher: Publisher,
    mut kept: Kept,
    stop: BorrowedFd<'_>,
    mut untrusted: impl FnMut(&Untrusted),
) -> Result<End, Error> {
    let mut page = ClockPage::new(&publisher)?;
    publisher.stale_after(Serve::patience(kept.period()));
    match &kept {
        Kept::Kernel | Kept::Timekeeper(_) => page.kernel(),
        Kept::SystemCall => page.system_call(),
        // A predecessor that was killed may have promised more than the kernel has come to.
        Kept::Counter(_) => page.settle(),
    }
    let mut round = 0_u64;
    let end = loop {
        let mut looks = true;
        if let Kept::Counter(counter) = &mut kept {
            counter.update(&mut page);
            looks = round.is_multiple_of(UPDATES);
            if looks && let Err(why) = counter.compare_next_cpu() {
                untrusted(&why);
                page.kernel();
                kept = Kept::Kernel;
                publisher.stale_after(Serve::patience(kept.period()));
            }
        }
        publisher.beat();
        if matches!(&kept, Kept::Timekeeper(kernel) if kernel.is_retired()) {
            break End::Retired;
        }
        if looks && publisher.is_displaced() {
            break End::Displaced;
        }
        let failed = |error| Error::io("keep", publisher.path(), io::Error::from(error));
        if is_stopped(stop, kept.period()).map_err(failed)? {
            break End::Stopped;
        }
        round += 1;
    };
    match kept {
        Kept::Counter(_) => page.kernel(),
        Kept::Timekeeper(kernel) => kernel.conclude(end, publisher.path())?,
        Kept::Kernel | Kept::SystemCall => {}
    }
    Ok(end)
}
