//! Calls a function by any route, with no code around the call that would distort its cost.
#![allow(
    unsafe_code,
    reason = "addresses that images and libraries export are called as C functions here"
)]

use crate::function::{Function, RANDOM_BYTES, Route};
use libc::{c_int, c_long, c_uint, c_void, timespec, timeval};
use std::ffi::CString;
use std::hint::black_box;
use std::io;
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null_mut, with_exposed_provenance};
use vdsokit_elf::arch::{self, Call};
use vdsokit_elf::constants::PF_X;
use vdsokit_elf::own;

type ClockFunction = unsafe extern "C" fn(c_int, *mut timespec) -> c_int;
type DayFunction = unsafe extern "C" fn(*mut timeval, *mut c_void) -> c_int;
type TimeFunction = unsafe extern "C" fn(*mut libc::time_t) -> libc::time_t;
type CpuFunction = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_void) -> c_long;
type RandomFunction =
    unsafe extern "C" fn(*mut c_void, usize, c_uint, *mut c_void, usize) -> libc::ssize_t;

/// Whether the ABI's `struct timespec` is libc's, so that the vDSO's function fills it correctly,
/// and a function's symbol is the address of its code: on PowerPC64's first ABI symbols name
/// descriptors.
const CALLABLE: bool = cfg!(all(
    target_pointer_width = "64",
    not(all(target_arch = "powerpc64", target_endian = "big"))
));

/// A function by a route, ready to be called.
pub struct Callee(Kind);

enum Kind {
    Clock(ClockFunction, c_int),
    Day(DayFunction),
    Time(TimeFunction),
    Cpu(CpuFunction),
    LibcCpu,
    VdsoRandom(RandomFunction, State),
    Random(unsafe extern "C" fn(*mut c_void, usize, c_uint) -> libc::ssize_t),
}

impl Callee {
    /// The function by this route; `None` where the route doesn't lead to it: the vDSO doesn't
    /// export it, or the architecture has no such system call.
    #[must_use]
    pub fn resolve(function: Function, route: Route, library: Option<&Library>) -> Option<Self> {
        let address = match route {
            Route::Libc => return Some(Self(libc_kind(function))),
            Route::SystemCall => return system_kind(function).map(Self),
            Route::Vdso => vdso_code(function.call())?,
            Route::Image => library?.code(function)?,
        };
        // SAFETY: 1. `vdso_code` and `Library::code` yield the address of a function that the
        // image exports under the name by which the kernel's ABI promises this signature
        // (Documentation/ABI/stable/vdso; `lib/vdso/getrandom.c` for getrandom). 2. Types are
        // libc's own where CALLABLE. 3. An address and an extern "C" pointer have the same
        // representation there.
        let kind = unsafe {
            match function {
                Function::ClockGettime(clock) | Function::ClockGetres(clock) => {
                    Kind::Clock(transmute::<*const (), ClockFunction>(address), clock.id())
                }
                Function::Gettimeofday => Kind::Day(transmute::<*const (), DayFunction>(address)),
                Function::Time => Kind::Time(transmute::<*const (), TimeFunction>(address)),
                Function::Getcpu => Kind::Cpu(transmute::<*const (), CpuFunction>(address)),
                Function::Getrandom => {
                    let function = transmute::<*const (), RandomFunction>(address);
                    Kind::VdsoRandom(function, State::new(function)?)
                }
            }
        };
        Some(Self(kind))
    }

