//! Groups of calls that a process may be started without. Its vDSO then lacks their functions, and
//! the calls fail with EPERM.

use crate::call;
use linux_raw_sys::general as linux;

/// A set of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denied(usize);

impl Denied {
    /// Reading and setting clocks. Sleeping is not among it.
    pub const CLOCK: Self = Self(1);
    /// Random bytes.
    pub const RANDOM: Self = Self(2);
    /// Networks.
    pub const SOCKET: Self = Self(4);
    /// The bits of all.
    pub const ALL: usize = 7;

    /// The set with these bits; others are ignored.
    pub fn from_bits(bits: usize) -> Self {
        Self(bits & Self::ALL)
    }

    /// The bits.
    pub fn bits(self) -> usize {
        self.0
    }

    /// The group with a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "clock" => Some(Self::CLOCK),
            "random" => Some(Self::RANDOM),
            "socket" => Some(Self::SOCKET),
            _ => None,
        }
    }

    /// Both sets.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of a set's groups is in this one.
    pub fn has(self, groups: Self) -> bool {
        self.0 & groups.0 != 0
    }

    /// Whether a call is in it.
    pub fn has_call(self, number: u32) -> bool {
        self != Self::default() && self.has(group_of(number))
    }

    /// Whether a function of the vDSO is in it, by its name without a prefix: that of its call, or
    /// one of vdsokit's own.
    pub fn has_function(self, name: &str) -> bool {
        let bounds_clock = name == "vdso_clock_bound" && self.has(Self::CLOCK);
        bounds_clock || call::number(name).is_some_and(|number| self.has_call(number))
    }
}

/// The group of a call.
fn group_of(number: u32) -> Denied {
    match number {
        linux::__NR_clock_gettime
        | linux::__NR_clock_getres
        | linux::__NR_clock_settime
        | linux::__NR_clock_adjtime
        | linux::__NR_gettimeofday => Denied::CLOCK,
        #[cfg(target_arch = "x86_64")]
        linux::__NR_time => Denied::CLOCK,
        linux::__NR_getrandom => Denied::RANDOM,
        linux::__NR_socket | linux::__NR_socketpair => Denied::SOCKET,
        _ => Denied::default(),
    }
}
