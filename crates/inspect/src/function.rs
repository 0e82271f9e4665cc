//! The functions that a vDSO can export, one for each clock, and the routes to them.

use serde::Serialize;
use std::fmt;
use vdsokit_elf::arch::Call;

/// A clock of `clock_gettime(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClockId {
    /// The time of day.
    Realtime,
    /// Time since boot, without time asleep.
    Monotonic,
    /// Time since boot, with time asleep.
    Boottime,
    /// International atomic time.
    Tai,
    /// Time since boot by the counter, without correction of its rate.
    MonotonicRaw,
    /// The time of day at the last tick.
    RealtimeCoarse,
    /// Time since boot at the last tick.
    MonotonicCoarse,
    /// CPU time of the process.
    ProcessCputimeId,
    /// CPU time of the thread.
    ThreadCputimeId,
}

/// The source of a clock's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// The clocksource's counter: a vDSO serves it if it can read that counter.
    Counter,
    /// The time that the kernel stored at the last tick: no counter is read.
    Tick,
    /// The scheduler's accounting: no vDSO serves it.
    Scheduler,
}

impl ClockId {
    /// Its number (`include/uapi/linux/time.h`).
    #[must_use]
    pub const fn id(self) -> i32 {
        match self {
            Self::Realtime => libc::CLOCK_REALTIME,
            Self::Monotonic => libc::CLOCK_MONOTONIC,
            Self::Boottime => libc::CLOCK_BOOTTIME,
            Self::Tai => libc::CLOCK_TAI,
            Self::MonotonicRaw => libc::CLOCK_MONOTONIC_RAW,
            Self::RealtimeCoarse => libc::CLOCK_REALTIME_COARSE,
            Self::MonotonicCoarse => libc::CLOCK_MONOTONIC_COARSE,
            Self::ProcessCputimeId => libc::CLOCK_PROCESS_CPUTIME_ID,
            Self::ThreadCputimeId => libc::CLOCK_THREAD_CPUTIME_ID,
        }
    }

    /// Its name, without the `CLOCK_` before it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Realtime => "REALTIME",
            Self::Monotonic => "MONOTONIC",
            Self::Boottime => "BOOTTIME",
            Self::Tai => "TAI",
            Self::MonotonicRaw => "MONOTONIC_RAW",
            Self::RealtimeCoarse => "REALTIME_COARSE",
            Self::MonotonicCoarse => "MONOTONIC_COARSE",
            Self::ProcessCputimeId => "PROCESS_CPUTIME_ID",
            Self::ThreadCputimeId => "THREAD_CPUTIME_ID",
        }
    }

    /// The source of its time (Linux 6.12 `lib/vdso/gettimeofday.c`: the bits of VDSO_HRES,
    /// VDSO_RAW and VDSO_COARSE).
    #[must_use]
    pub const fn make(self) -> Make {
        match self {
            Self::Realtime | Self::Monotonic | Self::Boottime | Self::Tai | Self::MonotonicRaw => {
                Make::Counter
            }
            Self::RealtimeCoarse | Self::MonotonicCoarse => Make::Tick,
            Self::ProcessCputimeId | Self::ThreadCputimeId => Make::Scheduler,
        }
    }
}

/// A function, with the clock that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// `clock_gettime(2)`.
    ClockGettime(ClockId),
    /// `clock_getres(2)`.
    ClockGetres(ClockId),
    /// `gettimeofday(2)`.
    Gettimeofday,
    /// `time(2)`.
    Time,
    /// `getcpu(2)`.
    Getcpu,
    /// `getrandom(2)` of [`RANDOM_BYTES`].
    Getrandom,
}

/// The number of bytes that [`Function::Getrandom`] requests: a UUID's.
pub const RANDOM_BYTES: usize = 16;

impl Function {
    /// All functions, in the order of output.
    pub const ALL: &[Self] = &[
        Self::ClockGettime(ClockId::Realtime),
        Self::ClockGettime(ClockId::Monotonic),
        Self::ClockGettime(ClockId::Boottime),
        Self::ClockGettime(ClockId::Tai),
        Self::ClockGettime(ClockId::MonotonicRaw),
        Self::ClockGettime(ClockId::RealtimeCoarse),
        Self::ClockGettime(ClockId::MonotonicCoarse),
        Self::ClockGettime(ClockId::ProcessCputimeId),
        Self::ClockGettime(ClockId::ThreadCputimeId),
        Self::ClockGetres(ClockId::Monotonic),
        Self::Gettimeofday,
        Self::Time,
        Self::Getcpu,
        Self::Getrandom,
    ];

    /// Its row in the table of architectures.
    #[must_use]
    pub const fn call(self) -> Call {
        match self {
            Self::ClockGettime(_) => Call::ClockGettime,
            Self::ClockGetres(_) => Call::ClockGetres,
            Self::Gettimeofday => Call::Gettimeofday,
            Self::Time => Call::Time,
            Self::Getcpu => Call::Getcpu,
            Self::Getrandom => Call::Getrandom,
        }
    }

    /// The name by which C calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClockGettime(_) => "clock_gettime",
            Self::ClockGetres(_) => "clock_getres",
            Self::Gettimeofday => "gettimeofday",
            Self::Time => "time",
            Self::Getcpu => "getcpu",
            Self::Getrandom => "getrandom",
        }
    }

    /// Whether a vDSO has to read the clocksource's counter for it.
    #[must_use]
    pub const fn needs_counter(self) -> bool {
        match self {
            Self::ClockGettime(clock) => matches!(clock.make(), Make::Counter),
            Self::Gettimeofday => true,
            _ => false,
        }
    }

    /// Whether some vDSO can serve it at all.
    #[must_use]
    pub const fn is_servable(self) -> bool {
        match self {
            Self::ClockGettime(clock) | Self::ClockGetres(clock) => {
                !matches!(clock.make(), Make::Scheduler)
            }
            _ => true,
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockGettime(clock) | Self::ClockGetres(clock) => {
                f.pad(&format!("{} {}", self.name(), clock.name()))
            }
            _ => f.pad(self.name()),
        }
    }
}

/// The implementation of a function that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The function of this process's vDSO.
    Vdso,
    /// The function of the C library, which may or may not go to the vDSO.
    Libc,
    /// The system call.
    SystemCall,
    /// The function of an image that was loaded as a shared library.
    Image,
}

impl Route {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vdso => "vDSO",
            Self::Libc => "libc",
            Self::SystemCall => "system call",
            Self::Image => "image",
        }
    }
}
