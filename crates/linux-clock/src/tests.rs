//! The clock over pages of this test, laid out as no kernel's are.
#![allow(unsafe_code, reason = "pages are shared with another thread")]

extern crate std;

use crate::cpu::getcpu;
use crate::data::{DataPages, Page};
use crate::time::{Timespec, Timeval, Timezone, clock_getres, clock_gettime, gettimeofday, time};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use proptest::prelude::*;
use std::boxed::Box;
use std::vec::Vec;

/// What a kernel's make would generate; the numbers are of no kernel.
pub(crate) mod facts {
    pub(crate) const MODE: usize = 0;
    pub(crate) const SEQUENCE: usize = 8;
    pub(crate) const MULT: usize = 16;
    pub(crate) const SHIFT: usize = 24;
    pub(crate) const CYCLE_LAST: usize = 32;
    pub(crate) const MAX_CYCLES: usize = 40;
    pub(crate) const MINUTES_WEST: usize = 48;
    pub(crate) const DST: usize = 56;
    pub(crate) const RESOLUTION: usize = 64;
    pub(crate) const BASE: usize = 72;
    pub(crate) const BASE_NANOSECONDS: usize = 0;
    pub(crate) const BASE_SECONDS: usize = 8;
    pub(crate) const BASE_SIZE: usize = 24;
    pub(crate) const OFFSET: usize = BASE;
    pub(crate) const OFFSET_NANOSECONDS: usize = 8;
    pub(crate) const OFFSET_SECONDS: usize = 0;
    pub(crate) const OFFSET_SIZE: usize = 16;
    pub(crate) const RAW: usize = 512;
    pub(crate) const MODE_TSC: u32 = 5;
    pub(crate) const MODE_PVCLOCK: u32 = 6;
    pub(crate) const MODE_HVCLOCK: u32 = 7;
    pub(crate) const MODE_TIME_NAMESPACE: u32 = 99;
    pub(crate) const CLOCKS: u32 = 16;
    pub(crate) const REALTIME: u32 = 0;
    pub(crate) const FINE_CLOCKS: u32 = 0b1011;
    pub(crate) const COARSE_CLOCKS: u32 = 1 << 5;
    pub(crate) const RAW_CLOCKS: u32 = 1 << 4;
    pub(crate) const COARSE_RESOLUTION: u32 = 4_000_000;
    pub(crate) const CALL_GETTIME: usize = 1000;
    pub(crate) const CALL_GETRES: usize = 1001;
    pub(crate) const CPU_BITS: u32 = 12;
    pub(crate) const CPU_MASK: u32 = 0xfff;
    pub(crate) const TIME_NAMESPACES: bool = true;
    pub(crate) const PVCLOCK: bool = true;
    pub(crate) const PV_VERSION: usize = 4;
    pub(crate) const PV_START: usize = 8;
    pub(crate) const PV_TIME: usize = 16;
    pub(crate) const PV_MULT: usize = 24;
    pub(crate) const PV_SHIFT: usize = 28;
    pub(crate) const PV_FLAGS: usize = 29;
    pub(crate) const PV_STABLE: u8 = 1;
    pub(crate) const HVCLOCK: bool = true;
    pub(crate) const HV_SEQUENCE: usize = 0;
    pub(crate) const HV_SCALE: usize = 8;
    pub(crate) const HV_OFFSET: usize = 16;
}

const MONOTONIC: u32 = 1;
const RAW: u32 = 4;
const COARSE: u32 = 5;
const NOBODYS: u32 = 2;
/// What the system call of these tests returns.
const EINVAL: isize = -22;

const WORDS: usize = 128;
type Words = [AtomicU64; WORDS];

/// Pages, a counter, and no kernel.
struct Machine {
    shown: Words,
    outside: Words,
    hypervisor: Words,
    tsc: AtomicU64,
}

