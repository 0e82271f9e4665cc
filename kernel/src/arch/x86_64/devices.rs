//! The local APIC, the serial port, the real-time clock and the end of the machine.

use super::{DEVICES, counter};
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::instructions::port::Port;

/// The registers of the local APIC (Intel's manual, volume 3, 11.4).
const APIC: usize = DEVICES + 0xfee0_0000;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const COMMAND: usize = 0x300;
const TARGET: usize = 0x310;
const TIMER: usize = 0x320;
const INITIAL: usize = 0x380;
const CURRENT: usize = 0x390;
const DIVIDE: usize = 0x3e0;

/// The vectors of interrupts.
pub const TIMER_VECTOR: u8 = 32;
/// Another CPU changed page tables.
pub const FLUSH_VECTOR: u8 = 33;
const SPURIOUS_VECTOR: u8 = 47;

fn write(register: usize, value: u32) {
    let address = (APIC + register) as *mut u32;
    // SAFETY: every x86-64 machine has the registers there, and they are mapped.
    unsafe { address.write_volatile(value) }
}

fn read(register: usize) -> u32 {
    let address = (APIC + register) as *const u32;
    // SAFETY: as for `write`: the registers are there, and mapped.
    unsafe { address.read_volatile() }
}

/// Masks the interrupts of the old controllers (8259), whose vectors are those of exceptions.
pub fn mask_old_controllers() {
    for data in [0x21, 0xa1] {
        // SAFETY: sets the mask of a controller.
        unsafe { Port::new(data).write(0xff_u8) };
    }
}

/// Enables this CPU's local APIC and its timer, which stands.
pub fn initialise_timer() {
    const ENABLE: u32 = 1 << 8;
    write(SPURIOUS, ENABLE | u32::from(SPURIOUS_VECTOR));
    // Divided by 1.
    write(DIVIDE, 0b1011);
    write(TIMER, u32::from(TIMER_VECTOR));
}

/// Lets the timer run as long as it can.
pub fn run_timer() {
    write(INITIAL, u32::MAX);
}

/// What the timer has left.
pub fn timer_left() -> u64 {
    read(CURRENT).into()
}

/// The timer's ticks for 2³² ticks of the counter.
static RATIO: AtomicU64 = AtomicU64::new(0);

/// Sets the frequencies of the timer and of the counter.
pub fn set_timer_frequency(timer: u64, counter: u64) {
    write(INITIAL, 0);
    let ratio = (u128::from(timer) << 32) / u128::from(counter);
    RATIO.store(ratio as u64, Ordering::Relaxed);
}

pub fn set_timer(at: u64) {
    let left = at.saturating_sub(counter());
    let ticks = (u128::from(left) * u128::from(RATIO.load(Ordering::Relaxed))) >> 32;
    // 0 would stop it.
    write(INITIAL, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
}

/// Ends the interrupt that is handled.
pub fn end_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

fn command(apic: usize, command: u32) {
    const PENDING: u32 = 1 << 12;
    write(TARGET, (apic as u32) << 24);
    write(COMMAND, command);
    while read(COMMAND) & PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Interrupts another CPU.
pub fn interrupt(apic: usize, vector: u8) {
    command(apic, u32::from(vector));
}

/// Starts another CPU at a page below 1 MiB: INIT, then start-up.
pub fn start_cpu(apic: usize, page: usize) {
    const INIT: u32 = 0x4500;
    const START: u32 = 0x4600;
    command(apic, INIT);
    command(apic, START | (page >> 12) as u32);
}

/// The registers of the first serial port, a 16550.
const SERIAL: u16 = 0x3f8;

fn status() -> u8 {
    let mut port = Port::<u8>::new(SERIAL + 5);
    // SAFETY: reading the line status changes nothing but its error bits.
    unsafe { port.read() }
}

pub fn put(byte: u8) {
    const EMPTY: u8 = 1 << 5;
    while status() & EMPTY == 0 {
        core::hint::spin_loop();
    }
    // SAFETY: the port takes a byte.
    unsafe { Port::new(SERIAL).write(byte) }
}

pub fn get() -> Option<u8> {
    const READY: u8 = 1;
    if status() & READY == 0 {
        return None;
    }
    // SAFETY: the port has a byte.
    Some(unsafe { Port::new(SERIAL).read() })
}

/// Ends the machine: a reset by the keyboard's controller, at which the emulator stops
/// (`-no-reboot`).
pub fn power_off() -> ! {
    // SAFETY: the command of the controller that resets the processor.
    unsafe { Port::new(0x64).write(0xfe_u8) };
    loop {
        x86_64::instructions::hlt();
    }
}

/// Nanoseconds since 1970, from the real-time clock, which runs in UTC. Source: Motorola's MC146818.
pub fn wall_time() -> u64 {
    let register = |index: u8| {
        // SAFETY: reading the clock's registers changes nothing.
        unsafe {
            Port::new(0x70).write(index);
            Port::<u8>::new(0x71).read()
        }
    };
    let all = || [0, 2, 4, 7, 8, 9].map(register);
    let mut fields = all();
    // Read until two readings agree and no update was under way.
    loop {
        const UPDATING: u8 = 1 << 7;
        let again = all();
        if again == fields && register(10) & UPDATING == 0 {
            break;
        }
        fields = again;
    }
    const BINARY: u8 = 1 << 2;
    let is_binary = register(11) & BINARY != 0;
    let fields = fields.map(|field| match is_binary {
        true => u64::from(field),
        false => u64::from(field >> 4) * 10 + u64::from(field & 15),
    });
    let [second, minute, hour, day, month, year] = fields;
    let days = days_since_1970(2000 + year, month, day);
    ((days * 24 + hour) * 60 + minute) * 60_000_000_000 + second * 1_000_000_000
}

/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
