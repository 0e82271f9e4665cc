//! Groups of calls that a process may be started without. Its vDSO then lacks their functions, and
//! the calls fail with EPERM.

use crate::call;
use linux_raw_sys::general as linux;

bitflags::bitflags! {
    /// A set of groups.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Denied: usize {
        /// Reading and setting clocks. Sleeping is not among it.
        const CLOCK = 1;
        /// Random bytes.
        const RANDOM = 2;
        /// Networks.
        const SOCKET = 4;
    }
}

impl Denied {
    /// The group with a name, in small letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::from_name(&name.to_ascii_uppercase())
    }

    /// Whether a call is in it.
    pub fn has_call(self, number: u32) -> bool {
        !self.is_empty() && self.intersects(group_of(number))
    }

    /// Whether a function of the vDSO is in it, by its name without a prefix: that of its call, or
    /// one of vdsokit's own.
    pub fn has_function(self, name: &str) -> bool {
        let bounds_clock = name == "vdso_clock_bound" && self.contains(Self::CLOCK);
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
