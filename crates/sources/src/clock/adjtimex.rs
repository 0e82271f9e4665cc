//! The kernel's state of wall time, by adjtimex(2).
#![allow(unsafe_code, reason = "adjtimex has no safe function")]

/// The state of the kernel's wall time.
pub(super) struct Wall {
    /// Seconds that atomic time is ahead.
    #[cfg_attr(
        not(feature = "publish"),
        allow(dead_code, reason = "publishers need it")
    )]
    pub(super) tai: i32,
    /// The maximum error in nanoseconds, while the clock is synchronised.
    pub(super) error: Option<u64>,
}

/// Reads the state: without modes adjtimex(2) changes nothing.
pub(super) fn wall() -> Wall {
    // SAFETY: a struct of integers, for which zeroes are a value.
    let mut now: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: a pointer to a local variable.
    let state = unsafe { libc::adjtimex(&raw mut now) };
    let is_kept = state >= 0 && state != libc::TIME_ERROR;
    let microseconds = u64::try_from(now.maxerror).ok().filter(|_| is_kept);
    Wall {
        tai: now.tai,
        error: microseconds.map(|error| error.saturating_mul(1000)),
    }
}
