//! This process's own vDSO: finding it and calling it.
//!
//! [`find`] only reads the auxiliary vector. Each function is looked up when it is first called,
//! and its address is kept for the whole process. The returned [`Vdso`] may be copied, kept in a
//! static and used from any thread and in a signal handler. The addresses stay valid after
//! `fork`, whose child has the same mapping at the same address; `exec` discards them with the
//! process image.
//!
//! Each call goes to the vDSO where it exports the function and to the system call otherwise.
//! When the vDSO's function fails, the system call is made as well and its result is returned:
//! architectures differ in how a vDSO function reports an error.
//!
//! Not called here: `getrandom`, whose caller has to keep a state in pages of a special kind
//! (Linux 6.18 `lib/vdso/getrandom.c`); [`Image::lookup_version`] finds it.
#![allow(
    unsafe_code,
    reason = "addresses that the image exports are called as C functions here"
)]

use std::io;
use std::mem::{MaybeUninit, transmute};
use std::ptr::{null_mut, with_exposed_provenance};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::{self, Call, Function};
use crate::constants::{AT_SYSINFO_EHDR, PF_X};
use crate::image::Image;
use crate::memory;
use crate::segment::Segment;

/// A point in time or a length of it, as the kernel's `struct __kernel_timespec` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: i64,
}

/// As [`Timespec`], with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Timeval {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub seconds: i64,
    /// Microseconds, 0 to 999,999.
    pub microseconds: i64,
}

/// Where a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The processor's number.
    pub cpu: u32,
    /// Its NUMA node.
    pub node: u32,
}

type ClockFunction = unsafe extern "C" fn(i32, *mut Timespec) -> i32;
type DayFunction = unsafe extern "C" fn(*mut Timeval, *mut libc::c_void) -> i32;
type TimeFunction = unsafe extern "C" fn(*mut i64) -> i64;
type CpuFunction = unsafe extern "C" fn(*mut u32, *mut u32, *mut libc::c_void) -> libc::c_long;

/// Whether a symbol's value is what a C function pointer holds. On PowerPC64's first ABI that is
/// the address of a descriptor, and every call takes the system call.
const POINTERS_ARE_CODE: bool = cfg!(not(all(target_arch = "powerpc64", target_endian = "big")));

/// Whether `long` and `struct timespec` are 64 bits wide in the ABI's own functions.
const LONG_TIME: bool = cfg!(any(target_pointer_width = "64", target_arch = "x86_64"));

/// The address of this process's vDSO (AT_SYSINFO_EHDR); `None` where there is none.
///
/// It is the address that libc was started with. /proc/self/auxv holds the kernel's own record,
/// which differs where a vDSO was exchanged at exec.
pub fn address() -> Option<*const u8> {
    // SAFETY: getauxval only reads the auxiliary vector that libc keeps.
    let address = unsafe { libc::getauxval(AT_SYSINFO_EHDR as libc::c_ulong) };
    let address = with_exposed_provenance::<u8>(usize::try_from(address).ok()?);
    (!address.is_null()).then_some(address)
}

/// This process's vDSO; `None` where there is none or it is no image.
pub fn image() -> Option<Image<'static>> {
    // SAFETY: 1. the kernel, or the program that exchanged the vDSO at exec, mapped an image
    // there for the life of the process; unmapping it is an unsafe operation of its own. 2. Its
    // text is mapped read-only.
    unsafe { memory::image_at(address()?) }.ok()
}

/// The functions of this process's vDSO; `None` where it has none.
///
/// ```
/// use vdsokit_elf::own;
///
/// const CLOCK_MONOTONIC: i32 = 1;
/// if let Some(vdso) = own::find() {
///     let now = vdso.clock_gettime(CLOCK_MONOTONIC).expect("every Linux has this clock");
///     assert!(now.seconds >= 0);
/// }
/// ```
pub fn find() -> Option<Vdso> {
    address().map(|_| Vdso { is_used: true })
}

