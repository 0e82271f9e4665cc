//! This process's own vDSO: finding it and calling it.
//!
//! [`find`] resolves the functions once; what it returns may be copied, kept in a static and used
//! from any thread and in a signal handler. It stays right after `fork`, whose child has the same
//! mapping at the same address, and is gone with the process image at `exec`.
//!
//! Each call goes to the vDSO where it exports the function and to the system call otherwise.
//! What a vDSO's function refuses is asked again of the system call, which has the last word and
//! says the error: architectures differ in how a vDSO reports one.
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

use crate::arch::{self, Call};
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
    // SAFETY: getauxval only reads the auxiliary vector that libc has kept.
    let address = unsafe { libc::getauxval(AT_SYSINFO_EHDR as libc::c_ulong) };
    let address = with_exposed_provenance::<u8>(usize::try_from(address).ok()?);
    (!address.is_null()).then_some(address)
}

/// This process's vDSO; `None` where there is none or it is no image.
pub fn image() -> Option<Image<'static>> {
    // SAFETY: 1. the kernel, or who exchanged the vDSO at exec, mapped an image there for the
    // life of the process; to unmap it is an unsafe act of its own. 2. Its text is mapped
    // read-only.
    unsafe { memory::image_at(address()?) }.ok()
}

/// The functions of this process's vDSO; `None` where there is none.
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
    image().map(|image| Vdso::of(&image))
}

/// Functions of a vDSO of this process, with the system call behind each.
#[derive(Clone, Copy, Debug)]
pub struct Vdso {
    clock_gettime: Option<ClockFunction>,
    clock_getres: Option<ClockFunction>,
    gettimeofday: Option<DayFunction>,
    time: Option<TimeFunction>,
    getcpu: Option<CpuFunction>,
}

impl Vdso {
    /// No function of a vDSO: every call is the system call.
    pub const SYSTEM_CALLS: Self = Self {
        clock_gettime: None,
        clock_getres: None,
        gettimeofday: None,
        time: None,
        getcpu: None,
    };

    fn of(image: &Image<'_>) -> Self {
        let clock = if LONG_TIME {
            Call::ClockGettime
        } else {
            Call::ClockGettime64
        };
        let clock_gettime = code(image, clock);
        let long = |call| if LONG_TIME { code(image, call) } else { None };
        // SAFETY: 1. `code` yields addresses of functions in executable memory that the image
        // exports under the name and version by which the kernel's ABI promises these signatures
        // (`arch`, Linux 6.18 Documentation/ABI/stable/vdso). 2. The signatures have 64-bit
        // times where LONG_TIME says that the ABI has, or in the _64 function. 3. An address and
        // an extern "C" pointer have the same representation where POINTERS_ARE_CODE.
        // 4. Option of a function pointer has the null address for None.
        unsafe {
            Self {
                clock_gettime: clock_gettime.map(|at| transmute::<*const (), ClockFunction>(at)),
                clock_getres: long(Call::ClockGetres)
                    .map(|at| transmute::<*const (), ClockFunction>(at)),
                gettimeofday: long(Call::Gettimeofday)
                    .map(|at| transmute::<*const (), DayFunction>(at)),
                time: long(Call::Time).map(|at| transmute::<*const (), TimeFunction>(at)),
                getcpu: code(image, Call::Getcpu).map(|at| transmute::<*const (), CpuFunction>(at)),
            }
        }
    }

    /// Whether this function is served without a system call, as far as the image says.
    pub fn serves(&self, call: Call) -> bool {
        match call {
            Call::ClockGettime | Call::ClockGettime64 => self.clock_gettime.is_some(),
            Call::ClockGetres => self.clock_getres.is_some(),
            Call::Gettimeofday => self.gettimeofday.is_some(),
            Call::Time => self.time.is_some(),
            Call::Getcpu => self.getcpu.is_some(),
            Call::Getrandom | Call::Signal | Call::Other => false,
        }
    }

    /// What a clock shows: `clock_gettime(2)`.
    ///
    /// # Errors
    /// What the system call says: EINVAL for a clock that doesn't exist.
    #[inline]
    pub fn clock_gettime(&self, clock: i32) -> io::Result<Timespec> {
        ask_clock(self.clock_gettime, clock).map_or_else(|| fallback::clock_gettime(clock), Ok)
    }

    /// How finely a clock counts: `clock_getres(2)`.
    ///
    /// # Errors
    /// As [`Vdso::clock_gettime`].
    #[inline]
    pub fn clock_getres(&self, clock: i32) -> io::Result<Timespec> {
        ask_clock(self.clock_getres, clock).map_or_else(|| fallback::clock_getres(clock), Ok)
    }

    /// The time of day: `gettimeofday(2)`.
    ///
    /// # Errors
    /// What the system call says.
    #[inline]
    pub fn gettimeofday(&self) -> io::Result<Timeval> {
        if let Some(function) = self.gettimeofday {
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
    /// What the system call says.
    #[inline]
    pub fn time(&self) -> io::Result<i64> {
        match self.time {
            // SAFETY: `time` allows a null pointer and returns the seconds.
            Some(function) => Ok(unsafe { function(null_mut()) }),
            None => fallback::clock_gettime(libc::CLOCK_REALTIME_COARSE).map(|now| now.seconds),
        }
    }

    /// The processor that the thread ran on when it was asked: `getcpu(2)`.
    ///
    /// # Errors
    /// What the system call says.
    #[inline]
    pub fn getcpu(&self) -> io::Result<Cpu> {
        let (mut cpu, mut node) = (0, 0);
        if let Some(function) = self.getcpu {
            // SAFETY: both pointers are valid for an unsigned int; the third argument is unused
            // since Linux 2.6.24.
            if unsafe { function(&raw mut cpu, &raw mut node, null_mut()) } == 0 {
                return Ok(Cpu { cpu, node });
            }
        }
        fallback::getcpu()
    }
}

/// What the vDSO's function says of a clock, if it is there and answers.
#[inline]
fn ask_clock(function: Option<ClockFunction>, clock: i32) -> Option<Timespec> {
    let mut value = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for one timespec, which the function wrote if it returned 0.
    unsafe { (function?(clock, value.as_mut_ptr()) == 0).then(|| value.assume_init()) }
}

/// The address of the function that does this, if the image exports it in its first loaded
/// segment and that is executable: where a vDSO has its text.
fn code(image: &Image<'_>, call: Call) -> Option<*const ()> {
    if !POINTERS_ARE_CODE {
        return None;
    }
    let function = arch::current()?.function(call)?;
    let symbol = image.lookup_version(function.name, function.version)?;
    let text = image.segments().find(Segment::is_load)?;
    let is_code = text.flags & PF_X != 0 && text.holds(symbol.value, 1);
    let address = usize::try_from(image.address_of(&symbol)).ok()?;
    is_code.then(|| with_exposed_provenance(address))
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
        // SAFETY: the pointer is valid for one timespec, which the kernel wrote if it says 0.
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

    /// Where times are 32 bits wide, libc knows which of the two system calls a kernel has.
    #[cfg(not(any(target_pointer_width = "64", target_arch = "x86_64")))]
    fn clock(
        function: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> i32,
        id: i32,
    ) -> io::Result<Timespec> {
        let mut value = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the pointer is valid for one timespec, which libc wrote if it says 0.
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