impl Machine {
    fn new() -> Box<Self> {
        let words = || [const { AtomicU64::new(0) }; WORDS];
        let machine = Box::new(Self {
            shown: words(),
            outside: words(),
            hypervisor: words(),
            tsc: AtomicU64::new(0),
        });
        for part in [0, facts::RAW] {
            set(&machine.shown, part + facts::MODE, facts::MODE_TSC.into());
            set(&machine.shown, part + facts::MULT, 1);
            set(
                &machine.shown,
                part + facts::MAX_CYCLES,
                u64::from(u32::MAX),
            );
        }
        machine
    }

    /// The counter stands at this.
    fn at(&self, tsc: u64) -> &Self {
        self.tsc.store(tsc, Ordering::Relaxed);
        self
    }

    fn base(words: &Words, part: usize, clock: u32, seconds: u64, nanoseconds: u64) {
        let base = part + facts::BASE + clock as usize * facts::BASE_SIZE;
        set(words, base + facts::BASE_SECONDS, seconds);
        set(words, base + facts::BASE_NANOSECONDS, nanoseconds);
    }

    fn now(&self, clock: u32) -> (i64, i64) {
        let mut time = Timespec::default();
        // SAFETY: a pointer to a local variable.
        assert_eq!(unsafe { clock_gettime(self, clock, &raw mut time) }, 0);
        (time.seconds, time.nanoseconds)
    }

    /// Whether the page has no answer, so that the system call is made.
    fn makes_call(&self, clock: u32) -> bool {
        // SAFETY: the call of these tests does not look at it.
        unsafe { clock_gettime(self, clock, null_mut()) as isize == EINVAL }
    }