/// The address of a function of this process's vDSO, or [`UNKNOWN`], or [`ABSENT`].
///
/// Accesses are relaxed: the code at the address was mapped before the process's first
/// instruction, so that no other store has to be visible with it. Threads that look a function up
/// at the same time find the same address.
type Slot = AtomicUsize;

/// Not looked up yet.
const UNKNOWN: usize = 0;
/// The vDSO has no such function. No code lies at address 1.
const ABSENT: usize = 1;

static CLOCK_GETTIME: Slot = Slot::new(UNKNOWN);
static CLOCK_GETRES: Slot = Slot::new(UNKNOWN);
static GETTIMEOFDAY: Slot = Slot::new(UNKNOWN);
static TIME: Slot = Slot::new(UNKNOWN);
static GETCPU: Slot = Slot::new(UNKNOWN);

/// The kernel's names, known when this is compiled. Where times are 32 bits wide only the function
/// with 64-bit ones fits this module's types.
const CLOCK_GETTIME_NAME: Option<&Function> = arch::current_function(if LONG_TIME {
    Call::ClockGettime
} else {
    Call::ClockGettime64
});
const CLOCK_GETRES_NAME: Option<&Function> = long(Call::ClockGetres);
const GETTIMEOFDAY_NAME: Option<&Function> = long(Call::Gettimeofday);
const TIME_NAME: Option<&Function> = long(Call::Time);
const GETCPU_NAME: Option<&Function> = arch::current_function(Call::Getcpu);

const fn long(call: Call) -> Option<&'static Function> {
    if LONG_TIME {
        arch::current_function(call)
    } else {
        None
    }
}

#[cold]
fn look_up(slot: &Slot, function: Option<&Function>) -> usize {
    let address = function.and_then(|function| code(&image()?, function));
    let address = address.unwrap_or(ABSENT);
    slot.store(address, Ordering::Relaxed);
    address
}

/// Functions of this process's vDSO, with the system call behind each.
#[derive(Clone, Copy, Debug)]
pub struct Vdso {
    is_used: bool,
}

impl Vdso {
    /// No function of a vDSO: every call is the system call.
    pub const SYSTEM_CALLS: Self = Self { is_used: false };

    #[inline]
    fn get(self, slot: &Slot, function: Option<&Function>) -> Option<*const ()> {
        if !self.is_used {
            return None;
        }
        let mut address = slot.load(Ordering::Relaxed);
        if address == UNKNOWN {
            address = look_up(slot, function);
        }
        (address != ABSENT).then(|| with_exposed_provenance(address))
    }

    // A slot holds the address of a function in executable memory that the image exports under the
    // name and version to which the kernel's ABI gives the signature (`arch`, Linux 6.18
    // Documentation/ABI/stable/vdso). Where the ABI's `long` is narrower than the signature's
    // 64-bit times, only the _64 function has a slot that is not ABSENT (`long`).

    #[inline]
    fn clock_function(self, slot: &Slot, name: Option<&Function>) -> Option<ClockFunction> {
        let at = self.get(slot, name)?;
        // SAFETY: `at` is the address of clock_gettime, its _64 variant or clock_getres with
        // this signature, and a pointer to code has the same representation as a C function
        // pointer: without POINTERS_ARE_CODE the slot is ABSENT.
        Some(unsafe { transmute::<*const (), ClockFunction>(at) })
    }

    #[inline]
    fn day_function(self) -> Option<DayFunction> {
        let at = self.get(&GETTIMEOFDAY, GETTIMEOFDAY_NAME)?;
        // SAFETY: `at` is the address of gettimeofday with
        // this signature, and a pointer to code has the same representation as a C function
        // pointer: without POINTERS_ARE_CODE the slot is ABSENT.
        Some(unsafe { transmute::<*const (), DayFunction>(at) })
    }

