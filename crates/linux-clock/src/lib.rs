//! The clock functions of Linux's own vDSO, in Rust, over Linux's own data page.
//!
//! `clock_gettime`, `clock_getres`, `gettimeofday`, `time` and `getcpu` for x86-64, in place
//! of the kernel's `vclock_gettime.c` and `vgetcpu.c`: with the same names, results, errors
//! and fallbacks, reading the kernel's existing page.
//!
//! # How it gets into a kernel
//! `vdso kernel add --clock` writes these files into the kernel's tree, whose make compiles
//! them with `rustc` alone: no cargo, no dependency, nothing but `core`. That is why a few
//! lines of `vdsokit-clock-image`, such as `timespec`, are repeated here.
//!
//! No offset, clock number, mode or system call number of Linux is written down here. The
//! kernel's compiler generates them from the kernel's own headers in each build of the kernel
//! (`kernel/facts.c`), with the instructions that the kernel patches at boot on CPUs that
//! have better ones. If a header lacks one of them, or the linker script does not define a
//! symbol, the build fails.
//!
//! # What it promises
//! 1. **Consistent.** A reading is from one state of the page (`data`), by the kernel's
//!    sequence count: a reader waits while the kernel writes.
//! 2. **Never back.** A counter behind the kernel's last reading counts as equal to it, and
//!    a product that would overflow 64 bits is computed in 128.
//! 3. **Time namespaces** and the clocks of KVM, Xen and Hyper-V are read as the kernel
//!    reads them; all other cases are system calls.
//! 4. **No state**: only the caller's memory is written, and no panic can be reached.
//!
//! Behaviour learned from Linux 6.12: `lib/vdso/gettimeofday.c`,
//! `arch/x86/include/asm/vdso/gettimeofday.h`, `arch/x86/include/asm/pvclock.h`,
//! `include/clocksource/hyperv_timer.h`, `kernel/time/namespace.c`.
#![no_std]

#[cfg(any(vdsokit_kernel, test))]
#[macro_use]
mod facts;
#[cfg(any(vdsokit_kernel, test))]
mod counter;
#[cfg(any(vdsokit_kernel, test))]
mod cpu;
#[cfg(any(vdsokit_kernel, test))]
mod data;
#[cfg(vdsokit_kernel)]
mod exports;
#[cfg(vdsokit_kernel)]
mod kernel;
#[cfg(any(vdsokit_kernel, test))]
mod time;

#[cfg(not(vdsokit_kernel))]
mod sources;
#[cfg(not(vdsokit_kernel))]
pub use sources::{FACTS, OPTIONS, SOURCES};

#[cfg(test)]
mod tests;
