//! `clock_gettime` and `clock_getres`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::page::Id;
use crate::{arch, link};
#[cfg(not(all(vdsokit_image, target_arch = "x86_64")))]
use vdsokit_clock::Line;
use vdsokit_clock::{Answer, NANOSECONDS, Record, Source, split};
use vdsokit_vvar::latch::Latch;

/// C's `struct timespec` on 64-bit Linux, and `struct __kernel_timespec` on every Linux.
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
#[inline(always)]
pub unsafe extern "C" fn clock_gettime(clock: u32, time: *mut Timespec) -> i32 {
    if let Some(id) = Id::new(clock) {
        // 32-bit processors have no instructions for the line's 128-bit arithmetic.
        if cfg!(target_pointer_width = "64")
            && let Some(now) = by_first_line(id)
        {
            // SAFETY: the caller vouches for the pointer.
            unsafe { time.write(now) };
            return 0;
        }
        if id.source() as u8 == Source::KERNEL
            && let Some(kernel) = link::clock_gettime()
        {
            return kernel(clock, time);
        }
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { otherwise(clock, time) }
}

/// The time of a clock with a counter in the most frequent case: the record's first line is valid, the
/// time is within the second of its base, and no record was published meanwhile. `None` in all others,
/// for which [`otherwise`] reads the record again.
#[cfg(not(all(vdsokit_image, target_arch = "x86_64")))]
#[inline(always)]
fn by_first_line(id: Id) -> Option<Timespec> {
    id.latch()?.try_read_some(|copy| {
        if copy.word(Record::SOURCE) as u8 != Source::COUNTER {
            return None;
        }
        let ticks = arch::counter();
        let line = first_line(copy.first_words()?);
        if ticks.wrapping_sub(line(Line::START)) >= line(Line::LENGTH) {
            return None;
        }
        let (seconds, nanoseconds) = Line::extend(line, ticks);
        (nanoseconds < NANOSECONDS).then_some(Timespec {
            seconds,
            nanoseconds: nanoseconds as i64,
        })
    })
}

#[cfg(target_arch = "aarch64")]
use arch::first_line;

/// The words of the first line of a record, each loaded when it is used.
#[cfg(not(any(target_arch = "aarch64", all(vdsokit_image, target_arch = "x86_64"))))]
#[inline(always)]
fn first_line(record: &[vdsokit_vvar::latch::Word; Record::WORDS]) -> impl Fn(usize) -> u64 {
    use core::sync::atomic::Ordering::Relaxed;
    |at| record[Record::FIRST + at].load(Relaxed)
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
    #[cfg(target_arch = "x86_64")]
    if let Some(now) = cpu_time(clock)
        && !time.is_null()
    {
        // SAFETY: the caller vouches for the pointer.
        unsafe { time.write(Timespec::new((0, now))) };
        return 0;
    }
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

/// The nanoseconds of CPU time by a clock of the running task; `None` for other clocks, and where no
/// page of the running task is linked.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn cpu_time(clock: u32) -> Option<u64> {
    // include/uapi/linux/time.h.
    const PROCESS: u32 = 2;
    const THREAD: u32 = 3;
    match clock {
        PROCESS => Some(link::cpu_clocks()?.process()),
        THREAD => Some(link::cpu_clocks()?.thread()),
        _ => None,
    }
}

/// The answer of the page for a clock.
fn by_page(id: Id) -> Answer {
    id.latch().map_or(Answer::None, |latch| {
        answer(latch, id.source(), |source| ticks(id, source))
    })
}

/// The ticks of a source now; `None` where the time is the system call's.
#[inline(always)]
fn ticks(id: Id, source: u64) -> Option<u64> {
    match Source::from_word(source) {
        Source::KernelClock(clock) => kernel_nanoseconds(u32::from(clock)),
        Source::KernelMoved => kernel_nanoseconds(id.number()),
        Source::Counter { .. } => Some(arch::counter()),
        Source::Reads => Some(link::count_read()),
        Source::Fixed => Some(0),
        Source::SystemCall | Source::Kernel => None,
    }
}

/// The answer of a record whose source is probably `hint`, at the present `ticks` of a source.
#[inline(always)]
fn answer(latch: Latch<'_>, hint: u64, ticks: impl Fn(u64) -> Option<u64>) -> Answer {
    // The counter is read first and the record meanwhile: a line that is valid gives the right
    // time in either order (`vdsokit_clock::Timekeeper`).
    if hint as u8 == Source::COUNTER
        && let Some(ticks) = ticks(hint)
    {
        let early = latch.read(|copy| match copy.word(Record::SOURCE) as u8 {
            Source::COUNTER => Record::read(|at| copy.word(at), ticks),
            _ => Answer::None,
        });
        if let Answer::Time(_) = early {
            return early;
        }
    }
    // Any other answer needs the counter of a time when the record was already published. A thread
    // that is interrupted after it has read the counter may meet a record that starts later, and
    // ticks before its lines look like another boot's: the system call's result would not be
    // raised, and would be less than what this thread was given before. Here the latch's sequence
    // number, which selects the record, is loaded before the counter is read.
    latch.read(|copy| match ticks(copy.word(Record::SOURCE)) {
        Some(ticks) => Record::read(|at| copy.word(at), ticks),
        None => Answer::None,
    })
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
    use core::cell::Cell;
    use vdsokit_clock::{Line, Moment, Rate};
    use vdsokit_vvar::latch::{self, LatchWriter, Word};

    const WORDS: usize = latch::size_of(Record::WORDS * 8) / 8;

    fn line(start: u64, length: u64, seconds: i64) -> Line {
        Line {
            start,
            length,
            rate: Rate::FROZEN,
            base: Moment::from_seconds(seconds),
        }
    }

    fn record(former: Line, current: Line) -> Record {
        Record {
            source: Source::Counter { monotonic: true },
            current,
            former,
            ..Record::SYSTEM_CALL
        }
    }

    fn write(words: &[Word; WORDS], record: &Record) {
        LatchWriter::new(Latch::new(words).unwrap())
            .write(|copy| copy.set_words(&record.to_words()));
    }

    /// Readers that met a new record on their last try got the kernel's time unraised, which was
    /// less than what readers of that record had got.
    #[test]
    fn the_end_of_a_record_whose_lines_have_changed_places_is_known() {
        let record = record(line(10, 20, 6), line(30, 10, 7));
        let hint = record.source.to_word();
        assert_ne!(record.to_words()[Record::SOURCE], hint);
        let words = [const { Word::new(0) }; WORDS];
        write(&words, &record);
        let answer = answer(Latch::new(&words).unwrap(), hint, |_| Some(55));
        assert_eq!(answer, Answer::AtLeast((7, 0)));
    }

    /// After a record's end, a reader that was interrupted between reading the counter and reading
    /// a record that was published meanwhile took it for another boot's, and got the kernel's time
    /// unraised.
    #[test]
    fn a_counter_read_before_the_record_was_published_is_read_again() {
        let hint = Source::Counter { monotonic: true }.to_word();
        for interruptions in 1..20 {
            let words = [const { Word::new(0) }; WORDS];
            write(&words, &record(Line::NONE, line(0, 10, 1)));
            let (reads, counter) = (Cell::new(0), Cell::new(50));
            let answer = answer(Latch::new(&words).unwrap(), hint, |_| {
                let ticks = counter.get();
                if reads.replace(reads.get() + 1) < interruptions {
                    // The next record has ended too when the reader continues.
                    counter.set(ticks + 100);
                    write(
                        &words,
                        &record(Line::NONE, line(ticks + 50, 10, ticks as i64)),
                    );
                }
                Some(ticks)
            });
            let last = 50 + 100 * (interruptions - 1);
            assert_eq!(answer, Answer::AtLeast((last, 0)), "{interruptions}");
        }
    }

    /// The counter of another boot stays before the lines however often it is read.
    #[test]
    fn a_counter_that_is_before_the_lines_of_a_record_raises_nothing() {
        let words = [const { Word::new(0) }; WORDS];
        let record = record(line(1_000, 20, 864_000), line(1_020, 10, 864_001));
        write(&words, &record);
        let latch = Latch::new(&words).unwrap();
        let answer = answer(latch, record.source.to_word(), |_| Some(999));
        assert_eq!(answer, Answer::None);
    }
}
