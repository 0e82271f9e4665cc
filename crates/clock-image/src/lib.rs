//! The clock image: what a vDSO runs in its caller.
//!
//! The functions of Linux's own vDSO, and [`vdso_clock_bound`](bound), over the
//! records of [`vdsokit_clock`] in the vvar pages:
//!
//! | function | answers from | else |
//! | --- | --- | --- |
//! | `clock_gettime` | the clock's record | the system call |
//! | `gettimeofday` | the record of `CLOCK_REALTIME` | the system call |
//! | `time` | the record of `CLOCK_REALTIME_COARSE` | the system call |
//! | `clock_getres` | the kernel's own vDSO, in the same process | the system call |
//! | `getrandom` | a generation in the page, and the caller's state; or the kernel's own vDSO | the system call |
//! | `getcpu` | the kernel's own vDSO, in the same process, or the CPU (x86-64) | the system call |
//!
//! Names and versions are the architecture's ([`arch`]): x86-64 has
//! `__vdso_clock_gettime` and the weak name `clock_gettime`, version
//! `LINUX_2.6`; AArch64 `__kernel_clock_gettime`, version `LINUX_2.6.39`. They
//! are there only in the image itself (`--cfg vdsokit_image`): in an ordinary
//! program they would take the place of libc's.
//!
//! # Rules of this code
//! It runs in a process that has not heard of it. So: no heap, no panic path
//! (one that is left fails the link), no thread-local and no writable memory, no
//! relocation, little stack; no lock and no state, so that signals, forks and
//! threads may come at any instruction; errors as the kernel's vDSO has them,
//! negative numbers of errno.h.
//!
//! Which clock is answered from what is the page's business, not the code's:
//! whoever publishes chooses a [`Source`](vdsokit_clock::Source) for each clock,
//! at any time. A page of zeroes leads to system calls.
#![no_std]

pub mod arch;
pub mod bound;
pub mod getcpu;
pub mod getrandom;
pub mod gettime;
pub mod link;
mod page;
pub mod wall;

#[cfg(vdsokit_image)]
mod exports;
#[cfg(vdsokit_image)]
mod panic;