    /// In a time namespace: what was shown lies outside now, and the offset is shown.
    fn enter_namespace(&self, clock: u32, seconds: u64, nanoseconds: u64) {
        for (from, to) in self.shown.iter().zip(&self.outside) {
            to.store(from.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        for part in [0, facts::RAW] {
            set(&self.shown, part + facts::SEQUENCE, 1);
            set(
                &self.shown,
                part + facts::MODE,
                facts::MODE_TIME_NAMESPACE.into(),
            );
            let offset = part + facts::OFFSET + clock as usize * facts::OFFSET_SIZE;
            set(&self.shown, offset + facts::OFFSET_SECONDS, seconds);
            set(&self.shown, offset + facts::OFFSET_NANOSECONDS, nanoseconds);
        }
    }
}

fn set(words: &Words, offset: usize, value: u64) {
    words[offset / 8].store(value, Ordering::Relaxed);
}

fn page(words: &Words) -> Page {
    Page::at(words.as_ptr().cast())
}

// SAFETY: (1) the words live as long as the reference; (2) the facts above are within them and
// multiples of what is loaded; (3) this module stores atomically.
unsafe impl DataPages for &Machine {
    fn shown(self) -> Page {
        page(&self.shown)
    }
    fn outside(self) -> Page {
        page(&self.outside)
    }
    fn pvclock(self) -> Page {
        page(&self.hypervisor)
    }
    fn hvclock(self) -> Page {
        page(&self.hypervisor)
    }
    fn tsc(self) -> u64 {
        self.tsc.load(Ordering::Relaxed)
    }
    fn cpu_and_node(self) -> u32 {
        3 << facts::CPU_BITS | 7
    }
    unsafe fn call(self, number: usize, _: usize, _: usize) -> isize {
        assert!([facts::CALL_GETTIME, facts::CALL_GETRES].contains(&number));
        EINVAL
    }
}

#[test]
fn a_clock_is_its_base_and_the_ticks_since() {
    let machine = Machine::new();
    Machine::base(&machine.shown, 0, MONOTONIC, 10, 999_999_000 << 4);
    set(&machine.shown, facts::CYCLE_LAST, 1000);
    set(&machine.shown, facts::MULT, 32);
    set(&machine.shown, facts::SHIFT, 4);
    assert_eq!(machine.at(1100).now(MONOTONIC), (10, 999_999_200));
    assert_eq!(machine.at(1600).now(MONOTONIC), (11, 200));
}

#[test]
fn raw_and_coarse_clocks_have_their_own_bases() {
    let machine = Machine::new();
    Machine::base(&machine.shown, facts::RAW, RAW, 3, 5);
    Machine::base(&machine.shown, 0, COARSE, 4, 6);
    assert_eq!(machine.at(100).now(RAW), (3, 105));
    assert_eq!(machine.at(100).now(COARSE), (4, 6));
}

#[test]
fn a_counter_behind_the_last_reading_is_that_reading() {
    let machine = Machine::new();
    Machine::base(&machine.shown, 0, MONOTONIC, 10, 77);
    set(&machine.shown, facts::CYCLE_LAST, 1000);
    assert_eq!(machine.at(999).now(MONOTONIC), (10, 77));
}

#[test]
fn ticks_that_would_overflow_do_not() {
    let machine = Machine::new();
    set(&machine.shown, facts::MULT, u64::from(u32::MAX));
    set(&machine.shown, facts::SHIFT, 32);
    let ticks = 1 << 61;
    let expected = (u128::from(u32::MAX) << 61) >> 32;
    let (seconds, nanoseconds) = machine.at(ticks).now(MONOTONIC);
    let seen = seconds as u128 * 1_000_000_000 + nanoseconds as u128;
    assert_eq!(seen, expected);
}

#[test]
fn what_the_page_does_not_tell_is_a_system_call() {
    let machine = Machine::new();
    for clock in [NOBODYS, facts::CLOCKS, 33, u32::MAX, 1 << 31] {
        assert!(machine.makes_call(clock), "{clock}");
    }
    for mode in [0, 4, facts::MODE_PVCLOCK, facts::MODE_HVCLOCK] {
        // An invalid hypervisor's page.
        set(&machine.shown, facts::MODE, mode.into());
        set(&machine.shown, facts::RAW + facts::MODE, mode.into());
        for clock in [facts::REALTIME, MONOTONIC, RAW] {
            assert!(machine.makes_call(clock), "mode {mode}, clock {clock}");
        }
    }
    let mut day = Timeval::default();
    // SAFETY: a pointer to a local variable, and a null pointer.
    let result = unsafe { gettimeofday(&*machine, &raw mut day, null_mut()) };
    assert_eq!(result as isize, EINVAL);
}

#[test]
fn a_time_namespace_has_its_offset() {
    let machine = Machine::new();
    Machine::base(&machine.shown, 0, MONOTONIC, 10, 999_999_999);
    Machine::base(&machine.shown, 0, COARSE, 20, 1);
    Machine::base(&machine.shown, facts::RAW, RAW, 30, 0);
    set(&machine.shown, facts::RESOLUTION, 1);
    set(&machine.shown, facts::MINUTES_WEST, 60);
    machine.enter_namespace(MONOTONIC, 5, 1);
    assert_eq!(machine.at(0).now(MONOTONIC), (16, 0));
    assert_eq!(machine.at(0).now(COARSE), (20, 1));
    machine.enter_namespace_again(RAW, (-40i64).cast_unsigned());
    assert_eq!(machine.at(9).now(RAW), (-10, 9));
    let mut zone = Timezone::default();
    let mut resolution = Timespec::default();
    // SAFETY: pointers to local variables, and a null pointer.
    unsafe {
        assert_eq!(gettimeofday(&*machine, null_mut(), &raw mut zone), 0);
        assert_eq!(clock_getres(&*machine, MONOTONIC, &raw mut resolution), 0);
    }
    assert_eq!((zone.minutes_west, resolution.nanoseconds), (60, 1));
}

/// Only a kernel that has not updated its page for long leaves more than two seconds of nanoseconds;
/// in a namespace the offset's are added.
#[test]
fn nanoseconds_of_many_seconds_are_carried() {
    let machine = Machine::new();
    for clock in [MONOTONIC, COARSE] {
        for (nanoseconds, expected) in [
            (999_999_999, (10, 999_999_999)),
            (1_000_000_000, (11, 0)),
            (1_999_999_999, (11, 999_999_999)),
            (2_000_000_000, (12, 0)),
            (7_000_000_003, (17, 3)),
        ] {
            Machine::base(&machine.shown, 0, clock, 10, nanoseconds);
            assert_eq!(machine.at(0).now(clock), expected, "{clock} {nanoseconds}");
        }
    }
    Machine::base(&machine.shown, 0, MONOTONIC, 10, 1_500_000_000);
    machine.enter_namespace(MONOTONIC, 5, 499_999_999);
    assert_eq!(machine.at(0).now(MONOTONIC), (16, 999_999_999));
    assert_eq!(machine.at(1).now(MONOTONIC), (17, 0));
}

/// In a time namespace the common case failed at its first load, and all was done again.
#[test]
fn a_clock_in_a_namespace_follows_the_kernels_page() {
    let machine = Machine::new();
    Machine::base(&machine.shown, 0, facts::REALTIME, 40, 5_000);
    machine.enter_namespace(MONOTONIC, 5, 0);
    assert_eq!(machine.at(7).now(MONOTONIC), (5, 7));
    Machine::base(&machine.outside, 0, MONOTONIC, 100, 0);
    assert_eq!(machine.at(7).now(MONOTONIC), (105, 7));
    let mut day = Timeval::default();
    // SAFETY: a pointer to a local variable, and a null pointer.
    let result = unsafe { gettimeofday(&*machine, &raw mut day, null_mut()) };
    assert_eq!(result, 0);
    assert_eq!((day.seconds, day.microseconds), (40, 5));
    // The kernel's counter can't be read in that mode.
    set(&machine.outside, facts::MODE, 0);
    assert!(machine.makes_call(MONOTONIC));
}

impl Machine {
    /// The same namespace, with another offset.
    fn enter_namespace_again(&self, clock: u32, seconds: u64) {
        let offset = facts::RAW + facts::OFFSET + clock as usize * facts::OFFSET_SIZE;
        set(&self.shown, offset + facts::OFFSET_SECONDS, seconds);
    }
}

#[test]
fn kvms_and_xens_clock() {
    let machine = Machine::new();
    for part in [0, facts::RAW] {
        set(
            &machine.shown,
            part + facts::MODE,
            facts::MODE_PVCLOCK.into(),
        );
    }
    let tell = |start: u64, time: u64, mult: u32, shift: i8, flags: u8| {
        set(&machine.hypervisor, facts::PV_START, start);
        set(&machine.hypervisor, facts::PV_TIME, time);
        let last = u64::from(mult) | u64::from(shift as u8) << 32 | u64::from(flags) << 40;
        set(&machine.hypervisor, facts::PV_MULT, last);
    };
    tell(100, 5000, 1 << 31, 3, 1);
    // 10 ticks, times 8, half of it.
    assert_eq!(machine.at(110).now(MONOTONIC), (0, 5040));
    assert_eq!(machine.at(110).now(RAW), (0, 5040));
    tell(100, 5000, 1 << 31, -1, 1);
    assert_eq!(machine.at(140).now(MONOTONIC), (0, 5010));
    tell(100, 5000, 1 << 31, -1, 2);
    assert!(machine.makes_call(MONOTONIC), "not the same on all CPUs");
}

#[test]
fn hyper_vs_clock() {
    let machine = Machine::new();
    set(&machine.shown, facts::MODE, facts::MODE_HVCLOCK.into());
    set(&machine.hypervisor, facts::HV_SEQUENCE, 1);
    set(&machine.hypervisor, facts::HV_SCALE, 1 << 62);
    set(&machine.hypervisor, facts::HV_OFFSET, 1000);
    assert_eq!(machine.at(400).now(MONOTONIC), (0, 1100));
    // The sign of a reading means that there is none: it is cut off.
    set(&machine.hypervisor, facts::HV_OFFSET, 1 << 63 | 1000);
    assert_eq!(machine.at(400).now(MONOTONIC), (0, 1100));
}

#[test]
fn the_other_functions() {
    let machine = Machine::new();
    Machine::base(&machine.shown, 0, facts::REALTIME, 1234, 5_678_000);
    set(&machine.shown, facts::RESOLUTION, 1);
    set(&machine.shown, facts::DST, 2);
    let mut day = Timeval::default();
    let mut zone = Timezone::default();
    let mut seconds = 0;
    let mut resolution = Timespec::default();
    let (mut cpu, mut node) = (0, 0);
    let source: &Machine = &machine;
    // SAFETY: pointers to local variables, or null where that is allowed.
    unsafe {
        source.at(1999);
        assert_eq!(gettimeofday(source, &raw mut day, &raw mut zone), 0);
        assert_eq!(time(source, &raw mut seconds), 1234);
        assert_eq!(time(source, null_mut()), 1234);
        assert_eq!(clock_getres(source, RAW, &raw mut resolution), 0);
        assert_eq!(resolution.nanoseconds, 1);
        assert_eq!(clock_getres(source, COARSE, &raw mut resolution), 0);
        assert_eq!(clock_getres(source, COARSE, null_mut()), 0);
        assert_eq!(clock_getres(source, NOBODYS, null_mut()) as isize, EINVAL);
        assert_eq!(clock_getres(source, u32::MAX, null_mut()) as isize, EINVAL);
        assert_eq!(getcpu(source, &raw mut cpu, &raw mut node, null_mut()), 0);
        assert_eq!(getcpu(source, null_mut(), null_mut(), null_mut()), 0);
    }
    assert_eq!((day.seconds, day.microseconds), (1234, 5679));
    assert_eq!((zone.minutes_west, zone.dst), (0, 2));
    assert_eq!((seconds, resolution.nanoseconds), (1234, 4_000_000));
    assert_eq!((cpu, node), (7, 3));
}

/// A writer that raises the number before and after: whatever is read is of one write.
#[test]
fn a_reading_is_of_one_state_of_the_page() {
    let machine = Machine::new();
    set(&machine.shown, facts::MULT, 0);
    let stop = AtomicBool::new(false);
    let read: Vec<(i64, i64)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let number = &machine.shown[facts::SEQUENCE / 8];
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                number.store(2 * n + 1, Ordering::Relaxed);
                fence(Ordering::Release);
                let value = n % 1_000_000;
                for clock in [MONOTONIC, COARSE] {
                    Machine::base(&machine.shown, 0, clock, value, value);
                }
                number.store(2 * n + 2, Ordering::Release);
            }
        });
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let clocks = [MONOTONIC, COARSE].iter().cycle().take(rounds);
        let read = clocks.map(|clock| machine.now(*clock)).collect();
        stop.store(true, Ordering::Relaxed);
        read
    });
    for (seconds, nanoseconds) in read {
        assert_eq!(seconds, nanoseconds);
    }
}

