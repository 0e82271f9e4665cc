//! Failures as C knows them: a return value, `errno`, and a sentence.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::fmt::{Display, Write};
use std::io;
use std::path::Path;
use std::ptr;

use vdsokit_publish::Error;

/// Why a function failed.
#[derive(Debug)]
pub(crate) struct Failure {
    errno: c_int,
    message: String,
}

impl Failure {
    fn new(errno: c_int, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { errno, message }
    }

    pub(crate) fn null(name: &str) -> Self {
        Self::new(
            libc::EFAULT,
            format!("the argument `{name}` is a null pointer"),
        )
    }

    pub(crate) fn encoding(name: &str) -> Self {
        Self::new(libc::EILSEQ, format!("the argument `{name}` is not UTF-8"))
    }

    pub(crate) fn invalid(error: impl Display) -> Self {
        Self::new(libc::EINVAL, error.to_string())
    }

    pub(crate) fn range(value: impl Display, ty: impl Display) -> Self {
        Self::new(libc::ERANGE, format!("{value} does not fit in {ty}"))
    }

    pub(crate) fn kind(wanted: &str, ty: impl Display) -> Self {
        let message = format!("the variable is of type {ty}, which does not take {wanted}");
        Self::new(libc::EINVAL, message)
    }

    pub(crate) fn retired() -> Self {
        Self::new(libc::ESHUTDOWN, "the publisher is retired")
    }

    pub(crate) fn unbounded(error: clock::Unbounded) -> Self {
        let errno = match error {
            clock::Unbounded::NotSynchronised => libc::ENODATA,
            _ => libc::EINVAL,
        };
        Self::new(errno, error.to_string())
    }

    pub(crate) fn architecture() -> Self {
        let message = format!("no image can be built for {}", std::env::consts::ARCH);
        Self::new(libc::ENOSYS, message)
    }

    pub(crate) fn reading(path: &Path, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Self::new(
            errno,
            format!("{}: cannot read it: {error}", path.display()),
        )
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let errno = match &error {
            Error::Missing { .. } | Error::NoDirectory { .. } | Error::Unknown { .. } => {
                libc::ENOENT
            }
            Error::Denied { .. } | Error::NotWritable { .. } => libc::EACCES,
            Error::NoSpace { .. } => libc::ENOSPC,
            Error::Busy { .. } | Error::Taken { .. } => libc::EBUSY,
            Error::Unfit { .. } | Error::LockFile { .. } => libc::EPERM,
            Error::Layout { .. } => libc::EEXIST,
            Error::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            _ => libc::EINVAL,
        };
        let mut message = error.to_string();
        if let Some(help) = error.hint() {
            // Writing to a string does not fail.
            let _ = write!(message, "; {help}");
        }
        Self { errno, message }
    }
}

thread_local! {
    static MESSAGE: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Records a failure and returns -1.
pub(crate) fn failed(failure: Failure) -> c_int {
    // A NUL would end the sentence early for a reader in C.
    let message = CString::new(failure.message.replace('\0', "\\0")).ok();
    MESSAGE.with(|place| *place.borrow_mut() = message);
    // SAFETY: errno(3): the location belongs to this thread.
    unsafe { *libc::__errno_location() = failure.errno };
    -1
}

/// 0, or -1 for a failure.
pub(crate) fn number(result: Result<(), Failure>) -> c_int {
    result.map_or_else(failed, |()| 0)
}

/// The pointer that C holds a value by, or null for a failure.
pub(crate) fn pointer<T>(result: Result<Box<T>, Failure>) -> *mut T {
    result.map_or_else(
        |failure| {
            failed(failure);
            ptr::null_mut()
        },
        Box::into_raw,
    )
}

/// What went wrong in the last call of this thread that failed, as a sentence that names the file
/// or the variable and what to do; null if none failed.
///
/// The text is valid until the next call of this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn vdsokit_error() -> *const c_char {
    MESSAGE.with(|place| {
        place
            .borrow()
            .as_ref()
            .map_or(ptr::null(), |text| text.as_ptr())
    })
}
