//! A child of this process, instruction by instruction.
#![allow(
    dead_code,
    unsafe_code,
    reason = "a process is traced, and its registers are set to call a function; each test program uses a part of it"
)]

use libc::{pid_t, user_regs_struct};
use std::ptr::null_mut;

/// The registers that a caller gets back from a function (System V ABI, AMD64, 3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    /// `rbx`, `rbp`, and `r12` to `r15`.
    pub(crate) kept: [u64; 6],
}

/// What the test puts into the registers that a function has to keep.
const MARKS: [u64; 6] = [0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6];
/// Where functions return to: no address that is mapped.
const NOWHERE: u64 = 0x10;

/// A copy of this process that is stopped.
pub(crate) struct Tracee {
    pid: pid_t,
    /// Its registers before the first call.
    idle: user_regs_struct,
}

impl Tracee {
    pub(crate) fn start() -> Self {
        // SAFETY: the child makes system calls alone, and ends without running anything of the
        // parent's.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: system calls that touch no memory.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGSTOP);
                libc::_exit(1);
            }
        }
        assert!(pid > 0, "no child: {}", std::io::Error::last_os_error());
        let mut tracee = Self {
            pid,
            // SAFETY: numbers alone.
            idle: unsafe { std::mem::zeroed() },
        };
        tracee.wait(libc::SIGSTOP);
        // SAFETY: an option of our tracee's, which is stopped.
        let set = unsafe {
            libc::ptrace(
                libc::PTRACE_SETOPTIONS,
                pid,
                0,
                libc::PTRACE_O_EXITKILL as usize,
            )
        };
        assert_eq!(set, 0);
        tracee.idle = tracee.get();
        tracee
    }

    /// Sets the registers as a call of a function does; what its caller is to get back.
    pub(crate) fn enter(&self, function: u64, arguments: &[u64]) -> Registers {
        let mut registers = self.idle;
        // Below the red zone, and aligned as before a call.
        let caller = (registers.rsp - 4096) & !15;
        self.write(caller - 8, NOWHERE);
        registers.rsp = caller - 8;
        registers.rip = function;
        // No system call is to be restarted.
        registers.orig_rax = u64::MAX;
        let places = [
            &mut registers.rdi,
            &mut registers.rsi,
            &mut registers.rdx,
            &mut registers.rcx,
            &mut registers.r8,
        ];
        for (place, argument) in places.into_iter().zip(arguments) {
            *place = *argument;
        }
        [
            registers.rbx,
            registers.rbp,
            registers.r12,
            registers.r13,
            registers.r14,
            registers.r15,
        ] = MARKS;
        self.set(&registers);
        Registers {
            pc: NOWHERE,
            sp: caller,
            kept: MARKS,
        }
    }

    /// After the return of a function.
    pub(crate) fn leave(&self) {
        self.set(&self.idle);
    }

    pub(crate) fn registers(&self) -> Registers {
        let registers = self.get();
        Registers {
            pc: registers.rip,
            sp: registers.rsp,
            kept: [
                registers.rbx,
                registers.rbp,
                registers.r12,
                registers.r13,
                registers.r14,
                registers.r15,
            ],
        }
    }

    pub(crate) fn step(&self) {
        // SAFETY: our tracee, which is stopped.
        let stepped = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.pid, 0, 0) };
        assert_eq!(stepped, 0);
        self.wait(libc::SIGTRAP);
    }

    /// A word of its memory.
    pub(crate) fn word(&self, address: u64) -> u64 {
        let mut word = 0u64;
        let local = libc::iovec {
            iov_base: (&raw mut word).cast(),
            iov_len: 8,
        };
        let remote = libc::iovec {
            iov_base: address as *mut libc::c_void,
            iov_len: 8,
        };
        // SAFETY: the kernel writes 8 bytes of a local variable.
        let read = unsafe { libc::process_vm_readv(self.pid, &local, 1, &remote, 1, 0) };
        assert_eq!(read, 8, "{address:#x} can't be read");
        word
    }

    fn write(&self, address: u64, word: u64) {
        // SAFETY: a word of our tracee's stack, which nothing there uses.
        let written = unsafe { libc::ptrace(libc::PTRACE_POKEDATA, self.pid, address, word) };
        assert_eq!(written, 0);
    }

    fn get(&self) -> user_regs_struct {
        // SAFETY: numbers alone.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes the registers of our tracee there.
        let got = unsafe {
            libc::ptrace(
                libc::PTRACE_GETREGS,
                self.pid,
                null_mut::<libc::c_void>(),
                &raw mut registers,
            )
        };
        assert_eq!(got, 0);
        registers
    }

    fn set(&self, registers: &user_regs_struct) {
        // SAFETY: our tracee, which is stopped; it runs what this test lets it run.
        let set = unsafe {
            libc::ptrace(
                libc::PTRACE_SETREGS,
                self.pid,
                null_mut::<libc::c_void>(),
                std::ptr::from_ref(registers),
            )
        };
        assert_eq!(set, 0);
    }

    fn wait(&self, signal: i32) {
        let mut status = 0;
        // SAFETY: our child, and a local variable.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(waited, self.pid);
        assert!(
            libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == signal,
            "{status:#x} at {:#x}",
            self.get().rip
        );
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // SAFETY: our child, which is waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, null_mut(), 0);
        }
    }
}