    #[inline]
    fn time_function(self) -> Option<TimeFunction> {
        let at = self.get(&TIME, TIME_NAME)?;
        // SAFETY: `at` is the address of time with
        // this signature, and a pointer to code has the same representation as a C function
        // pointer: without POINTERS_ARE_CODE the slot is ABSENT.
        Some(unsafe { transmute::<*const (), TimeFunction>(at) })
    }

    #[inline]
    fn cpu_function(self) -> Option<CpuFunction> {
        let at = self.get(&GETCPU, GETCPU_NAME)?;
        // SAFETY: `at` is the address of getcpu with
        // this signature, and a pointer to code has the same representation as a C function
        // pointer: without POINTERS_ARE_CODE the slot is ABSENT.
        Some(unsafe { transmute::<*const (), CpuFunction>(at) })
    }

    /// Whether the image exports this function. The function itself may make a system call.
    pub fn serves(&self, call: Call) -> bool {
        match call {
            Call::ClockGettime | Call::ClockGettime64 => {
                self.get(&CLOCK_GETTIME, CLOCK_GETTIME_NAME).is_some()
            }
            Call::ClockGetres => self.get(&CLOCK_GETRES, CLOCK_GETRES_NAME).is_some(),
            Call::Gettimeofday => self.get(&GETTIMEOFDAY, GETTIMEOFDAY_NAME).is_some(),
            Call::Time => self.get(&TIME, TIME_NAME).is_some(),
            Call::Getcpu => self.get(&GETCPU, GETCPU_NAME).is_some(),
            Call::Getrandom | Call::Signal | Call::Other => false,
        }
    }

    /// The time of a clock: `clock_gettime(2)`.
    ///
    /// # Errors
    /// Those of the system call: EINVAL for a clock that doesn't exist.
    #[inline]
    pub fn clock_gettime(&self, clock: i32) -> io::Result<Timespec> {
        call_clock(
            self.clock_function(&CLOCK_GETTIME, CLOCK_GETTIME_NAME),
            clock,
        )
        .map_or_else(|| fallback::clock_gettime(clock), Ok)
    }

    /// The resolution of a clock: `clock_getres(2)`.
    ///
    /// # Errors
    /// As [`Vdso::clock_gettime`].
    #[inline]
    pub fn clock_getres(&self, clock: i32) -> io::Result<Timespec> {
        call_clock(self.clock_function(&CLOCK_GETRES, CLOCK_GETRES_NAME), clock)
            .map_or_else(|| fallback::clock_getres(clock), Ok)
    }

    /// The time of day: `gettimeofday(2)`.
    ///
    /// # Errors
    /// Those of the system call.
    #[inline]
    pub fn gettimeofday(&self) -> io::Result<Timeval> {
        if let Some(function) = self.day_function() {
            let mut value = MaybeUninit::uninit();
            // SAFETY: the pointer is valid for one timeval; a null time zone is allowed. The
            // function wrote the value if it returned 0.
            unsafe {
                if function(value.as_mut_ptr(), null_mut()) == 0 {
                    return Ok(value.assume_init());
                }
            }
        }
        let now = fallback::clock_gettime(libc::CLOCK_REALTIME)?;
        Ok(Timeval {
            seconds: now.seconds,
            microseconds: now.nanoseconds / 1000,
        })
    }

    /// Seconds since 1970-01-01 00:00 UTC: `time(2)`.
    ///
    /// # Errors
    /// Those of the system call.
    #[inline]
    pub fn time(&self) -> io::Result<i64> {
        match self.time_function() {
            // SAFETY: `time` allows a null pointer and returns the seconds.
            Some(function) => Ok(unsafe { function(null_mut()) }),
            None => fallback::clock_gettime(libc::CLOCK_REALTIME_COARSE).map(|now| now.seconds),
        }
    }

