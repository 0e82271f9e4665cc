//! The clock and the boot of the header's heartbeat.
#![allow(
    unsafe_code,
    reason = "libc has no function for clock_gettime(2) that bypasses the vDSO"
)]

use std::fs;
use std::sync::OnceLock;
use vdsokit_vvar::header::boot_hash;

/// The clock of heartbeats in one process: `CLOCK_BOOTTIME` in nanoseconds, in the initial
/// time namespace. It counts through a suspend, as staleness must, and is never set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeartbeatClock {
    offset: i64,
}

impl HeartbeatClock {
    /// Reads the offset of this process's time namespace once. A child of fork(2) may be in
    /// another namespace.
    pub(crate) fn new() -> Self {
        Self {
            offset: namespace_offset(),
        }
    }

    pub(crate) fn now(self) -> u64 {
        boot_time().saturating_add_signed(self.offset.saturating_neg())
    }
}

/// [`HeartbeatClock::now`] for one reading.
pub(crate) fn now() -> u64 {
    HeartbeatClock::new().now()
}

/// By system call: the process's own vDSO may report virtual time.
fn boot_time() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec` to a local variable. The call does not fail:
    // every kernel since 2.6.39 has this clock.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_BOOTTIME, &raw mut time) };
    // Neither is negative, and 2⁶⁴ ns are 584 years.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How far this process's boot time is ahead of the initial time namespace's, in nanoseconds
/// (time_namespaces(7)); 0 where /proc does not tell.
fn namespace_offset() -> i64 {
    // The file has the offsets of the namespace for children. After unshare(2) without
    // fork(2) that is another one, and the process is still in the namespace of its parent.
    let namespace = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    if namespace("time") != namespace("time_for_children") {
        return 0;
    }
    fs::read_to_string("/proc/self/timens_offsets")
        .ok()
        .and_then(|text| parse_offset(&text))
        .unwrap_or(0)
}

/// The offset of boot time in the text of `timens_offsets`: a line `boottime SECONDS
/// NANOSECONDS`.
fn parse_offset(text: &str) -> Option<i64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, nanoseconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// The hash of this boot; 0 where /proc does not tell.
pub(crate) fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or(0, |id| boot_hash(id.trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_the_kernel_prints_them() {
        let text = "monotonic           0         0\nboottime       -1000         5\n";
        assert_eq!(parse_offset(text), Some(-999_999_999_995));
        assert_eq!(parse_offset("monotonic 0 0\n"), None);
        assert_eq!(parse_offset(""), None);
    }

    #[test]
    fn boot_time_is_between_two_readings_of_the_clock() {
        let reading = || {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        let before = reading();
        let time = boot_time();
        assert!((before..=reading()).contains(&time), "{before} {time}");
    }

    #[test]
    fn this_boot_has_a_hash() {
        assert_ne!(boot(), 0);
        assert_eq!(boot(), boot());
    }
}
