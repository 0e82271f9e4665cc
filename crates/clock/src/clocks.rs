//! The table of Linux's clock ids that a page has records for.

/// A clock that a page can have a record for, with Linux's number
/// (include/uapi/linux/time.h).
///
/// Not here are the clocks of a thread's or a process's CPU time (2, 3 and negative
/// numbers), 10, which Linux gave up, and all above 11: only the kernel knows their
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Clock {
    /// Wall time, `CLOCK_REALTIME`.
    Realtime = 0,
    /// Time since some start, which never goes back, `CLOCK_MONOTONIC`.
    Monotonic = 1,
    /// The same without frequency corrections, `CLOCK_MONOTONIC_RAW`.
    MonotonicRaw = 4,
    /// Wall time at the last update, `CLOCK_REALTIME_COARSE`.
    RealtimeCoarse = 5,
    /// Monotonic time at the last update, `CLOCK_MONOTONIC_COARSE`.
    MonotonicCoarse = 6,
    /// Monotonic time and the time spent suspended, `CLOCK_BOOTTIME`.
    Boottime = 7,
    /// Wall time, for timers that wake the machine, `CLOCK_REALTIME_ALARM`.
    RealtimeAlarm = 8,
    /// The same for `CLOCK_BOOTTIME`, `CLOCK_BOOTTIME_ALARM`.
    BoottimeAlarm = 9,
    /// Wall time without leap seconds, `CLOCK_TAI`.
    Tai = 11,
}

impl Clock {
    /// Every clock, by number.
    pub const ALL: [Self; 9] = [
        Self::Realtime,
        Self::Monotonic,
        Self::MonotonicRaw,
        Self::RealtimeCoarse,
        Self::MonotonicCoarse,
        Self::Boottime,
        Self::RealtimeAlarm,
        Self::BoottimeAlarm,
        Self::Tai,
    ];

    /// The number of records in a page: a clock's number is the index of its record,
    /// and the records of numbers that have no clock stay empty.
    pub const RECORDS: usize = 12;

    /// The clock with this number; `None` for all others.
    pub const fn from_id(id: u32) -> Option<Self> {
        let mut at = 0;
        while at < Self::ALL.len() {
            if Self::ALL[at] as u32 == id {
                return Some(Self::ALL[at]);
            }
            at += 1;
        }
        None
    }

    /// Linux's number.
    #[inline]
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Whether it is a clock of the time of day, which setting the wall clock moves.
    pub const fn is_wall(self) -> bool {
        matches!(
            self,
            Self::Realtime | Self::RealtimeCoarse | Self::RealtimeAlarm | Self::Tai
        )
    }

    /// Whether it has the time of the last update.
    pub const fn is_coarse(self) -> bool {
        matches!(self, Self::RealtimeCoarse | Self::MonotonicCoarse)
    }

    /// Linux's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Realtime => "CLOCK_REALTIME",
            Self::Monotonic => "CLOCK_MONOTONIC",
            Self::MonotonicRaw => "CLOCK_MONOTONIC_RAW",
            Self::RealtimeCoarse => "CLOCK_REALTIME_COARSE",
            Self::MonotonicCoarse => "CLOCK_MONOTONIC_COARSE",
            Self::Boottime => "CLOCK_BOOTTIME",
            Self::RealtimeAlarm => "CLOCK_REALTIME_ALARM",
            Self::BoottimeAlarm => "CLOCK_BOOTTIME_ALARM",
            Self::Tai => "CLOCK_TAI",
        }
    }
}
