//! Which clocks there are: the one table of Linux's clock ids.

/// A clock that a page can answer for, numbered as Linux numbers it
/// (include/uapi/linux/time.h).
///
/// The clocks of a thread's or a process's CPU time (2, 3 and negative
/// numbers), 10, which Linux gave up, and what lies above are not here: for
/// them only the kernel has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Clock {
    /// Wall time, `CLOCK_REALTIME`.
    Realtime = 0,
    /// Since some start, never back, `CLOCK_MONOTONIC`.
    Monotonic = 1,
    /// The same without frequency corrections, `CLOCK_MONOTONIC_RAW`.
    MonotonicRaw = 4,
    /// Wall time at the last update, `CLOCK_REALTIME_COARSE`.
    RealtimeCoarse = 5,
    /// Monotonic time at the last update, `CLOCK_MONOTONIC_COARSE`.
    MonotonicCoarse = 6,
    /// Monotonic time and the time spent suspended, `CLOCK_BOOTTIME`.
    Boottime = 7,
    /// Wall time that can set timers which wake the machine,
    /// `CLOCK_REALTIME_ALARM`.
    RealtimeAlarm = 8,
    /// The same for `CLOCK_BOOTTIME`, `CLOCK_BOOTTIME_ALARM`.
    BoottimeAlarm = 9,
    /// Wall time without leap seconds, `CLOCK_TAI`.
    Tai = 11,
}

impl Clock {
    /// Every clock here, by number.
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

    /// How many records a page has: a clock's number is its record's place, and
    /// the records of numbers that are no clock here stay empty.
    pub const RECORDS: usize = 12;

    /// The clock with this number.
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

    /// Whether it tells the time of day: a step of the wall clock moves it.
    pub const fn is_wall(self) -> bool {
        matches!(
            self,
            Self::Realtime | Self::RealtimeCoarse | Self::RealtimeAlarm | Self::Tai
        )
    }

    /// Whether it stands still between updates.
    pub const fn is_coarse(self) -> bool {
        matches!(self, Self::RealtimeCoarse | Self::MonotonicCoarse)
    }

    /// Linux's name for it.
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
