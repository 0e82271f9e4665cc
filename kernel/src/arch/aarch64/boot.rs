//! From the emulator to the kernel, on the first CPU and on the others.
//!
//! Source: Documentation/arch/arm64/booting.rst; Arm's Power State Coordination Interface, DEN0022.

use super::{
    ACCESSED, DIRECT, NORMAL, SHARED, TABLE, USER_NEVER_EXECUTES, VALID, devices, registers,
};
use crate::arch::{STACK, STACKS, Table, device_tree, others, set_numbers};
use crate::cpu;
use core::arch::{asm, global_asm};

/// Blocks of 1 GiB: devices in the first one, memory in the others.
static BLOCKS: Table = {
    let mut table = [0; 512];
    let mut gigabyte = 0;
    while gigabyte < 512 {
        let kind = if gigabyte == 0 { 0 } else { NORMAL | SHARED };
        table[gigabyte] = (gigabyte as u64) << 30 | VALID | ACCESSED | USER_NEVER_EXECUTES | kind;
        gigabyte += 1;
    }
    Table(table)
};

/// The root table of the kernel's half, and of the other until a program runs. The assembly fills
/// it, as addresses of statics are no constants here.
static mut ROOT: Table = Table([0; 512]);

/// `MAIR_EL1`: type 0 for devices, type 1 with caches that write back.
const MEMORY_TYPES: u64 = 0xff << 8;

/// `TCR_EL1`: 48 bits of addresses in each half, pages of 4 KiB, tables in shared caches, 40 bits of
/// physical addresses.
const TRANSLATION: u64 =
    16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30 | 2 << 32;

/// `SCTLR_EL1`: the MMU and caches on; the stack aligned; programs may use `dc zva`, cache
/// maintenance and `ctr_el0`; the bits that are always 1.
const CONTROL: u64 = 1 | 7 << 2 | 3 << 11 | 3 << 14 | 1 << 20 | 3 << 22 | 1 << 26 | 3 << 28;

global_asm!(
    ".pushsection .text.start, \"ax\"",
    ".global start",
    // The header of Linux's images. The kernel is 2 MiB behind the start of memory.
    "start:",
    "b 1f",
    ".long 0",
    ".quad 0x200000",
    ".quad KERNEL_SIZE",
    ".quad 2",
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
    // x0: the device tree.
    "1:",
    "adrp x1, BSS_START",
    "add x1, x1, :lo12:BSS_START",
    "adrp x2, BSS_END",
    "add x2, x2, :lo12:BSS_END",
    "2:",
    "cmp x1, x2",
    "b.hs 3f",
    "stp xzr, xzr, [x1], #16",
    "b 2b",
    "3:",
    "adrp x1, {root}",
    "adrp x2, {blocks}",
    "orr x2, x2, #3",
    "str x2, [x1]",
    "mov x19, x0",
    "mov x20, #0",
    "ldr x21, ={first}",
    "b 4f",
    // x0: this kernel's number of the CPU.
    ".global start_other",
    "start_other:",
    "mov x20, x0",
    "ldr x21, ={other}",
    "4:",
    "msr tpidr_el1, x20",
    "ldr x0, ={types}",
    "msr mair_el1, x0",
    "ldr x0, ={translation}",
    "msr tcr_el1, x0",
    "adrp x0, {root}",
    "msr ttbr0_el1, x0",
    "msr ttbr1_el1, x0",
    "dsb sy",
    "isb",
    "tlbi vmalle1",
    "dsb sy",
    "isb",
    "ldr x0, ={control}",
    "msr sctlr_el1, x0",
    "isb",
    "ldr x1, ={stacks}",
    "add x2, x20, #1",
    "add x1, x1, x2, lsl #{stack_bits}",
    "mov sp, x1",
    "mov x0, x19",
    "mov x29, xzr",
    "blr x21",
    ".ltorg",
    ".popsection",
    root = sym ROOT,
    blocks = sym BLOCKS,
    first = sym first,
    other = sym other,
    types = const MEMORY_TYPES,
    translation = const TRANSLATION,
    control = const CONTROL,
    stacks = sym STACKS,
    stack_bits = const STACK.trailing_zeros(),
);

const _: () = assert!(TABLE | VALID == 3);

unsafe extern "C" {
    fn start_other();
}

/// The first CPU in the kernel's address space.
extern "C" fn first(tree: usize) -> ! {
    crate::lock::acquire();
    // SAFETY: by the boot protocol, x0 has the address of a device tree.
    let parsed = unsafe { device_tree::at(tree) };
    devices::initialise(&parsed);
    let cpus = set_numbers(parsed.cpus().map(|cpu| cpu.ids().first()));
    let frequency: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) }
    let boot = device_tree::boot(&parsed, tree, frequency, devices::wall_time(&parsed), cpus);
    registers::initialise();
    // SAFETY: the memory is mapped and free but for what the device tree says.
    unsafe { crate::start(boot) }
}

/// Another CPU in the kernel's address space.
extern "C" fn other() -> ! {
    registers::initialise();
    devices::initialise_cpu();
    crate::lock::acquire();
    cpu::start_other()
}

pub fn start_cpus(cpus: usize) {
    const CPU_ON: usize = 0xc400_0003;
    let start = start_other as *const () as usize - DIRECT;
    for (cpu, number) in others(cpus) {
        let result = devices::firmware(CPU_ON, [number, start, cpu]);
        assert!(
            result == 0,
            "the firmware does not start CPU {cpu}: {result:#x}"
        );
    }
}