    /// Calls it once. Returns whether it succeeded and wrote a plausible value.
    #[inline]
    #[must_use]
    pub fn call(&self) -> bool {
        match &self.0 {
            Kind::Clock(function, clock) => {
                let mut value = timespec {
                    tv_sec: 0,
                    tv_nsec: -1,
                };
                // SAFETY: the pointer is valid for one timespec.
                let result = unsafe { function(*clock, &raw mut value) };
                result == 0 && (0..1_000_000_000).contains(&black_box(value).tv_nsec)
            }
            Kind::Day(function) => {
                let mut value = timeval {
                    tv_sec: 0,
                    tv_usec: -1,
                };
                // SAFETY: the pointer is valid for one timeval; a null time zone is allowed.
                let result = unsafe { function(&raw mut value, null_mut()) };
                result == 0 && (0..1_000_000).contains(&black_box(value).tv_usec)
            }
            // SAFETY: a null pointer is allowed.
            Kind::Time(function) => unsafe { function(null_mut()) > 0 },
            Kind::Cpu(function) => {
                let (mut cpu, mut node) = (c_uint::MAX, c_uint::MAX);
                // SAFETY: both pointers are valid for an unsigned int; the third argument is
                // unused since Linux 2.6.24.
                let result = unsafe { function(&raw mut cpu, &raw mut node, null_mut()) };
                result == 0 && black_box(cpu) != c_uint::MAX
            }
            // SAFETY: it takes no argument.
            Kind::LibcCpu => unsafe { libc::sched_getcpu() >= 0 },
            Kind::VdsoRandom(function, state) => {
                let mut bytes = [0_u8; RANDOM_BYTES];
                // SAFETY: 1. the buffer is valid for its length; 2. the state was mapped with
                // the size and flags that the function requires, and is used by this thread
                // alone: `Callee` is not Sync.
                let result = unsafe {
                    function(
                        bytes.as_mut_ptr().cast(),
                        bytes.len(),
                        0,
                        state.at,
                        state.size,
                    )
                };
                result == black_box(bytes).len() as libc::ssize_t
            }
            Kind::Random(function) => {
                let mut bytes = [0_u8; RANDOM_BYTES];
                // SAFETY: the buffer is valid for its length.
                let result = unsafe { function(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
                result == black_box(bytes).len() as libc::ssize_t
            }
        }
    }

    /// Calls it `times` times.
    pub fn repeat(&self, times: u32) {
        for _ in 0..times {
            black_box(self.call());
        }
    }
}

/// The C library's functions.
fn libc_kind(function: Function) -> Kind {
    match function {
        Function::ClockGettime(clock) => Kind::Clock(libc::clock_gettime, clock.id()),
        Function::ClockGetres(clock) => Kind::Clock(libc::clock_getres, clock.id()),
        Function::Gettimeofday => Kind::Day(libc_gettimeofday),
        Function::Time => Kind::Time(libc::time),
        Function::Getcpu => Kind::LibcCpu,
        Function::Getrandom => Kind::Random(libc::getrandom),
    }
}

/// libc types the time zone differently from one C library to the next.
unsafe extern "C" fn libc_gettimeofday(value: *mut timeval, zone: *mut c_void) -> c_int {
    // SAFETY: the caller passes valid arguments of gettimeofday(2).
    unsafe { libc::gettimeofday(value, zone.cast()) }
}

/// The system calls.
fn system_kind(function: Function) -> Option<Kind> {
    Some(match function {
        Function::ClockGettime(clock) => Kind::Clock(system::clock_gettime, clock.id()),
        Function::ClockGetres(clock) => Kind::Clock(system::clock_getres, clock.id()),
        Function::Gettimeofday => Kind::Day(system::gettimeofday),
        Function::Time => Kind::Time(system::TIME?),
        Function::Getcpu => Kind::Cpu(system::getcpu),
        Function::Getrandom => Kind::Random(system::getrandom),
    })
}

/// Each system call as a C function.
mod system {
    #![allow(
        clippy::missing_safety_doc,
        reason = "the manual page of each system call states its preconditions"
    )]
    use super::*;

    pub(super) unsafe extern "C" fn clock_gettime(clock: c_int, value: *mut timespec) -> c_int {
        // SAFETY: the caller passes valid arguments of clock_gettime(2).
        unsafe { libc::syscall(libc::SYS_clock_gettime, clock, value) as c_int }
    }

    pub(super) unsafe extern "C" fn clock_getres(clock: c_int, value: *mut timespec) -> c_int {
        // SAFETY: the caller passes valid arguments of clock_getres(2).
        unsafe { libc::syscall(libc::SYS_clock_getres, clock, value) as c_int }
    }

    pub(super) unsafe extern "C" fn gettimeofday(value: *mut timeval, zone: *mut c_void) -> c_int {
        // SAFETY: the caller passes valid arguments of gettimeofday(2).
        unsafe { libc::syscall(libc::SYS_gettimeofday, value, zone) as c_int }
    }

