//! Publishing a vDSO from C, and from every language that calls C.
//!
//! A publisher here is `vdsokit_publish::Publisher`: the same lock on the file's name, the same
//! rules about where a file may lie, the same guarantees for readers. `include/vdsokit.h` is
//! generated from this crate; the documentation of each function is written here and copied there.
//!
//! # Rules of the interface
//! - A function that fails returns -1 or a null pointer, sets `errno`, and keeps a sentence that
//!   [`vdsokit_error`] returns. A function that succeeds leaves both alone.
//! - Texts are UTF-8 and end with a NUL.
//! - A publisher may be used from several threads at once. A handle of a scalar ([`vdsokit_var`])
//!   may be too: each write is one atomic store with release ordering.
//! - A child of fork(2) is not the publisher and must not call any function of this library with
//!   what it inherited.
#![allow(
    unsafe_code,
    reason = "pointers from C are read and written; each function states what its caller promises"
)]

mod error;
mod scalar;

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{LazyLock, RwLock};
use std::time::Duration;

use clock::{ClockId, Unbounded};
use vdsokit_build::{Architecture, Declaration};
use vdsokit_publish::assign::{self, Assignment};
use vdsokit_publish::{Publisher, Vdso, place};

pub use error::vdsokit_error;
use error::{Failure, failed, number, pointer};
use scalar::ScalarWriter;

/// The one publisher of a vDSO.
pub struct VdsokitPublisher {
    /// `None` once it is retired.
    publisher: RwLock<Option<Publisher>>,
    /// The same pages, read as any process reads them.
    reader: Vdso,
}

/// A scalar variable of a publisher, to write it with one store.
pub struct VdsokitVar(ScalarWriter);

impl VdsokitPublisher {
    fn new(publisher: Publisher) -> Result<Box<Self>, Failure> {
        let reader = Vdso::open(publisher.path())?;
        let publisher = RwLock::new(Some(publisher));
        Ok(Box::new(Self { publisher, reader }))
    }

    /// Calls `action` with the publisher, unless it is retired.
    fn with<T>(
        &self,
        action: impl FnOnce(&Publisher) -> Result<T, vdsokit_publish::Error>,
    ) -> Result<T, Failure> {
        // The lock is never poisoned: a panic aborts, because it would unwind into C.
        let publisher = self.publisher.read().map_err(|_| Failure::retired())?;
        let publisher = publisher.as_ref().ok_or_else(Failure::retired)?;
        Ok(action(publisher)?)
    }
}

/// Stores the earliest and the latest moment that the true time of `clock` may be, a number of
/// clock_gettime(2), in nanoseconds since its zero.
///
/// The true time of `CLOCK_REALTIME` and `CLOCK_TAI` is UTC and TAI, and the interval is as wide as
/// the NTP daemon of this machine knows. For the other clocks it is the kernel's own clock. Event A
/// surely happened before event B, on another machine too, if the latest moment of A is before the
/// earliest of B.
///
/// Returns -1 on failure, and stores nothing: `ENODATA` for a wall clock that no NTP daemon (chronyd,
/// ntpd, systemd-timesyncd) keeps, `EINVAL` for a clock that this machine does not have.
///
/// # Safety
/// Both pointers are null or valid for a write of 8 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_bounds(
    clock: c_int,
    earliest: *mut u64,
    latest: *mut u64,
) -> c_int {
    let places = (NonNull::new(earliest), NonNull::new(latest));
    let (Some(first), Some(last)) = places else {
        return failed(Failure::null("earliest or latest"));
    };
    match bounds(clock) {
        Ok((earliest, latest)) => {
            // SAFETY: neither is null, so the caller promises that each is valid for this write.
            unsafe {
                first.write(earliest);
                last.write(latest);
            }
            0
        }
        Err(failure) => failed(failure),
    }
}

