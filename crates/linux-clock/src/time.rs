//! `clock_gettime`, `clock_getres`, `gettimeofday` and `time`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::data::{DataPages, Moment, Page, consistent, is_of_a_namespace, mostly, outside};
use crate::{counter, facts};

const NANOSECONDS: u64 = 1_000_000_000;

/// C's `struct timespec` on 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timespec {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

/// C's `struct timeval` on 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeval {
    pub(crate) seconds: i64,
    pub(crate) microseconds: i64,
}

/// C's `struct timezone`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timezone {
    pub(crate) minutes_west: i32,
    pub(crate) dst: i32,
}

/// The time of a clock: 0 and `*time`, or a negative number of errno.h.
///
/// # Safety
/// `time` is what `clock_gettime(2)` takes. Where the time is in the page, a wrong pointer
/// ends the program by a signal.
#[inline(always)]
pub(crate) unsafe fn clock_gettime(source: impl DataPages, clock: u32, time: *mut Timespec) -> i32 {
    let shown = source.shown();
    let set = set_of(clock);
    let now = if set & (facts::FINE_CLOCKS | facts::RAW_CLOCKS) != 0 {
        quickly(source, shown.skip(part_of(set)), clock)
    } else if set & facts::COARSE_CLOCKS != 0 {
        mostly(shown, clock, |_, base| Some(base))
    } else {
        None
    };
    if let Some(now) = now.and_then(timespec_soon) {
        // SAFETY: the caller vouches for the pointer.
        unsafe { time.write(now) };
        return 0;
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { by_namespace(source, clock, time) }
}

/// [`clock_gettime`] where the page that is shown had no answer: that of a time namespace has none.
///
/// A function of its own that needs no stack, so that a namespace costs no more than in C.
#[cold]
#[inline(never)]
unsafe fn by_namespace(source: impl DataPages, clock: u32, time: *mut Timespec) -> i32 {
    let shown = source.shown();
    if is_of_a_namespace(shown) {
        let set = set_of(clock);
        let part = part_of(set);
        let data = source.outside().skip(part);
        let now = if set & (facts::FINE_CLOCKS | facts::RAW_CLOCKS) != 0 {
            quickly(source, data, clock)
        } else if set & facts::COARSE_CLOCKS != 0 {
            mostly(data, clock, |_, base| Some(base))
        } else {
            None
        };
        let offset = || Moment::offset(shown.skip(part), clock);
        let now = now.map(|now| now.plus(offset()));
        if let Some(now) = now.and_then(timespec_soon) {
            // SAFETY: the caller vouches for the pointer.
            unsafe { time.write(now) };
            return 0;
        }
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { slowly(source, clock, time) }
}

/// Wall time in microseconds and the time zone that was set by settimeofday(2): 0, or a negative
/// number of errno.h.
///
/// # Safety
/// Each pointer is null, or what `gettimeofday(2)` takes.
#[inline(always)]
pub(crate) unsafe fn gettimeofday(
    source: impl DataPages,
    time: *mut Timeval,
    zone: *mut Timezone,
) -> i32 {
    if !time.is_null() {
        // Wall time has no offset in any time namespace (time_namespaces(7)).
        let now = quickly(source, outside(source), facts::REALTIME);
        let now = match now.and_then(timespec_soon) {
            Some(now) => now,
            None => {
                let mut now = Timespec::default();
                // SAFETY: a pointer to a local variable.
                let result = unsafe { slowly(source, facts::REALTIME, &raw mut now) };
                if result != 0 {
                    return result;
                }
                now
            }
        };
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            time.write(Timeval {
                seconds: now.seconds,
                microseconds: i64::from(now.nanoseconds as u32 / 1000),
            });
        }
    }
    if !zone.is_null() {
        let data = outside(source);
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            zone.write(Timezone {
                minutes_west: data.half(facts::MINUTES_WEST) as i32,
                dst: data.half(facts::DST) as i32,
            });
        }
    }
    0
}

/// Wall time in seconds, as of the last update.
///
/// # Safety
/// The pointer is null, or what `time(2)` takes.
#[inline(always)]
pub(crate) unsafe fn time(source: impl DataPages, seconds: *mut i64) -> i64 {
    // One load, which needs no sequence count.
    let base = facts::BASE + facts::REALTIME as usize * facts::BASE_SIZE;
    let now = outside(source).word(base + facts::BASE_SECONDS) as i64;
    if !seconds.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe { seconds.write(now) };
    }
    now
}

