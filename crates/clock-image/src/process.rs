//! Facts of the calling process, from a page of its own that its kernel publishes.
//!
//! In the images of `vdsokit-guest` only: under Linux no such page exists.
#![allow(
    unsafe_code,
    reason = "the image has the address of its pages; symbols get names that nothing else in it has"
)]

use crate::arch;
use core::sync::atomic::Ordering;
use vdsokit_vvar::latch::Word;
use vdsokit_vvar::process::{DISTANCE, FLAG, PID, PPID, VALID};

/// The fact at `offset`; `None` if the kernel does not publish it now.
///
/// The thread that reads belongs to the process that the facts are of, or finds that they are not
/// valid: a kernel invalidates them before a thread of another process first runs in this address
/// space, and sets them right after its last one has left.
#[inline(always)]
fn fact(offset: usize) -> Option<u64> {
    // SAFETY: (1) the vvar pages are mapped behind the image, readable, for as long as the image
    // is; (2) the word lies within the first page and at a multiple of 8; (3) it is an atomic, and
    // its publisher stores it as such.
    let word = |at: usize| unsafe { &*arch::vvar::<0>().add(at).cast::<Word>() };
    if word(FLAG).load(Ordering::Relaxed) == 0 {
        return None;
    }
    // The page is mapped there, for as long as the image is: that is what the flag says. So the
    // facts above hold for these words as well.
    if word(DISTANCE + VALID).load(Ordering::Acquire) == 0 {
        return None;
    }
    Some(word(DISTANCE + offset).load(Ordering::Relaxed))
}

/// getpid(2). Not a function of Linux's vDSO, so its name is the same on all architectures.
#[unsafe(no_mangle)]
extern "C" fn vdso_getpid() -> i32 {
    match fact(PID) {
        Some(id) => id as i32,
        // SAFETY: the call has no argument and no effect.
        None => unsafe { arch::system_call(arch::number::GETPID, [0; 3]) as i32 },
    }
}

/// getppid(2).
#[unsafe(no_mangle)]
extern "C" fn vdso_getppid() -> i32 {
    match fact(PPID) {
        Some(id) => id as i32,
        // SAFETY: the call has no argument and no effect.
        None => unsafe { arch::system_call(arch::number::GETPPID, [0; 3]) as i32 },
    }
}
