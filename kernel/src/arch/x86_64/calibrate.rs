//! The frequencies of the time-stamp counter and of the local APIC's timer, measured with the HPET.

use super::{DEVICES, counter, devices};

/// A register of the HPET's.
fn register(hpet: usize, offset: usize) -> *mut u64 {
    assert!(
        (3 << 30..4 << 30).contains(&hpet),
        "the HPET is where no devices are mapped"
    );
    (DEVICES + hpet + offset) as *mut u64
}

/// One reading of all three at about the same time.
#[derive(Clone, Copy)]
struct Reading {
    hpet: u64,
    counter: u64,
    timer: u64,
    /// How long it took, in ticks of the counter.
    took: u64,
}

fn reading(hpet: usize) -> Reading {
    let before = counter();
    // SAFETY: ACPI has the device there, and its gigabyte is mapped.
    let now = unsafe { register(hpet, 0xf0).read_volatile() };
    let after = counter();
    Reading {
        hpet: now,
        counter: before + (after - before) / 2,
        timer: devices::timer_left(),
        took: after - before,
    }
}

/// The reading that took least of many: an emulator may stop between two instructions.
fn best(hpet: usize) -> Reading {
    let readings = (0..100).map(|_| reading(hpet));
    readings
        .min_by_key(|reading| reading.took)
        .expect("there are some")
}

/// Measures both, and returns the counter's frequency in Hz.
pub fn frequencies(hpet: usize) -> u64 {
    /// 50 ms in femtoseconds.
    const INTERVAL: u64 = 50_000_000_000_000;
    const SECOND: u128 = 1_000_000_000_000_000;
    // SAFETY: as in `reading`. Bit 0 of the configuration lets it count.
    let period = unsafe {
        register(hpet, 0x10).write_volatile(1);
        register(hpet, 0).read_volatile() >> 32
    };
    devices::run_timer();
    let first = best(hpet);
    while reading(hpet).hpet - first.hpet < INTERVAL / period {}
    let last = best(hpet);
    let took = u128::from(last.hpet - first.hpet) * u128::from(period);
    let frequency = |ticks: u64| (u128::from(ticks) * SECOND / took) as u64;
    let counter = frequency(last.counter - first.counter);
    devices::set_timer_frequency(frequency(first.timer - last.timer), counter);
    counter
}
