//! sysinfo(2): its `uptime` is what `CLOCK_BOOTTIME` shows in the tree.
//!
//! `/proc/uptime` and `btime` in `/proc/stat` are files, whose contents no filter sees: they are the
//! kernel's.

use std::mem::offset_of;

use rustix::system::{Sysinfo, sysinfo};
use vdsokit_clock::Clock;
use vdsokit_waits::filter::Rule;
use vdsokit_waits::{AUDIT, number};

use super::waits::{SECOND, Waits};
use crate::seccomp::{self, Notification, Outcome};

/// The rule of a filter that hands the call over.
pub(crate) fn rule() -> Rule {
    Rule::always(number::SYSINFO)
}

/// Whether a call is served here.
pub(super) fn serves(call: &Notification) -> bool {
    call.architecture == AUDIT && call.number as u32 == number::SYSINFO
}

/// Serves the call.
pub(super) fn serve(waits: &Waits, call: &Notification) -> Outcome {
    let Ok(now) = waits.clocks.now() else {
        return Outcome::Made;
    };
    let nanoseconds = waits.at(Clock::Boottime, &now).max(0) as u128;
    let mut info = sysinfo();
    // A part of a second counts as one (kernel/sys.c, `do_sysinfo`).
    info.uptime = nanoseconds.div_ceil(SECOND.into()) as _;
    let [address, ..] = call.arguments;
    match seccomp::write(call.pid, address, &bytes(&info)) {
        Ok(()) => Outcome::Returns(0),
        Err(_) => Outcome::Fails(libc::EFAULT),
    }
}

/// The bytes of a structure: its members where they lie, and zeros between them.
fn bytes(info: &Sysinfo) -> [u8; size_of::<Sysinfo>()] {
    let mut bytes = [0; _];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    macro_rules! put_all {
        ($($member:ident),*) => {$(
            put(offset_of!(Sysinfo, $member), &info.$member.to_ne_bytes());
        )*};
    }
    put_all!(
        uptime, totalram, freeram, sharedram, bufferram, totalswap, freeswap, procs, totalhigh,
        freehigh, mem_unit
    );
    for (index, load) in info.loads.iter().enumerate() {
        let at = offset_of!(Sysinfo, loads) + index * size_of_val(load);
        put(at, &load.to_ne_bytes());
    }
    bytes
}