fn bounds(clock: c_int) -> Result<(u64, u64), Failure> {
    // Looked for once, as each look opens files.
    static CLOCK: LazyLock<clock::Clock> = LazyLock::new(clock::Clock::new);
    let id = u32::try_from(clock).ok().and_then(ClockId::from_id);
    let id = id.ok_or_else(|| Failure::unbounded(Unbounded::NoClock))?;
    let (earliest, latest) = CLOCK.bounds(id).map_err(Failure::unbounded)?;
    // 2^64 nanoseconds are 584 years.
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Ok((nanoseconds(earliest), nanoseconds(latest)))
}

/// Builds the image of the declaration in the file `declaration` (TOML) and becomes its publisher
/// at `path`.
///
/// The same image is resumed with its values. Another one is replaced in one step, and variables
/// that both have keep their values. If `path` is null, the file lies beside the declaration,
/// or in the `RuntimeDirectory=` of a systemd service, and has its soname as its name.
///
/// Returns null on failure: `EBUSY` when another process is the publisher, `EEXIST` when the file
/// that is there has a variable of another type or at another place, `ENOENT`, `EACCES`, `ENOSPC`,
/// `EPERM` when nothing can be published in that directory, `EINVAL` for a declaration with errors.
///
/// # Safety
/// Both are null or point to a text that ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_create(
    declaration: *const c_char,
    path: *const c_char,
) -> *mut VdsokitPublisher {
    let create = || {
        // SAFETY: the caller's promise about `declaration`.
        let declaration = Path::new(unsafe { text("declaration", declaration) }?);
        let source = vdsokit_build::read_declaration(declaration)
            .map_err(|error| Failure::reading(declaration, &error))?;
        let name = declaration.display().to_string();
        let parsed = Declaration::parse(&name, &source).map_err(Failure::invalid)?;
        let host = Architecture::host().ok_or_else(Failure::architecture)?;
        let image = vdsokit_build::image(&parsed, host).map_err(Failure::invalid)?;
        let path = match path.is_null() {
            true => place::of_declaration(declaration, parsed.soname()),
            // SAFETY: the caller's promise about `path`.
            false => Path::new(unsafe { text("path", path) }?).to_owned(),
        };
        VdsokitPublisher::new(Publisher::create(path, &image)?)
    };
    pointer(create())
}

/// Becomes the publisher of the vDSO in the file `path`, which `vdso build` made. The values are
/// those that the last publisher left, or the declaration's initial ones.
///
/// Returns null on failure, with `errno` as [`vdsokit_create`] sets it.
///
/// # Safety
/// `path` is null or points to a text that ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_open(path: *const c_char) -> *mut VdsokitPublisher {
    // SAFETY: the caller's promise about `path`.
    let path = unsafe { text("path", path) };
    let open = || VdsokitPublisher::new(Publisher::open(path?)?);
    pointer(open())
}

/// Gives one variable, or one field `variable.field` of a record, the value that `value` stands
/// for: a number, `true` or `false`, a text without quotes, or an array `1,2,3`. All of a text
/// counts: blanks and quotes are part of the value.
///
/// Returns 0, or -1: `ENOENT` for a name that the vDSO does not have, `EINVAL` for a value that
/// does not fit the type, `EBUSY` while another handle writes the same record, `ESHUTDOWN` after
/// [`vdsokit_retire`]. On failure nothing is written.
///
/// # Safety
/// `publisher` is null or a publisher that is not closed; `name` and `value` are null or point to
/// texts that end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_set(
    publisher: *const VdsokitPublisher,
    name: *const c_char,
    value: *const c_char,
) -> c_int {
    let set = || {
        // SAFETY: the caller's promises about the three.
        let (publisher, name, value) = unsafe {
            (
                reference("publisher", publisher)?,
                text("name", name)?,
                text("value", value)?,
            )
        };
        let assignment = Assignment::new(name, value)?;
        publisher.with(|publisher| publisher.assign(&[assignment]))
    };
    number(set())
}

/// Makes all of the assignments of a line, or none of them: `temperature=21.5 wind.speed=3
/// wind.from="north west"`. Fields of one record that stand on one line are written together.
///
/// Returns 0, or -1 with `errno` as [`vdsokit_set`] sets it.
///
/// # Safety
/// `publisher` is null or a publisher that is not closed; `line` is null or points to a text that
/// ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_assign(
    publisher: *const VdsokitPublisher,
    line: *const c_char,
) -> c_int {
    let assign = || {
        // SAFETY: the caller's promises about both.
        let (publisher, line) =
            unsafe { (reference("publisher", publisher)?, text("line", line)?) };
        let assignments = assign::parse(line)?;
        publisher.with(|publisher| publisher.assign(&assignments))
    };
    number(assign())
}

