//! Where the program begins: in place of the beginning that Rust's runtime makes, which finds the
//! guard of the stack in /proc/self/maps and makes another stack for signals, so that an overflow has
//! a message. That is a tenth of what `vdso run` adds to the start of each program. And it ignores
//! SIGPIPE and forgets whether that was ignored before, which a program inherits.
//!
//! What else it does is done here: descriptors 0 to 2 are open, so that no file gets such a number;
//! SIGPIPE is ignored, so that writing fails; a panic ends with status 101; output is flushed.
#![allow(
    unsafe_code,
    reason = "the C library calls `main`, and what it does first are foreign functions"
)]

#[cfg(not(test))]
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
#[cfg(not(test))]
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a command ends with. (The standard library's can't be told as a number.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitCode(u8);

impl ExitCode {
    pub(crate) const SUCCESS: ExitCode = ExitCode(0);
    pub(crate) const FAILURE: ExitCode = ExitCode(1);
}

impl From<u8> for ExitCode {
    fn from(code: u8) -> ExitCode {
        ExitCode(code)
    }
}

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Whether this program was started with SIGPIPE ignored.
pub(crate) fn sigpipe_was_ignored() -> bool {
    SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    /// As the runtime has it.
    const PANICKED: ExitCode = ExitCode(101);
    // SAFETY:
    // 1. fcntl(2) and open(2) are given numbers and a string that ends with NUL.
    // 2. SIG_IGN is a valid handler, and no other thread runs yet.
    // 3. `arguments` are `count` strings that end with NUL and live as long as the process (C 5.1.2.2.1).
    let arguments: Vec<OsString> = unsafe {
        for descriptor in 0..=2 {
            if libc::fcntl(descriptor, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        let before = libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        SIGPIPE_WAS_IGNORED.store(before == libc::SIG_IGN, Ordering::Relaxed);
        (0..count as usize)
            .map(|index| CStr::from_ptr(*arguments.add(index)))
            .map(|argument| OsStr::from_bytes(argument.to_bytes()).to_owned())
            .collect()
    };
    let status = std::panic::catch_unwind(|| crate::command(&arguments));
    std::process::exit(status.unwrap_or(PANICKED).0.into())
}
