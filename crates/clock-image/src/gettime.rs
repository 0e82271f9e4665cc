//! `clock_gettime` and `clock_getres`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::page::Id;
use crate::{arch, link};
use vdsokit_clock::{Answer, NANOSECONDS, Record, Source, split};

/// C's `struct timespec` on 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timespec {
    /// `tv_sec`.
    pub seconds: i64,
    /// `tv_nsec`, 0 to 999,999,999.
    pub nanoseconds: i64,
}

impl Timespec {
    /// Normalises seconds and any number of nanoseconds.
    #[inline(always)]
    pub(crate) fn new((seconds, nanoseconds): (i64, u64)) -> Self {
        let (more, nanoseconds) = split(nanoseconds);
        Self {
            seconds: seconds.wrapping_add(more as i64),
            nanoseconds: i64::from(nanoseconds),
        }
    }
}

#[cfg(all(vdsokit_image, target_arch = "x86_64"))]
pub(crate) use arch::clock_gettime;

/// The time of a clock: 0 and `*time`, or a negative number of errno.h.
///
/// # Safety
/// `time` is what `clock_gettime(2)` takes. Where the time is in the page, a wrong
/// pointer ends the program by a signal, as with Linux's own vDSO.
#[cfg(not(all(vdsokit_image, target_arch = "x86_64")))]
pub unsafe extern "C" fn clock_gettime(clock: u32, time: *mut Timespec) -> i32 {
    if Id::new(clock).is_some_and(|id| id.source() as u8 == Source::KERNEL)
        && let Some(kernel) = link::clock_gettime()
    {
        return kernel(clock, time);
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { otherwise(clock, time) }
}

/// The nanoseconds of one of the kernel's clocks.
fn kernel_nanoseconds(clock: u32) -> Option<u64> {
    let mut now = Timespec::default();
    // SAFETY: a pointer to a local variable.
    let result = unsafe { kernel(clock, &raw mut now) };
    (result == 0).then(|| {
        (now.seconds as u64)
            .wrapping_mul(NANOSECONDS)
            .wrapping_add(now.nanoseconds as u64)
    })
}

/// [`clock_gettime`] for every source.
///
/// # Safety
/// As there.
#[inline(never)]
pub(crate) unsafe extern "C" fn otherwise(clock: u32, time: *mut Timespec) -> i32 {
    let least = match Id::new(clock).map(by_page) {
        Some(Answer::Time(now)) => {
            // SAFETY: the caller vouches for the pointer.
            unsafe { time.write(Timespec::new(now)) };
            return 0;
        }
        Some(Answer::AtLeast(least)) => Some(Timespec::new(least)),
        Some(Answer::None) | None => None,
    };
    // SAFETY: the caller vouches for the pointer.
    let result = unsafe { kernel(clock, time) };
    if let (0, Some(least)) = (result, least) {
        // SAFETY: the kernel has written there.
        unsafe { *time = (*time).max(least) };
    }
    result
}

/// The answer of the page for a clock.
fn by_page(id: Id) -> Answer {
    let mut answer = Answer::None;
    // At first the hint, so that the counter is read before the record, between which no order is
    // needed (`vdsokit_clock`). A publisher may have died before it stored the hint.
    let mut source = id.source();
    // More tries than a publisher can spoil by publishing in between.
    for _ in 0..4 {
        let kernel_clock = match Source::from_word(source) {
            Source::KernelClock(clock) => Some(u32::from(clock)),
            Source::KernelMoved => Some(id.number()),
            _ => None,
        };
        let ticks = match (kernel_clock, source as u8) {
            (Some(clock), _) => match kernel_nanoseconds(clock) {
                Some(nanoseconds) => nanoseconds,
                None => return Answer::None,
            },
            (_, Source::COUNTER) => arch::counter(),
            (_, Source::READS) => link::count_read(),
            (_, Source::FIXED) => 0,
            // An unknown source is the system call.
            _ => return Answer::None,
        };
        answer = id.read(|copy| read(copy, source, ticks));
        if let Answer::Time(_) = answer {
            break;
        }
        source = id.read(|copy| copy.word(Record::SOURCE));
    }
    answer
}

/// The answer of a record at `ticks`, provided that its source is still this one. The lines may
/// have changed places: that is not another source.
#[inline(always)]
fn read(copy: vdsokit_vvar::latch::Copy<'_>, source: u64, ticks: u64) -> Answer {
    if (copy.word(Record::SOURCE) ^ source) & !Source::FORMER_FIRST != 0 {
        return Answer::None;
    }
    Record::read(|at| copy.word(at), ticks)
}

/// The kernel's time of a clock: from its own vDSO where that is linked, else by
/// system call.
///
/// # Safety
/// `time` is what `clock_gettime(2)` takes.
#[inline(never)]
pub(crate) unsafe extern "C" fn kernel(clock: u32, time: *mut Timespec) -> i32 {
    if let Some(kernel) = link::clock_gettime() {
        return kernel(clock, time);
    }
    // SAFETY: the caller vouches for the pointer, and the kernel checks it.
    unsafe {
        arch::system_call(
            arch::number::CLOCK_GETTIME,
            [clock as usize, time.expose_provenance(), 0],
        ) as i32
    }
}

/// The kernel's resolution of a clock: 0 and `*resolution`, which
/// may be null, or a negative number of errno.h.
///
/// # Safety
/// `resolution` is what `clock_getres(2)` takes.
#[inline(always)]
pub unsafe fn clock_getres(clock: u32, resolution: *mut Timespec) -> i32 {
    if let Some(kernel) = link::clock_getres() {
        return kernel(clock, resolution);
    }
    // SAFETY: the caller vouches for the pointer, and the kernel checks it.
    unsafe {
        arch::system_call(
            arch::number::CLOCK_GETRES,
            [clock as usize, resolution.expose_provenance(), 0],
        ) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdsokit_clock::{Line, Moment, Rate};
    use vdsokit_vvar::latch::{self, Latch, Word};

    /// Readers that met a new record on their last try got the kernel's time unraised, which was
    /// less than what readers of that record had got.
    #[test]
    fn the_end_of_a_record_whose_lines_have_changed_places_is_known() {
        let line = |start, length, seconds| Line {
            start,
            length,
            rate: Rate::FROZEN,
            base: Moment::from_seconds(seconds),
        };
        let record = Record {
            source: Source::Counter { monotonic: true },
            current: line(30, 10, 7),
            former: line(10, 20, 6),
            ..Record::SYSTEM_CALL
        };
        let words = record.to_words();
        assert_ne!(words[Record::SOURCE], record.source.to_word());
        let latched: [Word; latch::size_of(Record::WORDS * 8) / 8] = core::array::from_fn(|at| {
            Word::new(at.checked_sub(1).map_or(0, |at| words[at % Record::WORDS]))
        });
        let answer = Latch::new(&latched)
            .unwrap()
            .read(|copy| read(copy, record.source.to_word(), 55));
        assert_eq!(answer, Answer::AtLeast((7, 0)));
    }
}
