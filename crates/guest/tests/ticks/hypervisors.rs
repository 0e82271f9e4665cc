//! Rates from the pages of hypervisors.

use crate::reader::Frame;
use crate::{BOOT, HERTZ, SECOND, TICK, WALL, keeper};
use std::cell::Cell;
use vdsokit_clock::{Clock, Moment, Rate, Start, Timekeeper};
use vdsokit_guest::Publisher;
use vdsokit_guest::hypervisor::{hyperv, pvclock};

/// `struct pvclock_vcpu_time_info` as KVM fills it for 2.1 GHz: (multiplier, shift) as its
/// `kvm_get_time_scale()` computes them.
fn kvm(version: u32, flags: u8) -> [u32; 8] {
    // 2³² / 2.1, which fits without a shift.
    let multiplier = (u64::from(u32::MAX) + 1) * 10 / 21;
    let rest = u32::from(flags) << 8;
    [
        version,
        0,
        BOOT as u32,
        (BOOT >> 32) as u32,
        5,
        1,
        multiplier as u32,
        rest,
    ]
}

/// Nanoseconds of a second of ticks, by a rate.
fn second(rate: Rate) -> i128 {
    (rate.span(HERTZ).unwrap() >> 64) as i128
}

#[test]
fn a_page_of_kvm_gives_its_rate() {
    let page = kvm(4, 1);
    let counter = pvclock(|index| page[index]).unwrap();
    assert!(counter.is_stable);
    assert_eq!((counter.ticks, counter.nanoseconds), (BOOT, (1 << 32) + 5));
    assert!((second(counter.rate) - i128::from(SECOND)).abs() <= 1);
    assert!(!pvclock(|index| kvm(4, 0)[index]).unwrap().is_stable);
    // The same rate with shifts to either side.
    for shift in [-20i8, -1, 1, 3] {
        let mut page = kvm(4, 1);
        page[6] = 1 << 31;
        page[7] |= u32::from(shift as u8);
        let rate = pvclock(|index| page[index]).unwrap().rate;
        let expected = if shift < 0 {
            (1u128 << 63) >> -shift
        } else {
            (1u128 << 63) << shift
        };
        assert_eq!(rate.span(1), Some(expected), "{shift}");
    }
}

#[test]
fn a_page_that_a_hypervisor_is_changing_is_read_again() {
    // An odd version, then a change in the middle, then a page that is whole.
    let loads = Cell::new(0);
    let counter = pvclock(|index| {
        let load = loads.replace(loads.get() + 1);
        let version = match load {
            0..8 => 3,
            8..16 => 4,
            _ => 6,
        };
        kvm(version, 1)[index]
    });
    assert!(counter.is_some() && loads.get() > 16);
    // One that is never whole: bounded.
    assert_eq!(pvclock(|index| kvm(5, 1)[index]), None);
    let sequence = Cell::new(0);
    assert_eq!(hyperv(|_| sequence.replace(sequence.get() + 1)), None);
}

#[test]
fn a_page_of_hyper_v_gives_its_rate() {
    // Units of 100 ns a tick, in 2⁻⁶⁴.
    let scale = ((1u128 << 64) * 10_000_000 / u128::from(HERTZ)) as u64;
    let page = [7, scale, 123];
    let counter = hyperv(|index| page[index]).unwrap();
    assert!((second(counter.rate) - i128::from(SECOND)).abs() <= 1);
    assert_eq!((counter.ticks, counter.nanoseconds), (0, 12_300));
    // The page is not valid.
    assert_eq!(hyperv(|index| [0, scale, 123][index]), None);
}

#[test]
fn pages_of_nonsense_are_refused_and_never_panic() {
    for word in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for version in [0, 2] {
            let counter = pvclock(|index| if index == 0 { version } else { word });
            if let Some(counter) = counter {
                assert!(counter.rate.whole() < SECOND && counter.rate != Rate::FROZEN);
            }
        }
    }
    for word in [0, 1, u64::MAX / 2, u64::MAX] {
        let counter = hyperv(|index| if index == 0 { 1 } else { word });
        assert!(counter.is_none_or(|counter| counter.rate.whole() < SECOND));
    }
}

/// A migration to a host with another counter: time goes on, and wall time does not jump.
#[test]
fn a_migrated_machine_continues_with_the_new_counter() {
    let frame = Frame::new();
    let mut publisher = Publisher::new(frame.words());
    let mut keeper = keeper(25_000_000);
    let before = BOOT + 10 * TICK;
    keeper.update(before);
    publisher.publish(&keeper);
    let seen = |clock, ticks| frame.time(clock, ticks).unwrap();
    let [monotonic, boot, wall] =
        [Clock::Monotonic, Clock::Boottime, Clock::Realtime].map(|clock| seen(clock, before));
    // 3.5 GHz, and a counter that starts again.
    let rate = Rate::from_frequency(3_500_000_000).unwrap();
    let ticks = 1000;
    keeper.change_counter(before, ticks, rate).unwrap();
    keeper.update(ticks);
    publisher.publish(&keeper);
    assert!(seen(Clock::Monotonic, ticks) >= monotonic);
    assert!(seen(Clock::Monotonic, ticks) <= monotonic + 25_000_000);
    assert!(seen(Clock::Boottime, ticks) >= boot);
    assert_eq!(seen(Clock::Realtime, ticks), wall);
    // 10 ms at the new rate.
    let later = ticks + 35_000_000;
    assert_eq!(seen(Clock::Realtime, later), wall + 10_000_000);
    keeper.update(later);
    publisher.publish(&keeper);
    assert_eq!(seen(Clock::Realtime, later), wall + 10_000_000);
    assert!(keeper.change_counter(later, later, Rate::FROZEN).is_err());
}

#[test]
fn a_suspended_machine_s_boot_and_wall_time_go_on() {
    let frame = Frame::new();
    let mut publisher = Publisher::new(frame.words());
    let mut keeper = keeper(25_000_000);
    let suspended = BOOT + TICK;
    keeper.update(suspended);
    publisher.publish(&keeper);
    let seen = |clock, ticks| frame.time(clock, ticks).unwrap();
    let [boot, wall] = [Clock::Boottime, Clock::Realtime].map(|clock| seen(clock, suspended));
    // An hour in which the counter stood still and was set to 0.
    let hour = 3600 * SECOND;
    keeper.resumed(suspended, 0, hour);
    keeper.update(0);
    publisher.publish(&keeper);
    assert_eq!(seen(Clock::Boottime, 0), boot + i128::from(hour));
    assert_eq!(seen(Clock::Realtime, 0), wall + i128::from(hour));
}

/// A machine that runs with a hypervisor's rate from its start.
#[test]
fn a_timekeeper_starts_with_a_hypervisor_s_rate() {
    let page = kvm(2, 1);
    let counter = pvclock(|index| page[index]).unwrap();
    let keeper = Timekeeper::with_rate(
        Start {
            frequency: 0,
            ticks: counter.ticks,
            monotonic: Moment::from_nanoseconds(counter.nanoseconds.into()),
            wall: Moment::from_seconds(WALL),
            promise: 25_000_000,
            tai: 0,
        },
        counter.rate,
    )
    .unwrap();
    let after = keeper.at(BOOT + HERTZ).as_nanoseconds();
    let before = keeper.at(BOOT).as_nanoseconds();
    assert!((after - before - i128::from(SECOND)).abs() <= 1);
}
