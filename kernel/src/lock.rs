//! The lock of the kernel, and data that it guards.
//!
//! One lock guards all of the kernel's data. A CPU takes it at each entry from user mode and
//! releases it at each return and while it is idle, so that user code runs in parallel and kernel
//! code does not. Interrupts are off while kernel code runs. Finer locks would let system calls run
//! in parallel; the clock needs none, since programs read it without a system call.
#![allow(
    unsafe_code,
    reason = "shares data between CPUs under the lock of the kernel"
)]

use crate::arch;
use core::cell::{RefCell, RefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The CPU that holds the lock, plus one; 0 when none does.
static HOLDER: AtomicUsize = AtomicUsize::new(0);

/// Takes the lock of the kernel for this CPU.
pub fn acquire() {
    let me = arch::cpu() + 1;
    while HOLDER
        .compare_exchange_weak(0, me, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        arch::relax();
    }
}

/// Releases the lock of the kernel.
pub fn release() {
    assert!(is_held(), "this CPU does not hold the lock of the kernel");
    HOLDER.store(0, Ordering::Release);
}

/// Whether this CPU holds the lock of the kernel.
pub fn is_held() -> bool {
    HOLDER.load(Ordering::Relaxed) == arch::cpu() + 1
}

/// Data that is reached only while the lock of the kernel is held.
pub struct Guarded<T>(RefCell<T>);

// SAFETY: `get` checks that this CPU holds the lock of the kernel. A CPU releases it only where it
// leaves kernel code, when no borrow is alive. So borrows of two CPUs never overlap, and the lock's
// release and acquire order their accesses.
unsafe impl<T> Sync for Guarded<T> {}
// SAFETY: as no two CPUs use the value at a time, and no value of the kernel is bound to the CPU that
// made it, it may be used and dropped by another one.
unsafe impl<T> Send for Guarded<T> {}

impl<T> Guarded<T> {
    /// Guards `value`.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// The value. No task may be switched while the result is alive.
    ///
    /// # Panics
    /// When this CPU does not hold the lock of the kernel, or the value is borrowed already.
    pub fn get(&self) -> RefMut<'_, T> {
        assert!(is_held(), "this CPU does not hold the lock of the kernel");
        self.0.borrow_mut()
    }
}