/// The resolution of a clock: 0 and `*resolution`, or a negative number of errno.h.
///
/// # Safety
/// `resolution` is null, or what `clock_getres(2)` takes.
#[inline(always)]
pub(crate) unsafe fn clock_getres(
    source: impl DataPages,
    clock: u32,
    resolution: *mut Timespec,
) -> i32 {
    // A bit test of a constant; with `set_of` it would cost more than in C.
    let is_counted = |clock| (facts::FINE_CLOCKS | facts::RAW_CLOCKS) >> clock & 1 != 0;
    if clock < facts::CLOCKS && is_counted(clock) {
        let nanoseconds = outside(source).half(facts::RESOLUTION);
        // SAFETY: the caller vouches for the pointer.
        unsafe { write_resolution(resolution, nanoseconds) };
        return 0;
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { other_getres(source, clock, resolution) }
}

/// [`clock_getres`] of clocks that no counter is read for.
#[cold]
#[inline(never)]
unsafe fn other_getres(source: impl DataPages, clock: u32, resolution: *mut Timespec) -> i32 {
    if set_of(clock) & facts::COARSE_CLOCKS != 0 {
        // SAFETY: the caller vouches for the pointer.
        unsafe { write_resolution(resolution, facts::COARSE_RESOLUTION) };
        return 0;
    }
    let pointer = resolution.expose_provenance();
    // SAFETY: the caller vouches for the pointer, and the kernel checks it.
    unsafe { source.call(facts::CALL_GETRES, clock as usize, pointer) as i32 }
}

/// # Safety
/// The pointer is null, or to writable memory for a [`Timespec`].
#[inline(always)]
unsafe fn write_resolution(resolution: *mut Timespec, nanoseconds: u32) {
    if !resolution.is_null() {
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            resolution.write(Timespec {
                seconds: 0,
                nanoseconds: nanoseconds.into(),
            });
        }
    }
}

/// The set with this one clock, as a bit mask; empty for dynamic clocks and negative numbers.
#[inline(always)]
fn set_of(clock: u32) -> u32 {
    if clock < facts::CLOCKS { 1 << clock } else { 0 }
}

/// The offset of the part of the data page with this clock's counter.
#[inline(always)]
fn part_of(set: u32) -> usize {
    // A product, since the compiler would duplicate the code after a branch.
    facts::RAW * usize::from(set & facts::RAW_CLOCKS != 0)
}

/// A fine clock's time in the common case, by a part of the kernel's own page.
#[inline(always)]
fn quickly(source: impl DataPages, data: Page, clock: u32) -> Option<Moment> {
    mostly(data, clock, |data, base| {
        if data.half(facts::MODE) != facts::MODE_TSC {
            return None;
        }
        let reading = counter::tsc(source);
        Some(Moment {
            nanoseconds: counter::nanoseconds_soon(data, reading, base.nanoseconds)?,
            ..base
        })
    })
}

/// [`clock_gettime`] in all cases.
#[cold]
#[inline(never)]
unsafe fn slowly(source: impl DataPages, clock: u32, time: *mut Timespec) -> i32 {
    let set = set_of(clock);
    let now = if set & facts::COARSE_CLOCKS != 0 {
        consistent(source, 0, clock, |_, base| Some(base))
    } else if set & (facts::FINE_CLOCKS | facts::RAW_CLOCKS) != 0 {
        consistent(source, part_of(set), clock, |data, base| {
            let reading = counter::read(source, data.half(facts::MODE))?;
            Some(Moment {
                nanoseconds: counter::nanoseconds(data, reading, base.nanoseconds),
                ..base
            })
        })
    } else {
        None
    };
    if let Some(now) = now {
        // SAFETY: the caller vouches for the pointer.
        unsafe { time.write(timespec(now)) };
        return 0;
    }
    let pointer = time.expose_provenance();
    // SAFETY: the caller vouches for the pointer, and the kernel checks it.
    unsafe { source.call(facts::CALL_GETTIME, clock as usize, pointer) as i32 }
}

/// Normalises the nanoseconds to less than a second.
#[inline(always)]
fn timespec(moment: Moment) -> Timespec {
    let more = moment.nanoseconds / NANOSECONDS;
    Timespec {
        seconds: moment.seconds.wrapping_add(more) as i64,
        nanoseconds: (moment.nanoseconds % NANOSECONDS) as i64,
    }
}

/// [`timespec`] where it takes no division: unless the kernel has not updated for long, the
/// nanoseconds are less than two seconds.
#[inline(always)]
fn timespec_soon(moment: Moment) -> Option<Timespec> {
    let Moment {
        mut seconds,
        mut nanoseconds,
    } = moment;
    if nanoseconds >= NANOSECONDS {
        nanoseconds -= NANOSECONDS;
        seconds = seconds.wrapping_add(1);
        if nanoseconds >= NANOSECONDS {
            return None;
        }
    }
    Some(Timespec {
        seconds: seconds as i64,
        nanoseconds: nanoseconds as i64,
    })
}
