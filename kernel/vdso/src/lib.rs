//! What the vDSO of the reference kernel has besides Linux's functions: the function and the
//! variable of `examples/beast`, and a function `__vdso_NAME` for each system call of the kernel.
//!
//! The functions come from [`calls.rs`](../src/calls.rs), the table by which the kernel itself
//! dispatches. Each has the signature of the call in C (`man 2 NAME`) and returns what the kernel
//! returns: a result from -4095 to -1 is a negative `errno`, as from the functions of Linux's vDSO.
//! `__vdso_getrandom` alone differs from its call: Linux gave it two more arguments.
//!
//! No call has more than six arguments, all of them integers or pointers, so the registers of C's
//! calling convention are those of a system call, but for one on x86-64.
#![no_std]
#![allow(unsafe_code, reason = "functions in assembly")]

pub use beast::number_of_the_beast;

#[cfg(target_arch = "x86_64")]
mod current;

use core::arch::naked_asm;
use vdsokit_rt::virtual_syscall;

/// Parts of functions, as assembly: `number` prepares the registers for the call `{}`, `enter` makes
/// it, `zero` sets the result to 0, `jump` goes to a function.
#[cfg(target_arch = "x86_64")]
macro_rules! part {
    (number) => { "mov r10, rcx\n mov eax, {}" };
    (enter) => { "syscall" };
    (zero) => { "xor eax, eax" };
    (jump) => { "jmp " };
}
#[cfg(target_arch = "aarch64")]
macro_rules! part {
    (number) => { "mov x8, {}" };
    (enter) => { "svc #0" };
    (zero) => { "mov x0, 0" };
    (jump) => { "b " };
}
#[cfg(target_arch = "riscv64")]
macro_rules! part {
    (number) => { "li a7, {}" };
    (enter) => { "ecall" };
    (zero) => { "li a0, 0" };
    (jump) => { "tail " };
}

/// Exports a function in assembly as `__vdso_NAME` and `NAME`.
macro_rules! function {
    ($name:ident: $($assembly:expr),*; $($constant:tt)*) => {
        #[virtual_syscall]
        #[unsafe(naked)]
        pub extern "C" fn $name(_: usize, _: usize, _: usize, _: usize, _: usize, _: usize) -> isize {
            naked_asm!(".cfi_startproc", $($assembly,)* ".cfi_endproc", $($constant)*)
        }
    };
}

/// Enters the kernel.
macro_rules! entered {
    ($name:ident $number:ident) => {
        function! { $name: part!(number), part!(enter), "ret"; const numbers::$number }
    };
}

/// Returns 0.
macro_rules! zero {
    ($name:ident $number:ident) => {
        function! { $name: part!(zero), "ret"; }
    };
}

/// Enters the kernel, and returns in the child too. On x86-64 the return address stays in a register
/// meanwhile: a child of `vfork` overwrites it on the stack, and a child with a stack of its own does
/// not have it there. `clone` has five arguments, so the sixth's register is free.
macro_rules! cloning {
    ($name:ident $number:ident) => {
        #[cfg(target_arch = "x86_64")]
        function! { $name: "pop r9", ".cfi_adjust_cfa_offset -8", ".cfi_register rip, r9",
            part!(number), part!(enter), "jmp r9"; const numbers::$number }
        #[cfg(not(target_arch = "x86_64"))]
        entered! { $name $number }
    };
}

/// The image has the function already: under this name, or on AArch64 under that of Linux there.
macro_rules! answered {
    (getpid $number:ident) => {
        function! { getpid: concat!(part!(jump), "vdso_getpid"); }
    };
    (getppid $number:ident) => {
        function! { getppid: concat!(part!(jump), "vdso_getppid"); }
    };
    // AArch64's image has none.
    (getcpu $number:ident) => {
        #[cfg(target_arch = "aarch64")]
        entered! { getcpu $number }
    };
    // x86-64's is in `current`; the others have no slots.
    (gettid $number:ident) => {
        #[cfg(not(target_arch = "x86_64"))]
        entered! { gettid $number }
    };
    // x86-64's has none.
    (rt_sigreturn $number:ident) => {
        #[cfg(target_arch = "x86_64")]
        entered! { rt_sigreturn $number }
        #[cfg(target_arch = "aarch64")]
        function! { rt_sigreturn: concat!(part!(jump), "__kernel_rt_sigreturn"); }
    };
    ($name:ident $number:ident) => {
        #[cfg(target_arch = "aarch64")]
        function! { $name: concat!(part!(jump), "__kernel_", stringify!($name)); }
    };
}

/// Expands the table: the macro of each entry's section defines its function.
macro_rules! calls {
    (|$($context:ident),*| $($section:ident {
        $($(#[$condition:meta])? $name:ident: $number:ident => $call:expr;)*
    })*) => {
        $($($(#[$condition])? $section! { $name $number })*)*
    };
}

include!("calls.rs");

// The entry of the kernel, with number and arguments in the registers of a system call: AT_SYSINFO
// in the auxiliary vector is its address.
function! { kernel_entry: part!(enter), "ret"; }
