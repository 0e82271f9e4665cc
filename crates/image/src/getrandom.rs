//! `getrandom`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::{arch, link};
use core::ffi::c_void;

/// `ENOSYS`, negative.
const NO_SUCH_CALL: isize = -38;

/// Random bytes, with the caller's opaque state: handed on to the kernel's own
/// vDSO where that is linked, else by system call, which needs no state.
///
/// The query for the state's size (`state_length` all ones, and nothing else)
/// is answered by the kernel's vDSO alone; without it, by -ENOSYS, after which
/// libc makes system calls (glibc, sysdeps/unix/sysv/linux/getrandom.c).
///
/// # Safety
/// The pointers are what Linux's `vgetrandom` takes (lib/vdso/getrandom.c).
#[inline(always)]
pub unsafe fn getrandom(
    buffer: *mut c_void,
    length: usize,
    flags: u32,
    state: *mut c_void,
    state_length: usize,
) -> isize {
    if let Some(kernel) = link::getrandom() {
        return kernel(buffer, length, flags, state, state_length);
    }
    if state_length == usize::MAX {
        return NO_SUCH_CALL;
    }
    // SAFETY: the caller vouches for the pointer, and the kernel checks it.
    unsafe {
        arch::system_call(
            arch::number::GETRANDOM,
            [buffer.expose_provenance(), length, flags as usize],
        )
    }
}
