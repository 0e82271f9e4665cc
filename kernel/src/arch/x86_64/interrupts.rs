//! Segments, the table of interrupts, and what each CPU needs to enter the kernel.

use super::registers::{Frame, entry_of, system_call_entry};
use super::{devices, flush_all};
use crate::arch::NUMBERS;
use crate::cpu::MOST_CPUS;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::{GsBase, KernelGsBase, LStar, Msr, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::gdt::{
    Descriptor, DescriptorFlags, GlobalDescriptorTable, SegmentSelector,
};
use x86_64::structures::idt::{Entry, HandlerFunc, InterruptDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// What `gs` leads to in the kernel. The assembly knows the first two words.
#[repr(C)]
struct Local {
    /// The stack for the next entry.
    stack: usize,
    /// Where an entry keeps the program's stack pointer for two instructions.
    scratch: usize,
    number: usize,
    descriptors: GlobalDescriptorTable<DESCRIPTORS>,
    task: TaskStateSegment,
    interrupts: InterruptDescriptorTable,
}

/// Descriptors up to that of segment 0x7b, from which programs read the CPU's number.
const DESCRIPTORS: usize = 0x7b / 8 + 1;

/// One for each CPU.
struct Locals([UnsafeCell<Local>; MOST_CPUS]);

// SAFETY: each CPU uses its own element only.
unsafe impl Sync for Locals {}

static LOCALS: Locals = Locals(
    [const {
        UnsafeCell::new(Local {
            stack: 0,
            scratch: 0,
            number: 0,
            descriptors: GlobalDescriptorTable::empty(),
            task: TaskStateSegment::new(),
            interrupts: InterruptDescriptorTable::new(),
        })
    }; MOST_CPUS],
);

/// The selectors of programs, which a frame has.
pub const USER_DATA: SegmentSelector = SegmentSelector::new(3, PrivilegeLevel::Ring3);
/// Behind the data, as `sysret` wants it.
pub const USER_CODE: SegmentSelector = SegmentSelector::new(4, PrivilegeLevel::Ring3);

/// Prepares this CPU, whose number is `cpu`, for traps.
pub fn initialise(cpu: usize) {
    // SAFETY: only this CPU uses the element, and it does so for the first time here; `gs` leads to
    // it from now on.
    let local: &'static mut Local = unsafe { &mut *LOCALS.0[cpu].get() };
    initialise_keys();
    local.number = cpu;
    let base = VirtAddr::from_ptr(&raw const *local);
    // SAFETY: the table is 256 entries, whose handlers differ only in type.
    let entries: &mut [Entry<HandlerFunc>; 256] =
        unsafe { &mut *(&raw mut local.interrupts).cast() };
    for (vector, place) in entries.iter_mut().enumerate() {
        let Some(entry) = entry_of(vector) else {
            continue;
        };
        // SAFETY: the entry is the assembly for this vector.
        let options = unsafe { place.set_handler_addr(entry) };
        if vector == 3 {
            // Breakpoints are an instruction of programs.
            options.set_privilege_level(PrivilegeLevel::Ring3);
        }
    }
    let descriptors = &mut local.descriptors;
    let code = descriptors.append(Descriptor::kernel_code_segment());
    let data = descriptors.append(Descriptor::kernel_data_segment());
    let user_data = descriptors.append(Descriptor::user_data_segment());
    let user_code = descriptors.append(Descriptor::user_code_segment());
    let task = descriptors.append(Descriptor::tss_segment(&local.task));
    assert!(user_data == USER_DATA && user_code == USER_CODE);
    while descriptors.limit() as usize + 1 < (DESCRIPTORS - 1) * 8 {
        descriptors.append(Descriptor::UserSegment(0));
    }
    descriptors.append(cpu_number(cpu));
    if has_rdpid() {
        // SAFETY: the register, IA32_TSC_AUX, is there with the instruction that reads it.
        unsafe { Msr::new(0xc000_0103).write(cpu as u64) };
    }
    local.interrupts.load();
    local.descriptors.load();
    // SAFETY: the selectors are those of the table that was just loaded, and never change. `gs` is
    // this CPU's element, in the kernel and, after `swapgs`, for the next entry.
    unsafe {
        CS::set_reg(code);
        for set in [SS::set_reg, DS::set_reg, ES::set_reg] {
            set(data);
        }
        load_tss(task);
        GsBase::write(base);
        KernelGsBase::write(VirtAddr::zero());
        LStar::write(VirtAddr::from_ptr(system_call_entry as *const u8));
    }
    Star::write(user_code, user_data, code, data).expect("the selectors are in sysret's order");
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::NESTED_TASK
            | RFlags::ALIGNMENT_CHECK,
    );
}

/// The segment whose limit is a CPU's number: data that programs may read, as Linux has it
/// (arch/x86/kernel/cpu/common.c, `setup_getcpu`).
fn cpu_number(cpu: usize) -> Descriptor {
    let flags = DescriptorFlags::PRESENT
        | DescriptorFlags::USER_SEGMENT
        | DescriptorFlags::DPL_RING_3
        | DescriptorFlags::ACCESSED
        | DescriptorFlags::DEFAULT_SIZE;
    Descriptor::UserSegment(flags.bits() | cpu as u64)
}

/// Whether the processor has the instruction `rdpid` (Intel's manual, volume 2, CPUID leaf 7).
pub fn has_rdpid() -> bool {
    const RDPID: u32 = 1 << 22;
    core::arch::x86_64::__cpuid_count(7, 0).ecx & RDPID != 0
}

/// Whether the processor has protection keys.
pub static HAS_KEYS: AtomicBool = AtomicBool::new(false);

fn initialise_keys() {
    const KEYS: u32 = 1 << 3;
    if core::arch::x86_64::__cpuid_count(7, 0).ecx & KEYS != 0 {
        // SAFETY: the processor has the bit. All pages have key 0 but for execute-only ones.
        unsafe { Cr4::update(|flags| flags.insert(Cr4Flags::PROTECTION_KEY_USER)) }
        HAS_KEYS.store(true, Ordering::Relaxed);
    }
}

/// Forbids programs to read execute-only pages, as they may have permitted it by `wrpkru`.
pub fn forbid_reading_text() {
    /// The access-disable bit of key 1.
    const KEY_1: u32 = 1 << 2;
    if HAS_KEYS.load(Ordering::Relaxed) {
        // SAFETY: the keys are enabled; the register holds for pages of programs alone.
        unsafe {
            asm!("wrpkru", in("eax") KEY_1, in("ecx") 0, in("edx") 0,
                options(nomem, nostack, preserves_flags));
        }
    }
}

pub fn cpu() -> usize {
    let cpu;
    // SAFETY: in the kernel `gs` leads to this CPU's `Local`.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) cpu, offset = const core::mem::offset_of!(Local, number),
            options(nostack, readonly, preserves_flags));
    }
    cpu
}

