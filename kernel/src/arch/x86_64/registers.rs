//! The registers of programs and tasks, and the code that exchanges them.

use super::{USER_END, devices, interrupts};
use crate::arch::{Trap, begin};
use crate::memory::Rights;
use core::arch::{asm, global_asm};
use linux_raw_sys::general::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::registers::model_specific::FsBase;

#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    pub r15: usize,
    pub r14: usize,
    pub r13: usize,
    pub r12: usize,
    pub rbp: usize,
    pub rbx: usize,
    pub r11: usize,
    pub r10: usize,
    pub r9: usize,
    pub r8: usize,
    pub rax: usize,
    pub rcx: usize,
    pub rdx: usize,
    pub rsi: usize,
    pub rdi: usize,
    vector: usize,
    /// The error code of an exception; the number of a system call, which its result overwrites.
    error: usize,
    rip: usize,
    cs: usize,
    flags: usize,
    pub rsp: usize,
    ss: usize,
}

/// The vector of a frame that a system call made.
const CALL: usize = 256;

/// The flags that are always on: the reserved one, and interrupts.
const FIXED_FLAGS: usize = 1 << 1 | 1 << 9;

/// The flags that a program may choose: arithmetic and direction.
const FREE_FLAGS: usize = 0xcd5;

impl Frame {
    pub fn new(entry: usize, stack: usize) -> Self {
        let mut frame = Self {
            cs: usize::from(interrupts::USER_CODE.0),
            ss: usize::from(interrupts::USER_DATA.0),
            flags: FIXED_FLAGS,
            rsp: stack,
            ..Self::default()
        };
        frame.set_pc(entry);
        frame
    }

    pub fn call(&self) -> (usize, [usize; 6]) {
        let arguments = [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9];
        (self.rax, arguments)
    }

    pub fn set_result(&mut self, result: usize) {
        self.rax = result;
    }

    pub fn restart(&mut self) {
        self.rip -= super::CALL_LENGTH;
        self.rax = self.error;
    }

    pub fn stack(&self) -> usize {
        self.rsp
    }

    pub fn set_stack(&mut self, stack: usize) {
        self.rsp = stack;
    }

    /// The address of the next instruction.
    pub fn pc(&self) -> usize {
        self.rip
    }

    /// Sets the address of the next instruction. One that is not a program's becomes 0, where
    /// nothing is mapped: the kernel itself would trap at a return to an address that is none.
    pub fn set_pc(&mut self, pc: usize) {
        self.rip = if pc < USER_END { pc } else { 0 };
    }

    /// The flags.
    pub fn flags(&self) -> usize {
        self.flags
    }

    /// Sets the flags that a program may choose.
    pub fn set_flags(&mut self, flags: usize) {
        self.flags = flags & FREE_FLAGS | FIXED_FLAGS;
    }
}

#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct UserState {
    /// As `fxsave` stores them.
    pub floats: [usize; 64],
    /// The base of `fs`. Programs change it by a system call only.
    pub thread_pointer: usize,
}

impl Default for UserState {
    fn default() -> Self {
        let mut floats = [0; 64];
        // The control words after a reset: all exceptions are masked (`fninit`, MXCSR).
        floats[0] = 0x37f;
        floats[3] = 0x1f80;
        Self {
            floats,
            thread_pointer: 0,
        }
    }
}

impl UserState {
    pub fn save(&mut self) {
        // SAFETY: stores 512 bytes, which are aligned to 16.
        unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut self.floats, options(nostack)) }
    }

    pub fn restore(&self) {
        // SAFETY: loads 512 bytes that `fxsave64` stored, or of which `signal` cleared the bits
        // that are reserved. Compiled code of the kernel uses neither these registers nor `fs`.
        unsafe { asm!("fxrstor64 [{}]", in(reg) &raw const self.floats, options(nostack)) }
        FsBase::write(VirtAddr::new_truncate(self.thread_pointer as u64));
        interrupts::forbid_reading_text();
    }

    pub fn set_thread_pointer(&mut self, _frame: &mut Frame, address: usize) {
        // `new_truncate` makes an address of the kernel's of one that is none.
        self.thread_pointer = if address < USER_END { address } else { 0 };
    }
}

/// What [`switch`](crate::arch::switch) takes from the stack of a task that has not run: rbx, rbp, r12
/// to r15, and where it goes on.
pub fn never_ran() -> [usize; 7] {
    let mut saved = [0; 7];
    saved[6] = begin as *const () as usize;
    saved
}

unsafe extern "C" {
    static entries: u8;
    static entries_end: u8;
    /// The entry of system calls.
    pub fn system_call_entry();
}

