//! The table of calls that read and set file times.

use vdsokit_clock::NANOSECONDS;

use super::Mapping;
use crate::arch::number::*;
use crate::call::{Call, Numbers};
use crate::course::Nanoseconds;
use crate::filter::{Condition, Rule};

/// A call about file times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCall {
    /// It leaves them in a structure at the address.
    Read(u64, Layout),
    /// It sets them.
    Set(Set),
    /// It sets them by a call of 32-bit programs, and a filter of the program's own may forbid the one by
    /// which they would be set.
    Unconverted,
}

/// The structure in which a call leaves file times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `struct stat`, whose times lie the same on x86-64 and AArch64.
    Stat,
    /// `struct statx`.
    Statx,
    /// `struct stat` of 32-bit programs on x86-64.
    #[cfg(target_arch = "x86_64")]
    Narrow,
    /// Their `struct stat64`, whose times have 32 bits too.
    #[cfg(target_arch = "x86_64")]
    Narrow64,
}

/// Bits of `stx_mask`: which of the times a structure has (include/uapi/linux/stat.h).
const STATX_ATIME: u32 = 0x20;
const STATX_MTIME: u32 = 0x40;
const STATX_CTIME: u32 = 0x80;
const STATX_BTIME: u32 = 0x800;
/// The structure has the time always.
const ALWAYS: u32 = u32::MAX;

impl Layout {
    /// Where its times begin, each with the bits one of which says that it is there.
    fn times(self) -> &'static [(usize, u32)] {
        match self {
            Layout::Stat => &[(72, ALWAYS), (88, ALWAYS), (104, ALWAYS)],
            Layout::Statx => &[
                (64, STATX_ATIME),
                (80, STATX_BTIME),
                (96, STATX_CTIME),
                (112, STATX_MTIME),
            ],
            #[cfg(target_arch = "x86_64")]
            Layout::Narrow => &[(32, ALWAYS), (40, ALWAYS), (48, ALWAYS)],
            #[cfg(target_arch = "x86_64")]
            Layout::Narrow64 => &[(64, ALWAYS), (72, ALWAYS), (80, ALWAYS)],
        }
    }

    /// Bytes of a time: as many of seconds as of nanoseconds.
    fn size(self) -> usize {
        match self {
            Layout::Stat | Layout::Statx => 16,
            #[cfg(target_arch = "x86_64")]
            Layout::Narrow | Layout::Narrow64 => 8,
        }
    }

    /// The bytes of the structure that [`show`](Self::show) takes: up to the end of its last time.
    pub fn length(self) -> usize {
        self.times().last().map_or(0, |(at, _)| at + self.size())
    }

    /// Where the first time begins.
    pub fn first(self) -> usize {
        self.times().first().map_or(0, |(at, _)| *at)
    }

    /// Converts the times of the structure that begins with `bytes`. Seconds of 32 bits are truncated, as
    /// the kernel does (fs/stat.c, `cp_compat_stat`).
    pub fn show(self, bytes: &mut [u8], mapping: &Mapping) {
        let mask = match self {
            Layout::Statx => word32(bytes, 0) as u32,
            _ => ALWAYS,
        };
        let half = self.size() / 2;
        for &(at, _) in self.times().iter().filter(|(_, bit)| mask & bit != 0) {
            let seconds = match half {
                4 => i64::from(word32(bytes, at)),
                _ => word64(bytes, at),
            };
            // `stx_mtime.tv_nsec` has 32 bits, and zeros behind it.
            let part = word32(bytes, at + half);
            let (seconds, part) = split(mapping.shown(joined(seconds, part.into())));
            put(bytes, at, half, seconds);
            put(bytes, at + half, half, part);
        }
    }
}

/// A call that sets file times, and how it is made with converted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The address of the times that the program gives.
    pub given: u64,
    form: Form,
    /// The call to make, in which argument `frame` is to be the address of the converted times.
    pub made: Call,
    /// See `made`.
    pub frame: usize,
    made_form: Form,
}

/// How a call is given the times of access and modification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Two `struct timespec`.
    Timespec,
    /// The same of 32-bit programs: the upper halves of their nanoseconds are padding
    /// (kernel/time/time.c, `get_timespec64`).
    #[cfg(target_arch = "x86_64")]
    PaddedTimespec,
    /// Two `struct timeval`.
    Timeval,
    /// `struct utimbuf`.
    Seconds,
    /// Two `struct timespec` with numbers of 32 bits.
    #[cfg(target_arch = "x86_64")]
    Timespec32,
    /// Two `struct timeval` with numbers of 32 bits.
    #[cfg(target_arch = "x86_64")]
    Timeval32,
    /// `struct utimbuf` with numbers of 32 bits.
    #[cfg(target_arch = "x86_64")]
    Seconds32,
}

/// Nanoseconds of a time that is to become the present, and of one that is to stay (utimensat(2)).
const UTIME_NOW: i64 = (1 << 30) - 1;
const UTIME_OMIT: i64 = (1 << 30) - 2;

