//! The clock functions of Linux's own vDSO, in Rust, over Linux's own data page.
//!
//! `clock_gettime`, `clock_getres`, `gettimeofday`, `time` and `getcpu` for x86-64, in place
//! of the kernel's `vclock_gettime.c` and `vgetcpu.c`: with the same names, results, errors
//! and fallbacks, over the page that the kernel keeps anyway.
//!
//! # How it comes into a kernel
//! `vdso kernel add --clock` writes these very files into the kernel's tree, whose make
//! compiles them by `rustc` alone: no cargo, no dependency, nothing but `core`. Which is why
//! the few lines that `vdsokit-clock-image` has as well, such as `timespec`, stand here again.
//!
//! No offset, clock number, mode or number of a system call of Linux's is written down here.
//! The kernel's compiler tells them, from the kernel's own headers, each time the kernel is
//! built (`kernel/facts.c`), and with them the instructions that the kernel replaces at boot
//! on CPUs that have better ones. A header that no longer has what is asked for, or a symbol
//! that the linker script doesn't define, ends the build.
//!
//! # What it promises
//! 1. **One time.** A reading comes from one state of the page (`data`), as with the
//!    kernel's sequence count: a reader waits while the kernel writes.
//! 2. **Never back.** A counter that is behind the kernel's last reading counts as equal to
//!    it, and a difference that would overflow 64 bits is multiplied in 128.
//! 3. **Time namespaces** and the clocks of KVM, Xen and Hyper-V are read as the kernel
//!    reads them; whatever else gives no answer is a system call.
//! 4. **No state**: no memory is written but the caller's, no panic can be reached.
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
