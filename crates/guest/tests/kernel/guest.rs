//! The address space of a program, which the plan is mapped into.
#![allow(
    unsafe_code,
    reason = "memory is mapped and functions are called by address, as a kernel and programs do"
)]

use std::arch::asm;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::AtomicU64;
use vdsokit_clock::Clock;
use vdsokit_guest::{Contents, Image, Plan, Publisher, Rights, WORDS};

/// The frame that the kernel writes.
pub(crate) type Frame = &'static [AtomicU64; WORDS];

type ClockCall = unsafe extern "C" fn(u32, *mut libc::timespec) -> i32;
type TimeCall = unsafe extern "C" fn(*mut i64) -> i64;
type IdCall = extern "C" fn() -> i32;

/// The functions that programs find in the image.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    clock_gettime: ClockCall,
    time: TimeCall,
    getpid: IdCall,
    getppid: IdCall,
}

impl Calls {
    pub(crate) fn nanoseconds(&self, clock: Clock) -> i128 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: a pointer to a local variable.
        let result = unsafe { (self.clock_gettime)(clock.id(), &raw mut time) };
        assert_eq!(result, 0, "{clock:?}");
        nanoseconds(time)
    }
}

fn nanoseconds(time: libc::timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// A clock of this machine's kernel.
pub(crate) fn system_call(clock: Clock) -> i128 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes to a local variable.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock.id(), &raw mut time) };
    assert_eq!(result, 0, "{clock:?}");
    nanoseconds(time)
}

/// The counter, as the image reads it.
pub(crate) fn counter() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: it writes the registers named and touches no memory.
    unsafe {
        asm!("rdtscp", out("rax") low, out("rdx") high, out("rcx") _, options(nostack));
    }
    high << 32 | low
}

/// A page of memory that can be mapped several times.
fn memory() -> i32 {
    // SAFETY: a C string, and a new descriptor.
    unsafe {
        let memory = libc::memfd_create(c"frame".as_ptr(), 0);
        assert_eq!(libc::ftruncate(memory, 4096), 0);
        memory
    }
}

/// A program's vDSO and the kernel's publisher.
pub(crate) struct Guest {
    pub(crate) calls: Calls,
    pub(crate) publisher: Publisher<Frame>,
    /// The frame of the page of the process.
    pub(crate) process: Frame,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let plan = Plan::new(Image::native().unwrap(), 4096).unwrap();
        // SAFETY: (1) each mapping is new, or replaces a part of the one that was reserved here;
        // (2) the bytes that are copied fit into their page; (3) the frame is memory of atomics
        // that is never unmapped.
        unsafe {
            let memory = memory();
            let of_process = self::memory();
            let shared = |at, rights, flags, file, length| {
                let mapped = libc::mmap(at, length, rights, flags, file, 0);
                assert_ne!(mapped, libc::MAP_FAILED);
                mapped
            };
            let (read, write) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
            let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let frame = shared(ptr::null_mut(), write, libc::MAP_SHARED, memory, 4096);
            let frame: Frame = &*frame.cast();
            let process = shared(ptr::null_mut(), write, libc::MAP_SHARED, of_process, 4096);
            let process: Frame = &*process.cast();
            let publisher = Publisher::new(frame);
            let base = shared(ptr::null_mut(), libc::PROT_NONE, private, -1, plan.size());
            for page in plan.pages() {
                let at = base.cast::<u8>().add(page.offset).cast::<c_void>();
                match page.contents {
                    Contents::Text(bytes) => {
                        shared(at, write, private | libc::MAP_FIXED, -1, 4096);
                        ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast(), bytes.len());
                        assert_eq!(page.rights, Rights::ReadExecute);
                        assert_eq!(libc::mprotect(at, 4096, read | libc::PROT_EXEC), 0);
                    }
                    Contents::Vvar => {
                        assert_eq!(page.rights, Rights::Read);
                        shared(at, read, libc::MAP_SHARED | libc::MAP_FIXED, memory, 4096);
                    }
                }
            }
            let at = base.cast::<u8>().add(plan.process()).cast::<c_void>();
            let fixed = libc::MAP_SHARED | libc::MAP_FIXED;
            shared(at, read, fixed, of_process, 4096);
            let function = |name| base.addr() + plan.image().symbol(name).unwrap();
            let calls = Calls {
                clock_gettime: std::mem::transmute::<usize, ClockCall>(function(
                    "__vdso_clock_gettime",
                )),
                time: std::mem::transmute::<usize, TimeCall>(function("__vdso_time")),
                getpid: std::mem::transmute::<usize, IdCall>(function("vdso_getpid")),
                getppid: std::mem::transmute::<usize, IdCall>(function("vdso_getppid")),
            };
            Self {
                calls,
                publisher,
                process,
            }
        }
    }

    pub(crate) fn nanoseconds(&self, clock: Clock) -> i128 {
        self.calls.nanoseconds(clock)
    }

    /// The results of `vdso_getpid` and `vdso_getppid`.
    pub(crate) fn ids(&self) -> (u32, u32) {
        let id = |call: IdCall| call() as u32;
        (id(self.calls.getpid), id(self.calls.getppid))
    }

    /// The result of `time`.
    pub(crate) fn time(&self) -> i64 {
        // SAFETY: the pointer may be null.
        unsafe { (self.calls.time)(ptr::null_mut()) }
    }
}