/// Writes the value of a variable as text into `buffer`, as [`vdsokit_set`] takes it; a record as
/// assignments of its fields, as [`vdsokit_assign`] takes them.
///
/// Returns the length of the text without its final NUL, also when `size` is too small for it;
/// then `buffer` holds as much as fits, ended by a NUL. Returns -1 on failure.
///
/// # Safety
/// `publisher` is null or a publisher that is not closed; `name` is null or points to a text that
/// ends with a NUL; `buffer` has room for `size` bytes, and may be null if `size` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_get(
    publisher: *const VdsokitPublisher,
    name: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> libc::ssize_t {
    let get = || {
        // SAFETY: the caller's promises about both.
        let (publisher, name) =
            unsafe { (reference("publisher", publisher)?, text("name", name)?) };
        let value = publisher.reader.get(name)?;
        let value = match &value {
            vdsokit_publish::Dynamic::Text(text) => text.clone(),
            other => other.to_string(),
        };
        let fits = value.len().min(size.saturating_sub(1));
        if size > 0 {
            if buffer.is_null() {
                return Err(Failure::null("buffer"));
            }
            // SAFETY: `fits + 1 <= size` bytes are written, for which the caller gives room; the
            // text was made here, so the two do not overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(value.as_ptr().cast(), buffer, fits);
                *buffer.add(fits) = 0;
            }
        }
        Ok(value.len() as libc::ssize_t)
    };
    get().unwrap_or_else(|failure: Failure| failed(failure) as libc::ssize_t)
}

/// Returns a handle that writes the scalar `name` with one store, or null: `ENOENT` for an unknown
/// name, `EINVAL` when the variable is not a scalar. [`vdsokit_var_free`] gives it back.
///
/// # Safety
/// `publisher` is null or a publisher that is not closed; `name` is null or points to a text that
/// ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_var(
    publisher: *const VdsokitPublisher,
    name: *const c_char,
) -> *mut VdsokitVar {
    let var = || {
        // SAFETY: the caller's promises about both.
        let (publisher, name) =
            unsafe { (reference("publisher", publisher)?, text("name", name)?) };
        let writer = publisher.with(|publisher| ScalarWriter::new(publisher, name))?;
        Ok(Box::new(VdsokitVar(writer)))
    };
    pointer(var())
}

/// Stores a floating-point number in an `f64` or `f32` variable, which rounds it.
///
/// Returns 0, or -1 with `EINVAL` when the variable has another type.
///
/// # Safety
/// `var` is null or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_var_set_f64(var: *const VdsokitVar, value: f64) -> c_int {
    // SAFETY: the caller's promise about `var`.
    let var = unsafe { reference("var", var) };
    number(var.and_then(|var| var.0.set_f64(value)))
}

/// Stores a signed number in an integer variable.
///
/// Returns 0, or -1: `ERANGE` when the variable's type does not hold the number, `EINVAL` when it
/// is no integer. On failure nothing is written.
///
/// # Safety
/// `var` is null or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_var_set_i64(var: *const VdsokitVar, value: i64) -> c_int {
    // SAFETY: the caller's promise about `var`.
    let var = unsafe { reference("var", var) };
    number(var.and_then(|var| var.0.set_integer(value.into())))
}

/// Stores an unsigned number in an integer variable; errors are those of [`vdsokit_var_set_i64`].
///
/// # Safety
/// `var` is null or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_var_set_u64(var: *const VdsokitVar, value: u64) -> c_int {
    // SAFETY: the caller's promise about `var`.
    let var = unsafe { reference("var", var) };
    number(var.and_then(|var| var.0.set_integer(value.into())))
}

