use super::*;
use crate::call::{self, Scope};
use crate::filter::{Exempt, Foreign, Refused, filter, verdict};
use crate::{AUDIT, CLOCK_SETTERS, OTHER_EXECS};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF};

const YEAR: Nanoseconds = 31_536_000 * NANOSECONDS as Nanoseconds;

fn set(call: &Call, numbers: Numbers) -> Set {
    match decode(call, numbers) {
        Some(FileCall::Set(set)) => set,
        other => panic!("{other:?}"),
    }
}

fn bytes(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn the_layouts_are_those_of_the_c_library() {
    use std::mem::offset_of;
    let stat = [
        offset_of!(libc::stat, st_atime),
        offset_of!(libc::stat, st_mtime),
        offset_of!(libc::stat, st_ctime),
    ];
    assert_eq!(Layout::Stat.times(), stat.map(|at| (at, ALWAYS)));
    let statx = [
        (offset_of!(libc::statx, stx_atime), libc::STATX_ATIME),
        (offset_of!(libc::statx, stx_btime), libc::STATX_BTIME),
        (offset_of!(libc::statx, stx_ctime), libc::STATX_CTIME),
        (offset_of!(libc::statx, stx_mtime), libc::STATX_MTIME),
    ];
    assert_eq!(Layout::Statx.times(), statx);
    assert_eq!(offset_of!(libc::statx, stx_mask), 0);
}

/// A supervisor reads and writes no more of the structure than this.
#[test]
fn a_structure_is_converted_from_its_first_time_to_the_end_of_its_last() {
    let lengths = |layout: Layout| (layout.first(), layout.length());
    assert_eq!(lengths(Layout::Stat), (72, 120));
    assert_eq!(lengths(Layout::Statx), (64, 128));
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(lengths(Layout::Narrow), (32, 56));
        assert_eq!(lengths(Layout::Narrow64), (64, 88));
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn every_time_of_every_layout_is_converted_to_the_nanosecond() {
    let mapping = Mapping::Moved(10 * Nanoseconds::from(NANOSECONDS) + 7);
    for layout in [
        Layout::Stat,
        Layout::Statx,
        Layout::Narrow,
        Layout::Narrow64,
    ] {
        let mut structure = vec![0; layout.length()];
        if layout == Layout::Statx {
            structure[..4].fill(0xff);
        }
        let half = layout.size() / 2;
        for (at, _) in layout.times() {
            structure[*at] = 100;
            structure[*at + half] = 5;
        }
        layout.show(&mut structure, &mapping);
        for (at, _) in layout.times() {
            let found = (word32(&structure, *at), word32(&structure, at + half));
            assert_eq!(found, (110, 12), "{layout:?} {at}");
        }
    }
}

#[test]
fn only_times_that_a_structure_has_are_converted() {
    let mut structure = vec![0; Layout::Statx.length()];
    structure[..4].copy_from_slice(&(STATX_MTIME | 1).to_ne_bytes());
    Layout::Statx.show(&mut structure, &Mapping::Moved(YEAR));
    assert_eq!(word64(&structure, 112), 31_536_000);
    assert_eq!(word64(&structure, 64), 0);
    assert_eq!(word64(&structure, 80), 0);
}

#[test]
fn times_before_1970_have_positive_parts() {
    let mut structure = vec![0; Layout::Stat.length()];
    Layout::Stat.show(&mut structure, &Mapping::Moved(-1));
    assert_eq!(
        (word64(&structure, 72), word64(&structure, 80)),
        (-1, 999_999_999)
    );
}

#[test]
fn the_present_and_times_that_stay_are_the_kernels_to_set() {
    let call = Call {
        number: UTIMENSAT,
        arguments: [3, 0, 8, 0, 0, 0],
    };
    for numbers in [Numbers::Finest, Numbers::Own] {
        let set = set(&call, numbers);
        let given = bytes(&[77, UTIME_NOW, 77, UTIME_OMIT]);
        let made = set.convert(&given, &Mapping::Moved(YEAR));
        assert_eq!(made, Some([0, UTIME_NOW, 0, UTIME_OMIT]));
        let given = bytes(&[0, 0, 0, 1_000_000_000]);
        assert_eq!(set.convert(&given, &Mapping::Moved(YEAR)), None);
        assert_eq!(set.made.arguments[..2], [3, 0]);
        assert_eq!(set.length(), 32);
    }
    // Its flags, such as AT_SYMLINK_NOFOLLOW.
    let call = Call {
        arguments: [3, 0, 8, 256, 0, 0],
        ..call
    };
    assert_eq!(set(&call, Numbers::Finest).made.arguments[3], 256);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn older_calls_are_made_with_nanoseconds_or_rounded_up() {
    let call = Call {
        number: UTIME,
        arguments: [16, 8, 77, 77, 77, 77],
    };
    // Time is ahead by a part of a second.
    let mapping = Mapping::Moved(10 * Nanoseconds::from(NANOSECONDS) + 400_000_000);
    let given = bytes(&[100, 200]);
    let finest = set(&call, Numbers::Finest);
    assert_eq!(finest.made.number, UTIMENSAT);
    let here = libc::AT_FDCWD as u64;
    assert_eq!(finest.made.arguments, [here, 16, 0, 0, 0, 0]);
    let made = finest.convert(&given, &mapping);
    assert_eq!(made, Some([89, 600_000_000, 189, 600_000_000]));
    let own = set(&call, Numbers::Own);
    assert_eq!((own.made, own.frame), (call, 1));
    assert_eq!(own.convert(&given, &mapping), Some([90, 190, 0, 0]));
    let call = Call {
        number: UTIMES,
        ..call
    };
    let own = set(&call, Numbers::Own);
    let given = bytes(&[100, 999_999, 200, 0]);
    let mapping = Mapping::Moved(1);
    let made = own.convert(&given, &mapping);
    assert_eq!(made, Some([100, 999_999, 200, 0]));
    assert_eq!(own.length(), 32);
    let invalid = bytes(&[100, 1_000_000, 200, 0]);
    assert_eq!(own.convert(&invalid, &mapping), None);
    // Microseconds have no number for the present.
    let invalid = bytes(&[100, UTIME_NOW, 200, UTIME_OMIT]);
    assert_eq!(own.convert(&invalid, &mapping), None);
    // A nanosecond more is a whole microsecond.
    let whole = bytes(&[100, 0, 200, 5]);
    let made = own.convert(&whole, &Mapping::Moved(-1));
    assert_eq!(made, Some([100, 1, 200, 6]));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn times_of_32_bits_are_read_and_set() {
    let narrow: Vec<u8> = [1000i32, 5, 2000, 6]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let call = |number| Call {
        number,
        arguments: [3, 16, 8, 256, 0, 0],
    };
    let set = |number, numbers| match decode_i386(&call(number), numbers) {
        Some(FileCall::Set(set)) => Some(set),
        Some(FileCall::Unconverted) => None,
        other => panic!("{other:?}"),
    };
    let times = set(320, Numbers::Finest).expect("it is converted");
    assert_eq!(times.made.number, 412);
    assert_eq!(times.made.arguments, [3, 16, 0, 256, 0, 0]);
    let second = Nanoseconds::from(NANOSECONDS);
    let made = times.convert(&narrow, &Mapping::Moved(10 * second));
    assert_eq!(made, Some([990, 5, 1990, 6]));
    assert_eq!(set(320, Numbers::Own), None);
    assert!(set(412, Numbers::Own).is_some());
    let padded = bytes(&[1000, 5 | 7 << 32, 2000, UTIME_OMIT]);
    let times = set(412, Numbers::Finest).expect("it is converted");
    let made = times.convert(&padded, &Mapping::Moved(second));
    assert_eq!(made, Some([999, 5, 0, UTIME_OMIT]));
    let lengths = [30, 271, 299, 320, 412].map(|number| set(number, Numbers::Finest));
    let lengths = lengths.map(|set| set.expect("it is converted").length());
    assert_eq!(lengths, [8, 16, 16, 16, 32]);
    // Microseconds.
    let times = set(271, Numbers::Finest).expect("it is converted");
    let made = times.convert(&narrow, &Mapping::Moved(second));
    assert_eq!(made, Some([999, 5000, 1999, 6000]));
    let mut structure = vec![0; Layout::Narrow64.length()];
    structure[72..76].copy_from_slice(&1_700_000_000i32.to_ne_bytes());
    Layout::Narrow64.show(&mut structure, &Mapping::Moved(-YEAR));
    assert_eq!(word32(&structure, 72), 1_700_000_000 - 31_536_000);
    assert_eq!(word32(&structure, 64), -31_536_000);
}

/// All rules of a run at once: jumps within the filter reach 255 instructions far.
#[test]
fn these_calls_are_handed_over_but_from_the_gate() {
    let exempt = Exempt {
        gate: 0x5000_0000..0x5000_1000,
        report: 0x5000_0102,
    };
    let mut all = call::rules(Scope::All);
    all.extend(rules());
    all.extend([EXECVE, EXECVEAT, GETTIMEOFDAY, TIME].map(Rule::always));
    all.extend([CLOCK_SETTIME, SETTIMEOFDAY, ADJTIMEX, CLOCK_ADJTIME].map(Rule::always));
    let clocks = (0..8).map(|clock| vec![Condition::Bits(0, u32::MAX, clock)]);
    all.push(Rule {
        number: CLOCK_GETTIME,
        alternatives: clocks.collect(),
    });
    let refused = Refused {
        calls: &CLOCK_SETTERS,
        error: 1,
    };
    #[cfg(target_arch = "x86_64")]
    let narrow = [crate::i386::rules(Scope::All), rules_i386()].concat();
    #[cfg(target_arch = "x86_64")]
    let foreign = Some(Foreign {
        architecture: crate::i386::AUDIT_I386,
        rules: &narrow,
        exempt: Some(&exempt),
    });
    #[cfg(not(target_arch = "x86_64"))]
    let foreign: Option<Foreign<'_>> = None;
    let code = filter(&all, &OTHER_EXECS, refused, Some(&exempt), foreign);
    let verdict_at = |architecture, number, pointer, arguments| {
        verdict(&code, architecture, number, pointer, arguments)
    };
    let check = |architecture, calls: &[(u32, Kind)]| {
        for &(number, kind) in calls {
            let outside = verdict_at(architecture, number, 0x1000, [8; 6]);
            assert_eq!(outside, SECCOMP_RET_USER_NOTIF, "{number}");
            let report = verdict_at(architecture, number, 0x5000_0102, [8; 6]);
            assert_eq!(report, SECCOMP_RET_USER_NOTIF, "{number}");
            let inside = verdict_at(architecture, number, 0x5000_0002, [8; 6]);
            assert_eq!(inside, SECCOMP_RET_ALLOW, "{number}");
            let present = verdict_at(architecture, number, 0x1000, [0; 6]);
            let is_read = matches!(kind, Kind::Read(..));
            assert_eq!(present == SECCOMP_RET_USER_NOTIF, is_read, "{number}");
        }
    };
    let has = |(number, _): &&(u32, Kind)| *number < u32::MAX / 2;
    let native: Vec<(u32, Kind)> = CALLS.iter().filter(has).copied().collect();
    check(AUDIT, &native);
    #[cfg(target_arch = "x86_64")]
    check(crate::i386::AUDIT_I386, &CALLS_I386);
}

/// It is made while the supervisor waits for its end.
#[test]
fn the_deliverys_own_fstat_is_not_handed_over_and_other_calls_with_its_mark_are() {
    let code = filter(&rules(), &[], Refused::default(), None, None);
    let of = |number, mark: u32| {
        let arguments = [3, 8, 8, 0, 0, mark.into()];
        verdict(&code, AUDIT, number, 0x1000, arguments)
    };
    assert_eq!(of(FSTAT, DELIVERY), SECCOMP_RET_ALLOW);
    assert_eq!(of(FSTAT, DELIVERY + 1), SECCOMP_RET_USER_NOTIF);
    assert_eq!(of(STATX, DELIVERY), SECCOMP_RET_USER_NOTIF);
    assert_eq!(of(NEWFSTATAT, DELIVERY), SECCOMP_RET_USER_NOTIF);
}
