//! `getrandom`.
#![allow(
    unsafe_code,
    reason = "C callers pass pointers; the last resort is a system call"
)]

use crate::{arch, link, page};
use core::ffi::c_void;
use core::sync::atomic::Ordering;
use vdsokit_random::{Generation, Request};

/// `ENOSYS`, negative.
const NO_SUCH_CALL: isize = -38;

/// Random bytes, with the caller's opaque state: made here where the page has a generation,
/// which a kernel publishes; else by the kernel's own vDSO where that is linked; else by
/// system call, which needs no state.
///
/// The query for the state's size goes the same way. Where bytes come from the system call
/// its result is -ENOSYS, after which libc makes system calls (glibc,
/// sysdeps/unix/sysv/linux/getrandom.c).
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
    let generation = page::random_generation().load(Ordering::Relaxed);
    if generation != Generation::NONE.to_word() {
        // SAFETY: the caller vouches for the pointers.
        return unsafe { own(buffer, length, flags, state, state_length) };
    }
    if let Some(kernel) = link::getrandom() {
        return kernel(buffer, length, flags, state, state_length);
    }
    let request = request(buffer, length, flags, state, state_length);
    if request.is_query() {
        return NO_SUCH_CALL;
    }
    // SAFETY: the caller vouches for the pointer.
    unsafe { by_call(request.buffer, length, flags) }
}

/// [`getrandom`] where the page has a generation; a function of its own, so that calls of the
/// kernel's vDSO are jumps.
///
/// # Safety
/// As for [`getrandom`].
#[inline(never)]
unsafe extern "C" fn own(
    buffer: *mut c_void,
    length: usize,
    flags: u32,
    state: *mut c_void,
    state_length: usize,
) -> isize {
    let request = request(buffer, length, flags, state, state_length);
    // SAFETY: (1) the caller vouches for the pointers; (2) the call is getrandom(2).
    unsafe {
        vdsokit_random::getrandom(
            page::random_generation(),
            |buffer, length, flags| by_call(buffer, length, flags),
            request,
        )
    }
}

#[inline(always)]
fn request(
    buffer: *mut c_void,
    length: usize,
    flags: u32,
    state: *mut c_void,
    state_length: usize,
) -> Request {
    Request {
        buffer: buffer.cast(),
        length,
        flags,
        state: state.cast(),
        state_length,
    }
}

/// The system call.
///
/// # Safety
/// As for getrandom(2); the kernel checks the pointer.
#[inline(always)]
unsafe fn by_call(buffer: *mut u8, length: usize, flags: u32) -> isize {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        arch::system_call(
            arch::number::GETRANDOM,
            [buffer.expose_provenance(), length, flags as usize],
        )
    }
}