    /// The processor that the thread ran on at the time of the call: `getcpu(2)`.
    ///
    /// # Errors
    /// Those of the system call.
    #[inline]
    pub fn getcpu(&self) -> io::Result<Cpu> {
        let (mut cpu, mut node) = (0, 0);
        if let Some(function) = self.cpu_function() {
            // SAFETY: both pointers are valid for an unsigned int; the third argument is unused
            // since Linux 2.6.24.
            if unsafe { function(&raw mut cpu, &raw mut node, null_mut()) } == 0 {
                return Ok(Cpu { cpu, node });
            }
        }
        fallback::getcpu()
    }
}

/// Calls the vDSO's function for a clock; `None` if there is none or it fails.
#[inline]
fn call_clock(function: Option<ClockFunction>, clock: i32) -> Option<Timespec> {
    let mut value = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for one timespec, which the function wrote if it returned 0.
    unsafe { (function?(clock, value.as_mut_ptr()) == 0).then(|| value.assume_init()) }
}

/// The address of a function that the image exports in its first loaded segment, where a vDSO has
/// its text; `None` if that segment is not executable.
fn code(image: &Image<'_>, function: &Function) -> Option<usize> {
    if !POINTERS_ARE_CODE {
        return None;
    }
    let symbol = image.lookup_version(function.name, function.version)?;
    let text = image.segments().find(Segment::is_load)?;
    let is_code = text.flags & PF_X != 0 && text.holds(symbol.value, 1);
    let address = usize::try_from(image.address_of(&symbol)).ok()?;
    (is_code && address > ABSENT).then_some(address)
}

/// The system calls.
mod fallback {
    use super::{Cpu, Timespec};
    use std::io;
    use std::mem::MaybeUninit;

    fn done(result: libc::c_long) -> io::Result<()> {
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Reads a clock by a system call with 64-bit times.
    #[cfg(any(target_pointer_width = "64", target_arch = "x86_64"))]
    fn clock(number: libc::c_long, clock: i32) -> io::Result<Timespec> {
        let mut value = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for one timespec, which the kernel wrote if it returned 0.
        unsafe {
            done(libc::syscall(number, clock, value.as_mut_ptr()))?;
            Ok(value.assume_init())
        }
    }

    #[cfg(any(target_pointer_width = "64", target_arch = "x86_64"))]
    pub(super) fn clock_gettime(id: i32) -> io::Result<Timespec> {
        clock(libc::SYS_clock_gettime, id)
    }

    #[cfg(any(target_pointer_width = "64", target_arch = "x86_64"))]
    pub(super) fn clock_getres(id: i32) -> io::Result<Timespec> {
        clock(libc::SYS_clock_getres, id)
    }

    /// Where times are 32 bits wide, libc selects the system call that the kernel has.
    #[cfg(not(any(target_pointer_width = "64", target_arch = "x86_64")))]
    fn clock(
        function: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> i32,
        id: i32,
    ) -> io::Result<Timespec> {
        let mut value = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the pointer is valid for one timespec, which libc wrote if it returned 0.
        let value = unsafe {
            done(function(id, value.as_mut_ptr()).into())?;
            value.assume_init()
        };
        Ok(Timespec {
            seconds: value.tv_sec.into(),
            nanoseconds: value.tv_nsec.into(),
        })
    }

    #[cfg(not(any(target_pointer_width = "64", target_arch = "x86_64")))]
    pub(super) fn clock_gettime(id: i32) -> io::Result<Timespec> {
        clock(libc::clock_gettime, id)
    }

    #[cfg(not(any(target_pointer_width = "64", target_arch = "x86_64")))]
    pub(super) fn clock_getres(id: i32) -> io::Result<Timespec> {
        clock(libc::clock_getres, id)
    }

    pub(super) fn getcpu() -> io::Result<Cpu> {
        let (mut cpu, mut node) = (0u32, 0u32);
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: both pointers are valid for an unsigned int; the third argument is unused.
        done(unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, none) })?;
        Ok(Cpu { cpu, node })
    }
}