impl Set {
    /// Bytes of the times that the program gives.
    pub fn length(&self) -> usize {
        match self.form {
            Form::Timespec | Form::Timeval => 32,
            Form::Seconds => 16,
            #[cfg(target_arch = "x86_64")]
            Form::PaddedTimespec => 32,
            #[cfg(target_arch = "x86_64")]
            Form::Timespec32 | Form::Timeval32 => 16,
            #[cfg(target_arch = "x86_64")]
            Form::Seconds32 => 8,
        }
    }

    /// What the made call is given for the times in `bytes`. Rounded up where its times are coarser than
    /// nanoseconds, so that what is read is not before what was set. `None`: they are none, and the
    /// kernel says so.
    pub fn convert(&self, bytes: &[u8], mapping: &Mapping) -> Option<[i64; 4]> {
        let wide = |at| word64(bytes, at);
        let words = match self.form {
            Form::Timespec | Form::Timeval => [wide(0), wide(8), wide(16), wide(24)],
            Form::Seconds => [wide(0), 0, wide(8), 0],
            #[cfg(target_arch = "x86_64")]
            Form::PaddedTimespec => {
                let part = |at| i64::from(word32(bytes, at));
                [wide(0), part(8), wide(16), part(24)]
            }
            #[cfg(target_arch = "x86_64")]
            Form::Timespec32 | Form::Timeval32 => {
                [0, 4, 8, 12].map(|at| i64::from(word32(bytes, at)))
            }
            #[cfg(target_arch = "x86_64")]
            Form::Seconds32 => [word32(bytes, 0).into(), 0, word32(bytes, 4).into(), 0],
        };
        let unit = match self.form {
            Form::Timeval => 1000,
            #[cfg(target_arch = "x86_64")]
            Form::Timeval32 => 1000,
            _ => 1,
        };
        let one = |seconds: i64, part: i64| match part {
            // The seconds are ignored.
            UTIME_NOW | UTIME_OMIT if unit == 1 => Some([0, part]),
            _ if (0..NANOSECONDS as i64 / unit).contains(&part) => Some(
                self.made_form
                    .put(mapping.real(joined(seconds, part * unit))),
            ),
            _ => None,
        };
        let [access, access_part] = one(words[0], words[1])?;
        let [modification, modification_part] = one(words[2], words[3])?;
        Some(match self.made_form {
            Form::Seconds => [access, modification, 0, 0],
            _ => [access, access_part, modification, modification_part],
        })
    }
}

impl Form {
    /// The words of one time.
    fn put(self, real: Nanoseconds) -> [i64; 2] {
        let round = |unit: Nanoseconds| real + (-real).rem_euclid(unit);
        let (seconds, part) = match self {
            Form::Timeval => {
                let (seconds, part) = split(round(1000));
                (seconds, part / 1000)
            }
            Form::Seconds => split(round(NANOSECONDS.into())),
            _ => split(real),
        };
        [seconds, part]
    }
}

/// What a call about file times does: the argument of its structure, and the form of that.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Read(usize, Layout),
    Set(usize, Form),
}

const CALLS: [(u32, Kind); 9] = [
    (STAT, Kind::Read(1, Layout::Stat)),
    (LSTAT, Kind::Read(1, Layout::Stat)),
    (FSTAT, Kind::Read(1, Layout::Stat)),
    (NEWFSTATAT, Kind::Read(2, Layout::Stat)),
    (STATX, Kind::Read(4, Layout::Statx)),
    (UTIME, Kind::Set(1, Form::Seconds)),
    (UTIMES, Kind::Set(1, Form::Timeval)),
    (FUTIMESAT, Kind::Set(2, Form::Timeval)),
    (UTIMENSAT, Kind::Set(2, Form::Timespec)),
];

/// The calls of 32-bit programs on x86-64 (arch/x86/entry/syscalls/syscall_32.tbl), but for the ones before
/// Linux 2.0: 18, 28 and 84.
#[cfg(target_arch = "x86_64")]
const CALLS_I386: [(u32, Kind); 13] = [
    (106, Kind::Read(1, Layout::Narrow)),
    (107, Kind::Read(1, Layout::Narrow)),
    (108, Kind::Read(1, Layout::Narrow)),
    (195, Kind::Read(1, Layout::Narrow64)),
    (196, Kind::Read(1, Layout::Narrow64)),
    (197, Kind::Read(1, Layout::Narrow64)),
    (300, Kind::Read(2, Layout::Narrow64)),
    (383, Kind::Read(4, Layout::Statx)),
    (30, Kind::Set(1, Form::Seconds32)),
    (271, Kind::Set(1, Form::Timeval32)),
    (299, Kind::Set(2, Form::Timeval32)),
    (UTIMENSAT_I386, Kind::Set(2, Form::Timespec32)),
    (UTIMENSAT_TIME64, Kind::Set(2, Form::PaddedTimespec)),
];

