//! The registers of programs and tasks, and the code that exchanges them.

use crate::arch::{Trap, begin};
use crate::memory::Rights;
use core::arch::{asm, global_asm};
use linux_raw_sys::general::{SIGBUS, SIGILL, SIGTRAP};

#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// x1 to x31 at their own index. At 0 the kernel keeps the number of its CPU.
    pub x: [usize; 32],
    /// The address of the next instruction.
    pub pc: usize,
    status: usize,
    /// The first argument of a call, which its result overwrites.
    first_argument: usize,
}

/// `sstatus`: return to user mode, with interrupts on and the floating-point unit usable.
const USER_STATUS: usize = 1 << 5 | 3 << 13 | 2 << 32;

impl Frame {
    pub fn new(entry: usize, stack: usize) -> Self {
        let mut frame = Self {
            pc: entry,
            status: USER_STATUS,
            ..Self::default()
        };
        frame.x[2] = stack;
        frame
    }

    pub fn call(&self) -> (usize, [usize; 6]) {
        let x = &self.x;
        (x[17], [x[10], x[11], x[12], x[13], x[14], x[15]])
    }

    pub fn set_result(&mut self, result: usize) {
        self.x[10] = result;
    }

    pub fn restart(&mut self) {
        self.pc -= super::CALL_LENGTH;
        self.x[10] = self.first_argument;
    }

    pub fn stack(&self) -> usize {
        self.x[2]
    }

    pub fn set_stack(&mut self, stack: usize) {
        self.x[2] = stack;
    }
}

#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct UserState {
    /// f0 to f31.
    pub floats: [usize; 32],
    /// The rounding mode and the exceptions that occurred.
    pub control: usize,
}

/// An instruction for each register, with its place behind the operand.
macro_rules! each_float {
    ($instruction:literal) => {
        concat!(
            ".option push\n.option arch, +d\n",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, \
             25, 26, 27, 28, 29, 30, 31\n",
            $instruction,
            " f\\n, 8*\\n({0})\n.endr\n.option pop\n",
        )
    };
}

impl UserState {
    pub fn save(&mut self) {
        // SAFETY: stores 256 bytes at `floats` and reads a register. The unit is on for as long as
        // the kernel runs (`initialise`), and compiled code of the kernel does not use it.
        unsafe {
            asm!(each_float!("fsd"), in(reg) &raw mut self.floats, options(nostack));
            asm!("csrr {}, fcsr", out(reg) self.control, options(nomem, nostack));
        }
    }

    pub fn restore(&self) {
        // SAFETY: loads 256 bytes from `floats` into registers that compiled code of the kernel
        // does not use.
        unsafe {
            asm!(each_float!("fld"), in(reg) &raw const self.floats, options(nostack));
            asm!("csrw fcsr, {}", in(reg) self.control, options(nomem, nostack));
        }
    }

    pub fn set_thread_pointer(&mut self, frame: &mut Frame, address: usize) {
        frame.x[4] = address;
    }
}

/// What [`switch`](crate::arch::switch) takes from the stack of a task that has not run: `ra`, s0 to s11.
pub fn never_ran() -> [usize; 14] {
    let mut saved = [0; 14];
    saved[0] = begin as *const () as usize;
    saved
}

unsafe extern "C" {
    fn trap_entry();
}

global_asm!(
    ".macro each_register instruction",
    ".irp n, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, \
     25, 26, 27, 28, 29, 30, 31",
    "\\instruction x\\n, 8*\\n(sp)",
    ".endr",
    ".endm",
    ".balign 4",
    ".global trap_entry",
    "trap_entry:",
    // 0 in the kernel: its own traps are faults of it.
    "csrrw sp, sscratch, sp",
    "beqz sp, 1f",
    "each_register sd",
    "csrrw t0, sscratch, zero",
    "sd t0, 16(sp)",
    "csrr t0, sepc",
    "csrr t1, sstatus",
    "sd t0, 256(sp)",
    "sd t1, 264(sp)",
    "sd a0, 272(sp)",
    "ld tp, 0(sp)",
    "mv a0, sp",
    "csrr a1, scause",
    "csrr a2, stval",
    "call {trap}",
    "mv a0, sp",

    "to_user:",
    "mv sp, a0",
    "sd tp, 0(sp)",
    "csrw sscratch, sp",
    "ld t0, 256(sp)",
    "ld t1, 264(sp)",
    // A reservation of another task's must not let this one's `sc` succeed.
    ".option push",
    ".option arch, +a",
    "addi t2, sp, 256",
    "sc.d zero, t0, (t2)",
    ".option pop",
    "csrw sepc, t0",
    "csrw sstatus, t1",
    "each_register ld",
    "ld sp, 16(sp)",
    "sret",
    "1:",
    "csrrw sp, sscratch, sp",
    "csrr a0, scause",
    "csrr a1, stval",
    "csrr a2, sepc",
    "tail {fault}",
    ".global begin",
    "begin:",
    "call {started}",
    "mv a0, sp",
    "j to_user",
    ".macro each_saved instruction",
    "\\instruction ra, 0(sp)",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
    "\\instruction s\\n, 8+8*\\n(sp)",
    ".endr",
    ".endm",
    ".global switch",
    "switch:",
    "addi sp, sp, -112",
    "each_saved sd",
    "sd sp, 0(a0)",
    "mv sp, a1",
    "each_saved ld",
    "addi sp, sp, 112",
    "ret",
    trap = sym trap,
    fault = sym fault,
    started = sym crate::task::schedule::started,
);

/// Prepares this CPU for traps, and lets programs use the counter and the floating-point unit.
pub fn initialise() {
    // SAFETY: the entry is aligned; the bits of `sie` and `scounteren` enable the timer's interrupt
    // in user mode and the counter of time. `sstatus.FS` switches the unit on.
    unsafe {
        asm!(
            "csrw sscratch, zero",
            "csrw stvec, {entry}",
            "csrw sie, {timer}",
            "csrw scounteren, {time}",
            "csrs sstatus, {unit}",
            entry = in(reg) trap_entry as *const () as usize,
            timer = in(reg) 1 << 5,
            time = in(reg) 1 << 1,
            unit = in(reg) 3 << 13,
            options(nostack),
        );
    }
}

/// A trap of a program. Source of the numbers: the privileged specification, `scause`.
extern "C" fn trap(frame: &mut Frame, cause: usize, value: usize) {
    const INTERRUPT: usize = 1 << 63;
    let trap = match cause {
        8 => {
            frame.pc += super::CALL_LENGTH;
            Trap::Call
        }
        12 => Trap::Page(value, Rights::EXECUTE),
        13 => Trap::Page(value, Rights::READ),
        15 => Trap::Page(value, Rights::WRITE),
        3 => Trap::Signal(SIGTRAP),
        0 | 4 | 5 | 6 | 7 => Trap::Signal(SIGBUS),
        cause if cause == INTERRUPT | 5 => Trap::Timer,
        _ => Trap::Signal(SIGILL),
    };
    crate::task::trap::enter(frame, trap);
}

/// A trap of the kernel itself.
extern "C" fn fault(cause: usize, value: usize, pc: usize) -> ! {
    panic!("the kernel trapped: scause {cause:#x}, stval {value:#x}, pc {pc:#x}");
}
