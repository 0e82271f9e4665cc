//! The registers of programs and tasks, and the code that exchanges them.

use super::devices;
use crate::arch::{Trap, begin};
use crate::memory::Rights;
use core::arch::{asm, global_asm};
use linux_raw_sys::general::{SIGBUS, SIGILL, SIGTRAP};

#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// x0 to x30.
    pub x: [usize; 31],
    /// `sp_el0`
    pub stack: usize,
    /// `elr_el1`: the address of the next instruction.
    pub pc: usize,
    /// `spsr_el1`
    status: usize,
    /// The first argument of a call, which its result overwrites.
    first_argument: usize,
    reserved: usize,
}

/// The conditions in `spsr_el1`. All other bits are 0 for programs: user mode, nothing masked.
const CONDITIONS: usize = 0xf << 28;

impl Frame {
    pub fn new(entry: usize, stack: usize) -> Self {
        Self {
            pc: entry,
            stack,
            ..Self::default()
        }
    }

    pub fn call(&self) -> (usize, [usize; 6]) {
        let x = &self.x;
        (x[8], [x[0], x[1], x[2], x[3], x[4], x[5]])
    }

    pub fn set_result(&mut self, result: usize) {
        self.x[0] = result;
    }

    pub fn restart(&mut self) {
        self.pc -= super::CALL_LENGTH;
        self.x[0] = self.first_argument;
    }

    pub fn stack(&self) -> usize {
        self.stack
    }

    pub fn set_stack(&mut self, stack: usize) {
        self.stack = stack;
    }

    /// The conditions.
    pub fn conditions(&self) -> usize {
        self.status & CONDITIONS
    }

    /// Sets the conditions.
    pub fn set_conditions(&mut self, conditions: usize) {
        self.status = conditions & CONDITIONS;
    }
}

#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
pub struct UserState {
    /// q0 to q31, two words each.
    pub vectors: [[usize; 2]; 32],
    /// `fpsr`
    pub status: usize,
    /// `fpcr`
    pub control: usize,
    thread_pointer: usize,
}

/// An instruction for each register, with its place behind the operand.
macro_rules! each_vector {
    ($instruction:literal) => {
        concat!(
            ".arch_extension fp\n.arch_extension simd\n",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, \
             25, 26, 27, 28, 29, 30, 31\n",
            $instruction,
            " q\\n, [{0}, #16*\\n]\n.endr\n",
        )
    };
}

impl UserState {
    pub fn save(&mut self) {
        // SAFETY: stores 512 bytes at `vectors` and reads registers. The unit is on
        // (`initialise`), and compiled code of the kernel does not use it.
        unsafe {
            asm!(each_vector!("str"), in(reg) &raw mut self.vectors, options(nostack));
            asm!(".arch_extension fp", "mrs {}, fpsr", "mrs {}, fpcr", "mrs {}, tpidr_el0", out(reg) self.status,
                out(reg) self.control, out(reg) self.thread_pointer, options(nomem, nostack));
        }
    }

    pub fn restore(&self) {
        // SAFETY: loads 512 bytes from `vectors` into registers that compiled code of the kernel
        // does not use.
        unsafe {
            asm!(each_vector!("ldr"), in(reg) &raw const self.vectors, options(nostack));
            asm!(".arch_extension fp", "msr fpsr, {}", "msr fpcr, {}", "msr tpidr_el0, {}", in(reg) self.status,
                in(reg) self.control, in(reg) self.thread_pointer, options(nomem, nostack));
        }
    }

    pub fn set_thread_pointer(&mut self, _frame: &mut Frame, address: usize) {
        self.thread_pointer = address;
    }
}

/// What [`switch`](crate::arch::switch) takes from the stack of a task that has not run: x19 to x30.
pub fn never_ran() -> [usize; 12] {
    let mut saved = [0; 12];
    saved[11] = begin as *const () as usize;
    saved
}

unsafe extern "C" {
    static vectors: u8;
}