global_asm!(
    // One entry for each vector, 16 bytes apart: an error code where the processor has none, and
    // the vector.
    ".balign 16",
    ".global entries",
    ".global entries_end",
    "entries:",
    ".set vector, 0",
    ".rept 48",
    ".balign 16",
    ".if (vector != 8) && (vector != 17) && ((vector < 10) || (vector > 14))",
    "pushq $0",
    ".endif",
    "pushq $vector",
    "jmp trap_entry",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "entries_end:",
    ".macro push_registers",
    ".irp name, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15",
    "pushq %\\name",
    ".endr",
    ".endm",
    ".macro pop_registers",
    ".irp name, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi",
    "popq %\\name",
    ".endr",
    ".endm",
    "trap_entry:",
    "cld",
    "testb $3, 24(%rsp)",
    "jz 1f",
    "swapgs",
    "push_registers",
    "2:",
    "movq %rsp, %rdi",
    "callq {trap}",
    "to_user:",
    "pop_registers",
    "swapgs",
    "addq $16, %rsp",
    "iretq",
    // In the kernel: an interrupt while idle, or a fault of it.
    "1:",
    "push_registers",
    "movq %rsp, %rdi",
    "callq {kernel_trap}",
    "pop_registers",
    "addq $16, %rsp",
    "iretq",
    // rcx: the next instruction; r11: the flags; the stack is the program's.
    ".global system_call_entry",
    "system_call_entry:",
    // The kernel's own call of a function that has no answer and makes a system call: an error.
    // The stack is left alone: compiled code of programs uses bytes below the pointer.
    "testq %rcx, %rcx",
    "js 3f",
    "swapgs",
    "movq %rsp, %gs:8",
    "movq %gs:0, %rsp",
    "pushq ${user_data}",
    "pushq %gs:8",
    "pushq %r11",
    "pushq ${user_code}",
    "pushq %rcx",
    "pushq %rax",
    "pushq ${call}",
    "push_registers",
    "jmp 2b",
    "3:",
    "movq ${no_call}, %rax",
    "jmpq *%rcx",
    ".global begin",
    "begin:",
    "callq {started}",
    "jmp to_user",
    ".global switch",
    "switch:",
    ".irp name, rbx, rbp, r12, r13, r14, r15",
    "pushq %\\name",
    ".endr",
    "movq %rsp, (%rdi)",
    "movq %rsi, %rsp",
    ".irp name, r15, r14, r13, r12, rbp, rbx",
    "popq %\\name",
    ".endr",
    "retq",
    trap = sym trap,
    kernel_trap = sym kernel_trap,
    started = sym crate::task::schedule::started,
    user_data = const interrupts::USER_DATA.0,
    user_code = const interrupts::USER_CODE.0,
    call = const CALL,
    no_call = const -(linux_raw_sys::errno::ENOSYS as i32),
    options(att_syntax),
);

/// The code for a vector, where there is any.
pub fn entry_of(vector: usize) -> Option<VirtAddr> {
    let start = &raw const entries as usize + 16 * vector;
    // 2, 9, 15 and 20 to 31: not an exception that a program can cause, or reserved.
    let is_used = !matches!(vector, 2 | 9 | 15 | 20..=31);
    (is_used && start < &raw const entries_end as usize).then(|| VirtAddr::new(start as u64))
}

/// A trap of a program. Source of the numbers: Intel's manual, volume 3, 6.15.
extern "C" fn trap(frame: &mut Frame) {
    const WRITE: usize = 1 << 1;
    const FETCH: usize = 1 << 4;
    let trap = match frame.vector {
        CALL => Trap::Call,
        14 => {
            let access = match frame.error {
                error if error & FETCH != 0 => Rights::EXECUTE,
                error if error & WRITE != 0 => Rights::WRITE,
                _ => Rights::READ,
            };
            Trap::Page(Cr2::read_raw() as usize, access)
        }
        1 | 3 => Trap::Signal(SIGTRAP),
        6 => Trap::Signal(SIGILL),
        0 | 16 | 19 => Trap::Signal(SIGFPE),
        17 => Trap::Signal(SIGBUS),
        vector if vector < 32 => Trap::Signal(SIGSEGV),
        _ => {
            devices::end_interrupt();
            Trap::Timer
        }
    };
    crate::task::trap::enter(frame, trap);
}

/// A trap in the kernel: an interrupt, which ends the wait of an idle CPU, or a fault.
extern "C" fn kernel_trap(frame: &Frame) {
    if frame.vector < 32 {
        panic!(
            "the kernel trapped: vector {}, error {:#x}, rip {:#x}, cr2 {:#x}",
            frame.vector,
            frame.error,
            frame.rip,
            Cr2::read_raw()
        );
    }
    interrupts::answer_flush();
    devices::end_interrupt();
}
