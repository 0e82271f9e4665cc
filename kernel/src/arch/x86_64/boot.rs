//! From the emulator to the kernel: the first CPU by PVH, the others by the first.
//!
//! Source: xen/include/public/arch-x86/hvm/start_info.h.

use super::{
    DEVICES, DIRECT, GLOBAL, LARGE, NO_EXECUTE, PRESENT, UNCACHED, WRITE, acpi, calibrate, devices,
    interrupts, seed,
};
use crate::arch::{STACK, STACKS, Table, direct, kernel, others, set_numbers};
use crate::cpu;
use crate::memory::frames::Ram;
use core::arch::global_asm;
use core::ffi::CStr;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

const GIGABYTE: u64 = 1 << 30;
const KERNEL_PAGE: u64 = PRESENT | WRITE | LARGE | GLOBAL;

/// The first two gigabytes, at [`DIRECT`], and for the first instructions at 0.
static MEMORY: Table = {
    let mut table = [0; 512];
    table[0] = KERNEL_PAGE;
    table[510] = KERNEL_PAGE;
    table[511] = GIGABYTE | KERNEL_PAGE;
    Table(table)
};

/// The fourth gigabyte, where the devices are, at [`DEVICES`].
static DEVICE: Table = {
    let mut table = [0; 512];
    table[3] = (3 * GIGABYTE) | KERNEL_PAGE | UNCACHED | NO_EXECUTE;
    Table(table)
};

/// The first root table. The assembly fills it, as addresses of statics are no constants here.
static mut ROOT: Table = Table([0; 512]);

/// The number of the CPU that starts next.
static mut STARTING: u32 = 0;

/// Whether it has left the code that uses `STARTING`.
static HAS_STARTED: AtomicBool = AtomicBool::new(false);

/// Where the first code of other CPUs is copied to: they begin below 1 MiB, in real mode.
const TRAMPOLINE: usize = 0x8000;

global_asm!(
    // The note by which the emulator finds the entry: XEN_ELFNOTE_PHYS32_ENTRY.
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long start - {direct}",
    ".popsection",
    ".pushsection .text.start, \"ax\"",
    ".code32",
    ".global start",
    // 32-bit code without paging; ebx: `hvm_start_info`.
    "start:",
    "cld",
    "movl ${memory} - {direct} + 3, {root} - {direct}",
    "movl ${memory} - {direct} + 3, {root} - {direct} + 511 * 8",
    "movl ${device} - {direct} + 3, {root} - {direct} + 256 * 8",
    "start_32:",
    "movl {starting} - {direct}, %ebp",
    "movl ${root} - {direct}, %eax",
    "movl %eax, %cr3",
    // PAE, global pages, and the instructions that save SSE registers.
    "movl $0x6a0, %eax",
    "movl %eax, %cr4",
    // EFER: system calls, long mode, pages that can't be executed.
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x901, %eax",
    "wrmsr",
    // Paging, write protection for the kernel too, numeric errors as exceptions.
    "movl $0x80010033, %eax",
    "movl %eax, %cr0",
    "lgdtl first_gdt_pointer - {direct}",
    "ljmpl $8, $start_64 - {direct}",
    ".code64",
    "start_64:",
    "xorl %eax, %eax",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %ss",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "movl %ebp, %edi",
    "movl %ebx, %esi",
    "leal 1(%rbp), %eax",
    "shlq ${stack_bits}, %rax",
    "leaq {stacks}(%rax), %rsp",
    "xorl %ebp, %ebp",
    "movabsq ${enter}, %rax",
    "callq *%rax",
    "ud2",
    ".balign 8",
    "first_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff",
    "first_gdt_pointer:",
    ".word 31",
    ".long first_gdt - {direct}",
    // The code at TRAMPOLINE of other CPUs: real mode, to 32-bit code, to `start_32`.
    ".code16",
    ".global trampoline",
    ".global trampoline_end",
    "trampoline:",
    "cli",
    "xorw %ax, %ax",
    "movw %ax, %ds",
    "lgdtl {trampoline} + 2f - trampoline",
    "movl $0x33, %eax",
    "movl %eax, %cr0",
    "ljmpl $0x18, ${trampoline} + 1f - trampoline",
    ".code32",
    "1:",
    "movw $0x10, %ax",
    "movw %ax, %ds",
    "movw %ax, %ss",
    "movl $start_32 - {direct}, %eax",
    "jmpl *%eax",
    "2:",
    ".word 31",
    ".long first_gdt - {direct}",
    "trampoline_end:",
    ".code64",
    ".popsection",
    direct = const DIRECT,
    memory = sym MEMORY,
    device = sym DEVICE,
    root = sym ROOT,
    starting = sym STARTING,
    stacks = sym STACKS,
    stack_bits = const STACK.trailing_zeros(),
    enter = sym enter,
    trampoline = const TRAMPOLINE,
    options(att_syntax),
);

