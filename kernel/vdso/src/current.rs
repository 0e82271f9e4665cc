//! The ids of the running task, from the slot of the CPU that it runs on.

use core::arch::asm;
use core::ptr::NonNull;
use vdsokit_current::{Current, Head, PerThread, Reader};
use vdsokit_rt::virtual_syscall;

/// What reads the slots, and makes the system call where they have no answer. The vDSO has no memory of
/// a thread to keep a guess of its slot in, so each read begins without one.
#[inline(always)]
fn current(kept: &PerThread) -> Current<'_> {
    let head: *mut Head;
    // SAFETY: computes an address.
    unsafe {
        asm!("lea {}, [rip + __vdsokit_current]", out(reg) head,
            options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: the kernel maps head and slots there into every process, and changes them by atomic
    // stores only.
    let reader = NonNull::new(head).map(|head| unsafe { Reader::new(head) });
    Current::new(reader, kept)
}

/// The thread's id: gettid(2).
#[virtual_syscall]
pub extern "C" fn gettid() -> isize {
    current(&PerThread::new()).tid() as isize
}

/// The process's id, also in a child of `vfork`: getpid(2).
#[virtual_syscall]
pub extern "C" fn current_getpid() -> isize {
    current(&PerThread::new()).pid() as isize
}

/// The parent's id, likewise: getppid(2).
#[virtual_syscall]
pub extern "C" fn current_getppid() -> isize {
    current(&PerThread::new()).parent() as isize
}
