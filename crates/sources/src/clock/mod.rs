//! Time for a clock image: the sources of time, and the records that publish it.
//!
//! | source | readers | kept by |
//! | --- | --- | --- |
//! | [`ClockPage::kernel`] | call the kernel's own vDSO | nothing to keep |
//! | [`ClockPage::virtual_time`] | do the same, and move or scale its answer | the process that changes it |
//! | [`Counter`] | read the CPU's counter | this process, four times in each promise |
//! | [`ClockPage::system_call`] | make the system call | nothing to keep |
//! | [`Timekeeper`](crate::kernel::Timekeeper) | read the CPU's counter, with the kernel's own coefficients | the kernel, at each tick |
//!
//! [`ClockSource`] keeps all but the second in a publisher's main loop; [`Reader`] reads
//! one clock in Rust, as the image does in every language.

mod adjtimex;
mod bounds;
#[cfg(feature = "publish")]
mod counter;
mod cpu;
#[cfg(feature = "publish")]
mod kernel;
#[cfg(feature = "publish")]
mod page;
mod process;
mod reader;
#[cfg(feature = "publish")]
mod source;
mod view;
#[cfg(feature = "publish")]
mod vmclock;

pub use bounds::{Unbounded, kernel_bounds};
#[cfg(feature = "publish")]
pub use counter::{Counter, Untrusted};
#[cfg(feature = "publish")]
pub use page::ClockPage;
pub use reader::{Reader, monotonic_now};
#[cfg(feature = "publish")]
pub use source::{ClockSource, Kept};
pub use view::{View, view};

use rustix::time::ClockId;
use vdsokit_clock::Clock;

/// The file name of a published clock in a [`place`](vdsokit_publish::place): the clock image's
/// soname.
pub const FILE: &str = "linux-vdso.so.1";

/// The id of a clock that never runs backwards.
fn monotonic(clock: Clock) -> Option<ClockId> {
    match clock {
        Clock::Monotonic => Some(ClockId::Monotonic),
        Clock::MonotonicRaw => Some(ClockId::MonotonicRaw),
        Clock::Boottime => Some(ClockId::Boottime),
        _ => None,
    }
}

/// Whether this process's clocks are the machine's, so that it may read a published clock.
/// They are not in a time namespace with offsets (time_namespaces(7)).
#[must_use]
pub fn is_machine_time() -> bool {
    !process::is_moved()
}

/// Whether this process has another vDSO than the kernel's own, as under `vdso run`: its
/// time is then what that vDSO returns.
#[must_use]
pub fn is_delivered() -> bool {
    process::is_replaced()
}

/// The kernel's clocks now: what [`VirtualTime`](vdsokit_clock::VirtualTime) is moved from.
#[cfg(feature = "publish")]
#[must_use]
pub fn kernel_time() -> vdsokit_clock::KernelTime {
    kernel::time()
}
