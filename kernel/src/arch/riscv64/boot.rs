//! From the firmware to the kernel, on the first CPU and on the others.

use super::{DIRECT, GIGABYTES, kernel_entry};
use crate::arch::{NUMBERS, STACK, STACKS, Table, device_tree, direct, others, set_numbers};
use crate::cpu;
use core::arch::global_asm;
use core::sync::atomic::Ordering;

/// The first page table: the kernel's half, and the kernel's first gigabyte where it is loaded, for
/// the instructions that switch it on.
static ROOT: Table = {
    let mut table = [0; 512];
    let mut gigabyte = 0;
    while gigabyte < GIGABYTES {
        table[256 + gigabyte] = kernel_entry(gigabyte);
        gigabyte += 1;
    }
    table[2] = kernel_entry(2);
    Table(table)
};

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
    // SAFETY: by the boot protocol of SBI, a1 has the address of a device tree.
    let parsed = unsafe { device_tree::at(tree) };
    let others = parsed.cpus().map(|cpu| cpu.ids().first());
    let others = others.filter(|other| *other != hart);
    let cpus = set_numbers(core::iter::once(hart).chain(others));
    let cpu = parsed.find_node("/cpus");
    let frequency = cpu.and_then(|cpus| cpus.property("timebase-frequency")?.as_usize());
    let frequency = frequency.expect("the counter's frequency is not in the device tree");
    let rtc = device_tree::device(&parsed, "google,goldfish-rtc", 0);
    let boot = device_tree::boot(
        &parsed,
        tree,
        frequency as u64,
        rtc.map_or(0, wall_time),
        cpus,
    );
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

pub fn start_cpus(cpus: usize) {
    let start = start_other as *const () as usize - DIRECT;
    for (cpu, hart) in others(cpus) {
        let started = sbi_rt::hart_start(hart, start, cpu);
        assert!(
            started.is_ok(),
            "the firmware does not start CPU {cpu}: {started:?}"
        );
    }
}

/// Has other CPUs forget what they remember of page tables and instructions: those whose bits are
/// set.
pub fn flush_others(cpus: usize) {
    for (cpu, hart) in NUMBERS.iter().enumerate() {
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