/// Stores a truth value in a `bool` variable.
///
/// Returns 0, or -1 with `EINVAL` when the variable has another type.
///
/// # Safety
/// `var` is null or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_var_set_bool(var: *const VdsokitVar, value: bool) -> c_int {
    // SAFETY: the caller's promise about `var`.
    let var = unsafe { reference("var", var) };
    number(var.and_then(|var| var.0.set_bool(value)))
}

/// Gives a handle back. Null is ignored.
///
/// # Safety
/// `var` is null or a handle that was not freed; no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_var_free(var: *mut VdsokitVar) {
    if !var.is_null() {
        // SAFETY: `vdsokit_var` made it from a box, and the caller does not use it again.
        drop(unsafe { Box::from_raw(var) });
    }
}

/// Sends a heartbeat: all values are up to date now.
///
/// Returns 0, or -1 with `ESHUTDOWN` after [`vdsokit_retire`].
///
/// # Safety
/// `publisher` is null or a publisher that is not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_beat(publisher: *const VdsokitPublisher) -> c_int {
    // SAFETY: the caller's promise about `publisher`.
    let publisher = unsafe { reference("publisher", publisher) };
    let beat = |publisher: &VdsokitPublisher| {
        publisher.with(|publisher| {
            publisher.beat();
            Ok(())
        })
    };
    number(publisher.and_then(beat))
}

/// Promises a heartbeat at least every `nanoseconds`: readers take the values for stale after a
/// longer silence. 0 promises nothing.
///
/// Returns 0, or -1 with `ESHUTDOWN` after [`vdsokit_retire`].
///
/// # Safety
/// `publisher` is null or a publisher that is not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_stale_after(
    publisher: *const VdsokitPublisher,
    nanoseconds: u64,
) -> c_int {
    // SAFETY: the caller's promise about `publisher`.
    let publisher = unsafe { reference("publisher", publisher) };
    let promise = |publisher: &VdsokitPublisher| {
        publisher.with(|publisher| {
            publisher.stale_after(Duration::from_nanos(nanoseconds));
            Ok(())
        })
    };
    number(publisher.and_then(promise))
}

/// Tells readers at once that no value will change again, and lets another process publish.
/// The publisher stays open for reading; writes through it fail with `ESHUTDOWN`. A second call
/// does nothing.
///
/// Returns 0.
///
/// # Safety
/// `publisher` is null or a publisher that is not closed; every handle of [`vdsokit_var`] from it
/// was freed, or is not written through any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_retire(publisher: *const VdsokitPublisher) -> c_int {
    // SAFETY: the caller's promise about `publisher`.
    let publisher = unsafe { reference("publisher", publisher) };
    let retire = |publisher: &VdsokitPublisher| {
        let mut publisher = publisher
            .publisher
            .write()
            .map_err(|_| Failure::retired())?;
        if let Some(publisher) = publisher.take() {
            publisher.retire();
        }
        Ok(())
    };
    number(publisher.and_then(retire))
}

/// Retires the publisher, unless that is done, and frees it. Null is ignored. Another process can
/// publish as soon as the handles of [`vdsokit_var`] are freed, too.
///
/// # Safety
/// `publisher` is null or a publisher that is not closed; no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdsokit_close(publisher: *mut VdsokitPublisher) {
    if !publisher.is_null() {
        // SAFETY: `pointer` made it from a box, and the caller does not use it again.
        let publisher = unsafe { Box::from_raw(publisher) };
        // Dropping alone would leave the vDSO live as long as a handle of a scalar exists.
        if let Ok(Some(publisher)) = publisher.publisher.into_inner() {
            publisher.retire();
        }
    }
}

/// The text at `pointer`.
///
/// # Safety
/// `pointer` is null or points to a text that ends with a NUL and outlives `'a`.
unsafe fn text<'a>(name: &'static str, pointer: *const c_char) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: not null, and the caller's promise about the rest.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Failure::encoding(name))
}

/// What `pointer` points to.
///
/// # Safety
/// `pointer` is null or points to a `T` that this crate made, and that outlives `'a`.
unsafe fn reference<'a, T>(name: &'static str, pointer: *const T) -> Result<&'a T, Failure> {
    // SAFETY: null is ruled out by `as_ref`; the rest is the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(name))
}
