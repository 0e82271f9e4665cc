//! `clock_gettime` and `clock_getres`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::page::{Id, lines, on_line};
use crate::{arch, link};
use vdsokit_clock::{Line, NANOSECONDS, Record, Source, split};

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
    /// The time that is so many nanoseconds over a second.
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
/// `time` is what `clock_gettime(2)` takes. Where the page answers, a wrong
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

/// What one of the kernel's clocks says.
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

/// A fixed record's time: its line, the first, starts at tick 0, so that the
/// origin is the base.
#[inline(always)]
fn fixed(copy: vdsokit_vvar::latch::Copy<'_>) -> Timespec {
    Timespec {
        seconds: copy.word(Record::FIRST + Line::SECONDS) as i64,
        nanoseconds: copy.word(Record::FIRST + Line::ORIGIN) as i64,
    }
}

/// [`clock_gettime`] by whatever the page says.
///
/// # Safety
/// As there.
#[inline(never)]
pub(crate) unsafe extern "C" fn otherwise(clock: u32, time: *mut Timespec) -> i32 {
    let least = match Id::new(clock).map(by_page) {
        Some(Page::Time(seen)) => {
            // SAFETY: the caller vouches for the pointer.
            unsafe { time.write(seen) };
            return 0;
        }
        Some(Page::Promised(promised)) => promised,
        Some(Page::Nothing) | None => NEVER,
    };
    // SAFETY: the caller vouches for the pointer.
    let result = unsafe { kernel(clock, time) };
    if result == 0 && least != NEVER {
        // SAFETY: the kernel has written there.
        unsafe { *time = (*time).max(least) };
    }
    result
}

/// Before every time that there is.
const NEVER: Timespec = Timespec {
    seconds: i64::MIN,
    nanoseconds: 0,
};

/// What the page says of a clock.
#[derive(Default)]
enum Page {
    Time(Timespec),
    /// Not what time it is, but what time readers have been promised by the
    /// record that has no answer: the kernel's answer may not be less.
    ///
    /// It has to come from that very record. A newer one's promise lies ahead,
    /// and other readers are still on the way there.
    Promised(Timespec),
    /// Ask the kernel.
    #[default]
    Nothing,
}

/// What the page says of a clock.
fn by_page(id: Id) -> Page {
    let mut page = Page::Nothing;
    // The hint, at first: so that the counter is read before the record, for which there need be
    // no order between them (`vdsokit_clock`). A publisher may have died before it gave it.
    let mut source = id.source();
    // More tries than a publisher could spoil by publishing in between.
    for _ in 0..4 {
        let of_kernel = match Source::from_word(source) {
            Source::KernelClock(clock) => Some(u32::from(clock)),
            Source::KernelMoved => Some(id.number()),
            _ => None,
        };
        let ticks = match (of_kernel, source as u8) {
            (Some(clock), _) => match kernel_nanoseconds(clock) {
                Some(nanoseconds) => nanoseconds,
                None => return Page::Nothing,
            },
            (_, Source::COUNTER) => arch::counter(),
            (_, Source::READS) => link::count_read(),
            (_, Source::FIXED) => 0,
            // What is not known is the system call.
            _ => return Page::Nothing,
        };
        page = id.read(|copy| answer(copy, source, ticks));
        if let Page::Time(_) = page {
            break;
        }
        source = id.read(|copy| copy.word(Record::SOURCE));
    }
    page
}

/// What a record says at `ticks`, while its source is still this one.
#[inline(always)]
fn answer(copy: vdsokit_vvar::latch::Copy<'_>, source: u64, ticks: u64) -> Page {
    // Which line comes first may have changed, and the promise that the record makes is
    // still to be kept.
    if (copy.word(Record::SOURCE) ^ source) & !Source::FORMER_FIRST != 0 {
        return Page::Nothing;
    }
    if source as u8 == Source::FIXED {
        return Page::Time(fixed(copy));
    }
    if let Some(seen) = lines(copy, ticks) {
        return Page::Time(seen);
    }
    if source as u8 == Source::COUNTER && source & Source::ORDERED != 0 {
        return Page::Promised(promised(copy, ticks));
    }
    Page::Nothing
}

/// What readers of a record that has no answer at `ticks` may have been told.
fn promised(copy: vdsokit_vvar::latch::Copy<'_>, ticks: u64) -> Timespec {
    let (current, former) = Record::lines(copy.word(Record::SOURCE));
    let first = if copy.word(former + Line::LENGTH) == 0 {
        current
    } else {
        former
    };
    let start = copy.word(first + Line::START);
    if (ticks.wrapping_sub(start) as i64) < 0 {
        // The counter was read long ago, or has been reset: nobody can have been
        // told more than this without having read the counter later.
        return on_line(copy, first, start);
    }
    let word = |at| copy.word(current + at);
    let end = word(Line::START).wrapping_add(word(Line::LENGTH));
    on_line(copy, current, end)
}

/// The kernel's answer: from its own vDSO where that is linked, else by system
/// call.
///
/// # Safety
/// `time` is what `clock_gettime(2)` takes.
#[inline(never)]
pub(crate) unsafe fn kernel(clock: u32, time: *mut Timespec) -> i32 {
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

/// The resolution of a clock, as the kernel has it: 0 and `*resolution`, which
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
    use vdsokit_clock::{Moment, Rate};
    use vdsokit_vvar::latch::{self, Latch, Word};

    /// Readers who came late, and met a new record on their last try, were told the kernel's
    /// time, and that was less than what others had been promised.
    #[test]
    fn a_record_whose_lines_have_changed_places_keeps_its_promise() {
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
        let page = Latch::new(&latched)
            .unwrap()
            .read(|copy| answer(copy, record.source.to_word(), 1_000));
        match page {
            Page::Promised(promised) => {
                assert_eq!((promised.seconds, promised.nanoseconds), (7, 0))
            }
            _ => panic!("no promise"),
        }
    }
}
