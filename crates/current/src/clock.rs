//! CPU time from the counter.

use crate::layout::{Head, PATIENCE};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// The kernel's coefficients of `sched_clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coefficients {
    mult: u32,
    shift: u32,
    offset: u64,
}

impl Coefficients {
    /// The coefficients in force; `None` when `sched_clock` is not the counter's, or when the last
    /// tick before the counter was `ticks` is more than [`PATIENCE`] ago.
    #[inline]
    pub(crate) fn load(head: &Head, ticks: u64) -> Option<Self> {
        let sequence = head.clock_sequence.load(Ordering::Acquire);
        let coefficients = Self {
            mult: head.mult.load(Ordering::Relaxed),
            shift: head.shift.load(Ordering::Relaxed),
            offset: head.offset.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let whole = sequence % 2 == 0
            && head.clock_sequence.load(Ordering::Relaxed) == sequence
            && coefficients.mult != 0;
        // A tick may have come since the counter was read.
        let age = ticks.wrapping_sub(head.heartbeat.load(Ordering::Relaxed));
        let fresh = (age as i64) < 0 || coefficients.scale(age) <= PATIENCE;
        (whole && fresh).then_some(coefficients)
    }

    /// `sched_clock` when the counter was `ticks`, as `__cycles_2_ns` in arch/x86/kernel/tsc.c
    /// computes it.
    #[inline]
    pub(crate) fn nanoseconds(self, ticks: u64) -> u64 {
        self.scale(ticks).wrapping_add(self.offset)
    }

    #[inline]
    fn scale(self, ticks: u64) -> u64 {
        // The kernel's shift is below 32; a page that says otherwise must not be a panic.
        ((u128::from(ticks) * u128::from(self.mult)) >> (self.shift & 63)) as u64
    }
}

/// Keeps one thread's CPU time from going backwards.
///
/// The kernel's own account loses some microseconds when another CPU wakes a task up on this one, so a
/// read before the next switch may be ahead of one after it. The last time that was returned is kept
/// in the caller's memory, in one word with the thread's id, so that a child of vfork(2), or any task
/// that shares the memory, never takes another thread's time for its own.
#[derive(Debug, Default)]
pub struct Clamp(AtomicU64);

/// Bits of the time in a clamp's word; thread ids are below 2^22 (`PID_MAX_LIMIT` in
/// include/linux/threads.h).
const BITS: u32 = 42;
/// The bits of the time.
const MASK: u64 = (1 << BITS) - 1;

impl Clamp {
    /// For no thread yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether it was used.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The greater of `time` and what this thread was given before.
    #[inline]
    pub fn raise(&self, tid: u32, time: u64) -> u64 {
        let raised = self.raised(tid, time);
        if raised == time {
            self.0.store(word(tid, time), Ordering::Relaxed);
        }
        raised
    }

    /// The same without recording that it was given out.
    #[inline]
    pub(crate) fn raised(&self, tid: u32, time: u64) -> u64 {
        let last = self.0.load(Ordering::Relaxed);
        if last & !MASK == word(tid, 0) {
            // How far the last time is ahead, in the 73 minutes that the word has bits for. An
            // account is never behind by more than a second.
            let ahead = (last & MASK).wrapping_sub(time & MASK) & MASK;
            if ahead < 1_000_000_000 {
                return time.wrapping_add(ahead);
            }
        }
        time
    }

    /// As [`raise`](Self::raise), for a clamp that several threads share: `None` while it has the time of
    /// another thread that is alive.
    #[inline]
    pub(crate) fn raise_own(
        &self,
        tid: u32,
        time: u64,
        is_alive: impl Fn(u32) -> bool,
    ) -> Option<u64> {
        let last = self.0.load(Ordering::Relaxed);
        let owner = (last >> BITS) as u32;
        if owner == tid {
            return Some(self.raise(tid, time));
        }
        if owner != 0 && is_alive(owner) {
            return None;
        }
        // Of threads that come at the same time one succeeds.
        let taken =
            self.0
                .compare_exchange(last, word(tid, time), Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok().then_some(time)
    }
}

/// A clamp's word.
#[inline(always)]
const fn word(tid: u32, time: u64) -> u64 {
    (tid as u64) << BITS | time & MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(mult: u32, shift: u32, offset: u64) -> Head {
        let head = Head::default();
        head.mult.store(mult, Ordering::Relaxed);
        head.shift.store(shift, Ordering::Relaxed);
        head.offset.store(offset, Ordering::Relaxed);
        head
    }

    #[test]
    fn the_conversion_is_the_kernels() {
        let head = head(827_193_813, 31, 5);
        head.heartbeat.store(1 << 60, Ordering::Relaxed);
        let clock = Coefficients::load(&head, 1 << 60).unwrap();
        assert_eq!(clock.nanoseconds(1 << 40), (827_193_813 << 9) + 5);
        // Wider than 64 bits in between.
        assert_eq!(clock.nanoseconds(1 << 60), (827_193_813 << 29) + 5);
        // A boot whose offset is negative.
        let head = self::head(1 << 31, 31, 0_u64.wrapping_sub(100));
        assert_eq!(
            Coefficients::load(&head, 300).unwrap().nanoseconds(300),
            200
        );
    }

    #[test]
    fn cpu_time_is_unknown_without_coefficients_or_a_recent_tick() {
        let none = head(0, 0, 0);
        assert_eq!(Coefficients::load(&none, 1), None);
        let head = head(1 << 31, 31, 0);
        head.heartbeat.store(1_000, Ordering::Relaxed);
        assert!(Coefficients::load(&head, 1_000 + PATIENCE).is_some());
        assert_eq!(Coefficients::load(&head, 1_001 + PATIENCE), None);
        // A tick that came after the counter was read.
        assert!(Coefficients::load(&head, 900).is_some());
        head.clock_sequence.store(1, Ordering::Relaxed);
        assert_eq!(Coefficients::load(&head, 1_000), None);
    }

    #[test]
    fn a_thread_s_time_does_not_go_back_and_another_thread_s_is_its_own() {
        let clamp = Clamp::new();
        assert!(!clamp.is_used());
        assert_eq!(clamp.raise(7, 1_000), 1_000);
        assert_eq!(clamp.raise(7, 900), 1_000);
        assert_eq!(clamp.raise(7, 1_100), 1_100);
        // A child of vfork shares the word.
        assert_eq!(clamp.raise(8, 5), 5);
        assert_eq!(clamp.raise(7, 1_050), 1_050);
        // Beyond the bits that the word has.
        let long = (1 << BITS) + 3;
        assert_eq!(clamp.raise(9, long), long);
        assert_eq!(clamp.raise(9, long - 5), long);
        assert_eq!(clamp.raise(9, long + (1 << 41)), long + (1 << 41));
    }
}