global_asm!(
    ".balign 2048",
    ".global vectors",
    "vectors:",
    ".irp entry, fault, fault, fault, fault, kernel, fault, fault, fault, trap, interrupt, interrupt, \
     fault, fault, fault, fault, fault",
    ".balign 128",
    "b \\entry\\()_entry",
    ".endr",
    ".macro move_registers instruction",
    "\\instruction x2, x3, [sp, #16]",
    "\\instruction x4, x5, [sp, #32]",
    "\\instruction x6, x7, [sp, #48]",
    "\\instruction x8, x9, [sp, #64]",
    "\\instruction x10, x11, [sp, #80]",
    "\\instruction x12, x13, [sp, #96]",
    "\\instruction x14, x15, [sp, #112]",
    "\\instruction x16, x17, [sp, #128]",
    "\\instruction x18, x19, [sp, #144]",
    "\\instruction x20, x21, [sp, #160]",
    "\\instruction x22, x23, [sp, #176]",
    "\\instruction x24, x25, [sp, #192]",
    "\\instruction x26, x27, [sp, #208]",
    "\\instruction x28, x29, [sp, #224]",
    ".endm",
    ".macro enter_kernel",
    "sub sp, sp, #{frame}",
    "stp x0, x1, [sp]",
    "move_registers stp",
    "mrs x1, sp_el0",
    "mrs x2, elr_el1",
    "mrs x3, spsr_el1",
    "stp x30, x1, [sp, #240]",
    "stp x2, x3, [sp, #256]",
    "str x0, [sp, #272]",
    "mov x0, sp",
    ".endm",
    "trap_entry:",
    "enter_kernel",
    "mrs x1, esr_el1",
    "mrs x2, far_el1",
    "bl {trap}",
    "b to_user",
    "interrupt_entry:",
    "enter_kernel",
    "bl {interrupt}",
    "to_user:",
    "ldp x2, x3, [sp, #256]",
    "ldp x30, x1, [sp, #240]",
    "msr elr_el1, x2",
    "msr spsr_el1, x3",
    "msr sp_el0, x1",
    // A reservation of another task's must not let this one's store succeed.
    "clrex",
    "move_registers ldp",
    "ldp x0, x1, [sp]",
    "add sp, sp, #{frame}",
    "eret",
    // The kernel's own call of a function that has no answer and makes a system call: an error.
    "kernel_entry:",
    "stp x1, x2, [sp, #-16]!",
    "mrs x1, esr_el1",
    "lsr x1, x1, #26",
    "cmp x1, #0x15",
    "ldp x1, x2, [sp], #16",
    "b.ne fault_entry",
    "mov x0, #{no_call}",
    "eret",
    "fault_entry:",
    "mrs x0, esr_el1",
    "mrs x1, far_el1",
    "mrs x2, elr_el1",
    "b {fault}",
    ".global begin",
    "begin:",
    "bl {started}",
    "b to_user",
    ".macro move_saved instruction",
    "\\instruction x19, x20, [sp, #0]",
    "\\instruction x21, x22, [sp, #16]",
    "\\instruction x23, x24, [sp, #32]",
    "\\instruction x25, x26, [sp, #48]",
    "\\instruction x27, x28, [sp, #64]",
    "\\instruction x29, x30, [sp, #80]",
    ".endm",
    ".global switch",
    "switch:",
    "sub sp, sp, #96",
    "move_saved stp",
    "mov x2, sp",
    "str x2, [x0]",
    "mov sp, x1",
    "move_saved ldp",
    "add sp, sp, #96",
    "ret",
    frame = const size_of::<Frame>(),
    no_call = const -(linux_raw_sys::errno::ENOSYS as i32),
    trap = sym trap,
    interrupt = sym interrupt,
    fault = sym fault,
    started = sym crate::task::schedule::started,
);

/// Prepares this CPU for traps, and lets programs use the counter and the floating-point unit.
pub fn initialise() {
    // SAFETY: the table is aligned. `cpacr_el1.FPEN` switches the unit on for all; `cntkctl_el1`
    // lets programs read both counters.
    unsafe {
        asm!(
            "msr vbar_el1, {table}",
            "msr cpacr_el1, {unit}",
            "msr cntkctl_el1, {counters}",
            "isb",
            table = in(reg) &raw const vectors,
            unit = in(reg) 3_u64 << 20,
            counters = in(reg) 3_u64,
            options(nostack),
        );
    }
}

/// A trap of a program. Source of the numbers: Arm's manual (DDI 0487), `ESR_EL1`.
extern "C" fn trap(frame: &mut Frame, syndrome: usize, address: usize) {
    const WRITE: usize = 1 << 6;
    const CACHE_MAINTENANCE: usize = 1 << 8;
    // The status codes of translation, access flag and permission faults; others are bus errors.
    let is_page = matches!(syndrome >> 2 & 15, 1..=3);
    let trap = match syndrome >> 26 & 0x3f {
        0x15 => Trap::Call,
        0x20 if is_page => Trap::Page(address, Rights::EXECUTE),
        0x24 if is_page => {
            let is_write = syndrome & WRITE != 0 && syndrome & CACHE_MAINTENANCE == 0;
            let access = if is_write {
                Rights::WRITE
            } else {
                Rights::READ
            };
            Trap::Page(address, access)
        }
        0x20 | 0x22 | 0x24 | 0x26 => Trap::Signal(SIGBUS),
        0x30 | 0x32 | 0x34 | 0x3c => Trap::Signal(SIGTRAP),
        _ => Trap::Signal(SIGILL),
    };
    crate::task::trap::enter(frame, trap);
}

/// An interrupt of a program: the timer is the only device that has one.
extern "C" fn interrupt(frame: &mut Frame) {
    devices::take_interrupt();
    crate::task::trap::enter(frame, Trap::Timer);
}

/// A trap of the kernel itself.
extern "C" fn fault(syndrome: usize, address: usize, pc: usize) -> ! {
    panic!("the kernel trapped: esr {syndrome:#x}, far {address:#x}, pc {pc:#x}");
}