/// The stack of the next trap ends behind this frame.
pub fn set_stack(frame: *mut Frame) {
    let end = frame as usize + size_of::<Frame>();
    let local = LOCALS.0[cpu()].get();
    // SAFETY: only this CPU uses its element, and no reference to it exists: the processor and the
    // assembly read these words.
    unsafe {
        (&raw mut (*local).stack).write(end);
        (&raw mut (*local).task.privilege_stack_table[0])
            .write_unaligned(VirtAddr::new(end as u64));
    }
}

/// Which CPUs have to forget what they remember of page tables.
static FLUSH: [AtomicBool; MOST_CPUS] = [const { AtomicBool::new(false) }; MOST_CPUS];

/// Forgets what this CPU remembers of page tables, if another CPU waits for that.
pub fn answer_flush() {
    if FLUSH[cpu()].load(Ordering::Acquire) {
        flush_all();
        FLUSH[cpu()].store(false, Ordering::Release);
    }
}

/// Has other CPUs forget what they remember of page tables, those whose bits are set, and waits until
/// they have. In the kernel they wait for its lock, which this CPU holds, and answer there.
pub fn flush_others(cpus: usize) {
    let others = || (0..MOST_CPUS).filter(|other| cpus & 1 << other != 0);
    for other in others() {
        FLUSH[other].store(true, Ordering::Release);
        devices::interrupt(
            NUMBERS[other].load(Ordering::Relaxed),
            devices::FLUSH_VECTOR,
        );
    }
    for other in others() {
        while FLUSH[other].load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
    }
}

/// Spins a little.
pub fn relax() {
    answer_flush();
    core::hint::spin_loop();
}

pub fn wait() {
    // SAFETY: interrupts are on for this one instruction only; their handler returns here.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}
