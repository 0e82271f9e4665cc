//! The interrupt controller, the serial port, the real-time clock and the firmware.

use crate::arch::{device_tree, direct};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use fdt::Fdt;

/// The physical addresses of the devices; 0 before the device tree was read.
static SERIAL: AtomicUsize = AtomicUsize::new(0);
static DISTRIBUTOR: AtomicUsize = AtomicUsize::new(0);
static INTERFACE: AtomicUsize = AtomicUsize::new(0);

fn read(device: usize, register: usize) -> u32 {
    let address = direct(device + register).cast::<u32>();
    // SAFETY: the device tree has the device's registers there, and the first gigabyte is mapped
    // for devices.
    unsafe { address.read_volatile() }
}

fn write(device: usize, register: usize, value: u32) {
    let address = direct(device + register).cast::<u32>();
    // SAFETY: as for `read`: the device's registers are there, and mapped.
    unsafe { address.write_volatile(value) }
}

/// Finds the devices, and prepares them for the first CPU.
pub fn initialise(tree: &Fdt<'_>) {
    let find = |name: &str, nth| {
        let device = device_tree::device(tree, name, nth);
        device.unwrap_or_else(|| panic!("the machine has no {name}"))
    };
    SERIAL.store(find("arm,pl011", 0), Ordering::Relaxed);
    // Generic Interrupt Controller, version 2 (IHI 0048B).
    DISTRIBUTOR.store(find("arm,cortex-a15-gic", 0), Ordering::Relaxed);
    INTERFACE.store(find("arm,cortex-a15-gic", 1), Ordering::Relaxed);
    write(DISTRIBUTOR.load(Ordering::Relaxed), 0, 1);
    initialise_cpu();
}

/// Lets the virtual timer interrupt this CPU.
pub fn initialise_cpu() {
    const ENABLE: usize = 0x100;
    const PRIORITY_MASK: usize = 4;
    /// The interrupt of the virtual timer.
    const TIMER: u32 = 27;
    write(DISTRIBUTOR.load(Ordering::Relaxed), ENABLE, 1 << TIMER);
    let interface = INTERFACE.load(Ordering::Relaxed);
    write(interface, PRIORITY_MASK, 0xff);
    write(interface, 0, 1);
}

/// Begins and ends the interrupt that is pending. The timer's stays pending in the timer until
/// that is set again.
pub fn take_interrupt() {
    const ACKNOWLEDGE: usize = 0xc;
    const END: usize = 0x10;
    const NONE: u32 = 1020;
    let interface = INTERFACE.load(Ordering::Relaxed);
    let interrupt = read(interface, ACKNOWLEDGE);
    if interrupt & 0x3ff < NONE {
        write(interface, END, interrupt);
    }
}

/// Writes a byte to the console: PL011 (DDI 0183).
pub fn put(byte: u8) {
    const FLAGS: usize = 0x18;
    const FULL: u32 = 1 << 5;
    let serial = SERIAL.load(Ordering::Relaxed);
    if serial != 0 {
        while read(serial, FLAGS) & FULL != 0 {
            core::hint::spin_loop();
        }
        write(serial, 0, byte.into());
    }
}

pub fn get() -> Option<u8> {
    const FLAGS: usize = 0x18;
    const EMPTY: u32 = 1 << 4;
    let serial = SERIAL.load(Ordering::Relaxed);
    (read(serial, FLAGS) & EMPTY == 0).then(|| read(serial, 0) as u8)
}

/// Nanoseconds since 1970, from the real-time clock, which counts seconds: PL031 (DDI 0224); 0 when
/// there is none.
pub fn wall_time(tree: &Fdt<'_>) -> u64 {
    let device = device_tree::device(tree, "arm,pl031", 0);
    device.map_or(0, |device| u64::from(read(device, 0)) * 1_000_000_000)
}

/// Calls the firmware. The emulator has it behind `hvc`.
pub fn firmware(function: usize, arguments: [usize; 3]) -> usize {
    let [first, second, third] = arguments;
    let result;
    // SAFETY: by the calling convention (DEN0028) the firmware changes x0 to x17 at most, and no
    // memory of the kernel.
    unsafe {
        asm!("hvc #0", inout("x0") function => result, inout("x1") first => _,
            inout("x2") second => _, inout("x3") third => _, clobber_abi("C"), options(nostack));
    }
    result
}

pub fn power_off() -> ! {
    const SYSTEM_OFF: usize = 0x8400_0008;
    firmware(SYSTEM_OFF, [0; 3]);
    loop {
        super::wait();
    }
}