    /// Newer architectures have no such system call.
    #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "powerpc64"))]
    pub(super) const TIME: Option<TimeFunction> = {
        unsafe extern "C" fn time(value: *mut libc::time_t) -> libc::time_t {
            // SAFETY: the caller passes valid arguments of time(2).
            unsafe { libc::syscall(libc::SYS_time, value) as libc::time_t }
        }
        Some(time)
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "powerpc64")))]
    pub(super) const TIME: Option<TimeFunction> = None;

    pub(super) unsafe extern "C" fn getcpu(
        cpu: *mut c_uint,
        node: *mut c_uint,
        none: *mut c_void,
    ) -> c_long {
        // SAFETY: the caller passes valid arguments of getcpu(2).
        unsafe { libc::syscall(libc::SYS_getcpu, cpu, node, none) }
    }

    pub(super) unsafe extern "C" fn getrandom(
        bytes: *mut c_void,
        length: usize,
        flags: c_uint,
    ) -> libc::ssize_t {
        // SAFETY: the caller passes valid arguments of getrandom(2).
        unsafe { libc::syscall(libc::SYS_getrandom, bytes, length, flags) as libc::ssize_t }
    }
}

/// The address of this process's vDSO function for a call.
fn vdso_code(call: Call) -> Option<*const ()> {
    if !CALLABLE {
        return None;
    }
    let image = own::image()?;
    let function = arch::current()?.function(call)?;
    let symbol = image.lookup_version(function.name, function.version)?;
    let is_code = image.segments().any(|segment| {
        segment.is_load() && segment.flags & PF_X != 0 && segment.holds(symbol.value, 1)
    });
    let address = usize::try_from(image.address_of(&symbol)).ok()?;
    is_code.then(|| with_exposed_provenance(address))
}

/// The state that a vDSO's getrandom keeps for its caller, in a mapping of its own.
struct State {
    at: *mut c_void,
    size: usize,
}

/// The mapping that a vDSO's getrandom requires for its state (`include/uapi/linux/random.h`).
#[repr(C)]
#[derive(Default)]
struct StateParameters {
    size: u32,
    protection: u32,
    flags: u32,
    reserved: [u32; 13],
}

impl State {
    /// Maps a state with the parameters that the function returns.
    fn new(function: RandomFunction) -> Option<Self> {
        let mut wanted = StateParameters::default();
        // SAFETY: with a length of usize::MAX the function fills the parameters, whose size is
        // the interface's, and does nothing else (Linux 6.12 `lib/vdso/getrandom.c`).
        let result = unsafe { function(null_mut(), 0, 0, (&raw mut wanted).cast(), usize::MAX) };
        let size = usize::try_from(wanted.size).ok()?;
        if result != 0 || size == 0 {
            return None;
        }
        // SAFETY: a fresh mapping at an address that the kernel chooses.
        let at = unsafe {
            libc::mmap(
                null_mut(),
                size,
                wanted.protection as c_int,
                wanted.flags as c_int,
                -1,
                0,
            )
        };
        (at != libc::MAP_FAILED).then_some(Self { at, size })
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: the mapping is this state's own, and its only user is dropped with it.
        unsafe { libc::munmap(self.at, self.size) };
    }
}

/// An image that was loaded as a shared library. It stays loaded until the process ends.
#[derive(Debug)]
pub struct Library(*mut c_void);

impl Library {
    /// Loads an image as a shared library.
    ///
    /// # Errors
    /// The message of the dynamic loader (dlerror(3)).
    pub fn load(path: &Path) -> io::Result<Self> {
        let path = std::fs::canonicalize(path)?;
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is a C string. Loading runs the object's constructors, which the
        // caller requests by naming an image.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlopen has just failed in this thread: dlerror yields a C string.
            let text = unsafe { std::ffi::CStr::from_ptr(libc::dlerror()) };
            return Err(io::Error::other(text.to_string_lossy().into_owned()));
        }
        Ok(Self(handle))
    }

    /// The function under the name that the kernel's vDSO has for it, or else under libc's.
    fn code(&self, function: Function) -> Option<*const ()> {
        if !CALLABLE {
            return None;
        }
        let names = arch::current()
            .and_then(|abi| abi.function(function.call()))
            .map(|function| function.name)
            .into_iter()
            .chain([function.name()]);
        names
            .filter_map(|name| CString::new(name).ok())
            // SAFETY: the handle is open, the name a C string.
            .map(|name| unsafe { libc::dlsym(self.0, name.as_ptr()) })
            .find(|address| !address.is_null())
            .map(|address| address.cast_const().cast())
    }
}

/// Whether this thread may read the TSC (prctl(2), PR_GET_TSC). True where there is none.
#[must_use]
pub fn may_read_tsc() -> bool {
    let mut state: c_int = libc::PR_TSC_ENABLE;
    // SAFETY: the pointer is valid for one int.
    let result = unsafe { libc::prctl(libc::PR_GET_TSC, &raw mut state) };
    result != 0 || state == libc::PR_TSC_ENABLE
}
