//! Counters: the CPU's and those of hypervisors; and the conversion of ticks to nanoseconds.

use crate::data::{DataPages, Page};
use crate::facts;
use core::hint::spin_loop;

/// Readings are positive 64-bit numbers: the kernel uses the sign for "no reading".
const LARGEST: u64 = i64::MAX as u64;
/// The sign of the difference of two readings, in 63 bits.
const BEHIND: u64 = 1 << 62;

/// The counter's reading in the mode of the page; `None` where only the kernel can read it.
#[inline(always)]
pub(crate) fn read(source: impl DataPages, mode: u32) -> Option<u64> {
    if mode == facts::MODE_TSC {
        return Some(tsc(source));
    }
    // The pages of hypervisors' clocks are mapped only while the mode is theirs: a load
    // before this test would end the process.
    let reading = if facts::PVCLOCK && mode == facts::MODE_PVCLOCK {
        pvclock(source)?
    } else if facts::HVCLOCK && mode == facts::MODE_HVCLOCK {
        hvclock(source)?
    } else {
        return None;
    };
    Some(reading & LARGEST)
}

/// The time-stamp counter's reading.
#[inline(always)]
pub(crate) fn tsc(source: impl DataPages) -> u64 {
    source.tsc() & LARGEST
}

/// The nanoseconds of a shifted base and of the ticks since its reading.
#[inline(always)]
pub(crate) fn nanoseconds(data: Page, reading: u64, base: u64) -> u64 {
    let ticks = reading.wrapping_sub(data.word(facts::CYCLE_LAST));
    let (mult, shift) = (data.half(facts::MULT), data.half(facts::SHIFT));
    // The product with the multiplier fits 64 bits.
    if ticks <= data.word(facts::MAX_CYCLES) {
        return ticks.wrapping_mul(mult.into()).wrapping_add(base) >> (shift & 63);
    }
    // The counters of CPUs differ a little, and this one may be behind the kernel's last
    // reading: then the time is that of the reading.
    if ticks & BEHIND != 0 {
        return base >> (shift & 63);
    }
    let wide = u128::from(ticks & LARGEST) * u128::from(mult) + u128::from(base);
    (wide >> (shift & 127)) as u64
}

/// [`nanoseconds`] where 64 bits suffice.
#[inline(always)]
pub(crate) fn nanoseconds_soon(data: Page, reading: u64, base: u64) -> Option<u64> {
    let ticks = reading.wrapping_sub(data.word(facts::CYCLE_LAST));
    (ticks <= data.word(facts::MAX_CYCLES)).then(|| {
        let product = ticks.wrapping_mul(data.half(facts::MULT).into());
        product.wrapping_add(base) >> (data.half(facts::SHIFT) & 63)
    })
}

/// The nanoseconds of KVM's and Xen's clock (`pvclock-abi.h`) of virtual CPU 0, which are valid
/// on all CPUs while the flag is set.
#[inline(always)]
fn pvclock(source: impl DataPages) -> Option<u64> {
    let page = source.pvclock();
    loop {
        let version = page.begin(facts::PV_VERSION);
        if page.byte(facts::PV_FLAGS) & facts::PV_STABLE == 0 {
            return None;
        }
        let ticks = source.tsc().wrapping_sub(page.word(facts::PV_START));
        let shift = page.byte(facts::PV_SHIFT) as i8;
        let by = u32::from(shift.unsigned_abs()) & 63;
        let ticks = if shift < 0 { ticks >> by } else { ticks << by };
        let passed = (u128::from(ticks) * u128::from(page.half(facts::PV_MULT))) >> 32;
        let time = page.word(facts::PV_TIME).wrapping_add(passed as u64);
        if version & 1 == 0 && page.is_still(facts::PV_VERSION, version) {
            return Some(time);
        }
        spin_loop();
    }
}

/// Hyper-V's clock, in 100 ns (Hypervisor Top-Level Functional Specification, "Reference
/// TSC page"); with sequence 0 it can't be read here.
#[inline(always)]
fn hvclock(source: impl DataPages) -> Option<u64> {
    let page = source.hvclock();
    loop {
        let sequence = page.begin(facts::HV_SEQUENCE);
        if sequence == 0 {
            return None;
        }
        let (scale, offset) = (page.word(facts::HV_SCALE), page.word(facts::HV_OFFSET));
        let scaled = (u128::from(source.tsc()) * u128::from(scale)) >> 64;
        if page.is_still(facts::HV_SEQUENCE, sequence) {
            return Some((scaled as u64).wrapping_add(offset));
        }
    }
}