proptest! {
    /// Against exact arithmetic, for all that a kernel may publish.
    #[test]
    fn any_reading_is_exact(
        last in 0_u64..1 << 61,
        ticks in (0_u64..1 << 61, 0..61).prop_map(|(ticks, fewer)| ticks >> fewer),
        mult: u32,
        shift in 20_u32..33,
        base in 0_u64..1 << 62,
        seconds in 0_u64..1 << 40,
    ) {
        let machine = Machine::new();
        set(&machine.shown, facts::CYCLE_LAST, last);
        set(&machine.shown, facts::MULT, mult.into());
        set(&machine.shown, facts::SHIFT, shift.into());
        // As the kernel computes it: what can be multiplied and added to any base.
        let most = (u64::MAX - base).checked_div(mult.into()).unwrap_or(u64::MAX);
        set(&machine.shown, facts::MAX_CYCLES, most);
        Machine::base(&machine.shown, 0, MONOTONIC, seconds, base);
        let exact = (u128::from(ticks) * u128::from(mult) + u128::from(base)) >> shift;
        prop_assume!(exact < 1 << 63);
        let exact = u128::from(seconds) * 1_000_000_000 + exact;
        let (seconds, nanoseconds) = machine.at(last + ticks).now(MONOTONIC);
        prop_assert!((0..1_000_000_000).contains(&nanoseconds));
        prop_assert_eq!(seconds as u128 * 1_000_000_000 + nanoseconds as u128, exact);
    }
}
