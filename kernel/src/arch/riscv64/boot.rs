//! From the firmware to the kernel, on the first CPU and on the others.

use super::{DIRECT, GIGABYTES, direct, kernel_entry};
use crate::arch::device_tree;
use crate::cpu::{self, MOST_CPUS};
use core::arch::global_asm;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The first page table: the kernel's half, and the kernel's first gigabyte where it is loaded, for
/// the instructions that switch it on.
#[repr(align(4096))]
struct Root(#[expect(dead_code, reason = "used by the processor")] [u64; 512]);

static ROOT: Root = {
    let mut table = [0; 512];
    let mut gigabyte = 0;
    while gigabyte < GIGABYTES {
        table[256 + gigabyte] = kernel_entry(gigabyte);
        gigabyte += 1;
    }
    table[2] = kernel_entry(2);
    Root(table)
};

/// The stacks that CPUs boot and idle on.
#[repr(align(16))]
struct Stacks(#[expect(dead_code, reason = "used by assembly")] [[u8; STACK]; MOST_CPUS]);

const STACK: usize = 16 << 10;

static mut STACKS: Stacks = Stacks([[0; STACK]; MOST_CPUS]);

/// The firmware's number of each CPU.
static HARTS: [AtomicUsize; MOST_CPUS] = [const { AtomicUsize::new(0) }; MOST_CPUS];

global_asm!(
    // a0: the firmware's number of this CPU; a1: the device tree, or this kernel's number of it.
    ".pushsection .text.start, \"ax\"",
    ".global start",
    "start:",
    "mv s1, a1",
    "li tp, 0",
    "lla s2, {first}",
    "j 1f",
    ".global start_other",
    "start_other:",
    "mv tp, a1",
    "lla s2, {other}",
    "1:",
    "mv s0, a0",
    "lla t0, {root}",
    "srli t0, t0, 12",
    "li t1, 8 << 60",
    "or t0, t0, t1",
    "csrw satp, t0",
    "sfence.vma",
    "lla sp, {stacks}",
    "addi t0, tp, 1",
    "slli t0, t0, {stack_bits}",
    "add sp, sp, t0",
    "li t1, {direct}",
    "add sp, sp, t1",
    "add s2, s2, t1",
    "mv a0, s0",
    "mv a1, s1",
    "jr s2",
    ".popsection",
    first = sym first,
    other = sym other,
    root = sym ROOT,
    stacks = sym STACKS,
    stack_bits = const STACK.trailing_zeros(),
    direct = const DIRECT,
);

unsafe extern "C" {
    fn start_other();
}

/// The first CPU in the kernel's address space.
extern "C" fn first(hart: usize, tree: usize) -> ! {
    crate::lock::acquire();
    HARTS[0].store(hart, Ordering::Relaxed);
    // SAFETY: by the boot protocol of SBI, a1 has the address of a device tree.
    let parsed = unsafe { device_tree::at(tree) };
    let rtc = device_tree::device(&parsed, "google,goldfish-rtc", 0);
    let timebase = parsed
        .find_node("/cpus")
        .and_then(|cpus| cpus.property("timebase-frequency"));
    let mut cpus = 1;
    for other in parsed.cpus().map(|cpu| cpu.ids().first()) {
        if other != hart && cpus < MOST_CPUS {
            HARTS[cpus].store(other, Ordering::Relaxed);
            cpus += 1;
        }
    }
    let boot = crate::Boot {
        ram: device_tree::ram(&parsed, tree),
        initrd: device_tree::initrd(&parsed),
        command_line: parsed.chosen().bootargs().unwrap_or(""),
        frequency: timebase
            .and_then(|property| property.as_usize())
            .expect("the counter's frequency is not in the device tree") as u64,
        wall: rtc.map_or(0, wall_time),
        seed: device_tree::seed(&parsed),
        cpus,
    };
    super::registers::initialise();
    // SAFETY: the memory is mapped and free but for what the device tree says.
    unsafe { crate::start(boot) }
}

/// Another CPU in the kernel's address space.
extern "C" fn other() -> ! {
    super::registers::initialise();
    crate::lock::acquire();
    cpu::start_other()
}

/// Starts the other CPUs.
pub fn start_cpus(cpus: usize) {
    let start = start_other as *const () as usize - DIRECT;
    for (cpu, hart) in HARTS.iter().enumerate().take(cpus).skip(1) {
        let started = sbi_rt::hart_start(hart.load(Ordering::Relaxed), start, cpu);
        assert!(
            started.is_ok(),
            "the firmware does not start CPU {cpu}: {started:?}"
        );
    }
}

/// Has other CPUs forget what they remember of page tables and instructions: those whose bits are
/// set.
pub fn flush_others(cpus: usize) {
    for (cpu, hart) in HARTS.iter().enumerate() {
        if cpus & 1 << cpu != 0 {
            let mask = sbi_rt::HartMask::from_mask_base(1, hart.load(Ordering::Relaxed));
            sbi_rt::remote_fence_i(mask);
            sbi_rt::remote_sfence_vma(mask, 0, usize::MAX);
        }
    }
}

/// Nanoseconds since 1970, from the emulator's real-time clock.
///
/// Source: QEMU hw/rtc/goldfish_rtc.c: reading the low word latches the high one.
fn wall_time(device: usize) -> u64 {
    let word = |offset: usize| {
        let address = direct(device + offset).cast::<u32>();
        // SAFETY: the device tree has the device's registers there, and they are mapped.
        u64::from(unsafe { address.read_volatile() })
    };
    let low = word(0);
    word(4) << 32 | low
}
