//! Signals: the request to stop, a vDSO that was truncated, files that are too large, and what this
//! process inherited and leaves to the program that it becomes.
#![allow(
    unsafe_code,
    reason = "an initialiser that runs before Rust's runtime, and sigaction(2)"
)]

use libc::{
    BUS_ADRERR, SIG_DFL, SIG_IGN, SIGBUS, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ, c_int, c_void,
    siginfo_t,
};
use miette::{IntoDiagnostic, Result};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;
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
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
pub(crate) fn sigpipe_was_ignored() -> bool {
    SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Sets a variable of the environment for the program that this process becomes.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_environment(name: &str, value: &std::ffi::OsStr) {
    // SAFETY: `vdso run` has no other thread at that time, so nothing reads the environment meanwhile.
    unsafe { std::env::set_var(name, value) };
}

/// Returns a stream that becomes readable at SIGTERM, SIGINT or SIGHUP. An ignored SIGHUP stays
/// ignored, as nohup(1) requires.
pub(crate) fn stop() -> Result<UnixStream> {
    readable_at(&[SIGTERM, SIGINT, SIGHUP])
}

/// As [`stop`], with a second stream for SIGHUP, which does not end the program.
#[cfg(feature = "feed")]
pub(crate) fn stop_and_reload() -> Result<(UnixStream, UnixStream)> {
    Ok((readable_at(&[SIGTERM, SIGINT])?, readable_at(&[SIGHUP])?))
}

fn readable_at(signals: &[c_int]) -> Result<UnixStream> {
    let (read, write) = UnixStream::pair().into_diagnostic()?;
    for &signal in signals {
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        let write = write.try_clone().into_diagnostic()?;
        signal_hook::low_level::pipe::register(signal, write).into_diagnostic()?;
    }
    Ok(read)
}

/// From now on a write beyond RLIMIT_FSIZE (`ulimit -f`) is an error, EFBIG, and does not end this
/// process by SIGXFSZ (setrlimit(2)). A handler does that, and not SIG_IGN, because a program that is executed has the
/// default again; where the signal is ignored already it stays so.
pub(crate) fn survive_file_size_limit() {
    extern "C" fn too_large(_: c_int) {}
    if is_ignored(SIGXFSZ) {
        return;
    }
    let handler: extern "C" fn(c_int) = too_large;
    // SAFETY: All zeros is a valid `sigaction`, with an empty mask. The handler does nothing, and lives as
    // long as the process. A failure leaves the default, which is what there was before.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(SIGXFSZ, &action, std::ptr::null_mut());
    }
}

/// The message of [`exit_on_truncation`].
static TRUNCATED: OnceLock<String> = OnceLock::new();

/// From now on this process ends with a message and exit status 1 when another program truncates the
/// vDSO at `path` while it is mapped. An access beyond the end of a mapped file is a SIGBUS (mmap(2)),
/// and the length of a file that has a name can't be sealed.
///
/// A command maps one vDSO. The first path is the one that the message has.
pub(crate) fn exit_on_truncation(path: &Path) {
    let path = crate::output::path(path);
    let message = format!(
        "vdso: {path}: another program cut this file short while it was in use, or its disk failed. \
         A vDSO that is in use is replaced by renaming, as `vdso build` and install(1) do, and never \
         written over\n"
    );
    if TRUNCATED.set(message).is_err() {
        return;
    }
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = truncated;
    // SAFETY: All zeros is a valid `sigaction`, with an empty mask. The handler has the type that
    // SA_SIGINFO requires, lives as long as the process, and calls only functions that
    // signal-safety(7) lists. A failure leaves the default, which is what there was before.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(SIGBUS, &action, std::ptr::null_mut());
    }
}

/// The vDSO is the only file that a command maps and that can be truncated: a program that runs
/// can't be (`ETXTBSY`, execve(2)).
extern "C" fn truncated(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: The kernel passes a valid `info` to a handler with SA_SIGINFO. signal(2), raise(3),
    // write(2) and _exit(2) are async-signal-safe, and `OnceLock::get` is an atomic load. The message
    // was stored before the handler was installed, and never changes.
    unsafe {
        match TRUNCATED.get() {
            Some(message) if (*info).si_code == BUS_ADRERR => {
                libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
                libc::_exit(1);
            }
            // Sent by kill(2), or a fault of the hardware: the default action, once this handler
            // returns and the signal is no longer blocked.
            _ => {
                libc::signal(signal, SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}
