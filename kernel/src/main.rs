//! A small kernel that runs static Linux programs, with a vDSO of vdsokit's.
//!
//! It shows how a kernel takes `vdsokit-guest`, and that a program made for Linux reads the clock
//! of such a kernel without entering it. README.md has the map.
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod call;
mod command_line;
mod console;
mod cpu;
mod errno;
mod files;
mod lock;
mod memory;
mod random;
mod task;
mod time;
mod user;
mod vdso;

use core::ops::Range;
use memory::frames::{self, Ram};

/// What the firmware says of the machine.
struct Boot {
    ram: Ram,
    /// The physical addresses of the archive of files.
    initrd: Range<usize>,
    command_line: &'static str,
    /// The counter's frequency in Hz.
    frequency: u64,
    /// Nanoseconds since 1970 by the machine's real-time clock; 0 when it has none.
    wall: u64,
    /// Random bytes, where there are any.
    seed: Option<[u8; 32]>,
    cpus: usize,
}

/// Takes over the machine, on its first CPU and with the lock of the kernel held.
///
/// # Safety
/// Once; the memory is mapped at [`arch::DIRECT`] and free but for what `boot` says.
#[allow(unsafe_code, reason = "passes on what the architecture promises")]
unsafe fn start(boot: Boot) -> ! {
    // SAFETY: as the caller promises.
    unsafe { frames::initialise(&boot.ram) };
    let options = command_line::Options::parse(boot.command_line);
    random::initialise(boot.seed);
    // SAFETY: the initrd's pages are marked as in use and stay so.
    let archive = unsafe {
        let start = arch::direct(boot.initrd.start);
        core::slice::from_raw_parts(start, boot.initrd.len())
    };
    files::initrd::initialise(archive);
    vdso::initialise(&options);
    time::initialise(boot.frequency, boot.wall);
    let cpus = options.cpus.unwrap_or(boot.cpus).clamp(1, boot.cpus);
    println!(
        "reference kernel: {cpus} of {} CPUs, counter at {} Hz",
        boot.cpus, boot.frequency
    );
    call::print_counts_at_end(options.count);
    task::process::first(&options.command, options.denied);
    cpu::start(cpus);
    task::schedule::idle()
}