/// `utimensat` of 32-bit programs, and the one with 64-bit times, by which all their times are set.
#[cfg(target_arch = "x86_64")]
const UTIMENSAT_I386: u32 = 320;
#[cfg(target_arch = "x86_64")]
const UTIMENSAT_TIME64: u32 = 412;

/// The rules of a filter that hands these calls over. One that sets the present time is the kernel's.
pub fn rules() -> Vec<Rule> {
    CALLS.iter().map(rule).collect()
}

/// The rules for the calls of 32-bit programs.
#[cfg(target_arch = "x86_64")]
pub fn rules_i386() -> Vec<Rule> {
    CALLS_I386.iter().map(rule).collect()
}

/// What is in the sixth argument of an fstat(2) that belongs to the delivery of an object, and is not
/// handed over: it is made while the supervisor waits for its end. That call has two arguments, and
/// others leave there what they will.
pub const DELIVERY: u32 = u32::from_le_bytes(*b"vdso");

fn rule(&(number, kind): &(u32, Kind)) -> Rule {
    let conditions = match kind {
        Kind::Read(..) if number == FSTAT => vec![Condition::Not(5, DELIVERY)],
        Kind::Read(..) => vec![],
        Kind::Set(times, _) => vec![Condition::NotZero(times)],
    };
    Rule {
        number,
        alternatives: vec![conditions],
    }
}

/// What a call that was handed over is. `None`: it is none about file times.
pub fn decode(call: &Call, numbers: Numbers) -> Option<FileCall> {
    let kind = find(&CALLS, call)?;
    Some(match (kind, numbers) {
        (Kind::Read(structure, layout), _) => FileCall::Read(call.arguments[structure], layout),
        (Kind::Set(times, form), Numbers::Finest) => {
            let flags = match call.number {
                UTIMENSAT => call.arguments[3],
                _ => 0,
            };
            FileCall::Set(finest(
                call,
                times,
                form,
                flags,
                (UTIMENSAT, Form::Timespec),
            ))
        }
        (Kind::Set(times, form), Numbers::Own) => FileCall::Set(Set {
            given: call.arguments[times],
            form,
            made: *call,
            frame: times,
            made_form: form,
        }),
    })
}

/// The same of a 32-bit program.
#[cfg(target_arch = "x86_64")]
pub fn decode_i386(call: &Call, numbers: Numbers) -> Option<FileCall> {
    Some(match (find(&CALLS_I386, call)?, numbers) {
        (Kind::Read(structure, layout), _) => FileCall::Read(call.arguments[structure], layout),
        (Kind::Set(..), Numbers::Own) if call.number != UTIMENSAT_TIME64 => FileCall::Unconverted,
        (Kind::Set(times, form), _) => {
            let flags = match call.number {
                UTIMENSAT_I386 | UTIMENSAT_TIME64 => call.arguments[3],
                _ => 0,
            };
            let made = (UTIMENSAT_TIME64, Form::PaddedTimespec);
            FileCall::Set(finest(call, times, form, flags, made))
        }
    })
}

fn find(calls: &[(u32, Kind)], call: &Call) -> Option<Kind> {
    let mut calls = calls.iter();
    let (_, kind) = calls.find(|(number, _)| *number == call.number)?;
    Some(*kind)
}

/// A call that sets times, made by utimensat(2): the path is the argument before the times, and before
/// that is the directory, if it has one.
fn finest(
    call: &Call,
    times: usize,
    form: Form,
    flags: u64,
    (number, made_form): (u32, Form),
) -> Set {
    let directory = match times {
        1 => libc::AT_FDCWD as u64,
        _ => call.arguments[0],
    };
    Set {
        given: call.arguments[times],
        form,
        made: Call {
            number,
            arguments: [directory, call.arguments[times - 1], 0, flags, 0, 0],
        },
        frame: 2,
        made_form,
    }
}

/// Nanoseconds since 1970.
fn joined(seconds: i64, part: i64) -> Nanoseconds {
    Nanoseconds::from(seconds) * Nanoseconds::from(NANOSECONDS) + Nanoseconds::from(part)
}

/// Seconds and nanoseconds of a time; the seconds as near as they get.
fn split(time: Nanoseconds) -> (i64, i64) {
    let second = Nanoseconds::from(NANOSECONDS);
    let seconds = time.div_euclid(second);
    let seconds = seconds.clamp(i64::MIN.into(), i64::MAX.into());
    (seconds as i64, time.rem_euclid(second) as i64)
}

fn word32(bytes: &[u8], at: usize) -> i32 {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    word.map_or(0, |word| i32::from_ne_bytes(*word))
}

fn word64(bytes: &[u8], at: usize) -> i64 {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    word.map_or(0, |word| i64::from_ne_bytes(*word))
}

/// Stores the lower `size` bytes of a word; both architectures are little-endian.
fn put(bytes: &mut [u8], at: usize, size: usize, word: i64) {
    if let Some(place) = bytes.get_mut(at..at + size) {
        place.copy_from_slice(&word.to_le_bytes()[..size]);
    }
}

#[cfg(test)]
mod tests;