unsafe extern "C" {
    static trampoline: u8;
    static trampoline_end: u8;
}

/// The entries of a root table that map the kernel.
pub fn kernel_tables() -> [(usize, u64); 2] {
    let entry =
        |table: &'static Table| (&raw const *table as usize - DIRECT) as u64 | PRESENT | WRITE;
    let devices_at = (DEVICES >> 39) & 511;
    [(511, entry(&MEMORY)), (devices_at, entry(&DEVICE))]
}

/// A CPU in 64-bit mode.
extern "C" fn enter(cpu: usize, start_info: usize) -> ! {
    interrupts::initialise(cpu);
    devices::initialise_timer();
    if cpu == 0 {
        crate::lock::acquire();
        devices::mask_old_controllers();
        // SAFETY: by PVH, ebx has the physical address of the structure, which lies in the first
        // gigabyte.
        let info = unsafe { direct(start_info).cast::<StartInfo>().read_unaligned() };
        let boot = read(&info);
        // SAFETY: the memory is mapped and free but for what the map says.
        unsafe { crate::start(boot) }
    }
    HAS_STARTED.store(true, Ordering::Release);
    crate::lock::acquire();
    cpu::start_other()
}

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
struct Region {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// What the emulator says of the machine.
fn read(info: &StartInfo) -> crate::Boot {
    const MAGIC: u32 = 0x336e_c578;
    const USABLE: u32 = 1;
    assert!(
        info.magic == MAGIC && info.version >= 1,
        "the kernel was not started by PVH"
    );
    let kernel = kernel();
    let regions = direct(info.memory_map as usize).cast::<Region>();
    let region = |index: u32| {
        // SAFETY: the structure says that so many regions lie there, in the first gigabyte.
        unsafe { regions.add(index as usize).read_unaligned() }
    };
    let holds_kernel = |region: &Region| {
        let start = region.address as usize;
        region.kind == USABLE && (start..start + region.size as usize).contains(&kernel.start)
    };
    let region = (0..info.memory_entries).map(region).find(holds_kernel);
    let region = region.expect("the kernel is not in the memory map");
    let start = region.address as usize;
    let end = (start + region.size as usize).min(2 * GIGABYTE as usize);
    let initrd = match info.modules {
        0 => 0..0,
        _ => {
            // SAFETY: the structure says that a module's entry lies there.
            let module = unsafe {
                direct(info.module_list as usize)
                    .cast::<Module>()
                    .read_unaligned()
            };
            module.address as usize..(module.address + module.size) as usize
        }
    };
    let line: Range<usize>;
    // SAFETY: a text that ends with a zero lies there, and `used` keeps its memory as it is.
    let command_line = unsafe {
        let start = info.command_line as usize;
        let text = CStr::from_ptr(direct(start).cast());
        line = start..start + text.count_bytes() + 1;
        text.to_str().expect("the command line is not text")
    };
    let tables = acpi::Tables::new(info.rsdp as usize);
    let cpus = set_numbers(tables.apics());
    crate::Boot {
        ram: Ram {
            all: start..end,
            used: [kernel, initrd.clone(), line],
        },
        initrd,
        command_line,
        frequency: calibrate::frequencies(tables.hpet()),
        wall: devices::wall_time(),
        seed: seed(),
        cpus: cpus.max(1),
    }
}

/// Starts the other CPUs, one after the other: they share a word with their number.
pub fn start_cpus(cpus: usize) {
    // SAFETY: the page below 1 MiB is not in the memory that the kernel uses, and is mapped.
    unsafe {
        let length = (&raw const trampoline_end).byte_offset_from(&raw const trampoline);
        let start = &raw const trampoline;
        direct(TRAMPOLINE).copy_from_nonoverlapping(start, length as usize);
    }
    for (cpu, apic) in others(cpus) {
        HAS_STARTED.store(false, Ordering::Relaxed);
        // SAFETY: no CPU is starting: the one before has left the code that reads the word.
        unsafe { (&raw mut STARTING).write_volatile(cpu as u32) };
        devices::start_cpu(apic, TRAMPOLINE);
        while !HAS_STARTED.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
    }
}
