//! The clock image: what a vDSO runs in its caller.
//!
//! The functions of Linux's own vDSO, and [`vdso_clock_bound`](bound), over the
//! records of [`vdsokit_clock`] in the vvar pages:
//!
//! | function | answers from | otherwise |
//! | --- | --- | --- |
//! | `clock_gettime` | the clock's record | the kernel's own vDSO, or the system call |
//! | `gettimeofday` | the record of `CLOCK_REALTIME`; the time zone from the kernel's own vDSO | the system call |
//! | `time` | the record of `CLOCK_REALTIME_COARSE` | the kernel's own vDSO, or the system call |
//! | `clock_getres` | the kernel's own vDSO, in the same process | the system call |
//! | `getrandom` | a generation in the page, and the caller's state; or the kernel's own vDSO | the system call |
//! | `getcpu` | the kernel's own vDSO, in the same process, or the CPU (x86-64) | the system call |
//!
//! Clock ids without a record, `CLOCK_AUX` (16 and up) among them, are the kernel's: its
//! vDSO may know them. On x86-64 the CPU-time clocks of the calling thread and process are those of
//! [`vdsokit_current`] where delivery has linked its pages.
//!
//! Names and versions are those of the architecture ([`arch`]): x86-64 has
//! `__vdso_clock_gettime` and the weak name `clock_gettime`, version
//! `LINUX_2.6`; AArch64 has `__kernel_clock_gettime`, version `LINUX_2.6.39`; RISC-V has
//! `__vdso_clock_gettime` alone, version `LINUX_4.15`, and LoongArch likewise, version `LINUX_5.10`; i386 has functions of its own (`i386.rs`),
//! version `LINUX_2.6`. They
//! exist only in the image itself (`--cfg vdsokit_image`): in an ordinary
//! program they would replace libc's.
//!
//! # Rules of this code
//! It runs in programs that were not written for it. So it has no heap, no panic
//! path (one that is left fails the link), no thread-local and no writable memory but what links lead to,
//! no relocation, and uses little stack; no lock and no state, so that signals,
//! forks and threads may interrupt it at any instruction; errors are those of the
//! kernel's vDSO, negative numbers of errno.h.
//!
//! From what a clock is answered is decided by the page, not by the code: the
//! publisher sets a [`Source`](vdsokit_clock::Source) for each clock, at any time.
//! With a page of zeroes every function makes system calls.
#![cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "x86"
))]
#![no_std]

pub mod arch;
#[cfg(not(target_arch = "x86"))]
pub mod bound;
#[cfg(not(target_arch = "x86"))]
pub mod getcpu;
#[cfg(not(target_arch = "x86"))]
pub mod getrandom;
pub mod gettime;
#[cfg(target_arch = "x86")]
pub mod i386;
pub mod link;
mod page;
pub mod wall;

#[cfg(all(vdsokit_image, not(target_arch = "x86")))]
mod exports;
#[cfg(vdsokit_guest)]
mod process;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
