//! The clock of the header's signs of life.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` in nanoseconds: goes on through a suspend, as staleness must, and is
/// never set.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is negative, and 2⁶⁴ ns are 584 years.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
