//! The counter's rate, from the page that a hypervisor publishes.
//!
//! A guest's time-stamp counter has a rate that its CPU does not report, and that changes when the
//! machine is migrated. KVM and Hyper-V publish it, in a page of their own format. The kernel reads
//! that page at each timer interrupt and compares: programs never see it, so the image needs no code
//! for it. When the parameters have changed, [`Timekeeper::change_counter`] continues time.
//!
//! Between a migration and the next timer interrupt, programs read the new counter with the old
//! parameters: their time may be wrong by up to the timekeeper's promise, where Linux's vDSO, which
//! reads the hypervisor's page itself, would see the change at once.
//!
//! [`Timekeeper::change_counter`]: vdsokit_clock::Timekeeper::change_counter

use vdsokit_clock::Rate;

/// What a hypervisor says of the time-stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Nanoseconds a tick.
    pub rate: Rate,
    /// A reading of the counter.
    pub ticks: u64,
    /// The hypervisor's time at that reading, in nanoseconds since some start.
    pub nanoseconds: u64,
    /// Whether this holds for all CPUs at once. If not, there is no counter for a page that all
    /// CPUs share: publish [`system_calls`](crate::Publisher::system_calls).
    pub is_stable: bool,
}

/// How often a page is read again that its hypervisor is just changing.
const TRIES: u32 = 64;

/// The bit of pvclock's flags for counters that agree on all CPUs.
const PVCLOCK_TSC_STABLE: u32 = 1;

/// Reads KVM's page for one CPU, `struct pvclock_vcpu_time_info` (Linux
/// Documentation/virt/kvm/x86/msr.rst, `MSR_KVM_SYSTEM_TIME_NEW`).
///
/// `load` loads the 32-bit word with this index of the structure, an acquiring load. `None` when
/// the hypervisor was changing it for all of a bounded number of tries, or when it says a rate over
/// 10⁹ ns a tick.
pub fn pvclock(load: impl Fn(usize) -> u32) -> Option<Counter> {
    let long = |index| u64::from(load(index)) | u64::from(load(index + 1)) << 32;
    for _ in 0..TRIES {
        let version = load(0);
        let (ticks, nanoseconds) = (long(2), long(4));
        let (multiplier, rest) = (load(6), load(7));
        // An odd version, or another one now: the fields may be of two states.
        if version & 1 == 0 && load(0) == version {
            let shift = rest as u8 as i8;
            return Some(Counter {
                rate: pvclock_rate(multiplier, shift)?,
                ticks,
                nanoseconds,
                is_stable: rest >> 8 & PVCLOCK_TSC_STABLE != 0,
            });
        }
        core::hint::spin_loop();
    }
    None
}

/// The rate of `((ticks << shift) * multiplier) >> 32` nanoseconds, where a negative `shift` is one
/// to the right.
fn pvclock_rate(multiplier: u32, shift: i8) -> Option<Rate> {
    // In 2⁻⁶⁴ ns.
    let power = 32 + i32::from(shift);
    let rate = match u32::try_from(power) {
        Ok(power) => u128::from(multiplier).checked_mul(1u128.checked_shl(power)?)?,
        Err(_) => u128::from(multiplier)
            .checked_shr(power.unsigned_abs())
            .unwrap_or(0),
    };
    checked(rate)
}

/// Reads Hyper-V's reference TSC page (Hypervisor Top Level Functional Specification, "Partition
/// Reference Time Enlightenment", `HV_REFERENCE_TSC_PAGE`).
///
/// `load` loads the 64-bit word with this index of the page, an acquiring load. `None` where the
/// page is not valid, as after a migration to a host without a constant counter, when the
/// hypervisor was changing it for all of a bounded number of tries, or when it says a rate over
/// 10⁹ ns a tick.
pub fn hyperv(load: impl Fn(usize) -> u64) -> Option<Counter> {
    for _ in 0..TRIES {
        let sequence = load(0) as u32;
        let (scale, offset) = (load(1), load(2));
        if load(0) as u32 == sequence {
            if sequence == 0 {
                return None;
            }
            // Time is `(ticks * scale >> 64) + offset`, in units of 100 ns: at tick 0, `offset`.
            return Some(Counter {
                rate: checked(u128::from(scale).checked_mul(100)?)?,
                ticks: 0,
                nanoseconds: offset.wrapping_mul(100),
                is_stable: true,
            });
        }
        core::hint::spin_loop();
    }
    None
}

/// The rate of so many 2⁻⁶⁴ ns a tick, in the range of a [`Rate`]'s corrections.
fn checked(rate: u128) -> Option<Rate> {
    let rate = Rate::from_words((rate >> 64) as u64, rate as u64);
    (rate != Rate::FROZEN && rate.whole() < vdsokit_clock::NANOSECONDS).then_some(rate)
}
