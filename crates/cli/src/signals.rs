//! Signals: the request to stop, and the dispositions that this process inherited.
#![allow(
    unsafe_code,
    reason = "an initialiser that runs before Rust's runtime, and sigaction(2)"
)]

use libc::{SIG_IGN, SIGHUP, SIGINT, SIGPIPE, SIGTERM, c_int};
use miette::{IntoDiagnostic, Result};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`, because Rust's runtime sets SIGPIPE to ignored and does not keep what it was
/// before. A program that `vdso run` executes must inherit the original disposition.
// Sound, because the C library calls each function in `.init_array` once, on the main thread, before `main`
// (System V gABI, "Initialization and Termination Functions"). This one has the C ABI, ignores the
// arguments that glibc passes, and needs nothing that Rust's runtime sets up.
#[unsafe(link_section = ".init_array")]
#[used]
static REMEMBER_SIGPIPE: extern "C" fn() = remember_sigpipe;

extern "C" fn remember_sigpipe() {
    SIGPIPE_WAS_IGNORED.store(is_ignored(SIGPIPE), Ordering::Relaxed);
}

fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: Without a new action sigaction(2) changes nothing. It writes the current action to
    // `action`, which is large enough, and returns 0 when it did; only then `action` is read.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == SIG_IGN
    }
}

/// Whether SIGPIPE was ignored when this program was executed.
#[cfg(target_arch = "x86_64")]
pub(crate) fn sigpipe_was_ignored() -> bool {
    SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Returns a stream that becomes readable at SIGTERM, SIGINT or SIGHUP. An ignored SIGHUP stays
/// ignored, as nohup(1) requires.
pub(crate) fn stop() -> Result<UnixStream> {
    let (read, write) = UnixStream::pair().into_diagnostic()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        let write = write.try_clone().into_diagnostic()?;
        signal_hook::low_level::pipe::register(signal, write).into_diagnostic()?;
    }
    Ok(read)
}
